/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pipeline_internal.h"

#include "common/base/crash_point.h"
#include "common/base/log.h"

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
                              .argument_count = 4,
                              .arguments = {value_integer(terms->slot),
                                            value_integer(terms->spawn),
                                            value_integer(pool_size),
                                            value_integer(terms->last_spawn)}};
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

void pipeline_take_adopted(struct pipeline *pipeline,
                           const struct store_result *result)
{
    struct outbox_batch *list;
    size_t count;
    struct error error;
    arena_reset(&pipeline->adopt_arena);
    pipeline->adopted_count = pipeline->adopted_next = 0;
    if (outbox_batches_parse(result, &pipeline->adopt_arena, &list, &count,
                             &error) != 0) {
        pipeline_break_off(pipeline, &error);
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
        pipeline_trouble(pipeline, &error);
    }
}
bool pipeline_adopted_left(const struct pipeline *pipeline)
{
    return pipeline->adopted_next < pipeline->adopted_count;
}

void pipeline_take_up_adopted(struct pipeline *pipeline, struct place *place)
{
    struct error error;
    struct outbox_batch *next = &pipeline->adopted[pipeline->adopted_next++];
    pipeline->active = true;
    place->express = false;
    if (batch_take(&place->batch, next, ++pipeline->orders, &error) != 0)
        pipeline_break_off(pipeline, &error);
}
