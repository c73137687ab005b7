/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/schedule.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/worker/worker_loop.h"
#include "common/shm/mapping.h"
#include "workers/sync/backoff.h"
#include "workers/sync/gate.h"
#include "workers/sync/schedule_internal.h"

/* --- the timer --- */

static void look(struct schedule *schedule);

void schedule_look_after(struct schedule *schedule, int64_t delay_ms)
{
    if (delay_ms < 0)
        delay_ms = 0;
    uint64_t due_ms = clock_monotonic_ms() + (uint64_t)delay_ms;
    if (schedule->look_due_ms != 0 && schedule->look_due_ms <= due_ms)
        return;
    schedule->look_due_ms = due_ms;
    struct timeval delay = clock_span(delay_ms);
    event_add(schedule->look_timer, &delay);
}

void schedule_forget_look(struct schedule *schedule)
{
    schedule->look_due_ms = 0;
    event_del(schedule->look_timer);
}

static void look_timed(evutil_socket_t fd, short what, void *self)
{
    (void)fd;
    (void)what;
    look(self);
}

static void leave_timed(evutil_socket_t fd, short what, void *self)
{
    struct schedule *schedule = self;
    (void)fd;
    (void)what;
    worker_loop_leave(schedule->setup.loop, WORKER_EXIT_DRAINED);
}

/* --- one look --- */

int64_t schedule_now_ms(void)
{
    return (int64_t)clock_monotonic_ms();
}

/* What is kept on disk is of the wall's clock.  A retry further away than
 * any delay is means that this clock went back: it is due. */
static void place_retry(struct schedule *schedule,
                        struct outbox_pending *pending)
{
    int64_t wait_ms = pending->next_retry_ms - clock_wall_ms();
    schedule->terms.clock_lost_ms = 0;
    if (pending->next_retry_ms == 0)
        return;
    if (wait_ms > schedule->config->sync_retry_max_ms) {
        schedule->terms.clock_lost_ms = wait_ms;
        wait_ms = 0;
    }
    pending->next_retry_ms = schedule_now_ms() + (wait_ms > 0 ? wait_ms : 0);
}

int schedule_read_pending(struct schedule *schedule,
                          struct outbox_pending *pending)
{
    struct error error;
    if (outbox_pending_read(schedule->reader, pending, &error) == 0) {
        place_retry(schedule, pending);
        return 0;
    }
    log_warning("%s", error.text);
    standing_error(&schedule->standing, error.text);
    return -1;
}

/* The last spawn is read before the size: who takes a slot beyond it later
 * has a later one. */
static unsigned pool_size(const struct schedule *schedule, uint32_t *last_spawn)
{
    const struct mapping *mapping = schedule->setup.worker->mapping;
    *last_spawn = atomic_load(&mapping->daemon.last_spawn);
    return scoreboard_pool_size(&mapping->scoreboard, ROLE_SYNC,
                                SYNC_SLOTS_MAX);
}

/* A slot that left the pool may have left batches in flight; slot 0 takes
 * them over when it sees that the pool has shrunk.  True when it does. */
static bool adopt_leavers(struct schedule *schedule)
{
    uint32_t last_spawn;
    unsigned size = pool_size(schedule, &last_spawn);
    if (schedule->rules.slot != 0 || size == schedule->pool_size)
        return false;
    bool shrunk = size < schedule->pool_size;
    schedule->pool_size = size;
    if (!shrunk)
        return false;
    schedule->terms.last_spawn = last_spawn;
    pipeline_adopt(schedule->pipeline, size);
    return true;
}

static void wait_for_line(struct schedule *schedule, uint64_t now_ms)
{
    int64_t delay_ms = (int64_t)(schedule->standing.line.retry_at_ms - now_ms);
    bool offline = line_is_away(schedule->standing.line.state);
    standing_next(&schedule->standing,
                  offline ? TRIGGER_RECONNECT : schedule->pass.trigger,
                  clock_wall_ms() + delay_ms);
    schedule_look_after(schedule, delay_ms);
}

/* The line is down, or a batch waits to be sent again. */
static void look_at_line(struct schedule *schedule)
{
    uint64_t now_ms = clock_monotonic_ms();
    if (standing_hurries(&schedule->standing))
        line_hurry(&schedule->standing.line);
    if (line_waits(&schedule->standing.line, now_ms))
        wait_for_line(schedule, now_ms);
    else if (line_is_away(schedule->standing.line.state))
        schedule_probe(schedule);
    else
        schedule_resume_held(schedule);
}

/* Is what was kept while the line was down still being carried?  Of what
 * another worker's line kept, that worker leaves the last few to slot 0. */
static bool drains(const struct schedule *schedule)
{
    bool draining = schedule->standing.line.state == LINK_DRAINING;
    for (unsigned i = 1; schedule->rules.slot == 0 && i < schedule->pool_size;
         i++)
        draining = draining || atomic_load(&schedule->board->views[i].state) ==
                                   LINK_DRAINING;
    return draining;
}

/* The interval of periodic passes now. */
static int64_t interval_ms(const struct schedule *schedule)
{
    return backoff_spread_ms(
        schedule->rules.adaptive
            ? band_interval_ms(schedule->band, schedule->rules.interval_ms)
            : schedule->rules.interval_ms,
        schedule->spread);
}

/* What the watchdog waits beyond the interval and the longest delay. */
#define ATTEMPT_SLACK_MS 60000

void schedule_need_help(struct schedule *schedule, uint64_t since_ms)
{
    const struct worker *worker = schedule->setup.worker;
    if (schedule->rules.slot == 0 &&
        pool_board_wait(&worker->mapping->pools[ROLE_SYNC], since_ms))
        worker_loop_wait(schedule->setup.loop, ROLE_SYNC);
}

void schedule_need_no_help(struct schedule *schedule)
{
    if (schedule->rules.slot == 0)
        pool_board_rest(&schedule->setup.worker->mapping->pools[ROLE_SYNC]);
}

void schedule_attempted(struct schedule *schedule)
{
    struct sync_view *view = schedule->standing.view;
    int64_t wait_ms = 2 * schedule->rules.interval_ms;
    if (wait_ms < schedule->config->sync_retry_max_ms)
        wait_ms = schedule->config->sync_retry_max_ms;
    atomic_store(&view->patience_ms, (uint64_t)wait_ms + ATTEMPT_SLACK_MS);
    atomic_store(&view->attempted_ms, clock_monotonic_ms());
}

static void follow_band(struct schedule *schedule, int64_t claimable)
{
    struct sync_view *view = schedule->standing.view;
    schedule->band = band_next(schedule->band, claimable,
                               schedule->rules.threshold_operations);
    atomic_store(&view->mode, (uint32_t)schedule->config->sync_mode);
    atomic_store(&view->band, schedule->band);
    atomic_store(&view->interval_ms, interval_ms(schedule));
    atomic_store(&view->batch_size, schedule->pace.size);
}

/* The last of several does, while the first is at work and room is to be
 * left for urgent ones. */
int64_t schedule_yields_ms(const struct schedule *schedule)
{
    const struct mapping *mapping = schedule->setup.worker->mapping;
    unsigned workers = atomic_load(&mapping->pools[ROLE_SYNC].size);
    bool last = schedule->rules.slot > 0 && schedule->rules.slot + 1 >= workers;
    return last && atomic_load(&schedule->board->views[0].in_pass) != 0
               ? (int64_t)urgency_until_ms(&schedule->urgency,
                                           clock_monotonic_ms())
               : 0;
}

static void gather_facts(struct schedule *schedule,
                         const struct outbox_pending *pending,
                         enum pressure_word word, struct trigger_facts *facts)
{
    int64_t now_ms = schedule_now_ms();
    int64_t claimable = trigger_claimable(pending, now_ms);
    int64_t blocked_ms = schedule->blocked_until_ms;
    int64_t yields_ms = schedule_yields_ms(schedule);
    follow_band(schedule, claimable);
    *facts = (struct trigger_facts){
        .now_ms = now_ms,
        .claimable = claimable,
        .by_kind = {pending->by_kind[KIND_TASKS], pending->by_kind[KIND_ERRORS],
                    pending->by_kind[KIND_CONTEXTS]},
        .urgent_pending = pending->by_priority[0],
        .next_retry_ms = pending->next_retry_ms,
        .periodic_due_ms = schedule->periodic_from_ms + interval_ms(schedule),
        .urgent_since_ms = schedule->urgent_since_ms,
        .blocked_until_ms = yields_ms > blocked_ms ? yields_ms : blocked_ms,
        .unfinished = schedule->unfinished,
        .near_capacity = word != PRESSURE_NONE,
        .paused = schedule->paused,
        .request =
            schedule->rules.slot == 0 && standing_asked(&schedule->standing),
        .drain_wanted = atomic_load(&schedule->board->drain_wanted) != 0,
        .reconnected = drains(schedule),
        .first_in_pass = atomic_load(&schedule->board->views[0].in_pass) != 0,
        .yields = yields_ms != 0};
}

/* At its first look slot 0 connects, so that the state of the line is known
 * and the first urgent operation finds a connection; and it carries what an
 * earlier life of the daemon left, if that is due. */
static void look_first(struct schedule *schedule,
                       const struct outbox_pending *pending)
{
    int64_t now_ms = schedule_now_ms();
    int64_t last_ms =
        atomic_load(&schedule->standing.view->last_success_wall_ms);
    int64_t age_ms = clock_wall_ms() - last_ms;
    schedule->first_look = false;
    if (pending->by_priority[0] > 0 && schedule->urgent_since_ms == 0)
        schedule->urgent_since_ms = now_ms;
    schedule->periodic_from_ms = now_ms;
    if (last_ms != 0 && age_ms >= 0)
        schedule->periodic_from_ms -= age_ms;
    else if (pending->total > 0)
        schedule->periodic_from_ms -= 2 * interval_ms(schedule);
    if (schedule->rules.slot == 0 &&
        schedule->standing.line.state == LINK_UNKNOWN)
        schedule_probe(schedule);
}

/* In a drain another worker's line is down, with what is left in its hands.
 * Then ours tells, once a second, whether the centre is: who waits for the
 * drain looks at slot 0.  True when it probes now. */
static bool look_for_others(struct schedule *schedule,
                            const struct outbox_pending *pending)
{
    bool offline = false;
    if (schedule->rules.slot != 0 || pending->total == 0 ||
        atomic_load(&schedule->board->drain_wanted) == 0)
        return false;
    for (unsigned i = 1; i < SYNC_SLOTS_MAX; i++)
        offline = offline ||
                  line_is_away(atomic_load(&schedule->board->views[i].state));
    uint64_t since_ms = clock_monotonic_ms() - schedule->probed_ms;
    if (!offline || since_ms < TRIGGER_BLOCKED_MS) {
        schedule_look_after(schedule, TRIGGER_BLOCKED_MS);
        return false;
    }
    schedule_probe(schedule);
    return true;
}

/* What would have run does not, for a pool is near capacity. */
static void put_off(struct schedule *schedule, enum trigger trigger,
                    enum pressure_word word)
{
    struct pressure *pressure = &schedule->pressure;
    uint64_t now_ms = clock_monotonic_ms();
    char words[PRESSURE_WORDS_SIZE];
    schedule_attempted(schedule);
    if (word == PRESSURE_ASK) {
        pressure_asked(pressure);
        schedule_probe(schedule);
        return;
    }
    if (word == PRESSURE_NEAR) {
        pressure_defer(pressure, now_ms);
        schedule->pass.deferrals++;
    }
    /* Also while it waits: an urgent one that went well cleared it. */
    standing_error(&schedule->standing, pressure_words(pressure, words));
    if (atomic_load(&schedule->board->drain_wanted) == 0)
        standing_answer(&schedule->standing, schedule->standing.ticket, false);
    int64_t wait_ms = (int64_t)(pressure->retry_at_ms - now_ms);
    standing_next(&schedule->standing, trigger, clock_wall_ms() + wait_ms);
    schedule_look_after(schedule, wait_ms);
}

/* The connection, where one is kept, is checked when it was not used for a
 * while.  True when that is now. */
static bool check_line(struct schedule *schedule)
{
    int64_t rested_ms = (int64_t)(clock_monotonic_ms() - schedule->contact_ms);
    int64_t due_ms = schedule->config->database_pool_check_ms - rested_ms;
    if (schedule->paused || !gate_is_kept(schedule->setup.sink))
        return false;
    if (due_ms <= 0) {
        schedule_probe(schedule);
        return true;
    }
    schedule_look_after(schedule, due_ms);
    return false;
}

static void show_nearest(struct schedule *schedule,
                         const struct trigger_facts *facts)
{
    struct sync_view *view = schedule->standing.view;
    struct trigger_nearest nearest = trigger_nearest(&schedule->rules, facts);
    atomic_store(&view->nearest_kind, nearest.kind);
    atomic_store(&view->nearest_pending, nearest.pending);
    atomic_store(&view->nearest_threshold, nearest.threshold);
}

/* Nothing runs now: says what comes next, and looks then. */
static void wait_for_plan(struct schedule *schedule,
                          const struct trigger_plan *plan, int64_t now_ms)
{
    int64_t delay_ms = plan->next_ms - now_ms;
    standing_next(&schedule->standing, plan->next,
                  plan->next_ms == 0 ? 0 : clock_wall_ms() + delay_ms);
    if (plan->next_ms != 0)
        schedule_look_after(schedule, delay_ms);
}

static void look_at_outbox(struct schedule *schedule)
{
    enum pressure_word word;
    struct outbox_pending pending;
    struct trigger_facts facts;
    struct trigger_plan plan;
    if (schedule_read_pending(schedule, &pending) != 0) {
        schedule_look_after(schedule, PIPELINE_TROUBLE_MAX_MS);
        return;
    }
    if (schedule->first_look)
        look_first(schedule, &pending);
    if (schedule->probing)
        return;
    if (pending.by_priority[0] == 0)
        schedule->urgent_since_ms = 0; /* it went with an earlier pass */
    word = pressure_look(&schedule->pressure, clock_monotonic_ms());
    gather_facts(schedule, &pending, word, &facts);
    /* What other workers have in flight is not carried yet: until it is, a
     * drain is not over, and what they leave is still ours. */
    bool over = pending.total <= pending.waiting && facts.claimable == 0;
    if (over) {
        schedule->unfinished = TRIGGER_NONE;
        schedule_attempted(schedule);
    }
    if (schedule->rules.slot == 0 && pending.total == 0)
        atomic_store(&schedule->board->drain_wanted, 0);
    if (facts.reconnected && over) {
        standing_line(&schedule->standing, LINE_DRAINED,
                      "nothing is left to carry");
        facts.reconnected = false;
    }
    show_nearest(schedule, &facts);
    trigger_decide(&schedule->rules, &facts, &plan);
    if (plan.trigger != TRIGGER_NONE) {
        schedule_start_pass(schedule, &plan, facts.claimable);
        return;
    }
    if (look_for_others(schedule, &pending))
        return;
    if (plan.deferred != TRIGGER_NONE) {
        put_off(schedule, plan.deferred, word);
        return;
    }
    if (check_line(schedule))
        return;
    wait_for_plan(schedule, &plan, facts.now_ms);
    /* A settlement wakes us, too; this is for a notice that was lost. */
    if (!over && (facts.reconnected || schedule->unfinished != TRIGGER_NONE))
        schedule_look_after(schedule, TRIGGER_BLOCKED_MS);
}

static void look(struct schedule *schedule)
{
    schedule_forget_look(schedule);
    schedule->looked_ms = clock_monotonic_ms();
    if (schedule->leaving || schedule->probing ||
        !pipeline_ready(schedule->pipeline))
        return;
    if (schedule->paused) {
        standing_answer(&schedule->standing, schedule->standing.ticket, false);
        standing_next(&schedule->standing, TRIGGER_NONE, 0);
    } else if (pipeline_held(schedule->pipeline) ||
               line_is_away(schedule->standing.line.state)) {
        look_at_line(schedule);
    } else if (!pipeline_busy(schedule->pipeline) && !adopt_leavers(schedule) &&
               !schedule_inspect(schedule)) {
        look_at_outbox(schedule);
    }
}

static int call_store(void *store, const struct store_request *request,
                      store_link_answer answer, void *self, struct error *error)
{
    return store_link_call(store, request, answer, self, error);
}

/* --- from outside --- */

static int make_parts(struct schedule *schedule, struct error *error)
{
    struct pipeline_setup setup = {.base = schedule->setup.base,
                                   .hooks = &schedule_pipeline_hooks,
                                   .self = schedule,
                                   .call = call_store,
                                   .store = schedule->setup.link,
                                   .sink_methods = schedule->setup.sink_methods,
                                   .sink = schedule->setup.sink,
                                   .terms = &schedule->terms,
                                   .memory_max = BATCH_MEMORY_MAX};
    schedule->look_timer =
        evtimer_new(schedule->setup.base, look_timed, schedule);
    schedule->leave_timer =
        evtimer_new(schedule->setup.base, leave_timed, schedule);
    if (schedule->look_timer == NULL || schedule->leave_timer == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for timers");
    schedule->pipeline = pipeline_new(&setup, error);
    return schedule->pipeline != NULL ? 0 : -1;
}

struct schedule *schedule_new(const struct schedule_setup *setup,
                              struct error *error)
{
    const struct worker *worker = setup->worker;
    const struct config *config = worker->config;
    struct schedule *schedule = calloc(1, sizeof(*schedule));
    if (schedule == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for the schedule");
        return NULL;
    }
    schedule->setup = *setup;
    schedule->config = config;
    schedule->pass.figures = &schedule->figures;
    schedule->board = &worker->mapping->sync;
    schedule->first_look = true;
    schedule->random = clock_monotonic_ns() ^ ((uint64_t)worker->spawn << 40);
    schedule->spread = jitter_next(&schedule->random);
    trigger_rules_init(&schedule->rules, config, worker->slot);
    pace_init(&schedule->pace, schedule->rules.batch_min,
              schedule->rules.batch_max, schedule->rules.adaptive);
    standing_init(&schedule->standing, worker, jitter_next(&schedule->random));
    schedule->terms =
        (struct batch_terms){.slot = worker->slot,
                             .spawn = worker->spawn,
                             .trigger = TRIGGER_RECONNECT,
                             .max_retries = config->sync_max_retries,
                             .retry_base_ms = config->sync_retry_base_ms,
                             .retry_max_ms = config->sync_retry_max_ms,
                             .random = &schedule->random};
    pressure_init(&schedule->pressure, config, &worker->mapping->budget,
                  schedule->standing.view, worker->board_index,
                  &schedule->random);
    if (make_parts(schedule, error) != 0)
        schedule_free(&schedule);
    return schedule;
}

void schedule_free(struct schedule **schedule)
{
    if (*schedule == NULL)
        return;
    atomic_store(&(*schedule)->standing.view->in_pass, 0);
    schedule_need_no_help(*schedule);
    if ((*schedule)->rules.slot > 0) /* there may be no successor */
        atomic_store(&(*schedule)->standing.view->state, LINK_UNKNOWN);
    pipeline_free(&(*schedule)->pipeline);
    figures_deinit(&(*schedule)->figures);
    if ((*schedule)->look_timer != NULL)
        event_free((*schedule)->look_timer);
    if ((*schedule)->leave_timer != NULL)
        event_free((*schedule)->leave_timer);
    free(*schedule);
    *schedule = NULL;
}

void schedule_connected(struct schedule *schedule)
{
    schedule->pool_size = pool_size(schedule, &schedule->terms.last_spawn);
    pipeline_connected(schedule->pipeline, schedule->pool_size);
}

void schedule_lost(struct schedule *schedule)
{
    pipeline_lost(schedule->pipeline);
    schedule_leave_if_over(schedule);
}

void schedule_notified(struct schedule *schedule, uint32_t topics)
{
    bool urgent = (topics & TOPIC_URGENT) != 0 && schedule->rules.urgent;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t rest_ms = SCHEDULE_LOOK_MS;
    if (topics & TOPIC_SETTLED)
        schedule->blocked_until_ms = 0;
    if (urgent)
        urgency_news(&schedule->urgency, now_ms);
    if (urgent && schedule->urgent_since_ms == 0)
        schedule->urgent_since_ms = schedule_now_ms();
    if (schedule->rules.slot > 0)
        rest_ms = !urgent ? SCHEDULE_LOOK_HIGHER_MS
                  : schedule_yields_ms(schedule) != 0
                      ? 0
                      : TRIGGER_URGENT_GRACE_MS * schedule->rules.slot;
    if (urgent && schedule->rules.slot == 0 && schedule->pass.active) {
        pipeline_express(schedule->pipeline);
        schedule_need_help(schedule, now_ms + TRIGGER_URGENT_GRACE_MS);
    }
    /* While something is on its way its end looks anyway. */
    if (pipeline_busy(schedule->pipeline) || schedule->probing)
        return;
    if (schedule->rules.slot > 0)
        schedule_look_after(schedule, (int64_t)rest_ms);
    else if (urgent || now_ms - schedule->looked_ms >= rest_ms)
        look(schedule);
    else
        schedule_look_after(schedule,
                            (int64_t)(schedule->looked_ms + rest_ms - now_ms));
}

void schedule_line_changed(struct schedule *schedule, bool cut)
{
    line_hurry(&schedule->standing.line);
    /* A line at rest learns here that it is cut. */
    if (cut && !schedule->probing && !pipeline_busy(schedule->pipeline) &&
        !line_is_away(schedule->standing.line.state))
        schedule_probe(schedule);
    else
        look(schedule);
}

void schedule_pause(struct schedule *schedule, bool paused)
{
    atomic_store(&schedule->board->paused, paused);
    if (paused == schedule->paused)
        return;
    schedule->paused = paused;
    log_notice(paused ? "sync is paused" : "sync goes on");
    if (paused) {
        pipeline_hold(schedule->pipeline);
        standing_answer(&schedule->standing, schedule->standing.ticket, false);
        standing_next(&schedule->standing, TRIGGER_NONE, 0);
    } else if (!line_is_away(schedule->standing.line.state) &&
               !line_waits(&schedule->standing.line, clock_monotonic_ms())) {
        schedule_resume_held(schedule);
    }
    schedule_look_after(schedule, 0);
}

void schedule_request(struct schedule *schedule, uint64_t ticket)
{
    if (schedule->rules.slot == 0 && ticket > schedule->standing.ticket)
        schedule->standing.ticket = ticket;
    schedule->blocked_until_ms = 0;
    look(schedule);
}

void schedule_drain(struct schedule *schedule, uint64_t bound_ms)
{
    schedule->leaving = true;
    pipeline_close(schedule->pipeline);
    /* A tenth is left for leaving. */
    uint64_t wait_ms = bound_ms - bound_ms / 10;
    struct timeval delay = clock_span((int64_t)wait_ms);
    event_add(schedule->leave_timer, &delay);
    schedule_leave_if_over(schedule);
}
