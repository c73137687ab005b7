/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/file_identity.h"

#include <sys/stat.h>
#include <time.h>

static int64_t nanoseconds(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

void file_identity_look(const char *path, struct file_identity *identity)
{
    struct stat about;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *identity = (struct file_identity){.looked_ns = nanoseconds(&now)};
    if (stat(path, &about) != 0)
        return;
    identity->present = 1;
    identity->device = about.st_dev;
    identity->inode = about.st_ino;
    identity->size = about.st_size;
    identity->changed_ns = nanoseconds(&about.st_ctim);
    identity->modified_ns = nanoseconds(&about.st_mtim);
}

bool file_identity_same(const struct file_identity *a,
                        const struct file_identity *b)
{
    return a->present == b->present && a->device == b->device &&
           a->inode == b->inode && a->size == b->size &&
           a->changed_ns == b->changed_ns && a->modified_ns == b->modified_ns;
}

bool file_identity_settled(const struct file_identity *identity)
{
    return identity->present == 0 ||
           identity->looked_ns - identity->changed_ns >= FILE_SETTLED_NS;
}
