/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of a cache: each under the lock of one shard, in steps at any of
 * which its process may be killed.
 */
#include <string.h>

#include "common/shm/cache_layout.h"

/* --- taking entries out --- */

static void unchain(const struct cache_place *at, uint32_t link)
{
    struct cache_entry *entries = cache_entries(at);
    uint64_t hash = atomic_load(&entries[link - 1].hash);
    _Atomic uint32_t *from =
        &cache_buckets(at)[(uint32_t)hash & (at->region->bucket_count - 1)];
    while (atomic_load(from) != link)
        from = &entries[atomic_load(from) - 1].chain;
    atomic_store(from, atomic_load(&entries[link - 1].chain));
}

static uint64_t bytes_of(const struct cache_entry *entry)
{
    return (uint64_t)entry->units * CACHE_UNIT;
}

/* Of an entry that is in no list. */
static void set_free(struct cache *cache, const struct cache_place *at,
                     uint32_t index)
{
    struct cache_entry *entry = &cache_entries(at)[index];
    atomic_store(&entry->state, CACHE_FREE);
    cache_space_free(at, atomic_load(&entry->unit), entry->units);
    cache_pass(cache, CACHE_STEP_FREED);
    entry->after = at->shard->free;
    at->shard->free = index + 1;
}

/* Nobody finds it any more; its space is free when nobody has it pinned.
 * Within a change. */
static void retire(struct cache *cache, const struct cache_place *at,
                   uint32_t link)
{
    struct cache_shard *shard = at->shard;
    struct cache_entry *entry = &cache_entries(at)[link - 1];
    unchain(at, link);
    cache_pass(cache, CACHE_STEP_UNCHAINED);
    cache_queue_remove(at, link - 1);
    cache_pass(cache, CACHE_STEP_UNQUEUED);
    atomic_fetch_sub(&shard->items, 1);
    atomic_fetch_sub(&shard->bytes, bytes_of(entry));
    atomic_store(&entry->state, CACHE_RETIRED);
    cache_pass(cache, CACHE_STEP_RETIRED);
    if (!cache_is_pinned(entry)) {
        set_free(cache, at, link - 1);
        return;
    }
    entry->after = shard->retired;
    shard->retired = link;
    atomic_fetch_add(&shard->retired_bytes, bytes_of(entry));
}

/* Frees what was retired and is not pinned any more. */
static void sweep(struct cache *cache, const struct cache_place *at)
{
    struct cache_shard *shard = at->shard;
    for (uint32_t *link = &shard->retired; *link != 0;) {
        uint32_t index = *link - 1;
        struct cache_entry *entry = &cache_entries(at)[index];
        if (cache_is_pinned(entry)) {
            link = &entry->after;
            continue;
        }
        *link = entry->after;
        atomic_fetch_sub(&shard->retired_bytes, bytes_of(entry));
        set_free(cache, at, index);
    }
    cache_pass(cache, CACHE_STEP_SWEPT);
}

/* What the queues say; false: there is nothing but `keep`. */
static bool evict(struct cache *cache, const struct cache_place *at,
                  uint32_t keep)
{
    uint32_t link = cache_queue_victim(at, keep);
    if (link == 0)
        return false;
    cache_begin_change(cache, at);
    retire(cache, at, link);
    cache_end_change(cache, at);
    cache->counts.evictions++;
    return true;
}

/* --- bounds --- */

/* The shard that has most of what there is too much of, and something that
 * is not to be kept; -1: none, or nothing is too much. */
static int64_t fullest(const struct cache *cache, uint32_t keep_shard,
                       uint32_t keep)
{
    struct cache_region *region = cache->region;
    struct cache_totals totals;
    int64_t found = -1;
    uint64_t most = 0;
    cache_totals(region, &totals);
    bool by_items = totals.items > totals.items_limit;
    if (!by_items && totals.bytes <= totals.bytes_limit)
        return -1;
    for (uint32_t i = 0; i < region->shard_count; i++) {
        struct cache_shard *shard = cache_shard_at(region, i);
        uint64_t items = atomic_load(&shard->items);
        uint64_t size = by_items ? items : atomic_load(&shard->bytes);
        bool kept = keep != 0 && i == keep_shard;
        if (kept && by_items && size > 0)
            size--;
        if (items > (kept ? 1u : 0u) && size >= most) {
            most = size;
            found = i;
        }
    }
    return found;
}

static void keep_to_bounds(struct cache *cache, uint32_t keep_shard,
                           uint32_t keep)
{
    struct cache_place at;
    int64_t shard;
    bool done = false;
    while (!done && (shard = fullest(cache, keep_shard, keep)) >= 0 &&
           cache_lock(cache, &at, (uint32_t)shard) == 0) {
        bool keeps = (uint32_t)shard == keep_shard;
        sweep(cache, &at);
        done = !evict(cache, &at, keeps ? keep : 0);
        cache_unlock(cache, &at);
    }
}

void cache_trim(struct cache *cache)
{
    keep_to_bounds(cache, 0, 0);
}

/* --- putting --- */

/* An entry with so many units, neither in the index nor in a queue; 0: there
 * is no room even without all others. */
static uint32_t take(struct cache *cache, const struct cache_place *at,
                     uint32_t units)
{
    struct cache_shard *shard = at->shard;
    uint32_t high = atomic_load(&shard->high);
    while (shard->free == 0 && high == at->region->entry_count)
        if (!evict(cache, at, 0))
            return 0;
    int64_t unit;
    while ((unit = cache_space_take(at, units)) < 0)
        if (!evict(cache, at, 0))
            return 0;
    uint32_t link = shard->free;
    if (link == 0) {
        atomic_store(&shard->high, high + 1);
        link = high + 1;
    }
    struct cache_entry *entry = &cache_entries(at)[link - 1];
    if (shard->free == link)
        shard->free = entry->after;
    atomic_store(&entry->unit, (uint32_t)unit);
    entry->units = units;
    cache_pass(cache, CACHE_STEP_TAKEN);
    return link;
}

static void fill(struct cache *cache, const struct cache_place *at,
                 uint32_t link, const struct cache_key *key,
                 const struct cache_piece pieces[CACHE_PIECES], uint64_t now_ms)
{
    struct cache_entry *entry = &cache_entries(at)[link - 1];
    char *block = cache_block(at, atomic_load(&entry->unit));
    size_t size = cache_value_at(key->size);
    memcpy(block, key->bytes, key->size);
    for (unsigned i = 0; i < CACHE_PIECES; i++) {
        if (pieces[i].size > 0)
            memcpy(block + size, pieces[i].bytes, pieces[i].size);
        size += pieces[i].size;
    }
    atomic_store(&entry->used, 0);
    atomic_store(&entry->uses, 0);
    atomic_store(&entry->hash, key->hash);
    atomic_store(&entry->key_size, key->size);
    atomic_store(&entry->value_size,
                 (uint32_t)size - cache_value_at(key->size));
    atomic_store(&entry->put_ms, now_ms);
    atomic_store(&entry->stamp, atomic_fetch_add(&at->region->stamps, 1) + 1);
    cache_pass(cache, CACHE_STEP_COPIED);
}

/* Into the index, in the place of an older one. */
static void link_in(struct cache *cache, const struct cache_place *at,
                    uint32_t link, const struct cache_key *key)
{
    struct cache_shard *shard = at->shard;
    struct cache_entry *entry = &cache_entries(at)[link - 1];
    uint32_t old = cache_find_locked(at, key);
    enum cache_queue_kind queue =
        old != 0 ? (enum cache_queue_kind)cache_entries(at)[old - 1].queue
                 : cache_queue_for(at, key->hash);
    cache_begin_change(cache, at);
    if (old != 0)
        retire(cache, at, old);
    _Atomic uint32_t *bucket = &cache_buckets(
        at)[(uint32_t)key->hash & (at->region->bucket_count - 1)];
    atomic_store(&entry->chain, atomic_load(bucket));
    atomic_store(bucket, link);
    cache_pass(cache, CACHE_STEP_CHAINED);
    cache_queue_add(at, link - 1, queue);
    cache_pass(cache, CACHE_STEP_QUEUED);
    atomic_fetch_add(&shard->items, 1);
    atomic_fetch_add(&shard->bytes, bytes_of(entry));
    atomic_store(&entry->state, CACHE_ALIVE);
    cache_pass(cache, CACHE_STEP_ALIVE);
    cache_end_change(cache, at);
}

static void pin_new(struct cache *cache, const struct cache_place *at,
                    uint32_t link, uint32_t shard, struct cache_pin *pin)
{
    struct cache_entry *entry = &cache_entries(at)[link - 1];
    uint64_t bit = UINT64_C(1) << cache->holder % 64;
    uint64_t before = atomic_fetch_or(&entry->pins[cache->holder / 64], bit);
    *pin = (struct cache_pin){
        .value = cache_block(at, atomic_load(&entry->unit)) +
                 cache_value_at(atomic_load(&entry->key_size)),
        .size = atomic_load(&entry->value_size),
        .entry = link - 1,
        .shard = shard,
        .counts = (before & bit) == 0,
    };
    cache_pass(cache, CACHE_STEP_PINNED);
}

bool cache_put(struct cache *cache, const struct cache_key *key,
               const struct cache_piece pieces[CACHE_PIECES], uint64_t now_ms,
               struct cache_pin *pin)
{
    struct cache_place at;
    uint64_t size = 0;
    for (unsigned i = 0; i < CACHE_PIECES; i++)
        size += pieces[i].size;
    uint32_t shard = cache_shard_of(cache->region, key->hash);
    uint32_t link = 0;
    if (key->size > 0 && key->size <= CACHE_KEY_MAX &&
        size < (uint64_t)cache->region->unit_count * CACHE_UNIT &&
        cache_lock(cache, &at, shard) == 0) {
        sweep(cache, &at);
        link = take(cache, &at, cache_units(key->size, size));
        if (link != 0) {
            fill(cache, &at, link, key, pieces, now_ms);
            link_in(cache, &at, link, key);
            if (pin != NULL)
                pin_new(cache, &at, link, shard, pin);
        }
        cache_unlock(cache, &at);
    }
    if (link == 0)
        cache->counts.refusals++;
    else
        keep_to_bounds(cache, shard, link);
    return link != 0;
}

/* --- removing --- */

int cache_remove(struct cache *cache, const struct cache_key *key)
{
    struct cache_place at;
    if (cache_lock(cache, &at, cache_shard_of(cache->region, key->hash)) != 0)
        return -1;
    sweep(cache, &at);
    uint32_t link = cache_find_locked(&at, key);
    if (link != 0) {
        cache_begin_change(cache, &at);
        retire(cache, &at, link);
        cache_end_change(cache, &at);
    }
    cache_unlock(cache, &at);
    return link != 0;
}

/* One after the other: readers look in between. */
static int64_t clear_shard(struct cache *cache, const struct cache_place *at)
{
    int64_t removed = 0;
    sweep(cache, at);
    for (uint32_t i = 0; i < atomic_load(&at->shard->high); i++) {
        if (atomic_load(&cache_entries(at)[i].state) != CACHE_ALIVE)
            continue;
        cache_begin_change(cache, at);
        retire(cache, at, i + 1);
        cache_end_change(cache, at);
        removed++;
    }
    return removed;
}

int64_t cache_clear(struct cache *cache)
{
    struct cache_place at;
    int64_t removed = 0;
    bool busy = false;
    for (uint32_t i = 0; i < cache->region->shard_count; i++) {
        if (cache_lock(cache, &at, i) != 0) {
            busy = true;
            continue;
        }
        removed += clear_shard(cache, &at);
        cache_unlock(cache, &at);
    }
    return busy ? -1 : removed;
}

/* --- what is there --- */

static int copy_item(const struct cache_place *at, uint32_t index,
                     struct arena *arena, struct cache_item *item)
{
    struct cache_entry *entry = &cache_entries(at)[index];
    const char *block = cache_block(at, atomic_load(&entry->unit));
    uint32_t key_size = atomic_load(&entry->key_size);
    uint32_t size = atomic_load(&entry->value_size);
    *item = (struct cache_item){
        .key = arena_copy(arena, block, key_size),
        .key_size = key_size,
        .value_size = size,
        .bytes = bytes_of(entry),
        .uses = atomic_load(&entry->uses),
        .put_ms = atomic_load(&entry->put_ms),
        .pinned = cache_is_pinned(entry),
    };
    memcpy(item->head, block + cache_value_at(key_size),
           size < CACHE_HEAD_MAX ? size : CACHE_HEAD_MAX);
    return item->key == NULL ? -1 : 0;
}

int cache_list(struct cache *cache, struct arena *arena,
               struct cache_item **items, size_t *count)
{
    struct cache_region *region = cache->region;
    struct cache_totals totals;
    struct cache_place at;
    int result = 0;
    cache_totals(region, &totals);
    size_t room = totals.items + region->shard_count; /* more may come */
    *items = arena_calloc(arena, room, sizeof(**items));
    *count = 0;
    if (*items == NULL)
        return -1;
    for (uint32_t i = 0; i < region->shard_count && result == 0; i++) {
        if (cache_lock(cache, &at, i) != 0)
            continue;
        sweep(cache, &at);
        for (uint32_t j = 0;
             j < atomic_load(&at.shard->high) && *count < room && result == 0;
             j++)
            if (atomic_load(&cache_entries(&at)[j].state) == CACHE_ALIVE)
                result = copy_item(&at, j, arena, &(*items)[(*count)++]);
        cache_unlock(cache, &at);
    }
    return result;
}
