/* SPDX-License-Identifier: Apache-2.0
 *
 * The store: the only writer of the local store.
 */
#ifndef TIDEMILL_STORE_STORE_H
#define TIDEMILL_STORE_STORE_H

#include "common/ipc/worker_contract.h"

/* The role's entry point. */
enum worker_exit store_main(const struct worker *worker);

#endif
