/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pipeline_internal.h"

#include <event2/event.h>

#include "common/base/clock.h"
#include "common/base/crash_point.h"
#include "common/base/log.h"
#include "workers/sync/backoff.h"

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

int pipeline_trouble_init(struct pipeline *pipeline, struct error *error)
{
    pipeline->trouble_timer =
        evtimer_new(pipeline->setup.base, trouble_over, pipeline);
    if (pipeline->trouble_timer == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for a timer");
    return 0;
}

void pipeline_trouble(struct pipeline *pipeline, const struct error *error)
{
    if (pipeline->troubled)
        return;
    pipeline->troubled = true;
    pipeline->troubles++;
    int64_t delay_ms =
        backoff_delay_ms(PIPELINE_TROUBLE_BASE_MS, PIPELINE_TROUBLE_MAX_MS,
                         pipeline->troubles, jitter_next(&pipeline->random));
    struct timeval delay = clock_span(delay_ms);
    event_add(pipeline->trouble_timer, &delay);
    pipeline->setup.hooks->trouble(pipeline->setup.self, error);
}

/* --- exchanges --- */

static void take_answer(void *self, const struct store_answer *answer);

struct exchange *exchange_new(struct pipeline *pipeline)
{
    for (size_t i = 0; i < EXCHANGES_MAX; i++)
        if (pipeline->exchanges[i].pipeline == NULL) {
            pipeline->exchanges[i] = (struct exchange){.pipeline = pipeline};
            return &pipeline->exchanges[i];
        }
    return NULL;
}

int exchange_start(struct exchange *exchange, struct store_call *calls,
                   size_t call_count)
{
    struct pipeline *pipeline = exchange->pipeline;
    struct store_request request = {.calls = calls, .call_count = call_count};
    struct error error;
    if (pipeline->setup.call(pipeline->setup.store, &request, take_answer,
                             exchange, &error) == 0)
        return 0;
    exchange->pipeline = NULL;
    pipeline_trouble(pipeline, &error);
    return -1;
}

static void fill_claim(const struct pipeline *pipeline, struct store_call *call,
                       size_t size, unsigned least_important)
{
    const struct batch_terms *terms = pipeline->setup.terms;
    *call = (struct store_call){
        .statement = STATEMENT_BATCH_CLAIM,
        .argument_count = 5,
        .arguments = {value_integer(terms->slot), value_integer(terms->spawn),
                      value_integer((int64_t)size),
                      value_integer(least_important),
                      value_integer(clock_wall_ms() + terms->clock_lost_ms)}};
}

/* --- answers --- */

/* A few that are urgent go to the sink before all that is not there yet. */
static uint64_t order_of(struct pipeline *pipeline,
                         const struct outbox_batch *batch)
{
    bool urgent = batch->range_count > 0 &&
                  batch->operation_estimate <= PIPELINE_EXPRESS_MAX;
    for (size_t i = 0; i < batch->range_count; i++)
        urgent = urgent && batch->ranges[i].stripe >> 6 == 0; /* priority */
    return urgent ? 0 : ++pipeline->orders;
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
        (count > 0 &&
         batch_take(&place->batch, &list[0],
                    place->express ? 0 : order_of(pipeline, &list[0]),
                    &error) != 0)) {
        pipeline_break_off(pipeline, &error);
        count = 0;
    }
    size_t got = count > 0 ? list[0].operation_estimate : 0;
    arena_deinit(&arena);
    if (pipeline->broken || (place->express && got == 0))
        return; /* somebody else has taken it */
    pipeline->starved = got == 0 && pipeline_others_busy(pipeline, NULL);
    if (!pipeline->starved)
        pipeline->setup.hooks->claimed(pipeline->setup.self, got);
}

/* Errors of the store that pass. */
static bool passes(enum error_code code)
{
    return code == ERROR_TRY_AGAIN || code == ERROR_FULL || code == ERROR_IO ||
           code == ERROR_DAMAGED || code == ERROR_SYSTEM;
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
        pipeline_trouble(pipeline, &error);
    else
        pipeline_break_off(pipeline, &error);
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
            pipeline_take_adopted(pipeline,
                                  &answer->results[answer->result_count - 1]);
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

/* --- claims and settlements --- */

/* Of the batches that are to go to the sink, or are there, one more is
 * claimed than the sink takes: what comes later, and may be urgent, is to
 * find a short line. */
static bool line_is_full(const struct pipeline *pipeline,
                         const struct place *except)
{
    unsigned count = 0;
    for (size_t i = 0; i < PIPELINE_PLACES; i++) {
        const struct place *place = &pipeline->places[i];
        count += place != except &&
                 (place->claiming || (place->batch.state >= BATCH_CLAIMED &&
                                      place->batch.state <= BATCH_SENT));
    }
    return count > pipeline_depth(pipeline);
}

static size_t claim_size(struct pipeline *pipeline, const struct place *place,
                         unsigned *least_important)
{
    bool starved = pipeline->starved && pipeline_others_busy(pipeline, NULL);
    if (pipeline->held || pipeline->closing || starved ||
        pipeline_adopted_left(pipeline) || line_is_full(pipeline, place))
        return 0;
    size_t asked = 0;
    for (size_t i = 0; i < PIPELINE_PLACES; i++)
        if (pipeline->places[i].claiming)
            asked += pipeline->places[i].asked;
    return pipeline->setup.hooks->claim_size(
        pipeline->setup.self, pipeline_others_busy(pipeline, place), asked,
        least_important);
}

void pipeline_settle(struct pipeline *pipeline, struct place *place)
{
    struct batch *batch = &place->batch;
    size_t count = batch->settlement_count;
    unsigned least_important;
    struct exchange *exchange = exchange_new(pipeline);
    if (exchange == NULL)
        return;
    pipeline->starved = false; /* this frees lanes, before the claim runs */
    size_t size = claim_size(pipeline, place, &least_important);
    place->express = false;
    if (size > 0) {
        fill_claim(pipeline, &batch->settlement[count++], size,
                   least_important);
    } else if (!pipeline_others_busy(pipeline, place) &&
               !pipeline_adopted_left(pipeline) &&
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

static void claim(struct pipeline *pipeline, struct place *place, size_t size,
                  unsigned least_important)
{
    struct store_call call;
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

void pipeline_claim(struct pipeline *pipeline, struct place *place)
{
    unsigned least_important = 0;
    size_t size = claim_size(pipeline, place, &least_important);
    place->express = false;
    claim(pipeline, place, size, least_important);
}

void pipeline_express(struct pipeline *pipeline)
{
    struct place *spare = NULL;
    for (size_t i = 0; i < PIPELINE_PLACES; i++) {
        struct place *place = &pipeline->places[i];
        bool is_free = place->batch.state == BATCH_FREE && !place->claiming;
        if (place->express && !is_free)
            return;
        if (is_free)
            spare = place;
    }
    if (spare == NULL || !pipeline->active || pipeline->held ||
        pipeline->closing || !pipeline_store_usable(pipeline) ||
        pipeline_adopted_left(pipeline))
        return;
    spare->express = true;
    claim(pipeline, spare, PIPELINE_EXPRESS_MAX, 0);
}
