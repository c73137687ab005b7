/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/budget.h"

#define BUDGET_IN_USE 0x80000000u

static bool is_of(uint32_t place, unsigned holder)
{
    return (place & ~BUDGET_IN_USE) == holder + 1;
}

/* The place of this holder, or -1. */
static int place_of(const struct budget *budget, unsigned holder)
{
    for (int i = 0; i < SLOTS_MAX; i++)
        if (is_of(atomic_load(&budget->places[i]), holder))
            return i;
    return -1;
}

bool budget_take(struct budget *budget, unsigned holder, int64_t size)
{
    uint32_t mine = (holder + 1) | BUDGET_IN_USE;
    int place = place_of(budget, holder);
    bool taken = place >= 0;
    if (taken)
        atomic_store(&budget->places[place], mine);
    for (int i = 0; !taken && i < SLOTS_MAX && i < size; i++) {
        uint32_t nobody = 0;
        taken =
            atomic_compare_exchange_strong(&budget->places[i], &nobody, mine);
    }
    if (atomic_load(&budget->waits[holder]) == taken)
        atomic_store(&budget->waits[holder], !taken);
    return taken;
}

void budget_rest(struct budget *budget, unsigned holder)
{
    int place = place_of(budget, holder);
    if (place >= 0)
        atomic_store(&budget->places[place], holder + 1);
}

void budget_give_back(struct budget *budget, unsigned holder)
{
    int place = place_of(budget, holder);
    if (place >= 0)
        atomic_store(&budget->places[place], 0);
    atomic_store(&budget->waits[holder], 0);
}

bool budget_is_wanted(const struct budget *budget)
{
    for (int i = 0; i < BUDGET_HOLDERS; i++)
        if (atomic_load(&budget->waits[i]) != 0)
            return true;
    return false;
}

unsigned budget_held(const struct budget *budget)
{
    unsigned held = 0;
    for (int i = 0; i < SLOTS_MAX; i++)
        held += atomic_load(&budget->places[i]) != 0;
    return held;
}

unsigned budget_in_use(const struct budget *budget, unsigned except)
{
    unsigned in_use = 0;
    for (int i = 0; i < SLOTS_MAX; i++) {
        uint32_t place = atomic_load(&budget->places[i]);
        in_use += (place & BUDGET_IN_USE) != 0 && !is_of(place, except);
    }
    return in_use;
}

void budget_sample(struct budget *budget, int64_t connections, int64_t limit,
                   uint64_t now_ms)
{
    atomic_store(&budget->server_connections, connections);
    atomic_store(&budget->server_limit, limit);
    atomic_store(&budget->sampled_ms, now_ms);
}

bool budget_sample_is_fresh(const struct budget *budget, uint64_t now_ms,
                            uint64_t within_ms)
{
    uint64_t sampled_ms = atomic_load(&budget->sampled_ms);
    return sampled_ms != 0 && now_ms < sampled_ms + within_ms &&
           atomic_load(&budget->server_limit) > 0;
}

void budget_usage(const struct budget *budget, unsigned holder, int64_t size,
                  uint64_t now_ms, struct budget_usage *usage)
{
    *usage = (struct budget_usage){.in_use = budget_in_use(budget, holder),
                                   .size = size};
    if (size > 0)
        usage->usage = (double)usage->in_use / (double)size;
    if (!budget_sample_is_fresh(budget, now_ms, BUDGET_SAMPLE_FRESH_MS))
        return;
    int64_t connections = atomic_load(&budget->server_connections);
    int64_t limit = atomic_load(&budget->server_limit);
    double server = (double)connections / (double)limit;
    if (server > usage->usage)
        *usage = (struct budget_usage){.usage = server,
                                       .by_server = true,
                                       .in_use = connections,
                                       .size = limit};
}
