/* SPDX-License-Identifier: Apache-2.0
 *
 * Telling the service manager, as sd_notify(3) describes it:
 * https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
 */
#ifndef TIDEMILL_DAEMON_NOTIFY_H
#define TIDEMILL_DAEMON_NOTIFY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/base/error.h"

#define NOTIFY_TEXT_MAX 512
#define NOTIFY_KEPT_MAX 8u

struct notify {
    int fd; /* -1: nobody wants to know */
    uint64_t watchdog_ms; /* WATCHDOG=1 is awaited as often; 0: it is not */
    unsigned kept_count;
    char kept[NOTIFY_KEPT_MAX][NOTIFY_TEXT_MAX]; /* not sent yet; oldest first */
    struct sockaddr_un address;
    socklen_t address_size;
};

/* "NOTIFY_SOCKET=...", as it was, for a program that shall have it; "" when
 * nobody wants to know. */
void notify_variable(const struct notify *notify, char *text, size_t room);

/* "WATCHDOG_USEC=...", likewise; without $WATCHDOG_PID, for it will be another
 * process. */
void notify_watchdog_variable(const struct notify *notify, char *text,
                              size_t room);

/* Reads $NOTIFY_SOCKET and the watchdog's variables, unless these are for
 * another process, and takes them out of the environment. */
void notify_init(struct notify *notify);
void notify_deinit(struct notify *notify);

/* Never blocks: what cannot be sent now (-1) is kept for notify_again, behind
 * what is kept already; of too many the oldest is let go. */
int notify_send(struct notify *notify, const char *text, struct error *error);

/* Gives a descriptor to the service manager, which hands it to the next life
 * of this service by $LISTEN_FDS under this name (FDSTORE=1).  Not kept when
 * it cannot be sent now: -1. */
int notify_give(struct notify *notify, int fd, const char *name,
                struct error *error);

/* Sends what is kept: 0 when all of it went, or there is nobody any more. */
int notify_again(struct notify *notify, struct error *error);

#endif
