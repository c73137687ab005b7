/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/figures.h"

#include <sqlite3.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/priority.h"
#include "common/store/writer_internal.h"

/* The one integer of one row; 0 when there is none, or NULL. */
static int read_integer(struct store_writer *writer, sqlite3_stmt *row,
                        int64_t *integer, struct error *error)
{
    int step = row == NULL ? -1 : sql_step(writer, row, error);
    *integer = step > 0 ? sqlite3_column_int64(row, 0) : 0;
    if (row != NULL)
        sqlite3_reset(row);
    return step < 0 ? -1 : 0;
}

static int append(struct store_writer *writer, const char *operation,
                  const char *table, const char *record, sqlite3_stmt *row,
                  int64_t now_ms, struct error *error)
{
    const struct value arguments[] = {
        value_text(operation),
        value_text(table),
        value_text(record),
        value_text_sized((const char *)sqlite3_column_text(row, 0),
                         (size_t)sqlite3_column_bytes(row, 0)),
        value_integer(PRIORITY_LOW),
        value_integer(now_ms),
        value_integer(0),
    };
    struct outbox_append append;
    struct error reason;
    int64_t id;
    error_clear(&reason);
    outbox_append_take(&append, arguments);
    if (outbox_append_check(&append, &reason) != 0)
        return outbox_append_dead(writer, &append, &reason, error);
    return outbox_append(writer, &append, &id, error);
}

/* Passes in (from, to]. */
static int report_passes(struct statement_call *call, int64_t from, int64_t to)
{
    struct store_writer *writer = call->writer;
    char record[CLOCK_TEXT_SIZE];
    int64_t now_ms = call->arguments[0].integer;
    sqlite3_stmt *row = SQL_QUERY(writer, SQL_FIGURES_READ, call->error,
                                  value_integer(from), value_integer(to));
    int step = row == NULL ? -1 : sql_step(writer, row, call->error);
    int result = step < 0 ? -1 : 0;
    if (step > 0 && sqlite3_column_int64(row, 1) > 0) {
        result = append(writer, "INSERT", FIGURES_EVENTS_TABLE,
                        clock_format(now_ms, record), row, now_ms, call->error);
        call->result->changed++;
    }
    if (row != NULL)
        sqlite3_reset(row);
    return result;
}

static int read_meta(struct store_writer *writer, const char *name,
                     int64_t *value, struct error *error)
{
    return read_integer(
        writer, SQL_QUERY(writer, SQL_META_READ, error, value_text(name)),
        value, error);
}

static int write_meta(struct store_writer *writer, const char *name,
                      int64_t value, struct error *error)
{
    return SQL_RUN(writer, SQL_META_WRITE, error, value_text(name),
                   value_integer(value));
}

static int report_events(struct statement_call *call)
{
    struct store_writer *writer = call->writer;
    int64_t from, to, last;
    if (read_meta(writer, "figures_reported", &from, call->error) != 0 ||
        read_integer(writer, sql_get(writer, SQL_FIGURES_LAST, call->error),
                     &last, call->error) != 0)
        return -1;
    if (from > last)
        from = 0; /* retention took all passes, and numbers began again */
    if (read_integer(writer,
                     SQL_QUERY(writer, SQL_FIGURES_END, call->error,
                               value_integer(from),
                               value_integer(FIGURES_PASSES_MAX)),
                     &to, call->error) != 0)
        return -1;
    if (to == 0)
        return 0;
    return report_passes(call, from, to) != 0
               ? -1
               : write_meta(writer, "figures_reported", to, call->error);
}

/* What is told from where it was left. */
struct told {
    const char *meta; /* how far */
    enum sql sql;     /* data, how many rows, how far with these */
    int64_t most;
    const char *operation, *table;
    const char *record; /* NULL: the time */
};

/* Templates used since the last time: of more than fit those that were used
 * in the same moment as the last one go when they are used again. */
static const struct told told_tables[] = {
    {"templates_reported", SQL_FIGURES_TEMPLATES, FIGURES_TEMPLATES_MAX,
     "UPDATE", FIGURES_TEMPLATES_TABLE, "used"},
    {"feedback_reported", SQL_FIGURES_FEEDBACK, FIGURES_FEEDBACK_MAX, "INSERT",
     FIGURES_FEEDBACK_TABLE, NULL},
};

static int report_table(struct statement_call *call, const struct told *told)
{
    struct store_writer *writer = call->writer;
    char time[CLOCK_TEXT_SIZE];
    int64_t now_ms = call->arguments[0].integer;
    int64_t from, to = 0;
    if (read_meta(writer, told->meta, &from, call->error) != 0)
        return -1;
    sqlite3_stmt *row =
        SQL_QUERY(writer, told->sql, call->error, value_integer(from),
                  value_integer(told->most));
    int step = row == NULL ? -1 : sql_step(writer, row, call->error);
    int result = step < 0 ? -1 : 0;
    if (step > 0 && sqlite3_column_int64(row, 1) > 0) {
        to = sqlite3_column_int64(row, 2);
        result = append(writer, told->operation, told->table,
                        told->record != NULL ? told->record
                                             : clock_format(now_ms, time),
                        row, now_ms, call->error);
        call->result->changed++;
    }
    if (row != NULL)
        sqlite3_reset(row);
    return result != 0 || to == 0
               ? result
               : write_meta(writer, told->meta, to, call->error);
}

int run_figures_report(struct statement_call *call)
{
    int result = report_events(call);
    for (size_t i = 0;
         result == 0 && i < sizeof(told_tables) / sizeof(*told_tables); i++)
        result = report_table(call, &told_tables[i]);
    return result;
}
