/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/base_texts.h"

#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/generation/manifest.h"
#include "common/generation/safe_path.h"

#define HEAD      "tidemill-base 1\n"
#define HEAD_SIZE (sizeof(HEAD) - 1)
#define NAME_SIZE 300

/* The next text from *at on; false at the end, or where it is not whole. */
static bool take_text(const char **at, const char *end, struct base_text *text)
{
    char line[100];
    int length = 0;
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    if (newline == NULL || (size_t)(newline - *at) >= sizeof(line))
        return false;
    snprintf(line, sizeof(line), "%.*s", (int)(newline - *at), *at);
    if (sscanf(line, "%64[0-9a-f] %zu%n", text->sha256, &text->size, &length) !=
            2 ||
        line[length] != '\0' || text->size >= (size_t)(end - newline - 1))
        return false;
    text->bytes = newline + 1;
    *at = text->bytes + text->size;
    return *(*at)++ == '\n';
}

void base_texts_read(int root, const char *node, struct arena *arena,
                     struct base_texts *base)
{
    char path[NAME_SIZE];
    char *bytes = NULL;
    size_t size = 0;
    *base = (struct base_texts){.count = 0};
    snprintf(path, sizeof(path), "%s/%s.base", MANIFEST_DIRECTORY, node);
    if (safe_read_file(root, path, BASE_BYTES_MAX, &bytes, &size, NULL) != 0)
        return;
    const char *copy = arena_copy(arena, bytes, size);
    free(bytes);
    base->texts = arena_calloc(arena, MANIFEST_FILES_MAX, sizeof(*base->texts));
    if (copy == NULL || base->texts == NULL || size < HEAD_SIZE ||
        memcmp(copy, HEAD, HEAD_SIZE) != 0)
        return;
    const char *at = copy + HEAD_SIZE;
    while (base->count < MANIFEST_FILES_MAX &&
           take_text(&at, copy + size, &base->texts[base->count]))
        base->count++;
}

const struct base_text *base_texts_find(const struct base_texts *base,
                                        const char *sha256)
{
    for (size_t i = 0; i < base->count; i++) {
        const struct base_text *text = &base->texts[i];
        char is[65];
        if (strcmp(text->sha256, sha256) != 0)
            continue;
        SHA256Data((const uint8_t *)text->bytes, text->size, is);
        if (strcmp(is, sha256) == 0)
            return text;
    }
    return NULL;
}

void base_texts_begin(struct buffer *out)
{
    buffer_append_text(out, HEAD);
}

void base_texts_put(struct buffer *out, const char *sha256, const char *bytes,
                    size_t size)
{
    buffer_printf(out, "%s %zu\n", sha256, size);
    buffer_append(out, bytes, size);
    buffer_append_char(out, '\n');
}
