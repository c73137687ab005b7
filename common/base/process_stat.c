/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/process_stat.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STAT_MAX 1024

int process_stat_parse(const char *text, struct process_stat *process)
{
    int parent;
    uint64_t user, system;
    int64_t pages;
    /* The name may hold anything, also what looks like its end. */
    const char *rest = strrchr(text, ')');
    if (rest == NULL ||
        sscanf(rest + 1,
               " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64
               " %" SCNu64 " %*d %*d %*d %*d %*d %*d %" SCNu64 " %*u %" SCNd64,
               &parent, &user, &system, &process->start, &pages) != 5)
        return -1;
    process->parent = parent;
    process->cpu_seconds =
        (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    process->rss_bytes = pages * sysconf(_SC_PAGESIZE);
    return 0;
}

int process_stat_read(pid_t pid, struct process_stat *process)
{
    char path[32];
    char text[STAT_MAX];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return -1;
    ssize_t size = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (size <= 0)
        return -1;
    text[size] = '\0';
    return process_stat_parse(text, process);
}
