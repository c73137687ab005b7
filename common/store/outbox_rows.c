/* SPDX-License-Identifier: Apache-2.0
 *
 * Many rows at once.  They are gathered and then inserted by one statement,
 * which keeps its place in the table, in the order of their keys, so that the
 * rows of a stripe find their leaf in the cache; that statement reads them
 * from a virtual table.  What asks the store in between finds them there:
 * sql_get inserts them first.
 */
#include <sqlite3.h>
#include <stdlib.h>

#include "common/store/writer_internal.h"

#define GATHERED_MAX 2048

struct gathered_row {
    int64_t key;
    unsigned stripe;
    struct outbox_append append;
};

struct gathered_rows {
    unsigned count;
    struct gathered_row rows[GATHERED_MAX];
    uint16_t order[GATHERED_MAX]; /* of their keys, once it is made */
};

/* --- the virtual table --- */

enum {
    COLUMN_KEY,
    COLUMN_OPERATION,
    COLUMN_CREATED,
    COLUMN_TOKEN,
    COLUMN_SOURCE,
    COLUMN_SOURCE_ID,
    COLUMN_TABLE,
    COLUMN_RECORD,
    COLUMN_DATA
};

struct rows_table {
    sqlite3_vtab base;
    const struct store_writer *writer;
};

struct rows_cursor {
    sqlite3_vtab_cursor base;
    const struct gathered_rows *gathered;
    unsigned at;
};

static struct rows_cursor *cursor_of(sqlite3_vtab_cursor *base)
{
    return (struct rows_cursor *)(void *)base;
}

static int rows_connect(sqlite3 *db, void *self, int count,
                        const char *const *arguments, sqlite3_vtab **table,
                        char **problem)
{
    (void)count, (void)arguments, (void)problem;
    int code = sqlite3_declare_vtab(
        db, "CREATE TABLE rows (key, operation, created_ms, token, source,"
            " source_id, table_name, record_id, record_data)");
    if (code != SQLITE_OK)
        return code;
    struct rows_table *made = sqlite3_malloc(sizeof(*made));
    if (made == NULL)
        return SQLITE_NOMEM;
    *made = (struct rows_table){.writer = self};
    *table = &made->base;
    return SQLITE_OK;
}

static int rows_disconnect(sqlite3_vtab *table)
{
    sqlite3_free(table);
    return SQLITE_OK;
}

static int rows_plan(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    info->estimatedCost = GATHERED_MAX;
    info->estimatedRows = GATHERED_MAX;
    return SQLITE_OK;
}

static int rows_open(sqlite3_vtab *table, sqlite3_vtab_cursor **cursor)
{
    const struct rows_table *from = (const struct rows_table *)(void *)table;
    struct rows_cursor *made = sqlite3_malloc(sizeof(*made));
    if (made == NULL)
        return SQLITE_NOMEM;
    *made = (struct rows_cursor){.gathered = from->writer->gathered};
    *cursor = &made->base;
    return SQLITE_OK;
}

static int rows_close(sqlite3_vtab_cursor *cursor)
{
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int rows_first(sqlite3_vtab_cursor *cursor, int plan, const char *name,
                      int count, sqlite3_value **values)
{
    (void)plan, (void)name, (void)count, (void)values;
    cursor_of(cursor)->at = 0;
    return SQLITE_OK;
}

static int rows_next(sqlite3_vtab_cursor *cursor)
{
    cursor_of(cursor)->at++;
    return SQLITE_OK;
}

static int rows_end(sqlite3_vtab_cursor *cursor)
{
    const struct rows_cursor *rows = cursor_of(cursor);
    return rows->gathered == NULL || rows->at >= rows->gathered->count;
}

static const struct gathered_row *row_of(sqlite3_vtab_cursor *cursor)
{
    const struct rows_cursor *rows = cursor_of(cursor);
    return &rows->gathered->rows[rows->gathered->order[rows->at]];
}

static void put_text(sqlite3_context *to, const char *text, size_t size)
{
    if (text != NULL)
        sqlite3_result_text(to, text, (int)size, SQLITE_STATIC);
}

static void put_source(sqlite3_context *to, const struct outbox_append *append,
                       int64_t value)
{
    if (append->source != 0)
        sqlite3_result_int64(to, value);
}

static int rows_column(sqlite3_vtab_cursor *cursor, sqlite3_context *to,
                       int column)
{
    const struct gathered_row *row = row_of(cursor);
    const struct outbox_append *append = &row->append;
    switch (column) {
    case COLUMN_KEY:
        sqlite3_result_int64(to, row->key);
        break;
    case COLUMN_OPERATION:
        sqlite3_result_int(to, (int)append->kind);
        break;
    case COLUMN_CREATED:
        sqlite3_result_int64(to, append->created_ms);
        break;
    case COLUMN_TOKEN:
        sqlite3_result_int64(to, append->token);
        break;
    case COLUMN_SOURCE:
        put_source(to, append, append->source);
        break;
    case COLUMN_SOURCE_ID:
        put_source(to, append, append->source_id);
        break;
    case COLUMN_TABLE:
        put_text(to, append->table_name, append->table_name_size);
        break;
    case COLUMN_RECORD:
        put_text(to, append->record_id, append->record_id_size);
        break;
    case COLUMN_DATA:
        put_text(to, append->data, append->data_size);
        break;
    default:
        break;
    }
    return SQLITE_OK;
}

static int rows_id(sqlite3_vtab_cursor *cursor, sqlite3_int64 *id)
{
    *id = row_of(cursor)->key;
    return SQLITE_OK;
}

int gathered_offer(struct store_writer *writer)
{
    static const sqlite3_module module = {
        .xConnect = rows_connect,
        .xBestIndex = rows_plan,
        .xDisconnect = rows_disconnect,
        .xOpen = rows_open,
        .xClose = rows_close,
        .xFilter = rows_first,
        .xNext = rows_next,
        .xEof = rows_end,
        .xColumn = rows_column,
        .xRowid = rows_id,
    };
    return sqlite3_create_module(writer->db, "gathered_rows", &module, writer);
}

/* --- gathering --- */

/* Ids ascend as rows are gathered: those of a stripe stay as they are. */
static void put_in_order(struct gathered_rows *gathered)
{
    unsigned place[OUTBOX_STRIPES] = {0};
    for (unsigned i = 0; i < gathered->count; i++)
        place[gathered->rows[i].stripe]++;
    unsigned sum = 0;
    for (unsigned stripe = 0; stripe < OUTBOX_STRIPES; stripe++) {
        unsigned count = place[stripe];
        place[stripe] = sum;
        sum += count;
    }
    for (unsigned i = 0; i < gathered->count; i++)
        gathered->order[place[gathered->rows[i].stripe]++] = (uint16_t)i;
}

int gathered_insert(struct store_writer *writer, struct error *error)
{
    struct gathered_rows *gathered = writer->gathered;
    if (gathered == NULL || gathered->count == 0)
        return 0;
    sqlite3_stmt *insert = sql_get(writer, SQL_OUTBOX_INSERT_GATHERED, error);
    if (insert == NULL)
        return -1;
    put_in_order(gathered);
    int result = sql_step(writer, insert, error);
    gathered->count = 0;
    return result;
}

int gathered_add(struct store_writer *writer,
                 const struct outbox_append *append, unsigned stripe,
                 int64_t key, struct error *error)
{
    struct gathered_rows *gathered = writer->gathered;
    if (gathered->count == GATHERED_MAX && gathered_insert(writer, error) != 0)
        return -1;
    gathered->rows[gathered->count++] =
        (struct gathered_row){.key = key, .stripe = stripe, .append = *append};
    return 0;
}

int gathered_begin(struct store_writer *writer, struct error *error)
{
    if (writer->gathered == NULL)
        writer->gathered = malloc(sizeof(*writer->gathered));
    if (writer->gathered == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for the store");
    writer->gathered->count = 0;
    writer->gathers = true;
    return 0;
}

int gathered_end(struct store_writer *writer, struct error *error)
{
    writer->gathers = false;
    return gathered_insert(writer, error);
}

void gathered_forget(struct store_writer *writer)
{
    writer->gathers = false;
    if (writer->gathered != NULL)
        writer->gathered->count = 0;
}
