/* SPDX-License-Identifier: Apache-2.0
 *
 * What a job that died left beside its files, and what stands there now.
 */
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/generation/output_place_parts.h"

#define RECOVER_FILE_MAX (64u << 20)

/* -1 when it cannot be read. */
static int hash_file(const struct place *place, const char *path, char is[65],
                     size_t *size)
{
    char *bytes = NULL;
    if (safe_read_file(place->root, path, RECOVER_FILE_MAX, &bytes, size,
                       NULL) != 0)
        return -1;
    SHA256Data((const uint8_t *)bytes, *size, is);
    free(bytes);
    return 0;
}

static bool has_hash(const struct place *place, const char *path,
                     const char *sha256)
{
    char is[65];
    size_t size;
    return hash_file(place, path, is, &size) == 0 && strcmp(is, sha256) == 0;
}

static bool is_empty(const struct place *place, const char *path)
{
    char is[65];
    size_t size;
    return hash_file(place, path, is, &size) == 0 && size == 0;
}

static void beside_path(const char *file, char path[SAFE_PATH_MAX + NAME_SIZE])
{
    const char *slash = strrchr(file, '/');
    snprintf(path, SAFE_PATH_MAX + NAME_SIZE, "%.*s/%s%s", (int)(slash - file),
             file, PLACE_PREFIX, slash + 1);
}

bool place_has_other(const struct place *place, const char *file,
                     const char *sha256)
{
    char path[SAFE_PATH_MAX + NAME_SIZE];
    char is[65];
    size_t size;
    beside_path(file, path);
    return hash_file(place, path, is, &size) == 0 && strcmp(is, sha256) != 0;
}

/* What a manifest names is only text until it is below our node. */
static bool is_of_node(const struct place *place, const char *path)
{
    size_t length = strlen(place->node);
    return strncmp(path, place->node, length) == 0 && path[length] == '/';
}

/* It died between an exchange and its look at what came out, which is neither
 * what it wrote nor what it knew of, while the place has what it wrote: a
 * person had saved the file. */
static bool is_of_person(const struct place *place, const char *beside,
                         const struct manifest_file *file, const char *was)
{
    const char *wrote =
        file->merged_sha256[0] != '\0' ? file->merged_sha256 : file->sha256;
    return has_hash(place, file->path, wrote) &&
           !has_hash(place, beside, wrote) && !has_hash(place, beside, was) &&
           !is_empty(place, beside);
}

/* Puts one file of the dead job in its place, unless somebody has changed
 * what is there since; what else is beside is the old one. */
static int recover_file(struct place *place, const struct manifest *before,
                        const struct manifest_file *file, struct error *error)
{
    char path[SAFE_PATH_MAX + NAME_SIZE];
    beside_path(file->path, path);
    if (!place_is_there(place, path))
        return 0;
    const struct manifest_file *old = manifest_find(before, file->path);
    bool merged = file->merged_sha256[0] != '\0';
    const char *was = merged        ? file->edited_sha256
                      : old == NULL ? ""
                                    : old->sha256;
    bool ours =
        !place_is_there(place, file->path) || has_hash(place, file->path, was);
    if (ours &&
        has_hash(place, path, merged ? file->merged_sha256 : file->sha256) &&
        place_swap(place, file->path, PLACE_REPLACES, error) != 0)
        return -1;
    if (!ours && was[0] != '\0' && is_of_person(place, path, file, was))
        place_swap(place, file->path, PLACE_EXCHANGES, NULL);
    place_drop_beside(place, file->path);
    return 0;
}

int place_recover(struct place *place, struct arena *arena, struct error *error)
{
    char path[NAME_SIZE];
    char name[NAME_SIZE];
    struct manifest begun, before;
    struct error why;
    if (place->is_new)
        return 0;
    place_beside(name, place->node);
    if (manifest_read(place->root, name, arena, &begun, &why) != 0) {
        place_manifest_name(place, path);
        if (why.code != ERROR_NO_INPUT)
            place_drop_beside(place, path); /* its files were not all there */
        return 0;
    }
    if (manifest_read(place->root, place->node, arena, &before, &why) != 0)
        before = (struct manifest){.node = place->node};
    for (size_t i = 0; i < begun.file_count; i++)
        if (is_of_node(place, begun.files[i].path) &&
            recover_file(place, &before, &begun.files[i], error) != 0)
            return -1;
    return place_put_manifest(place, true, error);
}
