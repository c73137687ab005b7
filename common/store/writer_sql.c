/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/writer_sql.h"

#include <errno.h>
#include <sqlite3.h>

#include "common/store/damage.h"
#include "common/store/writer_internal.h"

static const char *const sql_texts[SQL_COUNT] = {
#define X(name, text) text,
    SQL_LIST(X)
#undef X
};

enum error_code sql_error_code(int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_FULL:
        return ERROR_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERROR_TRY_AGAIN;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERROR_DAMAGED;
    case SQLITE_IOERR:
        return ERROR_IO;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return ERROR_CANT_CREATE;
    case SQLITE_CONSTRAINT:
        return ERROR_DATA;
    case SQLITE_NOMEM:
        return ERROR_SYSTEM;
    default:
        return ERROR_SOFTWARE;
    }
}

static const char *remedy_of(enum error_code code)
{
    switch (code) {
    case ERROR_FULL:
        return "; nothing of this was stored: free space on its file system "
               "and repeat";
    case ERROR_IO:
        return "; nothing of this was stored: look at the disk";
    case ERROR_DAMAGED:
        return "; nothing of this was stored" DAMAGE_REMEDY;
    case ERROR_CANT_CREATE:
        return "; it must be writable for the service user";
    default:
        return "";
    }
}

int sql_failed(struct store_writer *writer, struct error *error)
{
    enum error_code code = sql_error_code(sqlite3_errcode(writer->db));
    int reason = sqlite3_system_errno(writer->db);
    /* The index of the WAL, say, could not grow. */
    if ((code == ERROR_IO || code == ERROR_CANT_CREATE) &&
        (reason == ENOSPC || reason == EDQUOT))
        code = ERROR_FULL;
    if (code == ERROR_DAMAGED)
        damage_mark(writer->path);
    error_set(error, code, "local store %s: %s%s", writer->path,
              sqlite3_errmsg(writer->db), remedy_of(code));
    if (writer->in_group && !writer->group_lost &&
        sqlite3_get_autocommit(writer->db)) {
        writer->group_lost = true;
        writer->lost_error = *error;
    }
    return -1;
}

/* May be run while rows of the outbox are gathered: it looks at no other
 * table that they concern. */
static bool leaves_outbox(enum sql sql)
{
    return sql == SQL_OUTBOX_INSERT_GATHERED || sql == SQL_FILTERS_READ ||
           sql == SQL_FILTER_READ || sql == SQL_FILTER_WRITE ||
           sql == SQL_FILTERS_DELETE;
}

sqlite3_stmt *sql_get(struct store_writer *writer, enum sql sql,
                      struct error *error)
{
    if (writer->gathers && !leaves_outbox(sql) &&
        gathered_insert(writer, error) != 0)
        return NULL;
    sqlite3_stmt **statement = &writer->statements[sql];
    if (*statement == NULL &&
        sqlite3_prepare_v3(writer->db, sql_texts[sql], -1,
                           SQLITE_PREPARE_PERSISTENT, statement,
                           NULL) != SQLITE_OK) {
        sql_failed(writer, error);
        return NULL;
    }
    return *statement;
}

static void bind_value(sqlite3_stmt *statement, int index,
                       const struct value *value)
{
    switch (value->type) {
    case VALUE_NULL:
        sqlite3_bind_null(statement, index);
        break;
    case VALUE_INTEGER:
        sqlite3_bind_int64(statement, index, value->integer);
        break;
    case VALUE_REAL:
        sqlite3_bind_double(statement, index, value->real);
        break;
    case VALUE_TEXT:
        sqlite3_bind_text(statement, index,
                          value->bytes != NULL ? value->bytes : "",
                          (int)value->size, SQLITE_STATIC);
        break;
    case VALUE_BYTES:
        sqlite3_bind_blob(statement, index, value->bytes, (int)value->size,
                          SQLITE_STATIC);
        break;
    }
}

sqlite3_stmt *sql_query_values(struct store_writer *writer, enum sql sql,
                               struct error *error, const struct value *values,
                               size_t count)
{
    sqlite3_stmt *statement = sql_get(writer, sql, error);
    if (statement == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        bind_value(statement, (int)i + 1, &values[i]);
    return statement;
}

int sql_step(struct store_writer *writer, sqlite3_stmt *statement,
             struct error *error)
{
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        return 1;
    int result = 0;
    if (code != SQLITE_DONE)
        result = sql_failed(writer, error);
    sqlite3_reset(statement);
    return result;
}

int sql_run_values(struct store_writer *writer, enum sql sql,
                   struct error *error, const struct value *values,
                   size_t count)
{
    sqlite3_stmt *statement =
        sql_query_values(writer, sql, error, values, count);
    if (statement == NULL)
        return -1;
    int step;
    do
        step = sql_step(writer, statement, error);
    while (step > 0);
    return step;
}

void sql_finalize(struct store_writer *writer)
{
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(writer->statements[i]);
}
