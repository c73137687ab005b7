/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/report.h"

#include <string.h>

#include <sqlite3.h>

#include "common/base/clock.h"
#include "common/base/priority.h"
#include "common/store/client.h"

static bool ends_with(const char *text, const char *suffix, size_t *stem)
{
    size_t size = strlen(text);
    size_t suffix_size = strlen(suffix);
    if (size < suffix_size || strcmp(text + size - suffix_size, suffix) != 0)
        return false;
    *stem = size - suffix_size;
    return true;
}

static json_t *column_value(sqlite3_stmt *row, int column, bool time, bool json)
{
    char iso[CLOCK_TEXT_SIZE];
    int size = sqlite3_column_bytes(row, column);
    const char *text;
    switch (sqlite3_column_type(row, column)) {
    case SQLITE_NULL:
        return json_null();
    case SQLITE_INTEGER:
        if (time)
            return json_string(
                clock_format(sqlite3_column_int64(row, column), iso));
        return json_integer(sqlite3_column_int64(row, column));
    case SQLITE_FLOAT:
        return json_real(sqlite3_column_double(row, column));
    default:
        text = (const char *)sqlite3_column_text(row, column);
        if (json) {
            json_t *value =
                json_loadb(text, (size_t)size, JSON_DECODE_ANY, NULL);
            if (value != NULL)
                return value;
        }
        return json_stringn(text, (size_t)size);
    }
}

/* As it is. */
static json_t *plain_object(sqlite3_stmt *row)
{
    json_t *object = json_object();
    for (int i = 0; i < sqlite3_column_count(row); i++)
        json_object_set_new(object, sqlite3_column_name(row, i),
                            column_value(row, i, false, false));
    return object;
}

static json_t *row_object(sqlite3_stmt *row)
{
    json_t *object = json_object();
    for (int i = 0; i < sqlite3_column_count(row); i++) {
        const char *name = sqlite3_column_name(row, i);
        size_t stem = strlen(name);
        bool time = ends_with(name, "_ms", &stem) &&
                    !ends_with(name, "duration_ms", &stem);
        bool json = !time && ends_with(name, "_json", &stem);
        if (!time && !json)
            stem = strlen(name);
        json_object_setn_new(object, name, stem,
                             column_value(row, i, time, json));
    }
    return object;
}

int report_unreadable(struct store_reader *reader, struct error *error)
{
    return error_set(error, ERROR_IO,
                     "cannot read the local store: %s; 'tidemill doctor' "
                     "looks further",
                     sqlite3_errmsg(store_reader_db(reader)));
}

static json_t *read_rows(struct store_reader *reader, const char *sql,
                         const int64_t *arguments, unsigned count,
                         json_t *(*make)(sqlite3_stmt *row),
                         struct error *error)
{
    sqlite3 *db = store_reader_db(reader);
    sqlite3_stmt *rows = NULL;
    json_t *list = json_array();
    int code = sqlite3_prepare_v2(db, sql, -1, &rows, NULL);
    for (unsigned i = 0; code == SQLITE_OK && i < count; i++)
        code = sqlite3_bind_int64(rows, (int)i + 1, arguments[i]);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(rows);
        if (code == SQLITE_ROW)
            json_array_append_new(list, make(rows));
    }
    if (code != SQLITE_DONE) {
        report_unreadable(reader, error);
        json_decref(list);
        list = NULL;
    }
    sqlite3_finalize(rows);
    return list;
}

json_t *report_rows(struct store_reader *reader, const char *sql,
                    const int64_t *arguments, unsigned count,
                    struct error *error)
{
    return read_rows(reader, sql, arguments, count, row_object, error);
}

json_t *report_table(struct store_reader *reader, const char *sql,
                     int64_t most_rows, struct error *error)
{
    return read_rows(reader, sql, &most_rows, 1, plain_object, error);
}

/* {"key": value, ...} from rows of (name, count). */
static json_t *counts_of(struct store_reader *reader, const char *sql,
                         struct error *error)
{
    json_t *rows = report_rows(reader, sql, NULL, 0, error);
    json_t *counts = rows == NULL ? NULL : json_object();
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        json_object_set(counts, json_string_value(json_object_get(row, "name")),
                        json_object_get(row, "count"));
    }
    json_decref(rows);
    return counts;
}

/* The first row's value of a column, or null. */
static json_t *first_value(struct store_reader *reader, const char *sql,
                           const char *column, struct error *error)
{
    json_t *rows = report_rows(reader, sql, NULL, 0, error);
    json_t *value = json_object_get(json_array_get(rows, 0), column);
    value = value != NULL ? json_incref(value) : json_null();
    json_decref(rows);
    return value;
}

static json_t *by_priority(const struct outbox_pending *pending)
{
    json_t *counts = json_object();
    for (unsigned i = 0; i < OUTBOX_PRIORITIES; i++)
        json_object_set_new(counts, priority_word(i),
                            json_integer(pending->by_priority[i]));
    return counts;
}

static json_t *outbox_object(struct store_reader *reader, struct error *error)
{
    struct outbox_pending pending;
    if (outbox_pending_read(reader, &pending, error) != 0)
        return NULL;
    json_t *tables = counts_of(
        reader,
        "SELECT table_name AS name, sum(pending) AS count FROM outbox_counts "
        "GROUP BY table_name HAVING sum(pending) > 0 ORDER BY 2 DESC LIMIT 100",
        error);
    if (tables == NULL)
        return NULL;
    json_t *conflicts = first_value(
        reader,
        "SELECT count(*) AS conflicts FROM sync_conflicts WHERE resolved_ms IS "
        "NULL",
        "conflicts", error);
    return json_pack(
        "{s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:o}", "pending",
        (json_int_t)pending.total, "in_flight", (json_int_t)pending.in_flight,
        "waiting", (json_int_t)pending.waiting, "dead",
        (json_int_t)pending.dead, "conflicts", conflicts, "by_priority",
        by_priority(&pending), "by_table", tables, "last_sync",
        first_value(reader,
                    "SELECT timestamp AS at_ms FROM sync_metrics "
                    "WHERE success ORDER BY id DESC LIMIT 1",
                    "at", error),
        "last_error",
        first_value(reader,
                    "SELECT error_message FROM sync_metrics "
                    "ORDER BY id DESC LIMIT 1",
                    "error_message", error));
}

int report_open(struct store_reader **reader, const struct config *config,
                struct error *error)
{
    store_spool_settle(config);
    return store_reader_open(reader, config->state_dir, error);
}

json_t *report_outbox(const struct config *config, struct error *error)
{
    struct store_reader *reader = NULL;
    if (report_open(&reader, config, error) != 0)
        return NULL;
    json_t *report = outbox_object(reader, error);
    store_reader_close(&reader);
    return report;
}
