/* SPDX-License-Identifier: Apache-2.0
 *
 * The generation role: claims jobs at the store, runs them, and records
 * what came of them, several in one request.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_GENERATION_H
#define TIDEMILL_WORKERS_GENERATION_GENERATION_H

#include "common/ipc/worker_contract.h"

enum worker_exit generation_main(const struct worker *worker);

#endif
