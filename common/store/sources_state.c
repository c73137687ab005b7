/* SPDX-License-Identifier: Apache-2.0
 *
 * Sources: how far each was copied, and rows that come from them.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/store/writer_internal.h"

#define SOURCE_NAME_MAX 128

void sources_forget(struct store_writer *writer)
{
    for (size_t i = 0; i < writer->source_count; i++)
        free(writer->sources[i].name);
    free(writer->sources);
    writer->sources = NULL;
    writer->source_count = 0;
    writer->sources_loaded = false;
    writer->sources_touched = false;
}

static struct source_state *add_source(struct store_writer *writer,
                                       const char *name, struct error *error)
{
    if (writer->sources == NULL)
        writer->sources = calloc(SOURCES_MAX, sizeof(*writer->sources));
    if (writer->source_count == SOURCES_MAX) {
        error_set(error, ERROR_DATA, "more than %d sources", SOURCES_MAX);
        return NULL;
    }
    char *copy = writer->sources != NULL ? strdup(name) : NULL;
    if (copy == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for a source");
        return NULL;
    }
    struct source_state *source = &writer->sources[writer->source_count++];
    *source = (struct source_state){.name = copy};
    for (size_t i = 0; i + 1 < writer->source_count; i++)
        if (writer->sources[i].number > source->number)
            source->number = writer->sources[i].number;
    source->number++;
    return source;
}

/* When a source is first asked for: most writers are commands that have
 * nothing to do with sources. */
static int load(struct store_writer *writer, struct error *error)
{
    if (writer->sources_loaded)
        return 0;
    sources_forget(writer);
    sqlite3_stmt *rows = sql_get(writer, SQL_SOURCES_READ, error);
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, error)) > 0) {
        const char *name = (const char *)sqlite3_column_text(rows, 1);
        const char *identity = (const char *)sqlite3_column_text(rows, 3);
        struct source_state *source =
            add_source(writer, name != NULL ? name : "", error);
        if (source == NULL) {
            sqlite3_reset(rows);
            return -1;
        }
        source->number = sqlite3_column_int64(rows, 0);
        source->cursor = sqlite3_column_int64(rows, 2);
        snprintf(source->identity, sizeof(source->identity), "%s",
                 identity != NULL ? identity : "");
        const char *words = (const char *)sqlite3_column_text(rows, 4);
        snprintf(source->error, sizeof(source->error), "%s",
                 words != NULL ? words : "");
    }
    writer->sources_loaded = step == 0;
    return step;
}

int sources_write(struct store_writer *writer, struct error *error)
{
    if (!writer->sources_touched)
        return 0;
    for (size_t i = 0; i < writer->source_count; i++) {
        struct source_state *source = &writer->sources[i];
        if (source->dirty &&
            SQL_RUN(
                writer, SQL_SOURCE_WRITE, error, value_integer(source->number),
                value_text_sized(source->name, strlen(source->name)),
                value_integer(source->cursor),
                value_text_sized(source->identity, strlen(source->identity)),
                value_integer(clock_wall_ms()),
                value_text_sized(source->error, strlen(source->error))) != 0)
            return -1;
        source->dirty = false;
    }
    return 0;
}

static struct source_state *find_source(struct store_writer *writer,
                                        const char *name)
{
    for (size_t i = 0; i < writer->source_count; i++)
        if (strcmp(writer->sources[i].name, name) == 0)
            return &writer->sources[i];
    return NULL;
}

static struct source_state *touch_source(struct store_writer *writer,
                                         const char *name, struct error *error)
{
    if (!writer->in_group) {
        error_set(error, ERROR_SOFTWARE, "no group was begun");
        return NULL;
    }
    if (writer->group_lost) {
        *error = writer->lost_error;
        return NULL;
    }
    if (name[0] == '\0' || strlen(name) > SOURCE_NAME_MAX) {
        error_set(error, ERROR_DATA, "a source's name has 1 to %d bytes",
                  SOURCE_NAME_MAX);
        return NULL;
    }
    if (load(writer, error) != 0)
        return NULL;
    struct source_state *source = find_source(writer, name);
    if (source == NULL)
        source = add_source(writer, name, error);
    if (source != NULL)
        writer->sources_touched = true;
    return source;
}

int store_writer_source_cursor(struct store_writer *writer, const char *source,
                               int64_t *cursor, char identity[128],
                               struct error *error)
{
    if (load(writer, error) != 0)
        return -1;
    const struct source_state *state = find_source(writer, source);
    *cursor = state != NULL ? state->cursor : 0;
    snprintf(identity, 128, "%s", state != NULL ? state->identity : "");
    return 0;
}

int store_writer_source_move(struct store_writer *writer, const char *source,
                             int64_t cursor, const char *identity,
                             struct error *error)
{
    struct source_state *state = touch_source(writer, source, error);
    if (state == NULL)
        return -1;
    if (strlen(identity) >= sizeof(state->identity))
        return error_set(error, ERROR_DATA,
                         "the identity of source %s is longer than %zu bytes",
                         source, sizeof(state->identity) - 1);
    state->cursor = cursor;
    snprintf(state->identity, sizeof(state->identity), "%s", identity);
    state->dirty = true;
    return 0;
}

int store_writer_source_error(struct store_writer *writer, const char *source,
                              const char *words, struct error *error)
{
    struct source_state *state = touch_source(writer, source, error);
    if (state == NULL)
        return -1;
    snprintf(state->error, sizeof(state->error), "%s", words);
    state->dirty = true;
    return 0;
}

static int check_row(const struct source_row *row, struct outbox_append *append,
                     struct error *reason)
{
    *append = (struct outbox_append){
        .operation = row->operation != NULL ? row->operation : "",
        .operation_size = row->operation_size,
        .table_name = row->table_name != NULL ? row->table_name : "",
        .table_name_size = row->table_name_size,
        .record_id = row->record_id != NULL ? row->record_id : "",
        .record_id_size = row->record_id_size,
        .data = row->data,
        .data_size = row->data_size,
        .priority = 2,
        .created_ms = row->created_ms,
        .source_id = row->id};
    if (row->priority != NULL &&
        outbox_priority_parse(row->priority, row->priority_size,
                              &append->priority) != 0)
        return error_set(reason, ERROR_DATA,
                         "priority \"%.*s\" is not known; write urgent, high, "
                         "normal or low",
                         row->priority_size > 40 ? 40 : (int)row->priority_size,
                         row->priority);
    return outbox_append_check(append, reason);
}

/* Half a row cannot be taken back alone: the group goes as a whole. */
static int give_up(struct store_writer *writer, const struct error *error)
{
    gathered_forget(writer);
    writer->group_lost = true;
    writer->lost_error = *error;
    return -1;
}

static int append_row(struct store_writer *writer, struct source_state *state,
                      const struct source_row *row, struct error *error)
{
    struct outbox_append append;
    struct error reason;
    error_clear(&reason);
    int64_t id;
    int checked = check_row(row, &append, &reason);
    if (checked == 0 &&
        table_counts_find(writer, append.table_name, append.table_name_size,
                          append.table_hash, &reason) < 0)
        checked = -1;
    if (checked != 0 && reason.code != ERROR_DATA) {
        *error = reason;
        return -1;
    }
    append.source = state->number;
    writer->request.savepoint = true; /* the group undoes it all */
    writer->request.call_count = 1;
    return checked == 0 ? outbox_append(writer, &append, &id, error)
                        : outbox_append_dead(writer, &append, &reason, error);
}

int store_writer_source_append(struct store_writer *writer, const char *source,
                               const struct source_row *rows, size_t count,
                               struct error *error)
{
    struct source_state *state = touch_source(writer, source, error);
    if (state == NULL)
        return -1;
    if (gathered_begin(writer, error) != 0)
        return give_up(writer, error);
    for (size_t i = 0; i < count; i++) {
        if (state->cursor >= rows[i].id)
            continue;
        if (append_row(writer, state, &rows[i], error) != 0) {
            error_prefix(error, "row %lld of source %s", (long long)rows[i].id,
                         source);
            return give_up(writer, error);
        }
        state->cursor = rows[i].id;
        state->dirty = true;
    }
    if (gathered_end(writer, error) != 0)
        return give_up(writer, error);
    return 0;
}
