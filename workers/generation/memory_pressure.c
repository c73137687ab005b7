/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/memory_pressure.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define TEXT_MAX 512

double memory_pressure(const char *path)
{
    char text[TEXT_MAX];
    double percent;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (size <= 0)
        return -1;
    text[size] = '\0';
    return sscanf(text, "some avg10=%lf", &percent) == 1 ? percent : -1;
}
