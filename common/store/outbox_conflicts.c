/* SPDX-License-Identifier: Apache-2.0
 *
 * Conflicts: what the centre tells of them, and what a person decides.
 *
 * A parked operation waits outside its line for `sync resolve`, and every
 * later one of its record is parked behind it.  None of them is pending: no
 * trigger and no drain waits for a person.
 */
#include <sqlite3.h>
#include <string.h>

#include "common/store/writer_internal.h"

/* Operations of a record that wait behind a parked one and are moved in one
 * step. */
#define BEHIND_STEP 256

int record_parked(struct store_writer *writer, unsigned lane,
                  uint64_t record_hash, int64_t id, bool *parked,
                  struct error *error)
{
    *parked = false;
    if (writer->state.states[lane][EXCEPTION_CONFLICT] == 0)
        return 0;
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_RECORD_PARKED, error,
                  value_integer((int64_t)record_hash), value_integer(id));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    sqlite3_reset(row);
    *parked = step > 0;
    return step < 0 ? -1 : 0;
}

int outbox_count_key(struct store_writer *writer, int64_t key, int64_t delta,
                     struct error *error)
{
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_OUTBOX_RECORD, error, value_integer(key));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    if (step <= 0)
        return step < 0 ? -1
                        : error_set(error, ERROR_DAMAGED,
                                    "operation %lld has no row any more; run "
                                    "tidemill doctor",
                                    (long long)key_id(key));
    const char *name = (const char *)sqlite3_column_text(row, 0);
    size_t size = (size_t)sqlite3_column_bytes(row, 0);
    uint64_t hash = text_hash(
        text_hash(TEXT_HASH_START, name != NULL ? name : "", size), "", 1);
    int64_t table =
        table_counts_find(writer, name != NULL ? name : "", size, hash, error);
    sqlite3_reset(row);
    return table < 0 ? -1
                     : table_counts_add(writer, (uint32_t)table,
                                        key_priority(key), delta, error);
}

int exception_park_held(struct store_writer *writer,
                        const struct exception *exception,
                        enum exception_state *state, struct error *error)
{
    bool parked;
    if (*state != EXCEPTION_HELD)
        return 0;
    if (record_parked(writer, key_lane(exception->key), exception->record_hash,
                      key_id(exception->key), &parked, error) != 0)
        return -1;
    if (!parked)
        return 0;
    *state = EXCEPTION_CONFLICT;
    return outbox_count_key(writer, exception->key, -1, error);
}

struct behind {
    int64_t key;
    int state;
    bool own_conflict; /* that nobody has decided */
};

static int read_behind(struct statement_call *call, uint64_t record_hash,
                       int64_t after, struct behind *behind)
{
    sqlite3_stmt *rows =
        SQL_QUERY(call->writer, SQL_RECORD_BEHIND, call->error,
                  value_integer((int64_t)record_hash), value_integer(after),
                  value_integer(BEHIND_STEP));
    int step = rows == NULL ? -1 : 1;
    int count = 0;
    while (step > 0 && (step = sql_step(call->writer, rows, call->error)) > 0)
        behind[count++] =
            (struct behind){.key = sqlite3_column_int64(rows, 0),
                            .state = sqlite3_column_int(rows, 1),
                            .own_conflict = sqlite3_column_int(rows, 2) != 0};
    return step < 0 ? -1 : count;
}

static int move_one(struct statement_call *call, const struct behind *one,
                    enum exception_state to)
{
    struct store_writer *writer = call->writer;
    int64_t pending = to == EXCEPTION_CONFLICT ? -1 : 1;
    if (SQL_RUN(writer, SQL_EXCEPTION_STATE, call->error,
                value_integer(one->key), value_integer(to),
                value_null()) != 0 ||
        outbox_count_key(writer, one->key, pending, call->error) != 0)
        return -1;
    outbox_state_move(writer, key_lane(one->key), one->state, (int)to, 1);
    return 0;
}

/* Parks those that wait behind `after`, an id; or lets them be held only, up
 * to the next one that is in conflict itself. */
static int move_behind(struct statement_call *call, uint64_t record_hash,
                       int64_t after, enum exception_state to)
{
    struct behind behind[BEHIND_STEP];
    int count;
    do {
        count = read_behind(call, record_hash, after, behind);
        for (int i = 0; i < count; i++) {
            bool is_parked = behind[i].state == EXCEPTION_CONFLICT;
            after = key_id(behind[i].key);
            if (to == EXCEPTION_HELD && is_parked && behind[i].own_conflict)
                return 0;
            if (is_parked != (to == EXCEPTION_CONFLICT) &&
                move_one(call, &behind[i], to) != 0)
                return -1;
        }
    } while (count == BEHIND_STEP);
    return count < 0 ? -1 : 0;
}

static int park(struct statement_call *call, const struct refused *refused)
{
    struct exception parked = {.key = refused->key,
                               .record_hash = refused->record_hash,
                               .state = EXCEPTION_CONFLICT,
                               .priority = key_priority(refused->key),
                               .retry_count = refused->retry_count};
    if (refused_put_aside(call, refused, &parked) != 0 ||
        outbox_count_key(call->writer, refused->key, -1, call->error) != 0)
        return -1;
    return move_behind(call, refused->record_hash, key_id(refused->key),
                       EXCEPTION_CONFLICT);
}

static bool is(const struct value *value, const char *word)
{
    return value->size == strlen(word) &&
           memcmp(value->bytes, word, value->size) == 0;
}

int run_batch_conflict(struct statement_call *call)
{
    struct store_writer *writer = call->writer;
    const struct value *v = call->arguments;
    struct batch *batch = settling_batch(call);
    call->writer->request.sent = true;
    struct refused refused;
    bool lost = is(&v[2], "lost");
    bool parked = is(&v[2], "parked");
    if (batch == NULL || refused_read(call, batch, v[1].integer, &refused) != 0)
        return -1;
    if (!lost && !parked && !is(&v[2], "won"))
        return error_set(call->error, ERROR_DATA,
                         "a conflict is won, lost or parked, not %.*s",
                         (int)(v[2].size < 20 ? v[2].size : 20), v[2].bytes);
    if (SQL_RUN(writer, SQL_CONFLICT_INSERT, call->error, v[1], v[2], v[3],
                v[4], v[5], v[6], v[7], v[8], v[9], v[10]) != 0)
        return -1;
    int64_t id = sqlite3_last_insert_rowid(writer->db);
    if (lost && SQL_RUN(writer, SQL_CENTRE_RECORD, call->error,
                        value_integer(id), v[10]) != 0)
        return -1;
    call->result->changed = 1;
    return parked ? park(call, &refused) : 0;
}

/* 1 and what is needed of a conflict that waits, 0 when none does, or -1. */
static int find_open(struct statement_call *call, int64_t *key,
                     int64_t *centre_stamp, uint64_t *record_hash)
{
    struct store_writer *writer = call->writer;
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_CONFLICT_READ, call->error, call->arguments[0]);
    int step = row == NULL ? -1 : sql_step(writer, row, call->error);
    if (step <= 0)
        return step;
    *key = sqlite3_column_int64(row, 0);
    *centre_stamp = sqlite3_column_int64(row, 1);
    sqlite3_reset(row);
    row =
        SQL_QUERY(writer, SQL_EXCEPTION_READ, call->error, value_integer(*key));
    step = row == NULL ? -1 : sql_step(writer, row, call->error);
    if (step < 0)
        return -1;
    bool parked = step > 0 && sqlite3_column_int(row, 0) == EXCEPTION_CONFLICT;
    *record_hash = step > 0 ? (uint64_t)sqlite3_column_int64(row, 1) : 0;
    sqlite3_reset(row);
    return parked ? 1
                  : error_set(call->error, ERROR_DAMAGED,
                              "conflict %lld waits, but its operation does "
                              "not; run tidemill doctor",
                              (long long)call->arguments[0].integer);
}

/* Behind another one that is in conflict it stays parked, though decided. */
static int keep_local(struct statement_call *call, int64_t key,
                      int64_t centre_stamp, bool behind)
{
    enum exception_state state = behind ? EXCEPTION_CONFLICT : EXCEPTION_READY;
    if (SQL_RUN(call->writer, SQL_EXCEPTION_KEEP, call->error,
                value_integer(key), value_integer(centre_stamp),
                value_integer(state)) != 0)
        return -1;
    if (behind)
        return 0;
    outbox_state_move(call->writer, key_lane(key), EXCEPTION_CONFLICT,
                      EXCEPTION_READY, 1);
    return outbox_count_key(call->writer, key, 1, call->error);
}

static int keep_centre(struct statement_call *call, int64_t key)
{
    if (exception_settle(call->writer, key, EXCEPTION_CONFLICT, call->error) !=
        0)
        return -1;
    return SQL_RUN(call->writer, SQL_CENTRE_RECORD, call->error,
                   call->arguments[0], call->arguments[3]);
}

int run_conflict_resolve(struct statement_call *call)
{
    struct store_writer *writer = call->writer;
    const struct value *v = call->arguments;
    int64_t key, centre_stamp;
    uint64_t record_hash;
    bool local = is(&v[1], "local");
    if (!local && !is(&v[1], "centre"))
        return error_set(call->error, ERROR_DATA,
                         "what is kept is local or centre");
    int found = find_open(call, &key, &centre_stamp, &record_hash);
    if (found <= 0)
        return found;
    bool behind;
    if (record_parked(writer, key_lane(key), record_hash, key_id(key), &behind,
                      call->error) != 0 ||
        (local ? keep_local(call, key, centre_stamp, behind)
               : keep_centre(call, key)) != 0 ||
        SQL_RUN(writer, SQL_CONFLICT_RESOLVE, call->error, v[0], v[3], v[1],
                v[2]) != 0)
        return -1;
    call->result->changed = 1;
    if (behind)
        return 0;
    if (move_behind(call, record_hash, key_id(key), EXCEPTION_HELD) != 0 ||
        record_release(writer, key_lane(key), record_hash, call->error) != 0)
        return -1;
    writer->topics |= TOPIC_OUTBOX;
    return 0;
}
