/* SPDX-License-Identifier: Apache-2.0
 *
 * SQLite's memory in a process of one thread: opening a store takes and
 * returns thousands of small pieces, a quarter of a short command's work
 * with malloc.  Here a piece goes to the list of its size and comes back
 * from there; what is on the lists stays until the process ends.
 */
#include "common/store/sqlite_memory.h"

#include <sqlite3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define STEP_BYTES  16
#define CLASSES     64 /* up to 1 KiB; larger ones are malloc's */
#define CHUNK_BYTES 65536

/* Before each piece stands its size, a multiple of STEP_BYTES. */
union piece {
    uint64_t size;
    union piece *next; /* in the place of the bytes, while it is free */
};

static struct {
    union piece *free[CLASSES + 1];
    union piece *chunks; /* all, each at its start the one before */
    char *chunk;
    size_t left;
} pool;

static size_t class_of(size_t size)
{
    return (size + STEP_BYTES - 1) / STEP_BYTES;
}

static union piece *cut(size_t bytes)
{
    if (pool.left < bytes) {
        union piece *chunk = malloc(CHUNK_BYTES);
        if (chunk == NULL)
            return NULL;
        chunk->next = pool.chunks;
        pool.chunks = chunk;
        pool.chunk = (char *)(chunk + 1);
        pool.left = CHUNK_BYTES - sizeof(*chunk);
    }
    union piece *piece = (union piece *)(void *)pool.chunk;
    pool.chunk += bytes;
    pool.left -= bytes;
    return piece;
}

static void *take(int wanted)
{
    size_t class = class_of((size_t)wanted);
    union piece *piece;
    if (class > CLASSES) {
        piece = malloc(class * STEP_BYTES + sizeof(*piece));
    } else if (pool.free[class] != NULL) {
        piece = pool.free[class];
        pool.free[class] = piece[1].next;
    } else {
        piece = cut(class * STEP_BYTES + sizeof(*piece));
    }
    if (piece == NULL)
        return NULL;
    piece->size = class * STEP_BYTES;
    return piece + 1;
}

static void give(void *bytes)
{
    union piece *piece = (union piece *)bytes - 1;
    size_t class = (size_t)piece->size / STEP_BYTES;
    if (class > CLASSES) {
        free(piece);
        return;
    }
    piece[1].next = pool.free[class];
    pool.free[class] = piece;
}

static int size_of(void *bytes)
{
    return bytes == NULL ? 0 : (int)((union piece *)bytes - 1)->size;
}

static void *resize(void *bytes, int wanted)
{
    if (wanted <= size_of(bytes))
        return bytes;
    void *other = take(wanted);
    if (other == NULL)
        return NULL;
    memcpy(other, bytes, (size_t)size_of(bytes));
    give(bytes);
    return other;
}

static int round_up(int wanted)
{
    return (int)(class_of((size_t)wanted) * STEP_BYTES);
}

static int init(void *self)
{
    (void)self;
    return SQLITE_OK;
}

static void shutdown(void *self)
{
    (void)self;
}

void sqlite_memory_use(void)
{
    static const sqlite3_mem_methods methods = {.xMalloc = take,
                                                .xFree = give,
                                                .xRealloc = resize,
                                                .xSize = size_of,
                                                .xRoundup = round_up,
                                                .xInit = init,
                                                .xShutdown = shutdown};
    sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
#ifndef __SANITIZE_ADDRESS__
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
#else
    (void)methods;
#endif
}
