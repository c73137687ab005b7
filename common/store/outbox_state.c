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
        state->told[i] = sqlite3_column_int64(rows, 3);
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

/* 1 and *key: that of one row, 0: there is none, -1. */
static int one_key(struct store_writer *writer, sqlite3_stmt *row, int64_t *key,
                   struct error *error)
{
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    if (step > 0)
        *key = sqlite3_column_int64(row, 0);
    sqlite3_reset(row);
    return step;
}

/* The last row of each stripe, from the last stripe that has any downwards:
 * as many seeks as stripes are in use. */
static int load_tails(struct store_writer *writer, struct error *error)
{
    struct outbox_state *state = &writer->state;
    int64_t key = INT64_MAX;
    int found;
    while ((found = one_key(
                writer,
                SQL_QUERY(writer, SQL_OUTBOX_TAIL, error, value_integer(key)),
                &key, error)) > 0) {
        int64_t number = key >> OUTBOX_ID_BITS;
        int stripe = stripe_index_of(number);
        if (stripe >= 0)
            state->tail[stripe] = key_id(key);
        if (number <= 0)
            break;
        key = number << OUTBOX_ID_BITS; /* no row has id 0 */
    }
    for (unsigned i = 0; i < OUTBOX_STRIPES; i++) {
        if (state->tail[i] < state->claimed[i])
            state->tail[i] = state->claimed[i];
        if (state->tail[i] >= state->next_id)
            state->next_id = state->tail[i] + 1;
    }
    return found < 0 ? -1 : 0;
}

int outbox_heads_find(struct store_writer *writer, unsigned lane,
                      struct error *error)
{
    struct outbox_state *state = &writer->state;
    for (unsigned p = 0; p < OUTBOX_PRIORITIES; p++) {
        unsigned stripe = stripe_index(p, lane);
        int64_t *head = &state->head[stripe];
        int64_t key;
        if (*head != 0 || state->tail[stripe] <= state->claimed[stripe])
            continue;
        int found = one_key(
            writer,
            SQL_QUERY(writer, SQL_OUTBOX_HEAD, error,
                      value_integer(stripe_key(stripe, state->claimed[stripe])),
                      value_integer(stripe_key(stripe, OUTBOX_ID_MAX))),
            &key, error);
        if (found < 0)
            return -1;
        *head = found > 0 ? key_id(key) : state->tail[stripe] + 1;
    }
    return 0;
}

/* A number of store_meta; otherwise what it was. */
static int load_meta(struct store_writer *writer, const char *name, size_t size,
                     int64_t *number, struct error *error)
{
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_META_READ, error, value_text_sized(name, size));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    if (step > 0)
        *number = sqlite3_column_int64(row, 0);
    sqlite3_reset(row);
    return step < 0 ? -1 : 0;
}

int outbox_state_load(struct store_writer *writer, struct error *error)
{
    int64_t last_id = 0;
    writer->state = (struct outbox_state){0};
    if (load_meta(writer, "epoch", 5, &writer->state.epoch, error) != 0 ||
        load_meta(writer, "last_id", 7, &last_id, error) != 0)
        return -1;
    writer->state.next_id = last_id + 1;
    if (load_cursors(writer, error) != 0 || load_states(writer, error) != 0 ||
        load_tails(writer, error) != 0)
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
                   value_integer(writer->state.claimed[stripe]),
                   value_integer(writer->state.told[stripe]));
}
