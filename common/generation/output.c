/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/output.h"

#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/generation/manifest.h"
#include "common/generation/safe_path.h"

#define LOCK_WAIT_MS     5000
#define ARENA_BYTES      (64u << 20)
#define OUTPUT_FILE_MAX  (64u << 20)
#define TEMPORARY_PREFIX ".tidemill-new-"

/* The work on one output. */
struct writing {
    struct output *output;
    struct arena arena;
    int root;
    int node;         /* its folder, locked; -1 when planning */
    bool node_is_new; /* we made it: nothing of ours can be in it */
    int folder;       /* the one opened last: files come ordered by path */
    char folder_path[SAFE_PATH_MAX + 1];
    struct manifest before;
    bool has_before;
};

const char *output_change_name(enum output_change change)
{
    static const char *const names[] = {
#define X(name, text) text,
        OUTPUT_CHANGE_LIST(X)
#undef X
    };
    return names[change];
}

static int compare_files(const void *a, const void *b)
{
    const struct output_file *left = a, *right = b;
    return strcmp(left->path, right->path);
}

static int check_paths(struct output *output, struct error *error)
{
    size_t length = strlen(output->node);
    if (output->file_count > OUTPUT_FILES_MAX)
        return error_set(error, ERROR_DATA,
                         "%zu files for one node; at most %d are allowed",
                         output->file_count, OUTPUT_FILES_MAX);
    if (strchr(output->node, '/') != NULL)
        return error_set(error, ERROR_NOT_ALLOWED,
                         "the node '%s' has a slash; take it out",
                         output->node);
    qsort(output->files, output->file_count, sizeof(*output->files),
          compare_files);
    for (size_t i = 0; i < output->file_count; i++) {
        const char *path = output->files[i].path;
        if (safe_path_check(path, strlen(path), error) != 0)
            return -1;
        if (strncmp(path, output->node, length) != 0 || path[length] != '/')
            return error_set(error, ERROR_NOT_ALLOWED,
                             "the output path '%s' is not below the node's "
                             "folder %s/; change the template set",
                             path, output->node);
        if (i > 0 && strcmp(path, output->files[i - 1].path) == 0)
            return error_set(error, ERROR_DATA,
                             "two templates write the output path '%s'; "
                             "change the template set",
                             path);
    }
    return 0;
}

static int check_owner(const struct writing *writing, struct error *error)
{
    const struct output *output = writing->output;
    const struct manifest *before = &writing->before;
    if (!writing->has_before ||
        strcmp(before->contract, output->contract) == 0 ||
        strcmp(before->contract_sha256, output->contract_sha256) == 0)
        return 0;
    return error_set(error, ERROR_NOT_ALLOWED,
                     "%s in %s belongs to the contract %s; rename the domain "
                     "or service in %s, choose another output directory, or "
                     "remove %s/%s.json there",
                     output->node, output->directory, before->contract,
                     output->contract, MANIFEST_DIRECTORY, output->node);
}

/* A changed file is kept when its bytes are not those that we wrote; an
 * empty one is what a crash of the machine leaves, not somebody's work. */
static bool is_edited(const struct writing *writing, const char *path,
                      const char *bytes, size_t size)
{
    const struct manifest_file *known =
        writing->has_before ? manifest_find(&writing->before, path) : NULL;
    char sha256[65];
    if (size == 0)
        return false;
    if (known == NULL)
        return true;
    SHA256Data((const uint8_t *)bytes, size, sha256);
    return strcmp(sha256, known->sha256) != 0;
}

static int plan_file(const struct writing *writing, struct output_file *file,
                     struct error *error)
{
    struct stat about;
    struct error why;
    char *bytes = NULL;
    size_t size = 0;
    SHA256Data((const uint8_t *)file->bytes, file->size, file->sha256);
    if (writing->root < 0 || (writing->node_is_new && !writing->has_before)) {
        file->change = OUTPUT_CREATED;
        return 0;
    }
    int fd = safe_open_file(writing->root, file->path, &why);
    if (fd < 0 && why.code == ERROR_NO_INPUT) {
        file->change = OUTPUT_CREATED;
        return 0;
    }
    if (fd < 0) {
        *error = why;
        return -1;
    }
    int failed = fstat(fd, &about);
    close(fd);
    if (failed != 0 ||
        safe_read_file(writing->root, file->path, OUTPUT_FILE_MAX, &bytes,
                       &size, error) != 0)
        return failed != 0 ? error_set_errno(error, ERROR_IO, "cannot read %s",
                                             file->path)
                           : -1;
    bool same = size == file->size && memcmp(bytes, file->bytes, size) == 0;
    bool same_mode = ((about.st_mode ^ file->mode) & 0100) == 0;
    if (same && same_mode)
        file->change = OUTPUT_UNCHANGED;
    else if (!same && !writing->output->force &&
             is_edited(writing, file->path, bytes, size))
        file->change = OUTPUT_KEPT;
    else
        file->change = OUTPUT_CHANGED;
    free(bytes);
    return 0;
}

static int plan(struct writing *writing, struct error *error)
{
    struct output *output = writing->output;
    struct error why;
    error_clear(&why);
    memset(output->counts, 0, sizeof(output->counts));
    if (writing->root >= 0) {
        int failed = manifest_read(writing->root, output->node, &writing->arena,
                                   &writing->before, &why);
        if (failed != 0 && why.code != ERROR_NO_INPUT) {
            *error = why;
            return -1;
        }
        writing->has_before = failed == 0;
    }
    if (check_owner(writing, error) != 0)
        return -1;
    for (size_t i = 0; i < output->file_count; i++) {
        if (plan_file(writing, &output->files[i], error) != 0)
            return -1;
        output->counts[output->files[i].change]++;
    }
    return 0;
}

static void writing_init(struct writing *writing, struct output *output)
{
    *writing = (struct writing){
        .output = output, .root = -1, .node = -1, .folder = -1};
    arena_init(&writing->arena, ARENA_BYTES);
}

static void writing_deinit(struct writing *writing)
{
    if (writing->folder >= 0)
        close(writing->folder);
    if (writing->node >= 0)
        close(writing->node);
    if (writing->root >= 0)
        close(writing->root);
    arena_deinit(&writing->arena);
}

int output_plan(struct output *output, struct error *error)
{
    struct writing writing;
    struct error why;
    int result = -1;
    error_clear(&why);
    if (check_paths(output, error) != 0)
        return -1;
    writing_init(&writing, output);
    writing.root = safe_open_root(output->directory, false, &why);
    if (writing.root < 0 && why.code != ERROR_NO_INPUT)
        *error = why;
    else
        result = plan(&writing, error);
    writing_deinit(&writing);
    return result;
}

/* Holders need milliseconds; a killed one's lock goes with it. */
static int lock_node(struct writing *writing, struct error *error)
{
    uint64_t give_up_ms = clock_monotonic_ms() + LOCK_WAIT_MS;
    while (flock(writing->node, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set_errno(error, ERROR_SYSTEM, "cannot lock %s/%s",
                                   writing->output->directory,
                                   writing->output->node);
        if (clock_monotonic_ms() > give_up_ms)
            return error_set(error, ERROR_TRY_AGAIN,
                             "another job has been writing %s/%s for %d s; "
                             "try again",
                             writing->output->directory, writing->output->node,
                             LOCK_WAIT_MS / 1000);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    struct stat about; /* a refused job takes its empty folder away again */
    if (fstat(writing->node, &about) != 0 || about.st_nlink == 0)
        return error_set(error, ERROR_TRY_AGAIN,
                         "the folder %s/%s was removed meanwhile; try again",
                         writing->output->directory, writing->output->node);
    return 0;
}

/* Splits a path into its folder, opened and made where missing, and its
 * last part.  The descriptor stays writing's own. */
static int open_folder(struct writing *writing, const char *path,
                       const char **last, struct error *error)
{
    char folder[SAFE_PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    *last = slash + 1;
    snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
    if (writing->folder >= 0 && strcmp(folder, writing->folder_path) == 0)
        return writing->folder;
    if (writing->folder >= 0)
        close(writing->folder);
    writing->folder = safe_open_directory(writing->root, folder, true, error);
    memcpy(writing->folder_path, folder, sizeof(folder));
    return writing->folder;
}

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

/* Writes a file beside its place.  Under the node's lock a temporary file
 * of this name can only be a dead job's. */
static int write_beside(struct writing *writing, const char *path,
                        const char *bytes, size_t size, unsigned mode,
                        struct error *error)
{
    char name[300];
    const char *last;
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int folder = open_folder(writing, path, &last, error);
    if (folder < 0)
        return -1;
    snprintf(name, sizeof(name), "%s%s", TEMPORARY_PREFIX, last);
    int fd = openat(folder, name, flags, mode);
    if (fd < 0 && errno == EEXIST && unlinkat(folder, name, 0) == 0)
        fd = openat(folder, name, flags, mode);
    int result = 0;
    if (fd < 0 || write_bytes(fd, bytes, size) != 0) {
        result = error_set_errno(error, ERROR_CANT_CREATE,
                                 "cannot write %s/%s; nothing was changed",
                                 writing->output->directory, path);
        unlinkat(folder, name, 0);
    }
    if (fd >= 0 && close(fd) != 0 && result == 0) {
        result = error_set_errno(error, ERROR_CANT_CREATE,
                                 "cannot write %s/%s; nothing was changed",
                                 writing->output->directory, path);
        unlinkat(folder, name, 0);
    }
    return result;
}

/* Puts the file written beside in its place, or takes it away. */
static int finish_beside(struct writing *writing, const char *path, bool place,
                         struct error *error)
{
    char name[300];
    const char *last;
    int folder = open_folder(writing, path, &last, error);
    if (folder < 0)
        return -1;
    snprintf(name, sizeof(name), "%s%s", TEMPORARY_PREFIX, last);
    int result = 0;
    if (!place)
        unlinkat(folder, name, 0);
    else if (renameat(folder, name, folder, last) != 0)
        result = error_set_errno(error, ERROR_CANT_CREATE,
                                 "cannot put %s/%s in its place; run it again "
                                 "to complete the node",
                                 writing->output->directory, path);
    return result;
}

static bool is_written(const struct output_file *file)
{
    return file->change == OUTPUT_CREATED || file->change == OUTPUT_CHANGED;
}

static int write_files(struct writing *writing, struct error *error)
{
    struct output *output = writing->output;
    size_t done = 0;
    for (; done < output->file_count; done++) {
        const struct output_file *file = &output->files[done];
        if (is_written(file) &&
            write_beside(writing, file->path, file->bytes, file->size,
                         file->mode, error) != 0)
            break;
    }
    if (done < output->file_count) {
        struct error ignored;
        for (size_t i = 0; i < done; i++) {
            if (is_written(&output->files[i]))
                finish_beside(writing, output->files[i].path, false, &ignored);
        }
        return -1;
    }
    for (size_t i = 0; i < output->file_count; i++) {
        if (is_written(&output->files[i]) &&
            finish_beside(writing, output->files[i].path, true, error) != 0)
            return -1;
    }
    return 0;
}

/* Merges what was written with what earlier versions left (other version
 * folders); a kept file stays with the hash that we last wrote, so it is
 * still known as edited. */
static int next_manifest(struct writing *writing, struct manifest *after)
{
    const struct output *output = writing->output;
    const struct manifest *before = &writing->before;
    size_t room = output->file_count + before->file_count;
    *after = (struct manifest){
        .node = output->node,
        .contract = output->contract,
        .contract_sha256 = output->contract_sha256,
        .template_set = output->template_set,
        .template_hash = output->template_hash,
        .files = arena_calloc(&writing->arena, room + 1,
                              sizeof(struct manifest_file)),
    };
    if (after->files == NULL)
        return -1;
    size_t old = 0, new = 0;
    while (old < before->file_count || new < output->file_count) {
        const struct manifest_file *was =
            old < before->file_count ? &before->files[old] : NULL;
        const struct output_file *is =
            new < output->file_count ? &output->files[new] : NULL;
        int order = was == NULL  ? 1
                    : is == NULL ? -1
                                 : strcmp(was->path, is->path);
        old += order <= 0;
        new += order >= 0;
        if (order < 0 || (order == 0 && is->change == OUTPUT_KEPT)) {
            after->files[after->file_count++] = *was;
        } else if (is->change != OUTPUT_KEPT) {
            after->files[after->file_count++] = (struct manifest_file){
                .path = is->path,
                .sha256 = is->sha256,
                .size = is->size,
                .mode = is->mode,
                .template_name = is->template_name,
                .template_hash = output->template_hash,
                .contract_sha256 = output->contract_sha256,
            };
        }
    }
    return 0;
}

static int write_manifest(struct writing *writing, struct error *error)
{
    struct manifest after;
    struct buffer text;
    char *old = NULL;
    size_t old_size = 0;
    struct error ignored;
    int result = -1;
    buffer_init(&text, MANIFEST_BYTES_MAX);
    char *path = manifest_path(&writing->arena, writing->output->node);
    if (path == NULL || next_manifest(writing, &after) != 0) {
        error_set(error, ERROR_SYSTEM, "no memory for a manifest");
        goto out;
    }
    manifest_put(&after, &text);
    if (text.failed) {
        error_set(error, ERROR_DATA, "the manifest %s would be too large",
                  path);
        goto out;
    }
    if (writing->has_before &&
        safe_read_file(writing->root, path, MANIFEST_BYTES_MAX, &old, &old_size,
                       &ignored) == 0 &&
        old_size == text.size && memcmp(old, text.bytes, text.size) == 0) {
        result = 0;
        goto out;
    }
    if (write_beside(writing, path, text.bytes, text.size, 0644, error) == 0)
        result = finish_beside(writing, path, true, error);
out:
    free(old);
    buffer_deinit(&text);
    return result;
}

int output_write(struct output *output, struct error *error)
{
    struct writing writing;
    int result = -1;
    if (check_paths(output, error) != 0)
        return -1;
    writing_init(&writing, output);
    writing.root = safe_open_root(output->directory, true, error);
    if (writing.root < 0)
        goto out;
    writing.node = safe_open_directory(writing.root, output->node, true, error);
    if (writing.node < 0)
        goto out;
    if (lock_node(&writing, error) == 0 && plan(&writing, error) == 0 &&
        write_files(&writing, error) == 0 &&
        write_manifest(&writing, error) == 0)
        result = 0;
    else
        unlinkat(writing.root, output->node, AT_REMOVEDIR); /* when empty */
out:
    writing_deinit(&writing);
    return result;
}

void output_summary(const struct output *output, bool all, struct buffer *out)
{
    for (size_t i = 0; i < output->file_count; i++) {
        const struct output_file *file = &output->files[i];
        if (all || file->change != OUTPUT_UNCHANGED)
            buffer_printf(out, "%-10s %s\n", output_change_name(file->change),
                          file->path);
    }
    buffer_append_text(out, output->node);
    for (size_t i = 0; i < OUTPUT_CHANGE_COUNT; i++)
        buffer_printf(out, "%s %zu %s", i == 0 ? ":" : ",", output->counts[i],
                      output_change_name((enum output_change)i));
    buffer_append_char(out, '\n');
}
