/* SPDX-License-Identifier: Apache-2.0
 *
 * Forking a worker into a slot.
 */
#ifndef TIDEMILL_DAEMON_SPAWN_H
#define TIDEMILL_DAEMON_SPAWN_H

struct error;
struct master;
struct slot;

/* Forks a worker into a slot that has none; the slot is STARTING then, or
 * in BACKOFF when the system has no pipe or process left. */
void spawn_worker(struct master *master, struct slot *slot);

/* Could a worker be started now?  0, or -1 with *error: a worker that still
 * serves had better not be told to leave. */
int spawn_try(struct master *master, struct error *error);

/* Puts a slot without worker into BACKOFF for delay_ms. */
void spawn_later(struct master *master, struct slot *slot, unsigned delay_ms);

#endif
