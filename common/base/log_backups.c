/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log_backups.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/log.h"

#define CHUNK_SIZE  65536
#define ENTRIES_MAX 100000u
#define NAME_ROOM   (NAME_MAX + 1)

enum kind { KIND_PLAIN, KIND_COMPRESSED, KIND_PART };

static const char *const suffixes[] = {"", ".gz", ".gz.part"};

struct entry {
    char stamp[LOG_STAMP_SIZE + 1];
    enum kind kind;
    uint64_t size_bytes;
    bool gone;
};

struct folder {
    int fd;
    char base[NAME_ROOM]; /* "tidemill.log-" */
    struct entry *entries;
    size_t count;
};

/* --- what there is --- */

static int folder_open(struct folder *folder, const char *path,
                       struct error *error)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    *folder = (struct folder){.fd = -1};
    snprintf(directory, sizeof(directory), "%.*s",
             slash == NULL ? 1 : (int)(slash - path) + 1,
             slash == NULL ? "." : path);
    snprintf(folder->base, sizeof(folder->base), "%s-",
             slash == NULL ? path : slash + 1);
    folder->fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0)
        return error_set_errno(
            error, ERROR_IO, "cannot open the directory of logs %s", directory);
    return 0;
}

static void folder_close(struct folder *folder)
{
    if (folder->fd >= 0)
        close(folder->fd);
    free(folder->entries);
}

static char *entry_name(const struct folder *folder, const struct entry *entry,
                        enum kind kind, char *name)
{
    snprintf(name, NAME_ROOM, "%.200s%s%s", folder->base, entry->stamp,
             suffixes[kind]);
    return name;
}

static bool is_stamp(const char *text)
{
    static const char form[] = "00000000T000000.000Z";
    for (size_t i = 0; i < LOG_STAMP_SIZE; i++)
        if (form[i] == '0' ? !isdigit((unsigned char)text[i])
                           : text[i] != form[i])
            return false;
    return true;
}

/* Is this one of ours? */
static bool parse_name(const struct folder *folder, const char *name,
                       struct entry *entry)
{
    size_t base = strlen(folder->base);
    if (strncmp(name, folder->base, base) != 0 || !is_stamp(name + base))
        return false;
    memcpy(entry->stamp, name + base, LOG_STAMP_SIZE);
    entry->stamp[LOG_STAMP_SIZE] = '\0';
    for (unsigned kind = 0; kind < 3; kind++)
        if (strcmp(name + base + LOG_STAMP_SIZE, suffixes[kind]) == 0) {
            entry->kind = (enum kind)kind;
            return true;
        }
    return false;
}

static int folder_add(struct folder *folder, const struct entry *entry)
{
    if ((folder->count & (folder->count - 1)) == 0) { /* grows by doubling */
        size_t room = folder->count == 0 ? 1 : folder->count * 2;
        struct entry *more =
            realloc(folder->entries, room * sizeof(*folder->entries));
        if (more == NULL)
            return -1;
        folder->entries = more;
    }
    folder->entries[folder->count++] = *entry;
    return 0;
}

/* The oldest first; of one stamp the plain file before the others. */
static int compare_entries(const void *one, const void *other)
{
    const struct entry *a = one;
    const struct entry *b = other;
    int order = strcmp(a->stamp, b->stamp);
    return order != 0 ? order : (int)a->kind - (int)b->kind;
}

static int folder_read(struct folder *folder, struct error *error)
{
    int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *found;
    int result = 0;
    if (directory == NULL) {
        if (fd >= 0)
            close(fd);
        return error_set_errno(error, ERROR_IO, "cannot list old logs");
    }
    while (result == 0 && folder->count < ENTRIES_MAX &&
           (found = readdir(directory)) != NULL) {
        struct entry entry = {0};
        struct stat status;
        if (!parse_name(folder, found->d_name, &entry) ||
            fstatat(folder->fd, found->d_name, &status, AT_SYMLINK_NOFOLLOW) ||
            !S_ISREG(status.st_mode))
            continue;
        entry.size_bytes = (uint64_t)status.st_size;
        result = folder_add(folder, &entry);
    }
    closedir(directory);
    if (result != 0)
        return error_set(error, ERROR_SYSTEM, "no memory to list old logs");
    if (folder->count > 0)
        qsort(folder->entries, folder->count, sizeof(*folder->entries),
              compare_entries);
    return 0;
}

/* --- what goes --- */

static void delete_entry(struct folder *folder, struct entry *entry)
{
    char name[NAME_ROOM];
    entry->gone =
        unlinkat(folder->fd, entry_name(folder, entry, entry->kind, name), 0) ==
        0;
}

/* A compressed file by the name of its original gets its own. */
static int name_compressed(struct folder *folder, struct entry *entry)
{
    char plain[NAME_ROOM];
    char compressed[NAME_ROOM];
    entry_name(folder, entry, KIND_PLAIN, plain);
    entry_name(folder, entry, KIND_COMPRESSED, compressed);
    if (renameat(folder->fd, plain, folder->fd, compressed) != 0)
        return -1;
    entry->kind = KIND_COMPRESSED;
    return 0;
}

/* No line of a log begins so. */
static bool is_compressed(const struct folder *folder,
                          const struct entry *entry)
{
    char name[NAME_ROOM];
    unsigned char start[2] = {0};
    int fd = openat(folder->fd, entry_name(folder, entry, KIND_PLAIN, name),
                    O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t got = fd < 0 ? -1 : read(fd, start, sizeof(start));
    if (fd >= 0)
        close(fd);
    return got == (ssize_t)sizeof(start) && start[0] == 0x1f &&
           start[1] == 0x8b;
}

/* What an interrupted compression left: a part, or a whole one that has not
 * got its name yet. */
static void end_interrupted(struct folder *folder)
{
    for (size_t i = 0; i < folder->count; i++) {
        struct entry *entry = &folder->entries[i];
        if (entry->kind == KIND_PART)
            delete_entry(folder, entry);
        else if (entry->kind == KIND_PLAIN && is_compressed(folder, entry))
            name_compressed(folder, entry);
    }
}

static void delete_oldest(struct folder *folder, uint64_t count_max,
                          uint64_t bytes_max)
{
    uint64_t count = 0;
    uint64_t bytes = 0;
    for (size_t i = folder->count; i > 0; i--) {
        struct entry *entry = &folder->entries[i - 1];
        if (entry->gone)
            continue;
        count++;
        bytes += entry->size_bytes;
        if (count > count_max || bytes > bytes_max)
            delete_entry(folder, entry);
    }
}

/* --- compression --- */

enum writers { WRITERS_NONE, WRITERS_SOME };

static enum writers find_writers(int fd)
{
    struct stat status;
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        fcntl(fd, F_SETLEASE, F_UNLCK);
        return WRITERS_NONE;
    }
    if (errno == EAGAIN || fstat(fd, &status) != 0)
        return WRITERS_SOME;
    return time(NULL) - status.st_mtim.tv_sec > LOG_BACKUP_CALM_S
               ? WRITERS_NONE
               : WRITERS_SOME;
}

static int copy_compressed(int from, gzFile to)
{
    char chunk[CHUNK_SIZE];
    ssize_t got;
    while ((got = read(from, chunk, sizeof(chunk))) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || gzwrite(to, chunk, (unsigned)got) != (int)got)
            return -1;
    }
    return 0;
}

/* All of `from` into `to`, on disk, with the times and the mode of `from`. */
static int compress_file(int from, int to)
{
    struct stat status;
    int copy = fcntl(to, F_DUPFD_CLOEXEC, 0);
    gzFile stream = copy < 0 ? NULL : gzdopen(copy, "wb6");
    if (stream == NULL) {
        if (copy >= 0)
            close(copy);
        return -1;
    }
    int result = copy_compressed(from, stream);
    if (gzclose(stream) != Z_OK || result != 0 || fstat(from, &status) != 0)
        return -1;
    const struct timespec times[] = {status.st_atim, status.st_mtim};
    if (fchmod(to, status.st_mode & 07777) != 0 || futimens(to, times) != 0)
        return -1;
    return fsync(to);
}

static int replace_by_compressed(struct folder *folder, struct entry *entry,
                                 int from)
{
    char plain[NAME_ROOM];
    char part[NAME_ROOM];
    struct stat status;
    entry_name(folder, entry, KIND_PLAIN, plain);
    entry_name(folder, entry, KIND_PART, part);
    int to = openat(folder->fd, part,
                    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0)
        return -1;
    int result = compress_file(from, to);
    if (result == 0 && fstat(to, &status) == 0)
        entry->size_bytes = (uint64_t)status.st_size;
    int saved = errno;
    close(to);
    errno = saved;
    if (result != 0 || renameat(folder->fd, part, folder->fd, plain) != 0) {
        saved = errno;
        unlinkat(folder->fd, part, 0);
        errno = saved;
        return -1;
    }
    return name_compressed(folder, entry);
}

static int compress_entry(struct folder *folder, struct entry *entry,
                          bool *waiting, struct error *error)
{
    char name[NAME_ROOM];
    entry_name(folder, entry, KIND_PLAIN, name);
    int fd = openat(folder->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return 0;
    int result = -1;
    if (fd >= 0 && find_writers(fd) == WRITERS_SOME) {
        *waiting = true;
        result = 0;
    } else if (fd >= 0) {
        result = replace_by_compressed(folder, entry, fd);
    }
    if (result != 0)
        error_set_errno(error, ERROR_IO, "cannot compress the old log %s",
                        name);
    if (fd >= 0)
        close(fd);
    return result;
}

bool log_backups_exist(const char *path)
{
    struct folder folder;
    struct error error;
    bool exist = folder_open(&folder, path, &error) == 0 &&
                 folder_read(&folder, &error) == 0 && folder.count > 0;
    folder_close(&folder);
    return exist;
}

int log_backups_tidy(const struct log_backups *backups, bool *waiting,
                     struct error *error)
{
    struct folder folder;
    *waiting = false;
    int result = folder_open(&folder, backups->path, error);
    if (result == 0)
        result = folder_read(&folder, error);
    if (result == 0) {
        end_interrupted(&folder);
        delete_oldest(&folder, backups->count, UINT64_MAX);
    }
    for (size_t i = 0; result == 0 && backups->compress && i < folder.count;
         i++) {
        struct entry *entry = &folder.entries[i];
        if (!entry->gone && entry->kind == KIND_PLAIN)
            result = compress_entry(&folder, entry, waiting, error);
    }
    /* what is about to shrink does not push others out */
    if (result == 0 && !*waiting && backups->total_bytes_max != 0)
        delete_oldest(&folder, UINT64_MAX, backups->total_bytes_max);
    folder_close(&folder);
    return result;
}
