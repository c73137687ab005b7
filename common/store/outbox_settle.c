/* SPDX-License-Identifier: Apache-2.0
 *
 * Settlements: BATCH_COUNT, BATCH_REJECT and BATCH_HOLD of a batch, then its
 * BATCH_SETTLE, in one request.
 */
#include <sqlite3.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/crash_point.h"
#include "common/store/writer_internal.h"

int outbox_unmark(struct store_writer *writer, unsigned stripe, int64_t after,
                  int64_t last, struct error *error)
{
    unsigned lane = stripe % OUTBOX_LANES;
    if (writer->state.states[lane][EXCEPTION_SETTLED] == 0)
        return 0;
    if (SQL_RUN(writer, SQL_EXCEPTIONS_UNMARK, error,
                value_integer(stripe_key(stripe, after)),
                value_integer(stripe_key(stripe, last))) != 0)
        return -1;
    outbox_state_move(writer, lane, EXCEPTION_SETTLED, -1,
                      sqlite3_changes64(writer->db));
    return 0;
}

static int refuse_batch(struct statement_call *call, int64_t batch_id)
{
    sqlite3_stmt *row = SQL_QUERY(call->writer, SQL_BATCH_FINISHED, call->error,
                                  value_integer(batch_id));
    if (row == NULL)
        return -1;
    int step = sql_step(call->writer, row, call->error);
    char when[CLOCK_TEXT_SIZE] = "";
    if (step > 0)
        clock_format(sqlite3_column_int64(row, 0), when);
    sqlite3_reset(row);
    if (step < 0)
        return -1;
    if (step == 0)
        return error_set(call->error, ERROR_DATA,
                         "there is no batch %lld in this store; nothing was "
                         "changed",
                         (long long)batch_id);
    return error_set(call->error, ERROR_NOT_ALLOWED,
                     "batch %lld was settled already, at %s; nothing was "
                     "changed",
                     (long long)batch_id, when);
}

struct batch *settling_batch(struct statement_call *call)
{
    struct request_state *request = &call->writer->request;
    int64_t batch_id = call->arguments[0].integer;
    if (request->settling != 0 && request->settling != batch_id) {
        error_set(call->error, ERROR_DATA,
                  "a request settles one batch, this one names %lld and %lld; "
                  "nothing was changed",
                  (long long)request->settling, (long long)batch_id);
        return NULL;
    }
    struct batch *batch = batch_find(call->writer, batch_id);
    if (batch == NULL)
        refuse_batch(call, batch_id);
    else
        request->settling = batch_id;
    return batch;
}

int run_batch_count(struct statement_call *call)
{
    struct store_writer *writer = call->writer;
    const struct value *v = call->arguments;
    struct batch *batch = settling_batch(call);
    if (batch == NULL)
        return -1;
    int64_t operations = v[3].integer;
    if (v[2].integer < 0 || v[2].integer >= OUTBOX_PRIORITIES ||
        operations < 0 || operations > batch->operations)
        return error_set(call->error, ERROR_DATA,
                         "batch %lld: a count of %lld operations with priority "
                         "%lld cannot be (the batch has %lld)",
                         (long long)batch->batch_id, (long long)operations,
                         (long long)v[2].integer, (long long)batch->operations);
    uint64_t hash =
        text_hash(text_hash(TEXT_HASH_START, v[1].bytes, v[1].size), "", 1);
    int64_t table =
        table_counts_find(writer, v[1].bytes, v[1].size, hash, call->error);
    if (table < 0)
        return -1;
    call->result->changed = operations;
    return table_counts_add(writer, (uint32_t)table, (unsigned)v[2].integer,
                            -operations, call->error);
}

static int remember_release(struct statement_call *call, uint64_t record_hash)
{
    struct request_state *request = &call->writer->request;
    if (request->release_count == request->release_capacity) {
        size_t capacity = request->release_capacity * 2 + 64;
        uint64_t *releases =
            realloc(request->releases, capacity * sizeof(*releases));
        if (releases == NULL)
            return result_out_of_memory(call->error);
        request->releases = releases;
        request->release_capacity = capacity;
    }
    request->releases[request->release_count++] = record_hash;
    return 0;
}

static int refuse_key(struct statement_call *call, const struct batch *batch,
                      int64_t key)
{
    return error_set(call->error, ERROR_DATA,
                     "batch %lld does not hold key %lld; nothing was changed",
                     (long long)batch->batch_id, (long long)key);
}

static int read_single(struct statement_call *call, const struct batch *batch,
                       struct refused *refused, bool *exists)
{
    struct store_writer *writer = call->writer;
    sqlite3_stmt *row = SQL_QUERY(writer, SQL_EXCEPTION_READ, call->error,
                                  value_integer(refused->key));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, call->error);
    *exists = step > 0;
    if (step > 0) {
        refused->is_single =
            sqlite3_column_int(row, 0) == EXCEPTION_IN_FLIGHT &&
            sqlite3_column_int64(row, 3) == batch->batch_id;
        refused->retry_count = sqlite3_column_int64(row, 2);
    }
    sqlite3_reset(row);
    return step < 0 ? -1 : 0;
}

static int read_record(struct statement_call *call, const struct batch *batch,
                       struct refused *refused)
{
    struct store_writer *writer = call->writer;
    sqlite3_stmt *row = SQL_QUERY(writer, SQL_OUTBOX_RECORD, call->error,
                                  value_integer(refused->key));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, call->error);
    if (step <= 0)
        return step < 0 ? -1 : refuse_key(call, batch, refused->key);
    const char *record = (const char *)sqlite3_column_text(row, 1);
    refused->table_size = (size_t)sqlite3_column_bytes(row, 0);
    refused->table = arena_copy(call->arena, sqlite3_column_text(row, 0),
                                refused->table_size);
    if (refused->table != NULL && record != NULL)
        refused->record_hash =
            outbox_record_hash(refused->table, refused->table_size, record,
                               (size_t)sqlite3_column_bytes(row, 1));
    sqlite3_reset(row);
    return refused->table == NULL ? result_out_of_memory(call->error) : 0;
}

int refused_read(struct statement_call *call, const struct batch *batch,
                 int64_t key, struct refused *refused)
{
    const struct outbox_state *state = &call->writer->state;
    int stripe = stripe_index_of(key >> OUTBOX_ID_BITS);
    *refused = (struct refused){.key = key};
    if (stripe < 0 || (batch->lanes >> key_lane(key) & 1) == 0)
        return refuse_key(call, batch, key);
    bool exists;
    if (read_single(call, batch, refused, &exists) != 0)
        return -1;
    bool in_range = key_id(key) > state->settled[stripe] &&
                    key_id(key) <= state->claimed[stripe] && !exists;
    if (!refused->is_single && !in_range)
        return refuse_key(call, batch, key);
    return read_record(call, batch, refused);
}

/* Out of a range it comes as important as the later ones of its record that
 * were raised while it was in flight: they wait for it. */
static int insert_refused(struct statement_call *call,
                          const struct exception *exception)
{
    struct exception placed = *exception;
    sqlite3_stmt *row =
        SQL_QUERY(call->writer, SQL_RECORD_URGENCY, call->error,
                  value_integer((int64_t)exception->record_hash),
                  value_integer(key_id(exception->key)));
    if (row == NULL)
        return -1;
    int step = sql_step(call->writer, row, call->error);
    if (step > 0 && sqlite3_column_type(row, 0) != SQLITE_NULL &&
        sqlite3_column_int64(row, 0) < placed.priority)
        placed.priority = (unsigned)sqlite3_column_int(row, 0);
    sqlite3_reset(row);
    return step < 0 ? -1 : exception_insert(call->writer, &placed, call->error);
}

int refused_put_aside(struct statement_call *call,
                      const struct refused *refused,
                      const struct exception *exception)
{
    struct store_writer *writer = call->writer;
    if (remember_release(call, exception->record_hash) != 0)
        return -1;
    if (!refused->is_single)
        return insert_refused(call, exception);
    enum exception_state state = exception->state;
    if (exception_park_held(writer, exception, &state, call->error) != 0)
        return -1;
    if (SQL_RUN(writer, SQL_EXCEPTION_REJECT, call->error,
                value_integer(exception->key), value_integer(state),
                value_integer(exception->retry_count),
                value_integer(exception->not_before_ms), exception->sqlstate,
                exception->message, value_integer(clock_wall_ms())) != 0)
        return -1;
    outbox_state_move(writer, key_lane(exception->key), EXCEPTION_IN_FLIGHT,
                      (int)state, 1);
    return 0;
}

int run_batch_reject(struct statement_call *call)
{
    struct store_writer *writer = call->writer;
    const struct value *v = call->arguments;
    struct batch *batch = settling_batch(call);
    struct refused refused;
    call->writer->request.sent = true;
    if (batch == NULL || refused_read(call, batch, v[1].integer, &refused) != 0)
        return -1;
    bool dead = refused.retry_count + 1 > v[4].integer;
    struct exception exception = {.key = refused.key,
                                  .record_hash = refused.record_hash,
                                  .state =
                                      dead ? EXCEPTION_DEAD : EXCEPTION_RETRY,
                                  .priority = key_priority(refused.key),
                                  .retry_count = refused.retry_count + 1,
                                  .not_before_ms = dead ? 0 : v[5].integer,
                                  .sqlstate = v[2],
                                  .message = v[3]};
    if (refused_put_aside(call, &refused, &exception) != 0)
        return -1;
    call->result->changed = 1;
    if (!dead)
        return record_hold(writer, key_lane(refused.key), refused.record_hash,
                           key_id(refused.key), call->error);
    uint64_t hash = text_hash(
        text_hash(TEXT_HASH_START, refused.table, refused.table_size), "", 1);
    int64_t table = table_counts_find(writer, refused.table, refused.table_size,
                                      hash, call->error);
    if (table < 0)
        return -1;
    return table_counts_add(writer, (uint32_t)table, key_priority(refused.key),
                            -1, call->error);
}

int run_batch_hold(struct statement_call *call)
{
    struct batch *batch = settling_batch(call);
    struct refused refused;
    if (batch == NULL ||
        refused_read(call, batch, call->arguments[1].integer, &refused) != 0)
        return -1;
    struct exception exception = {.key = refused.key,
                                  .record_hash = refused.record_hash,
                                  .state = EXCEPTION_HELD,
                                  .priority = key_priority(refused.key),
                                  .retry_count = refused.retry_count};
    if (record_raise(call->writer, refused.record_hash, key_id(refused.key),
                     exception.priority, call->error) != 0)
        return -1;
    call->result->changed = 1;
    return refused_put_aside(call, &refused, &exception);
}

/* The cursors of the batch's stripes move up. */
static int advance_cursors(struct statement_call *call,
                           const struct batch *batch)
{
    struct store_writer *writer = call->writer;
    struct outbox_state *state = &writer->state;
    for (unsigned i = 0; i < OUTBOX_STRIPES; i++) {
        int64_t after = state->settled[i];
        if ((batch->lanes >> i % OUTBOX_LANES & 1) == 0 ||
            state->claimed[i] == after)
            continue;
        state->settled[i] = state->claimed[i];
        if (writer->request.sent)
            state->told[i] = state->settled[i];
        if (outbox_unmark(writer, i, after, state->settled[i], call->error) !=
                0 ||
            outbox_cursor_write(writer, i, call->error) != 0)
            return -1;
    }
    return 0;
}

int exception_settle(struct store_writer *writer, int64_t key,
                     enum exception_state from, struct error *error)
{
    int stripe = stripe_index_of(key >> OUTBOX_ID_BITS);
    if (stripe >= 0 && key_id(key) > writer->state.settled[stripe]) {
        outbox_state_move(writer, key_lane(key), (int)from, EXCEPTION_SETTLED,
                          1);
        return SQL_RUN(writer, SQL_EXCEPTION_STATE, error, value_integer(key),
                       value_integer(EXCEPTION_SETTLED), value_null());
    }
    outbox_state_move(writer, key_lane(key), (int)from, -1, 1);
    return SQL_RUN(writer, SQL_EXCEPTION_DELETE, error, value_integer(key));
}

static int settle_singles(struct statement_call *call,
                          const struct batch *batch)
{
    struct store_writer *writer = call->writer;
    sqlite3_stmt *rows = SQL_QUERY(writer, SQL_BATCH_SINGLES, call->error,
                                   value_integer(batch->batch_id));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, call->error)) > 0) {
        if (sqlite3_column_type(rows, 1) == SQLITE_NULL ||
            sqlite3_column_int(rows, 1) != EXCEPTION_IN_FLIGHT)
            continue;
        if (remember_release(call, (uint64_t)sqlite3_column_int64(rows, 2)) !=
                0 ||
            exception_settle(writer, sqlite3_column_int64(rows, 0),
                             EXCEPTION_IN_FLIGHT, call->error) != 0) {
            sqlite3_reset(rows);
            return -1;
        }
    }
    return step;
}

static int release_all(struct statement_call *call)
{
    struct request_state *request = &call->writer->request;
    for (size_t i = 0; i < request->release_count; i++)
        if (record_release(call->writer, outbox_lane(request->releases[i]),
                           request->releases[i], call->error) != 0)
            return -1;
    request->release_count = 0;
    return 0;
}

int run_batch_settle(struct statement_call *call)
{
    struct store_writer *writer = call->writer;
    const struct value *v = call->arguments;
    struct batch *batch = settling_batch(call);
    if (batch == NULL)
        return -1;
    if (batch->slot != v[1].integer || batch->spawn != v[2].integer)
        return error_set(call->error, ERROR_NOT_ALLOWED,
                         "batch %lld is held by slot %lld, spawn %lld, not by "
                         "slot %lld, spawn %lld; nothing was changed",
                         (long long)batch->batch_id, (long long)batch->slot,
                         (long long)batch->spawn, (long long)v[1].integer,
                         (long long)v[2].integer);
    int64_t applied = v[3].integer;
    if (applied < 0 || applied > batch->operations)
        return error_set(call->error, ERROR_DATA,
                         "batch %lld has %lld operations, %lld cannot have "
                         "been applied; nothing was changed",
                         (long long)batch->batch_id,
                         (long long)batch->operations, (long long)applied);
    writer->request.batches_touched = true;
    writer->request.sent |= applied > 0;
    if (advance_cursors(call, batch) != 0 || settle_singles(call, batch) != 0 ||
        release_all(call) != 0)
        return -1;
    if (SQL_RUN(writer, SQL_BATCH_FINISH, call->error, v[0], v[3],
                value_integer(batch->operations - applied), v[4], v[5], v[6],
                v[7], v[1], v[2]) != 0)
        return -1;
    *batch = (struct batch){0};
    writer->request.settling = 0;
    writer->topics |= TOPIC_SETTLED;
    call->result->changed = applied;
    CRASH_POINT(SETTLE_STORED);
    return 0;
}
