/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/takeover.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/log.h"
#include "daemon/listeners.h"
#include "daemon/master.h"
#include "daemon/rotation.h"

#define FD_COUNT 4

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void close_others(const struct takeover *takeover)
{
    int keep[FD_COUNT] = {takeover->channel_fd, takeover->store_fd,
                          takeover->control_fd, takeover->pidfile_fd};
    int next = STDERR_FILENO + 1;
    qsort(keep, FD_COUNT, sizeof(keep[0]), compare_ints);
    for (size_t i = 0; i < FD_COUNT; i++) {
        if (keep[i] < next)
            continue;
        if (keep[i] > next)
            close_range((unsigned)next, (unsigned)keep[i] - 1, 0);
        next = keep[i] + 1;
    }
    close_range((unsigned)next, ~0u, 0);
}

static bool keep_to_us(int fd)
{
    return fd > STDERR_FILENO && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static int take_descriptors(struct takeover *takeover, const char *text,
                            struct error *error)
{
    int protocol = 0;
    int fields = sscanf(text, "%d %d %d %d %d", &protocol,
                        &takeover->channel_fd, &takeover->store_fd,
                        &takeover->control_fd, &takeover->pidfile_fd);
    if (fields < 1 || protocol != UPGRADE_PROTOCOL)
        return error_set(error, ERROR_PROTOCOL,
                         "the running daemon hands over in a way (%d) that "
                         "this version does not know; restart it instead",
                         protocol);
    if (fields != 1 + FD_COUNT || !keep_to_us(takeover->channel_fd) ||
        !keep_to_us(takeover->store_fd) || !keep_to_us(takeover->control_fd) ||
        !keep_to_us(takeover->pidfile_fd))
        return error_set(error, ERROR_PROTOCOL,
                         "$" UPGRADE_VARIABLE " is set, but names no "
                         "descriptors of a running daemon; unset it");
    return 0;
}

#define LISTEN_FDS_FIRST 3 /* SD_LISTEN_FDS_START */
#define LISTEN_FDS_MAX   64

/* names: "one:two:three", one for each descriptor. */
static void take_listening(struct takeover *takeover, const char *names,
                           int count)
{
    for (int fd = LISTEN_FDS_FIRST; fd < LISTEN_FDS_FIRST + count; fd++) {
        char name[32] = "";
        int *place = NULL;
        size_t size = strcspn(names, ":");
        if (size < sizeof(name))
            memcpy(name, names, size);
        if (strcmp(name, LISTENER_STORE) == 0)
            place = &takeover->store_fd;
        else if (strcmp(name, LISTENER_CONTROL) == 0)
            place = &takeover->control_fd;
        if (place != NULL && *place < 0 && keep_to_us(fd))
            *place = fd;
        names += size + (names[size] == ':');
    }
}

/* What the service manager passes, if it is meant for us. */
static void find_listening(struct takeover *takeover)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    if (!takeover->wanted && pid != NULL && count != NULL && names != NULL &&
        strtoll(pid, NULL, 10) == (long long)getpid()) {
        long fds = strtol(count, NULL, 10);
        take_listening(takeover, names,
                       fds > LISTEN_FDS_MAX ? LISTEN_FDS_MAX : (int)fds);
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

int takeover_find(struct takeover *takeover, struct error *error)
{
    const char *text = getenv(UPGRADE_VARIABLE);
    *takeover = (struct takeover){.wanted = text != NULL,
                                  .channel_fd = -1,
                                  .store_fd = -1,
                                  .control_fd = -1,
                                  .pidfile_fd = -1};
    int result = text == NULL ? 0 : take_descriptors(takeover, text, error);
    unsetenv(UPGRADE_VARIABLE);
    find_listening(takeover);
    close_others(takeover);
    return result;
}

static void on_channel(evutil_socket_t fd, short what, void *self)
{
    struct master *master = self;
    struct upgrade_word word = {0};
    (void)what;
    ssize_t got = recv(fd, &word, sizeof(word), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got == (ssize_t)sizeof(word) && word.begin == 'B') {
        if (word.paused)
            atomic_store(&master->mapping->sync.paused, 1);
        master_begin(master);
        return;
    }
    log_notice("the master before has left");
    master->options->takeover->alone = true;
    takeover_deinit(master->options->takeover);
    /* it may have died before it said a word */
    master_begin(master);
    /* the service manager listens to us from now on */
    if (master->ready)
        master_say_status(master);
    rotation_tidy(master);
}

int takeover_wait(struct master *master, struct error *error)
{
    struct takeover *takeover = master->options->takeover;
    takeover->event = event_new(master->base, takeover->channel_fd,
                                EV_READ | EV_PERSIST, on_channel, master);
    if (takeover->event == NULL || event_add(takeover->event, NULL) != 0)
        return error_set(error, ERROR_SYSTEM,
                         "cannot watch the channel of the upgrade");
    starter_prepared(master->starter);
    return 0;
}

void takeover_deinit(struct takeover *takeover)
{
    if (takeover->event != NULL)
        event_free(takeover->event);
    takeover->event = NULL;
    if (takeover->channel_fd >= 0)
        close(takeover->channel_fd);
    takeover->channel_fd = -1;
}
