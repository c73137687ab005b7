/* SPDX-License-Identifier: Apache-2.0
 *
 * Work in a child that is killed before its nth system call.
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

/* True when the work came to its end before; the test is skipped where
 * processes may not be traced, and under valgrind, whose own system calls
 * would be counted.  `work` must leave with 0, by returning. */
static inline bool killed_at(unsigned nth, void (*work)(void *self), void *self)
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
    for (unsigned stops = 0; waitpid(pid, &status, 0) == pid; stops++) {
        if (!WIFSTOPPED(status)) {
            assert_true(WIFEXITED(status));
            if (WEXITSTATUS(status) == NOT_TRACED)
                skip();
            assert_int_equal(WEXITSTATUS(status), 0);
            return true;
        }
        if (stops / 2 == nth) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return false;
        }
        ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
    }
    fail_msg("the child was lost");
    return true;
}

#endif
