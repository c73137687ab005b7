/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/sqlite_typed.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/config/options.h"
#include "common/document/json_text.h"

#define SQL_MAX_BYTES ((size_t)1 << 20)

enum sqlite_step sqlite_failure(sqlite3 *db, char *code, struct error *error)
{
    switch (sqlite3_errcode(db) & 0xff) {
    case SQLITE_CONSTRAINT:
        snprintf(code, 6, "23000");
        error_set(error, ERROR_DATA, "%s", sqlite3_errmsg(db));
        return STEP_REFUSED;
    case SQLITE_MISMATCH:
        snprintf(code, 6, "22000");
        error_set(error, ERROR_DATA, "%s", sqlite3_errmsg(db));
        return STEP_REFUSED;
    case SQLITE_TOOBIG:
        snprintf(code, 6, "54000");
        error_set(error, ERROR_DATA, "%s", sqlite3_errmsg(db));
        return STEP_REFUSED;
    case SQLITE_FULL:
        error_set(error, ERROR_FULL,
                  "the disk of the sqlite centre is full; nothing is lost, "
                  "free some space");
        return STEP_FAILED;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        error_set(error, ERROR_TRY_AGAIN,
                  "the sqlite centre is locked by another process");
        return STEP_FAILED;
    case SQLITE_ERROR:
        error_set(error, ERROR_CONFIG, "sqlite centre: %s", sqlite3_errmsg(db));
        return STEP_FAILED;
    default:
        error_set(error, ERROR_IO, "sqlite centre: %s", sqlite3_errmsg(db));
        return STEP_FAILED;
    }
}

/* A statement being written for one typed target. */
struct writing {
    sqlite3 *db;
    const struct sync_table *table;
    const char *target; /* without a schema: SQLite has none */
    const struct sqlite_change *change;
    bool has_deleted, has_key;
    struct buffer columns, values; /* of an INSERT */
    struct buffer settings;        /* of its ON CONFLICT */
    struct buffer replacements;    /* of an UPDATE */
};

static const char *target_name(const struct sync_table *table)
{
    const char *dot = strrchr(table->target, '.');
    return dot ? dot + 1 : table->target;
}

static void quoted(struct buffer *out, const char *name)
{
    buffer_append_char(out, '"');
    for (; *name; name++) {
        if (*name == '"')
            buffer_append_char(out, '"');
        buffer_append_char(out, *name);
    }
    buffer_append_char(out, '"');
}

static void column_add(struct writing *w, const char *name)
{
    const struct sqlite_change *change = w->change;
    const char *value;
    size_t size;
    if (strcmp(name, "deleted") == 0)
        w->has_deleted = true;
    if (strcmp(name, w->table->key) == 0)
        w->has_key = true;
    if (strcmp(name, "system_id") == 0 || strcmp(name, w->table->key) == 0 ||
        strpbrk(name, "\"'\\") || change->kind == UNIT_GONE ||
        !json_text_member(change->data, change->data_size, name, &value, &size))
        return;
    buffer_append_text(&w->columns, ", ");
    quoted(&w->columns, name);
    buffer_printf(&w->values, ", json_extract(?3, '$.\"%s\"')", name);
    buffer_append_text(&w->replacements, ", ");
    quoted(&w->replacements, name);
    buffer_printf(&w->replacements, " = json_extract(?3, '$.\"%s\"')", name);
    buffer_append_text(&w->settings, w->settings.size ? ", " : "");
    quoted(&w->settings, name);
    buffer_append_text(&w->settings, " = excluded.");
    quoted(&w->settings, name);
}

static enum sqlite_step columns_read(struct writing *w, char *code,
                                     struct error *error)
{
    sqlite3_stmt *list;
    int rows = 0;
    if (sqlite3_prepare_v2(w->db, "SELECT name FROM pragma_table_info(?1)", -1,
                           &list, NULL) != SQLITE_OK)
        return sqlite_failure(w->db, code, error);
    sqlite3_bind_text(list, 1, w->target, -1, SQLITE_STATIC);
    for (; sqlite3_step(list) == SQLITE_ROW; rows++)
        column_add(w, (const char *)sqlite3_column_text(list, 0));
    if (sqlite3_finalize(list) != SQLITE_OK)
        return sqlite_failure(w->db, code, error);
    if (!rows)
        error_set(error, ERROR_CONFIG,
                  "typed target %s of sync.tables does not exist; create it "
                  "or take it out of the configuration",
                  w->table->target);
    else if (!w->has_key)
        error_set(error, ERROR_CONFIG,
                  "typed target %s has no column %s, the key that "
                  "sync.tables names",
                  w->table->target, w->table->key);
    return rows && w->has_key ? STEP_DONE : STEP_FAILED;
}

static enum sqlite_step run(struct writing *w, const struct buffer *sql,
                            char *code, struct error *error)
{
    const struct sqlite_change *change = w->change;
    sqlite3_stmt *statement;
    if (sql->failed) {
        error_set(error, ERROR_SYSTEM, "out of memory");
        return STEP_FAILED;
    }
    if (sqlite3_prepare_v2(w->db, sql->bytes, (int)sql->size, &statement,
                           NULL) != SQLITE_OK)
        return sqlite_failure(w->db, code, error);
    sqlite3_bind_text(statement, 1, change->system_id, -1, SQLITE_STATIC);
    sqlite3_bind_text64(statement, 2, change->operation->record_id,
                        change->operation->record_id_size, SQLITE_STATIC,
                        SQLITE_UTF8);
    if (sqlite3_bind_parameter_count(statement) > 2)
        sqlite3_bind_text64(statement, 3, change->data, change->data_size,
                            SQLITE_STATIC, SQLITE_UTF8);
    int status = sqlite3_step(statement);
    enum sqlite_step step = status == SQLITE_DONE || status == SQLITE_ROW
                                ? STEP_DONE
                                : sqlite_failure(w->db, code, error);
    sqlite3_finalize(statement);
    return step;
}

/* WHERE for the record. */
static void append_where(struct writing *w, struct buffer *sql)
{
    buffer_append_text(sql, w->change->shared ? " WHERE "
                                              : " WHERE system_id = ?1 AND ");
    quoted(sql, w->table->key);
    buffer_append_text(sql, " = ?2");
}

static enum sqlite_step remove_row(struct writing *w, const char *condition,
                                   char *code, struct error *error)
{
    struct buffer sql;
    buffer_init(&sql, SQL_MAX_BYTES);
    if (w->change->kind == UNIT_GONE && w->has_deleted) {
        buffer_append_text(&sql, "UPDATE ");
        quoted(&sql, w->target);
        buffer_append_text(&sql, " SET deleted = 1, system_id = ?1");
    } else {
        buffer_append_text(&sql, "DELETE FROM ");
        quoted(&sql, w->target);
    }
    append_where(w, &sql);
    buffer_append_text(&sql, condition);
    enum sqlite_step step = run(w, &sql, code, error);
    buffer_deinit(&sql);
    return step;
}

static enum sqlite_step upsert_row(struct writing *w, char *code,
                                   struct error *error)
{
    struct buffer sql;
    buffer_init(&sql, SQL_MAX_BYTES);
    buffer_append_text(&sql, "INSERT INTO ");
    quoted(&sql, w->target);
    buffer_append_text(&sql, " (system_id, ");
    quoted(&sql, w->table->key);
    buffer_append(&sql, w->columns.bytes ? w->columns.bytes : "",
                  w->columns.size);
    buffer_append_text(&sql, ") VALUES (?1, ?2");
    buffer_append(&sql, w->values.bytes ? w->values.bytes : "", w->values.size);
    buffer_append_text(&sql, w->change->shared ? ") ON CONFLICT ("
                                               : ") ON CONFLICT (system_id, ");
    quoted(&sql, w->table->key);
    buffer_append_text(&sql, ") DO UPDATE SET system_id = excluded.system_id");
    if (w->settings.size)
        buffer_printf(&sql, ", %s", w->settings.bytes);
    enum sqlite_step step = run(w, &sql, code, error);
    buffer_deinit(&sql);
    return step;
}

/* The row that is there: an INSERT ... ON CONFLICT would check NOT NULL on a
 * part of a row. */
static enum sqlite_step update_row(struct writing *w, char *code,
                                   struct error *error)
{
    struct buffer sql;
    buffer_init(&sql, SQL_MAX_BYTES);
    buffer_append_text(&sql, "UPDATE ");
    quoted(&sql, w->target);
    buffer_append_text(&sql, " SET system_id = ?1");
    if (w->replacements.size)
        buffer_append(&sql, w->replacements.bytes, w->replacements.size);
    append_where(w, &sql);
    enum sqlite_step step = run(w, &sql, code, error);
    buffer_deinit(&sql);
    return step;
}

/* A record that is set, and one merged into a tombstone, starts from the
 * columns' defaults: SQLite has no SET column = DEFAULT, so the row goes
 * first. */
static enum sqlite_step change_apply(struct writing *w, char *code,
                                     struct error *error)
{
    enum sqlite_step step = columns_read(w, code, error);
    if (step != STEP_DONE)
        return step;
    if (w->change->kind == UNIT_GONE)
        return remove_row(w, "", code, error);
    if (w->change->kind == UNIT_SET || w->has_deleted)
        step = remove_row(w, w->change->kind == UNIT_SET ? "" : " AND deleted",
                          code, error);
    if (step == STEP_DONE && w->change->kind == UNIT_MERGE) {
        step = update_row(w, code, error);
        if (step == STEP_DONE && sqlite3_changes(w->db) > 0)
            return step;
    }
    return step == STEP_DONE ? upsert_row(w, code, error) : step;
}

enum sqlite_step sqlite_typed_apply(sqlite3 *db, const struct sync_table *table,
                                    const struct sqlite_change *change,
                                    char *code, struct error *error)
{
    struct writing w = {.db = db,
                        .table = table,
                        .target = target_name(table),
                        .change = change};
    if (change->kind != UNIT_GONE &&
        !json_text_is_object(change->data, change->data_size)) {
        snprintf(code, 6, "22023");
        error_set(error, ERROR_DATA, "a typed table takes JSON objects only");
        return STEP_REFUSED;
    }
    if (sqlite3_exec(db, "SAVEPOINT change", NULL, NULL, NULL) != SQLITE_OK)
        return sqlite_failure(db, code, error);
    buffer_init(&w.columns, SQL_MAX_BYTES);
    buffer_init(&w.values, SQL_MAX_BYTES);
    buffer_init(&w.settings, SQL_MAX_BYTES);
    buffer_init(&w.replacements, SQL_MAX_BYTES);
    enum sqlite_step step = change_apply(&w, code, error);
    buffer_deinit(&w.columns);
    buffer_deinit(&w.values);
    buffer_deinit(&w.settings);
    buffer_deinit(&w.replacements);
    if (step != STEP_DONE)
        sqlite3_exec(db, "ROLLBACK TO change", NULL, NULL, NULL);
    sqlite3_exec(db, "RELEASE change", NULL, NULL, NULL);
    return step;
}

/* SELECT json_object('name', "name", ...) FROM the target. */
static int row_query(sqlite3 *db, const struct sync_table *table,
                     struct buffer *sql, struct error *error)
{
    sqlite3_stmt *columns;
    char code[6];
    int rows = 0;
    if (sqlite3_prepare_v2(db,
                           "SELECT name, quote(name) FROM pragma_table_info(?1)"
                           " WHERE name <> 'system_id'",
                           -1, &columns, NULL) != SQLITE_OK) {
        sqlite_failure(db, code, error);
        return -1;
    }
    sqlite3_bind_text(columns, 1, target_name(table), -1, SQLITE_STATIC);
    buffer_append_text(sql, "SELECT json_object(");
    for (; sqlite3_step(columns) == SQLITE_ROW; rows++) {
        buffer_printf(sql, "%s%s, ", rows ? ", " : "",
                      (const char *)sqlite3_column_text(columns, 1));
        quoted(sql, (const char *)sqlite3_column_text(columns, 0));
    }
    sqlite3_finalize(columns);
    buffer_append_text(sql, ") FROM ");
    quoted(sql, target_name(table));
    buffer_append_text(sql, " WHERE ");
    quoted(sql, table->key);
    buffer_append_text(sql, " = ?1");
    return sql->failed ? error_set(error, ERROR_SYSTEM, "out of memory") : 0;
}

int sqlite_typed_row(sqlite3 *db, const struct sync_table *table,
                     const struct outbox_operation *operation,
                     struct buffer *out, struct error *error)
{
    struct buffer sql;
    sqlite3_stmt *row = NULL;
    char code[6];
    buffer_init(&sql, SQL_MAX_BYTES);
    int status = row_query(db, table, &sql, error);
    if (status == 0 && sqlite3_prepare_v2(db, sql.bytes, (int)sql.size, &row,
                                          NULL) != SQLITE_OK) {
        sqlite_failure(db, code, error);
        status = -1;
    }
    if (status == 0) {
        sqlite3_bind_text64(row, 1, operation->record_id,
                            operation->record_id_size, SQLITE_STATIC,
                            SQLITE_UTF8);
        if (sqlite3_step(row) == SQLITE_ROW)
            buffer_append(out, sqlite3_column_text(row, 0),
                          (size_t)sqlite3_column_bytes(row, 0));
    }
    sqlite3_finalize(row);
    buffer_deinit(&sql);
    return status;
}
