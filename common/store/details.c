/* SPDX-License-Identifier: Apache-2.0
 *
 * Detail: operations of tables with an aggregate, and hook events.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/store/hook_event.h"
#include "common/store/writer_internal.h"

static int64_t next_id(struct aggregate_rule *rule)
{
    if (rule->since_ms == 0)
        rule->since_ms = clock_wall_ms();
    return ++rule->last_id;
}

/* --- operations --- */

static int64_t detail_key(const struct aggregate_rule *rule, int64_t id)
{
    return rule->number << DETAIL_ID_BITS | id;
}

/* As in outbox_append.c; keys of detail stand with a minus among those of
 * the outbox. */
static int load_tokens(struct store_writer *writer, struct aggregate_rule *rule,
                       struct error *error)
{
    size_t depth = TOKENS_LOOKBACK + writer->request.call_count;
    if (rule->tokens_depth >= depth ||
        (rule->tokens_depth != 0 &&
         writer->request.call_count <= TOKENS_LOOKBACK))
        return 0;
    sqlite3_stmt *rows = SQL_QUERY(
        writer, SQL_DETAIL_TOKENS, error, value_integer(detail_key(rule, 0)),
        value_integer(detail_key(rule, DETAIL_ID_MAX)),
        value_integer((int64_t)depth));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, error)) > 0) {
        int64_t token = sqlite3_column_int64(rows, 1);
        if (token != 0)
            recent_tokens_add(writer->old_tokens, token,
                              -sqlite3_column_int64(rows, 0));
    }
    rule->tokens_depth = (uint32_t)depth;
    return step;
}

static int find_key(struct store_writer *writer, struct aggregate_rule *rule,
                    int64_t token, int64_t *key, struct error *error)
{
    if (outbox_tokens_ready(writer, error) != 0)
        return -1;
    if (recent_tokens_find(writer->tokens, token, key))
        return 1;
    if (!writer->repeats)
        return 0;
    if (load_tokens(writer, rule, error) != 0)
        return -1;
    return recent_tokens_find(writer->old_tokens, token, key);
}

/* 1 and *id when a detail of the rule has the token, 0, or -1. */
static int find_token(struct store_writer *writer, struct aggregate_rule *rule,
                      int64_t token, int64_t *id, struct error *error)
{
    int64_t key;
    int found = find_key(writer, rule, token, &key, error);
    if (found <= 0 || -key >> DETAIL_ID_BITS != rule->number)
        return found < 0 ? -1 : 0;
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_DETAIL_TOKEN, error, value_integer(-key));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    bool same = step > 0 && sqlite3_column_int64(row, 0) == token;
    sqlite3_reset(row);
    *id = -key & DETAIL_ID_MAX;
    return step < 0 ? -1 : same;
}

static int insert_detail(struct store_writer *writer,
                         struct aggregate_rule *rule,
                         const struct outbox_append *append, int64_t *id,
                         struct error *error)
{
    if (append->token != 0 && !writer->is_asked_once) {
        int found = find_token(writer, rule, append->token, id, error);
        if (found != 0)
            return found < 0 ? -1 : 0;
    }
    *id = next_id(rule);
    int64_t key = detail_key(rule, *id);
    struct value no_source = value_null();
    if (SQL_RUN(writer, SQL_DETAIL_INSERT, error, value_integer(key),
                value_integer(append->kind), value_integer(append->priority),
                value_integer(append->created_ms), value_integer(append->token),
                append->source != 0 ? value_integer(append->source) : no_source,
                append->source != 0 ? value_integer(append->source_id)
                                    : no_source,
                value_text_sized(append->record_id, append->record_id_size),
                append->data != NULL
                    ? value_text_sized(append->data, append->data_size)
                    : value_null()) != 0)
        return -1;
    if (append->token != 0 && writer->tokens != NULL)
        recent_tokens_add(writer->tokens, append->token, -key);
    return 0;
}

/* --- hook events --- */

struct hook_row {
    struct hook_event event;
    struct value event_id, data, time, priority;
};

/* `*id` is 0 when the event is there already. */
static int insert_hook(struct store_writer *writer, const struct hook_row *row,
                       int64_t *id, struct error *error)
{
    struct aggregate_rule *rule = aggregates_hooks(writer);
    int64_t since_ms = rule->since_ms;
    *id = next_id(rule);
    if (SQL_RUN(writer, SQL_HOOK_INSERT, error, value_integer(*id),
                row->event_id, row->event.type, row->event.session,
                row->event.tool, row->data, row->time, row->event.file,
                row->event.task, row->event.success, row->priority) != 0)
        return -1;
    if (sqlite3_changes64(writer->db) == 0) {
        rule->last_id--;
        rule->since_ms = since_ms;
        *id = 0;
    }
    return 0;
}

static int64_t time_of(const struct outbox_append *append)
{
    static const char *const names[] = {"hook_timestamp", "timestamp",
                                        "created_at", NULL};
    struct value text = hook_event_text(append->data, append->data_size, names);
    int64_t wall_ms;
    return text.type != VALUE_NULL &&
                   clock_parse(text.bytes, text.size, &wall_ms) == 0
               ? wall_ms
               : append->created_ms;
}

/* A hook event that comes as an operation, from an application that keeps
 * its own.  Later operations of its record are no other event. */
static int insert_operation(struct store_writer *writer,
                            const struct outbox_append *append, int64_t *id,
                            struct error *error)
{
    *id = 0;
    if (append->kind == OPERATION_DELETE)
        return 0;
    struct hook_row row = {
        .event_id = value_text_sized(append->record_id, append->record_id_size),
        .time = value_integer(time_of(append)),
        .priority = value_integer(append->priority),
        .data = value_text_sized(append->data, append->data_size)};
    hook_event_read(append->data, append->data_size, &row.event);
    if (row.event.type.type == VALUE_NULL)
        row.event.type = value_text("unknown");
    return insert_hook(writer, &row, id, error);
}

int detail_append(struct store_writer *writer, struct aggregate_rule *rule,
                  const struct outbox_append *append, int64_t *id,
                  struct error *error)
{
    return rule->is_hooks ? insert_operation(writer, append, id, error)
                          : insert_detail(writer, rule, append, id, error);
}

/* --- HOOK_RECORD --- */

static void put_member(struct buffer *out, const char *name,
                       const struct value *value)
{
    buffer_printf(out, ",\"%s\":", name);
    if (value->type == VALUE_NULL) {
        buffer_append_text(out, "null");
    } else { /* as it was written: content of a JSON string */
        buffer_append_char(out, '"');
        buffer_append(out, value->bytes, value->size);
        buffer_append_char(out, '"');
    }
}

/* What the centre gets of an event that is not folded. */
static void put_event(struct buffer *out, const struct hook_row *row)
{
    char time[CLOCK_TEXT_SIZE];
    buffer_append_text(out, "{\"id\":");
    buffer_append_json(out, row->event_id.bytes, row->event_id.size);
    buffer_printf(out, ",\"hook_timestamp\":\"%s\"",
                  clock_format(row->time.integer, time));
    put_member(out, "hook_type", &row->event.type);
    put_member(out, "session_id", &row->event.session);
    put_member(out, "task_id", &row->event.task);
    put_member(out, "tool_name", &row->event.tool);
    put_member(out, "file_path", &row->event.file);
    buffer_append_text(out, ",\"event_data\":");
    buffer_append(out, row->data.bytes, row->data.size);
    buffer_append_char(out, '}');
}

static int send_event(struct statement_call *call, const struct hook_row *row)
{
    struct buffer data;
    int64_t id;
    buffer_init(&data, OUTBOX_DATA_MAX);
    put_event(&data, row);
    struct outbox_append append = {.operation = "INSERT",
                                   .operation_size = 6,
                                   .table_name = AGGREGATE_BUILT_IN_TABLE,
                                   .table_name_size =
                                       strlen(AGGREGATE_BUILT_IN_TABLE),
                                   .record_id = row->event_id.bytes,
                                   .record_id_size = row->event_id.size,
                                   .data = data.bytes,
                                   .data_size = data.size,
                                   .priority = (unsigned)row->priority.integer,
                                   .created_ms = row->time.integer};
    int result = data.failed ? error_set(call->error, ERROR_DATA,
                                         "the hook event is too large")
                             : outbox_append_check(&append, call->error);
    if (result == 0)
        result = outbox_append(call->writer, &append, &id, call->error);
    buffer_deinit(&data);
    return result;
}

int hook_record_check(const struct value *v, struct error *error)
{
    if (v[0].size == 0 || v[0].size > 128 || v[1].size == 0 || v[1].size > 128)
        return error_set(error, ERROR_DATA,
                         "a hook event has an id and a type of 1 to 128 bytes "
                         "each");
    if (v[9].integer < 0 || v[9].integer >= OUTBOX_PRIORITIES)
        return error_set(error, ERROR_DATA,
                         "a hook event has a priority of 0 to 3, not %lld",
                         (long long)v[9].integer);
    return argument_is_json("the hook event", &v[4], error);
}

int run_hook_record(struct statement_call *call)
{
    const struct value *v = call->arguments;
    struct hook_row row = {.event = {.type = v[1],
                                     .session = v[2],
                                     .tool = v[3],
                                     .file = v[6],
                                     .task = v[7],
                                     .success = v[8]},
                           .event_id = v[0],
                           .data = v[4],
                           .time = v[5],
                           .priority = v[9]};
    int64_t id;
    if (hook_record_check(v, call->error) != 0 ||
        insert_hook(call->writer, &row, &id, call->error) != 0)
        return -1;
    call->result->changed = id != 0;
    return id == 0 || aggregates_hooks(call->writer)->active
               ? 0
               : send_event(call, &row);
}
