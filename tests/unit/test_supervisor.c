/* SPDX-License-Identifier: Apache-2.0
 *
 * The master with workers that crash, hang, spin, babble and stay.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/config/options.h"
#include "tests/unit/supervisor_harness.h"

#define STOP_MS 30000

static int setup(void **state)
{
    struct supervisor *supervisor = calloc(1, sizeof(*supervisor));
    supervisor_init(supervisor);
    *state = supervisor;
    return 0;
}

static int teardown(void **state)
{
    supervisor_deinit(*state);
    free(*state);
    return 0;
}

static struct supervisor *started(void **state)
{
    struct supervisor *supervisor = *state;
    supervisor_start(supervisor);
    supervisor_wait_ready(supervisor);
    return supervisor;
}

static void behave(struct supervisor *supervisor, enum role role,
                   enum behaviour behaviour)
{
    atomic_store(&supervisor->plan->behaviour[role], (int)behaviour);
}

static pid_t pid_of(struct supervisor *supervisor, enum role role,
                    unsigned number)
{
    return atomic_load(&supervisor_entry(supervisor, role, number)->pid);
}

static bool exists(const struct supervisor *supervisor, const char *name)
{
    char path[128];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", supervisor->folder, name);
    return lstat(path, &status) == 0;
}

/* An orphan stays a process until init reaps it; a zombie runs no more. */
static bool runs(pid_t pid)
{
    char path[64];
    char text[512] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[size] = '\0';
    const char *end = strrchr(text, ')');
    return end != NULL && end[2] != 'Z' && end[2] != 'X';
}

static void stop(struct supervisor *supervisor)
{
    kill(supervisor->pid, SIGTERM);
    assert_int_equal(supervisor_wait_end(supervisor, STOP_MS), 0);
}

static void starts_and_stops(void **state)
{
    struct supervisor *supervisor = started(state);
    pid_t pid = pid_of(supervisor, ROLE_SYNC, 0);
    assert_true(exists(supervisor, "tidemilld.pid"));
    assert_true(exists(supervisor, "store.sock"));
    assert_true(exists(supervisor, "control.sock"));
    assert_true(exists(supervisor, "tidemill.log"));
    stop(supervisor);
    assert_false(exists(supervisor, "tidemilld.pid"));
    assert_false(exists(supervisor, "store.sock"));
    assert_false(exists(supervisor, "control.sock"));
    assert_false(runs(pid));
}

static uint64_t retired_bytes(struct cache *cache)
{
    struct cache_totals totals;
    cache_clear(cache); /* frees what nobody has pinned */
    cache_totals(cache->region, &totals);
    return totals.retired_bytes;
}

/* What a killed worker had pinned in the cache takes no room for ever. */
static void pins_of_the_dead_are_given_back(void **state)
{
    struct supervisor *supervisor = started(state);
    const struct cache_key key = cache_key("a", 1);
    const struct cache_piece pieces[CACHE_PIECES] = {{"value", 5}};
    struct cache cache;
    struct cache_pin pin;
    struct error error;
    assert_int_equal(cache_open(&cache, mapping_templates(supervisor->mapping),
                                scoreboard_index(ROLE_GENERATION, 0), &error),
                     0);
    assert_true(cache_put(&cache, &key, pieces, 0, &pin)); /* as the worker */
    assert_int_equal(retired_bytes(&cache), 256);
    kill(pid_of(supervisor, ROLE_GENERATION, 0), SIGKILL);
    wait_until(retired_bytes(&cache) == 0);
    stop(supervisor);
}

static void store_leaves_last(void **state)
{
    struct supervisor *supervisor = started(state);
    behave(supervisor, ROLE_GENERATION, KEEPS_ON);
    kill(pid_of(supervisor, ROLE_GENERATION, 0), SIGKILL);
    wait_until(
        atomic_load(
            &supervisor_entry(supervisor, ROLE_GENERATION, 0)->restarts) == 1);
    supervisor_wait_ready(supervisor);
    pid_t store = pid_of(supervisor, ROLE_STORE, 0);
    kill(supervisor->pid, SIGTERM);
    wait_until(atomic_load(&supervisor->mapping->daemon.stopping));
    wait_until(atomic_load(&supervisor->plan->messages[ROLE_SYNC]) > 0);
    assert_true(runs(store)); /* one that keeps on holds it up */
    assert_int_equal(supervisor_wait_end(supervisor, STOP_MS), 0);
    assert_false(runs(store));
    struct slot_entry *entry =
        &supervisor->mapping->scoreboard
             .slots[scoreboard_index(ROLE_GENERATION, 0)];
    assert_int_equal(atomic_load(&entry->death), DEATH_DRAIN_TIMEOUT);
    entry = &supervisor->mapping->scoreboard.slots[0];
    assert_int_equal(atomic_load(&entry->death), DEATH_LEFT);
}

static void second_term_is_immediate(void **state)
{
    struct supervisor *supervisor = *state;
    behave(supervisor, ROLE_GENERATION, KEEPS_ON);
    started(state);
    uint64_t start_ms = clock_monotonic_ms();
    kill(supervisor->pid, SIGTERM);
    wait_until(atomic_load(&supervisor->mapping->daemon.stopping));
    kill(supervisor->pid, SIGTERM);
    assert_int_equal(supervisor_wait_end(supervisor, STOP_MS), 0);
    assert_true(clock_monotonic_ms() - start_ms < 1500);
}

static void interrupt_is_immediate(void **state)
{
    struct supervisor *supervisor = started(state);
    kill(supervisor->pid, SIGINT);
    assert_int_equal(supervisor_wait_end(supervisor, STOP_MS), 0);
    assert_false(exists(supervisor, "tidemilld.pid"));
}

/* Kills the worker of a slot; the time until its successor was READY. */
static double successor_ms(struct slot_entry *entry)
{
    uint32_t spawn = atomic_load(&entry->spawn);
    uint64_t from_ns = clock_monotonic_ns();
    kill(atomic_load(&entry->pid), SIGKILL);
    while (atomic_load(&entry->spawn) == spawn ||
           atomic_load(&entry->state) != SLOT_IDLE)
        sched_yield();
    double ms = (double)(clock_monotonic_ns() - from_ns) / 1e6;
    assert_int_equal(atomic_load(&entry->death), DEATH_SIGNALLED);
    assert_int_equal(atomic_load(&entry->death_detail), SIGKILL);
    assert_int_equal(atomic_load(&entry->death_spawn), spawn);
    assert_int_equal(atomic_load(&entry->restarts), 1);
    return ms;
}

#define KILLED_WORKERS 40

static void killed_worker_has_a_successor(void **state)
{
    struct supervisor *supervisor = *state;
    double total_ms = 0;
    double most_ms = 0;
    atomic_store(&supervisor->plan->generation_workers, KILLED_WORKERS);
    started(state);
    for (unsigned i = 0; i < KILLED_WORKERS; i++) {
        double ms =
            successor_ms(supervisor_entry(supervisor, ROLE_GENERATION, i));
        total_ms += ms;
        most_ms = ms > most_ms ? ms : most_ms;
    }
    print_message("%d killed workers: successor ready after %.2f ms on "
                  "average, %.2f ms at most\n",
                  KILLED_WORKERS, total_ms / KILLED_WORKERS, most_ms);
    stop(supervisor);
}

static void crash_loop_is_degraded_and_recovers(void **state)
{
    struct supervisor *supervisor = started(state);
    _Atomic uint32_t *degraded = &supervisor->mapping->daemon.degraded_roles;
    struct slot_entry *entry = supervisor_entry(supervisor, ROLE_SYNC, 0);
    behave(supervisor, ROLE_SYNC, CRASHES);
    kill(atomic_load(&entry->pid), SIGKILL);
    wait_until(atomic_load(degraded) == 1u << ROLE_SYNC);
    wait_until(atomic_load(&entry->state) == SLOT_BACKOFF);
    assert_true(atomic_load(&entry->backoff_until_ms) > 0);
    assert_int_equal(atomic_load(&entry->death), DEATH_EXITED);
    behave(supervisor, ROLE_SYNC, CALM);
    wait_until(atomic_load(&entry->state) == SLOT_IDLE);
    wait_until(atomic_load(degraded) == 0);
    stop(supervisor);
}

/* Makes a generation worker behave so that it dies of `death`; the others
 * keep their processes. */
static void dies_of(void **state, enum role role, enum behaviour behaviour,
                    enum death death)
{
    struct supervisor *supervisor = started(state);
    enum role other = role == ROLE_SYNC ? ROLE_MONITOR : ROLE_SYNC;
    struct slot_entry *entry = supervisor_entry(supervisor, role, 0);
    pid_t others = pid_of(supervisor, other, 0);
    behave(supervisor, role, behaviour);
    kill(atomic_load(&entry->pid), SIGKILL);
    wait_until(atomic_load(&entry->death) == death);
    behave(supervisor, role, CALM);
    wait_until(atomic_load(&entry->death) == death &&
               atomic_load(&entry->state) == SLOT_IDLE);
    assert_int_equal(pid_of(supervisor, other, 0), others);
    stop(supervisor);
}

static void mute_worker_is_replaced(void **state)
{
    dies_of(state, ROLE_GENERATION, MUTE, DEATH_HELLO_TIMEOUT);
}

static void spinning_worker_is_replaced(void **state)
{
    dies_of(state, ROLE_GENERATION, SPINS, DEATH_HEARTBEAT);
}

static void sleeping_worker_is_replaced(void **state)
{
    dies_of(state, ROLE_GENERATION, SLEEPS, DEATH_HEARTBEAT);
}

static void worker_deaf_to_term_is_killed(void **state)
{
    dies_of(state, ROLE_GENERATION, STAYS_MUTE, DEATH_HELLO_TIMEOUT);
}

static void flood_of_a_child_costs_the_worker(void **state)
{
    dies_of(state, ROLE_GENERATION, FORKS, DEATH_BAD_MESSAGE);
}

static void worker_that_reads_nothing_is_replaced(void **state)
{
    struct supervisor *supervisor = *state;
    behave(supervisor, ROLE_SYNC, READS_NOTHING);
    started(state);
    behave(supervisor, ROLE_SYNC, CALM);
    struct slot_entry *entry = supervisor_entry(supervisor, ROLE_SYNC, 0);
    pid_t calm = pid_of(supervisor, ROLE_MONITOR, 0);
    kill(supervisor->pid, SIGUSR1); /* something to read */
    wait_until(atomic_load(&entry->death) == DEATH_DEAF &&
               atomic_load(&entry->state) == SLOT_IDLE);
    /* who reads is told again and again, and stays */
    for (int i = 0; i < 300; i++) {
        kill(supervisor->pid, SIGUSR1);
        usleep(10000);
    }
    assert_int_equal(pid_of(supervisor, ROLE_MONITOR, 0), calm);
    assert_int_equal(atomic_load(&entry->restarts), 1);
    stop(supervisor);
}

static void work_past_its_deadline_is_ended(void **state)
{
    dies_of(state, ROLE_GENERATION, WORKS_FOR_EVER, DEATH_WORK_DEADLINE);
}

static void work_of_the_dead_is_known(void **state)
{
    struct supervisor *supervisor = *state;
    behave(supervisor, ROLE_GENERATION, WORKS_FOR_EVER);
    supervisor_start(supervisor);
    struct slot_entry *entry =
        &supervisor->mapping->scoreboard
             .slots[scoreboard_index(ROLE_GENERATION, 0)];
    wait_until(atomic_load(&entry->death) == DEATH_WORK_DEADLINE);
    assert_int_equal(atomic_load(&entry->death_work_id), 4711);
}

static void garbage_costs_the_worker(void **state)
{
    dies_of(state, ROLE_GENERATION, WRITES_GARBAGE, DEATH_BAD_MESSAGE);
}

static void flood_costs_the_worker(void **state)
{
    dies_of(state, ROLE_GENERATION, FLOODS, DEATH_BAD_MESSAGE);
}

static void false_request_costs_the_worker(void **state)
{
    dies_of(state, ROLE_SYNC, FALSE_REQUEST, DEATH_BAD_MESSAGE);
}

static void stopped_worker_is_replaced(void **state)
{
    struct supervisor *supervisor = started(state);
    struct slot_entry *entry = supervisor_entry(supervisor, ROLE_SYNC, 0);
    kill(atomic_load(&entry->pid), SIGSTOP);
    wait_until(atomic_load(&entry->death) == DEATH_HEARTBEAT &&
               atomic_load(&entry->state) == SLOT_IDLE);
    stop(supervisor);
}

static void orphans_do_not_survive(void **state)
{
    struct supervisor *supervisor = started(state);
    pid_t pids[SLOTS_MAX];
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        pids[i] = atomic_load(&supervisor->mapping->scoreboard.slots[i].pid);
    kill(supervisor->pid, SIGKILL);
    supervisor_wait_end(supervisor, 1000);
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (pids[i] != 0)
            wait_until(!runs(pids[i]));
    /* what the dead one left does not hold up the next */
    assert_true(exists(supervisor, "store.sock"));
    memset(&supervisor->mapping->scoreboard, 0,
           sizeof(supervisor->mapping->scoreboard));
    started(state);
    stop(supervisor);
}

static void no_descriptors_is_waited_out(void **state)
{
    struct supervisor *supervisor = started(state);
    struct slot_entry *entry = supervisor_entry(supervisor, ROLE_SYNC, 0);
    struct rlimit before;
    struct rlimit none;
    assert_int_equal(prlimit(supervisor->pid, RLIMIT_NOFILE, NULL, &before), 0);
    none = before;
    none.rlim_cur = 4;
    assert_int_equal(prlimit(supervisor->pid, RLIMIT_NOFILE, &none, NULL), 0);
    kill(atomic_load(&entry->pid), SIGKILL);
    wait_until(atomic_load(&entry->state) == SLOT_BACKOFF);
    assert_int_equal(prlimit(supervisor->pid, RLIMIT_NOFILE, &before, NULL), 0);
    wait_until(atomic_load(&entry->state) == SLOT_IDLE);
    stop(supervisor);
}

/* Thousands of jobs a second with short deadlines are no flood. */
static void quick_work_is_no_flood(void **state)
{
    struct supervisor *supervisor = *state;
    behave(supervisor, ROLE_GENERATION, WORKS_QUICKLY);
    started(state);
    struct slot_entry *entry = supervisor_entry(supervisor, ROLE_GENERATION, 0);
    wait_until(atomic_load(&entry->finished) >= 20000);
    assert_int_equal(atomic_load(&entry->restarts), 0);
    stop(supervisor);
}

static void store_refusal_ends_the_start(void **state)
{
    struct supervisor *supervisor = *state;
    behave(supervisor, ROLE_STORE, REFUSES);
    supervisor_start(supervisor);
    assert_int_equal(supervisor_wait_end(supervisor, STOP_MS), 78);
    assert_false(exists(supervisor, "tidemilld.pid"));
}

static void crash_loop_ends_the_start(void **state)
{
    struct supervisor *supervisor = *state;
    behave(supervisor, ROLE_MONITOR, CRASHES);
    supervisor_start(supervisor);
    assert_int_equal(supervisor_wait_end(supervisor, STOP_MS), 70);
}

static void second_daemon_is_refused(void **state)
{
    struct supervisor *supervisor = started(state);
    pid_t first = supervisor->pid;
    supervisor_start(supervisor);
    assert_int_equal(supervisor_wait_end(supervisor, STOP_MS), 75);
    assert_true(exists(supervisor, "control.sock"));
    supervisor->pid = first;
    stop(supervisor);
}

static void pool_grows_and_shrinks(void **state)
{
    struct supervisor *supervisor = started(state);
    _Atomic uint64_t *attempts = &supervisor->mapping->daemon.reload_attempts;
    pid_t kept = pid_of(supervisor, ROLE_GENERATION, 0);
    atomic_store(&supervisor->plan->generation_workers, 4);
    kill(supervisor->pid, SIGHUP);
    wait_until(atomic_load(attempts) == 1);
    supervisor_wait_ready(supervisor);
    atomic_store(&supervisor->plan->generation_workers, 1);
    kill(supervisor->pid, SIGHUP);
    wait_until(atomic_load(attempts) == 2);
    for (unsigned i = 1; i < 4; i++)
        wait_until(supervisor_entry(supervisor, ROLE_GENERATION, i) == NULL);
    assert_int_equal(pid_of(supervisor, ROLE_GENERATION, 0), kept);
    stop(supervisor);
}

static void bad_reload_changes_nothing(void **state)
{
    struct supervisor *supervisor = started(state);
    struct daemon_board *board = &supervisor->mapping->daemon;
    char text[DAEMON_TEXT_MAX];
    pid_t store = pid_of(supervisor, ROLE_STORE, 0);
    atomic_store(&supervisor->plan->reload_bad, true);
    kill(supervisor->pid, SIGHUP);
    wait_until(atomic_load(&board->reload_attempts) == 1);
    assert_int_equal(atomic_load(&board->reload_failed), 1);
    assert_int_equal(atomic_load(&board->config_epoch), 1);
    daemon_board_get_text(board, board->reload_errors, text, sizeof(text));
    assert_string_equal(text, "test:1:1: bad; mend it\n");
    atomic_store(&supervisor->plan->reload_bad, false);
    kill(supervisor->pid, SIGHUP);
    wait_until(atomic_load(&board->reload_attempts) == 2);
    assert_int_equal(atomic_load(&board->reload_failed), 0);
    assert_int_equal(atomic_load(&board->config_epoch), 2);
    assert_int_equal(pid_of(supervisor, ROLE_STORE, 0), store);
    stop(supervisor);
}

/* Its present worker is idle and none of the given one. */
static bool is_replaced(struct supervisor *supervisor, enum role role,
                        pid_t old)
{
    struct slot_entry *entry = supervisor_entry(supervisor, role, 0);
    return entry != NULL && atomic_load(&entry->pid) != old &&
           atomic_load(&entry->state) == SLOT_IDLE && !runs(old);
}

static void reload_replaces_the_concerned(void **state)
{
    struct supervisor *supervisor = started(state);
    pid_t old[ROLE_COUNT];
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        old[role] = pid_of(supervisor, (enum role)role, 0);
    atomic_store(&supervisor->plan->reload_cost,
                 COST_RESPAWN_ALL & ~COST_RESPAWN_SYNC);
    for (int round = 0; round < 5; round++) {
        kill(supervisor->pid, SIGHUP);
        wait_until(atomic_load(&supervisor->mapping->daemon.reload_attempts) ==
                   (unsigned)round + 1);
        for (unsigned role = 0; role < ROLE_SYNC; role++) {
            wait_until(is_replaced(supervisor, (enum role)role, old[role]));
            old[role] = pid_of(supervisor, (enum role)role, 0);
        }
    }
    assert_int_equal(pid_of(supervisor, ROLE_SYNC, 0), old[ROLE_SYNC]);
    stop(supervisor);
}

static void gateway_serves_until_its_successor_does(void **state)
{
    struct supervisor *supervisor = started(state);
    pid_t old = pid_of(supervisor, ROLE_GATEWAY, 0);
    behave(supervisor, ROLE_GATEWAY, CRASHES);
    atomic_store(&supervisor->plan->reload_cost, COST_RESPAWN_GATEWAY);
    kill(supervisor->pid, SIGHUP);
    wait_until(atomic_load(&supervisor->mapping->daemon.degraded_roles) ==
               1u << ROLE_GATEWAY);
    assert_true(runs(old));
    behave(supervisor, ROLE_GATEWAY, CALM);
    wait_until(is_replaced(supervisor, ROLE_GATEWAY, old));
    stop(supervisor);
}

static void gateway_may_ask(void **state)
{
    struct supervisor *supervisor = *state;
    behave(supervisor, ROLE_GATEWAY, ASKS_RELOAD);
    started(state);
    wait_until(atomic_load(&supervisor->mapping->daemon.reload_attempts) == 1);
    stop(supervisor);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(starts_and_stops),
        T(pins_of_the_dead_are_given_back),
        T(store_leaves_last),
        T(second_term_is_immediate),
        T(interrupt_is_immediate),
        T(killed_worker_has_a_successor),
        T(crash_loop_is_degraded_and_recovers),
        T(mute_worker_is_replaced),
        T(spinning_worker_is_replaced),
        T(sleeping_worker_is_replaced),
        T(worker_deaf_to_term_is_killed),
        T(flood_of_a_child_costs_the_worker),
        T(worker_that_reads_nothing_is_replaced),
        T(work_past_its_deadline_is_ended),
        T(work_of_the_dead_is_known),
        T(garbage_costs_the_worker),
        T(flood_costs_the_worker),
        T(false_request_costs_the_worker),
        T(stopped_worker_is_replaced),
        T(orphans_do_not_survive),
        T(no_descriptors_is_waited_out),
        T(quick_work_is_no_flood),
        T(store_refusal_ends_the_start),
        T(crash_loop_ends_the_start),
        T(second_daemon_is_refused),
        T(pool_grows_and_shrinks),
        T(bad_reload_changes_nothing),
        T(reload_replaces_the_concerned),
        T(gateway_serves_until_its_successor_does),
        T(gateway_may_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
