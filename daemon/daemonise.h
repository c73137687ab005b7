/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaving the terminal.  The process that was started stays until the
 * daemon says how the start went, prints why it failed, and returns that.
 * What the daemon says is one byte, the exit status, and its words; the old
 * master of an upgrade is told in the same way.
 */
#ifndef TIDEMILL_DAEMON_DAEMONISE_H
#define TIDEMILL_DAEMON_DAEMONISE_H

#include <stdbool.h>

#include "common/base/error.h"

struct starter {
    int fd;         /* to the waiting process; -1: in the foreground */
    bool reported;
};

/* In the foreground: starter_init only.  Otherwise forks: the parent waits,
 * then exits with the daemon's word; the child goes on in a session of its
 * own with / as its directory. */
void starter_init(struct starter *starter);
int daemonise(struct starter *starter, struct error *error);

/* What takes over from a running daemon is prepared: all is well so far. */
void starter_prepared(struct starter *starter);
#define STARTER_PREPARED 255 /* in the place of an exit status */

/* The start went well. */
void starter_succeed(struct starter *starter);

/* The start failed: to the waiting process, or to standard error. */
void starter_fail(struct starter *starter, const struct error *error);

#endif
