/* SPDX-License-Identifier: Apache-2.0
 *
 * A shard's lock, and what is done with the shard of an owner that died.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/shm/cache_layout.h"

void cache_begin_change(struct cache *cache, const struct cache_place *at)
{
    atomic_fetch_add_explicit(&at->shard->sequence, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    cache_pass(cache, CACHE_STEP_CHANGING);
}

void cache_end_change(struct cache *cache, const struct cache_place *at)
{
    atomic_fetch_add_explicit(&at->shard->sequence, 1, memory_order_release);
    cache_pass(cache, CACHE_STEP_CHANGED);
}

/* Only what somebody has pinned is left, and nobody finds it. */
static void sort_entries(const struct cache_place *at)
{
    struct cache_shard *shard = at->shard;
    uint32_t high = atomic_load(&shard->high);
    uint64_t retired_bytes = 0;
    for (uint32_t i = 0; i < high; i++) {
        struct cache_entry *entry = &cache_entries(at)[i];
        if (atomic_load(&entry->state) != CACHE_FREE) {
            atomic_store(&entry->state, CACHE_RETIRED);
            if (!cache_is_pinned(entry))
                atomic_store(&entry->state, CACHE_FREE);
        }
        bool retired = atomic_load(&entry->state) == CACHE_RETIRED;
        uint32_t *list = retired ? &shard->retired : &shard->free;
        entry->after = *list;
        *list = i + 1;
        if (retired) {
            cache_space_mark(at, atomic_load(&entry->unit), entry->units);
            retired_bytes += (uint64_t)entry->units * CACHE_UNIT;
        }
    }
    atomic_store(&shard->retired_bytes, retired_bytes);
}

/* Nothing is trusted but the entries (cache_layout.h).  Who dies here
 * leaves it to the next, who begins anew. */
static void empty(struct cache *cache, const struct cache_place *at)
{
    struct cache_shard *shard = at->shard;
    const struct cache_region *region = at->region;
    if ((atomic_load(&shard->sequence) & 1) == 0)
        atomic_fetch_add(&shard->sequence, 1);
    atomic_thread_fence(memory_order_seq_cst);
    cache_pass(cache, CACHE_STEP_MENDING);
    for (uint32_t i = 0; i < region->bucket_count; i++)
        atomic_store_explicit(&cache_buckets(at)[i], 0, memory_order_relaxed);
    memset(shard->queues, 0, sizeof(shard->queues));
    atomic_store(&shard->items, 0);
    atomic_store(&shard->bytes, 0);
    cache_pass(cache, CACHE_STEP_MENDED_INDEX);
    cache_space_clear(at);
    shard->free = shard->retired = 0;
    sort_entries(at);
    atomic_fetch_add_explicit(&shard->sequence, 1, memory_order_release);
    cache_pass(cache, CACHE_STEP_MENDED);
}

int cache_lock(struct cache *cache, struct cache_place *at, uint32_t shard)
{
    *at = (struct cache_place){cache->region,
                               cache_shard_at(cache->region, shard)};
    pthread_mutex_t *lock = &at->shard->lock;
    int result = pthread_mutex_trylock(lock);
    if (result == EBUSY) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += CACHE_WAIT_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        result = pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &until);
    }
    if (result == EOWNERDEAD) {
        empty(cache, at);
        result = pthread_mutex_consistent(lock);
        cache->counts.recoveries++;
    }
    if (result == 0)
        cache_pass(cache, CACHE_STEP_LOCKED);
    return result == 0 ? 0 : -1;
}

void cache_unlock(struct cache *cache, const struct cache_place *at)
{
    pthread_mutex_unlock(&at->shard->lock);
    cache_pass(cache, CACHE_STEP_UNLOCKED);
}
