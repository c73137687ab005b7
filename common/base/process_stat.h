/* SPDX-License-Identifier: Apache-2.0
 *
 * A process, as the kernel tells of it in /proc/PID/stat (proc(5)).
 */
#ifndef TIDEMILL_BASE_PROCESS_STAT_H
#define TIDEMILL_BASE_PROCESS_STAT_H

#include <stdint.h>
#include <sys/types.h>

struct process_stat {
    pid_t parent;
    uint64_t start;     /* ticks since boot: with the pid it is this process */
    double cpu_seconds; /* user and system time since it began */
    int64_t rss_bytes;  /* resident, with what it shares with others */
};

/* -1 when it is not there, or its folder in /proc is hidden from us. */
int process_stat_read(pid_t pid, struct process_stat *process);

/* The same from the file's text. */
int process_stat_parse(const char *text, struct process_stat *process);

#endif
