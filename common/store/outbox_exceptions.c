/* SPDX-License-Identifier: Apache-2.0 */
#include <sqlite3.h>

#include "common/base/clock.h"
#include "common/store/writer_internal.h"

int exception_insert(struct store_writer *writer,
                     const struct exception *exception, struct error *error)
{
    unsigned lane = key_lane(exception->key);
    enum exception_state state = exception->state;
    if (exception_park_held(writer, exception, &state, error) != 0)
        return -1;
    if (SQL_RUN(writer, SQL_EXCEPTION_INSERT, error,
                value_integer(exception->key),
                value_integer(key_id(exception->key)), value_integer(lane),
                value_integer((int64_t)exception->record_hash),
                value_integer(state), value_integer(exception->priority),
                value_integer(exception->retry_count),
                value_integer(exception->not_before_ms), exception->sqlstate,
                exception->message, value_integer(clock_wall_ms())) != 0)
        return -1;
    outbox_state_move(writer, lane, -1, (int)state, 1);
    return 0;
}

int exception_exists(struct store_writer *writer, int64_t key, bool *exists,
                     struct error *error)
{
    const int64_t *states = writer->state.states[key_lane(key)];
    int64_t all = 0;
    for (int i = 0; i < EXCEPTION_STATES; i++)
        all += states[i];
    *exists = false;
    if (all == 0)
        return 0;
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_EXCEPTION_READ, error, value_integer(key));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    sqlite3_reset(row);
    *exists = step > 0;
    return step < 0 ? -1 : 0;
}

int record_blocked(struct store_writer *writer, uint64_t record_hash,
                   int64_t id, bool *blocked, struct error *error)
{
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_RECORD_BLOCKED, error,
                  value_integer((int64_t)record_hash), value_integer(id));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    sqlite3_reset(row);
    *blocked = step > 0;
    return step < 0 ? -1 : 0;
}

int record_raise(struct store_writer *writer, uint64_t record_hash, int64_t id,
                 unsigned priority, struct error *error)
{
    return SQL_RUN(writer, SQL_RECORD_RAISE, error,
                   value_integer((int64_t)record_hash), value_integer(id),
                   value_integer(priority));
}

int record_hold(struct store_writer *writer, unsigned lane,
                uint64_t record_hash, int64_t id, struct error *error)
{
    if (writer->state.states[lane][EXCEPTION_READY] == 0)
        return 0;
    if (SQL_RUN(writer, SQL_RECORD_HOLD, error,
                value_integer((int64_t)record_hash), value_integer(id)) != 0)
        return -1;
    outbox_state_move(writer, lane, EXCEPTION_READY, EXCEPTION_HELD,
                      sqlite3_changes64(writer->db));
    return 0;
}

int record_release(struct store_writer *writer, unsigned lane,
                   uint64_t record_hash, struct error *error)
{
    if (writer->state.states[lane][EXCEPTION_HELD] == 0)
        return 0;
    sqlite3_stmt *row = SQL_QUERY(writer, SQL_RECORD_OLDEST, error,
                                  value_integer((int64_t)record_hash));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    int state = step > 0 ? sqlite3_column_int(row, 1) : EXCEPTION_READY;
    sqlite3_reset(row);
    if (step < 0)
        return -1;
    if (state != EXCEPTION_HELD)
        return 0;
    if (SQL_RUN(writer, SQL_RECORD_RELEASE, error,
                value_integer((int64_t)record_hash)) != 0)
        return -1;
    outbox_state_move(writer, lane, EXCEPTION_HELD, EXCEPTION_READY,
                      sqlite3_changes64(writer->db));
    return 0;
}
