/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/arena.h"

#include <stdarg.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_BYTES 16384u

struct arena_block {
    struct arena_block *next;
    size_t size; /* of bytes */
    size_t used;
    alignas(max_align_t) unsigned char bytes[];
};

void arena_init(struct arena *arena, size_t limit_bytes)
{
    arena->first = NULL;
    arena->used_bytes = 0;
    arena->limit_bytes = limit_bytes;
}

void arena_deinit(struct arena *arena)
{
    struct arena_block *block = arena->first;
    while (block != NULL) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->first = NULL;
    arena->used_bytes = 0;
}

void arena_reset(struct arena *arena)
{
    struct arena_block *keep = arena->first;
    if (keep == NULL || keep->size > ARENA_BLOCK_BYTES) {
        arena_deinit(arena);
        return;
    }
    arena->first = keep->next;
    arena_deinit(arena);
    keep->next = NULL;
    keep->used = 0;
    arena->first = keep;
    arena->used_bytes = keep->size;
}

static struct arena_block *add_block(struct arena *arena, size_t size)
{
    size_t want = size > ARENA_BLOCK_BYTES ? size : ARENA_BLOCK_BYTES;
    if (want > arena->limit_bytes - arena->used_bytes)
        want = size;
    if (want > arena->limit_bytes - arena->used_bytes)
        return NULL;
    struct arena_block *block = malloc(sizeof(*block) + want);
    if (block == NULL)
        return NULL;
    block->size = want;
    block->used = 0;
    block->next = arena->first;
    arena->first = block;
    arena->used_bytes += want;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);
    if (size > SIZE_MAX - sizeof(struct arena_block) - align)
        return NULL;
    size = (size + align - 1) / align * align;
    struct arena_block *block = arena->first;
    if (block == NULL || block->size - block->used < size)
        block = add_block(arena, size);
    if (block == NULL)
        return NULL;
    void *bytes = block->bytes + block->used;
    block->used += size;
    return bytes;
}

void *arena_calloc(struct arena *arena, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    void *bytes = arena_alloc(arena, count * size);
    if (bytes != NULL)
        memset(bytes, 0, count * size);
    return bytes;
}

char *arena_copy(struct arena *arena, const void *bytes, size_t size)
{
    char *copy = arena_alloc(arena, size + 1);
    if (copy == NULL)
        return NULL;
    if (size > 0)
        memcpy(copy, bytes, size);
    copy[size] = '\0';
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_copy(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0)
        return NULL;
    char *text = arena_alloc(arena, (size_t)size + 1);
    if (text == NULL)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)size + 1, format, args);
    va_end(args);
    return text;
}
