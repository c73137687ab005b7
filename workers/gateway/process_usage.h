/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process has used, as the kernel tells it in /proc/PID/stat
 * (proc(5)).
 */
#ifndef TIDEMILL_GATEWAY_PROCESS_USAGE_H
#define TIDEMILL_GATEWAY_PROCESS_USAGE_H

#include <stdint.h>
#include <sys/types.h>

struct process_usage {
    double cpu_seconds; /* user and system time since it began */
    int64_t rss_bytes;  /* resident, with what it shares with others */
};

/* -1 when it is not there, or its folder in /proc is hidden from us. */
int process_usage_read(pid_t pid, struct process_usage *usage);

/* The same from the file's text. */
int process_usage_parse(const char *text, struct process_usage *usage);

#endif
