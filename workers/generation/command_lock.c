/* SPDX-License-Identifier: Apache-2.0
 *
 * Locks of fcntl: unlike others they tell who holds them, and only their
 * process has them, whatever it hands on.
 */
#include "workers/generation/command_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <unistd.h>

int command_lock_open(const char *state_dir)
{
    char path[4200];
    snprintf(path, sizeof(path), "%s/" COMMAND_LOCK_NAME, state_dir);
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
}

static struct flock bytes(unsigned slot, unsigned count)
{
    return (struct flock){.l_type = F_WRLCK,
                          .l_whence = SEEK_SET,
                          .l_start = (off_t)slot,
                          .l_len = (off_t)count};
}

void command_lock_hold(int fd, unsigned slot)
{
    struct flock lock = bytes(slot, 1);
    if (fd <= 0)
        return;
    while (fcntl(fd, F_SETLKW, &lock) != 0 && errno == EINTR)
        ;
}

/* 0: nobody. */
static pid_t find_holder(int fd, unsigned slot, unsigned count)
{
    struct flock lock = bytes(slot, count);
    return fd <= 0 || fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK
               ? 0
               : lock.l_pid;
}

/* Who still holds it with a descriptor of him open is the one it belongs to. */
int command_lock_holder(int fd, unsigned slot, unsigned count)
{
    pid_t pid;
    while ((pid = find_holder(fd, slot, count)) > 0) {
        int holder = pidfd_open(pid, 0);
        if (holder < 0 && errno != ESRCH)
            return -1;
        if (holder >= 0 && find_holder(fd, slot, count) == pid) {
            pidfd_send_signal(holder, SIGCONT, NULL, 0);
            return holder;
        }
        if (holder >= 0)
            close(holder);
    }
    return -1;
}
