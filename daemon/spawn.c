/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "daemon/channel.h"
#include "daemon/master.h"
#include "daemon/pool.h"

/* The most between two attempts when the system refuses a process. */
#define REFUSED_PAUSE_MS 2000u

struct pipes {
    int down[2];
    int up[2];
};

static int make_pipes(struct pipes *pipes, struct error *error)
{
    if (pipe2(pipes->down, O_CLOEXEC | O_NONBLOCK) != 0)
        return error_set_errno(error, ERROR_SYSTEM,
                               "cannot make a pipe for a worker");
    if (pipe2(pipes->up, O_CLOEXEC | O_NONBLOCK) == 0)
        return 0;
    error_set_errno(error, ERROR_SYSTEM, "cannot make a pipe for a worker");
    close(pipes->down[0]);
    close(pipes->down[1]);
    return -1;
}

/* The entry is the new worker's from here on; how the predecessor ended
 * stays in it. */
static void prepare_entry(struct master *master, const struct slot *slot)
{
    struct slot_entry *entry = slot_entry(master, slot);
    uint64_t now_ms = clock_monotonic_ms();
    atomic_store(&entry->role, slot->role);
    atomic_store(&entry->number, slot->number);
    atomic_store(&entry->spawn, slot->spawn);
    atomic_store(&entry->started_ms, now_ms);
    atomic_store(&entry->heartbeat_ms, now_ms);
    atomic_store(&entry->work_id, 0);
    atomic_store(&entry->work_started_ms, 0);
    atomic_store(&entry->work_deadline_ms, 0);
    atomic_store(&entry->finished, 0);
    atomic_store(&entry->backoff_until_ms, 0);
}

static _Noreturn void run_worker(struct master *master, const struct slot *slot,
                                 const struct pipes *pipes)
{
    const struct role_row *row = &master->options->roles[slot->role];
    struct worker worker = {
        .role = slot->role,
        .slot = slot->number,
        .board_index = slot->index,
        .spawn = slot->spawn,
        .down_fd = pipes->down[0],
        .up_fd = pipes->up[1],
        .config = master->config,
        .mapping = master->mapping,
        .store_listener =
            row->has_store_listener ? master->listeners.store_fd : -1,
        .control_listener =
            row->has_control_listener ? master->listeners.control_fd : -1,
    };
    atomic_store(&slot_entry(master, slot)->pid, getpid());
    _exit((int)row->main(&worker));
}

void spawn_later(struct master *master, struct slot *slot, unsigned delay_ms)
{
    uint64_t until_ms = clock_monotonic_ms() + delay_ms;
    slot_change_state(master, slot, SLOT_BACKOFF);
    slot->deadline_ms = until_ms;
    atomic_store(&slot_entry(master, slot)->backoff_until_ms, until_ms);
}

static void fork_failed(struct master *master, struct slot *slot,
                        const struct error *error)
{
    uint64_t delay_ms = pool_backoff_ms(++slot->fork_failures + 1);
    channel_close(master, slot);
    trouble_note(master, TROUBLE_SPAWN, error);
    spawn_later(master, slot,
                delay_ms < REFUSED_PAUSE_MS ? (unsigned)delay_ms
                                            : REFUSED_PAUSE_MS);
}

static void adopt(struct master *master, struct slot *slot, pid_t pid)
{
    char name[SLOT_NAME_SIZE];
    slot->pid = pid;
    slot->fork_failures = 0;
    atomic_store(&slot_entry(master, slot)->pid, pid);
    slot->deadline_ms =
        clock_monotonic_ms() + (uint64_t)master->config->hello_timeout_ms;
    log_event(LOG_DEBUG_LEVEL, "worker forked",
              LOG_TEXT("worker", slot_name(slot, name)),
              LOG_INT("worker_pid", pid), LOG_UINT("spawn", slot->spawn));
    trouble_over(master, TROUBLE_SPAWN);
}

/* All that can fail but the fork: after it there is a worker. */
static int open_pipes(struct master *master, struct slot *slot,
                      struct pipes *pipes, struct error *error)
{
    if (make_pipes(pipes, error) != 0)
        return -1;
    if (channel_open(master, slot, pipes->down[1], pipes->up[0], error) == 0)
        return 0;
    close(pipes->down[0]);
    close(pipes->up[1]);
    return -1;
}

void spawn_worker(struct master *master, struct slot *slot)
{
    struct pipes pipes;
    struct error error;
    if (open_pipes(master, slot, &pipes, &error) != 0) {
        fork_failed(master, slot, &error);
        return;
    }
    slot->spawn = ++master->spawn_count;
    atomic_store(&master->mapping->daemon.last_spawn, slot->spawn);
    slot->death = DEATH_NONE;
    slot->retiring = false;
    slot->outdated = false;
    slot->ready_ms = 0;
    /* before the fork: the state is the worker's to change from then on */
    slot_change_state(master, slot, SLOT_STARTING);
    prepare_entry(master, slot);
    pid_t pid = fork();
    if (pid == 0)
        run_worker(master, slot, &pipes);
    if (pid < 0)
        error_set_errno(&error, ERROR_SYSTEM, "cannot fork");
    close(pipes.down[0]);
    close(pipes.up[1]);
    if (pid < 0)
        fork_failed(master, slot, &error);
    else
        adopt(master, slot, pid);
}

static int fork_idle(struct error *error)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid > 0 ? 0 : error_set_errno(error, ERROR_SYSTEM, "cannot fork");
}

int spawn_try(struct master *master, struct error *error)
{
    struct slot slot = {.master = master, .down_fd = -1, .up_fd = -1};
    struct pipes pipes;
    if (open_pipes(master, &slot, &pipes, error) != 0)
        return -1;
    int result = fork_idle(error);
    close(pipes.down[0]);
    close(pipes.up[1]);
    channel_close(master, &slot);
    return result;
}
