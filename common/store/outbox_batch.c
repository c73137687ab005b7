/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches in flight: what they are, and how they are answered.
 */
#include <sqlite3.h>

#include "common/store/writer_internal.h"

/* Rows of a batch: an identity, ranges, singles. */
enum batch_row { BATCH_ROW_HEAD, BATCH_ROW_RANGE, BATCH_ROW_SINGLE };

#define BATCH_COLUMNS 6

static int load_lanes(struct store_writer *writer, struct batch *batch,
                      struct error *error)
{
    sqlite3_stmt *rows = SQL_QUERY(writer, SQL_BATCH_SINGLES, error,
                                   value_integer(batch->batch_id));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, error)) > 0)
        batch->lanes |= 1u << key_lane(sqlite3_column_int64(rows, 0));
    return step;
}

/* A stripe in flight belongs to the one batch whose range ends there. */
static int load_stripes(struct store_writer *writer, struct error *error)
{
    const struct outbox_state *state = &writer->state;
    for (unsigned i = 0; i < OUTBOX_STRIPES; i++) {
        if (state->claimed[i] <= state->settled[i])
            continue;
        sqlite3_stmt *row = SQL_QUERY(writer, SQL_BATCH_AT, error,
                                      value_integer(stripe_number(i)),
                                      value_integer(state->claimed[i]));
        if (row == NULL)
            return -1;
        int step = sql_step(writer, row, error);
        int64_t batch_id = step > 0 ? sqlite3_column_int64(row, 0) : 0;
        sqlite3_reset(row);
        struct batch *batch = batch_find(writer, batch_id);
        if (step < 0)
            return -1;
        if (batch == NULL)
            return error_set(error, ERROR_DAMAGED,
                             "local store %s: nothing says which batch holds "
                             "stripe %lld up to id %lld; run tidemill doctor",
                             writer->path, (long long)stripe_number(i),
                             (long long)state->claimed[i]);
        batch->lanes |= 1u << i % OUTBOX_LANES;
    }
    return 0;
}

int batches_load(struct store_writer *writer, struct error *error)
{
    unsigned count = 0;
    for (unsigned i = 0; i < OUTBOX_LANES; i++)
        writer->batches[i] = (struct batch){0};
    sqlite3_stmt *rows = sql_get(writer, SQL_BATCHES_READ, error);
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, error)) > 0 && count < OUTBOX_LANES)
        writer->batches[count++] =
            (struct batch){.batch_id = sqlite3_column_int64(rows, 0),
                           .epoch = sqlite3_column_int64(rows, 1),
                           .slot = sqlite3_column_int64(rows, 2),
                           .spawn = sqlite3_column_int64(rows, 3),
                           .operations = sqlite3_column_int64(rows, 4)};
    sqlite3_reset(rows);
    if (step < 0)
        return -1;
    if (step > 0)
        return error_set(error, ERROR_DAMAGED,
                         "local store %s: more than %d batches are in flight; "
                         "run tidemill doctor",
                         writer->path, OUTBOX_LANES);
    for (unsigned i = 0; i < count; i++)
        if (load_lanes(writer, &writer->batches[i], error) != 0)
            return -1;
    return load_stripes(writer, error);
}

struct batch *batch_find(struct store_writer *writer, int64_t batch_id)
{
    for (unsigned i = 0; i < OUTBOX_LANES; i++)
        if (writer->batches[i].batch_id == batch_id && batch_id != 0)
            return &writer->batches[i];
    return NULL;
}

uint32_t batches_lanes(const struct store_writer *writer)
{
    uint32_t lanes = 0;
    for (unsigned i = 0; i < OUTBOX_LANES; i++)
        if (writer->batches[i].batch_id != 0)
            lanes |= writer->batches[i].lanes;
    return lanes;
}

/* Up to which batch all are settled: none of those is ever sent again. */
static int64_t batches_settled(const struct store_writer *writer)
{
    int64_t first = INT64_MAX;
    for (unsigned i = 0; i < OUTBOX_LANES; i++)
        if (writer->batches[i].batch_id != 0 &&
            writer->batches[i].batch_id < first)
            first = writer->batches[i].batch_id;
    return first - 1;
}

static int put_row(struct statement_call *call, size_t *capacity,
                   int64_t batch_id, enum batch_row kind, int64_t a, int64_t b,
                   int64_t c, int64_t d)
{
    struct value *row = result_row(call, capacity);
    if (row == NULL)
        return result_out_of_memory(call->error);
    row[0] = value_integer(batch_id);
    row[1] = value_integer((int64_t)kind);
    row[2] = value_integer(a);
    row[3] = value_integer(b);
    row[4] = value_integer(c);
    row[5] = value_integer(d);
    return 0;
}

static int put_ranges(struct statement_call *call, size_t *capacity,
                      const struct batch *batch)
{
    const struct outbox_state *state = &call->writer->state;
    for (unsigned i = 0; i < OUTBOX_STRIPES; i++)
        if ((batch->lanes >> i % OUTBOX_LANES & 1) != 0 &&
            state->claimed[i] > state->settled[i] &&
            put_row(call, capacity, batch->batch_id, BATCH_ROW_RANGE,
                    stripe_number(i), state->settled[i], state->claimed[i],
                    state->told[i]) != 0)
            return -1;
    return 0;
}

static int put_singles(struct statement_call *call, size_t *capacity,
                       const struct batch *batch)
{
    sqlite3_stmt *rows = SQL_QUERY(call->writer, SQL_BATCH_SINGLES, call->error,
                                   value_integer(batch->batch_id));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(call->writer, rows, call->error)) > 0)
        if (put_row(call, capacity, batch->batch_id, BATCH_ROW_SINGLE,
                    sqlite3_column_int64(rows, 0), 0, 0, 0) != 0) {
            sqlite3_reset(rows);
            return -1;
        }
    return step;
}

int batch_rows(struct statement_call *call, const struct batch **batches,
               size_t count)
{
    size_t capacity = 0;
    call->result->columns = BATCH_COLUMNS;
    for (size_t i = 0; i < count; i++) {
        const struct batch *batch = batches[i];
        if (put_row(call, &capacity, batch->batch_id, BATCH_ROW_HEAD,
                    batch->epoch, batch->operations,
                    batches_settled(call->writer), 0) != 0 ||
            put_ranges(call, &capacity, batch) != 0 ||
            put_singles(call, &capacity, batch) != 0)
            return -1;
    }
    call->result->changed = (int64_t)count;
    return 0;
}

int run_batch_adopt(struct statement_call *call)
{
    struct store_writer *writer = call->writer;
    int64_t slot = call->arguments[0].integer;
    int64_t spawn = call->arguments[1].integer;
    int64_t pool_size = call->arguments[2].integer;
    int64_t last_spawn = call->arguments[3].integer;
    const struct batch *adopted[OUTBOX_LANES];
    size_t count = 0;
    for (unsigned i = 0; i < OUTBOX_LANES; i++) {
        struct batch *batch = &writer->batches[i];
        bool later = batch->spawn > last_spawn &&
                     batch->spawn <= last_spawn + SPAWNS_LATER;
        bool beyond = slot == 0 && batch->slot >= pool_size && !later;
        if (batch->batch_id == 0 || !(batch->slot == slot || beyond))
            continue;
        adopted[count++] = batch;
        if (batch->slot == slot && batch->spawn == spawn)
            continue;
        writer->request.batches_touched = true;
        batch->slot = slot;
        batch->spawn = spawn;
        if (SQL_RUN(writer, SQL_BATCH_OWNER, call->error,
                    value_integer(batch->batch_id), value_integer(slot),
                    value_integer(spawn)) != 0)
            return -1;
    }
    return batch_rows(call, adopted, count);
}
