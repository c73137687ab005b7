/* SPDX-License-Identifier: Apache-2.0
 *
 * The new master's side of an upgrade (upgrade.h has the old one's): it
 * inherits the listening sockets, the locked pidfile and a channel to the
 * old master by descriptors that $TIDEMILL_UPGRADE names,
 *
 *     UPGRADE_PROTOCOL channel store control pidfile
 *
 * prepares everything but its workers, says so, and waits for the word to
 * begin.  What it tells goes through its starter (daemonise.h).
 *
 * Without an older master the listening sockets may come from the service
 * manager, which kept those of an earlier life (sd_listen_fds(3), named
 * LISTENER_STORE and LISTENER_CONTROL): whoever connected meanwhile waits
 * there.
 */
#ifndef TIDEMILL_DAEMON_TAKEOVER_H
#define TIDEMILL_DAEMON_TAKEOVER_H

#include <stdbool.h>

#include "common/base/error.h"

struct event;
struct master;

#define UPGRADE_VARIABLE "TIDEMILL_UPGRADE"
#define UPGRADE_PROTOCOL 1

/* The word to begin: one packet of this size. */
struct upgrade_word {
    char begin;  /* 'B' */
    char paused; /* 1: the sync pool was paused */
};

struct takeover {
    bool wanted; /* an older master started us; else all are -1 */
    bool alone;  /* it has left, or died */
    int channel_fd;
    int store_fd;   /* of a service manager, when not `wanted` */
    int control_fd; /* likewise */
    int pidfile_fd;
    struct event *event; /* NULL: not waiting */
};

/* Reads the variables and takes them out of the environment; closes every
 * descriptor that is neither a standard stream nor inherited this way: what
 * a careless starter left open would live as long as we do. */
int takeover_find(struct takeover *takeover, struct error *error);

/* Says that all is prepared and calls master_begin when the old master says
 * so, or is gone. */
int takeover_wait(struct master *master, struct error *error);

void takeover_deinit(struct takeover *takeover);

#endif
