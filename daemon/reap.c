/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reap.h"

#include <errno.h>
#include <sys/wait.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "daemon/channel.h"
#include "daemon/deadlines.h"
#include "daemon/master.h"
#include "daemon/pool.h"
#include "daemon/rotation.h"
#include "daemon/shutdown.h"
#include "daemon/spawn.h"
#include "daemon/upgrade.h"

/* Before a crashed worker that the others need as they leave starts again. */
#define LEAVING_PAUSE_MS 100u

static struct slot *find_slot(struct master *master, pid_t pid)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (master->slots[i].pid == pid)
            return &master->slots[i];
    return NULL;
}

void reap_workers(struct master *master)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0 ||
           (pid < 0 && errno == EINTR)) {
        if (pid < 0)
            continue;
        if (WIFSIGNALED(status))
            rotation_mend(master);
        if (rotation_reap(master, pid, status))
            continue;
        struct slot *slot = find_slot(master, pid);
        if (upgrade_reaped(master, pid, status) || slot == NULL)
            continue;
        slot->wait_status = status;
        slot_event(master, slot, SLOT_EVENT_GONE);
    }
}

static struct ending judge(struct master *master, const struct slot *slot)
{
    struct ending ending = {
        .death = slot->death,
        .asked = slot->state == SLOT_DRAINING || master->stopping,
        .finished = atomic_load(&slot_entry(master, slot)->finished),
    };
    if (slot->ready_ms != 0)
        ending.ready_ms = clock_monotonic_ms() - slot->ready_ms;
    int status = slot->wait_status;
    bool exited = WIFEXITED(status);
    ending.detail = (unsigned)(exited ? WEXITSTATUS(status) : WTERMSIG(status));
    if (ending.death != DEATH_NONE)
        return ending;
    if (!exited)
        ending.death = DEATH_SIGNALLED;
    else if (ending.detail == WORKER_EXIT_DRAINED)
        ending.death = DEATH_LEFT;
    else
        ending.death = DEATH_EXITED;
    return ending;
}

/* For the successor, and for status; before any fork. */
static void write_obituary(struct master *master, const struct slot *slot,
                           const struct ending *ending)
{
    struct slot_entry *entry = slot_entry(master, slot);
    uint64_t work_id = atomic_load(&entry->work_id);
    atomic_store(&entry->death, ending->death);
    atomic_store(&entry->death_detail, ending->detail);
    atomic_store(&entry->death_spawn, slot->spawn);
    atomic_store(&entry->death_work_id, work_id);
    atomic_store(&entry->death_ms, clock_monotonic_ms());
    atomic_store(&entry->work_id, 0);
    atomic_store(&entry->work_deadline_ms, 0);
    atomic_store(&entry->pid, 0);
    metrics_forget_gauges(&master->mapping->metrics, slot->index);
    budget_give_back(&master->mapping->budget, slot->index);
    cache_forget_holder(mapping_templates(master->mapping), slot->index);
    if (slot->role == ROLE_GENERATION)
        memory_board_forget(&master->mapping->memory, slot->number);

    char name[SLOT_NAME_SIZE];
    char words[64];
    bool calm = ending->death == DEATH_LEFT;
    log_event(
        calm ? LOG_INFO_LEVEL : LOG_WARNING_LEVEL, "worker ended",
        LOG_TEXT("worker", slot_name(slot, name)),
        LOG_INT("worker_pid", slot->pid), LOG_UINT("spawn", slot->spawn),
        LOG_TEXT("why", death_words(ending->death, ending->detail, words)),
        LOG_UINT("work_id", work_id), LOG_UINT("finished", ending->finished));
}

static void count_crash(struct master *master, struct slot *slot,
                        const struct ending *ending)
{
    slot->crashes = pool_crashes_after(slot->crashes, ending);
    if (!pool_is_crash(ending))
        return;
    pool_note_crash(&master->crashes[slot->role], clock_monotonic_ms());
    deadlines_judge_roles(master);
}

/* Does anyone have to settle what this worker left, though its slot is not
 * wanted any more?  The successor drains as soon as it is READY. */
static bool needs_settling(const struct slot *slot, const struct ending *ending)
{
    return role_has_pool(slot->role) && ending->death != DEATH_LEFT;
}

static void fill_again(struct master *master, struct slot *slot)
{
    struct slot_entry *entry = slot_entry(master, slot);
    uint64_t delay_ms = pool_backoff_ms(slot->crashes);
    char name[SLOT_NAME_SIZE];
    atomic_fetch_add(&entry->restarts, 1);
    metric_add(METRIC_WORKER_RESTARTS, 1);
    if (delay_ms == 0) {
        spawn_worker(master, slot);
        return;
    }
    log_event(LOG_WARNING_LEVEL, "worker waits before it starts again",
              LOG_TEXT("worker", slot_name(slot, name)),
              LOG_UINT("crashes", slot->crashes),
              LOG_UINT("delay_ms", delay_ms));
    spawn_later(master, slot, (unsigned)delay_ms);
}

/* A successor that waited in back-off is needed now. */
static void hurry_successor(struct master *master, const struct slot *slot)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot *successor = &master->slots[i];
        if (successor->predecessor != slot)
            continue;
        successor->predecessor = NULL;
        if (successor->state == SLOT_BACKOFF)
            slot_event(master, successor, SLOT_EVENT_START);
    }
}

/* Those that the others need until they have left are filled again. */
static void bury_while_leaving(struct master *master, struct slot *slot,
                               const struct ending *ending)
{
    if (!slot->wanted)
        slot_change_state(master, slot, SLOT_EMPTY);
    else if (ending->death == DEATH_LEFT)
        spawn_worker(master, slot);
    else
        spawn_later(master, slot, LEAVING_PAUSE_MS);
    if (master->stopping)
        shutdown_advance(master);
    else
        upgrade_advance(master);
}

void reap_bury(struct master *master, struct slot *slot)
{
    struct ending ending = judge(master, slot);
    channel_close(master, slot);
    write_obituary(master, slot, &ending);
    slot->pid = 0;
    if (master->stopping || upgrade_is_leaving(master)) {
        bury_while_leaving(master, slot, &ending);
        return;
    }
    count_crash(master, slot, &ending);
    if (!master->ready && pool_is_crash(&ending))
        master_check_start(master, slot);
    if (slot->wanted || needs_settling(slot, &ending))
        fill_again(master, slot);
    else
        slot_change_state(master, slot, SLOT_EMPTY);
    hurry_successor(master, slot);
}
