/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/job_group.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/text.h"

static int put(int fd, const char *file, const char *text)
{
    int out = openat(fd, file, O_WRONLY | O_CLOEXEC);
    if (out < 0)
        return -1;
    ssize_t wrote = write(out, text, strlen(text));
    int saved = errno;
    close(out);
    errno = saved;
    return wrote < 0 ? -1 : 0;
}

int job_group_enter(int fd)
{
    return put(fd, "cgroup.procs", "0");
}

/* Leaves the errno of its exit code. */
static int try_to_enter(int fd)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(job_group_enter(fd) == 0 ? 0 : errno);
    if (pid < 0)
        return -1;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINVAL;
    return errno == 0 ? 0 : -1;
}

int job_group_open(const char *parent, const char *state_dir, unsigned slot)
{
    char path[5000];
    if (parent[0] == '\0')
        return -1;
    uint64_t hash = text_hash(TEXT_HASH_START, state_dir, strlen(state_dir));
    snprintf(path, sizeof(path), "%s/%016llx-%u", parent,
             (unsigned long long)hash, slot);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return -1;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    job_group_kill(fd);
    if (try_to_enter(fd) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static void put_limit(int fd, const char *file, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    put(fd, file, value == 0 ? "max" : text);
}

void job_group_limit(int fd, uint64_t memory_bytes, uint64_t processes)
{
    put_limit(fd, "memory.max", memory_bytes);
    put_limit(fd, "pids.max", processes);
}

void job_group_kill(int fd)
{
    if (fd > 0)
        put(fd, "cgroup.kill", "1");
}
