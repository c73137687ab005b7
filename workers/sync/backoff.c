/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/backoff.h"

uint64_t jitter_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t backoff_delay_ms(int64_t base_ms, int64_t max_ms, unsigned failures,
                         uint64_t random)
{
    int64_t bound = base_ms < max_ms ? base_ms : max_ms;
    for (unsigned i = 1; i < failures && bound < max_ms; i++)
        bound = bound > max_ms / 2 ? max_ms : bound * 2;
    int64_t floor = bound / 8 > 0 ? bound / 8 : 1;
    if (bound <= floor)
        return floor;
    return floor + (int64_t)(random % (uint64_t)(bound - floor + 1));
}

int64_t backoff_spread_ms(int64_t interval_ms, uint64_t random)
{
    int64_t reach = interval_ms / 20;
    return interval_ms - reach + (int64_t)(random % (uint64_t)(2 * reach + 1));
}
