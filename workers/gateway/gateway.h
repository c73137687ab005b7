/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway: all that strangers can reach.  Today the control socket.
 */
#ifndef TIDEMILL_GATEWAY_GATEWAY_H
#define TIDEMILL_GATEWAY_GATEWAY_H

#include "common/ipc/worker_contract.h"

/* The role's entry point. */
enum worker_exit gateway_main(const struct worker *worker);

#endif
