/* SPDX-License-Identifier: Apache-2.0 */
#include <sqlite3.h>

#include "common/store/writer_internal.h"

/* 1 and *key when the operation of that id is dead, 0 when not, or -1.  Its
 * stripe is not known: each is asked once. */
static int find_dead(struct statement_call *call, int64_t *key)
{
    int64_t id = call->arguments[0].integer;
    if (id < 1 || id > OUTBOX_ID_MAX)
        return 0;
    for (unsigned i = 0; i < OUTBOX_STRIPES; i++) {
        *key = stripe_key(i, id);
        sqlite3_stmt *row = SQL_QUERY(call->writer, SQL_EXCEPTION_READ,
                                      call->error, value_integer(*key));
        if (row == NULL)
            return -1;
        int step = sql_step(call->writer, row, call->error);
        bool dead = step > 0 && sqlite3_column_int(row, 0) == EXCEPTION_DEAD;
        sqlite3_reset(row);
        if (step < 0)
            return -1;
        if (dead)
            return 1;
    }
    return 0;
}

/* The row as it would be appended now: what never was valid stays dead. */
static int check_again(struct statement_call *call, int64_t key, int64_t *table)
{
    static const char *const words[] = {"", "INSERT", "UPDATE", "DELETE"};
    sqlite3_stmt *row = SQL_QUERY(call->writer, SQL_OUTBOX_ROW, call->error,
                                  value_integer(key));
    if (row == NULL)
        return -1;
    int step = sql_step(call->writer, row, call->error);
    if (step <= 0)
        return step < 0 ? -1
                        : error_set(call->error, ERROR_IO,
                                    "operation %lld has no row any more; drop "
                                    "it",
                                    (long long)key_id(key));
    int operation = sqlite3_column_int(row, 0);
    const char *word =
        operation >= 0 && operation <= 3 ? words[operation] : words[0];
    struct outbox_append append = {
        .operation = word,
        .operation_size = operation >= 1 && operation <= 3 ? 6 : 0,
        .table_name = (const char *)sqlite3_column_text(row, 1),
        .table_name_size = (size_t)sqlite3_column_bytes(row, 1),
        .record_id = (const char *)sqlite3_column_text(row, 2),
        .record_id_size = (size_t)sqlite3_column_bytes(row, 2),
        .data = (const char *)sqlite3_column_text(row, 3),
        .data_size = (size_t)sqlite3_column_bytes(row, 3)};
    int result = outbox_append_check(&append, call->error);
    if (result != 0)
        error_prefix(call->error,
                     "operation %lld cannot be tried again, drop it",
                     (long long)key_id(key));
    else if ((*table = table_counts_find(call->writer, append.table_name,
                                         append.table_name_size,
                                         append.table_hash, call->error)) < 0)
        result = -1;
    sqlite3_reset(row);
    return result;
}

/* Behind one of its record that is in conflict it waits with the others. */
static int is_parked(struct statement_call *call, int64_t key, bool *parked)
{
    struct store_writer *writer = call->writer;
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_EXCEPTION_READ, call->error, value_integer(key));
    int step = row == NULL ? -1 : sql_step(writer, row, call->error);
    if (step <= 0)
        return -1;
    uint64_t record_hash = (uint64_t)sqlite3_column_int64(row, 1);
    sqlite3_reset(row);
    return record_parked(writer, key_lane(key), record_hash, key_id(key),
                         parked, call->error);
}

int run_dead_retry(struct statement_call *call)
{
    struct store_writer *writer = call->writer;
    int64_t key;
    int64_t table = -1;
    bool parked;
    int found = find_dead(call, &key);
    if (found <= 0)
        return found;
    if (check_again(call, key, &table) != 0 ||
        is_parked(call, key, &parked) != 0)
        return -1;
    enum exception_state state = parked ? EXCEPTION_CONFLICT : EXCEPTION_READY;
    if (SQL_RUN(writer, SQL_EXCEPTION_REVIVE, call->error, value_integer(key),
                value_integer(state)) != 0)
        return -1;
    outbox_state_move(writer, key_lane(key), EXCEPTION_DEAD, (int)state, 1);
    writer->topics |= TOPIC_OUTBOX;
    call->result->changed = 1;
    return parked ? 0
                  : table_counts_add(writer, (uint32_t)table, key_priority(key),
                                     1, call->error);
}

int outbox_drop_dead(struct store_writer *writer, int64_t key,
                     struct error *error)
{
    /* The row may have been the last one: its id must not come again. */
    if (SQL_RUN(writer, SQL_META_WRITE, error, value_text_sized("last_id", 7),
                value_integer(writer->state.next_id - 1)) != 0 ||
        SQL_RUN(writer, SQL_OUTBOX_DELETE, error, value_integer(key)) != 0 ||
        SQL_RUN(writer, SQL_EXCEPTION_DELETE, error, value_integer(key)) != 0)
        return -1;
    outbox_state_move(writer, key_lane(key), EXCEPTION_DEAD, -1, 1);
    return 0;
}

int run_dead_drop(struct statement_call *call)
{
    int64_t key;
    int found = find_dead(call, &key);
    if (found <= 0)
        return found;
    call->result->changed = 1;
    return outbox_drop_dead(call->writer, key, call->error);
}
