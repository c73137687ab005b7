/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/output_place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/generation/output_place_parts.h"
#include "common/generation/output_seen.h"

#define LOCK_WAIT_MS 5000
#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define REMOVE_DEPTH 64

/* --- folders --- */

int place_open(struct place *place, const struct output *output, bool create,
               struct error *error)
{
    *place = (struct place){.directory = output->directory,
                            .node = output->node,
                            .root = -1,
                            .folder_fd = -1,
                            .last_fd = -1};
    place->root = safe_open_root(output->directory, create, error);
    return place->root < 0 ? -1 : 0;
}

static void close_folder(struct place *place)
{
    if (place->last_fd >= 0 && place->last_fd != place->folder_fd)
        close(place->last_fd);
    if (place->folder_fd >= 0)
        close(place->folder_fd);
    place->last_fd = place->folder_fd = -1;
}

void place_close(struct place *place)
{
    close_folder(place);
    if (place->root >= 0)
        close(place->root);
    place->root = -1;
}

void place_beside(char name[NAME_SIZE], const char *last)
{
    snprintf(name, NAME_SIZE, "%s%s", PLACE_PREFIX, last);
}

/* Opens or makes a folder of one part. */
static int make_folder(int parent, const char *name)
{
    int fd = -1;
    if (mkdirat(parent, name, 0777) != 0) {
        if (errno != EEXIST)
            return -1;
    }
    fd = openat(parent, name, FOLDER_FLAGS);
    return fd;
}

/* The folder of a path in a node that we make: the parts below the last
 * folder that was opened, when it is above this one. */
static int walk_new(struct place *place, const char *folder)
{
    size_t known = strlen(place->last_path);
    bool above = place->last_fd >= 0 &&
                 strncmp(folder, place->last_path, known) == 0 &&
                 (folder[known] == '/' || folder[known] == '\0');
    int fd = above ? place->last_fd : place->folder_fd;
    const char *at = folder + (above ? known : strlen(place->node));
    while (fd >= 0 && *at == '/') {
        char part[256];
        size_t size = strcspn(++at, "/");
        snprintf(part, sizeof(part), "%.*s", (int)size, at);
        int below = make_folder(fd, part);
        if (fd != place->folder_fd && fd != place->last_fd) {
            int saved = errno;
            close(fd);
            errno = saved;
        }
        fd = below;
        at += size;
    }
    return fd;
}

/* Splits a path into its folder, opened and made where missing, and its
 * last part.  The descriptor stays place's own. */
static int open_folder(struct place *place, const char *path, const char **last,
                       struct error *error)
{
    char folder[SAFE_PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    *last = slash + 1;
    snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
    if (place->last_fd >= 0 && strcmp(folder, place->last_path) == 0)
        return place->last_fd;
    bool in_new = place->is_new && strncmp(path, MANIFEST_DIRECTORY "/",
                                           sizeof(MANIFEST_DIRECTORY)) != 0;
    int fd = in_new ? walk_new(place, folder)
                    : safe_open_directory(place->root, folder, true, error);
    if (in_new && fd < 0)
        error_set_errno(error, ERROR_CANT_CREATE, "cannot make the folder %s",
                        folder);
    if (place->last_fd >= 0 && place->last_fd != place->folder_fd &&
        place->last_fd != fd)
        close(place->last_fd);
    place->last_fd = fd;
    memcpy(place->last_path, folder, sizeof(folder));
    return fd;
}

static void remove_tree(int parent, const char *name, unsigned depth)
{
    if (unlinkat(parent, name, 0) == 0 || depth == 0 ||
        (errno != EISDIR && errno != EPERM))
        return;
    int fd = openat(parent, name, FOLDER_FLAGS);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_tree(fd, entry->d_name, depth - 1);
    closedir(folder);
    unlinkat(parent, name, AT_REMOVEDIR);
}

/* --- the lock --- */

/* Holders need milliseconds; a killed one's lock goes with it. */
static int take_lock(const struct place *place, int fd, struct error *error)
{
    uint64_t give_up_ms = clock_monotonic_ms() + LOCK_WAIT_MS;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set_errno(error, ERROR_SYSTEM, "cannot lock %s/%s",
                                   place->directory, place->node);
        if (clock_monotonic_ms() > give_up_ms)
            return error_set(error, ERROR_TRY_AGAIN,
                             "another job has been writing %s/%s for %d s; "
                             "try again",
                             place->directory, place->node,
                             LOCK_WAIT_MS / 1000);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return 0;
}

/* Was it renamed or removed while we waited? */
static bool is_still(int root, const char *name, int fd)
{
    struct stat mine, there;
    return fstat(fd, &mine) == 0 &&
           fstatat(root, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

/* PLACE_AGAIN when a dead job's was there: it is gone now. */
static enum place_result make_beside(struct place *place, struct error *error)
{
    char name[NAME_SIZE];
    place_beside(name, place->node);
    bool made = mkdirat(place->root, name, 0777) == 0;
    int why = errno;
    int fd =
        made || why == EEXIST ? openat(place->root, name, FOLDER_FLAGS) : -1;
    if (fd < 0 && errno == ENOENT && !made && why == EEXIST)
        return PLACE_AGAIN;
    if (fd < 0)
        return (enum place_result)error_set_errno(error, ERROR_CANT_CREATE,
                                                  "cannot make %s/%s",
                                                  place->directory, name);
    if (take_lock(place, fd, error) != 0) {
        close(fd);
        return PLACE_FAILED;
    }
    if (made && is_still(place->root, name, fd)) {
        place->folder_fd = fd;
        place->is_new = true;
        return PLACE_DONE;
    }
    if (is_still(place->root, name, fd))
        remove_tree(place->root, name, REMOVE_DEPTH);
    close(fd);
    return PLACE_AGAIN;
}

static enum place_result lock_once(struct place *place, struct error *error)
{
    struct error why;
    place->is_new = false;
    int fd = safe_open_directory(place->root, place->node, false, &why);
    if (fd < 0 && why.code == ERROR_NO_INPUT)
        return make_beside(place, error);
    if (fd < 0) {
        *error = why;
        return PLACE_FAILED;
    }
    if (take_lock(place, fd, error) != 0 ||
        !is_still(place->root, place->node, fd)) {
        enum place_result result =
            error->code == ERROR_NONE ? PLACE_AGAIN : PLACE_FAILED;
        close(fd);
        return result;
    }
    place->folder_fd = fd;
    return PLACE_DONE;
}

int place_lock(struct place *place, struct error *error)
{
    uint64_t give_up_ms = clock_monotonic_ms() + LOCK_WAIT_MS;
    enum place_result result;
    close_folder(place);
    error_clear(error);
    place->stamp_ns = seen_stamp_ns();
    while ((result = lock_once(place, error)) == PLACE_AGAIN)
        if (clock_monotonic_ms() > give_up_ms)
            return error_set(error, ERROR_TRY_AGAIN,
                             "the folder %s/%s comes and goes; try again",
                             place->directory, place->node);
    return result == PLACE_DONE ? 0 : -1;
}

/* --- writing beside --- */

static int write_bytes(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        bytes += written;
        size -= (size_t)written;
    }
    return 0;
}

/* Writes a file beside its place, or in a folder that is beside its own in
 * its place.  Under the lock a file of this name can only be a dead job's. */
static int write_one(struct place *place, const char *path, const char *bytes,
                     size_t size, unsigned mode, bool in_place,
                     struct error *error)
{
    char name[NAME_SIZE];
    const char *last;
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const struct timespec stamp[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = place->stamp_ns / 1000000000,
         .tv_nsec = place->stamp_ns % 1000000000}};
    int folder = open_folder(place, path, &last, error);
    if (folder < 0)
        return -1;
    if (in_place)
        snprintf(name, sizeof(name), "%s", last);
    else
        place_beside(name, last);
    int fd = openat(folder, name, flags, mode);
    if (fd < 0 && errno == EEXIST && unlinkat(folder, name, 0) == 0)
        fd = openat(folder, name, flags, mode);
    int result = fd < 0 ? -1 : write_bytes(fd, bytes, size);
    if (result == 0 &&
        (futimens(fd, stamp) != 0 || fstat(fd, &place->written) != 0))
        place->written = (struct stat){.st_size = -1};
    int why = errno;
    if (fd >= 0 && close(fd) != 0 && result == 0) {
        why = errno;
        result = -1;
    }
    if (result == 0)
        return 0;
    unlinkat(folder, name, 0);
    errno = why;
    return error_set_errno(error, ERROR_CANT_CREATE,
                           "cannot write %s/%s; nothing was changed",
                           place->directory, path);
}

static bool is_written(const struct output_file *file)
{
    return output_change_writes(file->change);
}

static bool replaces(const struct output_file *file)
{
    return is_written(file) && file->change != OUTPUT_CREATED;
}

void place_manifest_name(const struct place *place, char path[NAME_SIZE])
{
    snprintf(path, NAME_SIZE, "%s/%s.json", MANIFEST_DIRECTORY, place->node);
}

static void base_name(const struct place *place, char path[NAME_SIZE])
{
    snprintf(path, NAME_SIZE, "%s/%s.base", MANIFEST_DIRECTORY, place->node);
}

/* In a new folder, whose renaming does not change it. */
static void take_new(const struct place *place, struct output_file *file)
{
    struct file_identity identity;
    file_identity_take(&place->written, 0, &identity);
    seen_take_written(&file->seen, &identity, file->size, file->mode,
                      place->stamp_ns);
}

static int write_all(struct place *place, struct output *output,
                     const struct buffer *manifest, const struct buffer *base,
                     struct error *error)
{
    char path[NAME_SIZE];
    for (size_t i = 0; i < output->file_count; i++) {
        struct output_file *file = &output->files[i];
        if (!is_written(file))
            continue;
        if (write_one(place, file->path,
                      file->merged != NULL ? file->merged : file->bytes,
                      file->merged != NULL ? file->merged_size : file->size,
                      file->mode, place->is_new, error) != 0)
            return -1;
        if (place->is_new)
            take_new(place, file);
    }
    if (manifest == NULL)
        return 0;
    base_name(place, path);
    if (write_one(place, path, base->bytes, base->size, 0644, false, error) !=
        0)
        return -1;
    place_manifest_name(place, path);
    return write_one(place, path, manifest->bytes, manifest->size, 0644, false,
                     error);
}

void place_put_seen(struct place *place, const struct buffer *text)
{
    char path[NAME_SIZE];
    snprintf(path, sizeof(path), "%s/%s.seen", MANIFEST_DIRECTORY, place->node);
    write_one(place, path, text->bytes, text->size, 0600, true, NULL);
}

void place_drop_beside(struct place *place, const char *path)
{
    char name[NAME_SIZE];
    const char *last;
    int folder = open_folder(place, path, &last, NULL);
    if (folder < 0)
        return;
    place_beside(name, last);
    unlinkat(folder, name, 0);
}

static void drop_all(struct place *place, const struct output *output)
{
    char path[NAME_SIZE];
    if (!place->is_new)
        for (size_t i = 0; i < output->file_count; i++)
            if (is_written(&output->files[i]))
                place_drop_beside(place, output->files[i].path);
    base_name(place, path);
    place_drop_beside(place, path);
    place_manifest_name(place, path);
    place_drop_beside(place, path);
}

/* --- putting in place --- */

static int rename_one(int folder, const char *name, const char *last,
                      enum place_swap how)
{
    static const unsigned flags[] = {[PLACE_EXCHANGES] = RENAME_EXCHANGE,
                                     [PLACE_ADDS] = RENAME_NOREPLACE,
                                     [PLACE_REPLACES] = 0};
    int result = renameat2(folder, name, folder, last, flags[how]);
    if (result != 0 && how == PLACE_ADDS && errno == EINVAL &&
        faccessat(folder, last, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        errno = EEXIST;
    if (result != 0 && how != PLACE_REPLACES &&
        (errno == EINVAL || (errno == ENOENT && how == PLACE_EXCHANGES)))
        result = renameat(folder, name, folder, last);
    return result;
}

int place_swap(struct place *place, const char *path, enum place_swap how,
               struct error *error)
{
    char name[NAME_SIZE];
    const char *last;
    int folder = open_folder(place, path, &last, error);
    if (folder < 0)
        return -1;
    place_beside(name, last);
    if (rename_one(folder, name, last, how) == 0)
        return 0;
    return error_set_errno(
        error, errno == EEXIST ? ERROR_TRY_AGAIN : ERROR_CANT_CREATE,
        "cannot put %s/%s in its place", place->directory, path);
}

/* Did somebody save the file between our look at it and the exchange?  What
 * came out then is what the plan did not know. */
static bool was_saved(struct place *place, const struct output_file *file)
{
    return replaces(file) && file->there_sha256[0] != '\0' &&
           place_has_other(place, file->path, file->there_sha256);
}

/* What comes out now must be ours again: else somebody has saved the file
 * since, and that text is the newest. */
static void take_back(struct place *place, const struct output_file *file)
{
    const char *last;
    const char *ours =
        file->merged != NULL ? file->merged_sha256 : file->sha256;
    if (replaces(file)) {
        if (place_swap(place, file->path, PLACE_EXCHANGES, NULL) == 0 &&
            place_has_other(place, file->path, ours))
            place_swap(place, file->path, PLACE_EXCHANGES, NULL);
        return;
    }
    int folder = open_folder(place, file->path, &last, NULL);
    if (folder >= 0)
        unlinkat(folder, last, 0);
}

bool place_is_there(const struct place *place, const char *path)
{
    int fd = safe_open_file(place->root, path, NULL);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* A job that died may have put it in its place already. */
static int put_base(struct place *place, struct error *error)
{
    char path[NAME_SIZE];
    char name[NAME_SIZE + sizeof(PLACE_PREFIX)];
    base_name(place, path);
    snprintf(name, sizeof(name), "%s/%s%s.base", MANIFEST_DIRECTORY,
             PLACE_PREFIX, place->node);
    return place_is_there(place, name)
               ? place_swap(place, path, PLACE_REPLACES, error)
               : 0;
}

int place_put_manifest(struct place *place, bool has_manifest,
                       struct error *error)
{
    char path[NAME_SIZE];
    place_manifest_name(place, path);
    if (!has_manifest || (put_base(place, error) == 0 &&
                          place_swap(place, path, PLACE_REPLACES, error) == 0))
        return 0;
    return error_prefix(error,
                        "%s is complete but for its manifest; run it "
                        "again",
                        place->node);
}

static int swap_all(struct place *place, const struct output *output,
                    struct error *error)
{
    size_t done = 0;
    for (; done < output->file_count; done++) {
        const struct output_file *file = &output->files[done];
        if (!is_written(file))
            continue;
        if (place_swap(place, file->path,
                       replaces(file) ? PLACE_EXCHANGES : PLACE_ADDS,
                       error) != 0)
            break;
        if (was_saved(place, file)) {
            done++; /* it goes back, too */
            error_set(error, ERROR_TRY_AGAIN, "%s was saved meanwhile",
                      file->path);
            break;
        }
    }
    if (done == output->file_count && error->code == ERROR_NONE)
        return 0;
    while (done-- > 0)
        if (is_written(&output->files[done]))
            take_back(place, &output->files[done]);
    return error_prefix(error, "nothing was changed");
}

static enum place_result put_in_place(struct place *place,
                                      const struct output *output,
                                      bool has_manifest, struct error *error)
{
    error_clear(error);
    if (swap_all(place, output, error) != 0) {
        drop_all(place, output);
        return error->code == ERROR_TRY_AGAIN ? PLACE_AGAIN : PLACE_FAILED;
    }
    for (size_t i = 0; i < output->file_count; i++)
        if (replaces(&output->files[i]))
            place_drop_beside(place, output->files[i].path);
    return place_put_manifest(place, has_manifest, error) == 0 ? PLACE_DONE
                                                               : PLACE_FAILED;
}

static enum place_result put_folder(struct place *place, bool has_manifest,
                                    struct error *error)
{
    char name[NAME_SIZE];
    place_beside(name, place->node);
    int result = renameat2(place->root, name, place->root, place->node,
                           RENAME_NOREPLACE);
    if (result != 0 && errno == EINVAL &&
        faccessat(place->root, place->node, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
        result = renameat(place->root, name, place->root, place->node);
    if (result != 0 && errno == EEXIST)
        return PLACE_AGAIN;
    if (result != 0)
        return (enum place_result)error_set_errno(
            error, ERROR_CANT_CREATE, "cannot put %s/%s in its place",
            place->directory, place->node);
    place->is_new = false;
    return place_put_manifest(place, has_manifest, error) == 0 ? PLACE_DONE
                                                               : PLACE_FAILED;
}

enum place_result place_files(struct place *place, struct output *output,
                              const struct buffer *manifest,
                              const struct buffer *base, struct error *error)
{
    bool has_manifest = manifest != NULL;
    if (write_all(place, output, manifest, base, error) != 0) {
        drop_all(place, output);
        return PLACE_FAILED;
    }
    if (!place->is_new)
        return put_in_place(place, output, has_manifest, error);
    enum place_result result = put_folder(place, has_manifest, error);
    if (place->is_new) /* still: it goes as a whole (place_abandon) */
        drop_all(place, output);
    return result;
}

void place_abandon(struct place *place)
{
    char name[NAME_SIZE];
    if (place->folder_fd < 0)
        return;
    place_beside(name, place->node);
    if (place->is_new)
        remove_tree(place->root, name, REMOVE_DEPTH);
    else
        unlinkat(place->root, place->node, AT_REMOVEDIR); /* when empty */
}
