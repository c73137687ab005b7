/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/reader.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/store/damage.h"
#include "common/store/wire.h"
#include "common/store/writer.h"
#include "common/store/writer_sql.h"

#define BUSY_TIMEOUT_MS 1000

enum reader_sql {
    READ_BEGIN,
    READ_END,
    READ_RANGE,
    READ_SKIPS,
    READ_ANY_SKIP,
    READ_LEFT_OUT,
    READ_SINGLE,
    READ_COUNTS,
    READ_STATES,
    READ_IN_FLIGHT,
    READ_NEXT_RETRY,
    READ_META,
    READ_LAST_BATCH,
    READ_APPLIED_BATCH,
    READ_COUNT
};

static const char *const reader_texts[READ_COUNT] = {
    [READ_BEGIN] = "BEGIN",
    [READ_END] = "COMMIT",
    [READ_RANGE] =
        "SELECT key, operation, created_ms, table_name, record_id, record_data, "
        "source FROM outbox WHERE key > ?1 AND key <= ?2 ORDER BY key",
    [READ_SKIPS] = "SELECT key FROM outbox_exceptions "
                   "WHERE key > ?1 AND key <= ?2 ORDER BY key",
    [READ_ANY_SKIP] = "SELECT 1 FROM outbox_exceptions LIMIT 1",
    [READ_LEFT_OUT] = "SELECT key FROM outbox_exceptions "
                      "WHERE key > ?1 AND key <= ?2 AND state <> 5",
    [READ_SINGLE] =
        "SELECT o.key, o.operation, o.created_ms, o.table_name, o.record_id, "
        "o.record_data, o.source, x.retry_count, x.resolved_over FROM outbox o "
        "JOIN outbox_exceptions x ON x.key = o.key WHERE o.key = ?1",
    [READ_COUNTS] = "SELECT priority, sum(pending)"
#define X(name, table) ", sum(pending) FILTER (WHERE table_name = '" table "')"
    OUTBOX_KIND_LIST(X)
#undef X
        " FROM outbox_counts GROUP BY priority",
    [READ_STATES] =
        "SELECT state, sum(operations) FROM outbox_states GROUP BY state",
    [READ_IN_FLIGHT] =
        "SELECT sum(operations) FROM sync_batches WHERE finished_ms IS NULL",
    [READ_NEXT_RETRY] =
        "SELECT min(not_before_ms) FROM outbox_exceptions WHERE state = 1",
    [READ_META] = "SELECT value FROM store_meta WHERE name = ?1",
    [READ_LAST_BATCH] =
        "SELECT seq FROM sqlite_sequence WHERE name = 'sync_batches'",
    [READ_APPLIED_BATCH] =
        "SELECT batch_id FROM sync_batches WHERE applied > 0 AND epoch = ?1 "
        "ORDER BY batch_id DESC LIMIT 1",
};

struct store_reader {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[READ_COUNT];
};

static int failed(struct store_reader *reader, struct error *error)
{
    int code = sqlite3_errcode(reader->db) & 0xff;
    enum error_code kind =
        code == SQLITE_CANTOPEN ? ERROR_NO_INPUT : sql_error_code(code);
    if (kind == ERROR_DAMAGED)
        damage_mark(reader->path);
    return error_set(error, kind, "cannot read the local store %s: %s%s",
                     reader->path, sqlite3_errmsg(reader->db),
                     kind == ERROR_DAMAGED ? DAMAGE_REMEDY : "");
}

int store_reader_open(struct store_reader **reader, const char *state_dir,
                      struct error *error)
{
    struct store_reader *made = calloc(1, sizeof(*made));
    if (made == NULL ||
        asprintf(&made->path, "%s/%s", state_dir, STORE_FILE_NAME) < 0) {
        free(made);
        return error_set(error, ERROR_SYSTEM, "no memory for a reader");
    }
    int result = 0;
    if (access(made->path, F_OK) != 0) {
        result = error_set_errno(error, ERROR_NO_INPUT,
                                 "there is no local store at %s", made->path);
    } else if (sqlite3_open_v2(made->path, &made->db,
                               SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                               NULL) != SQLITE_OK) {
        result = failed(made, error);
    } else {
        sqlite3_busy_timeout(made->db, BUSY_TIMEOUT_MS);
        sqlite3_db_config(made->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        if (sqlite3_exec(made->db,
                         "PRAGMA query_only=1; PRAGMA cache_size=-4096;"
                         "PRAGMA temp_store=MEMORY",
                         NULL, NULL, NULL) != 0)
            result = failed(made, error);
    }
    if (result != 0)
        store_reader_close(&made);
    else
        *reader = made;
    return result;
}

void store_reader_close(struct store_reader **reader)
{
    if (*reader == NULL)
        return;
    for (int i = 0; i < READ_COUNT; i++)
        sqlite3_finalize((*reader)->statements[i]);
    sqlite3_close((*reader)->db);
    free((*reader)->path);
    free(*reader);
    *reader = NULL;
}

sqlite3 *store_reader_db(struct store_reader *reader)
{
    return reader->db;
}

static sqlite3_stmt *prepared(struct store_reader *reader, enum reader_sql sql,
                              struct error *error)
{
    sqlite3_stmt **statement = &reader->statements[sql];
    if (*statement == NULL && sqlite3_prepare_v3(reader->db, reader_texts[sql],
                                                 -1, SQLITE_PREPARE_PERSISTENT,
                                                 statement, NULL) != SQLITE_OK)
        failed(reader, error);
    return *statement;
}

/* 1: a row; 0: no more; -1.  Reset but in the first case. */
static int step(struct store_reader *reader, sqlite3_stmt *statement,
                struct error *error)
{
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        return 1;
    int result = code == SQLITE_DONE ? 0 : failed(reader, error);
    sqlite3_reset(statement);
    return result;
}

static int run(struct store_reader *reader, enum reader_sql sql,
               struct error *error)
{
    sqlite3_stmt *statement = prepared(reader, sql, error);
    return statement == NULL ? -1 : step(reader, statement, error);
}

/* --- batches --- */

enum {
    COLUMN_BATCH,
    COLUMN_KIND,
    COLUMN_A,
    COLUMN_B,
    COLUMN_C,
    COLUMN_D,
    COLUMNS
};

static bool batch_row(const struct store_result *result, size_t row,
                      const struct value **values)
{
    *values = &result->values[row * COLUMNS];
    for (int i = 0; i < COLUMNS; i++)
        if ((*values)[i].type != VALUE_INTEGER)
            return false;
    int64_t kind = (*values)[COLUMN_KIND].integer;
    return kind >= 0 && kind <= 2;
}

static int not_understood(struct error *error)
{
    return error_set(error, ERROR_PROTOCOL,
                     "the store's answer to a claim is not understood; client "
                     "and store are of different versions: restart both");
}

static int count_kinds(const struct store_result *result, size_t counts[3],
                       struct error *error)
{
    const struct value *v;
    if (result->rows > 0 && result->columns != COLUMNS)
        return not_understood(error);
    for (size_t i = 0; i < result->rows; i++) {
        if (!batch_row(result, i, &v))
            return not_understood(error);
        counts[v[COLUMN_KIND].integer]++;
    }
    return 0;
}

static int parse_row(const struct value *v, struct outbox_batch *batch,
                     struct error *error)
{
    if (v[COLUMN_BATCH].integer != batch->batch_id)
        return not_understood(error);
    if (v[COLUMN_KIND].integer == 2) {
        batch->singles[batch->single_count++] = v[COLUMN_A].integer;
        return 0;
    }
    if (v[COLUMN_A].integer < 0 || v[COLUMN_A].integer > 255)
        return not_understood(error);
    batch->ranges[batch->range_count++] =
        (struct outbox_range){.stripe = (unsigned)v[COLUMN_A].integer,
                              .after_id = v[COLUMN_B].integer,
                              .last_id = v[COLUMN_C].integer,
                              .told_id = v[COLUMN_D].integer};
    return 0;
}

int outbox_batches_parse(const struct store_result *result, struct arena *arena,
                         struct outbox_batch **batches, size_t *count,
                         struct error *error)
{
    size_t counts[3] = {0};
    const struct value *v;
    *count = 0;
    if (count_kinds(result, counts, error) != 0)
        return -1;
    *batches = arena_calloc(arena, counts[0], sizeof(**batches));
    struct outbox_range *ranges =
        arena_calloc(arena, counts[1], sizeof(*ranges));
    int64_t *singles = arena_calloc(arena, counts[2], sizeof(*singles));
    if (*batches == NULL || ranges == NULL || singles == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for a batch");
    struct outbox_batch *batch = NULL;
    for (size_t i = 0; i < result->rows; i++) {
        batch_row(result, i, &v);
        if (v[COLUMN_KIND].integer == 0) {
            if (batch != NULL) {
                ranges += batch->range_count;
                singles += batch->single_count;
            }
            batch = &(*batches)[(*count)++];
            *batch = (struct outbox_batch){.batch_id = v[COLUMN_BATCH].integer,
                                           .epoch = v[COLUMN_A].integer,
                                           .settled = v[COLUMN_C].integer,
                                           .operation_estimate =
                                               (size_t)v[COLUMN_B].integer,
                                           .ranges = ranges,
                                           .singles = singles};
        } else if (batch == NULL || parse_row(v, batch, error) != 0) {
            return not_understood(error);
        }
    }
    return 0;
}

/* Operations gathered so far; `operations` moves when it grows. */
struct gathered {
    struct store_reader *reader;
    struct arena *arena;
    struct outbox_operation *operations;
    size_t count, capacity;
    struct error *error;
};

static int out_of_memory(struct gathered *into)
{
    return error_set(into->error, ERROR_SYSTEM,
                     "no memory for a batch of more than %zu operations",
                     into->count);
}

static const char *copy_text(char **to, sqlite3_stmt *row, int column,
                             size_t *size)
{
    const void *text = sqlite3_column_text(row, column);
    if (text == NULL)
        return NULL;
    *size = (size_t)sqlite3_column_bytes(row, column);
    char *copy = *to;
    memcpy(copy, text, *size);
    copy[*size] = '\0';
    *to += *size + 1;
    return copy;
}

static int make_room(struct gathered *into)
{
    if (into->count < into->capacity)
        return 0;
    size_t capacity = into->capacity * 2 + 64;
    struct outbox_operation *more =
        arena_alloc(into->arena, capacity * sizeof(*more));
    if (more == NULL)
        return out_of_memory(into);
    if (into->count > 0)
        memcpy(more, into->operations, into->count * sizeof(*more));
    into->operations = more;
    into->capacity = capacity;
    return 0;
}

static int gather_row(struct gathered *into, sqlite3_stmt *row,
                      unsigned retry_count)
{
    if (make_room(into) != 0)
        return -1;
    size_t size = 3;
    for (int i = 3; i <= 5; i++)
        size += (size_t)sqlite3_column_bytes(row, i);
    char *to = arena_alloc(into->arena, size);
    if (to == NULL)
        return out_of_memory(into);
    int64_t key = sqlite3_column_int64(row, 0);
    struct outbox_operation *operation = &into->operations[into->count++];
    *operation = (struct outbox_operation){
        .key = key,
        .id = key & ((INT64_C(1) << OUTBOX_ID_BITS) - 1),
        .kind = (enum operation_kind)sqlite3_column_int(row, 1),
        .priority = (unsigned)((uint64_t)key >> 61),
        .retry_count = retry_count,
        .created_ms = sqlite3_column_int64(row, 2),
        .source = sqlite3_column_int64(row, 6)};
    operation->table_name = copy_text(&to, row, 3, &operation->table_name_size);
    operation->record_id = copy_text(&to, row, 4, &operation->record_id_size);
    operation->data = copy_text(&to, row, 5, &operation->data_size);
    return 0;
}

static int64_t range_key(const struct outbox_range *range, int64_t id)
{
    return (int64_t)((uint64_t)range->stripe << OUTBOX_ID_BITS | (uint64_t)id);
}

static sqlite3_stmt *open_range(struct gathered *into, enum reader_sql sql,
                                const struct outbox_range *range)
{
    sqlite3_stmt *rows = prepared(into->reader, sql, into->error);
    if (rows != NULL) {
        sqlite3_bind_int64(rows, 1, range_key(range, range->after_id));
        sqlite3_bind_int64(rows, 2, range_key(range, range->last_id));
    }
    return rows;
}

/* The next key to leave out; INT64_MAX when there is none. */
static int next_skip(struct gathered *into, sqlite3_stmt *skips, int64_t *key)
{
    int more = step(into->reader, skips, into->error);
    *key = more > 0 ? sqlite3_column_int64(skips, 0) : INT64_MAX;
    return more < 0 ? -1 : 0;
}

static int gather_range(struct gathered *into, const struct outbox_range *range)
{
    sqlite3_stmt *skips = open_range(into, READ_SKIPS, range);
    sqlite3_stmt *rows = open_range(into, READ_RANGE, range);
    int64_t skip;
    if (skips == NULL || rows == NULL || next_skip(into, skips, &skip) != 0)
        return -1;
    int more;
    int result = 0;
    while (result == 0 && (more = step(into->reader, rows, into->error)) != 0) {
        int64_t key = more > 0 ? sqlite3_column_int64(rows, 0) : 0;
        if (more < 0)
            result = -1;
        while (result == 0 && skip < key)
            result = next_skip(into, skips, &skip);
        if (result == 0 && skip != key)
            result = gather_row(into, rows, 0);
    }
    sqlite3_reset(rows);
    sqlite3_reset(skips);
    return result;
}

static int gather_single(struct gathered *into, int64_t key)
{
    sqlite3_stmt *row = prepared(into->reader, READ_SINGLE, into->error);
    if (row == NULL)
        return -1;
    sqlite3_bind_int64(row, 1, key);
    int more = step(into->reader, row, into->error);
    int result = more < 0 ? -1 : 0;
    if (more > 0)
        result = gather_row(into, row, (unsigned)sqlite3_column_int(row, 7));
    if (more > 0 && result == 0 && sqlite3_column_type(row, 8) != SQLITE_NULL) {
        struct outbox_operation *made = &into->operations[into->count - 1];
        made->resolved = true;
        made->resolved_over = sqlite3_column_int64(row, 8);
    }
    sqlite3_reset(row);
    return result;
}

static int gather_batch(struct gathered *into, const struct outbox_batch *batch)
{
    for (size_t i = 0; i < batch->range_count; i++)
        if (gather_range(into, &batch->ranges[i]) != 0)
            return -1;
    for (size_t i = 0; i < batch->single_count; i++)
        if (gather_single(into, batch->singles[i]) != 0)
            return -1;
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    const struct outbox_operation *x = a;
    const struct outbox_operation *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

int outbox_batch_read(struct store_reader *reader,
                      const struct outbox_batch *batch, struct arena *arena,
                      struct outbox_operation **operations, size_t *count,
                      struct error *error)
{
    struct gathered into = {.reader = reader, .arena = arena, .error = error};
    into.capacity = batch->operation_estimate + 1;
    if (into.capacity > 100000)
        into.capacity = 100000;
    into.operations =
        arena_alloc(arena, into.capacity * sizeof(*into.operations));
    if (into.operations == NULL)
        return out_of_memory(&into);
    if (run(reader, READ_BEGIN, error) != 0)
        return -1;
    int result = gather_batch(&into, batch);
    if (run(reader, READ_END, result == 0 ? error : NULL) != 0)
        result = -1;
    if (result != 0)
        return -1;
    if (batch->range_count + batch->single_count > 1)
        qsort(into.operations, into.count, sizeof(*into.operations),
              compare_ids);
    *operations = into.operations;
    *count = into.count;
    return 0;
}

static int left_out_of(struct store_reader *reader,
                       const struct outbox_range *range, struct arena *arena,
                       int64_t **keys, size_t *count, size_t *room,
                       struct error *error)
{
    sqlite3_stmt *rows = prepared(reader, READ_LEFT_OUT, error);
    if (rows == NULL)
        return -1;
    sqlite3_bind_int64(rows, 1, range_key(range, range->told_id));
    sqlite3_bind_int64(rows, 2, range_key(range, range->last_id));
    int more;
    while ((more = step(reader, rows, error)) > 0) {
        if (*count == *room) {
            size_t wanted = *room * 2 + 64;
            int64_t *larger = arena_alloc(arena, wanted * sizeof(*larger));
            if (larger == NULL) {
                sqlite3_reset(rows);
                return error_set(error, ERROR_SYSTEM, "no memory for a batch");
            }
            if (*count > 0)
                memcpy(larger, *keys, *count * sizeof(*larger));
            *keys = larger;
            *room = wanted;
        }
        (*keys)[(*count)++] = sqlite3_column_int64(rows, 0);
    }
    return more;
}

int outbox_batch_left_out(struct store_reader *reader,
                          const struct outbox_batch *batch, struct arena *arena,
                          int64_t **keys, size_t *count, struct error *error)
{
    size_t room = 0;
    *keys = NULL;
    *count = 0;
    int any = run(reader, READ_ANY_SKIP, error);
    if (any <= 0)
        return any;
    sqlite3_reset(reader->statements[READ_ANY_SKIP]);
    for (size_t i = 0; i < batch->range_count; i++)
        if (left_out_of(reader, &batch->ranges[i], arena, keys, count, &room,
                        error) != 0)
            return -1;
    return 0;
}

/* --- identity --- */

/* A number of store_meta, or what another statement says of it. */
static int read_named(struct store_reader *reader, enum reader_sql sql,
                      const char *name, int64_t number, int64_t *value,
                      struct error *error)
{
    sqlite3_stmt *row = prepared(reader, sql, error);
    if (row == NULL)
        return -1;
    if (name != NULL)
        sqlite3_bind_text(row, 1, name, -1, SQLITE_STATIC);
    else if (sqlite3_bind_parameter_count(row) > 0)
        sqlite3_bind_int64(row, 1, number);
    int more = step(reader, row, error);
    *value = more > 0 ? sqlite3_column_int64(row, 0) : 0;
    sqlite3_reset(row);
    return more < 0 ? -1 : 0;
}

int store_identity_read(struct store_reader *reader,
                        struct store_identity *identity, struct error *error)
{
    int64_t restored = 0;
    if (read_named(reader, READ_META, "store_id", 0, &identity->store_id,
                   error) != 0 ||
        read_named(reader, READ_META, "epoch", 0, &identity->epoch, error) !=
            0 ||
        read_named(reader, READ_META, "restored", 0, &restored, error) != 0 ||
        read_named(reader, READ_LAST_BATCH, NULL, 0, &identity->last_batch,
                   error) != 0)
        return -1;
    identity->restored = restored != 0;
    return read_named(reader, READ_APPLIED_BATCH, NULL, identity->epoch,
                      &identity->applied_batch, error);
}

/* --- counters --- */

static int read_counts(struct store_reader *reader,
                       struct outbox_pending *pending, struct error *error)
{
    sqlite3_stmt *rows = prepared(reader, READ_COUNTS, error);
    int more = rows == NULL ? -1 : 1;
    while (more > 0 && (more = step(reader, rows, error)) > 0) {
        int64_t priority = sqlite3_column_int64(rows, 0);
        if (priority < 0 || priority >= OUTBOX_PRIORITIES)
            continue;
        pending->by_priority[priority] = sqlite3_column_int64(rows, 1);
        pending->total += pending->by_priority[priority];
        for (int i = 0; i < OUTBOX_KINDS; i++)
            pending->by_kind[i] += sqlite3_column_int64(rows, 2 + i);
    }
    return more;
}

static int read_states(struct store_reader *reader,
                       struct outbox_pending *pending, struct error *error)
{
    sqlite3_stmt *rows = prepared(reader, READ_STATES, error);
    int more = rows == NULL ? -1 : 1;
    while (more > 0 && (more = step(reader, rows, error)) > 0) {
        int64_t state = sqlite3_column_int64(rows, 0);
        if (state == 1 || state == 2)
            pending->waiting += sqlite3_column_int64(rows, 1);
        if (state == 4)
            pending->dead = sqlite3_column_int64(rows, 1);
    }
    return more;
}

static int read_number(struct store_reader *reader, enum reader_sql sql,
                       int64_t *number, struct error *error)
{
    sqlite3_stmt *row = prepared(reader, sql, error);
    int more = row == NULL ? -1 : step(reader, row, error);
    *number = more > 0 ? sqlite3_column_int64(row, 0) : 0;
    if (row != NULL)
        sqlite3_reset(row);
    return more < 0 ? -1 : 0;
}

int outbox_pending_read(struct store_reader *reader,
                        struct outbox_pending *pending, struct error *error)
{
    int result = 0;
    *pending = (struct outbox_pending){0};
    if (run(reader, READ_BEGIN, error) != 0)
        return -1;
    if (read_counts(reader, pending, error) != 0 ||
        read_states(reader, pending, error) != 0 ||
        read_number(reader, READ_IN_FLIGHT, &pending->in_flight, error) != 0 ||
        read_number(reader, READ_NEXT_RETRY, &pending->next_retry_ms, error) !=
            0)
        result = -1;
    if (run(reader, READ_END, result == 0 ? error : NULL) != 0)
        result = -1;
    return result;
}
