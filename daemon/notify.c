/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"

void notify_init(struct notify *notify)
{
    const char *path = getenv("NOTIFY_SOCKET");
    *notify = (struct notify){.fd = -1};
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

void notify_deinit(struct notify *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}

void notify_send(struct notify *notify, const char *format, ...)
{
    char text[512];
    if (notify->fd < 0)
        return;
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (size <= 0)
        return;
    sendto(notify->fd, text, strlen(text), MSG_NOSIGNAL,
           (const struct sockaddr *)&notify->address, notify->address_size);
}

void notify_reloading(struct notify *notify)
{
    notify_send(notify,
                "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=reloading",
                clock_monotonic_ns() / 1000);
}
