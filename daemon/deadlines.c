/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/deadlines.h"

#include <event2/event.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "daemon/channel.h"
#include "daemon/master.h"
#include "daemon/pool.h"
#include "daemon/shutdown.h"
#include "daemon/upgrade.h"

/* The master looks at least so often, though nothing is due. */
#define CHECK_MOST_MS 60000u

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A worker that said READY has a heartbeat and work to be judged. */
static bool is_judged(const struct slot *slot)
{
    return slot->ready_ms != 0 &&
           (slot->state == SLOT_IDLE || slot->state == SLOT_BUSY ||
            slot->state == SLOT_DRAINING);
}

static uint64_t work_due_ms(struct master *master, const struct slot *slot)
{
    uint64_t deadline_ms =
        atomic_load(&slot_entry(master, slot)->work_deadline_ms);
    if (deadline_ms == 0)
        return UINT64_MAX;
    return deadline_ms + (uint64_t)master->config->kill_grace_ms;
}

static uint64_t heartbeat_due_ms(struct master *master, const struct slot *slot)
{
    uint64_t due_ms = atomic_load(&slot_entry(master, slot)->heartbeat_ms) +
                      (uint64_t)master->config->heartbeat_timeout_ms;
    return due_ms > master->lenient_until_ms ? due_ms
                                             : master->lenient_until_ms;
}

/* What was sent while it started, or while all stood still, it may read. */
static uint64_t hearing_due_ms(struct master *master, const struct slot *slot)
{
    uint64_t least_ms =
        slot->ready_ms + (uint64_t)master->config->heartbeat_timeout_ms;
    if (least_ms < master->lenient_until_ms)
        least_ms = master->lenient_until_ms;
    return slot->heard_due_ms > least_ms ? slot->heard_due_ms : least_ms;
}

static uint64_t slot_due_ms(struct master *master, const struct slot *slot)
{
    uint64_t due_ms = slot->deadline_ms == 0 ? UINT64_MAX : slot->deadline_ms;
    if (!is_judged(slot))
        return due_ms;
    due_ms = earlier(due_ms, work_due_ms(master, slot));
    if (slot->heard_due_ms != 0)
        due_ms = earlier(due_ms, hearing_due_ms(master, slot));
    return earlier(due_ms, heartbeat_due_ms(master, slot));
}

static uint64_t degraded_until_ms(struct master *master, unsigned role,
                                  uint64_t now_ms)
{
    return pool_degraded_until_ms(
        &master->crashes[role], (unsigned)master->config->crash_limit,
        (uint64_t)master->config->crash_window_ms, now_ms);
}

static uint64_t next_due_ms(struct master *master, uint64_t now_ms)
{
    uint64_t due_ms = now_ms + CHECK_MOST_MS;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        due_ms = earlier(due_ms, slot_due_ms(master, &master->slots[i]));
    uint32_t degraded = atomic_load(&master->mapping->daemon.degraded_roles);
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        if ((degraded & (1u << role)) != 0)
            due_ms = earlier(due_ms, degraded_until_ms(master, role, now_ms));
    due_ms = earlier(due_ms, pools_due_ms(master));
    if (master->stopping && master->stop_deadline_ms != 0)
        due_ms = earlier(due_ms, master->stop_deadline_ms);
    if (master->upgrade.deadline_ms != 0)
        due_ms = earlier(due_ms, master->upgrade.deadline_ms);
    return earlier(due_ms, trouble_due_ms(master));
}

static void set_timer(struct master *master, uint64_t due_ms)
{
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t delay_ms = due_ms > now_ms ? due_ms - now_ms : 0;
    struct timeval delay = clock_span((int64_t)delay_ms);
    master->check_due_ms = due_ms;
    atomic_store(&master->mapping->daemon.next_check_ms, due_ms);
    event_add(master->check_event, &delay);
}

void deadlines_arm(struct master *master)
{
    /* A worker that takes up work now either sees that we want to be told,
     * or we see its deadline. */
    atomic_store(&master->mapping->daemon.next_check_ms, UINT64_MAX);
    set_timer(master, next_due_ms(master, clock_monotonic_ms()));
}

void deadlines_hasten(struct master *master, const struct slot *slot)
{
    uint64_t due_ms = slot_due_ms(master, slot);
    if (due_ms < master->check_due_ms)
        set_timer(master, due_ms);
}

static void judge_slot(struct master *master, struct slot *slot,
                       uint64_t now_ms)
{
    if (slot->deadline_ms != 0 && slot->deadline_ms <= now_ms) {
        slot_event(master, slot, SLOT_EVENT_DEADLINE);
        return;
    }
    if (!is_judged(slot))
        return;
    if (work_due_ms(master, slot) <= now_ms)
        slot_condemn(master, slot, DEATH_WORK_DEADLINE);
    else if (heartbeat_due_ms(master, slot) <= now_ms)
        slot_condemn(master, slot, DEATH_HEARTBEAT);
    else if (slot->heard_due_ms != 0 &&
             hearing_due_ms(master, slot) <= now_ms && channel_is_deaf(slot))
        slot_condemn(master, slot, DEATH_DEAF);
}

void deadlines_judge_roles(struct master *master)
{
    uint64_t now_ms = clock_monotonic_ms();
    uint32_t before = atomic_load(&master->mapping->daemon.degraded_roles);
    uint32_t after = 0;
    for (unsigned role = 0; role < ROLE_COUNT; role++) {
        uint32_t bit = 1u << role;
        if (degraded_until_ms(master, role, now_ms) != 0)
            after |= bit;
        if ((after & bit) != 0 && (before & bit) == 0)
            log_error("the %s pool is degraded: %d crashes within %d s; it "
                      "goes on with back-off",
                      role_name((enum role)role),
                      (int)master->config->crash_limit,
                      (int)(master->config->crash_window_ms / 1000));
        if ((after & bit) == 0 && (before & bit) != 0)
            log_notice("the %s pool has recovered", role_name((enum role)role));
    }
    atomic_store(&master->mapping->daemon.degraded_roles, after);
}

static void on_check(evutil_socket_t fd, short what, void *self)
{
    struct master *master = self;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t half_ms = (uint64_t)master->config->heartbeat_timeout_ms / 2;
    (void)fd;
    (void)what;
    /* We ourselves were held up (a stopped machine): so were they. */
    if (now_ms > master->check_due_ms + half_ms)
        master->lenient_until_ms = now_ms + half_ms;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        judge_slot(master, &master->slots[i], now_ms);
    deadlines_judge_roles(master);
    pools_look(master);
    shutdown_check(master);
    upgrade_check(master);
    trouble_check(master);
    log_tell_repeats(false);
    deadlines_arm(master);
}

int deadlines_init(struct master *master)
{
    master->check_event = event_new(master->base, -1, 0, on_check, master);
    return master->check_event == NULL ? -1 : 0;
}
