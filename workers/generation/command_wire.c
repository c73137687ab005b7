/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/command_wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buffer.h"

#define PUT_BOUND_MS 1000
#define WIRE_MAX     (64u << 20)

/* Before the texts: directory, arguments and environment, each with its NUL. */
struct head {
    uint64_t bytes;
    uint64_t argument_count, variable_count;
    uint64_t timeout_ms, grace_ms;
    struct command_limits limits;
};

static size_t put_texts(struct buffer *buffer, char **texts)
{
    size_t count = 0;
    for (; texts[count] != NULL; count++)
        buffer_append(buffer, texts[count], strlen(texts[count]) + 1);
    return count;
}

static int write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        ssize_t wrote = write(fd, bytes, size);
        if (wrote < 0 && errno == EAGAIN && poll(&room, 1, PUT_BOUND_MS) == 0)
            return -1;
        if (wrote < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (wrote > 0) {
            bytes += wrote;
            size -= (size_t)wrote;
        }
    }
    return 0;
}

int command_wire_put(int fd, const struct command *command, struct error *error)
{
    struct buffer texts, all;
    struct head head = {.timeout_ms = command->timeout_ms,
                        .grace_ms = command->grace_ms,
                        .limits = command->limits};
    buffer_init(&texts, WIRE_MAX);
    buffer_init(&all, WIRE_MAX);
    buffer_append(&texts, command->directory, strlen(command->directory) + 1);
    head.argument_count = put_texts(&texts, command->argv);
    head.variable_count = put_texts(&texts, command->environment);
    head.bytes = texts.size;
    buffer_append_char(&all, WIRE_RUN);
    buffer_append(&all, (const char *)&head, sizeof(head));
    buffer_append(&all, texts.bytes, texts.size);
    int result = texts.failed || all.failed
                     ? error_set(error, ERROR_SYSTEM, "no memory for a command")
                     : 0;
    if (result == 0 && write_all(fd, all.bytes, all.size) != 0)
        result = error_set(error, ERROR_SYSTEM,
                           "the guardian of commands takes no more");
    buffer_deinit(&texts);
    buffer_deinit(&all);
    return result;
}

static int read_all(int fd, void *to, size_t size)
{
    char *at = to;
    while (size > 0) {
        ssize_t got = read(fd, at, size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        at += got;
        size -= (size_t)got;
    }
    return 0;
}

static char **take_texts(char **list, size_t count, char **at)
{
    for (size_t i = 0; i < count; i++) {
        list[i] = *at;
        *at += strlen(*at) + 1;
    }
    return list;
}

int command_wire_get(int fd, struct command *command, char **block)
{
    char kind;
    struct head head;
    do
        if (read_all(fd, &kind, 1) != 0)
            return -1;
    while (kind != WIRE_RUN); /* a cancel that came too late */
    if (read_all(fd, &head, sizeof(head)) != 0)
        return -1;
    size_t pointers = head.argument_count + head.variable_count + 2;
    char **lists = malloc(pointers * sizeof(*lists) + head.bytes);
    if (lists == NULL)
        return -1;
    memset(lists, 0, pointers * sizeof(*lists));
    char *at = (char *)(lists + pointers);
    *block = (char *)lists;
    if (read_all(fd, at, head.bytes) != 0)
        return -1;
    *command = (struct command){.directory = at,
                                .limits = head.limits,
                                .timeout_ms = head.timeout_ms,
                                .grace_ms = head.grace_ms};
    at += strlen(at) + 1;
    command->argv = take_texts(lists, head.argument_count, &at);
    command->environment =
        take_texts(lists + head.argument_count + 1, head.variable_count, &at);
    return 0;
}
