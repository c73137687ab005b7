/* SPDX-License-Identifier: Apache-2.0
 *
 * Telling the service manager, as sd_notify(3) describes it:
 * https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
 */
#ifndef TIDEMILL_DAEMON_NOTIFY_H
#define TIDEMILL_DAEMON_NOTIFY_H

#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    int fd; /* -1: nobody wants to know */
    struct sockaddr_un address;
    socklen_t address_size;
};

/* "NOTIFY_SOCKET=...", as it was, for a program that shall have it; "" when
 * nobody wants to know. */
void notify_variable(const struct notify *notify, char *text, size_t room);

/* Reads $NOTIFY_SOCKET and takes it out of the environment. */
void notify_init(struct notify *notify);
void notify_deinit(struct notify *notify);

/* "READY=1\nSTATUS=..."; never blocks, a lost one is lost. */
void notify_send(struct notify *notify, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* RELOADING=1 with the time that systemd wants beside it. */
void notify_reloading(struct notify *notify);

#endif
