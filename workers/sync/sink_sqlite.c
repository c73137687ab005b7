/* SPDX-License-Identifier: Apache-2.0
 *
 * The sink of an SQLite file: the embedded default.  Several processes write
 * it, so it has a rollback journal, not WAL.  Nothing waits here: a batch is
 * applied whole from a zero timer; a locked file is tried again from the
 * loop.
 */
#include "workers/sync/sink.h"

#include <event2/event.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/crash_point.h"
#include "common/config/config.h"
#include "common/document/json_text.h"
#include "workers/sync/fold.h"
#include "workers/sync/sqlite_typed.h"

#define BATCH_ARENA_MAX    ((size_t)1 << 30)
#define REFUSALS_MAX_BYTES ((size_t)64 << 20)
#define LOCK_PATIENCE_MS   5000 /* then the batch is tried later */
#define LOCK_RETRY_MS      3
#define COMMIT_PATIENCE_MS 2000 /* for readers to leave */
#define SCHEMA_VERSION     1

static const char schema_sql[] =
    "CREATE TABLE IF NOT EXISTS ledger ("
    " system_id TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " batch_id INTEGER NOT NULL,"
    " applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),"
    " operations INTEGER NOT NULL, refusals TEXT,"
    " PRIMARY KEY (system_id, epoch, batch_id)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS synced_records ("
    " system_id TEXT NOT NULL, table_name TEXT NOT NULL,"
    " record_id TEXT NOT NULL, data JSON,"
    " updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),"
    " deleted BOOLEAN NOT NULL DEFAULT 0,"
    " PRIMARY KEY (system_id, table_name, record_id));"
    "PRAGMA user_version = 1;";

#define LEDGER_KEY " WHERE system_id = ?1 AND epoch = ?2 AND batch_id = ?3"
#define UPSERT                                                                 \
    "INSERT INTO synced_records AS r"                                          \
    " (system_id, table_name, record_id, data, updated_at, deleted)"           \
    " VALUES (?1, ?2, ?3, ?4, ?5, "
#define UPSERT_SET                                                             \
    ") ON CONFLICT (system_id, table_name, record_id) DO UPDATE"               \
    " SET updated_at = excluded.updated_at, deleted = excluded.deleted, data " \
    "= "

enum statement { /* the first three are enum unit_kind - 1 */
                 STATEMENT_SET,
                 STATEMENT_MERGE,
                 STATEMENT_GONE,
                 STATEMENT_ENTER,
                 STATEMENT_REMEMBER,
                 STATEMENT_RECALL,
                 STATEMENT_COUNT
};

static const char *const statement_sql[STATEMENT_COUNT] = {
    [STATEMENT_SET] = UPSERT "0" UPSERT_SET "excluded.data",
    [STATEMENT_MERGE] =
        UPSERT "0" UPSERT_SET "CASE WHEN r.data IS NULL THEN excluded.data"
               " ELSE tidemill_merge(r.data, excluded.data)"
               " END",
    [STATEMENT_GONE] = UPSERT "1" UPSERT_SET "NULL",
    [STATEMENT_ENTER] = "INSERT OR IGNORE INTO ledger"
                        " (system_id, epoch, batch_id, operations)"
                        " VALUES (?1, ?2, ?3, ?4)",
    [STATEMENT_REMEMBER] = "UPDATE ledger SET refusals = ?4" LEDGER_KEY,
    [STATEMENT_RECALL] =
        "SELECT json_extract(e.value, '$.key'),"
        " json_extract(e.value, '$.held'), json_extract(e.value, '$.code'),"
        " json_extract(e.value, '$.words')"
        " FROM ledger, json_each(ledger.refusals) AS e" LEDGER_KEY,
};

struct sink {
    const struct config *config;
    struct event *timer;
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    const struct sink_batch *batch; /* NULL: a probe */
    struct arena arena;
    struct batch_units units;
    struct buffer refusals; /* JSON array without its end; empty: none */
    char now[CLOCK_TEXT_SIZE];
    uint64_t started_ms;
    sink_done done;
    void *self;
};

static void merge_function(sqlite3_context *context, int count,
                           sqlite3_value **values)
{
    struct buffer out;
    (void)count;
    buffer_init(&out, (size_t)1 << 30);
    const char *base = (const char *)sqlite3_value_text(values[0]);
    const char *patch = (const char *)sqlite3_value_text(values[1]);
    if (base && patch)
        json_text_merge(base, (size_t)sqlite3_value_bytes(values[0]), patch,
                        (size_t)sqlite3_value_bytes(values[1]), &out);
    if (!out.bytes || out.failed)
        sqlite3_result_error_nomem(context);
    else
        sqlite3_result_text64(context, out.bytes, out.size, SQLITE_TRANSIENT,
                              SQLITE_UTF8);
    buffer_deinit(&out);
}

/* --- opening ---------------------------------------------------------- */

static void db_close(struct sink *sink)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(sink->statements[i]);
        sink->statements[i] = NULL;
    }
    sqlite3_close(sink->db);
    sink->db = NULL;
}

static int db_failed(struct sink *sink, struct error *error)
{
    char code[6] = "";
    sqlite_failure(sink->db, code, error);
    return error_prefix(error, "%s", sink->config->sync_sqlite_path);
}

static int user_version(sqlite3 *db)
{
    sqlite3_stmt *statement;
    int version = -1;
    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL) !=
        SQLITE_OK)
        return -1;
    if (sqlite3_step(statement) == SQLITE_ROW)
        version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return version;
}

static int schema_make(struct sink *sink, struct error *error)
{
    int version = user_version(sink->db);
    if (version < 0)
        return db_failed(sink, error);
    if (version > SCHEMA_VERSION)
        return error_set(error, ERROR_CONFIG,
                         "%s: the schema of the sqlite centre has version "
                         "%d, this program knows %d; upgrade tidemill",
                         sink->config->sync_sqlite_path, version,
                         SCHEMA_VERSION);
    if (version == SCHEMA_VERSION)
        return 0;
    if (sqlite3_exec(sink->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) !=
            SQLITE_OK ||
        sqlite3_exec(sink->db, schema_sql, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(sink->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        return db_failed(sink, error);
    return 0;
}

static int db_open(struct sink *sink, struct error *error)
{
    if (sqlite3_open_v2(sink->config->sync_sqlite_path, &sink->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                        NULL) != SQLITE_OK)
        return error_set(
            error, ERROR_IO, "cannot open the sqlite centre %s: %s",
            sink->config->sync_sqlite_path, sqlite3_errmsg(sink->db));
    if (sqlite3_exec(sink->db,
                     "PRAGMA journal_mode = DELETE;"
                     "PRAGMA synchronous = FULL;"
                     "PRAGMA foreign_keys = ON;",
                     NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_create_function(sink->db, "tidemill_merge", 2,
                                SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                                merge_function, NULL, NULL) != SQLITE_OK)
        return db_failed(sink, error);
    if (schema_make(sink, error) != 0)
        return -1;
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(sink->db, statement_sql[i], -1,
                               SQLITE_PREPARE_PERSISTENT, &sink->statements[i],
                               NULL) != SQLITE_OK)
            return db_failed(sink, error);
    return 0;
}

/* --- applying --------------------------------------------------------- */

static enum sqlite_step statement_run(struct sink *sink, enum statement which,
                                      char *code, struct error *error)
{
    sqlite3_stmt *statement = sink->statements[which];
    enum sqlite_step step = STEP_DONE;
    if (sqlite3_step(statement) != SQLITE_DONE)
        step = sqlite_failure(sink->db, code, error);
    sqlite3_reset(statement);
    return step;
}

static enum sqlite_step change_apply(struct sink *sink,
                                     const struct batch_unit *unit,
                                     const struct sqlite_change *change,
                                     char *code, struct error *error)
{
    const struct outbox_operation *op = change->operation;
    enum statement which = (enum statement)(change->kind - 1);
    sqlite3_stmt *statement = sink->statements[which];
    if (unit->typed)
        return sqlite_typed_apply(sink->db,
                                  &sink->config->tables[unit->typed - 1],
                                  change, code, error);
    sqlite3_bind_text(statement, 1, change->system_id, -1, SQLITE_STATIC);
    sqlite3_bind_text64(statement, 2, op->table_name, op->table_name_size,
                        SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_text64(statement, 3, op->record_id, op->record_id_size,
                        SQLITE_STATIC, SQLITE_UTF8);
    if (change->kind != UNIT_GONE &&
        sqlite3_bind_text64(statement, 4, change->data, change->data_size,
                            SQLITE_STATIC, SQLITE_UTF8) != SQLITE_OK)
        return sqlite_failure(sink->db, code, error);
    sqlite3_bind_text(statement, 5, sink->now, -1, SQLITE_STATIC);
    return statement_run(sink, which, code, error);
}

static void refusal_add(struct sink *sink, int64_t key, const char *code,
                        const char *words)
{
    struct buffer *out = &sink->refusals;
    buffer_printf(out, "%s{\"key\":%lld,\"held\":%d,\"code\":\"%s\",\"words\":",
                  out->size ? "," : "[", (long long)key, !*code, code);
    buffer_append_json(out, words, strlen(words));
    buffer_append_char(out, '}');
}

/* The operations of a unit one by one, up to the refused one. */
static enum sqlite_step unit_apply_each(struct sink *sink,
                                        const struct batch_unit *unit,
                                        struct error *error)
{
    bool held = false;
    uint32_t index = unit->first;
    for (uint32_t n = 0; n < unit->count;
         n++, index = sink->units.next[index]) {
        const struct outbox_operation *op = &sink->batch->operations[index];
        const char *known;
        char code[6] = "";
        if (held) {
            refusal_add(sink, op->key, "", SINK_HELD_WORDS);
            continue;
        }
        const char *words = operation_refusal(op, &known);
        if (words) {
            refusal_add(sink, op->key, known, words);
            held = true;
            continue;
        }
        struct sqlite_change change = {.system_id = sink->config->system_id,
                                       .operation = op,
                                       .kind = operation_unit_kind(op),
                                       .data = op->data,
                                       .data_size = op->data_size};
        enum sqlite_step step = change_apply(sink, unit, &change, code, error);
        if (step == STEP_FAILED)
            return step;
        held = step == STEP_REFUSED;
        if (held)
            refusal_add(sink, op->key, code, error->text);
    }
    return STEP_DONE;
}

static enum sqlite_step unit_apply(struct sink *sink,
                                   const struct batch_unit *unit,
                                   struct error *error)
{
    char code[6] = "";
    if (unit->apart || unit->count == 1)
        return unit_apply_each(sink, unit, error);
    struct sqlite_change change = {.system_id = sink->config->system_id,
                                   .operation =
                                       &sink->batch->operations[unit->first],
                                   .kind = unit->kind,
                                   .data = unit->data,
                                   .data_size = unit->data_size};
    enum sqlite_step step = change_apply(sink, unit, &change, code, error);
    return step == STEP_REFUSED ? unit_apply_each(sink, unit, error) : step;
}

static void ledger_bind(struct sink *sink, enum statement which)
{
    sqlite3_stmt *statement = sink->statements[which];
    sqlite3_bind_text(statement, 1, sink->config->system_id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, sink->batch->epoch);
    sqlite3_bind_int64(statement, 3, sink->batch->batch_id);
}

static int refusals_remember(struct sink *sink, struct error *error)
{
    char code[6] = "";
    if (!sink->refusals.size)
        return 0;
    buffer_append_char(&sink->refusals, ']');
    if (sink->refusals.failed)
        return error_set(error, ERROR_SYSTEM, "out of memory");
    ledger_bind(sink, STATEMENT_REMEMBER);
    sqlite3_bind_text64(sink->statements[STATEMENT_REMEMBER], 4,
                        sink->refusals.bytes, sink->refusals.size,
                        SQLITE_STATIC, SQLITE_UTF8);
    return statement_run(sink, STATEMENT_REMEMBER, code, error) == STEP_DONE
               ? 0
               : -1;
}

static int refusals_recall(struct sink *sink, struct sink_result *result)
{
    sqlite3_stmt *rows = sink->statements[STATEMENT_RECALL];
    struct sink_refusal *list =
        arena_calloc(&sink->arena, sink->batch->count, sizeof *list);
    size_t count = 0;
    int status = SQLITE_NOMEM;
    ledger_bind(sink, STATEMENT_RECALL);
    while (list && (status = sqlite3_step(rows)) == SQLITE_ROW &&
           count < sink->batch->count) {
        struct sink_refusal *refusal = &list[count++];
        const char *code = (const char *)sqlite3_column_text(rows, 2);
        const char *words = (const char *)sqlite3_column_text(rows, 3);
        refusal->key = sqlite3_column_int64(rows, 0);
        refusal->held = sqlite3_column_int(rows, 1) != 0;
        for (size_t n = 0; code && code[n] && n < 5; n++)
            refusal->sqlstate[n] = code[n];
        refusal->message = arena_strdup(&sink->arena, words ? words : "");
    }
    sqlite3_reset(rows);
    result->refusals = list;
    result->refusal_count = count;
    if (status == SQLITE_DONE || status == SQLITE_ROW)
        return 0;
    return db_failed(sink, &result->error);
}

/* Inside the transaction. */
static int batch_apply(struct sink *sink, struct sink_result *result)
{
    char code[6] = "";
    ledger_bind(sink, STATEMENT_ENTER);
    sqlite3_bind_int64(sink->statements[STATEMENT_ENTER], 4,
                       (int64_t)sink->batch->count);
    if (statement_run(sink, STATEMENT_ENTER, code, &result->error) != STEP_DONE)
        return -1;
    CRASH_POINT(SQLITE_LEDGER);
    if (sqlite3_changes(sink->db) == 0) {
        result->outcome = SINK_REPEATED;
        return refusals_recall(sink, result);
    }
    if (batch_fold(sink->config, sink->batch->operations, sink->batch->count,
                   &sink->arena, &sink->units, &result->error) != 0)
        return -1;
    buffer_reset(&sink->refusals);
    for (size_t i = 0; i < sink->units.count; i++)
        if (unit_apply(sink, &sink->units.units[i], &result->error) !=
            STEP_DONE)
            return -1;
    if (refusals_remember(sink, &result->error) != 0)
        return -1;
    result->outcome = SINK_APPLIED;
    CRASH_POINT(SQLITE_APPLIED);
    return sink->refusals.size ? refusals_recall(sink, result) : 0;
}

static int transaction_end(struct sink *sink, struct error *error)
{
    sqlite3_busy_timeout(sink->db, COMMIT_PATIENCE_MS);
    int status = sqlite3_exec(sink->db, "COMMIT", NULL, NULL, NULL);
    CRASH_POINT(SQLITE_COMMITTED);
    sqlite3_busy_timeout(sink->db, 0);
    return status == SQLITE_OK ? 0 : db_failed(sink, error);
}

static void sink_finish(struct sink *sink, struct sink_result *result)
{
    sink_done done = sink->done;
    sink->done = NULL;
    done(sink->self, result);
}

static void timer_start(struct sink *sink, long ms)
{
    struct timeval wait = {.tv_sec = 0, .tv_usec = ms * 1000};
    event_add(sink->timer, &wait);
}

/* Is it only that another process writes just now? */
static bool lock_awaited(struct sink *sink)
{
    return sink->db && (sqlite3_errcode(sink->db) & 0xff) == SQLITE_BUSY &&
           clock_monotonic_ms() - sink->started_ms < LOCK_PATIENCE_MS;
}

static void on_timer(evutil_socket_t fd, short what, void *self)
{
    struct sink *sink = self;
    struct sink_result result = {.outcome = SINK_APPLIED};
    int status = 0;
    (void)fd, (void)what;
    if (!sink->db)
        status = db_open(sink, &result.error);
    if (status == 0 && sqlite3_exec(sink->db, "BEGIN IMMEDIATE", NULL, NULL,
                                    NULL) != SQLITE_OK)
        status = db_failed(sink, &result.error);
    if (status != 0 && lock_awaited(sink)) {
        if (!sink->statements[STATEMENT_COUNT - 1])
            db_close(sink);
        timer_start(sink, LOCK_RETRY_MS);
        return;
    }
    if (status == 0 && sink->batch) {
        arena_reset(&sink->arena);
        clock_format(clock_wall_ms(), sink->now);
        status = batch_apply(sink, &result);
    }
    if (status == 0)
        status = transaction_end(sink, &result.error);
    if (status != 0) {
        result.outcome = SINK_TRANSIENT;
        result.refusal_count = 0;
        db_close(sink); /* rolls back; a replaced file is found again */
    }
    sink_finish(sink, &result);
}

/* --- the methods ------------------------------------------------------ */

static void sqlite_rest(struct sink *sink)
{
    event_del(sink->timer);
    db_close(sink);
}

static void sqlite_close(struct sink *sink)
{
    if (!sink)
        return;
    db_close(sink);
    event_free(sink->timer);
    buffer_deinit(&sink->refusals);
    arena_deinit(&sink->arena);
    free(sink);
}

static struct sink *sqlite_open(const struct config *config,
                                struct event_base *base, struct error *error)
{
    struct sink *sink = calloc(1, sizeof *sink);
    if (!sink || !(sink->timer = event_new(base, -1, 0, on_timer, sink))) {
        free(sink);
        error_set(error, ERROR_SYSTEM, "out of memory");
        return NULL;
    }
    sink->config = config;
    arena_init(&sink->arena, BATCH_ARENA_MAX);
    buffer_init(&sink->refusals, REFUSALS_MAX_BYTES);
    return sink;
}

static void sqlite_apply(struct sink *sink, const struct sink_batch *batch,
                         sink_done done, void *self)
{
    sink->batch = batch;
    sink->done = done;
    sink->self = self;
    sink->started_ms = clock_monotonic_ms();
    timer_start(sink, 0);
}

static void sqlite_probe(struct sink *sink, sink_done done, void *self)
{
    sqlite_apply(sink, NULL, done, self);
}

const struct sink_methods sink_sqlite = {
    .name = "sqlite",
    .open = sqlite_open,
    .apply = sqlite_apply,
    .probe = sqlite_probe,
    .rest = sqlite_rest,
    .close = sqlite_close,
};
