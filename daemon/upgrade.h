/* SPDX-License-Identifier: Apache-2.0
 *
 * USR2: the program anew, with the sockets of this one.
 *
 *   the old master                       the new one (takeover.h)
 *   starts it                    ->      reads its configuration, takes the
 *                                        sockets and the pidfile
 *                                <-      PREPARED
 *   its workers leave, the store and
 *   the gateway last; clients wait
 *   at the sockets
 *   the word to begin            ->      its workers start, write its pid
 *                                <-      ready
 *   leaves
 *
 * Two sets of workers never serve side by side: claims belong to slots, and
 * the store is alone.  Whatever fails before the end - words from the new
 * master, its death, a deadline - kills the new one and starts the old one's
 * workers again.  If the old master dies, the new one goes on by itself.
 */
#ifndef TIDEMILL_DAEMON_UPGRADE_H
#define TIDEMILL_DAEMON_UPGRADE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct event;
struct master;

enum upgrade_state {
    UPGRADE_NONE,
    UPGRADE_PREPARING, /* the new master reads and opens; we serve */
    UPGRADE_LEAVING,   /* our workers drain */
    UPGRADE_STARTING,  /* the new master's workers start; we have none */
    UPGRADE_UNDOING,   /* it failed: the new master is dying */
};

struct upgrade {
    enum upgrade_state state;
    pid_t pid;            /* the new master; 0: none */
    int fd;               /* our end of the channel, while there is a pid */
    struct event *event;
    uint64_t deadline_ms; /* monotonic; 0: none */
    bool reload_waits;    /* asked for meanwhile */
    bool handed_over;     /* sockets and pidfile are the new master's */
};

/* Begins one; what makes it impossible now is a failed one. */
void upgrade_begin(struct master *master);

/* Called when a worker is gone while they leave. */
void upgrade_advance(struct master *master);
bool upgrade_is_leaving(const struct master *master);

/* True when this was the new master, which ended so (waitpid). */
bool upgrade_reaped(struct master *master, pid_t pid, int wait_status);

/* Called by the timer. */
void upgrade_check(struct master *master);

/* True when there is an upgrade under way: the reload is done after it, by
 * whoever serves then. */
bool upgrade_defers_reload(struct master *master);

/* The new master has a log open, too. */
void upgrade_reopen_logs(const struct master *master);

/* The daemon stops: so does the new master. */
void upgrade_abandon(struct master *master);

void upgrade_deinit(struct master *master);

#endif
