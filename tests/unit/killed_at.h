/* SPDX-License-Identifier: Apache-2.0
 *
 * Work in a child that is stopped at each system call, or killed before its
 * nth.
 */
#ifndef TIDEMILL_TESTS_KILLED_AT_H
#define TIDEMILL_TESTS_KILLED_AT_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#define NOT_TRACED 8

/* What is to happen to the traced child at its nth stop. */
enum at_stop { STOP_GO_ON, STOP_KILL };
typedef enum at_stop (*stop_watcher)(void *watcher, pid_t pid, unsigned stop);

/* Runs the work in a child that stops before and after each system call.
 * True when it came to its end, with 0; false when the watcher had it
 * killed.  The test is skipped where processes may not be traced, and under
 * valgrind, whose own system calls would be counted. */
static inline bool run_stopping(void (*work)(void *self), void *self,
                                stop_watcher watch, void *watcher)
{
    int status;
    if (RUNNING_ON_VALGRIND)
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(NOT_TRACED);
        raise(SIGSTOP);
        work(self);
        _exit(0);
    }
    for (unsigned stop = 0; waitpid(pid, &status, 0) == pid; stop++) {
        if (!WIFSTOPPED(status)) {
            assert_true(WIFEXITED(status));
            if (WEXITSTATUS(status) == NOT_TRACED)
                skip();
            assert_int_equal(WEXITSTATUS(status), 0);
            return true;
        }
        if (watch(watcher, pid, stop) == STOP_KILL) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return false;
        }
        ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
    }
    fail_msg("the child was lost");
    return true;
}

static inline enum at_stop kill_before_call(void *watcher, pid_t pid,
                                            unsigned stop)
{
    const unsigned *nth = watcher;
    (void)pid;
    return stop / 2 == *nth ? STOP_KILL : STOP_GO_ON;
}

/* True when the work came to its end before its nth system call. */
static inline bool killed_at(unsigned nth, void (*work)(void *self), void *self)
{
    return run_stopping(work, self, kill_before_call, &nth);
}

#endif
