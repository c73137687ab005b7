/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/safe_path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int safe_path_check(const char *path, size_t size, struct error *error)
{
    if (size == 0)
        return error_set(error, ERROR_NOT_ALLOWED,
                         "an output path is empty; give it a name");
    if (memchr(path, '\0', size) != NULL)
        return error_set(error, ERROR_NOT_ALLOWED,
                         "the output path '%s' has a NUL byte; take it out",
                         path);
    if (size > SAFE_PATH_MAX)
        return error_set(error, ERROR_NOT_ALLOWED,
                         "the output path '%.60s...' has %zu bytes; at most "
                         "%d are allowed",
                         path, size, SAFE_PATH_MAX);
    if (path[0] == '/')
        return error_set(error, ERROR_NOT_ALLOWED,
                         "the output path '%s' is absolute; make it relative "
                         "to the output directory",
                         path);
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)path[i] < ' ' || path[i] == 0x7f)
            return error_set(error, ERROR_NOT_ALLOWED,
                             "the output path '%.60s' has a control "
                             "character; take it out",
                             path);
    }
    for (const char *part = path;;) {
        size_t length = strcspn(part, "/");
        if (length == 2 && part[0] == '.' && part[1] == '.')
            return error_set(error, ERROR_NOT_ALLOWED,
                             "the output path '%s' has '..'; nothing is "
                             "written outside the output directory",
                             path);
        if (length == 0 || (length == 1 && part[0] == '.') || length > 240)
            return error_set(error, ERROR_NOT_ALLOWED,
                             "the output path '%s' has an empty, '.' or "
                             "over-long part; write it plainly",
                             path);
        if (part[length] == '\0')
            return 0;
        part += length + 1;
    }
}

static int make_directories(char *path)
{
    for (char *at = path + 1; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        int failed = mkdir(path, 0777) != 0 && errno != EEXIST;
        *at = '/';
        if (failed)
            return -1;
    }
    return mkdir(path, 0777) != 0 && errno != EEXIST ? -1 : 0;
}

int safe_open_root(const char *path, bool create, struct error *error)
{
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    if (path[0] != '/')
        return error_set(error, ERROR_USAGE,
                         "the output directory '%s' is not absolute; write "
                         "its whole path",
                         path);
    int fd = open(path, flags);
    if (fd < 0 && errno == ENOENT && create) {
        char *copy = strdup(path);
        if (copy == NULL || make_directories(copy) != 0) {
            error_set_errno(error, ERROR_CANT_CREATE,
                            "cannot make the output directory %s", path);
            free(copy);
            return -1;
        }
        free(copy);
        fd = open(path, flags);
    }
    if (fd < 0)
        return error_set_errno(
            error, errno == ENOENT ? ERROR_NO_INPUT : ERROR_CANT_CREATE,
            "cannot open the output directory %s", path);
    return fd;
}

/* The kernel's own walk; where it is refused as unknown (before Linux 5.6,
 * or filtered) a walk part by part without following links is as safe. */
static int open_beneath(int directory, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags,
        .resolve =
            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    int fd;
    do
        fd = (int)syscall(SYS_openat2, directory, path, &how, sizeof(how));
    while (fd < 0 && errno == EAGAIN);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
        return fd;
    fd = fcntl(directory, F_DUPFD_CLOEXEC, 0);
    char part[256];
    for (const char *at = path; fd >= 0;) {
        size_t length = strcspn(at, "/");
        bool is_last = at[length] == '\0';
        snprintf(part, sizeof(part), "%.*s", (int)length, at);
        int below =
            openat(fd, part,
                   is_last ? flags | O_NOFOLLOW
                           : O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int saved = errno;
        struct stat about;
        if (below < 0 && saved == ENOTDIR &&
            fstatat(fd, part, &about, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISLNK(about.st_mode))
            saved = ELOOP; /* the word for it that openat2 has */
        close(fd);
        errno = saved;
        fd = below;
        if (is_last)
            break;
        at += length + 1;
    }
    return fd;
}

static int refuse(const char *path, struct error *error)
{
    switch (errno) {
    case ENOENT:
        return error_set(error, ERROR_NO_INPUT, "there is no %s", path);
    case ELOOP:
    case EXDEV:
        return error_set(error, ERROR_NOT_ALLOWED,
                         "a symbolic link is on the way to the output path "
                         "'%s'; nothing is written through links: remove it",
                         path);
    case ENOTDIR:
        return error_set(error, ERROR_NOT_ALLOWED,
                         "a file stands where the output path '%s' needs a "
                         "directory; move it away",
                         path);
    default:
        return error_set_errno(error, ERROR_CANT_CREATE,
                               "cannot open the output path '%s'", path);
    }
}

static int make_beneath(int root, const char *path)
{
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    int fd = fcntl(root, F_DUPFD_CLOEXEC, 0);
    char part[256];
    for (const char *at = path; fd >= 0;) {
        size_t length = strcspn(at, "/");
        snprintf(part, sizeof(part), "%.*s", (int)length, at);
        int below = -1;
        if (mkdirat(fd, part, 0777) == 0 || errno == EEXIST)
            below = open_beneath(fd, part, flags);
        int saved = errno;
        close(fd);
        errno = saved;
        fd = below;
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    return fd;
}

int safe_open_directory(int root, const char *path, bool create,
                        struct error *error)
{
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    int fd = *path == '\0' ? fcntl(root, F_DUPFD_CLOEXEC, 0)
                           : open_beneath(root, path, flags);
    if (fd < 0 && errno == ENOENT && create)
        fd = make_beneath(root, path);
    return fd < 0 ? refuse(path, error) : fd;
}

int safe_open_file(int root, const char *path, struct error *error)
{
    struct stat about;
    int fd =
        open_beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return refuse(path, error);
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        close(fd);
        return error_set(error, ERROR_NOT_ALLOWED,
                         "the output path '%s' is no regular file; move it "
                         "away",
                         path);
    }
    return fd;
}

int safe_read_file(int root, const char *path, size_t limit, char **bytes,
                   size_t *size, struct error *error)
{
    struct stat about;
    return safe_read_file_about(root, path, limit, bytes, size, &about, error);
}

int safe_read_file_about(int root, const char *path, size_t limit, char **bytes,
                         size_t *size, struct stat *about, struct error *error)
{
    int result = -1;
    size_t have = 0;
    char *block = NULL;
    int fd = safe_open_file(root, path, error);
    if (fd < 0)
        return -1;
    if (fstat(fd, about) != 0 || about->st_size < 0 ||
        (uint64_t)about->st_size > limit) {
        error_set(error, ERROR_DATA, "%s has more than %zu bytes", path, limit);
        goto out;
    }
    size_t room = (size_t)about->st_size;
    block = malloc(room + 1);
    if (block == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory to read %s", path);
        goto out;
    }
    while (have < room) {
        ssize_t got = read(fd, block + have, room - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            error_set_errno(error, ERROR_IO, "cannot read %s", path);
            goto out;
        }
        if (got == 0)
            break;
        have += (size_t)got;
    }
    block[have] = '\0';
    *bytes = block;
    *size = have;
    block = NULL;
    result = 0;
out:
    free(block);
    close(fd);
    return result;
}
