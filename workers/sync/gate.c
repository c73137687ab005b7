/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/gate.h"

#include <event2/event.h>
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
    struct event *turn_timer; /* for a waiting or failed call */
    struct event *rest_timer; /* for a connection that rests */
    uint64_t random;
    bool open;
    uint64_t rests_ms;   /* monotonic: unused since */
    uint64_t expires_ms; /* monotonic: the end of its lifetime */
    enum call_state call;
    const struct sink_batch *batch; /* NULL: a probe */
    uint64_t give_up_ms;
    struct sink_result failed;
    sink_done done;
    void *self;
};

static void timer_start(struct event *timer, int64_t ms)
{
    struct timeval wait = {.tv_sec = ms / 1000,
                           .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    event_add(timer, &wait);
}

static int64_t cut_left_ms(const struct sink *gate)
{
    uint64_t until_ms = atomic_load(&gate->board->cut_until_ms);
    uint64_t now_ms = clock_monotonic_ms();
    return until_ms > now_ms ? (int64_t)(until_ms - now_ms) : 0;
}

/* --- the connection --- */

static void line_close(struct sink *gate)
{
    gate->methods->rest(gate->inner);
    gate->open = false;
    budget_give_back(gate->budget, gate->holder);
    event_del(gate->rest_timer);
}

static void line_use(struct sink *gate)
{
    uint64_t now_ms = clock_monotonic_ms();
    event_del(gate->rest_timer);
    if (gate->open && now_ms >= gate->expires_ms) {
        gate->methods->rest(gate->inner);
        gate->open = false;
    }
    if (gate->open)
        return;
    uint64_t lifetime_ms = (uint64_t)gate->config->database_pool_lifetime_ms;
    gate->expires_ms = now_ms + lifetime_ms -
                       jitter_next(&gate->random) % (lifetime_ms / 10 + 1);
    gate->open = true;
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
    if (!gate->open || gate->call != CALL_NONE)
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

/* --- the call --- */

static void fail_soon(struct sink *gate, enum sink_outcome outcome)
{
    gate->failed.outcome = outcome;
    gate->call = CALL_FAILED;
    timer_start(gate->turn_timer, 0);
}

static void refuse_cut(struct sink *gate)
{
    memset(&gate->failed, 0, sizeof(gate->failed));
    error_set(&gate->failed.error, ERROR_TRY_AGAIN,
              "the line is cut by 'tidemill test offline'");
    fail_soon(gate, SINK_DOWN);
}

static void refuse_busy(struct sink *gate)
{
    memset(&gate->failed, 0, sizeof(gate->failed));
    error_set(&gate->failed.error, ERROR_TRY_AGAIN,
              "none of this host's %lld connections was free for %lld ms "
              "(database.pool.max)",
              (long long)gate->config->database_pool_max,
              (long long)gate->config->database_pool_acquire_ms);
    fail_soon(gate, SINK_BUSY);
}

static void answered(void *self, const struct sink_result *result)
{
    struct sink *gate = self;
    gate->call = CALL_NONE;
    if (result->server_limit > 0)
        budget_sample(gate->budget, result->server_connections,
                      result->server_limit, clock_monotonic_ms());
    if (result->outcome == SINK_DOWN || result->outcome == SINK_BUSY)
        line_close(gate);
    else
        line_rests(gate);
    gate->done(gate->self, result);
}

static void forward(struct sink *gate)
{
    gate->call = CALL_UNDER_WAY;
    line_use(gate);
    if (gate->batch != NULL)
        gate->methods->apply(gate->inner, gate->batch, answered, gate);
    else
        gate->methods->probe(gate->inner, answered, gate);
}

static void try_to_pass(struct sink *gate)
{
    if (cut_left_ms(gate) > 0)
        refuse_cut(gate);
    else if (!gate->methods->takes_connection ||
             budget_take(gate->budget, gate->holder,
                         gate->config->database_pool_max))
        forward(gate);
    else if (clock_monotonic_ms() >= gate->give_up_ms)
        refuse_busy(gate);
    else
        timer_start(gate->turn_timer,
                    GATE_LOOK_MS / 2 +
                        (int64_t)(jitter_next(&gate->random) % GATE_LOOK_MS));
}

static void take_turn(evutil_socket_t fd, short what, void *self)
{
    struct sink *gate = self;
    (void)fd, (void)what;
    if (gate->call == CALL_WAITING) {
        try_to_pass(gate);
    } else if (gate->call == CALL_FAILED) {
        struct sink_result failed = gate->failed;
        gate->call = CALL_NONE;
        line_close(gate);
        gate->done(gate->self, &failed);
    }
}

static void gate_apply(struct sink *gate, const struct sink_batch *batch,
                       sink_done done, void *self)
{
    gate->batch = batch;
    gate->done = done;
    gate->self = self;
    gate->call = CALL_WAITING;
    gate->give_up_ms =
        clock_monotonic_ms() + (uint64_t)gate->config->database_pool_acquire_ms;
    try_to_pass(gate);
}

static void gate_probe(struct sink *gate, sink_done done, void *self)
{
    gate_apply(gate, NULL, done, self);
}

static void gate_rest(struct sink *gate)
{
    event_del(gate->turn_timer);
    gate->call = CALL_NONE;
    line_close(gate);
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

void gate_look(struct sink *gate)
{
    if (cut_left_ms(gate) == 0)
        return;
    if (gate->call == CALL_WAITING || gate->call == CALL_UNDER_WAY) {
        gate->methods->rest(gate->inner);
        refuse_cut(gate);
    } else if (gate->call == CALL_NONE && gate->open) {
        line_close(gate);
    }
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
    gate->shared = config->sync_max_workers > config->database_pool_max;
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
    .apply = gate_apply,
    .probe = gate_probe,
    .rest = gate_rest,
    .close = gate_close,
};
