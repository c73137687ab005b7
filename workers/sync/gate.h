/* SPDX-License-Identifier: Apache-2.0
 *
 * What every batch passes on its way to the sink: a sink around the sink.
 *
 *   - It takes a token of the connection budget (common/shm/budget.h) and
 *     waits for one, at most database.pool.acquire_timeout; then the answer
 *     is BUSY.
 *   - It closes a connection that was unused for database.pool.idle_timeout,
 *     but for the first database.pool.min workers; at once when somebody
 *     waits for its token.  It renews one that is older than
 *     database.pool.max_lifetime, between batches.
 *   - While the line is cut by `tidemill test offline` nothing passes: the
 *     connection is closed, with what is under way on it, and the answer is
 *     DOWN.
 */
#ifndef TIDEMILL_SYNC_GATE_H
#define TIDEMILL_SYNC_GATE_H

#include <stdbool.h>

#include "common/ipc/worker_contract.h"
#include "workers/sync/sink.h"

struct event_base;

/* How often a worker that waits for a token looks for one, and one whose
 * connection rests whether another waits (only where the workers are more
 * than the tokens). */
#define GATE_LOOK_MS      50
#define GATE_WANTED_MS    250

/* Opens the sink that `methods` make, behind a gate; used with
 * gate_methods. */
struct sink *gate_open(const struct worker *worker, struct event_base *base,
                       const struct sink_methods *methods,
                       struct error *error);
extern const struct sink_methods gate_methods;

/* Is the line cut?  Then cuts it here, with what is under way. */
bool gate_look(struct sink *gate);

/* Can the sink tell what an exercise left at the centre? */
bool gate_can_inspect(const struct sink *gate);

/* Does this worker hold a connection, or has it to? */
bool gate_is_kept(const struct sink *gate);

#endif
