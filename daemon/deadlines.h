/* SPDX-License-Identifier: Apache-2.0
 *
 * One timer, armed for the earliest deadline of all: hello, work, drain,
 * kill, back-off, heartbeats, the end of a degraded pool, a look at the sizes of
 * the pools, the stop.
 */
#ifndef TIDEMILL_DAEMON_DEADLINES_H
#define TIDEMILL_DAEMON_DEADLINES_H

struct master;
struct slot;

/* Makes the timer's event. 0 or -1. */
int deadlines_init(struct master *master);

/* Arms the timer anew; cheap, call after anything changed. */
void deadlines_arm(struct master *master);

/* As deadlines_arm, when only this slot may have become due earlier. */
void deadlines_hasten(struct master *master, const struct slot *slot);

/* Writes to the daemon board which roles are degraded, logs changes. */
void deadlines_judge_roles(struct master *master);

#endif
