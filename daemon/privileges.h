/* SPDX-License-Identifier: Apache-2.0
 *
 * Root opens files and sockets only; then the daemon is system.user.
 */
#ifndef TIDEMILL_DAEMON_PRIVILEGES_H
#define TIDEMILL_DAEMON_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/error.h"

struct identity {
    bool wanted; /* we are root and shall become this user */
    uid_t uid;   /* who will write in the directories */
    gid_t gid;
    char user[65];
};

/* Looks the user up; an empty name, or a start by somebody else than root,
 * leaves us who we are. */
int privileges_find(const char *user, struct identity *identity,
                    struct error *error);

/* Gives a path to the identity, if one is wanted. */
int privileges_give(const struct identity *identity, const char *path,
                    struct error *error);

/* Becomes the identity for good: groups, gid, uid, and no capability left,
 * neither ambient nor inheritable; checks that there is no way back. */
int privileges_drop(const struct identity *identity, struct error *error);

#endif
