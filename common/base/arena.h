/* SPDX-License-Identifier: Apache-2.0
 *
 * An arena: memory for one message, request or document, given back at
 * once.  Every arena has a bound; past it allocations fail.
 */
#ifndef TIDEMILL_BASE_ARENA_H
#define TIDEMILL_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *first; /* the newest block; NULL when empty */
    size_t used_bytes;         /* taken from the system in total */
    size_t limit_bytes;        /* used_bytes never exceeds this */
};

/* Makes an empty arena; no memory is taken yet. */
void arena_init(struct arena *arena, size_t limit_bytes);

/* Gives all memory back; the arena is empty again and may be used. */
void arena_deinit(struct arena *arena);

/* As arena_deinit, but keeps one block for the next request. */
void arena_reset(struct arena *arena);

/* size bytes aligned for any type, not cleared; NULL past the limit or when
 * the system has no memory.  The arena owns them. */
void *arena_alloc(struct arena *arena, size_t size);

/* As arena_alloc, cleared, for count items. */
void *arena_calloc(struct arena *arena, size_t count, size_t size);

/* A copy with a NUL behind it; NULL as above. */
char *arena_copy(struct arena *arena, const void *bytes, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
