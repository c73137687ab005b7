/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/memory_reading.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define TEXT_MAX 512

static int read_text(const char *path, char text[TEXT_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t size = read(fd, text, TEXT_MAX - 1);
    close(fd);
    if (size <= 0)
        return -1;
    text[size] = '\0';
    return 0;
}

uint64_t memory_of_process(pid_t pid)
{
    char path[32];
    char text[TEXT_MAX];
    unsigned long long resident;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    if (read_text(path, text) != 0 || sscanf(text, "%*u %llu", &resident) != 1)
        return 0;
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

double memory_pressure(const char *path)
{
    char text[TEXT_MAX];
    double percent;
    if (read_text(path, text) != 0 ||
        sscanf(text, "some avg10=%lf", &percent) != 1)
        return -1;
    return percent;
}
