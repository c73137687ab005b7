/* SPDX-License-Identifier: Apache-2.0
 *
 * What a worker asks of the queue: calls of the store, and what it looks up by
 * itself through a reader that is opened when it is first needed.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_QUEUE_VIEW_H
#define TIDEMILL_WORKERS_GENERATION_QUEUE_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ipc/worker_contract.h"
#include "common/store/wire.h"

struct store_reader;

/* When the earliest job that waits to be retried may be claimed, on the wall
 * clock; 0 when none waits, -1 when it cannot be told. */
int64_t queue_next_retry_ms(struct store_reader **reader,
                            const char *state_dir);

/* Whether the job is to be cancelled; false when it cannot be told. */
bool queue_wants_cancel(struct store_reader **reader, const char *state_dir,
                        int64_t job_id);

/* JOB_CLAIM of at most so many jobs, now. */
struct store_call queue_claim_call(const struct worker *worker, unsigned most);

/* JOB_UNCLAIM of the jobs in a JSON list, which must live until it is sent. */
struct store_call queue_unclaim_call(const struct worker *worker,
                                     const char *ids);

/* JOB_ADOPT of what the predecessor in the worker's slot left, with the reason
 * of its death in `why`, which must live until it is sent. */
struct store_call queue_adopt_call(const struct worker *worker, char why[64]);

/* JOB_ADOPT of what the worker itself holds: none of it was begun. */
struct store_call queue_give_back_call(const struct worker *worker);

#endif
