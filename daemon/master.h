/* SPDX-License-Identifier: Apache-2.0
 *
 * The master: signals, slots, deadlines, configuration.  It opens no
 * database, resolves no names, and reads nothing from its workers but
 * bounded, checked messages.
 */
#ifndef TIDEMILL_DAEMON_MASTER_H
#define TIDEMILL_DAEMON_MASTER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/config/config.h"
#include "common/shm/mapping.h"
#include "daemon/command_groups.h"
#include "daemon/daemonise.h"
#include "daemon/listeners.h"
#include "daemon/notify.h"
#include "daemon/pidfile.h"
#include "daemon/pool.h"
#include "daemon/pools.h"
#include "daemon/roles.h"
#include "daemon/slots.h"
#include "daemon/takeover.h"
#include "daemon/trouble.h"
#include "daemon/upgrade.h"

struct event;
struct event_base;

/* How this program was started, for an upgrade. */
struct program {
    const char *path;
    char **argv; /* with absolute paths; ends with NULL */
};

struct master_options {
    struct config_request request; /* how to load the configuration again */
    const struct role_row *roles;  /* ROLE_COUNT rows */
    const char *pidfile;           /* NULL: <runtime_dir>/tidemilld.pid */
    bool foreground;
    const struct program *program; /* NULL: there can be no upgrade */
    struct takeover *takeover;     /* NULL: takes over from nobody */
    struct mapping *mapping; /* NULL: one is made */
};

struct master {
    struct command_groups command_groups;
    const struct master_options *options;
    struct config *config;
    struct mapping *mapping;
    struct pidfile pidfile;
    struct listeners listeners;
    struct notify notify;
    bool given; /* the listeners, to the service manager: they stay */
    struct starter *starter;

    pid_t log_helper;       /* 0: none runs */
    bool log_helper_wanted; /* once more when it has ended */

    struct event_base *base;
    int signal_fd;
    struct event *signal_event;
    struct event *check_event; /* the one timer, for the earliest deadline */
    struct event *watchdog_event; /* NULL: no service manager's watchdog */
    uint64_t check_due_ms;     /* when it fires */
    uint64_t lenient_until_ms; /* heartbeats are not judged before */

    uint32_t spawn_count;
    struct slot slots[SLOTS_MAX];
    struct crash_record crashes[ROLE_COUNT];
    struct pool pools[ROLE_COUNT];

    struct upgrade upgrade;
    struct trouble troubles[TROUBLE_COUNT];
    unsigned replace_later; /* roles whose workers TROUBLE_REPLACE keeps */

    bool begun;    /* the workers may start */
    bool ready;    /* every first worker has said READY */
    bool over;     /* master_run returns */
    bool stopping;
    bool killing;        /* the stop became immediate */
    bool last_rank_told; /* the store was told to drain */
    uint64_t stop_deadline_ms;
    char last_failure[MESSAGE_TEXT_MAX]; /* what a worker said last */
    enum role last_failure_role;         /* whose worker it was */
    enum error_code last_failure_code;   /* and of which kind */
    struct error failure;                /* why the daemon ends; code NONE: asked */
};

/* Takes over config (freed by master_free) and makes the directories, the
 * pidfile, the listeners, the mapping; becomes system.user; opens the log. */
struct master *master_new(const struct master_options *options,
                          struct config *config, struct starter *starter,
                          struct error *error);

/* Starts the workers and serves until the daemon has stopped.  0 after a
 * stop that was asked for, -1 when it ended because of an error. */
int master_run(struct master *master, struct error *error);

/* False while the master that hands over to us is still there: it may go on,
 * and the old log files are its helper's. */
bool master_is_alone(const struct master *master);

/* All is done: master_run returns. */
void master_end(struct master *master);

/* The workers start now; a second call does nothing. */
void master_begin(struct master *master);

/* Removes pidfile and sockets, unless they were handed over. */
void master_free(struct master **master);

/* Called when a worker said READY: the daemon is ready when all have. */
void master_check_ready(struct master *master);

/* Called when a worker ended before the daemon was ready: gives up when it
 * makes no sense to go on. */
void master_check_start(struct master *master, const struct slot *slot);

/* Opens the log as the configuration says. */
int master_open_log(struct master *master, struct error *error);

/* Puts what the workers need at once, replaced or not, into shared memory. */
void master_show_config(struct master *master);

/* Sends to the service manager, "READY=1\nSTATUS=...", now or later. */
void master_tell(struct master *master, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The title and the status for systemd. */
void master_say_status(struct master *master);

#endif
