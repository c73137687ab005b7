/* SPDX-License-Identifier: Apache-2.0
 *
 * The http sink: batches as POST requests to an endpoint that knows them by
 * their idempotency keys (tidemill-sync(7) has what it must do).
 *
 * A part that the server refuses, or finds too large, is halved; the halves
 * go one after the other, each under a key of its own.  A single operation
 * that is refused is reported with the server's words, and what follows it
 * of the same record is left out of all later parts.  Halving is always
 * tried from the whole on: which part was under way when a connection was
 * lost, nobody has to remember.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crash_point.h"
#include "common/config/config.h"
#include "common/shm/metrics.h"
#include "workers/sync/http_body.h"
#include "workers/sync/http_reply.h"
#include "workers/sync/http_transport.h"
#include "workers/sync/sink.h"

/* A part of 5,000 operations is halved 13 times at the most; at each level
 * one half waits. */
#define PARTS_MAX 64

#define HTTP_DEPTH         4
#define DELIVERY_MEMORY    ((size_t)128 << 20)
#define RETRY_AFTER_MAX_MS 3600000

/* A batch, or a probe, under way. */
struct delivery {
    struct sink *sink;
    const struct sink_batch *batch; /* NULL: a probe */
    bool active;
    struct event *soon;
    struct arena arena;
    struct http_part parts[PARTS_MAX]; /* to send, the next one last */
    size_t part_count;
    struct http_part part; /* under way */
    bool *left_out;        /* a byte an operation */
    struct sink_refusal *refusals;
    struct sink_result result;
    sink_done done;
    void *self;
};

struct sink {
    const struct config *config;
    struct http_transport *transport;
    struct delivery deliveries[HTTP_DEPTH];
};

static void deliver(struct delivery *delivery);

/* --- the end --- */

static void on_soon(evutil_socket_t fd, short what, void *self)
{
    struct delivery *delivery = self;
    (void)fd;
    (void)what;
    delivery->active = false;
    delivery->done(delivery->self, &delivery->result);
}

/* From a timer: done is never called from within apply. */
static void finish(struct delivery *delivery)
{
    static const struct timeval now;
    event_add(delivery->soon, &now);
}

static void fail(struct delivery *delivery, enum sink_outcome outcome,
                 const struct error *error)
{
    delivery->result.outcome = outcome;
    delivery->result.error = *error;
    delivery->result.refusal_count = 0;
    finish(delivery);
}

/* --- refusals --- */

static bool same_record(const struct outbox_operation *a,
                        const struct outbox_operation *b)
{
    return a->table_name_size == b->table_name_size &&
           a->record_id_size == b->record_id_size &&
           memcmp(a->table_name, b->table_name, a->table_name_size) == 0 &&
           memcmp(a->record_id, b->record_id, a->record_id_size) == 0;
}

static void add_refusal(struct delivery *delivery, size_t index, bool held,
                        const char *code, const char *words)
{
    struct sink_refusal *refusal =
        &delivery->refusals[delivery->result.refusal_count++];
    const char *copy = arena_strdup(&delivery->arena, words);
    *refusal =
        (struct sink_refusal){.key = delivery->batch->operations[index].key,
                              .held = held,
                              .message = copy != NULL ? copy : "refused"};
    for (size_t i = 0; i < sizeof(refusal->sqlstate) - 1 && code[i]; i++)
        refusal->sqlstate[i] = code[i];
    delivery->left_out[index] = true;
}

static void refuse(struct delivery *delivery, size_t index, const char *code,
                   const char *words)
{
    const struct outbox_operation *list = delivery->batch->operations;
    add_refusal(delivery, index, false, code, words);
    for (size_t i = index + 1; i < delivery->batch->count; i++)
        if (!delivery->left_out[i] && same_record(&list[index], &list[i]))
            add_refusal(delivery, i, true, "", SINK_HELD_WORDS);
}

/* What the server says that it refused of a part that it applied. */
static void take_refused(struct delivery *delivery,
                         const struct http_reply *reply)
{
    const struct sink_batch *batch = delivery->batch;
    for (size_t r = 0; r < reply->refused_count; r++)
        for (size_t i = delivery->part.first;
             i < delivery->part.first + delivery->part.count; i++)
            if (batch->operations[i].id == reply->refused[r].id &&
                !delivery->left_out[i]) {
                if (reply->refused[r].held)
                    add_refusal(delivery, i, true, "", SINK_HELD_WORDS);
                else
                    add_refusal(delivery, i, false, reply->refused[r].code,
                                reply->refused[r].message);
            }
}

/* --- a part --- */

static void push_part(struct delivery *delivery, size_t first, size_t count)
{
    delivery->parts[delivery->part_count++] = (struct http_part){first, count};
}

static void take_apart(struct delivery *delivery,
                       const struct http_reply *reply)
{
    const struct http_part *part = &delivery->part;
    size_t half = part->count / 2;
    if (part->count == 1) {
        refuse(delivery, part->first, reply->code, reply->error.text);
        return;
    }
    push_part(delivery, part->first + half, part->count - half);
    push_part(delivery, part->first, half);
}

static void on_answer(void *self, const struct http_answer *answer)
{
    struct delivery *delivery = self;
    struct http_reply reply;
    http_reply_read(answer, &delivery->arena, &reply);
    delivery->result.retry_after_ms =
        answer->retry_after_ms < RETRY_AFTER_MAX_MS ? answer->retry_after_ms
                                                    : RETRY_AFTER_MAX_MS;
    switch (reply.meaning) {
    case HTTP_APPLIED:
        delivery->result.outcome = SINK_APPLIED;
        take_refused(delivery, &reply);
        break;
    case HTTP_REPEATED:
        take_refused(delivery, &reply);
        break;
    case HTTP_REFUSED:
    case HTTP_TOO_LARGE:
        take_apart(delivery, &reply);
        break;
    case HTTP_DENIED:
        metric_add(METRIC_SYNC_UNAUTHORIZED, 1);
        fail(delivery, SINK_TRANSIENT, &reply.error);
        return;
    case HTTP_BUSY:
        fail(delivery, SINK_BUSY, &reply.error);
        return;
    case HTTP_NOT_NOW:
        fail(delivery, SINK_TRANSIENT, &reply.error);
        return;
    case HTTP_LOST:
        fail(delivery, SINK_DOWN, &reply.error);
        return;
    }
    deliver(delivery);
}

/* Larger than any request: as if the server had said so. */
static void body_too_large(struct delivery *delivery)
{
    struct http_reply reply = {.meaning = HTTP_TOO_LARGE, .code = "413"};
    error_set(&reply.error, ERROR_DATA,
              "the operation is larger than a request may be");
    take_apart(delivery, &reply);
}

/* Sends the next part; false when there was none to send now. */
static bool send_part(struct delivery *delivery)
{
    char key[HTTP_KEY_SIZE];
    struct buffer body;
    struct error error;
    const char *system_id = delivery->sink->config->system_id;
    int64_t settled =
        delivery->batch->line_count > 0 ? delivery->batch->line[0] : 0;
    delivery->part = delivery->parts[--delivery->part_count];
    buffer_init(&body, HTTP_BODY_MAX);
    bool some = http_body_write(system_id, delivery->batch, &delivery->part,
                                delivery->left_out, &body);
    if (!some && body.failed)
        body_too_large(delivery);
    http_part_key(system_id, delivery->batch, &delivery->part, key);
    if (some &&
        http_transport_send(delivery->sink->transport, body.bytes, body.size,
                            key, settled, on_answer, delivery, &error) != 0)
        fail(delivery, SINK_TRANSIENT, &error);
    else if (some)
        CRASH_POINT(HTTP_SENT);
    buffer_deinit(&body);
    return some;
}

static void deliver(struct delivery *delivery)
{
    while (delivery->part_count > 0)
        if (send_part(delivery))
            return;
    finish(delivery);
}

/* --- the methods --- */

static struct delivery *delivery_start(struct sink *sink, sink_done done,
                                       void *self)
{
    struct delivery *delivery = sink->deliveries;
    while (delivery->active) /* there is one: depth */
        delivery++;
    arena_reset(&delivery->arena);
    delivery->active = true;
    delivery->batch = NULL;
    delivery->part_count = 0;
    delivery->result = (struct sink_result){.outcome = SINK_REPEATED};
    delivery->done = done;
    delivery->self = self;
    return delivery;
}

static void http_apply(struct sink *sink, const struct sink_batch *batch,
                       sink_done done, void *self)
{
    struct delivery *delivery = delivery_start(sink, done, self);
    struct error error;
    delivery->batch = batch;
    delivery->left_out = arena_calloc(&delivery->arena, batch->count + 1,
                                      sizeof(*delivery->left_out));
    delivery->refusals = arena_calloc(&delivery->arena, batch->count + 1,
                                      sizeof(*delivery->refusals));
    delivery->result.refusals = delivery->refusals;
    if (delivery->left_out == NULL || delivery->refusals == NULL) {
        error_set(&error, ERROR_SYSTEM, "no memory for a batch");
        fail(delivery, SINK_TRANSIENT, &error);
        return;
    }
    push_part(delivery, 0, batch->count);
    deliver(delivery);
}

static void on_probed(void *self, const struct http_answer *answer)
{
    struct delivery *delivery = self;
    struct http_reply reply;
    http_reply_read(answer, &delivery->arena, &reply);
    delivery->result.retry_after_ms = answer->retry_after_ms;
    /* That it answers is all; HEAD need not be known to it. */
    if (reply.meaning == HTTP_LOST)
        fail(delivery, SINK_DOWN, &reply.error);
    else if (reply.meaning == HTTP_BUSY)
        fail(delivery, SINK_BUSY, &reply.error);
    else if (reply.meaning == HTTP_DENIED || answer->status == 404 ||
             (answer->status >= 500 && answer->status != 501))
        fail(delivery, SINK_TRANSIENT, &reply.error);
    else
        finish(delivery);
    if (reply.meaning == HTTP_DENIED)
        metric_add(METRIC_SYNC_UNAUTHORIZED, 1);
}

static void http_probe(struct sink *sink, sink_done done, void *self)
{
    struct delivery *delivery = delivery_start(sink, done, self);
    struct error error;
    if (http_transport_send(sink->transport, NULL, 0, NULL, 0, on_probed,
                            delivery, &error) != 0)
        fail(delivery, SINK_TRANSIENT, &error);
}

static unsigned http_depth(struct sink *sink)
{
    (void)sink;
    return HTTP_DEPTH;
}

static void http_rest(struct sink *sink)
{
    http_transport_rest(sink->transport);
    for (size_t i = 0; i < HTTP_DEPTH; i++) {
        event_del(sink->deliveries[i].soon);
        sink->deliveries[i].active = false;
    }
}

static void http_close(struct sink *sink)
{
    if (sink == NULL)
        return;
    http_transport_free(&sink->transport);
    for (size_t i = 0; i < HTTP_DEPTH; i++) {
        if (sink->deliveries[i].soon != NULL)
            event_free(sink->deliveries[i].soon);
        arena_deinit(&sink->deliveries[i].arena);
    }
    free(sink);
}

static struct sink *http_open(const struct config *config,
                              struct event_base *base, struct error *error)
{
    struct sink *sink = calloc(1, sizeof(*sink));
    bool good = sink != NULL;
    if (!good) {
        error_set(error, ERROR_SYSTEM, "no memory for the http sink");
        return NULL;
    }
    sink->config = config;
    for (size_t i = 0; i < HTTP_DEPTH; i++) {
        struct delivery *delivery = &sink->deliveries[i];
        delivery->sink = sink;
        arena_init(&delivery->arena, DELIVERY_MEMORY);
        delivery->soon = evtimer_new(base, on_soon, delivery);
        good = good && delivery->soon != NULL;
    }
    if (!good)
        error_set(error, ERROR_SYSTEM, "no memory for timers");
    else
        sink->transport = http_transport_new(config, base, error);
    if (sink->transport == NULL) {
        http_close(sink);
        return NULL;
    }
    return sink;
}

const struct sink_methods sink_http = {.name = "http",
                                       .takes_connection = true,
                                       .open = http_open,
                                       .depth = http_depth,
                                       .apply = http_apply,
                                       .probe = http_probe,
                                       .rest = http_rest,
                                       .close = http_close};
