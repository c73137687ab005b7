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
#include "common/ipc/exercise.h"
#include "common/document/json_text.h"
#include "workers/sync/fold.h"
#include "workers/sync/sqlite_ledger.h"
#include "workers/sync/sqlite_shared.h"
#include "workers/sync/sqlite_stores.h"
#include "workers/sync/sqlite_typed.h"

#define BATCH_ARENA_MAX    ((size_t)1 << 30)
#define LOCK_PATIENCE_MS   5000 /* then the batch is tried later */
#define LOCK_RETRY_MS      5    /* at most: nobody shall always come late */
#define COMMIT_PATIENCE_MS 2000 /* for readers to leave */
#define SCHEMA_VERSION     1

static const char schema_sql[] = SQLITE_LEDGER_SQL SQLITE_SHARED_SQL
    "CREATE TABLE IF NOT EXISTS synced_records ("
    " system_id TEXT NOT NULL, table_name TEXT NOT NULL,"
    " record_id TEXT NOT NULL, data JSON,"
    " updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),"
    " deleted BOOLEAN NOT NULL DEFAULT 0,"
    " PRIMARY KEY (system_id, table_name, record_id));"
    "PRAGMA user_version = 1;";

#define UPSERT                                                                 \
    "INSERT INTO synced_records AS r"                                          \
    " (system_id, table_name, record_id, data, updated_at, deleted)"           \
    " VALUES (?1, ?2, ?3, ?4, ?5, "
#define UPSERT_SET                                                             \
    ") ON CONFLICT (system_id, table_name, record_id) DO UPDATE"               \
    " SET updated_at = excluded.updated_at, deleted = excluded.deleted, data " \
    "= "

enum statement { /* enum unit_kind - 1 */
                 STATEMENT_SET,
                 STATEMENT_MERGE,
                 STATEMENT_GONE,
                 STATEMENT_COUNT
};

static const char *const statement_sql[STATEMENT_COUNT] = {
    [STATEMENT_SET] = UPSERT "0" UPSERT_SET "excluded.data",
    [STATEMENT_MERGE] =
        UPSERT "0" UPSERT_SET "CASE WHEN r.data IS NULL THEN excluded.data"
               " ELSE tidemill_merge(r.data, excluded.data)"
               " END",
    [STATEMENT_GONE] = UPSERT "1" UPSERT_SET "NULL",
};

struct sink {
    const struct config *config;
    struct event *timer;
    sqlite3 *db;
    bool ready; /* all statements are prepared */
    sqlite3_stmt *statements[STATEMENT_COUNT];
    const struct sink_watch *watch; /* NULL: nothing is compared */
    bool compared;                  /* since the file was opened */
    struct sink_store store;
    struct sink_history begun; /* epoch 0: none began in this transaction */
    const struct sink_batch *batch; /* NULL: a probe, or: */
    int64_t run;                    /* to inspect; 0: none */
    struct arena arena;
    struct batch_units units;
    struct sqlite_ledger ledger;
    struct sqlite_shared shared;
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
    sqlite_ledger_close(&sink->ledger);
    sqlite_shared_close(&sink->shared);
    sink->ready = false;
    sqlite3_close(sink->db);
    sink->db = NULL;
    sink->compared = false;
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
        sqlite3_exec(sink->db, sqlite_stores_sql, NULL, NULL, NULL) !=
            SQLITE_OK ||
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
    if (sqlite_ledger_open(&sink->ledger, sink->db) != 0 ||
        sqlite_shared_open(&sink->shared, sink->db) != 0)
        return db_failed(sink, error);
    sink->ready = true;
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

/* An operation of a shared table; a conflict is told, one that is parked is
 * *stuck. */
static enum sqlite_step shared_apply(struct sink *sink,
                                     const struct batch_unit *unit,
                                     const struct sqlite_change *change,
                                     bool *stuck, char *code,
                                     struct error *error)
{
    struct sink_conflict conflict;
    enum sqlite_step step = sqlite_shared_apply(
        &sink->shared, &sink->config->tables[unit->typed - 1], change,
        unit_stamp(sink->config, unit, change->operation), &conflict, code,
        error);
    if (step == STEP_DONE && conflict.outcome != CONFLICT_OUTCOME_COUNT) {
        sqlite_ledger_conflict(&sink->ledger, &conflict);
        *stuck = conflict.outcome == CONFLICT_PARKED;
    }
    return step;
}

static struct sqlite_change change_of(struct sink *sink,
                                      const struct batch_unit *unit,
                                      const struct outbox_operation *operation)
{
    return (struct sqlite_change){.system_id = sink->config->system_id,
                                  .operation = operation,
                                  .kind = operation_unit_kind(operation),
                                  .data = operation->data,
                                  .data_size = operation->data_size,
                                  .shared = unit->shared};
}

/* One operation of a unit; *stuck: those behind it are held. */
static enum sqlite_step operation_apply(struct sink *sink,
                                        const struct batch_unit *unit,
                                        const struct outbox_operation *op,
                                        bool *stuck, struct error *error)
{
    const char *known;
    char code[6] = "";
    const char *words = operation_refusal(op, &known);
    *stuck = words != NULL;
    if (words) {
        sqlite_ledger_refused(&sink->ledger, op->key, known, words);
        return STEP_DONE;
    }
    struct sqlite_change change = change_of(sink, unit, op);
    enum sqlite_step step =
        unit->shared ? shared_apply(sink, unit, &change, stuck, code, error)
                     : change_apply(sink, unit, &change, code, error);
    if (step != STEP_REFUSED)
        return step;
    *stuck = true;
    sqlite_ledger_refused(&sink->ledger, op->key, code, error->text);
    return STEP_DONE;
}

/* The operations of a unit one by one, up to the refused one. */
static enum sqlite_step unit_apply_each(struct sink *sink,
                                        const struct batch_unit *unit,
                                        struct error *error)
{
    bool stuck = false;
    uint32_t index = unit->first;
    for (uint32_t n = 0; n < unit->count;
         n++, index = sink->units.next[index]) {
        const struct outbox_operation *op = &sink->batch->operations[index];
        if (stuck)
            sqlite_ledger_refused(&sink->ledger, op->key, "", SINK_HELD_WORDS);
        else if (operation_apply(sink, unit, op, &stuck, error) != STEP_DONE)
            return STEP_FAILED;
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
    struct sqlite_change change =
        change_of(sink, unit, &sink->batch->operations[unit->first]);
    change.kind = unit->kind;
    change.data = unit->data;
    change.data_size = unit->data_size;
    enum sqlite_step step =
        unit->shared
            ? sqlite_shared_apply(&sink->shared,
                                  &sink->config->tables[unit->typed - 1],
                                  &change, unit->stamp, NULL, code, error)
            : change_apply(sink, unit, &change, code, error);
    return step == STEP_REFUSED ? unit_apply_each(sink, unit, error) : step;
}

/* May the batch be entered?  If not the result says why. */
static bool batch_admitted(struct sink *sink, struct sink_result *result)
{
    switch (
        sqlite_stores_admit(sink->db, sink->config->system_id, sink->batch)) {
    case ADMISSION_OPEN:
        return true;
    case ADMISSION_SETTLED:
        result->outcome = SINK_REPEATED;
        return false;
    case ADMISSION_OVER:
        result->outcome = SINK_BEHIND;
        sink->compared = false;
        error_set(&result->error, ERROR_SOFTWARE,
                  "epoch %lld of system.id %s is over",
                  (long long)sink->batch->epoch, sink->config->system_id);
        return false;
    default:
        result->outcome = SINK_TRANSIENT;
        db_failed(sink, &result->error);
        return false;
    }
}

/* Inside the transaction. */
static int batch_apply(struct sink *sink, struct sink_result *result)
{
    bool known;
    if (!batch_admitted(sink, result))
        return result->outcome == SINK_TRANSIENT ? -1 : 0;
    if (sqlite_ledger_enter(&sink->ledger, sink->batch, &known,
                            &result->error) != 0)
        return -1;
    CRASH_POINT(SQLITE_LEDGER);
    if (!known && sqlite_stores_entered(sink->db, sink->config->system_id,
                                        sink->batch) != 0)
        return db_failed(sink, &result->error);
    if (known)
        result->outcome = SINK_REPEATED;
    else if (batch_fold(sink->config, sink->batch->operations,
                        sink->batch->count, &sink->arena, &sink->units,
                        &result->error) != 0)
        return -1;
    for (size_t i = 0; !known && i < sink->units.count; i++)
        if (unit_apply(sink, &sink->units.units[i], &result->error) !=
            STEP_DONE)
            return -1;
    if (!known && sqlite_ledger_remember(&sink->ledger, &result->error) != 0)
        return -1;
    if (!known)
        result->outcome = SINK_APPLIED;
    CRASH_POINT(SQLITE_APPLIED);
    if (!known && !sink->ledger.told.size)
        return 0;
    return sqlite_ledger_recall(&sink->ledger, &sink->arena, result) == 0
               ? 0
               : db_failed(sink, &result->error);
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

static int run_inspect(struct sink *sink, struct sink_result *result)
{
    static const char sql[] =
        "SELECT count(*), coalesce(sum(NOT deleted"
        " AND json_extract(data, '$.run') = ?5"
        " AND json_extract(data, '$.step') = 7"
        " AND json_extract(data, '$.s4') AND json_extract(data, '$.s5')"
        " AND json_extract(data, '$.s6') AND json_extract(data, '$.s7')"
        " AND (SELECT count(*) FROM json_each(data)) = 6), 0)"
        " FROM synced_records WHERE system_id = ?1 AND table_name = ?2"
        " AND record_id >= ?3 AND record_id < ?4";
    char from[EXERCISE_ID_SIZE], to[EXERCISE_ID_SIZE];
    sqlite3_stmt *statement;
    exercise_bounds(sink->run, from, to);
    if (sqlite3_prepare_v2(sink->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return db_failed(sink, &result->error);
    sqlite3_bind_text(statement, 1, sink->config->system_id, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, EXERCISE_TABLE, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, from, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 4, to, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 5, sink->run);
    int status = sqlite3_step(statement) == SQLITE_ROW
                     ? 0
                     : db_failed(sink, &result->error);
    result->records = sqlite3_column_int64(statement, 0);
    result->complete = sqlite3_column_int64(statement, 1);
    sqlite3_finalize(statement);
    return status;
}

/* Is it only that another process writes just now? */
static bool lock_awaited(struct sink *sink)
{
    return sink->db && (sqlite3_errcode(sink->db) & 0xff) == SQLITE_BUSY &&
           clock_monotonic_ms() - sink->started_ms < LOCK_PATIENCE_MS;
}

/* Within a transaction: what there is to do.  -1: roll back. */
static int work(struct sink *sink, struct sink_result *result)
{
    arena_reset(&sink->arena);
    sink->begun.epoch = 0;
    if (sink->watch && (!sink->compared || !sink->batch)) {
        enum sqlite_contact contact = sqlite_stores_compare(
            sink->db, sink->config->system_id, sink->watch, &sink->store,
            &sink->arena, &sink->begun, &result->error);
        if (contact == CONTACT_FAILED)
            return db_failed(sink, &result->error);
        sink->compared = contact == CONTACT_MADE;
        if (!sink->compared) {
            result->outcome = SINK_BEHIND;
            return 0;
        }
    }
    if (!sink->batch)
        return 0;
    sink->shared.now_ms = clock_wall_ms();
    clock_format(sink->shared.now_ms, sink->now);
    return batch_apply(sink, result);
}

static void on_timer(evutil_socket_t fd, short what, void *self)
{
    struct sink *sink = self;
    struct sink_result result = {.outcome = SINK_APPLIED};
    int status = 0;
    (void)fd, (void)what;
    if (!sink->db)
        status = db_open(sink, &result.error);
    if (status == 0 && sink->watch && (!sink->compared || !sink->batch))
        status =
            sink->watch->before(sink->watch->self, &sink->store, &result.error);
    if (status == 0 && sqlite3_exec(sink->db, "BEGIN IMMEDIATE", NULL, NULL,
                                    NULL) != SQLITE_OK)
        status = db_failed(sink, &result.error);
    if (status != 0 && lock_awaited(sink)) {
        if (!sink->ready)
            db_close(sink);
        timer_start(sink,
                    1 + (long)(clock_monotonic_ns() / 1000 % LOCK_RETRY_MS));
        return;
    }
    if (status == 0)
        status = work(sink, &result);
    if (status == 0 && sink->run && result.outcome != SINK_BEHIND)
        status = run_inspect(sink, &result);
    if (status == 0)
        status = transaction_end(sink, &result.error);
    if (status != 0) {
        result.outcome = SINK_TRANSIENT;
        result.refusal_count = result.conflict_count = 0;
        db_close(sink); /* rolls back; a replaced file is found again */
    } else if (sink->begun.epoch != 0) {
        sink->watch->begun(sink->watch->self, &sink->begun);
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
    sqlite_ledger_deinit(&sink->ledger);
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
    sqlite_ledger_init(&sink->ledger, config->system_id);
    sink->shared.arena = &sink->arena;
    return sink;
}

static void sqlite_apply(struct sink *sink, const struct sink_batch *batch,
                         sink_done done, void *self)
{
    sink->batch = batch;
    sink->run = 0;
    sink->done = done;
    sink->self = self;
    sink->started_ms = clock_monotonic_ms();
    timer_start(sink, 0);
}

static void sqlite_probe(struct sink *sink, sink_done done, void *self)
{
    sqlite_apply(sink, NULL, done, self);
}

static void sqlite_inspect(struct sink *sink, int64_t run, sink_done done,
                           void *self)
{
    sqlite_apply(sink, NULL, done, self);
    sink->run = run;
}

static void sqlite_watch(struct sink *sink, const struct sink_watch *watch)
{
    sink->watch = watch;
    sink->compared = false;
}

const struct sink_methods sink_sqlite = {
    .name = "sqlite",
    .open = sqlite_open,
    .apply = sqlite_apply,
    .probe = sqlite_probe,
    .inspect = sqlite_inspect,
    .rest = sqlite_rest,
    .watch = sqlite_watch,
    .close = sqlite_close,
};
