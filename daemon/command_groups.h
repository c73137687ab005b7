/* SPDX-License-Identifier: Apache-2.0
 *
 * A place for the control groups (v2) of commands, where the service manager,
 * or who runs it, has left a part of the tree to the daemon.
 */
#ifndef TIDEMILL_DAEMON_COMMAND_GROUPS_H
#define TIDEMILL_DAEMON_COMMAND_GROUPS_H

#include "common/config/config.h"
#include "daemon/privileges.h"

struct command_groups {
    char path[4096]; /* below which they are made; "": none */
    char why[256];   /* there is none; or what is missing in it */
};

/* Looks for one, moves the daemon into a leaf of its own, as the kernel wants
 * it, and gives the place to the identity.  What cannot be had is said in
 * `why`: commands then end by the subreaper and /proc alone. */
void command_groups_prepare(const struct config *config,
                            const struct identity *identity,
                            struct command_groups *groups);

#endif
