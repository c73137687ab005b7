/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/generation.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/generation/template_cache.h"
#include "common/worker/worker_loop.h"
#include "common/shm/mapping.h"
#include "common/store/client.h"
#include "common/store/reader.h"
#include "workers/generation/command_lock.h"
#include "workers/generation/generation_state.h"
#include "workers/generation/job_group.h"
#include "workers/generation/job_run.h"
#include "workers/generation/predecessor.h"
#include "workers/generation/queue_view.h"
#include "workers/generation/template_news.h"

#define JOB_BYTES_MAX (256u << 20) /* memory of one render job */
#define TURN_US       2000         /* work between two looks at messages */
/* What is claimed ahead goes back to the queue behind a command that runs
 * for longer. */
#define COMMAND_LONG_MS 20

/* A worker that has no successor settles what its predecessor left. */
static bool must_settle(const struct generation *generation)
{
    const struct worker *worker = generation->worker;
    return !generation->adopted &&
           atomic_load(&worker->mapping->daemon.stopping) == 0 &&
           worker->slot >=
               atomic_load(&worker->mapping->pools[ROLE_GENERATION].size);
}

void generation_go_on(struct generation *generation)
{
    if (generation->draining)
        generation_drop_jobs(generation);
    generation_talk(generation);
    if (command_slot_busy(generation->command))
        return; /* its end goes on */
    if (generation->backlog.job_count > 0 && !generation->hands_back &&
        generation->backlog.report_count < REPORTS_HELD_MAX) {
        event_active(generation->turn_event, EV_TIMEOUT, 0);
        return;
    }
    if (generation->under_way || generation->backlog.report_count > 0 ||
        generation->backlog.job_count > 0)
        return;
    if (generation->draining &&
        (generation->gives_back || must_settle(generation)))
        return; /* once the store is there, or the bound is over */
    arena_deinit(&generation->arena); /* rest without a job's memory */
    template_cache_begin(generation->templates);
    admission_rest(generation->admission);
    template_news_look(generation->template_news);
    worker_loop_idle(generation->loop);
    if (generation->draining && !template_news_tell(generation->template_news))
        worker_loop_leave(generation->loop, WORKER_EXIT_DRAINED);
}

static void generation_may_ask(void *self)
{
    generation_go_on(self);
}

static void on_again(evutil_socket_t fd, short what, void *self)
{
    (void)fd;
    (void)what;
    generation_go_on(self);
}

/* --- running --- */

static uint64_t job_timeout_ms(const struct generation *generation,
                               const struct job *job)
{
    return (uint64_t)(job->timeout_ms > 0
                          ? job->timeout_ms
                          : generation->config->worker_timeout_ms);
}

static void say_busy(struct generation *generation, const struct job *job,
                     uint64_t timeout_ms)
{
    char title[32];
    snprintf(title, sizeof(title), "job %lld", (long long)job->id);
    worker_loop_busy(generation->loop, (uint64_t)job->id,
                     clock_monotonic_ms() + timeout_ms, title);
}

/* Takes over the end of a job. */
static void job_over(struct generation *generation, const struct job *job,
                     struct report *report)
{
    struct error error;
    if (report == NULL) {
        error_set(&error, ERROR_SYSTEM,
                  "no memory to report job %lld; the successor runs it again",
                  (long long)job->id);
        worker_loop_fail(generation->loop, WORKER_EXIT_FAILED, &error);
        return;
    }
    backlog_push_report(&generation->backlog, report);
    worker_loop_finished(generation->loop);
}

static void on_command_over(void *self, struct report *report)
{
    struct generation *generation = self;
    const struct job *job = command_slot_job(generation->command);
    uint64_t spent_ns = clock_monotonic_ns() - generation->command_since_ns;
    admission_command(generation->admission, false);
    event_del(generation->long_event);
    claim_size_job(&generation->claim_size, spent_ns / 1000, job->spec_size);
    job_over(generation, job, report);
}

static void on_command_gone(void *self)
{
    struct generation *generation = self;
    generation->command_long = false;
    generation_go_on(generation);
}

static void on_command_long(evutil_socket_t fd, short what, void *self)
{
    struct generation *generation = self;
    (void)fd, (void)what;
    generation->command_long = true;
    generation_go_on(generation);
}

static void cancel_command(struct generation *generation)
{
    if (command_slot_busy(generation->command) &&
        queue_wants_cancel(&generation->reader, generation->config->state_dir,
                           command_slot_job(generation->command)->id))
        command_slot_cancel(generation->command);
}

static struct slot_entry *board_entry(const struct generation *generation)
{
    const struct worker *worker = generation->worker;
    return &worker->mapping->scoreboard.slots[worker->board_index];
}

/* Runs beside the loop; nothing else is run meanwhile. */
static void start_command(struct generation *generation)
{
    struct job job;
    uint64_t grace_ms = (uint64_t)generation->config->kill_grace_ms;
    backlog_take_job(&generation->backlog, &job);
    uint64_t timeout_ms = job_timeout_ms(generation, &job);
    say_busy(generation, &job, timeout_ms + grace_ms + COMMAND_SLACK_MS);
    generation->command_since_ns = clock_monotonic_ns();
    atomic_store(&board_entry(generation)->has_commands, 1);
    generation_start_timer(generation->long_event, COMMAND_LONG_MS);
    admission_command(generation->admission, true);
    command_slot_run(generation->command, &job, timeout_ms, grace_ms);
    if (generation->cancel_told) /* perhaps of one that was not begun */
        cancel_command(generation);
    if (generation->backlog.job_count == 0 && !generation->under_way)
        generation->cancel_told = false;
}

/* Asked for by the first job, not before a worker is ready. */
static const char *program_of(struct generation *generation)
{
    if (!generation->program_known)
        seen_program(generation->program);
    generation->program_known = true;
    return generation->program;
}

static void run_job(struct generation *generation, const struct job *job)
{
    uint64_t duration_us = 0;
    say_busy(generation, job, job_timeout_ms(generation, job));
    generation->reporter.worker_count =
        atomic_load(&generation->worker->mapping->pools[ROLE_GENERATION].size);
    const struct job_runner runner = {
        .world = {.cache = generation->templates,
                  .template_dir = generation->config->template_dir,
                  .program = program_of(generation)},
        .arena = &generation->arena,
        .reporter = &generation->reporter,
    };
    struct report *report = job_run(&runner, job, &duration_us);
    claim_size_job(&generation->claim_size, duration_us, job->spec_size);
    job_over(generation, job, report);
}

static void on_turn(evutil_socket_t fd, short what, void *self)
{
    struct generation *generation = self;
    uint64_t until_ns = clock_monotonic_ns() + TURN_US * 1000;
    (void)fd;
    (void)what;
    while (generation->backlog.job_count > 0 &&
           !command_slot_busy(generation->command) &&
           generation->backlog.report_count < REPORTS_HELD_MAX) {
        if (backlog_begins_with_command(&generation->backlog)) {
            if (admission_ask(generation->admission))
                start_command(generation);
            else
                generation->hands_back = true;
            break;
        }
        run_job(generation,
                &generation->backlog.jobs[generation->backlog.job_first]);
        backlog_pop_job(&generation->backlog);
        if (clock_monotonic_ns() >= until_ns)
            break;
    }
    generation_go_on(generation);
}

static void on_look(evutil_socket_t fd, short what, void *self)
{
    struct generation *generation = self;
    (void)fd, (void)what;
    generation->may_have_jobs = true;
    generation_go_on(generation);
}

/* --- from the store --- */

static void on_connected(void *self)
{
    struct generation *generation = self;
    if (!generation->adopted) {
        generation_adopt(generation);
        return;
    }
    store_reader_close(&generation->reader); /* it may be another file now */
    generation->cancel_told = true;          /* a notice may have died with */
    cancel_command(generation);              /* the connection */
    generation->may_have_jobs = true;
    generation_go_on(generation);
}

static void on_predecessor_gone(void *self)
{
    generation_adopt(self);
}

static void on_notified(void *self, uint32_t topics)
{
    struct generation *generation = self;
    if ((topics & TOPIC_JOB_CANCEL) != 0) {
        generation->cancel_told = true;
        cancel_command(generation);
    }
    if ((topics & TOPIC_JOB_QUEUED) == 0)
        return;
    generation->may_have_jobs = true;
    generation_go_on(generation);
}

static const struct store_link_hooks link_hooks = {
    .connected = on_connected,
    .notified = on_notified,
};

/* --- from the master --- */

static void on_wake(void *self)
{
    on_notified(self, TOPIC_JOB_QUEUED);
}

/* The successor adopts what is not begun by then. */
static void on_drain_bound(evutil_socket_t fd, short what, void *self)
{
    struct generation *generation = self;
    (void)fd;
    (void)what;
    worker_loop_leave(generation->loop, WORKER_EXIT_UNSETTLED);
}

/* The job that runs is finished (nothing interrupts it), its end recorded;
 * those not begun go back to the queue. */
static void on_drain(void *self, uint64_t bound_ms)
{
    struct generation *generation = self;
    generation->draining = true;
    event_del(generation->look_event);
    generation_start_timer(generation->drain_event, bound_ms - bound_ms / 4);
    generation_go_on(generation);
}

static const struct worker_hooks worker_hooks = {
    .drain = on_drain,
    .wake = on_wake,
};

/* --- the worker --- */

static int open_lock(const struct worker *worker)
{
    int fd = command_lock_open(worker->config->state_dir);
    if (fd < 0)
        log_warning("commands run without a lock in %s: %s",
                    worker->config->state_dir, strerror(errno));
    return fd;
}

static int open_job_group(const struct worker *worker)
{
    const char *parent = worker->mapping->daemon.command_group;
    int fd = job_group_open(parent, worker->config->state_dir, worker->slot);
    if (fd < 0 && parent[0] != '\0')
        log_warning("commands run without a control group: %s cannot be "
                    "used: %s",
                    parent, strerror(errno));
    return fd;
}

static int no_memory(struct error *error)
{
    return error_set(error, ERROR_SYSTEM, "no memory for a generation worker");
}

static int make_events(struct generation *generation, struct event_base *base)
{
    generation->turn_event = event_new(base, -1, 0, on_turn, generation);
    generation->look_event = event_new(base, -1, 0, on_look, generation);
    generation->long_event =
        event_new(base, -1, 0, on_command_long, generation);
    generation->again_event = event_new(base, -1, 0, on_again, generation);
    generation->drain_event =
        event_new(base, -1, 0, on_drain_bound, generation);
    return generation->turn_event != NULL && generation->look_event != NULL &&
                   generation->long_event != NULL &&
                   generation->again_event != NULL &&
                   generation->drain_event != NULL
               ? 0
               : -1;
}

static int make_command(struct generation *generation, struct event_base *base)
{
    const struct command_place place = {
        .group_fd = open_job_group(generation->worker),
        .lock_fd = open_lock(generation->worker),
        .slot = generation->worker->slot};
    generation->command = command_slot_new(
        base, &generation->reporter, &generation->command_defaults, &place,
        on_command_over, on_command_gone, generation);
    generation->predecessor =
        predecessor_new(base, generation->worker, place.lock_fd,
                        on_predecessor_gone, generation);
    return generation->command != NULL && generation->predecessor != NULL ? 0
                                                                          : -1;
}

static int make_templates(struct generation *generation, struct error *error)
{
    const struct template_sharing sharing = {
        .region = mapping_templates(generation->worker->mapping),
        .holder = generation->worker->board_index,
        .template_dir = generation->config->template_dir,
        .keeps_news = generation->config->template_cache_persistence,
    };
    generation->templates = template_cache_new(&sharing, error);
    return generation->templates != NULL ? 0 : -1;
}

static int generation_open(struct generation *generation, struct error *error)
{
    struct event_base *base = worker_loop_base(generation->loop);
    char socket_path[CONFIG_PATH_MAX];
    config_runtime_path(generation->config, "store.sock", socket_path,
                        sizeof(socket_path));
    if (make_templates(generation, error) != 0)
        return -1;
    if (make_events(generation, base) != 0 ||
        make_command(generation, base) != 0)
        return no_memory(error);
    generation->admission = admission_new(
        base, generation->worker, generation_may_ask, generation, error);
    if (generation->admission == NULL)
        return -1;
    generation->link =
        store_link_new(base, socket_path, TOPIC_JOB_QUEUED | TOPIC_JOB_CANCEL,
                       &link_hooks, generation, error);
    if (generation->link == NULL)
        return -1;
    generation->template_news =
        template_news_new(base, generation->link, generation->templates,
                          generation_may_ask, generation);
    return generation->template_news != NULL ? 0 : no_memory(error);
}

static void generation_close(struct generation *generation)
{
    predecessor_free(&generation->predecessor);
    command_slot_free(&generation->command);
    admission_free(&generation->admission);
    store_link_free(&generation->link);
    template_news_free(&generation->template_news);
    store_reader_close(&generation->reader);
    struct event *const events[] = {
        generation->turn_event, generation->look_event, generation->again_event,
        generation->drain_event, generation->long_event};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (events[i] != NULL)
            event_free(events[i]);
    generation_drop_jobs(generation);
    generation->alone = 0;
    while (generation->backlog.report_first != NULL)
        generation_pop_report(generation);
    template_cache_free(&generation->templates);
    arena_deinit(&generation->arena);
}

static void take_command_defaults(const struct config *config,
                                  struct command_defaults *defaults)
{
    *defaults = (struct command_defaults){
        .environment = config->command_environment,
        .limits = {
            .cpu_seconds = (uint64_t)config->command_cpu_seconds,
            .memory_bytes = (uint64_t)config->command_memory_bytes,
            .file_bytes = (uint64_t)config->command_file_bytes,
            .processes = (uint64_t)config->command_processes,
            .open_files = (uint64_t)config->command_open_files,
        }};
}

enum worker_exit generation_main(const struct worker *worker)
{
    struct generation generation = {
        .worker = worker,
        .config = worker->config,
        .reporter = {.slot = worker->slot,
                     .spawn = worker->spawn,
                     .max_retries = worker->config->generation_max_retries},
    };
    struct error error;
    take_command_defaults(worker->config, &generation.command_defaults);
    claim_size_init(&generation.claim_size);
    arena_init(&generation.arena, JOB_BYTES_MAX);
    generation.loop =
        worker_loop_new(worker, &worker_hooks, &generation, &error);
    if (generation.loop == NULL) {
        log_error("a generation worker cannot start: %s", error.text);
        return WORKER_EXIT_FAILED;
    }
    if (generation_open(&generation, &error) == 0)
        worker_loop_ready(generation.loop);
    else
        worker_loop_fail(generation.loop, WORKER_EXIT_FAILED, &error);
    enum worker_exit code = worker_loop_run(generation.loop);
    generation_close(&generation);
    worker_loop_free(&generation.loop);
    return code;
}
