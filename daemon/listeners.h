/* SPDX-License-Identifier: Apache-2.0
 *
 * The listening sockets: made once, they outlive every worker, so that no
 * client is ever refused while the daemon runs.
 */
#ifndef TIDEMILL_DAEMON_LISTENERS_H
#define TIDEMILL_DAEMON_LISTENERS_H

#include "common/base/error.h"

struct config;

/* What a service manager that keeps them knows them by. */
#define LISTENER_STORE   "store"
#define LISTENER_CONTROL "control"

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

/* The same with the listening sockets of a daemon that hands over; they must
 * be bound where the configuration wants them, and still be found there. */
int listeners_adopt(struct listeners *listeners, const struct config *config,
                    int store_fd, int control_fd, struct error *error);

/* Closes both; the sockets stay: another process listens on them. */
void listeners_leave(struct listeners *listeners);

/* Closes both and removes the sockets. */
void listeners_close(struct listeners *listeners);

#endif
