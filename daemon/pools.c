/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/pools.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "daemon/deadlines.h"
#include "daemon/master.h"
#include "daemon/pool.h"

/* Bounds and size on the board are the present ones after every look. */
static void show(struct master *master, enum role role,
                 const struct pool_bounds *bounds)
{
    struct pool_board *board = &master->mapping->pools[role];
    atomic_store(&board->least, bounds->least);
    atomic_store(&board->most, bounds->most);
    atomic_store(&board->size, master->pools[role].breath.size);
}

unsigned pools_size(struct master *master, enum role role)
{
    struct pool_breath *breath = &master->pools[role].breath;
    struct pool_bounds bounds;
    pool_bounds(master->config, role, &bounds);
    pool_breath_bound(breath, &bounds, clock_monotonic_ms());
    if (role_has_pool(role))
        show(master, role, &bounds);
    return breath->size;
}

static void count_slot(const struct slot *slot, struct pool_facts *facts)
{
    switch (slot->state) {
    case SLOT_BACKOFF:
    case SLOT_STARTING:
        facts->starting += slot->wanted;
        break;
    case SLOT_DRAINING:
    case SLOT_KILLED:
        facts->leaving++;
        facts->still = facts->still || slot->wanted;
        break;
    case SLOT_EMPTY:
    case SLOT_IDLE:
    case SLOT_BUSY:
    case SLOT_STATE_COUNT:
    default:
        break;
    }
}

static void gather(struct master *master, enum role role,
                   struct pool_facts *facts)
{
    const struct pool_board *board = &master->mapping->pools[role];
    const struct scoreboard *scoreboard = &master->mapping->scoreboard;
    unsigned size = master->pools[role].breath.size;
    *facts = (struct pool_facts){
        .now_ms = clock_monotonic_ms(),
        .waiting_since_ms = atomic_load(&board->waiting_since_ms),
        .full_ms = atomic_load(&board->full_ms),
        .still = !master->ready || master->stopping ||
                 master->upgrade.state != UPGRADE_NONE,
    };
    if (role == ROLE_GENERATION)
        facts->held = memory_board_held_since_ms(&master->mapping->memory) != 0;
    if (pool_board_is_full(board, scoreboard, role))
        facts->full_ms = facts->now_ms;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (master->slots[i].role == role)
            count_slot(&master->slots[i], facts);
    if (size == 0)
        return;
    const struct slot_entry *last =
        &scoreboard->slots[scoreboard_index(role, size - 1)];
    facts->last_idle = atomic_load(&last->state) == SLOT_IDLE;
}

static void tell_change(enum role role, unsigned before, unsigned after,
                        const struct pool_facts *facts)
{
    bool grows = after > before;
    metric_add(grows ? METRIC_POOL_GROWTHS : METRIC_POOL_SHRINKS, 1);
    log_event(LOG_INFO_LEVEL, grows ? "pool grows" : "pool shrinks",
              LOG_TEXT("pool", role_name(role)), LOG_UINT("from", before),
              LOG_UINT("to", after),
              LOG_UINT("waited_ms",
                       grows ? facts->now_ms - facts->waiting_since_ms : 0));
}

/* Whoever sees work wait tells again after a while, so a word that crosses
 * ours is no loss. */
static void watch(struct master *master, enum role role,
                  const struct pool_bounds *bounds)
{
    atomic_store(&master->mapping->pools[role].watched,
                 master->pools[role].breath.size < bounds->most);
}

/* True when the size changed. */
static bool look(struct master *master, enum role role)
{
    struct pool *pool = &master->pools[role];
    struct pool_bounds bounds;
    struct pool_facts facts;
    unsigned before = pools_size(master, role);
    pool_bounds(master->config, role, &bounds);
    gather(master, role, &facts);
    pool->look_ms = pool_breathe(&pool->breath, &bounds, &facts);
    watch(master, role, &bounds);
    if (pool->breath.size == before)
        return false;
    show(master, role, &bounds);
    tell_change(role, before, pool->breath.size, &facts);
    return true;
}

void pools_look(struct master *master)
{
    bool changed = false;
    if (!master->begun || master->stopping)
        return;
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        if (role_has_pool((enum role)role))
            changed = look(master, (enum role)role) || changed;
    if (changed)
        slots_fit_pools(master);
}

uint64_t pools_due_ms(const struct master *master)
{
    uint64_t due_ms = UINT64_MAX;
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        if (master->pools[role].look_ms != 0 &&
            master->pools[role].look_ms < due_ms)
            due_ms = master->pools[role].look_ms;
    return due_ms;
}

void pools_take_waiting(struct master *master, struct slot *slot,
                        const struct message *message)
{
    bool knows =
        (slot->role == ROLE_STORE && message->number == ROLE_GENERATION) ||
        (slot->role == ROLE_SYNC && message->number == ROLE_SYNC);
    if (!knows) {
        log_event(LOG_ERROR_LEVEL,
                  "worker is killed for a word on a pool that it cannot know",
                  LOG_TEXT("role", role_name(slot->role)),
                  LOG_UINT("pool", message->number));
        slot_condemn(master, slot, DEATH_BAD_MESSAGE);
        return;
    }
    pools_look(master);
    deadlines_arm(master);
}
