/* SPDX-License-Identifier: Apache-2.0
 *
 * What happens when workers end.
 */
#ifndef TIDEMILL_DAEMON_REAP_H
#define TIDEMILL_DAEMON_REAP_H

struct master;
struct slot;

/* Reaps all that have ended (after SIGCHLD); each is a SLOT_EVENT_GONE. */
void reap_workers(struct master *master);

/* The worker of a slot is gone: writes to the scoreboard how it ended, then
 * fills the slot again if it is to be. */
void reap_bury(struct master *master, struct slot *slot);

#endif
