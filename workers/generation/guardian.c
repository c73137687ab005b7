/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/process_title.h"
#include "workers/generation/command_lock.h"
#include "workers/generation/command_wire.h"
#include "workers/generation/job_group.h"
#include "workers/generation/process_tree.h"

#define CLOSE_BOUND_MS 1000
#define SWEEP_MS       1000
#define CHILD_KILLS    2 /* the news of one may be of an earlier child */

/* The guardian's own descriptors. */
enum {
    CONTROL_FD = 3,
    RESULT_FD,
    OUTPUT_FD,
    CHILD_FD,
    GROUP_FD, /* where there is one */
    LOCK_FD,  /* likewise */
    FIRST_OTHER_FD
};

#define GIVEN 5 /* by the worker: all but CHILD_FD */
static const int given_fds[GIVEN] = {CONTROL_FD, RESULT_FD, OUTPUT_FD, GROUP_FD,
                                     LOCK_FD};

/* --- the command's process --- */

static int limit(int resource, uint64_t value)
{
    const struct rlimit both = {.rlim_cur = value, .rlim_max = value};
    return value == 0 ? 0 : setrlimit((__rlimit_resource_t)resource, &both);
}

static int set_limits(const struct command_limits *limits)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0 ||
        limit(RLIMIT_CPU, limits->cpu_seconds) != 0 ||
        limit(RLIMIT_AS, limits->memory_bytes) != 0 ||
        limit(RLIMIT_FSIZE, limits->file_bytes) != 0 ||
        limit(RLIMIT_NPROC, limits->processes) != 0)
        return -1;
    return limit(RLIMIT_NOFILE, limits->open_files);
}

static const char *path_of(char **environment)
{
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, "PATH=", 5) == 0)
            return *environment + 5;
    return "/usr/local/bin:/usr/bin:/bin";
}

/* Not execvp, which hands what is no program to a shell. */
static void execute(const struct command *command)
{
    char file[4096];
    const char *name = command->argv[0];
    const char *path = path_of(command->environment);
    int why = ENOENT;
    if (strchr(name, '/') != NULL) {
        execve(name, command->argv, command->environment);
        return;
    }
    while (*path != '\0') {
        int length = (int)strcspn(path, ":");
        snprintf(file, sizeof(file), "%.*s/%s", length, path, name);
        execve(file, command->argv, command->environment);
        if (errno != ENOENT && errno != ENOTDIR)
            why = errno;
        path += length;
        path += *path == ':';
    }
    errno = why;
}

/* After vfork: the guardian's memory is ours until we are gone, and so is
 * *failed. */
static _Noreturn void be_command(const struct command *command, pid_t guardian,
                                 int group_fd, volatile int *failed)
{
    sigset_t none;
    sigemptyset(&none);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != guardian)
        _exit(127);
    setsid();
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if ((group_fd < 0 || job_group_enter(group_fd) == 0) && null_fd >= 0 &&
        dup2(null_fd, STDIN_FILENO) >= 0 &&
        dup2(OUTPUT_FD, STDOUT_FILENO) >= 0 &&
        dup2(OUTPUT_FD, STDERR_FILENO) >= 0 &&
        close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) == 0 &&
        chdir(command->directory) == 0 && set_limits(&command->limits) == 0) {
        sigprocmask(SIG_SETMASK, &none, NULL);
        execute(command);
    }
    *failed = errno;
    _exit(127);
}

/* --- the guardian's process --- */

enum phase { RUNNING, ASKED, KILLING };

struct watch {
    pid_t child;
    enum phase phase;
    uint64_t until_ms; /* of the phase */
    uint64_t grace_ms;
    bool child_over;
    unsigned kills; /* of the child alone */
    int group_fd;   /* -1: none */
    struct command_result result;
};

static void ask(struct watch *watch)
{
    if (watch->phase != RUNNING)
        return;
    watch->phase = ASKED;
    watch->until_ms = clock_monotonic_ms() + watch->grace_ms;
    process_tree_signal(getpid(), SIGTERM);
    process_tree_signal(getpid(), SIGCONT);
}

/* False when there is no child any more, and so nothing below us. */
static bool reap(struct watch *watch)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != watch->child)
            continue;
        watch->child_over = true;
        watch->result.end =
            WIFSIGNALED(status) ? COMMAND_SIGNALLED : COMMAND_EXITED;
        watch->result.detail =
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
        if (watch->phase == RUNNING)
            watch->phase = KILLING; /* what it left behind */
    }
    return pid == 0;
}

static void take_control(struct watch *watch)
{
    char byte;
    ssize_t size = read(CONTROL_FD, &byte, 1);
    if (size > 0 && watch->phase == RUNNING) {
        watch->result.cancelled = true;
        ask(watch);
    } else if (size == 0) {
        watch->phase = KILLING;
    }
}

static void wait_for_news(struct watch *watch)
{
    struct pollfd fds[] = {{.fd = CONTROL_FD, .events = POLLIN},
                           {.fd = CHILD_FD, .events = POLLIN}};
    struct signalfd_siginfo news;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t wait_ms = watch->until_ms > now_ms ? watch->until_ms - now_ms : 0;
    if (wait_ms > 60000)
        wait_ms = 60000;
    if (poll(fds, 2, (int)wait_ms) > 0) {
        if (fds[1].revents != 0) {
            ssize_t got = read(CHILD_FD, &news, sizeof(news));
            (void)got; /* waitpid tells more */
        }
        if (fds[0].revents != 0)
            take_control(watch);
    }
    if (watch->phase == KILLING || clock_monotonic_ms() < watch->until_ms)
        return;
    if (watch->phase == RUNNING) {
        watch->result.timed_out = true;
        ask(watch);
    } else {
        watch->phase = KILLING;
    }
}

/* The command itself first, which mostly is all there is: the others are
 * looked for in the whole of /proc. */
static void kill_some(struct watch *watch)
{
    struct signalfd_siginfo news;
    struct pollfd child = {.fd = CHILD_FD, .events = POLLIN};
    if (watch->kills++ < CHILD_KILLS) {
        kill(watch->child, SIGKILL); /* not reaped yet */
    } else {
        process_tree_signal(getpid(), SIGSTOP);
        process_tree_signal(getpid(), SIGKILL);
    }
    if (poll(&child, 1, 5) > 0) {
        ssize_t got = read(CHILD_FD, &news, sizeof(news));
        (void)got; /* waitpid tells more */
    }
}

static void watch_over(struct watch *watch)
{
    while (reap(watch)) {
        if (watch->phase != KILLING) {
            wait_for_news(watch);
            continue;
        }
        job_group_kill(watch->group_fd);
        if (watch->child_over) {
            while (process_tree_kill(SWEEP_MS) != 0) { /* in the kernel */
            }
            return;
        }
        kill_some(watch);
    }
}

static int take_descriptors(const int fds[GIVEN])
{
    int high[GIVEN];
    for (int i = 0; i < GIVEN; i++) {
        high[i] =
            fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST_OTHER_FD);
        if (fds[i] >= 0 && high[i] < 0)
            return -1;
    }
    for (int i = 0; i < GIVEN; i++) {
        if (high[i] < 0)
            close(given_fds[i]);
        else if (dup3(high[i], given_fds[i], O_CLOEXEC) < 0)
            return -1;
    }
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    int fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0 || (fd != CHILD_FD && dup3(fd, CHILD_FD, O_CLOEXEC) < 0))
        return -1;
    return close_range(FIRST_OTHER_FD, ~0u, 0);
}

/* Runs one command from its start until nothing of it is left. */
static void run_command(const struct command *command, int group_fd,
                        struct command_result *result)
{
    volatile int failed = 0;
    struct watch watch = {.grace_ms = command->grace_ms,
                          .until_ms =
                              clock_monotonic_ms() + command->timeout_ms,
                          .child = -1,
                          .group_fd = group_fd};
    pid_t guardian = getpid();
    if (group_fd >= 0)
        job_group_limit(group_fd, command->limits.memory_bytes,
                        command->limits.processes);
    watch.child = vfork(); /* a fork would copy the worker's page tables */
    if (watch.child == 0)
        be_command(command, guardian, group_fd, &failed);
    if (watch.child < 0)
        failed = errno;
    else
        watch_over(&watch);
    *result = watch.result;
    if (failed != 0) {
        result->end = COMMAND_NOT_STARTED;
        result->detail = failed;
    }
}

/* All signals are blocked here, and stay so.  One command after the other,
 * until the worker closes the pipe. */
static _Noreturn void be_guardian(const int fds[GIVEN], unsigned slot)
{
    struct command command;
    struct command_result result;
    char *block = NULL;
    int group_fd = fds[3] >= 0 ? GROUP_FD : -1;
    if (take_descriptors(fds) != 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
        _exit(1);
    setsid();
    command_lock_hold(fds[4] >= 0 ? LOCK_FD : -1, slot);
    process_title_set("tidemilld: guardian");
    while (command_wire_get(CONTROL_FD, &command, &block) == 0) {
        run_command(&command, group_fd, &result);
        free(block);
        if (write(RESULT_FD, &result, sizeof(result)) < 0)
            break;
    }
    _exit(0);
}

/* --- the worker's side --- */

static void close_all(int fds[6])
{
    for (int i = 0; i < 6; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static int open_guardian(struct guardian *guardian, struct error *error)
{
    int fds[6] = {-1, -1, -1, -1, -1, -1}; /* control, result, output */
    job_group_kill(guardian->group_fd);    /* of one that was killed */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0 ||
        pipe2(&fds[0], O_CLOEXEC) != 0 || pipe2(&fds[2], O_CLOEXEC) != 0 ||
        pipe2(&fds[4], O_CLOEXEC) != 0) {
        error_set_errno(error, ERROR_SYSTEM, "cannot make a command's pipes");
        close_all(fds);
        return -1;
    }
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    const int theirs[GIVEN] = {fds[0], fds[3], fds[5],
                               guardian->group_fd > 0 ? guardian->group_fd : -1,
                               guardian->lock_fd > 0 ? guardian->lock_fd : -1};
    pid_t pid = fork();
    if (pid == 0)
        be_guardian(theirs, guardian->slot);
    if (pid < 0)
        error_set_errno(error, ERROR_SYSTEM, "cannot fork a guardian");
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        close_all(fds);
        return -1;
    }
    for (int i = 0; i < 3; i++)
        close(theirs[i]);
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    fcntl(fds[2], F_SETFL, O_NONBLOCK);
    fcntl(fds[4], F_SETFL, O_NONBLOCK);
    *guardian = (struct guardian){.pid = pid,
                                  .control_fd = fds[1],
                                  .group_fd = guardian->group_fd,
                                  .lock_fd = guardian->lock_fd,
                                  .slot = guardian->slot,
                                  .result_fd = fds[2],
                                  .output_fd = fds[4]};
    return 0;
}

/* It may have died since the last command. */
int guardian_start(struct guardian *guardian, struct error *error)
{
    struct pollfd word = {.fd = guardian->result_fd, .events = POLLIN};
    if (guardian->pid != 0 && poll(&word, 1, 0) == 0)
        return 0;
    guardian_close(guardian); /* what was left of it */
    return open_guardian(guardian, error);
}

int guardian_run(struct guardian *guardian, const struct command *command,
                 struct error *error)
{
    for (int i = 0; i < 2; i++) {
        if (guardian_start(guardian, error) != 0)
            return -1;
        if (command_wire_put(guardian->control_fd, command, error) == 0)
            return 0;
        guardian_close(guardian);
    }
    return -1;
}

void guardian_cancel(struct guardian *guardian)
{
    static const char byte = WIRE_CANCEL;
    ssize_t wrote = write(guardian->control_fd, &byte, 1);
    (void)wrote; /* it has ended, or is killed at its bound */
}

/* The end of file comes when the guardian has left; one that is stopped does
 * not, and is killed. */
static void await_end(int result_fd)
{
    struct command_result result;
    uint64_t until_ms = clock_monotonic_ms() + CLOSE_BOUND_MS;
    uint64_t now_ms;
    while ((now_ms = clock_monotonic_ms()) < until_ms) {
        struct pollfd end = {.fd = result_fd, .events = POLLIN};
        if (poll(&end, 1, (int)(until_ms - now_ms)) > 0 &&
            read(result_fd, &result, sizeof(result)) == 0)
            return;
    }
}

void guardian_close_tree(struct guardian *guardian)
{
    if (guardian->pid == 0)
        return;
    close(guardian->control_fd);
    await_end(guardian->result_fd);
    kill(guardian->pid, SIGKILL); /* our child, not reaped yet */
    waitpid(guardian->pid, NULL, 0);
    job_group_kill(guardian->group_fd);
    process_tree_kill(CLOSE_BOUND_MS);
    guardian->pid = 0;
    guardian->control_fd = -1;
}

void guardian_close(struct guardian *guardian)
{
    guardian_close_tree(guardian);
    if (guardian->result_fd > 0)
        close(guardian->result_fd);
    if (guardian->output_fd > 0)
        close(guardian->output_fd);
    *guardian = (struct guardian){.group_fd = guardian->group_fd,
                                  .lock_fd = guardian->lock_fd,
                                  .slot = guardian->slot};
}
