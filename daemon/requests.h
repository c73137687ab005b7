/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators' requests that the gateway relays.
 */
#ifndef TIDEMILL_DAEMON_REQUESTS_H
#define TIDEMILL_DAEMON_REQUESTS_H

struct master;
struct message;
struct slot;

/* Does what a REQUEST asks.  One that cannot be, or that does not come from
 * the gateway, costs the worker its life. */
void requests_take(struct master *master, struct slot *slot,
                   const struct message *message);

/* All processes open their log files again. */
void requests_reopen_logs(struct master *master);

#endif
