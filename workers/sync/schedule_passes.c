/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/schedule_internal.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/worker/worker_loop.h"
#include "common/shm/mapping.h"
#include "workers/sync/backoff.h"
#include "workers/sync/gate.h"

/* A pass of more operations has taken memory that the next may not want. */
#define DRAIN_LEAST 1000

static void begin_pass(struct schedule *schedule,
                       const struct trigger_plan *plan)
{
    char asker[LOG_CORRELATION_MAX + 1] = "";
    pass_begin(&schedule->pass, plan, schedule->standing.ticket);
    if (standing_asked(&schedule->standing))
        sync_board_get_asker(schedule->board, schedule->pass.ticket, asker);
    log_set_correlation(asker);
    if (plan->drain)
        pace_drain(&schedule->pace);
    schedule_attempted(schedule);
    atomic_store(&schedule->standing.view->in_pass, 1);
    atomic_store(&schedule->standing.view->last_attempt_wall_ms,
                 clock_wall_ms());
    schedule->urgent_since_ms = 0;
    schedule->unfinished = TRIGGER_NONE;
    schedule->pressed = false;
    schedule->periodic_from_ms = schedule_now_ms();
    schedule->spread = jitter_next(&schedule->random);
    schedule->terms.trigger = plan->trigger;
    schedule_forget_look(schedule);
    metric_add(METRIC_SYNC_PASSES, 1);
}

/* Ends the pass; error NULL when it went well. */
static void end_pass(struct schedule *schedule, const char *error)
{
    struct pass *pass = &schedule->pass;
    struct store_call call;
    worker_loop_idle(schedule->setup.loop);
    if (!pass->active)
        return;
    if (pass_report(pass, error, &call))
        pipeline_tell(schedule->pipeline, &call);
    pass->active = false;
    if (pass->carried > DRAIN_LEAST)
        malloc_trim(0);
    schedule_need_no_help(schedule);
    log_set_correlation(NULL);
    atomic_store(&schedule->standing.view->in_pass, 0);
    if (error != NULL) {
        metric_add(METRIC_SYNC_FAILURES, 1);
    } else {
        if (pass->contact)
            atomic_store(&schedule->standing.view->last_success_wall_ms,
                         clock_wall_ms());
        metric_add(METRIC_SYNC_SUCCESSES, 1);
        standing_error(&schedule->standing, "");
        standing_answer(&schedule->standing, pass->ticket, true);
    }
}

/* This worker leaves, and its successor answers who waits. */
static bool epoch_begins(const struct sink_result *result)
{
    return result->outcome == SINK_BEHIND &&
           result->error.code == ERROR_TRY_AGAIN;
}

static void probe_answered(void *self, const struct sink_result *result)
{
    struct schedule *schedule = self;
    schedule->probing = false;
    if (result->outcome == SINK_APPLIED || result->outcome == SINK_REPEATED) {
        standing_line(&schedule->standing, LINE_WORKED, "it answers");
        schedule->contact_ms = clock_monotonic_ms();
        schedule->pass.contact = true;
        standing_error(&schedule->standing, "");
        end_pass(schedule, NULL);
    } else {
        standing_failed(&schedule->standing, result);
        end_pass(schedule, result->error.text);
        if (!epoch_begins(result))
            standing_answer(&schedule->standing, schedule->standing.ticket,
                            false);
    }
    schedule_look_after(schedule, 0);
}

void schedule_probe(struct schedule *schedule)
{
    schedule->probing = true;
    schedule->probed_ms = clock_monotonic_ms();
    schedule_attempted(schedule);
    atomic_store(&schedule->standing.view->last_attempt_wall_ms,
                 clock_wall_ms());
    schedule->setup.sink_methods->probe(schedule->setup.sink, probe_answered,
                                        schedule);
}

static void inspected(void *self, const struct sink_result *result)
{
    struct schedule *schedule = self;
    struct sync_inspection *inspection = &schedule->board->inspection;
    schedule->probing = false;
    atomic_store(&inspection->failed, result->outcome != SINK_APPLIED);
    atomic_store(&inspection->records, result->records);
    atomic_store(&inspection->complete, result->complete);
    atomic_store(&inspection->answered, schedule->inspecting);
    if (result->outcome != SINK_APPLIED)
        standing_failed(&schedule->standing, result);
    schedule_look_after(schedule, 0);
}

bool schedule_inspect(struct schedule *schedule)
{
    struct sync_inspection *inspection = &schedule->board->inspection;
    uint64_t asked = atomic_load(&inspection->asked);
    if (schedule->rules.slot != 0 ||
        asked == atomic_load(&inspection->answered))
        return false;
    if (!gate_can_inspect(schedule->setup.sink)) {
        atomic_store(&inspection->failed, 1);
        atomic_store(&inspection->answered, asked);
        return false;
    }
    schedule->probing = true;
    schedule->inspecting = asked;
    schedule->setup.sink_methods->inspect(schedule->setup.sink,
                                          atomic_load(&inspection->run),
                                          inspected, schedule);
    return true;
}

void schedule_resume_held(struct schedule *schedule)
{
    struct trigger_plan plan = {
        .trigger = schedule->standing.line.state == LINK_DRAINING
                       ? TRIGGER_RECONNECT
                       : schedule->pass.trigger,
        .drain = schedule->pass.drain ||
                 schedule->standing.line.state == LINK_DRAINING,
        .least_important = OUTBOX_PRIORITIES - 1};
    if (plan.trigger == TRIGGER_NONE)
        plan.trigger = TRIGGER_RECONNECT;
    /* Held without a batch: it was paused while it rested. */
    if (!schedule->pass.active && pipeline_busy(schedule->pipeline))
        begin_pass(schedule, &plan);
    pipeline_release(schedule->pipeline);
}

void schedule_start_pass(struct schedule *schedule,
                         const struct trigger_plan *plan, int64_t claimable)
{
    begin_pass(schedule, plan);
    schedule->blocked_until_ms = 0;
    if (claimable > 0)
        pipeline_start(schedule->pipeline);
    else
        schedule_probe(schedule); /* nothing to carry: is the centre there? */
}

/* --- the pipeline's questions and news --- */

static void judge_help(struct schedule *schedule, int64_t claimable)
{
    unsigned workers =
        atomic_load(&schedule->setup.worker->mapping->pools[ROLE_SYNC].size);
    bool drain = atomic_load(&schedule->board->drain_wanted) != 0 ||
                 schedule->standing.line.state == LINK_DRAINING;
    if (trigger_wants_another(&schedule->rules, claimable, drain, workers))
        schedule_need_help(schedule, clock_monotonic_ms());
    else
        schedule_need_no_help(schedule);
}

static size_t claim_size(void *self, bool ahead, size_t asked,
                         unsigned *least_important)
{
    struct schedule *schedule = self;
    struct outbox_pending pending;
    if (!schedule->pass.active || schedule->paused || schedule->leaving ||
        schedule_read_pending(schedule, &pending) != 0)
        return 0;
    *least_important = schedule->pass.least_important;
    bool drain_wanted = atomic_load(&schedule->board->drain_wanted) != 0;
    struct trigger_progress progress = {
        .claimable =
            trigger_claimable(&pending, schedule_now_ms()) - (int64_t)asked,
        .claimed = schedule->pass.claimed + (int64_t)asked,
        .record_bytes = schedule->record_bytes,
        .batch_limit = urgency_limit(&schedule->urgency, schedule->pace.size,
                                     clock_monotonic_ms()),
        .drain = schedule->pass.drain || drain_wanted,
        .drain_wanted = drain_wanted,
        .ahead = ahead};
    judge_help(schedule, progress.claimable);
    if (schedule->blocked_until_ms > schedule_now_ms())
        return 0;
    schedule->pressed = pressure_look(&schedule->pressure,
                                      clock_monotonic_ms()) != PRESSURE_NONE;
    if (schedule->pressed || schedule_yields_ms(schedule) != 0) {
        *least_important = 0;
        if (progress.claimable > pending.by_priority[0] - (int64_t)asked)
            progress.claimable = pending.by_priority[0] - (int64_t)asked;
    }
    return (size_t)trigger_claim_size(&schedule->rules, &progress);
}

static void claimed(void *self, size_t got)
{
    struct schedule *schedule = self;
    schedule->pass.claimed += (int64_t)got;
    schedule->blocked_until_ms =
        got > 0 ? 0 : schedule_now_ms() + TRIGGER_BLOCKED_MS;
}

static void sending(void *self, const struct batch *batch)
{
    struct schedule *schedule = self;
    char what[32];
    /* Behind others that are at the sink it has their time, too. */
    uint64_t until_ms =
        clock_monotonic_ms() + pipeline_at_sink(schedule->pipeline) *
                                   batch_bound_ms(batch, schedule->config);
    snprintf(what, sizeof(what), "batch %" PRId64, batch->source.batch_id);
    if (schedule->busy_until_ms < until_ms)
        schedule->busy_until_ms = until_ms;
    worker_loop_busy(schedule->setup.loop, (uint64_t)batch->source.batch_id,
                     schedule->busy_until_ms, what);
}

static void too_large(void *self, int64_t bytes, int64_t operations)
{
    struct schedule *schedule = self;
    schedule->record_bytes =
        trigger_record_bytes(schedule->record_bytes, bytes, operations);
    log_notice("%" PRId64 " operations do not fit into %" PRId64
               " bytes of memory; they are carried in smaller batches",
               operations, bytes);
}

static void tell_conflicts(const struct batch *batch)
{
    if (batch->conflicts[CONFLICT_LOST] > 0)
        log_notice("%zu operations of batch %" PRId64
                   " do not stand against rows that other hosts wrote: "
                   "'tidemill sync conflicts --all' shows both",
                   batch->conflicts[CONFLICT_LOST], batch->source.batch_id);
    if (batch->conflicts[CONFLICT_PARKED] > 0)
        log_warning("%zu operations of batch %" PRId64
                    " are in conflict with other hosts' and wait for a person: "
                    "'tidemill sync conflicts' shows them",
                    batch->conflicts[CONFLICT_PARKED], batch->source.batch_id);
}

/* The key of the batch in the centre's ledger but for our system's id. */
static void correlate(const struct batch *batch)
{
    char key[64];
    snprintf(key, sizeof(key), "batch-%" PRId64 "-%" PRId64,
             batch->source.epoch, batch->source.batch_id);
    log_set_correlation(key);
}

static void applied(void *self, const struct batch *batch)
{
    struct schedule *schedule = self;
    bool asked = log_correlation()[0] != '\0';
    if (!asked)
        correlate(batch);
    /* Its settlement may have to wait for the store, for as long as that
     * takes: no deadline. */
    if (pipeline_at_sink(schedule->pipeline) == 0) {
        schedule->busy_until_ms = 0;
        worker_loop_busy(schedule->setup.loop, (uint64_t)batch->source.batch_id,
                         0, "settling");
    }
    if (batch->sent_ns != 0) { /* an empty one never saw the sink */
        standing_line(&schedule->standing, LINE_WORKED, "a batch was applied");
        schedule->contact_ms = clock_monotonic_ms();
        schedule->pass.contact = true;
        standing_error(&schedule->standing, "");
    }
    schedule->record_bytes = trigger_record_bytes(
        schedule->record_bytes, (int64_t)batch->bytes, (int64_t)batch->count);
    pass_add(&schedule->pass, batch);
    if (batch->sent_ns != 0) {
        pace_applied(&schedule->pace, (int64_t)batch->count,
                     (int64_t)(batch->apply_ns / 1000000));
        urgency_applied(&schedule->urgency, batch->count, batch->apply_ns);
    }
    atomic_store(&schedule->standing.view->rate, pass_rate(&schedule->pass));
    atomic_store(&schedule->standing.view->batch_size, schedule->pace.size);
    if (batch->refused > 0)
        log_warning("the centre refused %zu operations of batch %" PRId64
                    "; they are tried again later and then set aside: "
                    "'tidemill sync dead' lists those",
                    batch->refused, batch->source.batch_id);
    tell_conflicts(batch);
    if (!asked)
        log_set_correlation(NULL);
}

void schedule_leave_if_over(struct schedule *schedule)
{
    if (schedule->leaving && (!pipeline_busy(schedule->pipeline) ||
                              (pipeline_held(schedule->pipeline) &&
                               pipeline_at_sink(schedule->pipeline) == 0) ||
                              !pipeline_ready(schedule->pipeline)))
        schedule->setup.over(schedule->setup.self);
}

/* The store began a new epoch since this batch was taken up. */
static bool epoch_is_over(struct schedule *schedule, const struct batch *batch)
{
    struct store_identity identity;
    struct error error;
    return store_identity_read(schedule->reader, &identity, &error) == 0 &&
           identity.epoch != batch->source.epoch;
}

static void failed(void *self, const struct batch *batch,
                   const struct sink_result *result)
{
    struct schedule *schedule = self;
    schedule->busy_until_ms = 0;
    if (result->outcome != SINK_BUSY)
        pace_failed(&schedule->pace);
    if (result->outcome == SINK_BEHIND && epoch_is_over(schedule, batch)) {
        worker_loop_leave(schedule->setup.loop, WORKER_EXIT_DRAINED);
        return;
    }
    standing_failed(&schedule->standing, result);
    end_pass(schedule, result->error.text);
    /* A drain outlasts what passes by itself; `sync now` tells at once. */
    if (!epoch_begins(result) &&
        (result->outcome != SINK_TRANSIENT ||
         atomic_load(&schedule->board->drain_wanted) == 0))
        standing_answer(&schedule->standing, schedule->pass.ticket, false);
    schedule_look_after(schedule, 0);
    schedule_leave_if_over(schedule);
}

static void trouble_over(struct schedule *schedule)
{
    if (!schedule->troubled)
        return;
    schedule->troubled = false;
    log_notice("the local store answers again");
    standing_error(&schedule->standing, "");
}

static void settled(void *self, const struct batch *batch)
{
    struct schedule *schedule = self;
    (void)batch;
    trouble_over(schedule);
    worker_loop_finished(schedule->setup.loop);
}

static bool report(void *self, struct store_call *call)
{
    struct schedule *schedule = self;
    return schedule->pass.active && pass_report(&schedule->pass, NULL, call);
}

static void rested(void *self)
{
    struct schedule *schedule = self;
    const struct pass *pass = &schedule->pass;
    /* Once more: when lanes of what pends are in other workers' batches,
     * as soon as one of those is settled; when some were refused, for those
     * that the end of a refused one has freed; and a drain's first worker
     * takes what the others leave. */
    bool more = schedule->blocked_until_ms != 0 || pass->refused > 0 ||
                (pass->drain && schedule->rules.slot == 0) || schedule->pressed;
    schedule->unfinished = pass->active && more ? pass->trigger : TRIGGER_NONE;
    /* Somebody waits, and others had taken all: is the centre there? */
    if (pass->active && !pass->contact && !schedule->leaving &&
        pass->ticket > schedule->standing.answered) {
        schedule_probe(schedule);
        return;
    }
    end_pass(schedule, NULL);
    schedule_look_after(schedule, 0);
    schedule_leave_if_over(schedule);
}

/* The store is open and the adoption done.  What was taken up again is
 * carried as a pass. */
static struct store_reader *ready(void *self, size_t adopted,
                                  struct error *error)
{
    struct schedule *schedule = self;
    struct trigger_plan plan = {.trigger = TRIGGER_RECONNECT,
                                .least_important = OUTBOX_PRIORITIES - 1};
    struct store_identity identity;
    bool paused;
    schedule->reader =
        schedule->setup.open_reader(schedule->setup.self, &paused, error);
    if (schedule->reader == NULL ||
        store_identity_read(schedule->reader, &identity, error) != 0)
        return NULL;
    schedule->terms.store_id = identity.store_id;
    schedule->terms.host = schedule->setup.host;
    trouble_over(schedule);
    schedule->blocked_until_ms = 0;
    schedule_pause(schedule, paused);
    if (adopted > 0 && !schedule->pass.active &&
        !pipeline_held(schedule->pipeline))
        begin_pass(schedule, &plan);
    schedule_look_after(schedule, 0);
    return schedule->reader;
}

static void trouble(void *self, const struct error *error)
{
    struct schedule *schedule = self;
    if (!schedule->troubled)
        log_warning("%s; tried again until it answers", error->text);
    schedule->troubled = true;
    standing_error(&schedule->standing, error->text);
}

static void broken(void *self, const struct error *error)
{
    struct schedule *schedule = self;
    standing_error(&schedule->standing, error->text);
    worker_loop_fail(schedule->setup.loop, WORKER_EXIT_FAILED, error);
}

const struct pipeline_hooks schedule_pipeline_hooks = {
    .claim_size = claim_size,
    .claimed = claimed,
    .sending = sending,
    .too_large = too_large,
    .applied = applied,
    .failed = failed,
    .settled = settled,
    .report = report,
    .rested = rested,
    .ready = ready,
    .trouble = trouble,
    .broken = broken,
};
