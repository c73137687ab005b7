/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cache_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHECK(what)                                                            \
    do {                                                                       \
        if (!(what)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            abort();                                                           \
        }                                                                      \
    } while (0)

struct cache_region *cache_region_make(const struct cache_shape *shape)
{
    struct cache_region *region =
        mmap(NULL, cache_region_size(shape), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(region != MAP_FAILED);
    cache_region_init(region, shape);
    return region;
}

void cache_region_unmake(struct cache_region **region)
{
    munmap(*region, (*region)->size_bytes);
    *region = NULL;
}

/* How often each entry is found: in the index, in a queue, in a list. */
struct tally {
    unsigned char indexed, queued, retired, free;
};

static void tally_chains(const struct cache_place *at, struct tally *tally)
{
    for (uint32_t i = 0; i < at->region->bucket_count; i++)
        for (uint32_t link = cache_buckets(at)[i]; link != 0;
             link = cache_entries(at)[link - 1].chain) {
            CHECK(link <= at->shard->high);
            CHECK(++tally[link - 1].indexed == 1);
        }
}

static void tally_queues(const struct cache_place *at, struct tally *tally)
{
    for (unsigned q = 0; q < CACHE_QUEUES; q++) {
        const struct cache_queue *queue = &at->shard->queues[q];
        uint32_t count = 0, last = 0;
        for (uint32_t link = queue->first; link != 0;
             link = cache_entries(at)[link - 1].after) {
            const struct cache_entry *entry = &cache_entries(at)[link - 1];
            CHECK(++tally[link - 1].queued == 1);
            CHECK(entry->before == last && entry->queue == q);
            last = link;
            count++;
        }
        CHECK(queue->last == last && queue->count == count);
    }
}

static void tally_lists(const struct cache_place *at, struct tally *tally)
{
    for (uint32_t link = at->shard->free; link != 0;
         link = cache_entries(at)[link - 1].after)
        CHECK(++tally[link - 1].free == 1);
    for (uint32_t link = at->shard->retired; link != 0;
         link = cache_entries(at)[link - 1].after)
        CHECK(++tally[link - 1].retired == 1);
}

static void check_space(const struct cache_place *at)
{
    uint32_t words = at->region->unit_count / 64;
    uint64_t *map = calloc(words, sizeof(*map));
    CHECK(map != NULL);
    for (uint32_t i = 0; i < at->shard->high; i++) {
        const struct cache_entry *entry = &cache_entries(at)[i];
        for (uint32_t u = 0; entry->state != CACHE_FREE && u < entry->units;
             u++) {
            uint32_t unit = entry->unit + u;
            uint64_t bit = UINT64_C(1) << unit % 64;
            CHECK(unit < at->region->unit_count);
            CHECK((map[unit / 64] & bit) == 0);
            map[unit / 64] |= bit;
        }
    }
    CHECK(memcmp(map, cache_map(at), words * sizeof(*map)) == 0);
    free(map);
}

static unsigned check_shard(const struct cache_place *at)
{
    struct tally *tally = calloc(at->region->entry_count, sizeof(*tally));
    uint64_t items = 0, bytes = 0, retired = 0;
    unsigned held = 0;
    CHECK(tally != NULL);
    CHECK(at->shard->sequence % 2 == 0);
    tally_chains(at, tally);
    tally_queues(at, tally);
    tally_lists(at, tally);
    for (uint32_t i = 0; i < at->shard->high; i++) {
        const struct cache_entry *entry = &cache_entries(at)[i];
        bool alive = entry->state == CACHE_ALIVE;
        CHECK(tally[i].indexed == alive && tally[i].queued == alive);
        CHECK(tally[i].retired == (entry->state == CACHE_RETIRED));
        CHECK(tally[i].free == (entry->state == CACHE_FREE));
        items += alive;
        held += entry->state != CACHE_FREE;
        bytes += alive ? entry->units * CACHE_UNIT : 0;
        retired +=
            entry->state == CACHE_RETIRED ? entry->units * CACHE_UNIT : 0;
    }
    CHECK(at->shard->items == items && at->shard->bytes == bytes);
    CHECK(at->shard->retired_bytes == retired);
    check_space(at);
    free(tally);
    return held;
}

unsigned cache_check_held(struct cache *cache)
{
    unsigned held = 0;
    struct cache_key nothing = cache_key("\1nothing", 8);
    for (uint32_t i = 0; i < cache->region->shard_count; i++) {
        struct cache_place at;
        while (cache_shard_of(cache->region, nothing.hash) != i)
            nothing.hash += UINT64_C(1) << 58;
        CHECK(cache_remove(cache, &nothing) == 0); /* sweeps */
        CHECK(cache_lock(cache, &at, i) == 0);
        held += check_shard(&at);
        cache_unlock(cache, &at);
    }
    return held;
}

void cache_check(struct cache *cache)
{
    cache_check_held(cache);
}
