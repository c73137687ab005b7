/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define ATTEMPTS 100

static int held_by_other(int fd, const char *path, struct error *error)
{
    char text[32];
    ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    return error_set(error, ERROR_TRY_AGAIN,
                     "tidemilld is running already, with pid %ld (%s is "
                     "locked); stop it first, or give this one a "
                     "paths.runtime_dir of its own",
                     strtol(text, NULL, 10), path);
}

/* Is the file that we locked still the one of that name? */
static bool is_current(int fd, const char *path)
{
    struct stat ours;
    struct stat named;
    return fstat(fd, &ours) == 0 && stat(path, &named) == 0 &&
           ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

static int open_locked(const char *path, struct error *error)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
            return error_set_errno(error, ERROR_CANT_CREATE,
                                   "cannot open the pidfile %s", path);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK)
                held_by_other(fd, path, error);
            else
                error_set_errno(error, ERROR_IO, "cannot lock the pidfile %s",
                                path);
            close(fd);
            return -1;
        }
        if (is_current(fd, path))
            return fd;
        close(fd); /* its owner removed it as it left */
    }
    return error_set(error, ERROR_TRY_AGAIN,
                     "the pidfile %s keeps being replaced", path);
}

static int set_path(struct pidfile *pidfile, const char *path,
                    struct error *error)
{
    pidfile->fd = -1;
    if (strlen(path) >= sizeof(pidfile->path))
        return error_set(error, ERROR_CONFIG,
                         "the path of the pidfile is too long");
    snprintf(pidfile->path, sizeof(pidfile->path), "%s", path);
    return 0;
}

/* Never empty in between: the text only becomes shorter when it is right. */
int pidfile_write(struct pidfile *pidfile, struct error *error)
{
    char text[32];
    int size = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (pwrite(pidfile->fd, text, (size_t)size, 0) == size &&
        ftruncate(pidfile->fd, size) == 0)
        return 0;
    return error_set_errno(error, ERROR_CANT_CREATE,
                           "cannot write the pidfile %s", pidfile->path);
}

int pidfile_take(struct pidfile *pidfile, const char *path, struct error *error)
{
    if (set_path(pidfile, path, error) != 0)
        return -1;
    pidfile->fd = open_locked(path, error);
    if (pidfile->fd < 0)
        return -1;
    if (fchmod(pidfile->fd, 0644) == 0 && pidfile_write(pidfile, error) == 0)
        return 0;
    error_set_errno(error, ERROR_CANT_CREATE, "cannot write the pidfile %s",
                    path);
    pidfile_drop(pidfile);
    return -1;
}

int pidfile_adopt(struct pidfile *pidfile, const char *path, int fd,
                  struct error *error)
{
    if (set_path(pidfile, path, error) != 0)
        return -1;
    if (!is_current(fd, path))
        return error_set(error, ERROR_CONFIG,
                         "the running daemon's pidfile is not %s; it changes "
                         "by a restart only",
                         path);
    pidfile->fd = fd;
    return 0;
}

void pidfile_leave(struct pidfile *pidfile)
{
    if (pidfile->fd >= 0)
        close(pidfile->fd);
    pidfile->fd = -1;
}

void pidfile_drop(struct pidfile *pidfile)
{
    if (pidfile->fd >= 0)
        unlink(pidfile->path); /* before the lock is free: it is still ours */
    pidfile_leave(pidfile);
}
