/* SPDX-License-Identifier: Apache-2.0
 *
 * How a cache lies in shared memory, for its own files and their tests.
 *
 *   region | shard | shard | ...
 *   shard: head | buckets | ghosts | map of units | entries | units
 *
 * The truth of a shard are its entries: state, pins, and where their units
 * lie.  All else can be made anew from them.  Links are indices + 1, so that
 * memory that is all zero is an empty cache.
 *
 * Readers look without the lock, between two looks at the shard's sequence
 * (odd: it is being changed).  What they race with is atomic, but for the
 * bytes of keys and values: what was copied while the sequence changed is
 * thrown away.
 */
#ifndef TIDEMILL_SHM_CACHE_LAYOUT_H
#define TIDEMILL_SHM_CACHE_LAYOUT_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "common/ipc/worker_contract.h"
#include "common/shm/cache.h"

#define CACHE_MAGIC     0x65686361636d6474u /* "tdmcache" */
#define CACHE_VERSION   1u
#define CACHE_UNIT      256u
#define CACHE_PIN_WORDS ((SLOTS_MAX + 63u) / 64u)
#define CACHE_USED_MOST 3u /* uses that eviction tells apart */

enum cache_state { CACHE_FREE, CACHE_ALIVE, CACHE_RETIRED };

struct cache_entry {
    alignas(64) _Atomic uint32_t state; /* enum cache_state */
    _Atomic uint32_t used;              /* of late, for eviction */
    _Atomic uint64_t pins[CACHE_PIN_WORDS]; /* a bit a holder */
    _Atomic uint64_t hash;
    _Atomic uint64_t stamp; /* of this life; tells it from the next */
    _Atomic uint64_t put_ms;
    _Atomic uint32_t chain; /* the next in its bucket */
    _Atomic uint32_t unit;  /* where its block begins */
    _Atomic uint32_t key_size;
    _Atomic uint32_t value_size;
    uint32_t units;
    uint32_t before, after; /* in its queue; after: in the list of free or
                               retired ones */
    uint32_t queue;         /* enum cache_queue_kind */
    _Atomic uint64_t uses;  /* as they were told */
};

enum cache_queue_kind { CACHE_SMALL, CACHE_MAIN, CACHE_QUEUES };

struct cache_queue {
    uint32_t first, last; /* new ones come first */
    uint32_t count;
};

/* A key that left the small queue. */
struct cache_ghost {
    uint32_t mark; /* of its hash; 0: nothing */
    uint32_t turn;
};

struct cache_shard {
    alignas(128) pthread_mutex_t lock;
    alignas(64) _Atomic uint32_t sequence;
    alignas(64) _Atomic uint64_t items;
    _Atomic uint64_t bytes;
    _Atomic uint64_t retired_bytes;
    _Atomic uint32_t high; /* entries that were ever used */
    uint32_t free, retired; /* lists */
    uint32_t ghost_turn;
    uint32_t map_hint; /* no word of the map before this has a free unit */
    struct cache_queue queues[CACHE_QUEUES];
};

struct cache_region {
    uint64_t magic;
    uint32_t version;
    uint32_t entry_size;
    uint32_t shard_count;
    uint32_t entry_count; /* of a shard, as the next ones */
    uint32_t bucket_count; /* a power of two; of ghosts too */
    uint32_t unit_count;   /* a multiple of 64 */
    uint64_t bucket_at, ghost_at, map_at, entry_at, unit_at;
    uint64_t shard_at, shard_size;
    uint64_t size_bytes;
    _Atomic uint64_t stamps; /* given so far */
    alignas(64) _Atomic uint64_t items_limit;
    _Atomic uint64_t bytes_limit;
    _Atomic uint64_t ttl_ms;
};

static inline struct cache_shard *cache_shard_at(struct cache_region *region,
                                                 uint32_t index)
{
    return (void *)((char *)region + region->shard_at +
                    index * region->shard_size);
}

/* A place in a shard. */
struct cache_place {
    struct cache_region *region;
    struct cache_shard *shard;
};

static inline void *cache_within(const struct cache_place *at, uint64_t offset)
{
    return (char *)at->shard + offset;
}

static inline _Atomic uint32_t *cache_buckets(const struct cache_place *at)
{
    return cache_within(at, at->region->bucket_at);
}

static inline struct cache_ghost *cache_ghosts(const struct cache_place *at)
{
    return cache_within(at, at->region->ghost_at);
}

static inline uint64_t *cache_map(const struct cache_place *at)
{
    return cache_within(at, at->region->map_at);
}

static inline struct cache_entry *cache_entries(const struct cache_place *at)
{
    return cache_within(at, at->region->entry_at);
}

static inline char *cache_block(const struct cache_place *at, uint32_t unit)
{
    return cache_within(at, at->region->unit_at + (uint64_t)unit * CACHE_UNIT);
}

/* Where the value lies behind a key. */
static inline uint32_t cache_value_at(uint32_t key_size)
{
    return (key_size + 15u) & ~15u;
}

static inline uint32_t cache_units(uint64_t key_size, uint64_t value_size)
{
    uint64_t bytes = cache_value_at((uint32_t)key_size) + value_size;
    return (uint32_t)((bytes + CACHE_UNIT - 1) / CACHE_UNIT);
}

static inline uint32_t cache_shard_of(const struct cache_region *region,
                                      uint64_t hash)
{
    return (uint32_t)((hash >> 40) * region->shard_count >> 24);
}

static inline void cache_pass(const struct cache *cache, enum cache_step step)
{
    if (cache->step != NULL)
        cache->step(cache->step_context, step);
}

/* Does anybody hold it?  Ordered behind what was stored before. */
bool cache_is_pinned(struct cache_entry *entry);

/* --- cache_lock.c --- */

/* 0; -1 when the shard's owner does not let go in time. */
int cache_lock(struct cache *cache, struct cache_place *at, uint32_t shard);
void cache_unlock(struct cache *cache, const struct cache_place *at);

/* Keeps readers out, and lets them in again; by the lock's owner. */
void cache_begin_change(struct cache *cache, const struct cache_place *at);
void cache_end_change(struct cache *cache, const struct cache_place *at);

/* --- cache_space.c: units of a shard, by the lock's owner --- */

/* So many units that follow each other; the first, or -1. */
int64_t cache_space_take(const struct cache_place *at, uint32_t units);
void cache_space_mark(const struct cache_place *at, uint32_t unit,
                      uint32_t units);
void cache_space_free(const struct cache_place *at, uint32_t unit,
                      uint32_t units);
void cache_space_clear(const struct cache_place *at);

/* --- cache_queue.c: what leaves first, by the lock's owner --- */

/* Which queue a new entry with this hash belongs to. */
enum cache_queue_kind cache_queue_for(const struct cache_place *at,
                                      uint64_t hash);
void cache_queue_add(const struct cache_place *at, uint32_t index,
                     enum cache_queue_kind queue);
void cache_queue_remove(const struct cache_place *at, uint32_t index);

/* The entry that leaves next, never `keep`; its index + 1, or 0: none. */
uint32_t cache_queue_victim(const struct cache_place *at, uint32_t keep);

/* --- cache.c --- */

/* An entry's index + 1, by the lock's owner; 0: not there. */
uint32_t cache_find_locked(const struct cache_place *at,
                           const struct cache_key *key);

#endif
