/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/output.h"

#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/generation/manifest.h"
#include "common/generation/output_place.h"
#include "common/generation/safe_path.h"

#define ARENA_BYTES     (64u << 20)
#define OUTPUT_FILE_MAX (64u << 20)

/* The work on one output. */
struct writing {
    struct output *output;
    struct arena arena;
    struct place place;
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
    if (writing->place.root < 0 || writing->place.is_new) {
        file->change = OUTPUT_CREATED;
        return 0;
    }
    int fd = safe_open_file(writing->place.root, file->path, &why);
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
        safe_read_file(writing->place.root, file->path, OUTPUT_FILE_MAX, &bytes,
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
    if (writing->place.root >= 0) {
        int failed = manifest_read(writing->place.root, output->node,
                                   &writing->arena, &writing->before, &why);
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
    *writing =
        (struct writing){.output = output,
                         .place = {.root = -1, .folder_fd = -1, .last_fd = -1}};
    arena_init(&writing->arena, ARENA_BYTES);
}

static void writing_deinit(struct writing *writing)
{
    place_close(&writing->place);
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
    if (place_open(&writing.place, output, false, &why) != 0 &&
        why.code != ERROR_NO_INPUT)
        *error = why;
    else
        result = plan(&writing, error);
    writing_deinit(&writing);
    return result;
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

/* The manifest's new text; left empty when it stays as it is. */
static int make_manifest(struct writing *writing, struct buffer *text,
                         struct error *error)
{
    struct manifest after;
    char *old = NULL;
    size_t old_size = 0;
    char *path = manifest_path(&writing->arena, writing->output->node);
    if (path == NULL || next_manifest(writing, &after) != 0)
        return error_set(error, ERROR_SYSTEM, "no memory for a manifest");
    manifest_put(&after, text);
    if (text->failed)
        return error_set(error, ERROR_DATA,
                         "the manifest %s would be too large", path);
    if (writing->has_before &&
        safe_read_file(writing->place.root, path, MANIFEST_BYTES_MAX, &old,
                       &old_size, NULL) == 0 &&
        old_size == text->size && memcmp(old, text->bytes, text->size) == 0)
        buffer_reset(text);
    free(old);
    return 0;
}

static enum place_result write_once(struct writing *writing,
                                    struct error *error)
{
    struct buffer manifest;
    enum place_result result = PLACE_FAILED;
    buffer_init(&manifest, MANIFEST_BYTES_MAX);
    arena_reset(&writing->arena);
    if (place_lock(&writing->place, error) == 0) {
        if (place_recover(&writing->place, &writing->arena, error) == 0 &&
            plan(writing, error) == 0 &&
            make_manifest(writing, &manifest, error) == 0)
            result = place_files(&writing->place, writing->output,
                                 manifest.size > 0 ? &manifest : NULL, error);
        if (result != PLACE_DONE)
            place_abandon(&writing->place);
    }
    buffer_deinit(&manifest);
    return result;
}

int output_write(struct output *output, struct error *error)
{
    struct writing writing;
    enum place_result result = PLACE_FAILED;
    if (check_paths(output, error) != 0)
        return -1;
    writing_init(&writing, output);
    if (place_open(&writing.place, output, true, error) == 0)
        do
            result = write_once(&writing, error);
        while (result == PLACE_AGAIN); /* the node was made meanwhile */
    writing_deinit(&writing);
    return result == PLACE_DONE ? 0 : -1;
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
