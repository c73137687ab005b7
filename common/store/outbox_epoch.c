/* SPDX-License-Identifier: Apache-2.0
 *
 * A store that went back in time (put back from a backup, a disk's or a
 * machine's snapshot) learns from the centre what of it was applied since,
 * and settles that, before anything is claimed again.
 *
 * Of each stripe the centre knows the mark: the end of the last range of it
 * that was applied; the keys below that were not applied (missing), and the
 * keys above that were (ahead).  Ranges of a stripe follow each other
 * without gaps, so that is all.  A range in flight in the backup was applied
 * whole, or not at all; one that was claimed since, before the centre was
 * asked, may have been in part.  What remains of it is sent under the new
 * epoch.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/writer_internal.h"

/* Ids of a new epoch begin so far behind all that the store and the centre
 * know: further than anybody can have accepted without sending it. */
#define EPOCH_ID_LEAP (INT64_C(1) << 30)

#define EXCEPTIONS_STEP 512

struct keys {
    int64_t *keys; /* sorted */
    size_t count;
};

struct epoch {
    struct statement_call *call;
    struct store_writer *writer;
    int64_t mark[OUTBOX_STRIPES];
    struct keys missing, ahead;
    int64_t highest; /* id */
    int64_t settled; /* operations */
};

static int compare_keys(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static bool has_key(const struct keys *keys, int64_t key)
{
    return keys->count > 0 && bsearch(&key, keys->keys, keys->count,
                                      sizeof(key), compare_keys) != NULL;
}

static int take_keys(struct epoch *epoch, const struct value *from,
                     struct keys *keys)
{
    keys->count = from->size / sizeof(int64_t);
    keys->keys = arena_alloc(epoch->call->arena, from->size + 1);
    if (keys->keys == NULL)
        return result_out_of_memory(epoch->call->error);
    if (from->size == 0)
        return 0;
    memcpy(keys->keys, from->bytes, keys->count * sizeof(int64_t));
    qsort(keys->keys, keys->count, sizeof(int64_t), compare_keys);
    for (size_t i = 0; i < keys->count; i++) {
        if (stripe_index_of(keys->keys[i] >> OUTBOX_ID_BITS) < 0)
            return error_set(epoch->call->error, ERROR_DATA,
                             "the centre names key %lld, which is of no "
                             "stripe; nothing was changed",
                             (long long)keys->keys[i]);
        if (key_id(keys->keys[i]) > epoch->highest)
            epoch->highest = key_id(keys->keys[i]);
    }
    return 0;
}

static bool is_applied(const struct epoch *epoch, int64_t key)
{
    int stripe = stripe_index_of(key >> OUTBOX_ID_BITS);
    if (stripe < 0)
        return false;
    return key_id(key) <= epoch->mark[stripe] ? !has_key(&epoch->missing, key)
                                              : has_key(&epoch->ahead, key);
}

/* --- operations in their line --- */

/* Passes one row of a range that the centre has had. */
static int pass_row(struct epoch *epoch, int64_t key, uint64_t record_hash)
{
    struct store_writer *writer = epoch->writer;
    struct error *error = epoch->call->error;
    bool exists;
    if (exception_exists(writer, key, &exists, error) != 0)
        return -1;
    if (exists)
        return 0;
    if (has_key(&epoch->missing, key)) {
        struct exception ready = {.key = key,
                                  .record_hash = record_hash,
                                  .state = EXCEPTION_READY,
                                  .priority = key_priority(key)};
        return exception_insert(writer, &ready, error);
    }
    epoch->settled++;
    return outbox_count_key(writer, key, -1, error);
}

static int pass_rows(struct epoch *epoch, unsigned stripe, int64_t last)
{
    struct store_writer *writer = epoch->writer;
    sqlite3_stmt *rows = SQL_QUERY(
        writer, SQL_OUTBOX_RECORDS_0, epoch->call->error,
        value_integer(stripe_key(stripe, writer->state.settled[stripe])),
        value_integer(stripe_key(stripe, last)));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, epoch->call->error)) > 0) {
        const char *table = (const char *)sqlite3_column_text(rows, 1);
        const char *record = (const char *)sqlite3_column_text(rows, 2);
        uint64_t hash = outbox_record_hash(
            table != NULL ? table : "", (size_t)sqlite3_column_bytes(rows, 1),
            record != NULL ? record : "",
            (size_t)sqlite3_column_bytes(rows, 2));
        if (pass_row(epoch, sqlite3_column_int64(rows, 0), hash) != 0) {
            sqlite3_reset(rows);
            return -1;
        }
    }
    return step;
}

static int pass_stripe(struct epoch *epoch, unsigned stripe)
{
    struct outbox_state *state = &epoch->writer->state;
    int64_t mark = epoch->mark[stripe];
    if (mark <= state->settled[stripe])
        return 0;
    int64_t last = mark < state->tail[stripe] ? mark : state->tail[stripe];
    if (pass_rows(epoch, stripe, last) != 0)
        return -1;
    if (last > state->settled[stripe])
        state->settled[stripe] = last;
    if (state->claimed[stripe] < state->settled[stripe])
        state->claimed[stripe] = state->settled[stripe];
    state->told[stripe] = state->settled[stripe];
    state->head[stripe] = 0;
    return outbox_cursor_write(epoch->writer, stripe, epoch->call->error);
}

/* --- operations outside their line --- */

static int settle_exception(struct epoch *epoch, int64_t key, int state,
                            uint64_t record_hash)
{
    struct store_writer *writer = epoch->writer;
    struct error *error = epoch->call->error;
    int stripe = stripe_index_of(key >> OUTBOX_ID_BITS);
    bool passed = key_id(key) <= writer->state.settled[stripe];
    bool pending = state != EXCEPTION_DEAD && state != EXCEPTION_CONFLICT &&
                   state != EXCEPTION_SETTLED;
    if (state == EXCEPTION_SETTLED && !passed)
        return 0;
    if (pending && (outbox_count_key(writer, key, -1, error) != 0 ||
                    SQL_RUN(writer, SQL_BATCH_SINGLE_DROP, error,
                            value_integer(key)) != 0))
        return -1;
    epoch->settled += pending;
    outbox_state_move(writer, key_lane(key), state,
                      passed ? -1 : EXCEPTION_SETTLED, 1);
    if ((passed
             ? SQL_RUN(writer, SQL_EXCEPTION_DELETE, error, value_integer(key))
             : SQL_RUN(writer, SQL_EXCEPTION_STATE, error, value_integer(key),
                       value_integer(EXCEPTION_SETTLED), value_null())) != 0)
        return -1;
    return record_release(writer, key_lane(key), record_hash, error);
}

/* All that the backup has outside its line, a few at a time: settling
 * changes the table. */
static int settle_exceptions(struct epoch *epoch)
{
    struct {
        int64_t key;
        int state;
        uint64_t record_hash;
    } found[EXCEPTIONS_STEP];
    int64_t after = -1;
    int count;
    do {
        sqlite3_stmt *rows =
            SQL_QUERY(epoch->writer, SQL_EXCEPTIONS_ALL, epoch->call->error,
                      value_integer(after), value_integer(EXCEPTIONS_STEP));
        int step = rows == NULL ? -1 : 1;
        count = 0;
        while (step > 0 &&
               (step = sql_step(epoch->writer, rows, epoch->call->error)) > 0) {
            found[count].key = sqlite3_column_int64(rows, 0);
            found[count].state = sqlite3_column_int(rows, 1);
            found[count++].record_hash =
                (uint64_t)sqlite3_column_int64(rows, 2);
        }
        if (step < 0)
            return -1;
        for (int i = 0; i < count; i++) {
            after = found[i].key;
            if (is_applied(epoch, after) &&
                settle_exception(epoch, after, found[i].state,
                                 found[i].record_hash) != 0)
                return -1;
        }
    } while (count == EXCEPTIONS_STEP);
    return 0;
}

/* What left its line only after the backup, and was applied. */
static int skip_ahead(struct epoch *epoch, int64_t key)
{
    struct store_writer *writer = epoch->writer;
    struct error *error = epoch->call->error;
    int stripe = stripe_index_of(key >> OUTBOX_ID_BITS);
    bool exists = false;
    if (key_id(key) <= writer->state.settled[stripe] ||
        exception_exists(writer, key, &exists, error) != 0 || exists)
        return exists || key_id(key) <= writer->state.settled[stripe] ? 0 : -1;
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_OUTBOX_RECORD, error, value_integer(key));
    int step = row == NULL ? -1 : sql_step(writer, row, error);
    struct exception done = {
        .key = key, .state = EXCEPTION_SETTLED, .priority = key_priority(key)};
    if (step > 0)
        done.record_hash =
            outbox_record_hash((const char *)sqlite3_column_text(row, 0),
                               (size_t)sqlite3_column_bytes(row, 0),
                               (const char *)sqlite3_column_text(row, 1),
                               (size_t)sqlite3_column_bytes(row, 1));
    sqlite3_reset(row);
    if (step <= 0)
        return step; /* the row came after the backup too */
    epoch->settled++;
    return exception_insert(writer, &done, error) != 0
               ? -1
               : outbox_count_key(writer, key, -1, error);
}

/* --- the statement --- */

static int take_arguments(struct epoch *epoch)
{
    const struct value *v = epoch->call->arguments;
    struct keys marks;
    if (v[0].integer <= epoch->writer->state.epoch)
        return error_set(epoch->call->error, ERROR_NOT_ALLOWED,
                         "epoch %lld is not later than this store's %lld; "
                         "nothing was changed",
                         (long long)v[0].integer,
                         (long long)epoch->writer->state.epoch);
    if (take_keys(epoch, &v[1], &marks) != 0 ||
        take_keys(epoch, &v[2], &epoch->missing) != 0 ||
        take_keys(epoch, &v[3], &epoch->ahead) != 0)
        return -1;
    for (size_t i = 0; i < marks.count; i++)
        epoch->mark[stripe_index_of(marks.keys[i] >> OUTBOX_ID_BITS)] =
            key_id(marks.keys[i]);
    return 0;
}

static int write_epoch(struct epoch *epoch, int64_t number)
{
    struct store_writer *writer = epoch->writer;
    struct error *error = epoch->call->error;
    struct outbox_state *state = &writer->state;
    if (state->next_id <= epoch->highest)
        state->next_id = epoch->highest + 1;
    state->next_id += EPOCH_ID_LEAP;
    state->epoch = number;
    writer->request.batches_touched = true;
    for (unsigned i = 0; i < OUTBOX_LANES; i++)
        writer->batches[i].epoch = number;
    if (SQL_RUN(writer, SQL_BATCHES_EPOCH, error, value_integer(number)) != 0 ||
        SQL_RUN(writer, SQL_META_WRITE, error, value_text_sized("epoch", 5),
                value_integer(number)) != 0 ||
        SQL_RUN(writer, SQL_META_WRITE, error, value_text_sized("restored", 8),
                value_integer(0)) != 0)
        return -1;
    return SQL_RUN(writer, SQL_META_WRITE, error,
                   value_text_sized("last_id", 7),
                   value_integer(state->next_id - 1));
}

int run_epoch_begin(struct statement_call *call)
{
    struct epoch epoch = {.call = call, .writer = call->writer};
    if (take_arguments(&epoch) != 0)
        return -1;
    for (unsigned i = 0; i < OUTBOX_STRIPES; i++)
        if (pass_stripe(&epoch, i) != 0)
            return -1;
    if (settle_exceptions(&epoch) != 0)
        return -1;
    for (size_t i = 0; i < epoch.ahead.count; i++)
        if (skip_ahead(&epoch, epoch.ahead.keys[i]) != 0)
            return -1;
    call->writer->topics |= TOPIC_OUTBOX | TOPIC_SETTLED;
    call->result->changed = epoch.settled;
    return write_epoch(&epoch, call->arguments[0].integer);
}
