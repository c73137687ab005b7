/* SPDX-License-Identifier: Apache-2.0 */
#include <sqlite3.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/store/writer_internal.h"

/* After this writer was opened a request may come that its predecessor
 * committed without being able to say so: the tokens at the end of the
 * stripe are read when it is first used, as far back as a repeated request
 * could reach. */
static int load_tokens(struct store_writer *writer, unsigned stripe,
                       struct error *error)
{
    size_t depth = TOKENS_LOOKBACK + writer->request.call_count;
    if (writer->tokens_depth[stripe] >= depth ||
        (writer->tokens_depth[stripe] != 0 &&
         writer->request.call_count <= TOKENS_LOOKBACK))
        return 0;
    sqlite3_stmt *rows = SQL_QUERY(
        writer, SQL_OUTBOX_TOKENS, error, value_integer(stripe_key(stripe, 0)),
        value_integer(stripe_key(stripe, OUTBOX_ID_MAX)),
        value_integer((int64_t)depth));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, error)) > 0) {
        int64_t token = sqlite3_column_int64(rows, 1);
        if (token != 0)
            recent_tokens_add(writer->old_tokens, token,
                              sqlite3_column_int64(rows, 0));
    }
    writer->tokens_depth[stripe] = (uint32_t)depth;
    return step;
}

static int make_tokens(struct store_writer *writer, struct error *error)
{
    if (writer->tokens == NULL)
        writer->tokens = recent_tokens_new(TOKENS_RECENT);
    if (writer->repeats && writer->old_tokens == NULL)
        writer->old_tokens = recent_tokens_new(TOKENS_OLD);
    if (writer->tokens == NULL ||
        (writer->repeats && writer->old_tokens == NULL))
        return error_set(error, ERROR_SYSTEM, "no memory for the store");
    return 0;
}

int outbox_tokens_ready(struct store_writer *writer, struct error *error)
{
    if (writer->repeats && clock_wall_ms() > writer->tokens_until_ms) {
        recent_tokens_free(&writer->old_tokens);
        writer->repeats = false;
    }
    return make_tokens(writer, error);
}

static int find_key(struct store_writer *writer,
                    const struct outbox_append *append, int64_t *key,
                    struct error *error)
{
    if (outbox_tokens_ready(writer, error) != 0)
        return -1;
    if (recent_tokens_find(writer->tokens, append->token, key))
        return 1;
    if (!writer->repeats)
        return 0;
    unsigned stripe =
        stripe_index(append->priority, outbox_lane(append->record_hash));
    if (load_tokens(writer, stripe, error) != 0)
        return -1;
    return !recent_tokens_empty(writer->old_tokens) &&
           recent_tokens_find(writer->old_tokens, append->token, key);
}

/* 1 and *id when a row of this lane has the token, 0, or -1. */
static int find_token(struct store_writer *writer,
                      const struct outbox_append *append, int64_t *id,
                      struct error *error)
{
    int64_t key;
    int found = find_key(writer, append, &key, error);
    if (found <= 0 || key < 0 ||
        key_lane(key) != outbox_lane(append->record_hash))
        return found < 0 ? -1 : 0;
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_OUTBOX_TOKEN, error, value_integer(key));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    bool same = step > 0 && sqlite3_column_int64(row, 0) == append->token;
    sqlite3_reset(row);
    *id = key_id(key);
    return step < 0 ? -1 : same;
}

static int insert_row(struct store_writer *writer,
                      const struct outbox_append *append, int64_t key,
                      struct error *error)
{
    sqlite3_stmt *insert = sql_get(writer, SQL_OUTBOX_INSERT, error);
    if (insert == NULL)
        return -1;
    sqlite3_bind_int64(insert, 1, key);
    sqlite3_bind_int64(insert, 2, append->kind);
    sqlite3_bind_int64(insert, 3, append->created_ms);
    sqlite3_bind_int64(insert, 4, append->token);
    if (append->source != 0) {
        sqlite3_bind_int64(insert, 5, append->source);
        sqlite3_bind_int64(insert, 6, append->source_id);
    } else {
        sqlite3_bind_null(insert, 5);
        sqlite3_bind_null(insert, 6);
    }
    sqlite3_bind_text(insert, 7, append->table_name,
                      (int)append->table_name_size, SQLITE_STATIC);
    sqlite3_bind_text(insert, 8, append->record_id, (int)append->record_id_size,
                      SQLITE_STATIC);
    if (append->data != NULL)
        sqlite3_bind_text(insert, 9, append->data, (int)append->data_size,
                          SQLITE_STATIC);
    else
        sqlite3_bind_null(insert, 9);
    return sql_step(writer, insert, error);
}

int outbox_insert(struct store_writer *writer,
                  const struct outbox_append *append, int64_t *key,
                  struct error *error)
{
    struct outbox_state *state = &writer->state;
    unsigned stripe =
        stripe_index(append->priority, outbox_lane(append->record_hash));
    if (state->next_id > OUTBOX_ID_MAX)
        return error_set(error, ERROR_SOFTWARE, "the outbox is out of ids");
    *key = stripe_key(stripe, state->next_id);
    if ((writer->gathers ? gathered_add(writer, append, stripe, *key, error)
                         : insert_row(writer, append, *key, error)) != 0)
        return -1;
    if (state->tail[stripe] <= state->claimed[stripe])
        state->head[stripe] = state->next_id;
    state->tail[stripe] = state->next_id++;
    if (append->token != 0 && writer->tokens != NULL)
        recent_tokens_add(writer->tokens, append->token, *key);
    return 0;
}

int outbox_append(struct store_writer *writer,
                  const struct outbox_append *append, int64_t *id,
                  struct error *error)
{
    int64_t table =
        table_counts_find(writer, append->table_name, append->table_name_size,
                          append->table_hash, error);
    if (table < 0)
        return -1;
    uint32_t detail = writer->counts.tables[table].detail;
    if (detail != 0)
        return detail_append(writer, &writer->aggregates.rules[detail - 1],
                             append, id, error);
    if (append->token != 0 && !writer->is_asked_once) {
        int found = find_token(writer, append, id, error);
        if (found != 0)
            return found < 0 ? -1 : 0;
    }
    struct outbox_append placed = *append;
    enum carry carry;
    if (outbox_carry(writer, &placed, (uint32_t)table, &carry, error) != 0)
        return -1;
    if (lane_filters_add(writer, outbox_lane(append->record_hash),
                         writer->state.next_id, append->record_hash,
                         error) != 0)
        return -1;
    if (table_counts_add(writer, (uint32_t)table, placed.priority, 1, error) !=
        0)
        return -1;
    int64_t key;
    if (outbox_insert(writer, &placed, &key, error) != 0)
        return -1;
    *id = key_id(key);
    struct exception exception = {
        .key = key,
        .record_hash = append->record_hash,
        .state = carry == CARRY_HELD ? EXCEPTION_HELD : EXCEPTION_READY,
        .priority = append->priority};
    if (carry != CARRY_NONE && exception_insert(writer, &exception, error) != 0)
        return -1;
    writer->topics |= TOPIC_OUTBOX;
    if (append->priority == 0)
        writer->topics |= TOPIC_URGENT;
    return 0;
}

int outbox_append_dead(struct store_writer *writer,
                       const struct outbox_append *append,
                       const struct error *reason, struct error *error)
{
    struct outbox_append kept = *append;
    if (kept.table_name == NULL)
        kept.table_name = "";
    if (kept.record_id == NULL)
        kept.record_id = "";
    if (kept.data_size > OUTBOX_DATA_MAX)
        kept.data_size = OUTBOX_DATA_MAX;
    if (kept.table_name_size > OUTBOX_RECORD_ID_MAX)
        kept.table_name_size = OUTBOX_RECORD_ID_MAX;
    if (kept.record_id_size > OUTBOX_DATA_MAX)
        kept.record_id_size = OUTBOX_DATA_MAX;
    if (kept.priority >= OUTBOX_PRIORITIES)
        kept.priority = 2;
    kept.record_hash = outbox_record_hash(kept.table_name, kept.table_name_size,
                                          kept.record_id, kept.record_id_size);
    int64_t key;
    if (outbox_insert(writer, &kept, &key, error) != 0)
        return -1;
    struct exception dead = {
        .key = key,
        .record_hash = kept.record_hash,
        .state = EXCEPTION_DEAD,
        .priority = kept.priority,
        .message = value_text_sized(reason->text, strlen(reason->text))};
    return exception_insert(writer, &dead, error);
}

int run_outbox_append(struct statement_call *call)
{
    struct outbox_append append;
    outbox_append_take(&append, call->arguments);
    if (outbox_append_check(&append, call->error) != 0)
        return -1;
    return outbox_append(call->writer, &append, &call->result->changed,
                         call->error);
}
