/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pipeline.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/crash_point.h"
#include "common/base/log.h"
#include "workers/sync/backoff.h"

/* Adoption, a lone claim or settlement for each place, and words in
 * between: more is never under way. */
#define EXCHANGES_MAX (PIPELINE_PLACES + 6)

#define ADOPT_ARENA_MAX ((size_t)4 << 20)

/* Where a batch is, and whether a claim for it is under way. */
struct place {
    struct batch batch;
    bool claiming;
    size_t asked; /* by that claim */
};

/* A request to the store that is not answered yet. */
struct exchange {
    struct pipeline *pipeline; /* NULL: not in use */
    struct place *place;       /* that it settles or claims for */
    bool adopts, settles, claims;
};

struct pipeline {
    struct pipeline_setup setup;
    struct store_reader *reader;
    struct place places[PIPELINE_PLACES];
    struct place *sent; /* at the sink, as sink_batch */
    struct sink_batch sink_batch;
    struct exchange exchanges[EXCHANGES_MAX];
    struct arena adopt_arena;
    struct outbox_batch *adopted;
    size_t adopted_count, adopted_next;
    uint64_t orders;
    unsigned pool_size;
    bool connected; /* the link stands */
    bool ready;     /* and the adoption is done */
    bool held, closing, broken, troubled;
    bool starved; /* a claim found all lanes with something in our batches */
    bool active;  /* rested is owed */
    bool turning, again; /* pipeline_turn is not entered twice */
    struct event *trouble_timer;
    unsigned troubles; /* in a row */
    uint64_t random;
};

static void pipeline_turn(struct pipeline *pipeline);

/* --- trouble with the store --- */

static void trouble_over(evutil_socket_t fd, short what, void *self)
{
    struct pipeline *pipeline = self;
    (void)fd;
    (void)what;
    pipeline->troubled = false;
    if (pipeline->connected && !pipeline->ready)
        pipeline_adopt(pipeline, pipeline->pool_size);
    pipeline_turn(pipeline);
}

static void have_trouble(struct pipeline *pipeline, const struct error *error)
{
    if (pipeline->troubled)
        return;
    pipeline->troubled = true;
    pipeline->troubles++;
    int64_t delay_ms =
        backoff_delay_ms(PIPELINE_TROUBLE_BASE_MS, PIPELINE_TROUBLE_MAX_MS,
                         pipeline->troubles, jitter_next(&pipeline->random));
    struct timeval delay = {.tv_sec = delay_ms / 1000,
                            .tv_usec = delay_ms % 1000 * 1000};
    event_add(pipeline->trouble_timer, &delay);
    pipeline->setup.hooks->trouble(pipeline->setup.self, error);
}

static void break_off(struct pipeline *pipeline, const struct error *error)
{
    if (pipeline->broken)
        return;
    pipeline->broken = true;
    pipeline->setup.hooks->broken(pipeline->setup.self, error);
}

/* May requests and reads be made now? */
static bool store_usable(const struct pipeline *pipeline)
{
    return pipeline->ready && !pipeline->troubled && !pipeline->broken;
}

/* --- exchanges --- */

static void take_answer(void *self, const struct store_answer *answer);

static struct exchange *exchange_new(struct pipeline *pipeline)
{
    for (size_t i = 0; i < EXCHANGES_MAX; i++)
        if (pipeline->exchanges[i].pipeline == NULL) {
            pipeline->exchanges[i] = (struct exchange){.pipeline = pipeline};
            return &pipeline->exchanges[i];
        }
    return NULL;
}

static int exchange_start(struct exchange *exchange, struct store_call *calls,
                          size_t call_count)
{
    struct pipeline *pipeline = exchange->pipeline;
    struct store_request request = {.calls = calls, .call_count = call_count};
    struct error error;
    if (pipeline->setup.call(pipeline->setup.store, &request, take_answer,
                             exchange, &error) == 0)
        return 0;
    exchange->pipeline = NULL;
    have_trouble(pipeline, &error);
    return -1;
}

static void fill_claim(const struct pipeline *pipeline, struct store_call *call,
                       size_t size, unsigned least_important)
{
    const struct batch_terms *terms = pipeline->setup.terms;
    *call = (struct store_call){.statement = STATEMENT_BATCH_CLAIM,
                                .argument_count = 5,
                                .arguments = {value_integer(terms->slot),
                                              value_integer(terms->spawn),
                                              value_integer((int64_t)size),
                                              value_integer(least_important),
                                              value_integer(clock_wall_ms())}};
}

/* --- adoption --- */

void pipeline_adopt(struct pipeline *pipeline, unsigned pool_size)
{
    const struct batch_terms *terms = pipeline->setup.terms;
    pipeline->pool_size = pool_size;
    if (!pipeline->connected || pipeline->troubled || pipeline->broken)
        return;
    struct exchange *exchange = exchange_new(pipeline);
    if (exchange == NULL)
        return;
    exchange->adopts = true;
    /* What we claimed ourselves is in the answer too: a claim whose answer
     * was lost is found by that. */
    struct store_call call = {.statement = STATEMENT_BATCH_ADOPT,
                              .argument_count = 3,
                              .arguments = {value_integer(terms->slot),
                                            value_integer(terms->spawn),
                                            value_integer(pool_size)}};
    pipeline->ready = false;
    exchange_start(exchange, &call, 1);
    CRASH_POINT(ADOPT_ASKED);
}

static bool is_listed(const struct outbox_batch *list, size_t count,
                      int64_t batch_id)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].batch_id == batch_id)
            return true;
    return false;
}

static bool is_held(const struct pipeline *pipeline, int64_t batch_id)
{
    for (size_t i = 0; i < PIPELINE_PLACES; i++) {
        const struct batch *batch = &pipeline->places[i].batch;
        if (batch->state != BATCH_FREE && batch->source.batch_id == batch_id)
            return true;
    }
    return false;
}

static void take_adopted(struct pipeline *pipeline,
                         const struct store_result *result)
{
    struct outbox_batch *list;
    size_t count;
    struct error error;
    arena_reset(&pipeline->adopt_arena);
    pipeline->adopted_count = pipeline->adopted_next = 0;
    if (outbox_batches_parse(result, &pipeline->adopt_arena, &list, &count,
                             &error) != 0) {
        break_off(pipeline, &error);
        return;
    }
    for (size_t i = 0; i < PIPELINE_PLACES; i++) {
        struct batch *batch = &pipeline->places[i].batch;
        /* One at the sink finishes there first; settling it is then refused
         * and ends this worker, which is right for a batch that the store
         * has lost. */
        if (batch->state != BATCH_FREE && batch->state != BATCH_SENT &&
            !is_listed(list, count, batch->source.batch_id)) {
            pipeline->setup.hooks->settled(pipeline->setup.self, batch);
            batch_free(batch);
        }
    }
    pipeline->adopted = list;
    for (size_t i = 0; i < count; i++)
        if (!is_held(pipeline, list[i].batch_id))
            list[pipeline->adopted_count++] = list[i];
    if (pipeline->adopted_count > 0)
        log_notice("%zu batches in flight are taken up again",
                   pipeline->adopted_count);
    pipeline->ready = true;
    pipeline->reader = pipeline->setup.hooks->ready(
        pipeline->setup.self, pipeline->adopted_count, &error);
    if (pipeline->reader == NULL) {
        pipeline->ready = false;
        have_trouble(pipeline, &error);
    }
}

/* --- answers --- */

static bool others_busy(const struct pipeline *pipeline,
                        const struct place *except)
{
    for (size_t i = 0; i < PIPELINE_PLACES; i++) {
        const struct place *place = &pipeline->places[i];
        if (place != except &&
            (place->claiming || place->batch.state != BATCH_FREE))
            return true;
    }
    return false;
}

static void take_claim(struct pipeline *pipeline, struct place *place,
                       const struct store_result *result)
{
    struct arena arena;
    struct outbox_batch *list;
    size_t count;
    struct error error;
    arena_init(&arena, ADOPT_ARENA_MAX);
    if (outbox_batches_parse(result, &arena, &list, &count, &error) != 0 ||
        (count > 0 && batch_take(&place->batch, &list[0], pipeline->orders++,
                                 &error) != 0)) {
        break_off(pipeline, &error);
        count = 0;
    }
    size_t got = count > 0 ? list[0].operation_estimate : 0;
    arena_deinit(&arena);
    if (pipeline->broken)
        return;
    pipeline->starved = got == 0 && others_busy(pipeline, NULL);
    if (!pipeline->starved)
        pipeline->setup.hooks->claimed(pipeline->setup.self, got);
}

/* Errors of the store that pass. */
static bool passes(enum error_code code)
{
    return code == ERROR_TRY_AGAIN || code == ERROR_FULL || code == ERROR_IO ||
           code == ERROR_SYSTEM;
}

static void take_refusal(struct pipeline *pipeline,
                         const struct exchange *exchange,
                         const struct store_answer *answer)
{
    struct error error;
    error_set(&error, answer->code, "the local store: %s", answer->text);
    if (exchange->settles)
        batch_unsettled(&exchange->place->batch);
    if (!exchange->adopts && !exchange->settles && !exchange->claims) {
        log_warning("%s", error.text);
        return;
    }
    if (passes(answer->code))
        have_trouble(pipeline, &error);
    else
        break_off(pipeline, &error);
}

static void take_answer(void *self, const struct store_answer *answer)
{
    struct exchange exchange = *(struct exchange *)self;
    struct pipeline *pipeline = exchange.pipeline;
    ((struct exchange *)self)->pipeline = NULL;
    if (exchange.claims)
        exchange.place->claiming = false;
    if (answer->code != ERROR_NONE) {
        take_refusal(pipeline, &exchange, answer);
    } else {
        pipeline->troubles = 0;
        if (exchange.adopts) {
            CRASH_POINT(ADOPT_ANSWERED);
            take_adopted(pipeline, &answer->results[answer->result_count - 1]);
        }
        if (exchange.settles) {
            CRASH_POINT(SETTLE_ANSWERED);
            /* A claim sent before the settlement may have said so since. */
            pipeline->starved = false;
            pipeline->setup.hooks->settled(pipeline->setup.self,
                                           &exchange.place->batch);
            batch_free(&exchange.place->batch);
        }
        if (exchange.claims) {
            CRASH_POINT(CLAIM_ANSWERED);
            take_claim(pipeline, exchange.place,
                       &answer->results[answer->result_count - 1]);
        }
    }
    pipeline_turn(pipeline);
}

/* --- what can be done now --- */

static bool adopted_left(const struct pipeline *pipeline)
{
    return pipeline->adopted_next < pipeline->adopted_count;
}

static size_t claim_size(struct pipeline *pipeline, const struct place *place,
                         unsigned *least_important)
{
    bool starved = pipeline->starved && others_busy(pipeline, NULL);
    if (pipeline->held || pipeline->closing || starved ||
        adopted_left(pipeline))
        return 0;
    size_t asked = 0;
    for (size_t i = 0; i < PIPELINE_PLACES; i++)
        if (pipeline->places[i].claiming)
            asked += pipeline->places[i].asked;
    return pipeline->setup.hooks->claim_size(pipeline->setup.self,
                                             others_busy(pipeline, place),
                                             asked, least_important);
}

static void settle(struct pipeline *pipeline, struct place *place)
{
    struct batch *batch = &place->batch;
    size_t count = batch->settlement_count;
    unsigned least_important;
    struct exchange *exchange = exchange_new(pipeline);
    if (exchange == NULL)
        return;
    pipeline->starved = false; /* this frees lanes, before the claim runs */
    size_t size = claim_size(pipeline, place, &least_important);
    if (size > 0) {
        fill_claim(pipeline, &batch->settlement[count++], size,
                   least_important);
    } else if (!others_busy(pipeline, place) && !adopted_left(pipeline) &&
               pipeline->setup.hooks->report(pipeline->setup.self,
                                             &batch->settlement[count])) {
        count++;
    }
    exchange->place = place;
    exchange->settles = true;
    exchange->claims = place->claiming = size > 0;
    place->asked = size;
    batch_settling(batch);
    if (exchange_start(exchange, batch->settlement, count) != 0) {
        batch_unsettled(batch);
        place->claiming = false;
    }
    CRASH_POINT(SETTLE_ASKED);
}

static void claim(struct pipeline *pipeline, struct place *place)
{
    struct store_call call;
    unsigned least_important;
    size_t size = claim_size(pipeline, place, &least_important);
    struct exchange *exchange = size > 0 ? exchange_new(pipeline) : NULL;
    if (exchange == NULL)
        return;
    fill_claim(pipeline, &call, size, least_important);
    exchange->place = place;
    exchange->claims = place->claiming = true;
    place->asked = size;
    if (exchange_start(exchange, &call, 1) != 0)
        place->claiming = false;
    CRASH_POINT(CLAIM_ASKED);
}

static void close_batch(struct pipeline *pipeline, struct batch *batch,
                        const struct sink_result *result)
{
    struct error error;
    if (batch_close(batch, result, pipeline->setup.terms, &error) != 0)
        break_off(pipeline, &error);
    else
        pipeline->setup.hooks->applied(pipeline->setup.self, batch);
}

static void read_batch(struct pipeline *pipeline, struct batch *batch)
{
    struct error error;
    int result = batch_read(batch, pipeline->reader, &error);
    if (result != 0 && batch->too_large) {
        pipeline->setup.hooks->too_large(
            pipeline->setup.self, (int64_t)batch->arena.limit_bytes,
            (int64_t)batch->source.operation_estimate);
        result = batch_give_back(batch, pipeline->reader, pipeline->setup.terms,
                                 &error);
    } else if (result == 0 && batch->count == 0) {
        close_batch(pipeline, batch, NULL);
    }
    if (result != 0)
        have_trouble(pipeline, &error);
}

static void take_up_adopted(struct pipeline *pipeline, struct place *place)
{
    struct error error;
    struct outbox_batch *next = &pipeline->adopted[pipeline->adopted_next++];
    pipeline->active = true;
    if (batch_take(&place->batch, next, pipeline->orders++, &error) != 0)
        break_off(pipeline, &error);
}

static void sink_answered(void *self, const struct sink_result *result)
{
    struct pipeline *pipeline = self;
    struct batch *batch = &pipeline->sent->batch;
    pipeline->sent = NULL;
    CRASH_POINT(SINK_ANSWERED);
    if (result->outcome == SINK_APPLIED || result->outcome == SINK_REPEATED) {
        close_batch(pipeline, batch, result);
    } else {
        batch_unsent(batch);
        pipeline->held = true;
        pipeline->setup.hooks->failed(pipeline->setup.self, batch, result);
    }
    pipeline_turn(pipeline);
}

static void send_next(struct pipeline *pipeline)
{
    struct place *next = NULL;
    for (size_t i = 0; i < PIPELINE_PLACES; i++) {
        struct place *place = &pipeline->places[i];
        if (place->batch.state == BATCH_READ &&
            (next == NULL || place->batch.order < next->batch.order))
            next = place;
    }
    if (next == NULL || pipeline->sent != NULL || pipeline->held ||
        pipeline->broken)
        return;
    struct batch *batch = &next->batch;
    CRASH_POINT(BATCH_READ);
    pipeline->sink_batch =
        (struct sink_batch){.epoch = batch->source.epoch,
                            .batch_id = batch->source.batch_id,
                            .operations = batch->operations,
                            .count = batch->count};
    pipeline->sent = next;
    pipeline->setup.hooks->sending(pipeline->setup.self, batch);
    batch_sent(batch);
    pipeline->setup.sink_methods->apply(
        pipeline->setup.sink, &pipeline->sink_batch, sink_answered, pipeline);
    CRASH_POINT(SINK_SENT);
}

static void turn_place(struct pipeline *pipeline, struct place *place)
{
    struct batch *batch = &place->batch;
    if (batch->state == BATCH_FREE && !place->claiming) {
        if (adopted_left(pipeline) && !pipeline->closing)
            take_up_adopted(pipeline, place);
        else
            claim(pipeline, place);
    }
    if (batch->state == BATCH_CLAIMED && store_usable(pipeline))
        read_batch(pipeline, batch);
    if (batch->state == BATCH_APPLIED && store_usable(pipeline))
        settle(pipeline, place);
}

/* A settlement is sent before the next batch: the store commits while we
 * are busy with the sink. */
static void pipeline_turn(struct pipeline *pipeline)
{
    if (pipeline->turning) {
        pipeline->again = true;
        return;
    }
    pipeline->turning = true;
    do {
        pipeline->again = false;
        for (size_t i = 0; i < PIPELINE_PLACES; i++)
            if (store_usable(pipeline))
                turn_place(pipeline, &pipeline->places[i]);
        send_next(pipeline);
        if (pipeline->active && pipeline->ready && !pipeline_busy(pipeline)) {
            pipeline->active = false;
            pipeline->setup.hooks->rested(pipeline->setup.self);
        }
    } while (pipeline->again && !pipeline->broken);
    pipeline->turning = false;
}

/* --- from outside --- */

struct pipeline *pipeline_new(const struct pipeline_setup *setup,
                              struct error *error)
{
    struct pipeline *pipeline = calloc(1, sizeof(*pipeline));
    if (pipeline == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for the batches");
        return NULL;
    }
    pipeline->setup = *setup;
    pipeline->random = clock_monotonic_ns();
    arena_init(&pipeline->adopt_arena, ADOPT_ARENA_MAX);
    for (size_t i = 0; i < PIPELINE_PLACES; i++)
        batch_init(&pipeline->places[i].batch, setup->memory_max);
    pipeline->trouble_timer = evtimer_new(setup->base, trouble_over, pipeline);
    if (pipeline->trouble_timer == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for a timer");
        pipeline_free(&pipeline);
    }
    return pipeline;
}

void pipeline_free(struct pipeline **pipeline)
{
    if (*pipeline == NULL)
        return;
    for (size_t i = 0; i < PIPELINE_PLACES; i++)
        batch_free(&(*pipeline)->places[i].batch);
    arena_deinit(&(*pipeline)->adopt_arena);
    if ((*pipeline)->trouble_timer != NULL)
        event_free((*pipeline)->trouble_timer);
    free(*pipeline);
    *pipeline = NULL;
}

void pipeline_connected(struct pipeline *pipeline, unsigned pool_size)
{
    pipeline->connected = true;
    pipeline->troubled = false;
    event_del(pipeline->trouble_timer);
    pipeline_adopt(pipeline, pool_size);
}

void pipeline_lost(struct pipeline *pipeline)
{
    pipeline->connected = pipeline->ready = false;
}

void pipeline_start(struct pipeline *pipeline)
{
    pipeline->active = true;
    pipeline_turn(pipeline);
}

void pipeline_hold(struct pipeline *pipeline)
{
    pipeline->held = true;
}

void pipeline_release(struct pipeline *pipeline)
{
    pipeline->held = false;
    pipeline->active = true;
    pipeline_turn(pipeline);
}

void pipeline_close(struct pipeline *pipeline)
{
    pipeline->closing = true;
}

void pipeline_tell(struct pipeline *pipeline, const struct store_call *call)
{
    struct store_call copy = *call;
    struct exchange *exchange =
        store_usable(pipeline) ? exchange_new(pipeline) : NULL;
    if (exchange != NULL)
        exchange_start(exchange, &copy, 1);
}

bool pipeline_ready(const struct pipeline *pipeline)
{
    return store_usable(pipeline);
}

bool pipeline_busy(const struct pipeline *pipeline)
{
    return others_busy(pipeline, NULL) ||
           (adopted_left(pipeline) && !pipeline->closing);
}

bool pipeline_held(const struct pipeline *pipeline)
{
    return pipeline->held;
}
