/* SPDX-License-Identifier: Apache-2.0
 *
 * The SQL of a declaration.  A group's running values are a JSON array: the
 * group's own values first, then one slot for each field, two for a span.
 * Every text that is put into SQL here was checked when it was read, and is
 * quoted.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "common/document/document.h"
#include "common/store/writer_internal.h"

#define PROGRAM_BYTES_MAX (1u << 20)
#define SQL_BYTES_MAX     (512u << 10)

struct text {
    struct buffer *out;
    const struct aggregate *aggregate;
    bool is_hooks;
};

static void put(struct text *text, const char *sql)
{
    buffer_append_text(text->out, sql);
}

static void put_quoted(struct text *text, const char *value)
{
    buffer_append_char(text->out, '\'');
    for (; *value != '\0'; value++) {
        if (*value == '\'')
            buffer_append_char(text->out, '\'');
        buffer_append_char(text->out, *value);
    }
    buffer_append_char(text->out, '\'');
}

/* --- members of a detail --- */

/* '$."a"."b"' */
static void put_json_path(struct text *text, const char *path)
{
    put(text, "'$.\"");
    for (; *path != '\0'; path++)
        if (*path == '.')
            put(text, "\".\"");
        else
            buffer_append_char(text->out, *path);
    put(text, "\"'");
}

static void put_member(struct text *text, const char *path)
{
    const char *column = text->is_hooks ? "event_data" : "record_data";
    buffer_printf(text->out,
                  "json_extract(CASE WHEN json_valid(d.%s) THEN "
                  "d.%s END,",
                  column, column);
    put_json_path(text, path);
    put(text, ")");
}

/* The members of a hook event that are columns. */
static const char *column_of(const char *path)
{
    static const char *const columns[][2] = {
        {"id", "d.event_id"},
        {"event_id", "d.event_id"},
        {"session_id", "d.session_id"},
        {"task_id", "d.task_id"},
        {"hook_type", "d.hook_type"},
        {"hook_timestamp", "detail_moment(d.hook_timestamp)"},
        {"created_at", "detail_moment(d.hook_timestamp)"},
        {"tool_name", "d.tool_name"},
        {"file_path", "d.file_path"},
        {"success", "d.success"},
    };
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        if (strcmp(columns[i][0], path) == 0)
            return columns[i][1];
    return NULL;
}

static void put_alternative(struct text *text, const char *path)
{
    const char *column = text->is_hooks ? column_of(path) : NULL;
    if (column != NULL) {
        put(text, column);
    } else if (strcmp(path, "created_at") == 0) {
        put(text, "coalesce(");
        put_member(text, path);
        put(text, ",detail_moment(d.created_ms))");
    } else {
        put_member(text, path);
    }
}

static void put_path(struct text *text, const struct aggregate_path *path)
{
    if (path->count > 1)
        put(text, "coalesce(");
    for (unsigned i = 0; i < path->count; i++) {
        put(text, i > 0 ? "," : "");
        put_alternative(text, path->alternatives[i]);
    }
    if (path->count > 1)
        put(text, ")");
}

/* --- conditions --- */

static void put_value(struct text *text, const struct aggregate_value *value)
{
    if (value->is_number)
        put(text, value->text);
    else
        put_quoted(text, value->text);
}

static void put_term(struct text *text, const struct aggregate_term *term)
{
    static const char *const words[] = {
        [AGGREGATE_EQUAL] = " IN (",         [AGGREGATE_UNEQUAL] = " NOT IN (",
        [AGGREGATE_LESS] = " < (",           [AGGREGATE_AT_MOST] = " <= (",
        [AGGREGATE_GREATER] = " > (",        [AGGREGATE_AT_LEAST] = " >= (",
        [AGGREGATE_EXISTS] = " IS NOT NULL", [AGGREGATE_MISSING] = " IS NULL",
    };
    put(text, "ifnull(");
    put_path(text, &term->path);
    put(text, words[term->comparison]);
    for (unsigned i = 0; i < term->value_count; i++) {
        put(text, i > 0 ? "," : "");
        put_value(text, &term->values[i]);
    }
    put(text, term->comparison < AGGREGATE_EXISTS ? "),0)" : ",0)");
}

/* AND binds tighter in SQL too. */
static void put_condition(struct text *text,
                          const struct aggregate_condition *condition)
{
    put(text, condition->term_count == 0 ? "(1" : "(");
    for (unsigned i = 0; i < condition->term_count; i++) {
        if (i > 0)
            put(text, condition->terms[i].or_before ? " OR " : " AND ");
        put_term(text, &condition->terms[i]);
    }
    put(text, ")");
}

/* --- folding --- */

/* What a detail brings to a field; NULL: nothing. */
static void put_brought(struct text *text, const struct aggregate_field *field)
{
    static const char *const functions[] = {
        [AGGREGATE_COUNT] = "",
        [AGGREGATE_SUM] = "detail_number(",
        [AGGREGATE_MIN] = "detail_text(",
        [AGGREGATE_MAX] = "detail_text(",
        [AGGREGATE_SPAN] = "detail_time(",
        [AGGREGATE_DISTINCT_VALUES] = "detail_text(",
    };
    put(text, "CASE WHEN ");
    put_condition(text, &field->condition);
    put(text, " THEN ");
    put(text, functions[field->kind]);
    if (field->kind == AGGREGATE_COUNT)
        put(text, "1");
    else
        put_path(text, &field->path);
    put(text, field->kind == AGGREGATE_COUNT ? " END" : ") END");
}

/* What the details of a step bring together, as slots of a JSON array; a
 * sum keeps all its digits as a text. */
static void put_slots(struct text *text, unsigned i)
{
    static const char *const forms[] = {
        [AGGREGATE_COUNT] = ",count(f%u)",
        [AGGREGATE_SUM] = ",detail_exact(total(f%u))",
        [AGGREGATE_MIN] = ",min(f%u)",
        [AGGREGATE_MAX] = ",max(f%u)",
        [AGGREGATE_SPAN] = ",min(f%u),max(f%u)",
        [AGGREGATE_DISTINCT_VALUES] =
            ",json_group_array(DISTINCT f%u) FILTER (WHERE f%u IS NOT NULL)",
    };
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    buffer_printf(text->out, forms[text->aggregate->fields[i].kind], i, i);
#pragma GCC diagnostic pop
}

/* Slots s and more of the old values and the new ones, put together. */
static void put_merged(struct text *text, const struct aggregate_field *field,
                       unsigned s)
{
    struct buffer *out = text->out;
    const char *less = "min";
    switch (field->kind) {
    case AGGREGATE_COUNT:
        buffer_printf(out,
                      ",json_extract(state,'$[%u]')+"
                      "json_extract(excluded.state,'$[%u]')",
                      s, s);
        break;
    case AGGREGATE_SUM:
        buffer_printf(out,
                      ",detail_exact(detail_double(json_extract(state,"
                      "'$[%u]'))+detail_double(json_extract(excluded.state,"
                      "'$[%u]')))",
                      s, s);
        break;
    case AGGREGATE_MAX:
        less = "max";
        /* fall through */
    case AGGREGATE_MIN:
    case AGGREGATE_SPAN:
        for (unsigned end = s + (field->kind == AGGREGATE_SPAN); s <= end; s++)
            buffer_printf(out,
                          ",%s(coalesce(json_extract(state,'$[%u]'),"
                          "json_extract(excluded.state,'$[%u]')),"
                          "coalesce(json_extract(excluded.state,'$[%u]'),"
                          "json_extract(state,'$[%u]')))",
                          s == end && field->kind == AGGREGATE_SPAN ? "max"
                                                                    : less,
                          s, s, s, s);
        break;
    case AGGREGATE_DISTINCT_VALUES:
        buffer_printf(
            out,
            ",json(CASE json_array_length(excluded.state,'$[%u]') WHEN 0 THEN "
            "json_extract(state,'$[%u]') ELSE (SELECT json_group_array(v) FROM "
            "(SELECT v, min(o) FROM (SELECT value AS v, key AS o FROM "
            "json_each(state,'$[%u]') UNION ALL SELECT value, 1000000+key FROM "
            "json_each(excluded.state,'$[%u]')) GROUP BY v ORDER BY 2 LIMIT "
            "%u)) END)",
            s, s, s, s, field->limit);
        break;
    }
}

/* ?1 number, ?2 after, ?3 last, ?4 now, ?5 due, ?6 most news */
static void put_fold(struct text *text)
{
    const struct aggregate *aggregate = text->aggregate;
    put(text, "INSERT INTO aggregate_groups (number, record_id, news, due_ms, "
              "priority, updated_ms, state) SELECT ?1, g, count(*), CASE WHEN "
              "max(now) OR min(priority) = 0 OR count(*) >= ?6 THEN 0 ELSE ?5 "
              "END, min(priority), ?4, json_array(json_array(");
    for (unsigned i = 0; i < aggregate->group_count; i++)
        buffer_printf(text->out, "%sg%u", i > 0 ? "," : "", i);
    put(text, ")");
    for (unsigned i = 0; i < aggregate->field_count; i++)
        put_slots(text, i);
    put(text, ") FROM (SELECT *, summary_id(");
    for (unsigned i = 0; i < aggregate->group_count; i++)
        buffer_printf(text->out, "%sg%u", i > 0 ? "," : "", i);
    put(text, ") AS g FROM (SELECT d.priority AS priority,");
    if (aggregate->at_once.term_count > 0)
        put_condition(text, &aggregate->at_once);
    else
        put(text, "0");
    put(text, " AS now");
    for (unsigned i = 0; i < aggregate->group_count; i++) {
        put(text, ",detail_text(");
        put_path(text, &aggregate->groups[i].path);
        buffer_printf(text->out, ") AS g%u", i);
    }
    for (unsigned i = 0; i < aggregate->field_count; i++) {
        put(text, ",");
        put_brought(text, &aggregate->fields[i]);
        buffer_printf(text->out, " AS f%u", i);
    }
    put(text, text->is_hooks
                  ? " FROM hook_events d WHERE d.id > ?2 AND d.id <= ?3"
                  : " FROM sync_details d WHERE d.key > ?2 AND d.key <= ?3 AND "
                    "d.operation <> 3");
    put(text, ")) GROUP BY g ON CONFLICT DO UPDATE SET news = news + "
              "excluded.news, due_ms = CASE WHEN news + excluded.news >= ?6 "
              "THEN 0 ELSE min(ifnull(due_ms, excluded.due_ms), "
              "excluded.due_ms) END, priority = min(priority, "
              "excluded.priority), updated_ms = excluded.updated_ms, state = "
              "json_array(json_extract(state,'$[0]')");
    unsigned slot = 1;
    for (unsigned i = 0; i < aggregate->field_count; i++) {
        put_merged(text, &aggregate->fields[i], slot);
        slot += aggregate->fields[i].kind == AGGREGATE_SPAN ? 2 : 1;
    }
    put(text, ")");
}

/* --- reporting --- */

static void put_shown(struct text *text, const struct aggregate_field *field,
                      unsigned s)
{
    struct buffer *out = text->out;
    switch (field->kind) {
    case AGGREGATE_SUM:
        buffer_printf(out, "detail_sum(json_extract(state,'$[%u]'))", s);
        break;
    case AGGREGATE_SPAN:
        buffer_printf(out,
                      "detail_sum(round(json_extract(state,'$[%u]')-"
                      "json_extract(state,'$[%u]'),3))",
                      s + 1, s);
        break;
    case AGGREGATE_DISTINCT_VALUES:
        buffer_printf(out,
                      "json((SELECT json_group_array(value) FROM (SELECT value "
                      "FROM json_each(state,'$[%u]') ORDER BY key LIMIT %u)))",
                      s, field->limit);
        break;
    case AGGREGATE_COUNT:
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
        buffer_printf(out, "json_extract(state,'$[%u]')", s);
        break;
    }
}

/* ?1 number, ?2 due up to, ?3 most */
static void put_report(struct text *text)
{
    const struct aggregate *aggregate = text->aggregate;
    put(text, "SELECT id, record_id, reported, priority, json_object(");
    for (unsigned i = 0; i < aggregate->group_count; i++) {
        put(text, i > 0 ? "," : "");
        put_quoted(text, aggregate->groups[i].name);
        buffer_printf(text->out, ",json_extract(state,'$[0][%u]')", i);
    }
    unsigned slot = 1;
    for (unsigned i = 0; i < aggregate->field_count; i++) {
        const struct aggregate_field *field = &aggregate->fields[i];
        put(text, ",");
        put_quoted(text, field->name);
        put(text, ",");
        put_shown(text, field, slot);
        slot += field->kind == AGGREGATE_SPAN ? 2 : 1;
    }
    put(text, ") FROM aggregate_groups WHERE due_ms IS NOT NULL AND due_ms <= "
              "?2 AND number = ?1 ORDER BY due_ms LIMIT ?3");
}

/* ?1 after, ?2 last */
static void put_at_once(struct text *text)
{
    put(text, text->is_hooks
                  ? "SELECT 1 FROM hook_events d WHERE d.id > ?1 AND d.id <= "
                    "?2 AND (d.priority = 0"
                  : "SELECT 1 FROM sync_details d WHERE d.key > ?1 AND d.key "
                    "<= ?2 AND (d.priority = 0");
    if (text->aggregate->at_once.term_count > 0) {
        put(text, " OR ");
        put_condition(text, &text->aggregate->at_once);
    }
    put(text, ") LIMIT 1");
}

/* ?1 after, ?2 last, ?3 most rows */
static void put_reach(struct text *text)
{
    put(text, text->is_hooks
                  ? "SELECT id, length(event_data) FROM hook_events WHERE id > "
                    "?1 AND id <= ?2 ORDER BY id LIMIT ?3"
                  : "SELECT key, length(record_data) FROM sync_details WHERE "
                    "key > ?1 AND key <= ?2 ORDER BY key LIMIT ?3");
}

/* --- compiling --- */

static int prepare(struct store_writer *writer, struct text *text,
                   void (*put_all)(struct text *text), sqlite3_stmt **statement,
                   struct error *error)
{
    buffer_reset(text->out);
    put_all(text);
    if (text->out->failed)
        return error_set(error, ERROR_DATA,
                         "the aggregate of a table makes more than %u bytes "
                         "of SQL",
                         SQL_BYTES_MAX);
    if (sqlite3_prepare_v3(writer->db, text->out->bytes, (int)text->out->size,
                           SQLITE_PREPARE_PERSISTENT, statement,
                           NULL) != SQLITE_OK)
        return sql_failed(writer, error);
    return 0;
}

static void complain(void *self, uint32_t line, uint32_t column,
                     const char *words)
{
    (void)line;
    error_set(self, ERROR_DATA, "byte %u: %s", column, words);
}

static int read_definition(const struct aggregate_rule *rule,
                           struct aggregate_program *program,
                           struct error *error)
{
    struct node *root;
    if (document_read_json(&program->arena, rule->table, rule->definition,
                           strlen(rule->definition), &document_limits_default,
                           &root, error) != 0 ||
        aggregate_read(root, &program->arena, &program->aggregate, complain,
                       error) != 0)
        return error_prefix(error, "the aggregate of %s that the store keeps",
                            rule->table);
    return 0;
}

int aggregate_compile(struct store_writer *writer, struct aggregate_rule *rule,
                      struct error *error)
{
    if (rule->program != NULL)
        return 0;
    struct aggregate_program *program = calloc(1, sizeof(*program));
    struct buffer sql;
    if (program == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for an aggregate");
    struct text text = {.out = &sql,
                        .aggregate = &program->aggregate,
                        .is_hooks = rule->is_hooks};
    arena_init(&program->arena, PROGRAM_BYTES_MAX);
    buffer_init(&sql, SQL_BYTES_MAX);
    int result = read_definition(rule, program, error);
    if (result == 0 && aggregate_functions_add(writer->db) != SQLITE_OK)
        result = sql_failed(writer, error);
    if (result == 0)
        result = prepare(writer, &text, put_reach, &program->reach, error);
    if (result == 0)
        result = prepare(writer, &text, put_at_once, &program->at_once, error);
    if (result == 0)
        result = prepare(writer, &text, put_fold, &program->fold, error);
    if (result == 0)
        result = prepare(writer, &text, put_report, &program->report, error);
    buffer_deinit(&sql);
    if (result != 0)
        aggregate_program_free(&program);
    rule->program = program;
    return result;
}

void aggregate_program_free(struct aggregate_program **program)
{
    struct aggregate_program *old = *program;
    if (old == NULL)
        return;
    *program = NULL;
    sqlite3_finalize(old->reach);
    sqlite3_finalize(old->at_once);
    sqlite3_finalize(old->fold);
    sqlite3_finalize(old->report);
    arena_deinit(&old->arena);
    free(old);
}
