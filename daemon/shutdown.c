/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/shutdown.h"

#include <event2/event.h>
#include <signal.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "daemon/channel.h"
#include "daemon/deadlines.h"
#include "daemon/master.h"
#include "daemon/upgrade.h"

#define IMMEDIATE_MS 500u

/* Ranks before the last may use three quarters of the time: the store's
 * time to close properly is kept. */
static uint64_t rank_bound_ms(const struct master *master, unsigned rank)
{
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t left_ms = master->stop_deadline_ms > now_ms
                           ? master->stop_deadline_ms - now_ms
                           : 1;
    return rank < STOP_RANK_LAST ? left_ms * 3 / 4 : left_ms;
}

static unsigned rank_of(const struct master *master, const struct slot *slot)
{
    return slot->role == ROLE_COUNT /* a spare one, not used yet */
               ? 0
               : master->options->roles[slot->role].stop_rank;
}

uint64_t shutdown_bound_ms(const struct master *master, const struct slot *slot)
{
    return rank_bound_ms(master, rank_of(master, slot));
}

/* The lowest rank that still has workers, or STOP_RANK_LAST + 1. */
static unsigned lowest_rank(const struct master *master)
{
    unsigned lowest = STOP_RANK_LAST + 1;
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        const struct slot *slot = &master->slots[i];
        if (slot_has_worker(slot) && rank_of(master, slot) < lowest)
            lowest = rank_of(master, slot);
    }
    return lowest;
}

static void drain_rank(struct master *master, unsigned rank)
{
    uint64_t bound_ms = rank_bound_ms(master, rank);
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &master->slots[i];
        if (rank_of(master, slot) != rank)
            continue;
        slot->wanted = false;
        if (!slot_has_worker(slot))
            continue;
        if (slot->state == SLOT_KILLED)
            continue;
        bool told = slot->state == SLOT_DRAINING;
        slot_event(master, slot, SLOT_EVENT_DRAIN);
        if (told)
            channel_send(master, slot, MESSAGE_DRAIN, bound_ms);
        slot->deadline_ms = clock_monotonic_ms() + bound_ms;
    }
}

void shutdown_advance(struct master *master)
{
    unsigned rank = lowest_rank(master);
    if (rank > STOP_RANK_LAST) {
        master_end(master);
        return;
    }
    if (rank == STOP_RANK_LAST && !master->last_rank_told) {
        master->last_rank_told = true;
        drain_rank(master, rank);
    }
    deadlines_arm(master);
}

/* Its worker is not followed by another one. */
static void forget(struct master *master, struct slot *slot)
{
    slot->wanted = false;
    if (slot->state == SLOT_BACKOFF)
        slot_event(master, slot, SLOT_EVENT_DRAIN);
}

void shutdown_begin(struct master *master)
{
    if (master->stopping) {
        shutdown_now(master);
        return;
    }
    upgrade_abandon(master);
    log_notice("stopping, within %d ms",
               (int)master->config->shutdown_timeout_ms);
    master->stopping = true;
    master->stop_deadline_ms =
        clock_monotonic_ms() + (uint64_t)master->config->shutdown_timeout_ms;
    atomic_store(&master->mapping->daemon.stopping, 1);
    master_tell(master, "STOPPING=1\nSTATUS=stopping");
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &master->slots[i];
        slot->predecessor = NULL;
        if (rank_of(master, slot) < STOP_RANK_LAST)
            forget(master, slot);
    }
    for (unsigned rank = 0; rank < STOP_RANK_LAST; rank++)
        drain_rank(master, rank);
    shutdown_advance(master);
}

static void signal_all(struct master *master, int number)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (slot_has_worker(&master->slots[i]))
            kill(master->slots[i].pid, number);
}

void shutdown_now(struct master *master)
{
    if (!master->stopping)
        shutdown_begin(master);
    if (master->killing)
        return;
    log_notice("stopping at once");
    master->killing = true;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        forget(master, &master->slots[i]);
    master->last_rank_told = true;
    master->stop_deadline_ms = clock_monotonic_ms() + IMMEDIATE_MS;
    signal_all(master, SIGTERM);
    deadlines_arm(master);
}

void shutdown_check(struct master *master)
{
    if (!master->stopping || master->stop_deadline_ms == 0 ||
        clock_monotonic_ms() < master->stop_deadline_ms)
        return;
    log_warning("killing the workers that have not left in time");
    master->stop_deadline_ms = 0;
    signal_all(master, SIGKILL);
}
