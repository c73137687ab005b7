/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workers/generation/guardian.h"
#include "workers/generation/job_group.h"
#include "workers/generation/process_tree.h"

/* A child, and a grandchild that was forked twice into its own session; both
 * are deaf to TERM. */
static void start_tree(void)
{
    int up[2];
    char byte;
    assert_int_equal(pipe(up), 0);
    signal(SIGTERM, SIG_IGN);
    if (fork() == 0) {
        if (fork() == 0) {
            setsid();
            if (fork() == 0) {
                close(up[1]);
                for (;;)
                    pause();
            }
            _exit(0);
        }
        close(up[1]);
        for (;;)
            pause();
    }
    close(up[1]);
    assert_int_equal(read(up[0], &byte, 1), 0);
    close(up[0]);
}

static void test_kills_all(void **state)
{
    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    start_tree();
    assert_true(process_tree_signal(getpid(), SIGTERM) >= 2);
    assert_int_equal(process_tree_kill(10000), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(process_tree_signal(getpid(), SIGTERM), 0);
}

static struct command_limits limits; /* of the commands that are run */

static void run(struct guardian *guardian, char **argv,
                struct command_result *result)
{
    char *environment[] = {NULL};
    struct error error;
    const struct command command = {.argv = argv,
                                    .environment = environment,
                                    .directory = "/",
                                    .limits = limits,
                                    .timeout_ms = 100,
                                    .grace_ms = 50};
    assert_int_equal(guardian_run(guardian, &command, &error), 0);
    struct pollfd end = {.fd = guardian->result_fd, .events = POLLIN};
    assert_int_equal(poll(&end, 1, 60000), 1);
    assert_int_equal(read(end.fd, result, sizeof(*result)), sizeof(*result));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), 0); /* only the guardian */
    assert_int_equal(process_tree_signal(getpid(), 0), 1);
}

static void test_guardian(void **state)
{
    struct guardian guardian = {.pid = 0};
    char *yes[] = {(char *)(uintptr_t) "/bin/true", NULL};
    char *none[] = {(char *)(uintptr_t) "/no/such/program", NULL};
    char *deaf[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                    (char *)(uintptr_t) "trap '' TERM; sleep 1000 & sleep 1000",
                    NULL};
    struct command_result result;
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    run(&guardian, none, &result);
    pid_t pid = guardian.pid;
    assert_int_equal(result.end, COMMAND_NOT_STARTED);
    assert_int_equal(result.detail, ENOENT);
    guardian_cancel(&guardian); /* too late: it is not the next one's */
    run(&guardian, deaf, &result);
    assert_int_equal(guardian.pid, pid);
    assert_false(result.cancelled);
    assert_true(result.timed_out);
    assert_int_equal(result.end, COMMAND_SIGNALLED);
    assert_int_equal(result.detail, SIGKILL);
    struct pollfd gone = {.fd = guardian.result_fd, .events = POLLIN};
    kill(guardian.pid, SIGKILL); /* another takes its place */
    assert_int_equal(poll(&gone, 1, 60000), 1);
    run(&guardian, yes, &result);
    assert_int_not_equal(guardian.pid, pid);
    assert_int_equal(result.end, COMMAND_EXITED);
    assert_int_equal(result.detail, 0);
    guardian_close(&guardian);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* --- a directory stands for the control group --- */

static void make_files(const char *directory)
{
    static const char *const names[] = {"cgroup.procs", "cgroup.kill",
                                        "memory.max", "pids.max"};
    char path[200];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        FILE *file = fopen(path, "w"); /* empty, also when it was not */
        assert_non_null(file);
        fclose(file);
    }
}

static void expect_file(const char *directory, const char *name,
                        const char *expected)
{
    char path[200], text[64] = "";
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    if (strcmp(text, expected) != 0)
        fail_msg("%s has \"%s\", not \"%s\"", name, text, expected);
}

static void remove_all(const char *directory)
{
    char command[200];
    snprintf(command, sizeof(command), "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

/* Limits are written before the command is in the group, whole, and not
 * those of the command before. */
static void test_group_files(void **state)
{
    char directory[] = "/tmp/tidemill-group-XXXXXX";
    char *yes[] = {(char *)(uintptr_t) "/bin/true", NULL};
    struct command_result result;
    (void)state;
    assert_non_null(mkdtemp(directory));
    make_files(directory);
    struct guardian guardian = {.group_fd =
                                    open(directory, O_RDONLY | O_CLOEXEC)};
    assert_true(guardian.group_fd > 0);
    limits =
        (struct command_limits){.memory_bytes = 268435456, .processes = 77};
    run(&guardian, yes, &result);
    assert_int_equal(result.end, COMMAND_EXITED);
    expect_file(directory, "memory.max", "268435456");
    expect_file(directory, "pids.max", "77");
    expect_file(directory, "cgroup.procs", "0"); /* the writer itself */
    expect_file(directory, "cgroup.kill", "1");  /* what it left */
    make_files(directory);
    limits = (struct command_limits){.processes = 0};
    run(&guardian, yes, &result);
    assert_int_equal(result.end, COMMAND_EXITED);
    expect_file(directory, "memory.max", "max");
    expect_file(directory, "pids.max", "max");
    guardian_close(&guardian);
    close(guardian.group_fd);
    remove_all(directory);
}

/* Each slot has its own, which is tried before it is used. */
static void test_group_open(void **state)
{
    char parent[] = "/tmp/tidemill-groups-XXXXXX";
    char pattern[100];
    glob_t found;
    (void)state;
    assert_int_equal(job_group_open("", "/state", 3), -1);
    assert_non_null(mkdtemp(parent));
    assert_int_equal(job_group_open(parent, "/state", 3), -1);
    assert_int_equal(errno, ENOENT); /* there is no cgroup.procs to write */
    snprintf(pattern, sizeof(pattern), "%s/*-3", parent);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    make_files(found.gl_pathv[0]);
    int fd = job_group_open(parent, "/state", 3);
    assert_true(fd >= 0);
    expect_file(found.gl_pathv[0], "cgroup.kill", "1"); /* a worker before */
    expect_file(found.gl_pathv[0], "cgroup.procs", "0");
    assert_int_equal(job_group_open(parent, "/other", 3), -1); /* not ours */
    globfree(&found);
    close(fd);
    remove_all(parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kills_all),
        cmocka_unit_test(test_guardian),
        cmocka_unit_test(test_group_files),
        cmocka_unit_test(test_group_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
