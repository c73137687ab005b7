/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_fork COUNT: fork, _exit and wait, so often; prints p50 and p99 in
 * microseconds.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"

#define COUNT_MAX 100000

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t fork_once(void)
{
    uint64_t began_ns = clock_monotonic_ns();
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    if (pid < 0 || waitpid(pid, NULL, 0) != pid)
        exit(1);
    return clock_monotonic_ns() - began_ns;
}

int main(int argc, char **argv)
{
    static uint64_t took_ns[COUNT_MAX];
    long count = argc == 2 ? atol(argv[1]) : 0;
    if (count < 1 || count > COUNT_MAX) {
        fputs("usage: bench_fork COUNT\n", stderr);
        return 64;
    }
    for (long i = 0; i < count; i++)
        took_ns[i] = fork_once();
    qsort(took_ns, (size_t)count, sizeof(took_ns[0]), compare);
    printf("%.1f %.1f\n", (double)took_ns[count / 2] / 1e3,
           (double)took_ns[count * 99 / 100] / 1e3);
    return 0;
}
