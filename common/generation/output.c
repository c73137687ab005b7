/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/output.h"

#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/generation/base_texts.h"
#include "common/generation/manifest.h"
#include "common/generation/merge.h"
#include "common/generation/output_place.h"
#include "common/generation/output_seen.h"
#include "common/generation/safe_path.h"

#define AGAIN_MOST      16
#define ARENA_BYTES     (64u << 20)
#define OUTPUT_FILE_MAX (64u << 20)

/* The work on one output. */
struct writing {
    struct output *output;
    struct arena arena;
    struct place place;
    struct manifest before;
    bool has_before;
    bool has_folder;        /* the node's */
    int64_t looked_ns;      /* wall clock: before anything was read */
    struct base_texts base; /* read when it is needed */
    bool has_base;
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

bool output_change_writes(enum output_change change)
{
    return change == OUTPUT_CREATED || change == OUTPUT_CHANGED ||
           change == OUTPUT_MERGED || change == OUTPUT_CONFLICT;
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

static const struct manifest_file *known_file(const struct writing *writing,
                                              const char *path)
{
    return writing->has_before ? manifest_find(&writing->before, path) : NULL;
}

/* A changed file is kept when its bytes are not those that we wrote; an
 * empty one is what a crash of the machine leaves, not somebody's work. */
static bool is_edited(const struct writing *writing, const char *path,
                      const char *bytes, size_t size)
{
    const struct manifest_file *known = known_file(writing, path);
    char sha256[65];
    if (size == 0)
        return false;
    if (known == NULL)
        return true;
    SHA256Data((const uint8_t *)bytes, size, sha256);
    return strcmp(sha256, known->sha256) != 0;
}

static const struct base_text *find_base(struct writing *writing,
                                         const char *sha256)
{
    if (!writing->has_base)
        base_texts_read(writing->place.root, writing->output->node,
                        &writing->arena, &writing->base);
    writing->has_base = true;
    return base_texts_find(&writing->base, sha256);
}

/* What was generated since the edit goes into it; without the text that was
 * edited, the file is kept. */
static int merge_file(struct writing *writing, struct output_file *file,
                      const struct merge_text *edited, struct error *error)
{
    const struct manifest_file *known = known_file(writing, file->path);
    const struct base_text *base =
        known == NULL ? NULL : find_base(writing, known->sha256);
    struct buffer out;
    size_t conflicts;
    file->change = OUTPUT_KEPT;
    if (base == NULL || strcmp(known->sha256, file->sha256) == 0)
        return 0; /* nothing new to merge */
    buffer_init(&out, 2 * OUTPUT_FILE_MAX);
    int result = merge_texts(
        &writing->arena, &(struct merge_text){base->bytes, base->size}, edited,
        &(struct merge_text){file->bytes, file->size}, &out, &conflicts);
    file->merged_size = out.size;
    file->merged =
        result != 0 || out.failed
            ? NULL
            : arena_copy(writing->output->arena, out.bytes, out.size);
    buffer_deinit(&out);
    if (file->merged == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory to merge %s",
                         file->path);
    SHA256Data((const uint8_t *)file->merged, file->merged_size,
               file->merged_sha256);
    SHA256Data((const uint8_t *)edited->bytes, edited->size,
               file->edited_sha256);
    file->change = conflicts > 0 ? OUTPUT_CONFLICT : OUTPUT_MERGED;
    return 0;
}

/* There is a file, with these bytes. */
static int plan_against(struct writing *writing, struct output_file *file,
                        const struct merge_text *there, bool same_mode,
                        struct error *error)
{
    const struct output *output = writing->output;
    bool same = there->size == file->size &&
                memcmp(there->bytes, file->bytes, file->size) == 0;
    if (output->keep_old) {
        file->old = arena_copy(output->arena, there->bytes, there->size);
        file->old_size = there->size;
    }
    if (same && same_mode)
        file->change = OUTPUT_UNCHANGED;
    else if (same || output->force ||
             !is_edited(writing, file->path, there->bytes, there->size))
        file->change = OUTPUT_CHANGED;
    else if (output->merge)
        return merge_file(writing, file, there, error);
    else
        file->change = OUTPUT_KEPT;
    return 0;
}

/* What is there is what would be written, and of the same contract and
 * templates as the manifest says: then its hash is the one there. */
static bool is_known(const struct output *output,
                     const struct manifest_file *known)
{
    return known != NULL &&
           strcmp(known->contract_sha256, output->contract_sha256) == 0 &&
           strcmp(known->template_hash, output->template_hash) == 0;
}

static void hash_file(const struct writing *writing, struct output_file *file,
                      const struct merge_text *there)
{
    const struct manifest_file *known = known_file(writing, file->path);
    if (there != NULL && there->size == file->size &&
        memcmp(there->bytes, file->bytes, file->size) == 0 &&
        is_known(writing->output, known))
        memcpy(file->sha256, known->sha256, sizeof(file->sha256));
    else
        SHA256Data((const uint8_t *)file->bytes, file->size, file->sha256);
}

static void take_read(const struct writing *writing, struct output_file *file,
                      const struct stat *about)
{
    struct file_identity identity;
    file_identity_take(about, writing->looked_ns, &identity);
    seen_take_read(&file->seen, &identity);
}

static void look_at_manifest(const struct writing *writing)
{
    struct file_identity identity;
    char path[SAFE_PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s.json", MANIFEST_DIRECTORY,
             writing->output->node);
    file_identity_look_at(writing->place.root, path, &identity);
    seen_take_read(&writing->output->manifest, &identity);
}

static int plan_file(struct writing *writing, struct output_file *file,
                     struct error *error)
{
    struct error why;
    struct merge_text there;
    struct stat about;
    char *bytes = NULL;
    file->change = OUTPUT_CREATED;
    file->merged = file->old = NULL;
    file->there_sha256[0] = '\0';
    file->seen.certain = false;
    if (writing->place.root < 0 || writing->place.is_new) {
        hash_file(writing, file, NULL);
        return 0;
    }
    if (safe_read_file_about(writing->place.root, file->path, OUTPUT_FILE_MAX,
                             &bytes, &there.size, &about, &why) != 0) {
        hash_file(writing, file, NULL);
        if (why.code != ERROR_NO_INPUT) {
            *error = why;
            return -1;
        }
        if (!writing->output->force && writing->has_folder &&
            known_file(writing, file->path) != NULL)
            file->change = OUTPUT_GONE;
        return 0;
    }
    there.bytes = bytes;
    hash_file(writing, file, &there);
    int result =
        plan_against(writing, file, &there,
                     ((about.st_mode ^ file->mode) & S_IXUSR) == 0, error);
    if (file->change == OUTPUT_UNCHANGED)
        take_read(writing, file, &about);
    /* --force writes over whatever is there */
    if (!writing->output->force && output_change_writes(file->change))
        SHA256Data((const uint8_t *)bytes, there.size, file->there_sha256);
    free(bytes);
    return result;
}

static int plan(struct writing *writing, struct error *error)
{
    struct output *output = writing->output;
    struct error why;
    error_clear(&why);
    memset(output->counts, 0, sizeof(output->counts));
    writing->looked_ns = file_identity_now_ns();
    if (writing->place.root >= 0) {
        look_at_manifest(writing);
        int failed = manifest_read(writing->place.root, output->node,
                                   &writing->arena, &writing->before, &why);
        if (failed != 0 && why.code != ERROR_NO_INPUT) {
            *error = why;
            return -1;
        }
        writing->has_before = failed == 0;
        /* A node that was removed as a whole is made anew. */
        int folder =
            safe_open_directory(writing->place.root, output->node, false, &why);
        writing->has_folder = folder >= 0;
        if (folder >= 0)
            close(folder);
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
        bool left = is != NULL &&
                    (is->change == OUTPUT_KEPT || is->change == OUTPUT_GONE);
        if (order < 0 || (order == 0 && left)) {
            struct manifest_file *file = &after->files[after->file_count++];
            *file = *was;
            file->merged_sha256 = file->edited_sha256 = "";
        } else if (!left) {
            after->files[after->file_count++] = (struct manifest_file){
                .path = is->path,
                .sha256 = is->sha256,
                .size = is->size,
                .mode = is->mode,
                .template_name = is->template_name,
                .template_hash = output->template_hash,
                .contract_sha256 = output->contract_sha256,
                .merged_sha256 = is->merged != NULL ? is->merged_sha256 : "",
                .edited_sha256 = is->merged != NULL ? is->edited_sha256 : "",
            };
        }
    }
    return 0;
}

static const struct output_file *find_file(const struct output *output,
                                           const char *path)
{
    const struct output_file key = {.path = path};
    return bsearch(&key, output->files, output->file_count,
                   sizeof(*output->files), compare_files);
}

/* The texts behind a manifest's hashes: those generated now, and of what was
 * left the older ones, as far as they are there. */
static void make_base(struct writing *writing, const struct manifest *after,
                      struct buffer *text)
{
    base_texts_begin(text);
    for (size_t i = 0; i < after->file_count; i++) {
        const struct manifest_file *file = &after->files[i];
        const struct output_file *is = find_file(writing->output, file->path);
        if (is != NULL && strcmp(is->sha256, file->sha256) == 0) {
            base_texts_put(text, file->sha256, is->bytes, is->size);
            continue;
        }
        const struct base_text *old = find_base(writing, file->sha256);
        if (old != NULL)
            base_texts_put(text, old->sha256, old->bytes, old->size);
    }
}

/* The manifest's new text and that of the base; left empty when they stay as
 * they are. */
static int make_manifest(struct writing *writing, struct buffer *text,
                         struct buffer *base, struct error *error)
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
    if (text->size > 0)
        make_base(writing, &after, base);
    if (base->failed)
        return error_set(error, ERROR_DATA,
                         "the files of %s are too large together",
                         writing->output->node);
    return 0;
}

static void take_written(const struct place *place, const char *path,
                         size_t size, unsigned mode, struct output_seen *seen)
{
    struct file_identity identity;
    file_identity_look_at(place->root, path, &identity);
    seen_take_written(seen, &identity, size, mode, place->stamp_ns);
}

/* What was written looks so now: a later job may know it by that. */
static void remember(struct writing *writing, const struct buffer *manifest)
{
    struct output *output = writing->output;
    struct place *place = &writing->place;
    struct buffer text;
    char path[SAFE_PATH_MAX];
    if (output->inputs == NULL)
        return;
    for (size_t i = 0; i < output->file_count; i++) {
        struct output_file *file = &output->files[i];
        if (output_change_writes(file->change) && !file->seen.certain)
            take_written(place, file->path, file->size, file->mode,
                         &file->seen);
    }
    snprintf(path, sizeof(path), "%s/%s.json", MANIFEST_DIRECTORY,
             output->node);
    if (manifest->size > 0)
        take_written(place, path, manifest->size, 0644, &output->manifest);
    buffer_init(&text, SEEN_BYTES_MAX);
    if (seen_put(place->root, output, &text))
        place_put_seen(place, &text);
    buffer_deinit(&text);
}

static enum place_result write_once(struct writing *writing,
                                    struct error *error)
{
    struct buffer manifest;
    struct buffer base;
    enum place_result result = PLACE_FAILED;
    buffer_init(&manifest, MANIFEST_BYTES_MAX);
    buffer_init(&base, BASE_BYTES_MAX);
    arena_reset(&writing->arena);
    writing->has_base = false;
    if (place_lock(&writing->place, error) == 0) {
        if (place_recover(&writing->place, &writing->arena, error) == 0 &&
            plan(writing, error) == 0 &&
            make_manifest(writing, &manifest, &base, error) == 0)
            result =
                place_files(&writing->place, writing->output,
                            manifest.size > 0 ? &manifest : NULL, &base, error);
        if (result == PLACE_DONE)
            remember(writing, &manifest);
        else
            place_abandon(&writing->place);
    }
    buffer_deinit(&manifest);
    buffer_deinit(&base);
    return result;
}

int output_write(struct output *output, struct error *error)
{
    struct writing writing;
    enum place_result result = PLACE_FAILED;
    unsigned again = 0; /* the node was made, or a file saved, meanwhile */
    if (check_paths(output, error) != 0)
        return -1;
    writing_init(&writing, output);
    if (place_open(&writing.place, output, true, error) == 0)
        do
            result = write_once(&writing, error);
        while (result == PLACE_AGAIN && again++ < AGAIN_MOST);
    writing_deinit(&writing);
    if (result == PLACE_AGAIN)
        return error_set(error, ERROR_TRY_AGAIN,
                         "the files of %s/%s are being changed all the time; "
                         "nothing was written",
                         output->directory, output->node);
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
