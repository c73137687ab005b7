/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/file_identity.h"

#include <fcntl.h>
#include <time.h>

static int64_t nanoseconds(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

int64_t file_identity_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return nanoseconds(&now);
}

void file_identity_take(const struct stat *about, int64_t looked_ns,
                        struct file_identity *identity)
{
    *identity = (struct file_identity){
        .device = about->st_dev,
        .inode = about->st_ino,
        .size = about->st_size,
        .changed_ns = nanoseconds(&about->st_ctim),
        .modified_ns = nanoseconds(&about->st_mtim),
        .looked_ns = looked_ns,
        .present = 1,
        .mode = about->st_mode,
    };
}

static void look(int folder, const char *path, int flags,
                 struct file_identity *identity)
{
    struct stat about;
    int64_t looked_ns = file_identity_now_ns();
    if (fstatat(folder, path, &about, flags) == 0)
        file_identity_take(&about, looked_ns, identity);
    else
        *identity = (struct file_identity){.looked_ns = looked_ns};
}

void file_identity_look(const char *path, struct file_identity *identity)
{
    look(AT_FDCWD, path, 0, identity);
}

void file_identity_look_at(int folder, const char *path,
                           struct file_identity *identity)
{
    look(folder, path, AT_SYMLINK_NOFOLLOW, identity);
}

bool file_identity_same(const struct file_identity *a,
                        const struct file_identity *b)
{
    return a->present == b->present && a->device == b->device &&
           a->inode == b->inode && a->size == b->size &&
           a->changed_ns == b->changed_ns && a->modified_ns == b->modified_ns &&
           a->mode == b->mode;
}

bool file_identity_settled(const struct file_identity *identity)
{
    return identity->present == 0 ||
           identity->looked_ns - identity->changed_ns >= FILE_SETTLED_NS;
}
