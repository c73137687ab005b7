/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/batch.h"

#include <sqlite3.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/config/config.h"
#include "common/store/writer.h"
#include "workers/sync/backoff.h"

void batch_init(struct batch *batch, size_t memory_max)
{
    *batch = (struct batch){.state = BATCH_FREE};
    arena_init(&batch->arena, memory_max);
}

void batch_free(struct batch *batch)
{
    arena_deinit(&batch->arena);
    batch_init(batch, batch->arena.limit_bytes);
}

static int no_memory(const struct batch *batch, struct error *error)
{
    return error_set(
        error, ERROR_SYSTEM, "no memory for batch %lld (%zu bytes are in use)",
        (long long)batch->source.batch_id, batch->arena.used_bytes);
}

int batch_take(struct batch *batch, const struct outbox_batch *source,
               uint64_t order, struct error *error)
{
    size_t range_bytes = source->range_count * sizeof(*source->ranges);
    size_t single_bytes = source->single_count * sizeof(*source->singles);
    batch->source = *source;
    batch->source.ranges = arena_alloc(&batch->arena, range_bytes);
    batch->source.singles = arena_alloc(&batch->arena, single_bytes);
    if (batch->source.ranges == NULL || batch->source.singles == NULL) {
        no_memory(batch, error);
        batch_free(batch);
        return -1;
    }
    if (range_bytes > 0)
        memcpy(batch->source.ranges, source->ranges, range_bytes);
    if (single_bytes > 0)
        memcpy(batch->source.singles, source->singles, single_bytes);
    batch->order = order;
    batch->state = BATCH_CLAIMED;
    return 0;
}

/* Gives back what was read before a failure: a batch that is read again and
 * again must not grow. */
static void forget_operations(struct batch *batch)
{
    struct batch fresh;
    struct error ignored;
    batch_init(&fresh, batch->arena.limit_bytes);
    if (batch_take(&fresh, &batch->source, batch->order, &ignored) != 0)
        return;
    arena_deinit(&batch->arena);
    *batch = fresh;
}

/* Less is left in the arena than one record may need. */
static bool is_full(const struct arena *arena)
{
    return arena->limit_bytes - arena->used_bytes <
           OUTBOX_DATA_MAX + OUTBOX_DATA_MAX / 4;
}

int batch_read(struct batch *batch, struct store_reader *reader,
               struct error *error)
{
    if (outbox_batch_read(reader, &batch->source, &batch->arena,
                          &batch->operations, &batch->count, error) != 0) {
        bool too_large = is_full(&batch->arena);
        forget_operations(batch);
        batch->too_large = too_large;
        return error_prefix(error, "reading batch %lld",
                            (long long)batch->source.batch_id);
    }
    batch->bytes = 0;
    for (size_t i = 0; i < batch->count; i++)
        batch->bytes += batch->operations[i].data_size;
    batch->state = BATCH_READ;
    return 0;
}

static int make_line(struct batch *batch, struct store_reader *reader,
                     const struct batch_terms *terms, struct error *error)
{
    const struct outbox_batch *source = &batch->source;
    int64_t *left_out;
    size_t left_out_count;
    if (outbox_batch_left_out(reader, source, &batch->arena, &left_out,
                              &left_out_count, error) != 0)
        return -1;
    size_t count = SINK_LINE_HEAD + source->range_count + source->single_count +
                   left_out_count;
    int64_t *to = arena_alloc(&batch->arena, count * sizeof(*to));
    if (to == NULL)
        return no_memory(batch, error);
    batch->line = to;
    batch->line_count = count;
    *to++ = source->settled;
    *to++ = terms->store_id;
    *to++ = terms->host;
    *to++ = (int64_t)source->range_count;
    *to++ = (int64_t)source->single_count;
    for (size_t i = 0; i < source->range_count; i++)
        *to++ =
            (int64_t)((uint64_t)source->ranges[i].stripe << OUTBOX_ID_BITS) |
            source->ranges[i].last_id;
    for (size_t i = 0; i < source->single_count; i++)
        *to++ = source->singles[i];
    for (size_t i = 0; i < left_out_count; i++)
        *to++ = left_out[i];
    return 0;
}

int batch_make_line(struct batch *batch, struct store_reader *reader,
                    const struct batch_terms *terms, struct error *error)
{
    int result = make_line(batch, reader, terms, error);
    if (result != 0) {
        bool too_large = is_full(&batch->arena);
        forget_operations(batch);
        batch->too_large = too_large;
    }
    return result;
}

#define BOUND_MARGIN_MS        10000
#define BOUND_PER_OPERATION_MS 100

/* At least as many as the connection string names: each is waited for. */
static uint64_t hosts_most(const struct config *config)
{
    const char *const texts[] = {config->database_host,
                                 config->database_conninfo};
    uint64_t hosts = 1;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        for (const char *at = texts[i]; *at != '\0'; at++)
            hosts += *at == ',';
    return hosts;
}

uint64_t batch_bound_ms(const struct batch *batch, const struct config *config)
{
    return (uint64_t)config->database_pool_acquire_ms +
           (uint64_t)config->database_connect_timeout_ms * hosts_most(config) +
           (uint64_t)config->database_query_timeout_ms + BOUND_MARGIN_MS +
           BOUND_PER_OPERATION_MS * batch->count;
}

void batch_sent(struct batch *batch)
{
    if (batch->started_wall_ms == 0)
        batch->started_wall_ms = clock_wall_ms();
    batch->sent_ns = clock_monotonic_ns();
    batch->sends++;
    batch->state = BATCH_SENT;
}

void batch_unsent(struct batch *batch)
{
    batch->took_ns = clock_monotonic_ns() - batch->sent_ns;
    batch->state = BATCH_READ;
}

void batch_settling(struct batch *batch)
{
    batch->state = BATCH_SETTLING;
}

void batch_unsettled(struct batch *batch)
{
    batch->state = BATCH_APPLIED;
}

/* --- the settlement --- */

/* Applied operations of one table and priority. */
struct tally {
    const struct outbox_operation *sample;
    int64_t applied;
};

struct closing {
    struct batch *batch;
    const struct batch_terms *terms;
    int64_t now_ms;
    bool *refused;         /* by index of the operation; leaves its line */
    bool *told;            /* the same; the sink told something of it */
    size_t centre_bytes;   /* of conflicts' data in the calls */
    struct tally *tallies; /* a hash table */
    size_t tally_room;     /* a power of two */
    struct tally *last;    /* counted into */
    size_t tally_count;
    struct store_call *calls;
    size_t call_count;
    size_t call_room;
};

static struct store_call *add_call(struct closing *closing,
                                   enum statement statement)
{
    struct store_call *call = &closing->calls[closing->call_count++];
    *call = (struct store_call){.statement = statement};
    return call;
}

static void add_integer(struct store_call *call, int64_t integer)
{
    call->arguments[call->argument_count++] = value_integer(integer);
}

static void add_text(struct store_call *call, const char *text, size_t size)
{
    call->arguments[call->argument_count++] = value_text_sized(text, size);
}

/* Keys order by priority and lane first, operations are in the order of
 * their ids: the id within the key finds the place. */
struct outbox_operation *batch_operation(const struct batch *batch, int64_t key)
{
    int64_t id = key & (((int64_t)1 << OUTBOX_ID_BITS) - 1);
    size_t low = 0, high = batch->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (batch->operations[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == batch->count || batch->operations[low].key != key)
        return NULL;
    return &batch->operations[low];
}

static int add_reject(struct closing *closing,
                      const struct outbox_operation *operation,
                      const struct sink_refusal *refusal)
{
    const struct batch_terms *terms = closing->terms;
    size_t size = strnlen(refusal->message, BATCH_REFUSAL_TEXT_MAX);
    /* Not cut within a character: the store takes UTF-8 only. */
    while (size > 0 && !text_is_utf8(refusal->message, size) &&
           size > BATCH_REFUSAL_TEXT_MAX - 4)
        size--;
    char *message = arena_copy(&closing->batch->arena, refusal->message, size);
    char *sqlstate = arena_strdup(&closing->batch->arena, refusal->sqlstate);
    if (message == NULL || sqlstate == NULL)
        return -1;
    int64_t delay_ms = backoff_delay_ms(
        terms->retry_base_ms, terms->retry_max_ms, operation->retry_count + 1,
        jitter_next(terms->random));
    struct store_call *call = add_call(closing, STATEMENT_BATCH_REJECT);
    add_integer(call, closing->batch->source.batch_id);
    add_integer(call, refusal->key);
    add_text(call, sqlstate, strlen(sqlstate));
    add_text(call, message, size);
    add_integer(call, terms->max_retries);
    add_integer(call, closing->now_ms + delay_ms);
    return 0;
}

/* The operation of that key, told of once. */
static int mark(struct closing *closing, int64_t key, bool aside,
                struct error *error)
{
    struct batch *batch = closing->batch;
    struct outbox_operation *operation = batch_operation(batch, key);
    size_t index =
        operation == NULL ? 0 : (size_t)(operation - batch->operations);
    if (operation == NULL || closing->told[index])
        return error_set(error, ERROR_SOFTWARE,
                         "the sink tells of operation %lld of batch %lld, "
                         "which is not in it or was told of before",
                         (long long)key, (long long)batch->source.batch_id);
    closing->told[index] = true;
    closing->refused[index] = aside;
    return 0;
}

/* Which operations leave their line. */
static int mark_refusals(struct closing *closing,
                         const struct sink_result *result, struct error *error)
{
    for (size_t i = 0; result != NULL && i < result->refusal_count; i++)
        if (mark(closing, result->refusals[i].key, true, error) != 0)
            return -1;
    for (size_t i = 0; result != NULL && i < result->conflict_count; i++) {
        const struct sink_conflict *conflict = &result->conflicts[i];
        bool aside = conflict->outcome == CONFLICT_PARKED;
        if (mark(closing, conflict->key, aside, error) != 0)
            return -1;
    }
    return 0;
}

/* Copies text of the sink's; NULL stays NULL. */
static struct value keep_text(struct closing *closing, const char *text,
                              size_t size, bool *failed)
{
    char *copy =
        text == NULL ? NULL : arena_copy(&closing->batch->arena, text, size);
    *failed |= text != NULL && copy == NULL;
    return copy == NULL ? value_null() : value_text_sized(copy, size);
}

static int add_conflict(struct closing *closing,
                        const struct sink_conflict *conflict)
{
    bool failed = false;
    const char *outcome = conflict_outcome_name(conflict->outcome);
    const char *rule = conflict_rule_name(conflict->rule);
    const char *data = conflict->centre_data;
    size_t size = conflict->centre_data_size;
    /* Each must fit into an argument, all of them into one request. */
    if (size > OUTBOX_DATA_MAX ||
        closing->centre_bytes + size > SINK_CONFLICT_DATA_MAX)
        data = NULL;
    if (data != NULL)
        closing->centre_bytes += size;
    struct store_call *call = add_call(closing, STATEMENT_BATCH_CONFLICT);
    add_integer(call, closing->batch->source.batch_id);
    add_integer(call, conflict->key);
    add_text(call, outcome, strlen(outcome));
    add_text(call, rule, strlen(rule));
    add_integer(call, conflict->versioned);
    add_integer(call, conflict->stamp);
    add_integer(call, conflict->centre_stamp);
    call->arguments[call->argument_count++] =
        keep_text(closing, conflict->centre_system,
                  strlen(conflict->centre_system), &failed);
    add_integer(call, conflict->centre_deleted);
    call->arguments[call->argument_count++] =
        keep_text(closing, data, size, &failed);
    add_integer(call, closing->now_ms);
    closing->batch->conflicts[conflict->outcome]++;
    return failed ? -1 : 0;
}

static int add_conflicts(struct closing *closing,
                         const struct sink_result *result)
{
    for (size_t i = 0; result != NULL && i < result->conflict_count; i++)
        if (add_conflict(closing, &result->conflicts[i]) != 0)
            return -1;
    return 0;
}

static int add_refusals(struct closing *closing,
                        const struct sink_result *result)
{
    struct batch *batch = closing->batch;
    for (size_t i = 0; result != NULL && i < result->refusal_count; i++) {
        const struct sink_refusal *refusal = &result->refusals[i];
        if (refusal->held) {
            struct store_call *call = add_call(closing, STATEMENT_BATCH_HOLD);
            add_integer(call, batch->source.batch_id);
            add_integer(call, refusal->key);
        } else {
            if (add_reject(closing, batch_operation(batch, refusal->key),
                           refusal) != 0)
                return -1;
            batch->refused++;
        }
    }
    return 0;
}

static bool same_tally(const struct outbox_operation *a,
                       const struct outbox_operation *b)
{
    return a->priority == b->priority &&
           a->table_name_size == b->table_name_size &&
           memcmp(a->table_name, b->table_name, a->table_name_size) == 0;
}

static void tally_operation(struct closing *closing,
                            const struct outbox_operation *operation)
{
    /* Mostly it is as the one before it. */
    if (closing->last != NULL && same_tally(closing->last->sample, operation)) {
        closing->last->applied++;
        return;
    }
    uint64_t hash =
        text_hash(TEXT_HASH_START + operation->priority, operation->table_name,
                  operation->table_name_size);
    size_t at = (size_t)hash & (closing->tally_room - 1);
    while (closing->tallies[at].sample != NULL &&
           !same_tally(closing->tallies[at].sample, operation))
        at = (at + 1) & (closing->tally_room - 1);
    if (closing->tallies[at].sample == NULL)
        closing->tally_count++;
    closing->tallies[at].sample = operation;
    closing->tallies[at].applied++;
    closing->last = &closing->tallies[at];
}

static void tally_applied(struct closing *closing)
{
    struct batch *batch = closing->batch;
    for (size_t i = 0; i < batch->count; i++)
        if (!closing->refused[i]) {
            tally_operation(closing, &batch->operations[i]);
            batch->applied++;
        }
}

static void add_counts(struct closing *closing)
{
    for (size_t i = 0; i < closing->tally_room; i++) {
        const struct tally *tally = &closing->tallies[i];
        if (tally->sample == NULL)
            continue;
        struct store_call *call = add_call(closing, STATEMENT_BATCH_COUNT);
        add_integer(call, closing->batch->source.batch_id);
        add_text(call, tally->sample->table_name,
                 tally->sample->table_name_size);
        add_integer(call, tally->sample->priority);
        add_integer(call, tally->applied);
    }
}

static void add_settle(struct closing *closing)
{
    struct batch *batch = closing->batch;
    const struct batch_terms *terms = closing->terms;
    const char *trigger = trigger_name(terms->trigger);
    struct store_call *call = add_call(closing, STATEMENT_BATCH_SETTLE);
    add_integer(call, batch->source.batch_id);
    add_integer(call, terms->slot);
    add_integer(call, terms->spawn);
    add_integer(call, (int64_t)batch->applied);
    add_integer(call, (int64_t)batch->bytes);
    add_integer(call, batch->started_wall_ms);
    add_integer(call, closing->now_ms);
    add_text(call, trigger, strlen(trigger));
}

static int make_tallies(struct closing *closing,
                        const struct sink_result *result, struct error *error)
{
    struct batch *batch = closing->batch;
    closing->tally_room = 16;
    while (closing->tally_room < 2 * batch->count)
        closing->tally_room *= 2;
    closing->refused = arena_calloc(&batch->arena, batch->count + 1,
                                    sizeof(*closing->refused));
    closing->told =
        arena_calloc(&batch->arena, batch->count + 1, sizeof(*closing->told));
    closing->tallies = arena_calloc(&batch->arena, closing->tally_room,
                                    sizeof(*closing->tallies));
    if (closing->refused == NULL || closing->told == NULL ||
        closing->tallies == NULL)
        return no_memory(batch, error);
    if (mark_refusals(closing, result, error) != 0)
        return -1;
    tally_applied(closing);
    return 0;
}

int batch_close(struct batch *batch, const struct sink_result *result,
                const struct batch_terms *terms, struct error *error)
{
    struct closing closing = {
        .batch = batch, .terms = terms, .now_ms = clock_wall_ms()};
    if (batch->sent_ns != 0)
        batch->took_ns = clock_monotonic_ns() - batch->sent_ns;
    if (batch->started_wall_ms == 0)
        batch->started_wall_ms = closing.now_ms;
    batch->repeated = result != NULL && result->outcome == SINK_REPEATED;
    batch->applied = batch->refused = 0;
    memset(batch->conflicts, 0, sizeof(batch->conflicts));
    if (make_tallies(&closing, result, error) != 0)
        return -1;
    size_t told =
        result == NULL ? 0 : result->refusal_count + result->conflict_count;
    closing.calls = arena_calloc(
        &batch->arena, told + closing.tally_count + 1 + BATCH_SETTLEMENT_SPARE,
        sizeof(*closing.calls));
    /* Who is held behind a parked one is parked too: those first. */
    if (closing.calls == NULL || add_conflicts(&closing, result) != 0 ||
        add_refusals(&closing, result) != 0)
        return no_memory(batch, error);
    add_counts(&closing);
    add_settle(&closing);
    batch->left = closing.refused;
    batch->settlement = closing.calls;
    batch->settlement_count = closing.call_count;
    batch->state = BATCH_APPLIED;
    return 0;
}

/* --- giving back --- */

static int add_holds(struct closing *closing, struct sqlite3_stmt *keys)
{
    int code;
    while ((code = sqlite3_step(keys)) == SQLITE_ROW) {
        if (closing->call_count == closing->call_room)
            return -1;
        struct store_call *call = add_call(closing, STATEMENT_BATCH_HOLD);
        add_integer(call, closing->batch->source.batch_id);
        add_integer(call, sqlite3_column_int64(keys, 0));
    }
    sqlite3_reset(keys);
    return code == SQLITE_DONE ? 0 : -1;
}

static int hold_all(struct closing *closing, struct sqlite3_stmt *keys)
{
    const struct outbox_batch *source = &closing->batch->source;
    for (size_t i = 0; i < source->range_count; i++) {
        const struct outbox_range *range = &source->ranges[i];
        int64_t stripe = (int64_t)((uint64_t)range->stripe << OUTBOX_ID_BITS);
        sqlite3_bind_int64(keys, 1, stripe | range->after_id);
        sqlite3_bind_int64(keys, 2, stripe | range->last_id);
        if (add_holds(closing, keys) != 0)
            return -1;
    }
    for (size_t i = 0; i < source->single_count; i++) {
        if (closing->call_count == closing->call_room)
            return -1;
        struct store_call *call = add_call(closing, STATEMENT_BATCH_HOLD);
        add_integer(call, source->batch_id);
        add_integer(call, source->singles[i]);
    }
    return 0;
}

int batch_give_back(struct batch *batch, struct store_reader *reader,
                    const struct batch_terms *terms, struct error *error)
{
    struct sqlite3_stmt *keys = NULL;
    struct closing closing = {
        .batch = batch, .terms = terms, .now_ms = clock_wall_ms()};
    closing.call_room = batch->source.operation_estimate;
    closing.calls = arena_calloc(&batch->arena,
                                 closing.call_room + 1 + BATCH_SETTLEMENT_SPARE,
                                 sizeof(*closing.calls));
    int result = closing.calls == NULL ? -1 : 0;
    if (result == 0 &&
        sqlite3_prepare_v2(store_reader_db(reader),
                           "SELECT o.key FROM outbox o WHERE o.key > ?1 AND "
                           "o.key <= ?2 AND NOT EXISTS (SELECT 1 FROM "
                           "outbox_exceptions x WHERE x.key = o.key)",
                           -1, &keys, NULL) != SQLITE_OK)
        result = -1;
    if (result == 0)
        result = hold_all(&closing, keys);
    sqlite3_finalize(keys);
    if (result != 0)
        return error_set(error, ERROR_IO,
                         "batch %lld does not fit into memory and cannot be "
                         "given back: %s",
                         (long long)batch->source.batch_id,
                         sqlite3_errmsg(store_reader_db(reader)));
    batch->started_wall_ms = closing.now_ms;
    add_settle(&closing);
    batch->settlement = closing.calls;
    batch->settlement_count = closing.call_count;
    batch->state = BATCH_APPLIED;
    return 0;
}
