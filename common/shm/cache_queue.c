/* SPDX-License-Identifier: Apache-2.0
 *
 * What leaves first: S3-FIFO, with the names of the paper.  The ghosts (keys
 * that left the small queue) are a table by hash in place of a queue: a newer
 * one takes the place of an older one, and one counts for as many turns as
 * the main queue has entries.
 */
#include "common/shm/cache_layout.h"

#define SMALL_SHARE    10u /* the small queue has a tenth */
#define TURNS_AN_ENTRY (CACHE_USED_MOST + 2u)

static struct cache_entry *entry_at(const struct cache_place *at,
                                    uint32_t index)
{
    return &cache_entries(at)[index];
}

static struct cache_ghost *ghost_of(const struct cache_place *at, uint64_t hash,
                                    uint32_t *mark)
{
    *mark = (uint32_t)(hash >> 32) | 1u;
    return &cache_ghosts(at)[(uint32_t)hash & (at->region->bucket_count - 1)];
}

static void remember(const struct cache_place *at, uint64_t hash)
{
    uint32_t mark;
    struct cache_ghost *ghost = ghost_of(at, hash, &mark);
    *ghost = (struct cache_ghost){mark, ++at->shard->ghost_turn};
}

enum cache_queue_kind cache_queue_for(const struct cache_place *at,
                                      uint64_t hash)
{
    uint32_t mark;
    const struct cache_ghost *ghost = ghost_of(at, hash, &mark);
    uint32_t window = at->shard->queues[CACHE_MAIN].count +
                      at->shard->queues[CACHE_SMALL].count;
    return ghost->mark == mark && at->shard->ghost_turn - ghost->turn <= window
               ? CACHE_MAIN
               : CACHE_SMALL;
}

void cache_queue_add(const struct cache_place *at, uint32_t index,
                     enum cache_queue_kind queue)
{
    struct cache_queue *list = &at->shard->queues[queue];
    struct cache_entry *entry = entry_at(at, index);
    entry->queue = queue;
    entry->before = 0;
    entry->after = list->first;
    if (list->first != 0)
        entry_at(at, list->first - 1)->before = index + 1;
    else
        list->last = index + 1;
    list->first = index + 1;
    list->count++;
}

void cache_queue_remove(const struct cache_place *at, uint32_t index)
{
    struct cache_entry *entry = entry_at(at, index);
    struct cache_queue *list = &at->shard->queues[entry->queue];
    if (entry->before != 0)
        entry_at(at, entry->before - 1)->after = entry->after;
    else
        list->first = entry->after;
    if (entry->after != 0)
        entry_at(at, entry->after - 1)->before = entry->before;
    else
        list->last = entry->before;
    list->count--;
}

static void move(const struct cache_place *at, uint32_t index,
                 enum cache_queue_kind queue, uint32_t used)
{
    atomic_store(&entry_at(at, index)->used, used);
    cache_queue_remove(at, index);
    cache_queue_add(at, index, queue);
}

uint32_t cache_queue_victim(const struct cache_place *at, uint32_t keep)
{
    const struct cache_queue *small = &at->shard->queues[CACHE_SMALL];
    const struct cache_queue *main = &at->shard->queues[CACHE_MAIN];
    uint32_t most = small->count + main->count;
    if (most == 0 || (most == 1 && small->last + main->last == keep))
        return 0;
    for (uint32_t turns = 0;; turns++) {
        bool from_small =
            main->count == 0 ||
            (small->count > 0 && small->count * SMALL_SHARE >= most &&
             !(small->count == 1 && small->last == keep));
        uint32_t link = from_small ? small->last : main->last;
        struct cache_entry *entry = entry_at(at, link - 1);
        /* uses go down with each turn, unless readers are as quick */
        uint32_t used =
            turns < TURNS_AN_ENTRY * most ? atomic_load(&entry->used) : 0;
        if (link == keep)
            move(at, link - 1, from_small ? CACHE_SMALL : CACHE_MAIN, used);
        else if (from_small && used > 1)
            move(at, link - 1, CACHE_MAIN, 0);
        else if (!from_small && used > 0)
            move(at, link - 1, CACHE_MAIN, used - 1);
        else {
            if (from_small)
                remember(at, atomic_load(&entry->hash));
            return link;
        }
    }
}
