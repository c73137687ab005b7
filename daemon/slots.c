/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/slots.h"

#include <signal.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "daemon/channel.h"
#include "daemon/deadlines.h"
#include "daemon/master.h"
#include "daemon/reap.h"
#include "daemon/shutdown.h"
#include "daemon/spawn.h"

void slots_init(struct master *master)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &master->slots[i];
        slot->master = master;
        slot->index = i;
        slot->down_fd = -1;
        slot->up_fd = -1;
        slot->role = ROLE_COUNT;
    }
    for (unsigned role = 0; role < ROLE_COUNT; role++) {
        unsigned first = scoreboard_index((enum role)role, 0);
        unsigned count = role == ROLE_GENERATION ? GENERATION_SLOTS_MAX
                         : role == ROLE_SYNC     ? SYNC_SLOTS_MAX
                                                 : 1;
        for (unsigned i = 0; i < count; i++) {
            master->slots[first + i].role = (enum role)role;
            master->slots[first + i].number = i;
        }
    }
}

bool slot_has_worker(const struct slot *slot)
{
    return slot->pid != 0;
}

struct slot_entry *slot_entry(struct master *master, const struct slot *slot)
{
    return &master->mapping->scoreboard.slots[slot->index];
}

char *slot_name(const struct slot *slot, char *text)
{
    if (role_has_pool(slot->role))
        snprintf(text, SLOT_NAME_SIZE, "%s[%u]", role_name(slot->role),
                 slot->number);
    else
        snprintf(text, SLOT_NAME_SIZE, "%s", role_name(slot->role));
    return text;
}

void slot_change_state(struct master *master, struct slot *slot,
                       enum slot_state state)
{
    struct slot_entry *entry = slot_entry(master, slot);
    char name[SLOT_NAME_SIZE];
    if (log_wants(LOG_DEBUG_LEVEL))
        log_event(LOG_DEBUG_LEVEL, "slot changes its state",
                  LOG_TEXT("worker", slot_name(slot, name)),
                  LOG_UINT("spawn", slot->spawn),
                  LOG_TEXT("from", slot_state_name(slot->state)),
                  LOG_TEXT("to", slot_state_name(state)));
    slot->state = state;
    slot->deadline_ms = 0;
    /* idle and busy are the worker's own words in the scoreboard */
    if (state == SLOT_IDLE || state == SLOT_BUSY)
        return;
    atomic_store(&entry->state_since_ms, clock_monotonic_ms());
    atomic_store(&entry->state, state);
    atomic_store(&entry->in_use, state != SLOT_EMPTY);
}

/* --- what an event does --- */

static void do_start(struct master *master, struct slot *slot)
{
    spawn_worker(master, slot);
}

/* One that retires may finish what it has just claimed: only the bounds of
 * the work itself and the heartbeat hold. */
#define RETIRE_MS (48ull * 3600 * 1000)

static void do_drain(struct master *master, struct slot *slot)
{
    uint64_t bound_ms = slot->retiring ? RETIRE_MS
                        : master->stopping
                            ? shutdown_bound_ms(master, slot)
                            : (uint64_t)master->config->shutdown_timeout_ms;
    slot_change_state(master, slot, SLOT_DRAINING);
    slot->deadline_ms = clock_monotonic_ms() + bound_ms;
    channel_send(master, slot, MESSAGE_DRAIN, bound_ms);
}

/* It was to retire at leisure, and now it must leave. */
static void do_hurry(struct master *master, struct slot *slot)
{
    if (!slot->retiring)
        return;
    slot->retiring = false;
    do_drain(master, slot);
}

static void replace(struct master *master, struct slot *slot);

static void do_welcome(struct master *master, struct slot *slot)
{
    struct slot *predecessor = slot->predecessor;
    char name[SLOT_NAME_SIZE];
    slot_change_state(master, slot, SLOT_IDLE);
    slot->was_ready = true;
    slot->ready_ms = clock_monotonic_ms();
    slot->predecessor = NULL;
    log_event(LOG_INFO_LEVEL, "worker is ready",
              LOG_TEXT("worker", slot_name(slot, name)),
              LOG_INT("worker_pid", slot->pid), LOG_UINT("spawn", slot->spawn));
    if (predecessor != NULL)
        slot_event(master, predecessor, SLOT_EVENT_DRAIN);
    if (!slot->wanted)
        slot_event(master, slot, SLOT_EVENT_DRAIN);
    else if (slot->outdated)
        replace(master, slot);
    master_check_ready(master);
    pools_look(master);
}

static void do_busy(struct master *master, struct slot *slot)
{
    slot_change_state(master, slot, SLOT_BUSY);
}

static void do_idle(struct master *master, struct slot *slot)
{
    slot_change_state(master, slot, SLOT_IDLE);
}

/* Nothing to drain: the slot only waited to be filled. */
static void do_forget(struct master *master, struct slot *slot)
{
    if (!slot->wanted)
        slot_change_state(master, slot, SLOT_EMPTY);
}

static void do_kill(struct master *master, struct slot *slot)
{
    slot_change_state(master, slot, SLOT_KILLED);
    kill(slot->pid, SIGKILL);
}

static void terminate(struct master *master, struct slot *slot,
                      enum death death)
{
    char name[SLOT_NAME_SIZE];
    char words[64];
    if (slot->death == DEATH_NONE)
        slot->death = death;
    log_event(LOG_WARNING_LEVEL, "worker is told to die",
              LOG_TEXT("worker", slot_name(slot, name)),
              LOG_INT("worker_pid", slot->pid), LOG_UINT("spawn", slot->spawn),
              LOG_TEXT("why", death_words(slot->death, 0, words)));
    if (master->stopping) {
        do_kill(master, slot);
        return;
    }
    slot_change_state(master, slot, SLOT_KILLED);
    slot->deadline_ms =
        clock_monotonic_ms() + (uint64_t)master->config->kill_grace_ms;
    kill(slot->pid, SIGTERM);
}

static void do_hello_late(struct master *master, struct slot *slot)
{
    terminate(master, slot, DEATH_HELLO_TIMEOUT);
}

static void do_drain_late(struct master *master, struct slot *slot)
{
    terminate(master, slot, DEATH_DRAIN_TIMEOUT);
}

static void do_bury(struct master *master, struct slot *slot)
{
    reap_bury(master, slot);
}

typedef void (*slot_action)(struct master *master, struct slot *slot);

/* What is not in the table has no effect in that state: a READY from one
 * that drains, a DRAIN to one that drains already. */
static const slot_action actions[SLOT_STATE_COUNT][SLOT_EVENT_COUNT] = {
    [SLOT_EMPTY] = {[SLOT_EVENT_START] = do_start},
    [SLOT_BACKOFF] = {[SLOT_EVENT_START] = do_start,
                      [SLOT_EVENT_DEADLINE] = do_start,
                      [SLOT_EVENT_DRAIN] = do_forget},
    [SLOT_STARTING] = {[SLOT_EVENT_READY] = do_welcome,
                       [SLOT_EVENT_DRAIN] = do_drain,
                       [SLOT_EVENT_DEADLINE] = do_hello_late,
                       [SLOT_EVENT_CONDEMN] = do_kill,
                       [SLOT_EVENT_GONE] = do_bury},
    [SLOT_IDLE] = {[SLOT_EVENT_BUSY] = do_busy,
                   [SLOT_EVENT_DRAIN] = do_drain,
                   [SLOT_EVENT_CONDEMN] = do_kill,
                   [SLOT_EVENT_GONE] = do_bury},
    [SLOT_BUSY] = {[SLOT_EVENT_IDLE] = do_idle,
                   [SLOT_EVENT_DRAIN] = do_drain,
                   [SLOT_EVENT_CONDEMN] = do_kill,
                   [SLOT_EVENT_GONE] = do_bury},
    [SLOT_DRAINING] = {[SLOT_EVENT_DRAIN] = do_hurry,
                       [SLOT_EVENT_DEADLINE] = do_drain_late,
                       [SLOT_EVENT_CONDEMN] = do_kill,
                       [SLOT_EVENT_GONE] = do_bury},
    [SLOT_KILLED] = {[SLOT_EVENT_DEADLINE] = do_kill,
                     [SLOT_EVENT_CONDEMN] = do_kill,
                     [SLOT_EVENT_GONE] = do_bury},
};

void slot_event(struct master *master, struct slot *slot, enum slot_event event)
{
    slot_action action = actions[slot->state][event];
    if (action != NULL)
        action(master, slot);
    /* Work only ever brings the timer forward: were it put off at IDLE, every
     * BUSY would have to be told. */
    if (event == SLOT_EVENT_BUSY)
        deadlines_hasten(master, slot);
    else if (event != SLOT_EVENT_IDLE)
        deadlines_arm(master);
}

void slot_condemn(struct master *master, struct slot *slot, enum death death)
{
    if (!slot_has_worker(slot))
        return;
    if (slot->death == DEATH_NONE)
        slot->death = death;
    slot_event(master, slot, SLOT_EVENT_CONDEMN);
}

/* --- all of them --- */

struct slot *slots_find_wanted(struct master *master, enum role role,
                               unsigned number)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &master->slots[i];
        if (slot->wanted && slot->role == role && slot->number == number)
            return slot;
    }
    return NULL;
}

struct slot *slots_find_spare(struct master *master, enum role role,
                              unsigned number)
{
    struct slot *home = &master->slots[scoreboard_index(role, number)];
    if (home->state == SLOT_EMPTY)
        return home;
    for (unsigned i = SLOTS_MAX - SPARE_SLOTS; i < SLOTS_MAX; i++) {
        struct slot *slot = &master->slots[i];
        if (slot->state != SLOT_EMPTY)
            continue;
        slot->role = role;
        slot->number = number;
        slot->crashes = 0;
        return slot;
    }
    return NULL;
}

static void fit_pool(struct master *master, enum role role)
{
    unsigned size = pools_size(master, role);
    struct pool_bounds bounds;
    pool_bounds(master->config, role, &bounds);
    for (unsigned number = 0; number < size; number++) {
        if (slots_find_wanted(master, role, number) != NULL)
            continue;
        /* one that still drains is filled again when it is empty */
        struct slot *slot = &master->slots[scoreboard_index(role, number)];
        slot->wanted = true;
        slot_event(master, slot, SLOT_EVENT_START);
    }
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &master->slots[i];
        if (slot->role != role || slot->number < size || !slot->wanted)
            continue;
        slot->wanted = false;
        slot->retiring = slot->number < bounds.most;
        slot_event(master, slot, SLOT_EVENT_DRAIN);
    }
}

void slots_fit_pools(struct master *master)
{
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        fit_pool(master, (enum role)role);
}

/* The successor takes the old slot's place among the wanted ones at once;
 * the old one serves on until the successor is READY. */
static bool start_successor(struct master *master, struct slot *slot)
{
    struct slot *spare = slots_find_spare(master, slot->role, slot->number);
    if (spare == NULL || spare == slot)
        return false;
    slot->wanted = false;
    spare->wanted = true;
    spare->predecessor = slot;
    slot_event(master, spare, SLOT_EVENT_START);
    return true;
}

static void replace(struct master *master, struct slot *slot)
{
    enum handover handover = master->options->roles[slot->role].handover;
    if (slot->state == SLOT_BACKOFF) {
        slot_event(master, slot, SLOT_EVENT_START);
        return;
    }
    bool serves = slot->state == SLOT_IDLE || slot->state == SLOT_BUSY;
    if (handover == HANDOVER_SUCCESSOR_FIRST) {
        /* It may serve already, its READY still in the pipe. */
        slot->outdated = slot->state == SLOT_STARTING;
        if (slot->outdated || (serves && start_successor(master, slot)))
            return;
    }
    slot_event(master, slot, SLOT_EVENT_DRAIN);
}

/* Without them nobody serves until the successor does. */
static bool leave_first(const struct master *master, unsigned roles)
{
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        if ((roles & (1u << role)) != 0 &&
            master->options->roles[role].handover == HANDOVER_LEAVE_FIRST)
            return true;
    return false;
}

static void replace_all(struct master *master, unsigned roles)
{
    struct slot *old[SLOTS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (master->slots[i].wanted &&
            (roles & (1u << master->slots[i].role)) != 0)
            old[count++] = &master->slots[i];
    for (unsigned i = 0; i < count; i++)
        replace(master, old[i]);
}

void slots_replace(struct master *master, unsigned roles)
{
    struct error error;
    if (leave_first(master, roles) && spawn_try(master, &error) != 0) {
        master->replace_later |= roles;
        trouble_note(master, TROUBLE_REPLACE, &error);
        return;
    }
    replace_all(master, roles);
}

int slots_replace_again(struct master *master, struct error *error)
{
    unsigned roles = master->replace_later;
    if (!master->stopping && spawn_try(master, error) != 0)
        return -1;
    master->replace_later = 0;
    if (!master->stopping)
        replace_all(master, roles);
    return 0;
}
