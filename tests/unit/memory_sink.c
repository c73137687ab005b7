/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/memory_sink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

static bool is_poison(const struct sink *sink,
                      const struct outbox_operation *operation)
{
    return sink->poison != NULL && strncmp(operation->record_id, sink->poison,
                                           strlen(sink->poison)) == 0;
}

static size_t refuse(struct sink *sink, const struct sink_batch *batch)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct outbox_operation *operation = &batch->operations[i];
        bool held = false;
        if (!is_poison(sink, operation))
            continue;
        for (size_t j = 0; j < i; j++)
            held = held ||
                   (batch->operations[j].record_id_size ==
                        operation->record_id_size &&
                    memcmp(batch->operations[j].record_id, operation->record_id,
                           operation->record_id_size) == 0);
        sink->refusals[count++] =
            (struct sink_refusal){.key = operation->key,
                                  .held = held,
                                  .sqlstate = "22P05",
                                  .message = "unsupported Unicode"};
    }
    return count;
}

static struct under_way take_any(struct sink *sink)
{
    sink->random = sink->random * 6364136223846793005u + 1442695040888963407u;
    unsigned at = (unsigned)(sink->random >> 33) % sink->count;
    struct under_way taken = sink->under_way[at];
    sink->under_way[at] = sink->under_way[--sink->count];
    return taken;
}

static void assert_disjoint(const struct sink_batch *a,
                            const struct sink_batch *b)
{
    for (size_t i = 0; i < a->count; i++)
        for (size_t j = 0; j < b->count; j++)
            assert_string_not_equal(a->operations[i].record_id,
                                    b->operations[j].record_id);
}

static void sink_answer(evutil_socket_t fd, short what, void *self)
{
    struct sink *sink = self;
    struct under_way under_way = take_any(sink);
    const struct sink_batch *batch = under_way.batch;
    struct sink_result result = {.outcome = SINK_APPLIED};
    struct timeval soon = {0, 0};
    enum sink_mood mood = sink->mood_left > 0 ? sink->mood : MOOD_GOOD;
    (void)fd;
    (void)what;
    if (sink->mood_left > 0)
        sink->mood_left--;
    for (size_t i = 0; i < sink->ledger_count; i++)
        if (sink->ledger[i] == batch->batch_id)
            result.outcome = SINK_REPEATED;
    if (mood == MOOD_GOOD || mood == MOOD_LOST_ANSWER) {
        result.refusals = sink->refusals;
        result.refusal_count = refuse(sink, batch);
        if (result.outcome == SINK_APPLIED) {
            for (size_t i = 0; i < batch->count; i++)
                if (!is_poison(sink, &batch->operations[i]))
                    sink->applied[sink->applied_count++] =
                        batch->operations[i].id;
            sink->ledger[sink->ledger_count++] = batch->batch_id;
        }
    }
    if (mood != MOOD_GOOD) {
        result.outcome = mood == MOOD_TRANSIENT ? SINK_TRANSIENT : SINK_DOWN;
        error_set(&result.error, ERROR_TRY_AGAIN, "the test says so");
    }
    if (sink->count > 0)
        event_add(sink->timer, &soon);
    under_way.done(under_way.self, &result);
}

static unsigned memory_depth(struct sink *sink)
{
    return sink->depth == 0 ? 1 : sink->depth;
}

static void sink_apply(struct sink *sink, const struct sink_batch *batch,
                       sink_done done, void *self)
{
    assert_true(sink->count < memory_depth(sink));
    for (unsigned i = 0; i < sink->count; i++)
        assert_disjoint(sink->under_way[i].batch, batch);
    sink->under_way[sink->count++] =
        (struct under_way){.batch = batch, .done = done, .self = self};
    if (sink->count > sink->most)
        sink->most = sink->count;
    sink->sends++;
    if (batch->count > sink->largest)
        sink->largest = batch->count;
    for (size_t i = 1; i < batch->count; i++)
        assert_true(batch->operations[i - 1].id < batch->operations[i].id);
    struct timeval soon = {0, 0};
    event_add(sink->timer, &soon);
}

struct sink *memory_sink_new(struct event_base *base)
{
    struct sink *sink = calloc(1, sizeof(*sink));
    assert_non_null(sink);
    sink->base = base;
    sink->timer = evtimer_new(base, sink_answer, sink);
    return sink;
}

void memory_sink_free(struct sink **sink)
{
    event_free((*sink)->timer);
    free(*sink);
    *sink = NULL;
}

const struct sink_methods memory_sink = {
    .name = "memory", .depth = memory_depth, .apply = sink_apply};
