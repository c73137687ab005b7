/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/daemonise.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void starter_init(struct starter *starter)
{
    *starter = (struct starter){.fd = -1};
}

static _Noreturn void wait_for_word(int fd)
{
    char text[1 + ERROR_TEXT_MAX];
    size_t size = 0;
    while (size < sizeof(text) - 1) {
        ssize_t got = read(fd, text + size, sizeof(text) - 1 - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    text[size] = '\0';
    if (size == 0) {
        fprintf(stderr, "tidemilld: the daemon died as it started; see its "
                        "log\n");
        _exit(error_exit_status(ERROR_SOFTWARE));
    }
    if (text[0] != 0)
        fprintf(stderr, "tidemilld: %s\n", text + 1);
    _exit(text[0]);
}

static int leave_terminal(struct error *error)
{
    if (setsid() < 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot make a session");
    if (chdir("/") != 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot go to /");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot open /dev/null");
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    if (null > STDERR_FILENO)
        close(null);
    return 0;
}

int daemonise(struct starter *starter, struct error *error)
{
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot make a pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        error_set_errno(error, ERROR_SYSTEM, "cannot fork");
        close(pipes[0]);
        close(pipes[1]);
        return -1;
    }
    if (pid > 0) {
        close(pipes[1]);
        wait_for_word(pipes[0]);
    }
    close(pipes[0]);
    starter->fd = pipes[1];
    return leave_terminal(error);
}

static void say(const struct starter *starter, int status, const char *words)
{
    char text[1 + ERROR_TEXT_MAX];
    text[0] = (char)status;
    size_t size = strlen(words);
    if (size > ERROR_TEXT_MAX)
        size = ERROR_TEXT_MAX;
    memcpy(text + 1, words, size);
    ssize_t wrote = write(starter->fd, text, size + 1);
    (void)wrote; /* nobody waits any more: nobody to tell */
}

static void report(struct starter *starter, int status, const char *words)
{
    say(starter, status, words);
    close(starter->fd);
    starter->fd = -1;
}

void starter_prepared(struct starter *starter)
{
    if (starter->fd >= 0)
        say(starter, STARTER_PREPARED, "");
}

void starter_succeed(struct starter *starter)
{
    if (starter->fd >= 0)
        report(starter, 0, "");
    starter->reported = true;
}

void starter_fail(struct starter *starter, const struct error *error)
{
    if (starter->fd >= 0)
        report(starter, error_exit_status(error->code), error->text);
    else
        fprintf(stderr, "tidemilld: %s\n", error->text);
    starter->reported = true;
}
