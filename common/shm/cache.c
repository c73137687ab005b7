/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/cache.h"

#include <string.h>

#include "common/base/text.h"
#include "common/shm/cache_layout.h"

#define CHAIN_MOST 64 /* links that a reader follows without the lock */
#define QUIET_MOST 8  /* tries without the lock */

/* --- the region --- */

static uint64_t aligned(uint64_t size)
{
    return (size + 4095u) & ~UINT64_C(4095);
}

/* Twice its share, since keys do not spread evenly. */
static void lay_out(const struct cache_shape *shape, struct cache_region *r)
{
    *r = (struct cache_region){.magic = CACHE_MAGIC,
                               .version = CACHE_VERSION,
                               .entry_size = sizeof(struct cache_entry),
                               .shard_count = shape->shards};
    r->entry_count = 16 + 2 * (shape->items_most / shape->shards);
    r->bucket_count = 64;
    while (r->bucket_count < r->entry_count)
        r->bucket_count *= 2;
    r->unit_count =
        64 * (uint32_t)(shape->room_bytes / shape->shards / CACHE_UNIT / 64);
    r->bucket_at = aligned(sizeof(struct cache_shard));
    r->ghost_at = r->bucket_at + aligned(r->bucket_count * sizeof(uint32_t));
    r->map_at =
        r->ghost_at + aligned(r->bucket_count * sizeof(struct cache_ghost));
    r->entry_at = r->map_at + aligned(r->unit_count / 8);
    r->unit_at = r->entry_at +
                 aligned(r->entry_count * (uint64_t)sizeof(struct cache_entry));
    r->shard_at = aligned(sizeof(*r));
    r->shard_size = r->unit_at + aligned((uint64_t)r->unit_count * CACHE_UNIT);
    r->size_bytes = r->shard_at + r->shard_count * r->shard_size;
}

size_t cache_region_size(const struct cache_shape *shape)
{
    struct cache_region region;
    lay_out(shape, &region);
    return region.size_bytes;
}

void cache_region_init(struct cache_region *region,
                       const struct cache_shape *shape)
{
    pthread_mutexattr_t attributes;
    lay_out(shape, region);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    for (uint32_t i = 0; i < region->shard_count; i++)
        pthread_mutex_init(&cache_shard_at(region, i)->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

void cache_limit(struct cache_region *region, uint64_t items, uint64_t bytes,
                 uint64_t ttl_ms)
{
    atomic_store(&region->items_limit, items);
    atomic_store(&region->bytes_limit, bytes);
    atomic_store(&region->ttl_ms, ttl_ms);
}

void cache_totals(const struct cache_region *region,
                  struct cache_totals *totals)
{
    struct cache_region *r = (struct cache_region *)(uintptr_t)region;
    *totals = (struct cache_totals){.items_limit = atomic_load(&r->items_limit),
                                    .bytes_limit = atomic_load(&r->bytes_limit),
                                    .ttl_ms = atomic_load(&r->ttl_ms)};
    for (uint32_t i = 0; i < r->shard_count; i++) {
        struct cache_shard *shard = cache_shard_at(r, i);
        totals->items += atomic_load(&shard->items);
        totals->bytes += atomic_load(&shard->bytes);
        totals->retired_bytes += atomic_load(&shard->retired_bytes);
    }
}

int cache_open(struct cache *cache, struct cache_region *region,
               unsigned holder, struct error *error)
{
    if (region->magic != CACHE_MAGIC || region->version != CACHE_VERSION ||
        region->entry_size != sizeof(struct cache_entry))
        return error_set(error, ERROR_SOFTWARE,
                         "the cache in shared memory has another layout; "
                         "going on without it");
    *cache = (struct cache){.region = region, .holder = holder};
    return 0;
}

struct cache_key cache_key(const void *bytes, size_t size)
{
    uint64_t hash = text_hash(TEXT_HASH_START, bytes, size);
    hash = (hash ^ hash >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return (struct cache_key){bytes, (uint32_t)size, hash ^ hash >> 29};
}

/* --- reading --- */

#define QUIET(field) atomic_load_explicit(&(field), memory_order_relaxed)

/* Is this entry's key the one that is looked for?  What is read may be
 * changing, so nothing outside of the shard is touched. */
static bool is_of_key(const struct cache_place *at,
                      const struct cache_entry *entry,
                      const struct cache_key *key)
{
    uint64_t unit = QUIET(entry->unit);
    return QUIET(entry->hash) == key->hash &&
           QUIET(entry->key_size) == key->size &&
           unit * CACHE_UNIT + key->size <=
               (uint64_t)at->region->unit_count * CACHE_UNIT &&
           memcmp(cache_block(at, (uint32_t)unit), key->bytes, key->size) == 0;
}

static uint32_t bucket_of(const struct cache_place *at, uint64_t hash)
{
    return (uint32_t)hash & (at->region->bucket_count - 1);
}

/* The entry's index + 1, or 0. Sets *unsure when a chain is too long. */
static uint32_t follow(const struct cache_place *at,
                       const struct cache_key *key, unsigned most, bool *unsure)
{
    struct cache_entry *entries = cache_entries(at);
    uint32_t link = QUIET(cache_buckets(at)[bucket_of(at, key->hash)]);
    for (unsigned i = 0; link != 0; i++) {
        if (i == most || link > at->region->entry_count) {
            *unsure = true;
            return 0;
        }
        if (is_of_key(at, &entries[link - 1], key))
            return link;
        link = QUIET(entries[link - 1].chain);
    }
    return 0;
}

uint32_t cache_find_locked(const struct cache_place *at,
                           const struct cache_key *key)
{
    bool unsure;
    return follow(at, key, at->region->entry_count, &unsure);
}

/* What a reader saw of an entry between two looks at the sequence. */
struct sight {
    uint32_t link; /* 0: it is not there */
    uint64_t stamp, put_ms;
    uint32_t unit, key_size, value_size;
};

static void look(const struct cache_place *at, struct sight *seen)
{
    struct cache_entry *entry = &cache_entries(at)[seen->link - 1];
    seen->stamp = QUIET(entry->stamp);
    seen->put_ms = QUIET(entry->put_ms);
    seen->unit = QUIET(entry->unit);
    seen->key_size = QUIET(entry->key_size);
    seen->value_size = QUIET(entry->value_size);
}

static bool fits(const struct cache_place *at, const struct sight *seen)
{
    return (uint64_t)seen->unit +
               cache_units(seen->key_size, seen->value_size) <=
           at->region->unit_count;
}

static const char *value_of(const struct cache_place *at,
                            const struct sight *seen)
{
    return cache_block(at, seen->unit) + cache_value_at(seen->key_size);
}

/* Copies the value to `value` when it fits into `room`.  False: the shard was
 * being changed. */
static bool see_quietly(const struct cache_place *at,
                        const struct cache_key *key, void *value, size_t room,
                        struct sight *seen)
{
    bool unsure = false;
    uint32_t sequence =
        atomic_load_explicit(&at->shard->sequence, memory_order_acquire);
    if ((sequence & 1) != 0)
        return false;
    seen->link = follow(at, key, CHAIN_MOST, &unsure);
    if (unsure)
        return false;
    if (seen->link != 0) {
        look(at, seen);
        if (!fits(at, seen))
            return false;
        if (value != NULL && seen->value_size <= room)
            memcpy(value, value_of(at, seen), seen->value_size);
    }
    atomic_thread_fence(memory_order_acquire);
    return QUIET(at->shard->sequence) == sequence;
}

/* The same with the lock; false: it is not to be had. */
static bool see_locked(struct cache *cache, const struct cache_key *key,
                       void *value, size_t room, struct sight *seen)
{
    struct cache_place at;
    if (cache_lock(cache, &at, cache_shard_of(cache->region, key->hash)) != 0)
        return false;
    seen->link = cache_find_locked(&at, key);
    if (seen->link != 0) {
        look(&at, seen);
        if (value != NULL && seen->value_size <= room)
            memcpy(value, value_of(&at, seen), seen->value_size);
    }
    cache_unlock(cache, &at);
    return true;
}

static bool see(struct cache *cache, const struct cache_place *at,
                const struct cache_key *key, void *value, size_t room,
                struct sight *seen)
{
    for (unsigned i = 0; i < QUIET_MOST; i++)
        if (see_quietly(at, key, value, room, seen))
            return seen->link != 0;
    return see_locked(cache, key, value, room, seen) && seen->link != 0;
}

/* Removes what is too old. */
static bool expires(struct cache *cache, const struct cache_key *key,
                    const struct sight *seen, uint64_t now_ms)
{
    uint64_t ttl_ms = QUIET(cache->region->ttl_ms);
    if (ttl_ms == 0 || now_ms < seen->put_ms + ttl_ms)
        return false;
    cache->counts.expirations += cache_remove(cache, key) == 1;
    return true;
}

static void count_use(struct cache_entry *entry)
{
    uint32_t used = QUIET(entry->used);
    if (used < CACHE_USED_MOST)
        atomic_store_explicit(&entry->used, used + 1, memory_order_relaxed);
}

static struct cache_place place_of(const struct cache *cache,
                                   const struct cache_key *key)
{
    uint32_t shard = cache_shard_of(cache->region, key->hash);
    return (struct cache_place){cache->region,
                                cache_shard_at(cache->region, shard)};
}

int64_t cache_copy(struct cache *cache, const struct cache_key *key,
                   uint64_t now_ms, void *value, size_t room)
{
    struct cache_place at = place_of(cache, key);
    struct sight seen;
    if (!see(cache, &at, key, value, room, &seen))
        return -1;
    if (expires(cache, key, &seen, now_ms))
        return -1;
    count_use(&cache_entries(&at)[seen.link - 1]);
    return seen.value_size <= room ? (int64_t)seen.value_size : -1;
}

/* --- pins --- */

bool cache_is_pinned(struct cache_entry *entry)
{
    uint64_t pins = 0;
    for (unsigned i = 0; i < CACHE_PIN_WORDS; i++)
        pins |= atomic_load(&entry->pins[i]);
    return pins != 0;
}

/* Whoever retires an entry does so before it looks for pins, and we look
 * whether it lives after we pinned it: one of us sees the other. */
static bool pin_seen(struct cache *cache, const struct cache_place *at,
                     const struct sight *seen, struct cache_pin *pin)
{
    struct cache_entry *entry = &cache_entries(at)[seen->link - 1];
    uint64_t bit = UINT64_C(1) << cache->holder % 64;
    uint64_t before = atomic_fetch_or(&entry->pins[cache->holder / 64], bit);
    cache_pass(cache, CACHE_STEP_PINNED);
    pin->counts = (before & bit) == 0;
    if (atomic_load(&entry->state) == CACHE_ALIVE &&
        atomic_load(&entry->stamp) == seen->stamp)
        return true;
    if (pin->counts)
        atomic_fetch_and(&entry->pins[cache->holder / 64], ~bit);
    return false;
}

bool cache_pin(struct cache *cache, const struct cache_key *key,
               uint64_t now_ms, struct cache_pin *pin)
{
    struct cache_place at = place_of(cache, key);
    struct sight seen;
    do {
        if (!see(cache, &at, key, NULL, 0, &seen))
            return false;
        if (expires(cache, key, &seen, now_ms))
            return false;
        cache_pass(cache, CACHE_STEP_FOUND);
    } while (!pin_seen(cache, &at, &seen, pin));
    count_use(&cache_entries(&at)[seen.link - 1]);
    pin->value = value_of(&at, &seen);
    pin->size = seen.value_size;
    pin->entry = seen.link - 1;
    pin->shard = cache_shard_of(cache->region, key->hash);
    return true;
}

void cache_unpin(struct cache *cache, struct cache_pin *pin, uint64_t uses)
{
    const struct cache_place at = {cache->region,
                                   cache_shard_at(cache->region, pin->shard)};
    struct cache_entry *entry = &cache_entries(&at)[pin->entry];
    uint64_t bit = UINT64_C(1) << cache->holder % 64;
    if (uses > 0)
        atomic_fetch_add(&entry->uses, uses);
    if (pin->counts)
        atomic_fetch_and(&entry->pins[cache->holder / 64], ~bit);
    pin->value = NULL;
    cache_pass(cache, CACHE_STEP_UNPINNED);
}

void cache_forget_holder(struct cache_region *region, unsigned holder)
{
    uint64_t bit = UINT64_C(1) << holder % 64;
    for (uint32_t i = 0; i < region->shard_count; i++) {
        const struct cache_place at = {region, cache_shard_at(region, i)};
        uint32_t high = atomic_load(&at.shard->high);
        for (uint32_t j = 0; j < high && j < region->entry_count; j++) {
            _Atomic uint64_t *pins = &cache_entries(&at)[j].pins[holder / 64];
            if ((atomic_load(pins) & bit) != 0)
                atomic_fetch_and(pins, ~bit);
        }
    }
}
