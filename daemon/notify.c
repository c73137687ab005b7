/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As sd_watchdog_enabled(3). */
static uint64_t read_watchdog_ms(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    const char *period = getenv("WATCHDOG_USEC");
    uint64_t period_us = 0;
    if (period != NULL &&
        (pid == NULL || strtoll(pid, NULL, 10) == (long long)getpid()))
        period_us = strtoull(period, NULL, 10);
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
    return period_us / 1000;
}

void notify_init(struct notify *notify)
{
    const char *path = getenv("NOTIFY_SOCKET");
    *notify = (struct notify){.fd = -1, .watchdog_ms = read_watchdog_ms()};
    if (path == NULL)
        return;
    size_t size = strlen(path);
    if ((path[0] == '/' || path[0] == '@') && size > 1 &&
        size < sizeof(notify->address.sun_path)) {
        notify->address.sun_family = AF_UNIX;
        memcpy(notify->address.sun_path, path, size + 1);
        notify->address_size =
            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
        /* '@' stands for the abstract name space, which has no end mark */
        if (path[0] == '@')
            notify->address.sun_path[0] = '\0';
        else
            notify->address_size++;
        notify->fd =
            socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    unsetenv("NOTIFY_SOCKET");
}

void notify_variable(const struct notify *notify, char *text, size_t room)
{
    const char *path = notify->address.sun_path;
    bool hidden = path[0] == '\0';
    text[0] = '\0';
    if (notify->fd < 0)
        return;
    size_t size = notify->address_size -
                  offsetof(struct sockaddr_un, sun_path) - (hidden ? 0 : 1);
    snprintf(text, room, "NOTIFY_SOCKET=%s%.*s", hidden ? "@" : "",
             (int)(hidden ? size - 1 : size), hidden ? path + 1 : path);
}

void notify_watchdog_variable(const struct notify *notify, char *text,
                              size_t room)
{
    text[0] = '\0';
    if (notify->fd >= 0 && notify->watchdog_ms > 0)
        snprintf(text, room, "WATCHDOG_USEC=%" PRIu64,
                 notify->watchdog_ms * 1000);
}

void notify_deinit(struct notify *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}

/* 1: later */
static int send_text(const struct notify *notify, const char *text)
{
    ssize_t sent;
    do
        sent = sendto(notify->fd, text, strlen(text), MSG_NOSIGNAL,
                      (const struct sockaddr *)&notify->address,
                      notify->address_size);
    while (sent < 0 && errno == EINTR);
    return sent < 0 && (errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS);
}

static void keep(struct notify *notify, const char *text)
{
    if (notify->kept_count == NOTIFY_KEPT_MAX)
        memmove(notify->kept[0], notify->kept[1],
                --notify->kept_count * sizeof(notify->kept[0]));
    snprintf(notify->kept[notify->kept_count++], NOTIFY_TEXT_MAX, "%s", text);
}

int notify_again(struct notify *notify, struct error *error)
{
    while (notify->kept_count > 0) {
        if (send_text(notify, notify->kept[0]) != 0)
            return error_set_errno(error, ERROR_SYSTEM,
                                   "cannot send to $NOTIFY_SOCKET");
        memmove(notify->kept[0], notify->kept[1],
                --notify->kept_count * sizeof(notify->kept[0]));
    }
    return 0;
}

int notify_send(struct notify *notify, const char *text, struct error *error)
{
    if (notify->fd < 0)
        return 0;
    keep(notify, text);
    return notify_again(notify, error);
}

int notify_give(struct notify *notify, int fd, const char *name,
                struct error *error)
{
    char text[64];
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {text, (size_t)snprintf(text, sizeof(text),
                                                "FDSTORE=1\nFDNAME=%s", name)};
    struct msghdr message = {.msg_name = &notify->address,
                             .msg_namelen = notify->address_size,
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    if (notify->fd < 0)
        return 0;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
                               .cmsg_level = SOL_SOCKET,
                               .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    if (sendmsg(notify->fd, &message, MSG_NOSIGNAL) < 0)
        return error_set_errno(error, ERROR_SYSTEM,
                               "cannot give a socket to $NOTIFY_SOCKET");
    return 0;
}
