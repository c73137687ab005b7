/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workers/generation/guardian.h"
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

static void run(struct guardian *guardian, char **argv,
                struct command_result *result)
{
    char *environment[] = {NULL};
    struct error error;
    const struct command command = {.argv = argv,
                                    .environment = environment,
                                    .directory = "/",
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kills_all),
        cmocka_unit_test(test_guardian),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
