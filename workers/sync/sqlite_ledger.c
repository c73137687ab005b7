/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/sqlite_ledger.h"

#include <string.h>

#include "common/document/json_text.h"

#define TOLD_MAX_BYTES ((size_t)64 << 20)

#define LEDGER_KEY   " WHERE system_id = ?1 AND epoch = ?2 AND batch_id = ?3"
#define MEMBER(name) " json_extract(e.value, '$." name "'),"

static const char enter_sql[] = "INSERT OR IGNORE INTO ledger"
                                " (system_id, epoch, batch_id, operations)"
                                " VALUES (?1, ?2, ?3, ?4)";
static const char remember_sql[] = "UPDATE ledger SET refusals = ?4" LEDGER_KEY;
static const char recall_sql[] = "SELECT" MEMBER("key") MEMBER("outcome")
    MEMBER("held") MEMBER("code") MEMBER("words") MEMBER("rule") MEMBER("stamp")
        MEMBER("centre_stamp") MEMBER("system") MEMBER("deleted")
            MEMBER("versioned") " e.value -> '$.data'"
                                " FROM ledger, json_each(ledger.refusals) AS "
                                "e" LEDGER_KEY;

enum column {
    KEY,
    OUTCOME,
    HELD,
    CODE,
    WORDS,
    RULE,
    STAMP,
    CENTRE_STAMP,
    SYSTEM,
    DELETED,
    VERSIONED,
    DATA
};

void sqlite_ledger_init(struct sqlite_ledger *ledger, const char *system_id)
{
    *ledger = (struct sqlite_ledger){.system_id = system_id};
    buffer_init(&ledger->told, TOLD_MAX_BYTES);
}

void sqlite_ledger_deinit(struct sqlite_ledger *ledger)
{
    sqlite_ledger_close(ledger);
    buffer_deinit(&ledger->told);
}

int sqlite_ledger_open(struct sqlite_ledger *ledger, sqlite3 *db)
{
    ledger->db = db;
    if (sqlite3_prepare_v3(db, enter_sql, -1, SQLITE_PREPARE_PERSISTENT,
                           &ledger->enter, NULL) != SQLITE_OK ||
        sqlite3_prepare_v3(db, remember_sql, -1, SQLITE_PREPARE_PERSISTENT,
                           &ledger->remember, NULL) != SQLITE_OK ||
        sqlite3_prepare_v3(db, recall_sql, -1, SQLITE_PREPARE_PERSISTENT,
                           &ledger->recall, NULL) != SQLITE_OK)
        return -1;
    return 0;
}

void sqlite_ledger_close(struct sqlite_ledger *ledger)
{
    sqlite3_finalize(ledger->enter);
    sqlite3_finalize(ledger->remember);
    sqlite3_finalize(ledger->recall);
    ledger->enter = ledger->remember = ledger->recall = NULL;
}

static void bind_key(struct sqlite_ledger *ledger, sqlite3_stmt *statement)
{
    sqlite3_bind_text(statement, 1, ledger->system_id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, ledger->batch->epoch);
    sqlite3_bind_int64(statement, 3, ledger->batch->batch_id);
}

static int run(struct sqlite_ledger *ledger, sqlite3_stmt *statement,
               struct error *error)
{
    char code[6] = "";
    int status = sqlite3_step(statement) == SQLITE_DONE ? 0 : -1;
    if (status != 0)
        sqlite_failure(ledger->db, code, error);
    sqlite3_reset(statement);
    return status;
}

int sqlite_ledger_enter(struct sqlite_ledger *ledger,
                        const struct sink_batch *batch, bool *known,
                        struct error *error)
{
    ledger->batch = batch;
    buffer_reset(&ledger->told);
    bind_key(ledger, ledger->enter);
    sqlite3_bind_int64(ledger->enter, 4, (int64_t)batch->count);
    int status = run(ledger, ledger->enter, error);
    *known = sqlite3_changes(ledger->db) == 0;
    return status;
}

void sqlite_ledger_refused(struct sqlite_ledger *ledger, int64_t key,
                           const char *code, const char *words)
{
    struct buffer *out = &ledger->told;
    buffer_printf(out, "%s{\"key\":%lld,\"held\":%d,\"code\":\"%s\",\"words\":",
                  out->size ? "," : "[", (long long)key, !*code, code);
    buffer_append_json(out, words, strlen(words));
    buffer_append_char(out, '}');
}

void sqlite_ledger_conflict(struct sqlite_ledger *ledger,
                            const struct sink_conflict *conflict)
{
    struct buffer *out = &ledger->told;
    buffer_printf(out,
                  "%s{\"key\":%lld,\"outcome\":%d,\"rule\":%d,\"stamp\":%lld,"
                  "\"centre_stamp\":%lld,\"deleted\":%d,\"versioned\":%d,"
                  "\"system\":",
                  out->size ? "," : "[", (long long)conflict->key,
                  (int)conflict->outcome, (int)conflict->rule,
                  (long long)conflict->stamp, (long long)conflict->centre_stamp,
                  conflict->centre_deleted, conflict->versioned);
    buffer_append_json(out, conflict->centre_system,
                       strlen(conflict->centre_system));
    if (conflict->centre_data &&
        out->size + conflict->centre_data_size <= SINK_CONFLICT_DATA_MAX) {
        buffer_append_text(out, ",\"data\":");
        buffer_append(out, conflict->centre_data, conflict->centre_data_size);
    }
    buffer_append_char(out, '}');
}

int sqlite_ledger_remember(struct sqlite_ledger *ledger, struct error *error)
{
    if (!ledger->told.size)
        return 0;
    buffer_append_char(&ledger->told, ']');
    if (ledger->told.failed)
        return error_set(error, ERROR_SYSTEM, "out of memory");
    bind_key(ledger, ledger->remember);
    sqlite3_bind_text64(ledger->remember, 4, ledger->told.bytes,
                        ledger->told.size, SQLITE_STATIC, SQLITE_UTF8);
    return run(ledger, ledger->remember, error);
}

static const char *kept_text(struct arena *arena, sqlite3_stmt *rows,
                             enum column column)
{
    const char *text = (const char *)sqlite3_column_text(rows, (int)column);
    return arena_strdup(arena, text ? text : "");
}

static bool recall_refusal(struct arena *arena, sqlite3_stmt *rows,
                           struct sink_refusal *refusal)
{
    const char *code = (const char *)sqlite3_column_text(rows, CODE);
    refusal->key = sqlite3_column_int64(rows, KEY);
    refusal->held = sqlite3_column_int(rows, HELD) != 0;
    for (size_t n = 0; code && code[n] && n < 5; n++)
        refusal->sqlstate[n] = code[n];
    refusal->message = kept_text(arena, rows, WORDS);
    return refusal->message != NULL;
}

static bool recall_conflict(struct arena *arena, sqlite3_stmt *rows,
                            struct sink_conflict *conflict)
{
    bool has_data = sqlite3_column_type(rows, DATA) != SQLITE_NULL;
    *conflict = (struct sink_conflict){
        .key = sqlite3_column_int64(rows, KEY),
        .outcome = (enum conflict_outcome)sqlite3_column_int(rows, OUTCOME),
        .rule = (enum conflict_rule)sqlite3_column_int(rows, RULE),
        .stamp = sqlite3_column_int64(rows, STAMP),
        .centre_stamp = sqlite3_column_int64(rows, CENTRE_STAMP),
        .centre_system = kept_text(arena, rows, SYSTEM),
        .centre_deleted = sqlite3_column_int(rows, DELETED) != 0,
        .versioned = sqlite3_column_int(rows, VERSIONED) != 0,
        .centre_data = has_data ? kept_text(arena, rows, DATA) : NULL};
    if (conflict->centre_data)
        conflict->centre_data_size = strlen(conflict->centre_data);
    return conflict->centre_system && (!has_data || conflict->centre_data);
}

int sqlite_ledger_recall(struct sqlite_ledger *ledger, struct arena *arena,
                         struct sink_result *result)
{
    sqlite3_stmt *rows = ledger->recall;
    size_t most = ledger->batch->count;
    struct sink_refusal *refusals = arena_calloc(arena, most, sizeof *refusals);
    struct sink_conflict *conflicts =
        arena_calloc(arena, most, sizeof *conflicts);
    bool fits = refusals && conflicts;
    int status = SQLITE_NOMEM;
    bind_key(ledger, rows);
    while (fits && (status = sqlite3_step(rows)) == SQLITE_ROW &&
           result->refusal_count + result->conflict_count < most)
        fits = sqlite3_column_type(rows, OUTCOME) == SQLITE_NULL
                   ? recall_refusal(arena, rows,
                                    &refusals[result->refusal_count++])
                   : recall_conflict(arena, rows,
                                     &conflicts[result->conflict_count++]);
    sqlite3_reset(rows);
    result->refusals = refusals;
    result->conflicts = conflicts;
    return fits && (status == SQLITE_DONE || status == SQLITE_ROW) ? 0 : -1;
}
