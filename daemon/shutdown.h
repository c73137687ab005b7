/* SPDX-License-Identifier: Apache-2.0
 *
 * The stop: workers leave rank by rank (the store last), within
 * supervisor.shutdown_timeout.
 */
#ifndef TIDEMILL_DAEMON_SHUTDOWN_H
#define TIDEMILL_DAEMON_SHUTDOWN_H

#include <stdint.h>

struct master;
struct slot;

/* Begins a graceful stop; a second call makes it immediate. */
void shutdown_begin(struct master *master);

/* All leave at once; who does not within a moment is killed. */
void shutdown_now(struct master *master);

/* What this worker has until it is killed, when the daemon stops. */
uint64_t shutdown_bound_ms(const struct master *master,
                           const struct slot *slot);

/* Called when a worker is gone: the next rank, or the end. */
void shutdown_advance(struct master *master);

/* Called by the timer: kills whoever is left past the deadline. */
void shutdown_check(struct master *master);

#endif
