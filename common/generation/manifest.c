/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "common/document/document.h"
#include "common/generation/safe_path.h"

char *manifest_path(struct arena *arena, const char *node)
{
    return arena_printf(arena, "%s/%s.json", MANIFEST_DIRECTORY, node);
}

static const char *text_of(const struct node *map, const char *key)
{
    const struct node *value = document_get(map, key);
    return value == NULL || value->text == NULL ? "" : value->text;
}

static int take_files(const struct node *list, struct arena *arena,
                      struct manifest *manifest)
{
    if (list == NULL || list->kind != NODE_LIST ||
        list->count > MANIFEST_FILES_MAX)
        return -1;
    manifest->files =
        arena_calloc(arena, list->count + 1, sizeof(*manifest->files));
    if (manifest->files == NULL)
        return -1;
    for (const struct node *item = list->first; item != NULL;
         item = item->next) {
        struct manifest_file file = {
            .path = text_of(item, "path"),
            .sha256 = text_of(item, "sha256"),
            .size = strtoull(text_of(item, "size"), NULL, 10),
            .mode = (unsigned)strtoul(text_of(item, "mode"), NULL, 8),
            .template_name = text_of(item, "template"),
            .template_hash = text_of(item, "template_hash"),
            .contract_sha256 = text_of(item, "contract_sha256"),
            .merged_sha256 = text_of(item, "merged_sha256"),
            .edited_sha256 = text_of(item, "edited_sha256"),
        };
        struct error ignored;
        if (safe_path_check(file.path, strlen(file.path), &ignored) != 0 ||
            strlen(file.sha256) != 64)
            return -1;
        manifest->files[manifest->file_count++] = file;
    }
    return 0;
}

int manifest_parse(const char *path, const char *bytes, size_t size,
                   struct arena *arena, struct manifest *manifest,
                   struct error *error)
{
    struct node *map = NULL;
    struct error damage;
    int failed = document_read_json(arena, path, bytes, size,
                                    &document_limits_default, &map, &damage);
    if (failed == 0) {
        manifest->contract = text_of(map, "contract");
        manifest->contract_sha256 = text_of(map, "contract_sha256");
        manifest->template_set = text_of(map, "template_set");
        manifest->template_hash = text_of(map, "template_hash");
        failed = strcmp(text_of(map, "format"), "1") != 0 ||
                 take_files(document_get(map, "files"), arena, manifest) != 0;
    }
    if (failed != 0)
        return error_set(error, ERROR_DATA,
                         "the manifest %s is damaged; remove it and generate "
                         "again (files that differ are then kept unless "
                         "forced)",
                         path);
    return 0;
}

int manifest_read(int root, const char *node, struct arena *arena,
                  struct manifest *manifest, struct error *error)
{
    char *bytes = NULL;
    size_t size = 0;
    *manifest = (struct manifest){.node = node};
    char *path = manifest_path(arena, node);
    if (path == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for a manifest");
    if (safe_read_file(root, path, MANIFEST_BYTES_MAX, &bytes, &size, error) !=
        0)
        return -1;
    int result = manifest_parse(path, bytes, size, arena, manifest, error);
    free(bytes);
    return result;
}

const struct manifest_file *manifest_find(const struct manifest *manifest,
                                          const char *path)
{
    for (size_t i = 0; i < manifest->file_count; i++) {
        if (strcmp(manifest->files[i].path, path) == 0)
            return &manifest->files[i];
    }
    return NULL;
}

static void put_text(struct buffer *out, const char *key, const char *text)
{
    buffer_printf(out, "\"%s\": ", key);
    buffer_append_json(out, text, strlen(text));
}

static void put_file(const struct manifest_file *file, struct buffer *out)
{
    buffer_append_text(out, "  {");
    put_text(out, "path", file->path);
    buffer_append_text(out, ", ");
    put_text(out, "sha256", file->sha256);
    buffer_printf(out, ", \"size\": %llu, \"mode\": \"%04o\", ",
                  (unsigned long long)file->size, file->mode);
    put_text(out, "template", file->template_name);
    buffer_append_text(out, ", ");
    put_text(out, "template_hash", file->template_hash);
    buffer_append_text(out, ", ");
    put_text(out, "contract_sha256", file->contract_sha256);
    if (file->merged_sha256[0] != '\0') {
        buffer_append_text(out, ", ");
        put_text(out, "merged_sha256", file->merged_sha256);
        buffer_append_text(out, ", ");
        put_text(out, "edited_sha256", file->edited_sha256);
    }
    buffer_append_char(out, '}');
}

void manifest_put(const struct manifest *manifest, struct buffer *out)
{
    const char *const keys[] = {"node", "contract", "contract_sha256",
                                "template_set", "template_hash"};
    const char *const texts[] = {
        manifest->node, manifest->contract, manifest->contract_sha256,
        manifest->template_set, manifest->template_hash};
    buffer_append_text(out, "{\"format\": 1");
    for (size_t i = 0; i < 5; i++) {
        buffer_append_text(out, ",\n ");
        put_text(out, keys[i], texts[i]);
    }
    buffer_append_text(out, ",\n \"files\": [\n");
    for (size_t i = 0; i < manifest->file_count; i++) {
        put_file(&manifest->files[i], out);
        buffer_append_text(out, i + 1 < manifest->file_count ? ",\n" : "\n");
    }
    buffer_append_text(out, "]}\n");
}
