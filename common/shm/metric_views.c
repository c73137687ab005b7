/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/metric_views.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/priority.h"

/* A value under labels, {name, value} pairs; none with the first name NULL. */
static void give(struct metric_view_sink *sink, const char *const labels[2][2],
                 double value)
{
    struct buffer *out = sink->out;
    unsigned count = labels == NULL ? 0 : labels[1][0] == NULL ? 1 : 2;
    if (sink->json && count == 0) {
        buffer_printf(out, "%.15g", value);
        return;
    }
    buffer_append_text(out, !sink->json ? sink->name : sink->any ? "," : "");
    for (unsigned i = 0; i < count; i++)
        buffer_printf(out, sink->json ? "%s\"%s\":\"%s\"" : "%s%s=\"%s\"",
                      i == 0 ? "{" : ",", labels[i][0], labels[i][1]);
    if (sink->json)
        buffer_printf(out, ",\"value\":%.15g}", value);
    else
        buffer_printf(out, "%s %.15g\n", count > 0 ? "}" : "", value);
    sink->any = true;
}

static void give_start_time(struct mapping *mapping,
                            struct metric_view_sink *sink)
{
    give(sink, NULL,
         (double)atomic_load(&mapping->daemon.started_wall_ms) / 1000.0);
}

static void give_workers(struct mapping *mapping, struct metric_view_sink *sink)
{
    unsigned counts[ROLE_COUNT][SLOT_STATE_COUNT] = {{0}};
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot_entry *slot = &mapping->scoreboard.slots[i];
        uint32_t role = atomic_load(&slot->role);
        uint32_t state = atomic_load(&slot->state);
        if (atomic_load(&slot->in_use) != 0 && role < ROLE_COUNT &&
            state < SLOT_STATE_COUNT)
            counts[role][state]++;
    }
    /* Nobody is in use and empty. */
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        for (unsigned state = SLOT_EMPTY + 1; state < SLOT_STATE_COUNT; state++)
            give(sink,
                 (const char *const[2][2]){
                     {"role", role_name((enum role)role)},
                     {"state", slot_state_name((enum slot_state)state)}},
                 counts[role][state]);
}

static void give_pool_size(struct mapping *mapping,
                           struct metric_view_sink *sink)
{
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        if (role_has_pool((enum role)role))
            give(
                sink,
                (const char *const[2][2]){{"role", role_name((enum role)role)}},
                atomic_load(&mapping->pools[role].size));
}

static void give_pool_waiting(struct mapping *mapping,
                              struct metric_view_sink *sink)
{
    uint64_t now_ms = clock_monotonic_ms();
    for (unsigned role = 0; role < ROLE_COUNT; role++) {
        uint64_t since_ms = atomic_load(&mapping->pools[role].waiting_since_ms);
        bool waits = since_ms != 0 && since_ms < now_ms;
        if (role_has_pool((enum role)role))
            give(
                sink,
                (const char *const[2][2]){{"role", role_name((enum role)role)}},
                waits ? (double)(now_ms - since_ms) / 1000.0 : 0);
    }
}

static void give_role_degraded(struct mapping *mapping,
                               struct metric_view_sink *sink)
{
    uint32_t degraded = atomic_load(&mapping->daemon.degraded_roles);
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        give(sink,
             (const char *const[2][2]){{"role", role_name((enum role)role)}},
             (degraded >> role) & 1u);
}

static void give_sync_state(struct mapping *mapping,
                            struct metric_view_sink *sink)
{
    static const char *const others[] = {"disabled", "paused", "cut"};
    const char *now = sync_board_state(&mapping->sync, clock_monotonic_ms());
    unsigned count = sizeof(others) / sizeof(others[0]);
    for (unsigned i = 0; i < LINK_STATE_COUNT + count; i++) {
        const char *state = i < LINK_STATE_COUNT
                                ? link_state_name((enum link_state)i)
                                : others[i - LINK_STATE_COUNT];
        give(sink, (const char *const[2][2]){{"state", state}},
             strcmp(state, now) == 0);
    }
}

static void give_pending(struct mapping *mapping, struct metric_view_sink *sink)
{
    for (unsigned i = 0; i < PRIORITY_COUNT; i++)
        give(sink, (const char *const[2][2]){{"priority", priority_word(i)}},
             (double)atomic_load(&mapping->daemon.pending[i]));
}

static void give_config_epoch(struct mapping *mapping,
                              struct metric_view_sink *sink)
{
    give(sink, NULL, atomic_load(&mapping->daemon.config_epoch));
}

static void give_reload_refused(struct mapping *mapping,
                                struct metric_view_sink *sink)
{
    give(sink, NULL, atomic_load(&mapping->daemon.reload_failed) != 0);
}

void metric_view_write(enum metric_view view, struct mapping *mapping,
                       struct metric_view_sink *sink)
{
    static void (*const gives[METRIC_VIEW_COUNT])(struct mapping *,
                                                  struct metric_view_sink *) = {
        [METRIC_VIEW_START_TIME] = give_start_time,
        [METRIC_VIEW_WORKERS] = give_workers,
        [METRIC_VIEW_POOL_SIZE] = give_pool_size,
        [METRIC_VIEW_POOL_WAITING] = give_pool_waiting,
        [METRIC_VIEW_ROLE_DEGRADED] = give_role_degraded,
        [METRIC_VIEW_SYNC_STATE] = give_sync_state,
        [METRIC_VIEW_PENDING_BY_PRIORITY] = give_pending,
        [METRIC_VIEW_CONFIG_EPOCH] = give_config_epoch,
        [METRIC_VIEW_RELOAD_REFUSED] = give_reload_refused,
    };
    gives[view](mapping, sink);
}
