/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pipeline_internal.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/crash_point.h"

void pipeline_break_off(struct pipeline *pipeline, const struct error *error)
{
    if (pipeline->broken)
        return;
    pipeline->broken = true;
    pipeline->setup.hooks->broken(pipeline->setup.self, error);
}

bool pipeline_store_usable(const struct pipeline *pipeline)
{
    return pipeline->ready && !pipeline->troubled && !pipeline->broken;
}

bool pipeline_others_busy(const struct pipeline *pipeline,
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

static void close_batch(struct pipeline *pipeline, struct batch *batch,
                        const struct sink_result *result)
{
    struct error error;
    if (batch_close(batch, result, pipeline->setup.terms, &error) != 0)
        pipeline_break_off(pipeline, &error);
    else
        pipeline->setup.hooks->applied(pipeline->setup.self, batch);
}

static void read_batch(struct pipeline *pipeline, struct batch *batch)
{
    struct error error;
    int result = batch_read(batch, pipeline->reader, &error);
    if (result == 0)
        result = batch_make_line(batch, pipeline->reader, pipeline->setup.terms,
                                 &error);
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
        pipeline_trouble(pipeline, &error);
}

/* --- the sink --- */

unsigned pipeline_depth(const struct pipeline *pipeline)
{
    const struct sink_methods *methods = pipeline->setup.sink_methods;
    return methods->depth == NULL ? 1 : methods->depth(pipeline->setup.sink);
}

/* The sink's part of what the batch took: not what it waited behind others. */
static uint64_t apply_ns(struct pipeline *pipeline, const struct batch *batch,
                         const struct sink_result *result)
{
    uint64_t now_ns = clock_monotonic_ns();
    uint64_t since_ns = pipeline->answered_ns > batch->sent_ns
                            ? pipeline->answered_ns
                            : batch->sent_ns;
    pipeline->answered_ns = now_ns;
    return result->apply_ns != 0 ? result->apply_ns : now_ns - since_ns;
}

/* A failure is told when everything is answered, so that who hears of it
 * finds nothing under way; of several the one that says most. */
static void note_failure(struct pipeline *pipeline, struct place *place,
                         const struct sink_result *result)
{
    batch_unsent(&place->batch);
    pipeline->held = true;
    if (pipeline->failed != NULL &&
        (result->outcome != SINK_DOWN || pipeline->why.outcome == SINK_DOWN))
        return;
    pipeline->failed = place;
    pipeline->why = *result;
}

static void tell_failure(struct pipeline *pipeline)
{
    struct place *failed = pipeline->failed;
    if (failed == NULL || pipeline->at_sink > 0)
        return;
    pipeline->failed = NULL;
    pipeline->setup.hooks->failed(pipeline->setup.self, &failed->batch,
                                  &pipeline->why);
}

static void sink_answered(void *self, const struct sink_result *result)
{
    struct place *place = self;
    struct pipeline *pipeline = place->pipeline;
    pipeline->at_sink--;
    CRASH_POINT(SINK_ANSWERED);
    place->batch.apply_ns = apply_ns(pipeline, &place->batch, result);
    if (result->outcome == SINK_APPLIED || result->outcome == SINK_REPEATED)
        close_batch(pipeline, &place->batch, result);
    else
        note_failure(pipeline, place, result);
    tell_failure(pipeline);
    pipeline_turn(pipeline);
}

static struct place *next_to_send(struct pipeline *pipeline)
{
    struct place *next = NULL;
    for (size_t i = 0; i < PIPELINE_PLACES; i++) {
        struct place *place = &pipeline->places[i];
        if (place->batch.state == BATCH_READ &&
            (next == NULL || place->batch.order < next->batch.order))
            next = place;
    }
    return next;
}

static void send_place(struct pipeline *pipeline, struct place *place)
{
    struct batch *batch = &place->batch;
    CRASH_POINT(BATCH_READ);
    place->sink_batch = (struct sink_batch){.epoch = batch->source.epoch,
                                            .batch_id = batch->source.batch_id,
                                            .operations = batch->operations,
                                            .count = batch->count,
                                            .line = batch->line,
                                            .line_count = batch->line_count};
    pipeline->at_sink++;
    pipeline->setup.hooks->sending(pipeline->setup.self, batch);
    batch_sent(batch);
    pipeline->setup.sink_methods->apply(
        pipeline->setup.sink, &place->sink_batch, sink_answered, place);
    CRASH_POINT(SINK_SENT);
}

static void send_next(struct pipeline *pipeline)
{
    struct place *next;
    while (!pipeline->held && !pipeline->broken &&
           (next = next_to_send(pipeline)) != NULL &&
           pipeline->at_sink < pipeline_depth(pipeline))
        send_place(pipeline, next);
}

/* --- turns --- */

static void fill_place(struct pipeline *pipeline, struct place *place)
{
    struct batch *batch = &place->batch;
    if (batch->state == BATCH_FREE && !place->claiming) {
        if (pipeline_adopted_left(pipeline) && !pipeline->closing)
            pipeline_take_up_adopted(pipeline, place);
        else
            pipeline_claim(pipeline, place);
    }
    if (batch->state == BATCH_CLAIMED && pipeline_store_usable(pipeline))
        read_batch(pipeline, batch);
}

/* Settlements are sent before the next batch: the store commits while we
 * are busy with the sink.  And what is read is sent before more is read. */
static void turn_places(struct pipeline *pipeline)
{
    for (size_t i = 0; i < PIPELINE_PLACES; i++)
        if (pipeline->places[i].batch.state == BATCH_APPLIED &&
            pipeline_store_usable(pipeline))
            pipeline_settle(pipeline, &pipeline->places[i]);
    send_next(pipeline);
    for (size_t i = 0; i < PIPELINE_PLACES; i++)
        if (pipeline_store_usable(pipeline)) {
            fill_place(pipeline, &pipeline->places[i]);
            if (pipeline->places[i].batch.state == BATCH_APPLIED)
                pipeline->again = true; /* it was empty */
            send_next(pipeline);
        }
}

void pipeline_turn(struct pipeline *pipeline)
{
    if (pipeline->turning) {
        pipeline->again = true;
        return;
    }
    pipeline->turning = true;
    do {
        pipeline->again = false;
        turn_places(pipeline);
        /* Not in trouble: what was to be claimed is asked for again. */
        if (pipeline->active && pipeline_store_usable(pipeline) &&
            !pipeline_busy(pipeline)) {
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
    for (size_t i = 0; i < PIPELINE_PLACES; i++) {
        pipeline->places[i].pipeline = pipeline;
        batch_init(&pipeline->places[i].batch, setup->memory_max);
    }
    if (pipeline_trouble_init(pipeline, error) != 0)
        pipeline_free(&pipeline);
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
    if (pipeline->failed != NULL)
        return; /* it is not told yet */
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
        pipeline_store_usable(pipeline) ? exchange_new(pipeline) : NULL;
    if (exchange != NULL)
        exchange_start(exchange, &copy, 1);
}

bool pipeline_ready(const struct pipeline *pipeline)
{
    return pipeline_store_usable(pipeline);
}

bool pipeline_busy(const struct pipeline *pipeline)
{
    return pipeline_others_busy(pipeline, NULL) ||
           (pipeline_adopted_left(pipeline) && !pipeline->closing);
}

unsigned pipeline_at_sink(const struct pipeline *pipeline)
{
    return pipeline->at_sink;
}

bool pipeline_held(const struct pipeline *pipeline)
{
    return pipeline->held;
}
