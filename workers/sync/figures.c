/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/figures.h"

#include <stdio.h>
#include <string.h>

#include "common/store/figures.h"

#define JSON_MAX  (256u << 10)
#define OTHERS    "(others)"
#define SUCCESSES ""

void figures_deinit(struct figures *figures)
{
    buffer_deinit(&figures->json);
}

/* At most so many bytes, and no part of a character. */
static size_t cut(const char *text, size_t size, size_t most)
{
    if (size <= most)
        return size;
    while (most > 0 && ((unsigned char)text[most] & 0xc0) == 0x80)
        most--;
    return most;
}

static bool is_own(const struct outbox_operation *operation)
{
    static const char *const tables[] = {
        FIGURES_EVENTS_TABLE, FIGURES_TEMPLATES_TABLE, FIGURES_FEEDBACK_TABLE};
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        if (strlen(tables[i]) == operation->table_name_size &&
            memcmp(tables[i], operation->table_name,
                   operation->table_name_size) == 0)
            return true;
    return false;
}

static bool is_row(const struct figure *row, const char *type, size_t type_size,
                   int64_t source, const char *sqlstate)
{
    return row->type_size == type_size && row->source == source &&
           memcmp(row->type, type, type_size) == 0 &&
           strcmp(row->sqlstate, sqlstate) == 0;
}

/* Mostly an operation is as the one before it. */
static struct figure *find(struct figures *figures, const char *type,
                           size_t type_size, int64_t source,
                           const char *sqlstate)
{
    for (unsigned i = 0; i < figures->count; i++) {
        unsigned at = (figures->last + i) % figures->count;
        if (is_row(&figures->rows[at], type, type_size, source, sqlstate)) {
            figures->last = at;
            return &figures->rows[at];
        }
    }
    return NULL;
}

/* The last two rows are for what finds no other, good and bad. */
static struct figure *row_of(struct figures *figures,
                             const struct outbox_operation *operation,
                             const char *sqlstate)
{
    const char *type = operation->table_name;
    size_t size =
        cut(type, operation->table_name_size, (size_t)FIGURES_TYPE_MAX);
    int64_t source = operation->source;
    struct figure *row = find(figures, type, size, source, sqlstate);
    if (row == NULL && figures->count >= FIGURES_ROWS_MAX - 2) {
        type = OTHERS;
        size = strlen(OTHERS);
        source = 0;
        sqlstate = *sqlstate == '\0' ? SUCCESSES : "XX000";
        row = find(figures, type, size, source, sqlstate);
    }
    if (row != NULL)
        return row;
    figures->last = figures->count++;
    row = &figures->rows[figures->last];
    *row = (struct figure){.type_size = size, .source = source};
    memcpy(row->type, type, size);
    snprintf(row->sqlstate, sizeof(row->sqlstate), "%s", sqlstate);
    return row;
}

static struct figure *count_event(struct figures *figures,
                                  const struct batch *batch,
                                  const struct outbox_operation *operation,
                                  const char *sqlstate)
{
    struct figure *row = row_of(figures, operation, sqlstate);
    int64_t wait_ms = batch->started_wall_ms - operation->created_ms;
    row->events++;
    row->took_us += (int64_t)(batch->took_ns / 1000);
    row->wait_ms += wait_ms > 0 ? wait_ms : 0; /* the clock was set back */
    row->retries += operation->retry_count;
    row->retries += batch->sends > 1 ? batch->sends - 1 : 0;
    row->beside += (int64_t)batch->count;
    return row;
}

/* A BATCH_REJECT: batch, key, sqlstate, message, ... */
static void count_refusal(struct figures *figures, const struct batch *batch,
                          const struct store_call *call)
{
    const struct value *v = call->arguments;
    const struct outbox_operation *operation =
        batch_operation(batch, v[1].integer);
    char sqlstate[sizeof(figures->rows->sqlstate)] = "XX000";
    if (operation == NULL || is_own(operation))
        return;
    if (v[2].size > 0 && v[2].size < sizeof(sqlstate)) {
        memcpy(sqlstate, v[2].bytes, v[2].size);
        sqlstate[v[2].size] = '\0';
    }
    struct figure *row = count_event(figures, batch, operation, sqlstate);
    if (row->events == 1)
        memcpy(row->words, v[3].bytes,
               cut(v[3].bytes, v[3].size, FIGURES_TEXT_MAX));
}

void figures_add(struct figures *figures, const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if ((batch->left == NULL || !batch->left[i]) &&
            !is_own(&batch->operations[i]))
            count_event(figures, batch, &batch->operations[i], SUCCESSES);
    for (size_t i = 0; i < batch->settlement_count; i++)
        if (batch->settlement[i].statement == STATEMENT_BATCH_REJECT)
            count_refusal(figures, batch, &batch->settlement[i]);
}

static void put_text(struct buffer *json, const char *text)
{
    if (*text == '\0')
        buffer_append_text(json, "null");
    else
        buffer_append_json(json, text, strlen(text));
}

static void put_row(struct buffer *json, const struct figure *row)
{
    buffer_append_char(json, '[');
    buffer_append_json(json, row->type, row->type_size);
    if (row->source != 0)
        buffer_printf(json, ",%lld", (long long)row->source);
    else
        buffer_append_text(json, ",null");
    buffer_printf(json, ",%d,", *row->sqlstate == '\0');
    put_text(json, row->sqlstate);
    buffer_append_char(json, ',');
    put_text(json, row->words);
    buffer_printf(json, ",%lld,%lld,%lld,%lld,%lld]", (long long)row->events,
                  (long long)row->took_us, (long long)row->wait_ms,
                  (long long)row->retries,
                  (long long)((row->beside + row->events / 2) / row->events));
}

const char *figures_take(struct figures *figures)
{
    struct buffer *json = &figures->json;
    if (figures->count == 0)
        return NULL;
    if (json->limit == 0)
        buffer_init(json, JSON_MAX);
    buffer_reset(json);
    for (unsigned i = 0; i < figures->count; i++) {
        buffer_append_char(json, i == 0 ? '[' : ',');
        put_row(json, &figures->rows[i]);
    }
    buffer_append_char(json, ']');
    figures->count = figures->last = 0;
    return json->failed ? NULL : json->bytes;
}
