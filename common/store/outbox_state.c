/* SPDX-License-Identifier: Apache-2.0 */
#include <sqlite3.h>

#include "common/store/writer_internal.h"

int stripe_index_of(int64_t number)
{
    int64_t priority = number >> 6;
    int64_t lane = number & 63;
    if (number < 0 || priority >= OUTBOX_PRIORITIES || lane >= OUTBOX_LANES)
        return -1;
    return (int)stripe_index((unsigned)priority, (unsigned)lane);
}

static int load_cursors(struct store_writer *writer, struct error *error)
{
    struct outbox_state *state = &writer->state;
    sqlite3_stmt *rows = sql_get(writer, SQL_CURSORS_READ, error);
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, error)) > 0) {
        int i = stripe_index_of(sqlite3_column_int64(rows, 0));
        if (i < 0)
            continue;
        state->settled[i] = sqlite3_column_int64(rows, 1);
        state->claimed[i] = sqlite3_column_int64(rows, 2);
    }
    return step;
}

static int load_states(struct store_writer *writer, struct error *error)
{
    sqlite3_stmt *rows = sql_get(writer, SQL_STATES_READ, error);
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, error)) > 0) {
        int64_t lane = sqlite3_column_int64(rows, 0);
        int64_t state = sqlite3_column_int64(rows, 1);
        if (lane >= 0 && lane < OUTBOX_LANES && state >= 0 &&
            state < EXCEPTION_STATES)
            writer->state.states[lane][state] = sqlite3_column_int64(rows, 2);
    }
    return step;
}

/* One id by a seek at an end of a stripe's rows; 0 when there is none. */
static int seek_id(struct store_writer *writer, enum sql sql, unsigned stripe,
                   int64_t after, int64_t *id, struct error *error)
{
    sqlite3_stmt *row =
        SQL_QUERY(writer, sql, error, value_integer(stripe_key(stripe, after)),
                  value_integer(stripe_key(stripe, OUTBOX_ID_MAX)));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    *id = step > 0 ? key_id(sqlite3_column_int64(row, 0)) : 0;
    sqlite3_reset(row);
    return step < 0 ? -1 : 0;
}

static int load_ends(struct store_writer *writer, struct error *error)
{
    struct outbox_state *state = &writer->state;
    for (unsigned i = 0; i < OUTBOX_STRIPES; i++) {
        int64_t tail;
        if (seek_id(writer, SQL_OUTBOX_TAIL, i, 0, &tail, error) != 0)
            return -1;
        if (tail < state->claimed[i])
            tail = state->claimed[i];
        state->tail[i] = tail;
        state->head[i] = state->claimed[i] + 1;
        if (tail > state->claimed[i] &&
            seek_id(writer, SQL_OUTBOX_HEAD, i, state->claimed[i],
                    &state->head[i], error) != 0)
            return -1;
        if (tail >= state->next_id)
            state->next_id = tail + 1;
    }
    return 0;
}

int outbox_state_load(struct store_writer *writer, struct error *error)
{
    writer->state = (struct outbox_state){.next_id = 1};
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_META_READ, error, value_text_sized("last_id", 7));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    if (step > 0)
        writer->state.next_id = sqlite3_column_int64(row, 0) + 1;
    sqlite3_reset(row);
    if (step < 0 || load_cursors(writer, error) != 0 ||
        load_states(writer, error) != 0 || load_ends(writer, error) != 0)
        return -1;
    return batches_load(writer, error);
}

void outbox_state_move(struct store_writer *writer, unsigned lane, int from,
                       int to, int64_t count)
{
    if (from >= 0)
        writer->state.states[lane][from] -= count;
    if (to >= 0)
        writer->state.states[lane][to] += count;
    writer->state.dirty_lanes |= 1u << lane;
}

int outbox_state_write(struct store_writer *writer, struct error *error)
{
    for (unsigned lane = 0; lane < OUTBOX_LANES; lane++) {
        if ((writer->state.dirty_lanes >> lane & 1) == 0)
            continue;
        for (int i = 0; i < EXCEPTION_STATES; i++)
            if (SQL_RUN(writer, SQL_STATE_WRITE, error, value_integer(lane),
                        value_integer(i),
                        value_integer(writer->state.states[lane][i])) != 0)
                return -1;
    }
    writer->state.dirty_lanes = 0;
    return 0;
}

int outbox_cursor_write(struct store_writer *writer, unsigned stripe,
                        struct error *error)
{
    return SQL_RUN(writer, SQL_CURSOR_WRITE, error,
                   value_integer(stripe_number(stripe)),
                   value_integer(writer->state.settled[stripe]),
                   value_integer(writer->state.claimed[stripe]));
}
