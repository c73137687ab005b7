/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/generation.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/generation/template_set.h"
#include "common/worker/worker_loop.h"
#include "common/shm/mapping.h"
#include "common/store/client.h"
#include "common/store/reader.h"
#include "workers/generation/backlog.h"
#include "workers/generation/claim_size.h"
#include "workers/generation/command_slot.h"
#include "workers/generation/job_run.h"
#include "workers/generation/queue_view.h"
#include "workers/generation/report.h"

#define TEMPLATES_KEPT_MAX 100
#define JOB_BYTES_MAX      (256u << 20) /* memory of one render job */
#define REPORTS_HELD_MAX   256          /* not yet at the store */
#define REPORTS_SENT_MAX   64           /* in one request */
#define CALLS_SENT_MAX     20000        /* in one request */
#define TURN_US            2000         /* work between two looks at messages */
#define LOOK_AGAIN_MIN_MS  20           /* for jobs that wait to be retried */
#define LOOK_AGAIN_MAX_MS  60000
#define REFUSED_WAIT_MS    1000

struct generation {
    const struct worker *worker;
    const struct config *config;
    struct worker_loop *loop;
    struct store_link *link;
    struct store_reader *reader; /* NULL until it is needed */
    struct template_cache *templates;
    struct reporter reporter;
    struct claim_size claim_size;
    struct arena arena;        /* of the job that runs */
    struct event *turn_event;  /* there are jobs to run */
    struct event *look_event;  /* look again for jobs */
    struct event *again_event; /* ask the store again after a refusal */
    struct event *drain_event; /* the bound of DRAIN */
    struct backlog backlog;
    struct command_slot *command; /* beside the backlog */
    unsigned report_sent; /* of the first ones, with the request under way */
    unsigned alone;       /* of the first ones: to be sent one by one */
    unsigned asked;       /* jobs, with the request under way */
    bool adopted;         /* what the predecessor left is settled */
    bool under_way;
    bool may_have_jobs; /* the queue, as far as we know */
    bool draining;
    bool gives_back; /* jobs not begun, to the queue, before it leaves */
    bool
        claim_lost; /* a claim's answer: jobs may be ours that we do not know */
};

static void go_on(struct generation *generation);

/* --- timers --- */

static void start_timer(struct event *event, uint64_t delay_ms)
{
    struct timeval delay = {.tv_sec = (time_t)(delay_ms / 1000),
                            .tv_usec = (suseconds_t)(delay_ms % 1000 * 1000)};
    event_add(event, &delay);
}

/* A job that waits to be retried gives no word when its time has come, so
 * the queue is looked at again then. */
static void look_later(struct generation *generation)
{
    int64_t when_ms = generation->draining
                          ? 0
                          : queue_next_retry_ms(&generation->reader,
                                                generation->config->state_dir);
    if (when_ms == 0)
        return;
    int64_t wait_ms = when_ms - clock_wall_ms() + 1;
    if (when_ms < 0 || wait_ms > LOOK_AGAIN_MAX_MS)
        wait_ms = LOOK_AGAIN_MAX_MS;
    start_timer(generation->look_event, wait_ms < LOOK_AGAIN_MIN_MS
                                            ? LOOK_AGAIN_MIN_MS
                                            : (uint64_t)wait_ms);
}

static void pop_report(struct generation *generation)
{
    backlog_pop_report(&generation->backlog);
    if (generation->alone > 0)
        generation->alone--;
}

/* --- answers of the store --- */

static void take_claim(struct generation *generation,
                       const struct store_answer *answer)
{
    const struct store_result *result =
        &answer->results[answer->result_count - 1];
    unsigned got = (unsigned)result->rows;
    for (size_t i = 0; i < result->rows && result->columns == 5; i++) {
        if (backlog_push_job(&generation->backlog, &result->values[i * 5]) !=
            0) {
            struct error error;
            error_set(&error, ERROR_SYSTEM,
                      "claimed jobs cannot be taken in; the successor will "
                      "have them");
            worker_loop_fail(generation->loop, WORKER_EXIT_FAILED, &error);
            return;
        }
    }
    claim_size_answer(&generation->claim_size, generation->asked, got);
    if (got < generation->asked && result->changed <= (int64_t)got)
        generation->may_have_jobs = false;
    if (!generation->may_have_jobs)
        look_later(generation);
}

/* One report alone was refused: the job is no longer ours (the answer to an
 * earlier request was lost, or it was adopted), or the disk is full. */
static void report_refused(struct generation *generation,
                           const struct store_answer *answer)
{
    if (answer->code == ERROR_FULL || answer->code == ERROR_IO ||
        answer->code == ERROR_DAMAGED || answer->code == ERROR_SYSTEM) {
        start_timer(generation->again_event, REFUSED_WAIT_MS);
        return;
    }
    log_event(LOG_NOTICE_LEVEL, "the end of a job was not recorded",
              LOG_INT("job", generation->backlog.report_first->job_id),
              LOG_TEXT("why", answer->text));
    pop_report(generation);
}

static void on_answer(void *self, const struct store_answer *answer)
{
    struct generation *generation = self;
    unsigned sent = generation->report_sent;
    generation->under_way = false;
    generation->report_sent = 0;
    if (answer->code == ERROR_NONE) {
        for (unsigned i = 0; i < sent; i++)
            pop_report(generation);
        if (generation->asked > 0 && answer->result_count > 0)
            take_claim(generation, answer);
    } else if (answer->code == ERROR_TRY_AGAIN) {
        generation->claim_lost |= generation->asked > 0;
        generation->alone = sent > generation->alone ? sent : generation->alone;
    } else if (sent == 1) {
        report_refused(generation, answer);
    } else if (sent > 1) {
        generation->alone = sent;
    } else {
        log_event(LOG_WARNING_LEVEL, "the store refused a claim of jobs",
                  LOG_TEXT("why", answer->text));
        claim_size_init(&generation->claim_size);
        start_timer(generation->again_event, REFUSED_WAIT_MS);
    }
    go_on(generation);
}

/* --- requests to the store --- */

/* How many reports go with the next request, and their calls. */
static unsigned reports_to_send(const struct generation *generation,
                                size_t *call_count)
{
    unsigned most = generation->alone > 0 ? 1 : REPORTS_SENT_MAX;
    unsigned count = 0;
    *call_count = 0;
    for (const struct report *report = generation->backlog.report_first;
         report != NULL && count < most; report = report->next) {
        if (count > 0 && *call_count + report->call_count > CALLS_SENT_MAX)
            break;
        *call_count += report->call_count;
        count++;
    }
    return count;
}

/* Ends of jobs and the claim of the next ones in one request. */
static void send_request(struct generation *generation)
{
    size_t call_count;
    unsigned reports = reports_to_send(generation, &call_count);
    bool claims = !generation->draining && generation->may_have_jobs &&
                  generation->alone == 0 && !generation->claim_lost &&
                  generation->backlog.report_count < REPORTS_HELD_MAX / 2 &&
                  !command_slot_busy(generation->command) &&
                  !backlog_has_command(&generation->backlog);
    generation->asked = claims
                            ? claim_size_wanted(&generation->claim_size,
                                                generation->backlog.job_count)
                            : 0;
    if (reports + generation->asked == 0)
        return;
    struct store_call *calls = calloc(call_count + 1, sizeof(*calls));
    if (calls == NULL) {
        start_timer(generation->again_event, REFUSED_WAIT_MS);
        return;
    }
    size_t at = 0;
    const struct report *report = generation->backlog.report_first;
    for (unsigned i = 0; i < reports; i++, report = report->next) {
        memcpy(&calls[at], report->calls, report->call_count * sizeof(*calls));
        at += report->call_count;
    }
    if (generation->asked > 0)
        calls[at++] = queue_claim_call(generation->worker, generation->asked);
    const struct store_request request = {.calls = calls, .call_count = at};
    struct error error;
    int failed = store_link_call(generation->link, &request, on_answer,
                                 generation, &error);
    free(calls);
    if (failed != 0) {
        log_warning("the store cannot be asked: %s", error.text);
        generation->alone = reports;
        start_timer(generation->again_event, REFUSED_WAIT_MS);
        return;
    }
    generation->under_way = true;
    generation->report_sent = reports;
}

/* Gives the jobs that are claimed and that we do not have (any more) back to
 * the queue, as a successor would: what is held by this slot under another
 * spawn number. */
static void on_given_back(void *self, const struct store_answer *answer)
{
    struct generation *generation = self;
    generation->under_way = false;
    if (answer->code != ERROR_TRY_AGAIN) {
        generation->gives_back = false;
        generation->claim_lost = false;
        generation->may_have_jobs = true;
    }
    go_on(generation);
}

static void give_back(struct generation *generation)
{
    struct error error;
    struct store_call call = queue_give_back_call(generation->worker);
    const struct store_request request = {.calls = &call, .call_count = 1};
    if (store_link_call(generation->link, &request, on_given_back, generation,
                        &error) == 0) {
        generation->under_way = true;
    } else {
        generation->gives_back = false; /* the successor adopts them */
        start_timer(generation->again_event, REFUSED_WAIT_MS);
    }
}

static void drop_jobs(struct generation *generation)
{
    while (generation->backlog.job_count > 0) {
        backlog_pop_job(&generation->backlog);
        generation->gives_back = true;
    }
}

/* While jobs are at hand the ends of a few are gathered: half of a claim is
 * work enough until the answer comes. */
static void talk(struct generation *generation)
{
    if (generation->under_way || !generation->adopted ||
        !store_link_connected(generation->link) ||
        event_pending(generation->again_event, EV_TIMEOUT, NULL) != 0)
        return;
    bool clear = generation->backlog.report_count == 0 &&
                 (generation->draining || generation->backlog.job_count == 0);
    if (clear && (generation->gives_back || generation->claim_lost))
        give_back(generation);
    else if (claim_size_wanted(&generation->claim_size,
                               generation->backlog.job_count) > 0 ||
             generation->backlog.report_count >= REPORTS_SENT_MAX ||
             command_slot_busy(generation->command))
        send_request(generation);
}

/* After every change: asks the store, runs, rests or leaves. */
static void go_on(struct generation *generation)
{
    if (generation->draining)
        drop_jobs(generation);
    talk(generation);
    if (command_slot_busy(generation->command))
        return; /* its end goes on */
    if (generation->backlog.job_count > 0 &&
        generation->backlog.report_count < REPORTS_HELD_MAX) {
        event_active(generation->turn_event, EV_TIMEOUT, 0);
        return;
    }
    if (generation->under_way || generation->backlog.report_count > 0 ||
        generation->backlog.job_count > 0)
        return;
    if (generation->draining && generation->gives_back)
        return; /* once the store is there, or the bound is over */
    arena_deinit(&generation->arena); /* rest without a job's memory */
    worker_loop_idle(generation->loop);
    if (generation->draining)
        worker_loop_leave(generation->loop, WORKER_EXIT_DRAINED);
}

static void on_again(evutil_socket_t fd, short what, void *self)
{
    (void)fd;
    (void)what;
    go_on(self);
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
    job_over(generation, command_slot_job(generation->command), report);
}

static void on_command_gone(void *self)
{
    go_on(self);
}

static void cancel_command(struct generation *generation)
{
    if (command_slot_busy(generation->command) &&
        queue_wants_cancel(&generation->reader, generation->config->state_dir,
                           command_slot_job(generation->command)->id))
        command_slot_cancel(generation->command);
}

/* Runs beside the loop; nothing else is run meanwhile. */
static void start_command(struct generation *generation)
{
    struct job job;
    uint64_t grace_ms = (uint64_t)generation->config->kill_grace_ms;
    backlog_take_job(&generation->backlog, &job);
    uint64_t timeout_ms = job_timeout_ms(generation, &job);
    say_busy(generation, &job, timeout_ms + grace_ms + COMMAND_SLACK_MS);
    command_slot_run(generation->command, &job, timeout_ms, grace_ms);
    cancel_command(generation); /* asked for since it was claimed */
}

static void run_job(struct generation *generation, const struct job *job)
{
    uint64_t duration_us = 0;
    say_busy(generation, job, job_timeout_ms(generation, job));
    const struct job_runner runner = {
        .templates = generation->templates,
        .template_dir = generation->config->template_dir,
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
            start_command(generation);
            break;
        }
        run_job(generation,
                &generation->backlog.jobs[generation->backlog.job_first]);
        backlog_pop_job(&generation->backlog);
        if (clock_monotonic_ns() >= until_ns)
            break;
    }
    go_on(generation);
}

static void on_look(evutil_socket_t fd, short what, void *self)
{
    struct generation *generation = self;
    (void)fd, (void)what;
    generation->may_have_jobs = true;
    go_on(generation);
}

/* --- what the predecessor left --- */

static void on_adopted(void *self, const struct store_answer *answer)
{
    struct generation *generation = self;
    generation->under_way = false;
    if (answer->code == ERROR_TRY_AGAIN)
        return; /* asked again when connected */
    if (answer->code != ERROR_NONE) {
        struct error error;
        error_set(&error, ERROR_SYSTEM,
                  "the jobs that the predecessor left cannot be settled: %s",
                  answer->text);
        worker_loop_fail(generation->loop, WORKER_EXIT_STORE_REFUSED, &error);
        return;
    }
    jobs_say_adopted(&answer->results[0]);
    generation->adopted = true;
    generation->may_have_jobs = true;
    go_on(generation);
}

static void adopt(struct generation *generation)
{
    char why[64];
    struct error error;
    struct store_call call = queue_adopt_call(generation->worker, why);
    const struct store_request request = {.calls = &call, .call_count = 1};
    if (store_link_call(generation->link, &request, on_adopted, generation,
                        &error) != 0)
        worker_loop_fail(generation->loop, WORKER_EXIT_STORE_REFUSED, &error);
    else
        generation->under_way = true;
}

static void on_connected(void *self)
{
    struct generation *generation = self;
    store_reader_close(&generation->reader); /* it may be another file now */
    cancel_command(generation);
    generation->may_have_jobs = true; /* a notice may have died with it */
    if (generation->adopted)
        go_on(generation);
    else if (!generation->under_way)
        adopt(generation);
}

static void on_notified(void *self, uint32_t topics)
{
    struct generation *generation = self;
    if ((topics & TOPIC_JOB_CANCEL) != 0)
        cancel_command(generation);
    if ((topics & TOPIC_JOB_QUEUED) == 0)
        return;
    generation->may_have_jobs = true;
    go_on(generation);
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
    worker_loop_leave(generation->loop, WORKER_EXIT_DRAINED);
}

/* The job that runs is finished (nothing interrupts it), its end recorded;
 * those not begun go back to the queue. */
static void on_drain(void *self, uint64_t bound_ms)
{
    struct generation *generation = self;
    generation->draining = true;
    event_del(generation->look_event);
    start_timer(generation->drain_event, bound_ms - bound_ms / 4);
    go_on(generation);
}

static const struct worker_hooks worker_hooks = {
    .drain = on_drain,
    .wake = on_wake,
};

/* --- the worker --- */

static int generation_open(struct generation *generation, struct error *error)
{
    struct event_base *base = worker_loop_base(generation->loop);
    char socket_path[CONFIG_PATH_MAX];
    config_runtime_path(generation->config, "store.sock", socket_path,
                        sizeof(socket_path));
    generation->templates = template_cache_new(TEMPLATES_KEPT_MAX);
    generation->turn_event = event_new(base, -1, 0, on_turn, generation);
    generation->look_event = event_new(base, -1, 0, on_look, generation);
    generation->command =
        command_slot_new(base, &generation->reporter, on_command_over,
                         on_command_gone, generation);
    generation->again_event = event_new(base, -1, 0, on_again, generation);
    generation->drain_event =
        event_new(base, -1, 0, on_drain_bound, generation);
    if (generation->templates == NULL || generation->turn_event == NULL ||
        generation->look_event == NULL || generation->command == NULL ||
        generation->again_event == NULL || generation->drain_event == NULL)
        return error_set(error, ERROR_SYSTEM,
                         "no memory for a generation worker");
    generation->link =
        store_link_new(base, socket_path, TOPIC_JOB_QUEUED | TOPIC_JOB_CANCEL,
                       &link_hooks, generation, error);
    return generation->link == NULL ? -1 : 0;
}

static void generation_close(struct generation *generation)
{
    command_slot_free(&generation->command);
    store_link_free(&generation->link);
    store_reader_close(&generation->reader);
    struct event *const events[] = {
        generation->turn_event, generation->look_event, generation->again_event,
        generation->drain_event};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (events[i] != NULL)
            event_free(events[i]);
    drop_jobs(generation);
    generation->alone = 0;
    while (generation->backlog.report_first != NULL)
        pop_report(generation);
    template_cache_free(&generation->templates);
    arena_deinit(&generation->arena);
}

enum worker_exit generation_main(const struct worker *worker)
{
    struct generation generation = {
        .worker = worker,
        .config = worker->config,
        .reporter = {.slot = worker->slot,
                     .spawn = worker->spawn,
                     .worker_count =
                         (unsigned)worker->config->generation_max_workers,
                     .system_id = worker->config->system_id,
                     .max_retries = worker->config->generation_max_retries},
    };
    struct error error;
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
