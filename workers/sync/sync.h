/* SPDX-License-Identifier: Apache-2.0
 *
 * A sync worker: carries batches of operations from the local store to the
 * centre, over one connection of its own.
 *
 *   sync      the role's main: opens and closes what the rest needs
 *   schedule  when passes run
 *   pipeline  two batches between the store and the sink
 *   batch     the life of one batch
 *   trigger   policy: when, why, how much (pure)
 *   line      the state of the line to the centre (pure)
 *   backoff   delays and their chance (pure)
 *   pass      what one pass has done
 *   standing  what others see of it
 *   sink      where batches go: sink_sqlite, sink_pgsql
 */
#ifndef TIDEMILL_SYNC_SYNC_H
#define TIDEMILL_SYNC_SYNC_H

#include "common/ipc/worker_contract.h"

enum worker_exit sync_main(const struct worker *worker);

#endif
