/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/control.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/buffer.h"
#include "common/base/clock.h"
#include "ctl/correlation.h"

#define PASS_TIMEOUT_MS 2000
#define ANSWER_MAX      (8u << 20)

#define CONTROL_LOST -2
#define LOSSES_MAX   100

static const char *const control_names[] = {
#define X(name, text, changes, repeats, words) text,
    CONTROL_LIST(X)
#undef X
};

static const bool control_repeats[] = {
#define X(name, text, changes, repeats, words) repeats,
    CONTROL_LIST(X)
#undef X
};

static int control_connect(const struct config *config, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[CONFIG_PATH_MAX];
    config_runtime_path(config, "control.sock", path, sizeof(path));
    if (strlen(path) >= sizeof(address.sun_path))
        return error_set(error, ERROR_CONFIG,
                         "%s is too long for a socket; choose a shorter "
                         "paths.runtime_dir",
                         path);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot make a socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    if (errno == ENOENT || errno == ECONNREFUSED)
        error_set(error, ERROR_NOT_RUNNING,
                  "the daemon is not running (nobody listens on %s); start "
                  "tidemilld, or name its configuration with -c",
                  path);
    else if (errno == EACCES)
        error_set(error, ERROR_NOT_ALLOWED,
                  "you may not use %s; become root, the daemon's user, or a "
                  "member of its group",
                  path);
    else
        error_set_errno(error, ERROR_IO, "cannot connect to %s", path);
    close(fd);
    return -1;
}

/* A gateway that was killed, or replaced in an upgrade. */
static int lost(struct error *error)
{
    error_set(error, ERROR_TRY_AGAIN,
              "the daemon closed the connection before it answered; try "
              "again");
    return CONTROL_LOST;
}

static bool is_lost(int saved)
{
    return saved == EPIPE || saved == ECONNRESET;
}

static int send_all(int fd, const char *bytes, size_t size, struct error *error)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && is_lost(errno))
            return lost(error);
        if (sent < 0)
            return error_set_errno(error, ERROR_IO,
                                   "cannot send to the daemon");
        bytes += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* Waits for bytes until end_ms (0: for ever). */
static int wait_readable(int fd, uint64_t end_ms, struct error *error)
{
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        int left = -1;
        if (end_ms != 0)
            left = end_ms > now_ms ? (int)(end_ms - now_ms) : 0;
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        int ready = poll(&poll_fd, 1, left);
        if (ready > 0)
            return 0;
        if (ready == 0)
            return error_set(error, ERROR_TRY_AGAIN,
                             "the daemon did not answer in time; see its log");
        if (errno != EINTR)
            return error_set_errno(error, ERROR_IO, "cannot wait");
    }
}

/* Reads up to the line end. */
static int receive_line(int fd, uint64_t end_ms, struct buffer *line,
                        struct error *error)
{
    for (;;) {
        if (wait_readable(fd, end_ms, error) != 0)
            return -1;
        char *at = buffer_reserve(line, 16384);
        if (at == NULL)
            return error_set(error, ERROR_PROTOCOL,
                             "the daemon's answer is too long");
        ssize_t got = recv(fd, at, 16384, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && !is_lost(errno))
            return error_set_errno(error, ERROR_IO, "cannot hear the daemon");
        if (got <= 0)
            return lost(error);
        line->size += (size_t)got;
        if (line->bytes[line->size - 1] == '\n')
            return 0;
    }
}

static json_t *take_data(const struct buffer *line, struct error *error)
{
    json_t *answer = json_loadb(line->bytes, line->size, 0, NULL);
    json_t *data = NULL;
    if (json_is_true(json_object_get(answer, "ok"))) {
        data = json_incref(json_object_get(answer, "data"));
    } else {
        const char *text = json_string_value(json_object_get(answer, "error"));
        int status = (int)json_integer_value(json_object_get(answer, "status"));
        error_set(error, error_code_of_status(status), "%s",
                  text != NULL ? text : "the daemon's answer is no JSON");
    }
    json_decref(answer);
    return data;
}

/* 0, -1, or CONTROL_LOST. */
static int ask_once(const struct config *config, const char *text,
                    uint64_t end_ms, struct buffer *line, struct error *error)
{
    int fd = control_connect(config, error);
    if (fd < 0)
        return -1;
    buffer_reset(line);
    int result = send_all(fd, text, strlen(text), error);
    if (result == 0)
        result = receive_line(fd, end_ms, line, error);
    close(fd);
    return result;
}

static bool is_late(uint64_t end_ms)
{
    return end_ms != 0 && clock_monotonic_ms() >= end_ms;
}

json_t *control_ask(const struct config *config, enum control_command command,
                    json_t *args, unsigned timeout_ms, struct error *error)
{
    json_t *data = NULL;
    struct buffer line;
    uint64_t end_ms = timeout_ms == 0 ? 0 : clock_monotonic_ms() + timeout_ms;
    unsigned losses = 0;
    int result;
    buffer_init(&line, ANSWER_MAX);
    json_t *request =
        json_pack("{s:s,s:s,s:o*}", "command", control_names[command],
                  "correlation_id", correlation_id(), "args", args);
    char *words = json_dumps(request, JSON_COMPACT);
    char *text;
    json_decref(request);
    if (words == NULL || asprintf(&text, "%s\n", words) < 0)
        text = NULL;
    free(words);
    do
        result = text == NULL
                     ? error_set(error, ERROR_SYSTEM, "no memory to ask")
                     : ask_once(config, text, end_ms, &line, error);
    while (result == CONTROL_LOST && control_repeats[command] &&
           ++losses < LOSSES_MAX && !is_late(end_ms));
    if (result == 0)
        data = take_data(&line, error);
    free(text);
    buffer_deinit(&line);
    return data;
}

void control_ask_pass(const struct config *config)
{
    struct error ignored;
    json_decref(
        control_ask(config, CONTROL_SYNC_NOW, NULL, PASS_TIMEOUT_MS, &ignored));
}
