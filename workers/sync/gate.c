/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/gate.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/shm/mapping.h"
#include "workers/sync/backoff.h"

enum call_state {
    CALL_NONE,
    CALL_WAITING,   /* for a token */
    CALL_UNDER_WAY, /* at the sink */
    CALL_FAILED,    /* is told from the loop */
};

enum call_kind { CALL_APPLY, CALL_PROBE, CALL_INSPECT };

struct call {
    struct sink *gate;
    enum call_state state;
    enum call_kind kind;
    const struct sink_batch *batch;
    int64_t run;
    uint64_t give_up_ms;
    struct sink_result failed;
    sink_done done;
    void *self;
};

/* The gate is a struct sink of its own kind. */
struct sink {
    const struct config *config;
    unsigned holder; /* in the budget */
    bool kept;       /* one of the connections that stay open */
    bool shared;     /* there are more workers than tokens */
    struct budget *budget;
    struct sync_board *board;
    const struct sink_methods *methods;
    struct sink *inner;
    struct event *turn_timer; /* for waiting and failed calls */
    struct event *rest_timer; /* for a connection that rests */
    uint64_t random;
    bool open;
    uint64_t rests_ms;   /* monotonic: unused since */
    uint64_t expires_ms; /* monotonic: the end of its lifetime */
    struct call calls[SINK_DEPTH_MAX];
};

static void timer_start(struct event *timer, int64_t ms)
{
    struct timeval wait = clock_span(ms);
    event_add(timer, &wait);
}

static bool is_cut(const struct sink *gate)
{
    return clock_monotonic_ms() < atomic_load(&gate->board->cut_until_ms);
}

static unsigned calls_in(const struct sink *gate, enum call_state state)
{
    unsigned count = 0;
    for (size_t i = 0; i < SINK_DEPTH_MAX; i++)
        count += gate->calls[i].state == state;
    return count;
}

/* --- the connection --- */

static void line_closed(struct sink *gate)
{
    gate->open = false;
    metric_set(METRIC_SYNC_CONNECTIONS, 0);
    budget_give_back(gate->budget, gate->holder);
    event_del(gate->rest_timer);
}

static void line_close(struct sink *gate)
{
    gate->methods->rest(gate->inner);
    line_closed(gate);
}

static bool is_expired(const struct sink *gate)
{
    return gate->open && clock_monotonic_ms() >= gate->expires_ms;
}

static void line_use(struct sink *gate)
{
    event_del(gate->rest_timer);
    if (calls_in(gate, CALL_UNDER_WAY) == 0 && is_expired(gate)) {
        gate->methods->rest(gate->inner);
        gate->open = false;
    }
    if (gate->open)
        return;
    uint64_t lifetime_ms = (uint64_t)gate->config->database_pool_lifetime_ms;
    gate->expires_ms = clock_monotonic_ms() + lifetime_ms -
                       jitter_next(&gate->random) % (lifetime_ms / 10 + 1);
    gate->open = true;
    metric_set(METRIC_SYNC_CONNECTIONS, gate->methods->takes_connection);
}

static void look_at_rest_later(struct sink *gate)
{
    int64_t idle_ms = gate->config->database_pool_idle_ms;
    int64_t rested_ms = (int64_t)(clock_monotonic_ms() - gate->rests_ms);
    int64_t delay_ms = idle_ms > rested_ms ? idle_ms - rested_ms : 0;
    if (gate->shared && (gate->kept || delay_ms > GATE_WANTED_MS))
        delay_ms = GATE_WANTED_MS;
    else if (gate->kept)
        return;
    timer_start(gate->rest_timer, delay_ms);
}

static void look_at_rest(evutil_socket_t fd, short what, void *self)
{
    struct sink *gate = self;
    uint64_t rested_ms = clock_monotonic_ms() - gate->rests_ms;
    (void)fd, (void)what;
    if (!gate->open || calls_in(gate, CALL_UNDER_WAY) > 0)
        return;
    if (budget_is_wanted(gate->budget) ||
        (!gate->kept &&
         rested_ms >= (uint64_t)gate->config->database_pool_idle_ms))
        line_close(gate);
    else
        look_at_rest_later(gate);
}

static void line_rests(struct sink *gate)
{
    gate->rests_ms = clock_monotonic_ms();
    budget_rest(gate->budget, gate->holder);
    if (gate->methods->takes_connection)
        look_at_rest_later(gate);
}

/* --- the calls --- */

static void refuse(struct call *call, enum sink_outcome outcome,
                   const char *words)
{
    memset(&call->failed, 0, sizeof(call->failed));
    call->failed.outcome = outcome;
    error_set(&call->failed.error, ERROR_TRY_AGAIN, "%s", words);
    call->state = CALL_FAILED;
    timer_start(call->gate->turn_timer, 0);
}

static void refuse_cut(struct call *call)
{
    refuse(call, SINK_DOWN, "the line is cut by 'tidemill test offline'");
}

static void refuse_busy(struct call *call)
{
    char words[200];
    const struct config *config = call->gate->config;
    snprintf(words, sizeof(words),
             "none of this host's %lld connections was free for %lld ms "
             "(database.pool.max)",
             (long long)config->database_pool_max,
             (long long)config->database_pool_acquire_ms);
    refuse(call, SINK_BUSY, words);
}

static void answered(void *self, const struct sink_result *result)
{
    struct call *call = self;
    struct sink *gate = call->gate;
    call->state = CALL_NONE;
    if (result->server_limit > 0)
        budget_sample(gate->budget, result->server_connections,
                      result->server_limit, clock_monotonic_ms());
    /* A line that is down was closed by the sink, for all of its calls. */
    if (result->outcome == SINK_DOWN || result->outcome == SINK_BUSY)
        gate->open = false;
    if (calls_in(gate, CALL_UNDER_WAY) == 0) {
        if (gate->open)
            line_rests(gate);
        else
            line_closed(gate);
    }
    call->done(call->self, result);
}

static void forward(struct call *call)
{
    struct sink *gate = call->gate;
    line_use(gate);
    call->state = CALL_UNDER_WAY;
    if (call->kind == CALL_APPLY)
        gate->methods->apply(gate->inner, call->batch, answered, call);
    else if (call->kind == CALL_PROBE)
        gate->methods->probe(gate->inner, answered, call);
    else
        gate->methods->inspect(gate->inner, call->run, answered, call);
}

static void try_to_pass(struct call *call)
{
    struct sink *gate = call->gate;
    if (is_cut(gate))
        refuse_cut(call);
    else if (!gate->methods->takes_connection ||
             budget_take(gate->budget, gate->holder,
                         gate->config->database_pool_max))
        forward(call);
    else if (clock_monotonic_ms() >= call->give_up_ms)
        refuse_busy(call);
    else
        timer_start(gate->turn_timer,
                    GATE_LOOK_MS / 2 +
                        (int64_t)(jitter_next(&gate->random) % GATE_LOOK_MS));
}

static void take_turn(evutil_socket_t fd, short what, void *self)
{
    struct sink *gate = self;
    (void)fd, (void)what;
    for (size_t i = 0; i < SINK_DEPTH_MAX; i++) {
        struct call *call = &gate->calls[i];
        if (call->state == CALL_WAITING) {
            try_to_pass(call);
        } else if (call->state == CALL_FAILED) {
            struct sink_result failed = call->failed;
            call->state = CALL_NONE;
            call->done(call->self, &failed);
        }
    }
}

static void call_start(struct sink *gate, const struct call *asked)
{
    struct call *call = gate->calls;
    while (call->state != CALL_NONE) /* depth bounds them */
        call++;
    *call = *asked;
    call->gate = gate;
    call->state = CALL_WAITING;
    call->give_up_ms =
        clock_monotonic_ms() + (uint64_t)gate->config->database_pool_acquire_ms;
    try_to_pass(call);
}

/* --- the methods --- */

/* A connection past its lifetime takes no more: it is renewed when all that
 * is under way was answered. */
static unsigned gate_depth(struct sink *gate)
{
    if (gate->methods->depth == NULL || is_expired(gate))
        return 1;
    return gate->methods->depth(gate->inner);
}

static void gate_apply(struct sink *gate, const struct sink_batch *batch,
                       sink_done done, void *self)
{
    call_start(gate, &(struct call){.kind = CALL_APPLY,
                                    .batch = batch,
                                    .done = done,
                                    .self = self});
}

static void gate_probe(struct sink *gate, sink_done done, void *self)
{
    call_start(gate,
               &(struct call){.kind = CALL_PROBE, .done = done, .self = self});
}

static void gate_inspect(struct sink *gate, int64_t run, sink_done done,
                         void *self)
{
    struct call call = {
        .kind = CALL_INSPECT, .run = run, .done = done, .self = self};
    call_start(gate, &call);
}

static void gate_rest(struct sink *gate)
{
    event_del(gate->turn_timer);
    for (size_t i = 0; i < SINK_DEPTH_MAX; i++)
        gate->calls[i].state = CALL_NONE;
    line_close(gate);
}

static void gate_watch(struct sink *gate, const struct sink_watch *watch)
{
    if (gate->methods->watch != NULL)
        gate->methods->watch(gate->inner, watch);
}

static void gate_close(struct sink *gate)
{
    if (gate == NULL)
        return;
    if (gate->inner != NULL) {
        budget_give_back(gate->budget, gate->holder);
        gate->methods->close(gate->inner);
    }
    if (gate->turn_timer != NULL)
        event_free(gate->turn_timer);
    if (gate->rest_timer != NULL)
        event_free(gate->rest_timer);
    free(gate);
}

bool gate_look(struct sink *gate)
{
    if (!is_cut(gate))
        return false;
    if (gate->open || calls_in(gate, CALL_UNDER_WAY) > 0)
        line_close(gate);
    for (size_t i = 0; i < SINK_DEPTH_MAX; i++) {
        struct call *call = &gate->calls[i];
        if (call->state == CALL_WAITING || call->state == CALL_UNDER_WAY)
            refuse_cut(call);
    }
    return true;
}

bool gate_can_inspect(const struct sink *gate)
{
    return gate->methods->inspect != NULL;
}

bool gate_is_kept(const struct sink *gate)
{
    return gate->methods->takes_connection && (gate->kept || gate->open);
}

struct sink *gate_open(const struct worker *worker, struct event_base *base,
                       const struct sink_methods *methods, struct error *error)
{
    const struct config *config = worker->config;
    struct sink *gate = calloc(1, sizeof(*gate));
    if (gate == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for the line");
        return NULL;
    }
    gate->config = config;
    gate->holder = worker->board_index;
    gate->kept = worker->slot < config->database_pool_min;
    gate->shared = config->sync_max_workers +
                       (config->generation_source == GENERATION_CENTRAL) >
                   config->database_pool_max;
    gate->budget = &worker->mapping->budget;
    gate->board = &worker->mapping->sync;
    gate->methods = methods;
    gate->random = clock_monotonic_ns() ^ ((uint64_t)worker->spawn << 32);
    gate->turn_timer = event_new(base, -1, 0, take_turn, gate);
    gate->rest_timer = event_new(base, -1, 0, look_at_rest, gate);
    if (gate->turn_timer == NULL || gate->rest_timer == NULL)
        error_set(error, ERROR_SYSTEM, "no memory for timers");
    else if ((gate->inner = methods->open(config, base, error)) != NULL)
        return gate;
    gate_close(gate);
    return NULL;
}

const struct sink_methods gate_methods = {
    .name = "gate",
    .depth = gate_depth,
    .apply = gate_apply,
    .probe = gate_probe,
    .inspect = gate_inspect,
    .rest = gate_rest,
    .watch = gate_watch,
    .close = gate_close,
};
