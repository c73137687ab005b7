/* SPDX-License-Identifier: Apache-2.0
 *
 * The listening sockets: made once, they outlive every worker, so that no
 * client is ever refused while the daemon runs.
 */
#ifndef TIDEMILL_DAEMON_LISTENERS_H
#define TIDEMILL_DAEMON_LISTENERS_H

#include "common/base/error.h"

struct config;

struct listeners {
    int store_fd;   /* store.sock; -1: none */
    int control_fd; /* control.sock; -1: none */
    char store_path[108];
    char control_path[108];
};

/* Binds both in the runtime directory with the permission bits of
 * gateway.control_mode.  A socket that a dead daemon left is replaced: the
 * caller holds the pidfile's lock. */
int listeners_open(struct listeners *listeners, const struct config *config,
                   struct error *error);

/* Closes both and removes the sockets. */
void listeners_close(struct listeners *listeners);

#endif
