/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/store/store.h"

#include <event2/event.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/worker/worker_loop.h"
#include "common/shm/mapping.h"
#include "common/store/damage.h"
#include "common/store/sqlite_memory.h"
#include "common/store/writer.h"
#include "workers/store/folding.h"
#include "workers/store/group_commit.h"
#include "workers/store/job_watch.h"
#include "workers/store/quarantine.h"
#include "workers/store/retention.h"
#include "workers/store/sources.h"
#include "workers/store/space.h"

/* How long to wait for a predecessor, or a command, that holds the lock. */
#define LOCK_WAIT_MS  5000
#define LOCK_PAUSE_MS 5
/* A spool that could not be taken over, mostly for want of space. */
#define SPOOL_AGAIN_S 1
/* How soon a mark of damage is noticed. */
#define DAMAGE_LOOK_S 5

struct store {
    const struct worker *worker;
    struct worker_loop *loop;
    struct store_writer *writer;
    struct group_commit *group;
    struct job_watch *job_watch;
    struct sources *sources;
    struct folding *folding;
    struct retention *retention;
    struct event *lock_event; /* tries for the lock again */
    struct event *spool_event;
    struct event *damage_event; /* looks for the mark of damage */
    uint64_t lock_deadline_ms;
};

static void store_tell_pending(struct store *store)
{
    struct store_totals totals = store_writer_totals(store->writer);
    struct daemon_board *board = &store->worker->mapping->daemon;
    for (unsigned i = 0; i < OUTBOX_PRIORITIES; i++)
        atomic_store_explicit(&board->pending[i], totals.pending_by[i],
                              memory_order_relaxed);
}

static void store_committed(void *self)
{
    struct store *store = self;
    store_tell_pending(store);
    worker_loop_finished(store->loop);
    folding_look(store->folding);
    job_watch_note(store->job_watch, store_writer_jobs_wait(store->writer));
}

static void store_jobs_wait(void *self)
{
    struct store *store = self;
    worker_loop_wait(store->loop, ROLE_GENERATION);
}

static void store_wake(void *self)
{
    struct store *store = self;
    group_commit_wake(store->group);
}

static void store_load(void *self, unsigned *requests, unsigned *added)
{
    struct store *store = self;
    group_commit_load(store->group, requests, added);
}

static bool store_sources_want(void *self)
{
    struct store *store = self;
    return store->sources != NULL && sources_want(store->sources);
}

static int store_sources_contribute(void *self, struct store_writer *writer,
                                    struct error *error)
{
    struct store *store = self;
    return sources_contribute(store->sources, writer, error);
}

static void store_sources_settled(void *self, bool committed)
{
    struct store *store = self;
    sources_settled(store->sources, committed);
}

/* --- open and close --- */

static void store_spool_again(struct store *store)
{
    static const struct timeval pause = {.tv_sec = SPOOL_AGAIN_S};
    if (store_writer_spool_waits(store->writer))
        event_add(store->spool_event, &pause);
}

/* Within a group, or for want of space still: later. */
static void on_spool_again(evutil_socket_t fd, short what, void *self)
{
    struct store *store = self;
    struct error error;
    (void)fd;
    (void)what;
    if (store_writer_replay(store->writer, &error) == 0)
        log_notice("the spool was taken over");
    store_spool_again(store);
}

static int store_declare(struct store *store, struct error *error)
{
    const struct config *config = store->worker->config;
    return store_writer_aggregates(store->writer, config->aggregates,
                                   config->aggregate_count,
                                   config->sync_aggregate_interval_ms,
                                   config->sync_aggregate_events, error);
}

/* The predecessor may have died before it could tell. */
static int store_watch_jobs(struct store *store, struct error *error)
{
    struct pool_board *board = &store->worker->mapping->pools[ROLE_GENERATION];
    store->job_watch = job_watch_new(worker_loop_base(store->loop), board,
                                     store_jobs_wait, store, error);
    if (store->job_watch == NULL ||
        store_writer_look_for_jobs(store->writer, clock_wall_ms(), error) != 0)
        return -1;
    job_watch_note(store->job_watch, store_writer_jobs_wait(store->writer));
    return 0;
}

static int store_serve(struct store *store, struct error *error)
{
    store->folding = folding_new(worker_loop_base(store->loop), store->writer,
                                 store_wake, store, error);
    const struct retention_setup retention = {.base =
                                                  worker_loop_base(store->loop),
                                              .config = store->worker->config,
                                              .wake = store_wake,
                                              .load = store_load,
                                              .self = store};
    store->retention = retention_new(&retention, error);
    if (store->folding == NULL || store->retention == NULL ||
        store_declare(store, error) != 0 || store_watch_jobs(store, error) != 0)
        return -1;
    const struct group_options options = {
        .base = worker_loop_base(store->loop),
        .listener = store->worker->store_listener,
        .writer = store->writer,
        .state_dir = store->worker->config->state_dir,
        .scoreboard = &store->worker->mapping->scoreboard,
        .members = {{.wants = store_sources_want,
                     .contribute = store_sources_contribute,
                     .settled = store_sources_settled,
                     .goes_on = true,
                     .self = store},
                    folding_member(store->folding),
                    retention_member(store->retention)},
        .member_count = 3,
        .committed = store_committed,
        .self = store,
    };
    store->group = group_commit_new(&options, error);
    if (store->group == NULL)
        return -1;
    store->sources = sources_new(options.base, store->worker->config,
                                 store->writer, store_wake, store, error);
    if (store->sources == NULL)
        return -1;
    folding_look(store->folding); /* what an earlier store left */
    store_tell_pending(store);
    return 0;
}

/* Opening again begins with mending. */
static void on_damage_look(evutil_socket_t fd, short what, void *self)
{
    struct store *store = self;
    struct error error;
    (void)fd;
    (void)what;
    if (!damage_is_marked(store->worker->config->state_dir))
        return;
    error_set(&error, ERROR_DAMAGED, "the local store shows damage");
    worker_loop_fail(store->loop, WORKER_EXIT_FAILED, &error);
}

/* Half of the time until somebody would take us for hung. */
static uint64_t mending_most_ms(const struct store *store)
{
    return (uint64_t)store->worker->config->hello_timeout_ms / 2;
}

static int open_writer(struct store *store, struct error *error)
{
    const struct config *config = store->worker->config;
    return store_writer_open(&store->writer, config->state_dir,
                             config->system_id, error);
}

/* Gives up the reserve of space, or mends, when that is what it takes. */
static int open_somehow(struct store *store, struct error *error)
{
    const char *state_dir = store->worker->config->state_dir;
    uint64_t most_ms = mending_most_ms(store);
    if (quarantine_look(state_dir, most_ms, error) != 0)
        return -1;
    int result = open_writer(store, error);
    if (result != 0 && error->code == ERROR_FULL && space_give_up(state_dir))
        result = open_writer(store, error);
    if (result != 0 && error->code == ERROR_DAMAGED &&
        (result = quarantine_mend(state_dir, most_ms, error)) == 0)
        result = open_writer(store, error);
    return result;
}

/* A killed predecessor's lock is free at once, a command's within
 * milliseconds; the loop goes on meanwhile, so that a STOP is heard. */
static void store_open(struct store *store)
{
    static const struct timeval pause = {.tv_usec = LOCK_PAUSE_MS * 1000};
    struct error error;
    int result = open_somehow(store, &error);
    if (result != 0 && error.code == ERROR_TRY_AGAIN &&
        clock_monotonic_ms() < store->lock_deadline_ms) {
        event_add(store->lock_event, &pause);
        return;
    }
    if (result != 0) {
        error_prefix(&error, "the local store cannot be opened");
        worker_loop_fail(store->loop, WORKER_EXIT_STORE_REFUSED, &error);
    } else if (store_serve(store, &error) != 0) {
        worker_loop_fail(store->loop, WORKER_EXIT_FAILED, &error);
    } else {
        static const struct timeval look = {.tv_sec = DAMAGE_LOOK_S};
        store_spool_again(store);
        event_add(store->damage_event, &look);
        worker_loop_ready(store->loop);
    }
}

static void on_lock_again(evutil_socket_t fd, short what, void *self)
{
    (void)fd;
    (void)what;
    store_open(self);
}

static void store_close(struct store *store)
{
    sources_free(&store->sources);
    group_commit_free(&store->group);
    folding_free(&store->folding);
    retention_free(&store->retention);
    job_watch_free(&store->job_watch);
    store_writer_close(&store->writer);
    if (store->lock_event != NULL)
        event_free(store->lock_event);
    if (store->spool_event != NULL)
        event_free(store->spool_event);
    if (store->damage_event != NULL)
        event_free(store->damage_event);
}

/* --- drain --- */

static void store_drained(void *self)
{
    struct store *store = self;
    if (atomic_load(&store->worker->mapping->daemon.stopping) == 0)
        store_writer_hand_over(store->writer);
    worker_loop_leave(store->loop, WORKER_EXIT_DRAINED);
}

static void store_drain(void *self, uint64_t bound_ms)
{
    struct store *store = self;
    (void)bound_ms; /* a group and a checkpoint are quick */
    if (store->group == NULL)
        worker_loop_leave(store->loop, WORKER_EXIT_DRAINED);
    else
        group_commit_drain(store->group, store_drained, store);
}

enum worker_exit store_main(const struct worker *worker)
{
    struct store store = {.worker = worker};
    struct error error;
    const struct worker_hooks hooks = {.drain = store_drain};
    sqlite_memory_use();
    store.loop = worker_loop_new(worker, &hooks, &store, &error);
    if (store.loop == NULL) {
        log_error("store cannot start: %s", error.text);
        return WORKER_EXIT_FAILED;
    }
    store.lock_deadline_ms = clock_monotonic_ms() + LOCK_WAIT_MS;
    store.lock_event =
        event_new(worker_loop_base(store.loop), -1, 0, on_lock_again, &store);
    store.spool_event =
        event_new(worker_loop_base(store.loop), -1, 0, on_spool_again, &store);
    store.damage_event = event_new(worker_loop_base(store.loop), -1, EV_PERSIST,
                                   on_damage_look, &store);
    if (store.lock_event == NULL || store.spool_event == NULL ||
        store.damage_event == NULL) {
        error_set(&error, ERROR_SYSTEM, "no memory for an event");
        worker_loop_fail(store.loop, WORKER_EXIT_FAILED, &error);
    } else {
        store_open(&store);
    }
    enum worker_exit code = worker_loop_run(store.loop);
    store_close(&store);
    worker_loop_free(&store.loop);
    return code;
}
