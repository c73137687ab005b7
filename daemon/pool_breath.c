/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/pool_breath.h"

/* How often to look whether a busy last worker has become idle. */
#define LOOK_LEAST_MS 100u
#define LOOK_MOST_MS  10000u

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void resize(struct pool_breath *breath, unsigned size, uint64_t now_ms)
{
    breath->size = size;
    breath->changed_ms = now_ms;
}

void pool_breath_bound(struct pool_breath *breath,
                       const struct pool_bounds *bounds, uint64_t now_ms)
{
    if (breath->size < bounds->least)
        resize(breath, bounds->least, now_ms);
    if (breath->size > bounds->most)
        resize(breath, bounds->most, now_ms);
}

/* READY of those that start is news. */
static uint64_t grow(struct pool_breath *breath,
                     const struct pool_bounds *bounds,
                     const struct pool_facts *facts)
{
    if (breath->size >= bounds->most || facts->starting > 0 || facts->held)
        return 0;
    uint64_t due_ms = later(facts->waiting_since_ms + POOL_WAIT_MS,
                            breath->changed_ms + POOL_PAUSE_MS);
    if (facts->now_ms < due_ms)
        return due_ms;
    unsigned step = breath->size > 0 ? breath->size : 1;
    unsigned room = bounds->most - breath->size;
    resize(breath, breath->size + (step < room ? step : room), facts->now_ms);
    return 0;
}

static uint64_t look_again_ms(const struct pool_bounds *bounds)
{
    uint64_t again_ms = later(bounds->idle_ms / 4, LOOK_LEAST_MS);
    return again_ms < LOOK_MOST_MS ? again_ms : LOOK_MOST_MS;
}

static uint64_t shrink(struct pool_breath *breath,
                       const struct pool_bounds *bounds,
                       const struct pool_facts *facts)
{
    uint64_t due_ms =
        later(facts->full_ms, breath->changed_ms) + bounds->idle_ms;
    if (facts->now_ms < due_ms)
        return due_ms;
    if (facts->starting > 0 || facts->leaving > 0 || !facts->last_idle)
        return facts->now_ms + look_again_ms(bounds);
    resize(breath, breath->size - 1, facts->now_ms);
    return 0;
}

/* That work waits no more is no news: nobody tells. */
static bool may_shrink_later(const struct pool_breath *breath,
                             const struct pool_bounds *bounds)
{
    return breath->size > bounds->least && bounds->idle_ms > 0;
}

uint64_t pool_breathe(struct pool_breath *breath,
                      const struct pool_bounds *bounds,
                      const struct pool_facts *facts)
{
    uint64_t look_ms = 0;
    pool_breath_bound(breath, bounds, facts->now_ms);
    if (facts->waiting_since_ms != 0 && !facts->still)
        look_ms = grow(breath, bounds, facts);
    else if (may_shrink_later(breath, bounds) && !facts->still)
        look_ms = shrink(breath, bounds, facts);
    if (look_ms == 0 && may_shrink_later(breath, bounds))
        look_ms = facts->now_ms + bounds->idle_ms;
    return look_ms;
}
