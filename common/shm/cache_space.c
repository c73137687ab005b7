/* SPDX-License-Identifier: Apache-2.0
 *
 * Space of a shard: a map with a bit a unit, the lowest fit first, so that
 * what was never needed is never touched.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/shm/cache_layout.h"

/* So many units that become free at once go back to the system. */
#define GIVE_BACK_UNITS 512u

static uint32_t words(const struct cache_place *at)
{
    return at->region->unit_count / 64;
}

/* Sets or clears a run of bits. */
static void change(const struct cache_place *at, uint32_t unit, uint32_t units,
                   bool taken)
{
    uint64_t *map = cache_map(at);
    for (uint32_t end = unit + units; unit < end;) {
        uint32_t within = unit % 64;
        uint32_t count = 64 - within < end - unit ? 64 - within : end - unit;
        uint64_t bits =
            (count == 64 ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1) << within;
        if (taken)
            map[unit / 64] |= bits;
        else
            map[unit / 64] &= ~bits;
        unit += count;
    }
}

/* The first unit from `unit` on that is free (or taken), at most `end`. */
static uint32_t next(const uint64_t *map, uint32_t unit, uint32_t end,
                     bool taken)
{
    while (unit < end) {
        uint64_t word = taken ? map[unit / 64] : ~map[unit / 64];
        word >>= unit % 64;
        if (word != 0) {
            unit += (uint32_t)__builtin_ctzll(word);
            return unit < end ? unit : end;
        }
        unit = (unit / 64 + 1) * 64;
    }
    return end;
}

int64_t cache_space_take(const struct cache_place *at, uint32_t units)
{
    const uint64_t *map = cache_map(at);
    uint32_t end = at->region->unit_count;
    uint32_t first = next(map, at->shard->map_hint * 64, end, false);
    at->shard->map_hint = first / 64;
    while (units <= end - first) {
        uint32_t taken = next(map, first, first + units, true);
        if (taken == first + units) {
            change(at, first, units, true);
            return first;
        }
        first = next(map, taken, end, false);
    }
    return -1;
}

void cache_space_mark(const struct cache_place *at, uint32_t unit,
                      uint32_t units)
{
    change(at, unit, units, true);
}

static void give_back(const struct cache_place *at, uint32_t unit,
                      uint32_t units)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)cache_block(at, unit);
    uintptr_t end = begin + (uintptr_t)units * CACHE_UNIT;
    begin = (begin + page - 1) / page * page;
    end = end / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_REMOVE);
}

void cache_space_free(const struct cache_place *at, uint32_t unit,
                      uint32_t units)
{
    if (units >= GIVE_BACK_UNITS)
        give_back(at, unit, units);
    change(at, unit, units, false);
    if (unit / 64 < at->shard->map_hint)
        at->shard->map_hint = unit / 64;
}

void cache_space_clear(const struct cache_place *at)
{
    memset(cache_map(at), 0, words(at) * sizeof(uint64_t));
    at->shard->map_hint = 0;
}
