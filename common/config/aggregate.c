/* SPDX-License-Identifier: Apache-2.0 */
#include "common/config/aggregate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config/aggregate_text.h"

/* An agent's hooks tell of each use of a tool before and after it: only
 * what came of it counts. */
const char aggregate_built_in[] =
    "{\"into\":\"task_summaries\",\"group_by\":[\"session_id\",\"task_id\"],"
    "\"at_once\":\"hook_type = Stop|SessionEnd\",\"fields\":{"
    "\"total_events\":\"count\","
    "\"tools_used\":\"distinct tool_name\","
    "\"files_modified\":\"distinct file_path if hook_type = PostToolUse and "
    "tool_name = Write|Edit|MultiEdit|NotebookEdit\","
    "\"commands_run\":\"count_if tool_name = Bash and "
    "hook_type = PostToolUse|PostToolUseFailure\","
    "\"errors\":\"count_if hook_type = PostToolUseFailure|StopFailure or "
    "success = false\","
    "\"duration_seconds\":\"span hook_timestamp\"}}";

#define NAME_MAX_BYTES 63
#define INTO_MAX_BYTES 128

static const char *const kind_words[] = {
    [AGGREGATE_COUNT] = "count", [AGGREGATE_SUM] = "sum",
    [AGGREGATE_MIN] = "min",     [AGGREGATE_MAX] = "max",
    [AGGREGATE_SPAN] = "span",   [AGGREGATE_DISTINCT_VALUES] = "distinct",
};

struct reading {
    struct arena *arena;
    aggregate_complain complain;
    void *self;
    bool failed;
};

static void complain_at(struct reading *reading, uint32_t line, uint32_t column,
                        const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void complain_at(struct reading *reading, uint32_t line, uint32_t column,
                        const char *format, ...)
{
    char words[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    reading->failed = true;
    reading->complain(reading->self, line, column, words);
}

static bool is_name(const char *text, size_t most, bool table)
{
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool letter =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool later = (c >= '0' && c <= '9') ||
                     (table && (c == '.' || c == '$' || c == '-'));
        if (!letter && !(i > 0 && later))
            return false;
    }
    return size > 0 && size <= most;
}

static const char *scalar(struct reading *reading, const struct node *node,
                          const char *what)
{
    if (node->kind != NODE_LIST && node->kind != NODE_MAP &&
        node->kind != NODE_NULL)
        return node->text;
    complain_at(reading, node->line, node->column, "%s is a %s; write a text",
                what, node_kind_name(node->kind));
    return NULL;
}

/* Begins to take a scalar's text apart. */
static void start(struct reading *reading, const struct node *node,
                  struct aggregate_text *text)
{
    *text = (struct aggregate_text){
        .arena = reading->arena, .start = node->text, .at = node->text};
}

/* Tells what was wrong with it, or that something is left. */
static void finish(struct reading *reading, const struct node *node,
                   const char *what, struct aggregate_text *text)
{
    if (text->wrong[0] == '\0' && aggregate_text_more(text))
        aggregate_text_wrong(text, "\"%.40s\" is too much here", text->at);
    if (text->wrong[0] != '\0')
        complain_at(reading, node->line,
                    node->column + node->quoted +
                        (uint32_t)(text->wrong_at - text->start),
                    "%s: %s", what, text->wrong);
}

static void read_expression(struct aggregate_text *text,
                            struct aggregate_field *field)
{
    if (aggregate_text_take(text, "count_if")) {
        field->kind = AGGREGATE_COUNT;
        aggregate_text_condition(text, &field->condition);
        return;
    }
    unsigned kind = 0;
    while (kind <= AGGREGATE_DISTINCT_VALUES &&
           !aggregate_text_take(text, kind_words[kind]))
        kind++;
    if (kind > AGGREGATE_DISTINCT_VALUES) {
        aggregate_text_wrong(text,
                             "\"%.40s\" begins with none of count, "
                             "count_if, sum, min, max, span, distinct",
                             text->at);
        return;
    }
    field->kind = (enum aggregate_kind)kind;
    if (kind != AGGREGATE_COUNT)
        aggregate_text_path(text, &field->path);
    field->limit = AGGREGATE_DISTINCT;
    if (kind == AGGREGATE_DISTINCT_VALUES && aggregate_text_take(text, "limit"))
        field->limit = aggregate_text_number(text, 1, AGGREGATE_DISTINCT_MAX);
    if (aggregate_text_take(text, "if"))
        aggregate_text_condition(text, &field->condition);
}

static bool is_group_name(const struct aggregate *aggregate, const char *name)
{
    for (unsigned i = 0; i < aggregate->group_count; i++)
        if (strcmp(aggregate->groups[i].name, name) == 0)
            return true;
    return false;
}

static void read_field(struct reading *reading, const struct node *node,
                       struct aggregate *aggregate)
{
    struct aggregate_field *field = &aggregate->fields[aggregate->field_count];
    struct aggregate_text text;
    char what[128];
    snprintf(what, sizeof(what), "fields.%.80s", node->key);
    *field = (struct aggregate_field){
        .name = arena_copy(reading->arena, node->key, node->key_size)};
    if (!is_name(node->key, NAME_MAX_BYTES, false))
        complain_at(reading, node->key_line, node->key_column,
                    "%s: a name is 1 to %d letters, digits or _ (the first no "
                    "digit)",
                    what, NAME_MAX_BYTES);
    else if (is_group_name(aggregate, node->key))
        complain_at(reading, node->key_line, node->key_column,
                    "%s: group_by gives a member of that name already; choose "
                    "another",
                    what);
    if (scalar(reading, node, what) == NULL)
        return;
    start(reading, node, &text);
    read_expression(&text, field);
    finish(reading, node, what, &text);
    aggregate->field_count++;
}

static void read_fields(struct reading *reading, const struct node *map,
                        struct aggregate *aggregate)
{
    if (map->kind != NODE_MAP || map->count == 0 ||
        map->count > AGGREGATE_FIELDS_MAX) {
        complain_at(reading, map->line, map->column,
                    "fields: write a map of 1 to %d, as {total: count, spent: "
                    "sum amount}",
                    AGGREGATE_FIELDS_MAX);
        return;
    }
    for (const struct node *node = map->first; node != NULL; node = node->next)
        read_field(reading, node, aggregate);
}

/* The last word of the first alternative names the group's member. */
static const char *group_name(const struct aggregate_path *path)
{
    const char *first = path->count > 0 ? path->alternatives[0] : "";
    const char *dot = strrchr(first, '.');
    return dot != NULL ? dot + 1 : first;
}

static void read_group(struct reading *reading, const struct node *node,
                       struct aggregate *aggregate)
{
    struct aggregate_group group = {0};
    struct aggregate_text text;
    if (scalar(reading, node, "group_by") == NULL)
        return;
    start(reading, node, &text);
    aggregate_text_path(&text, &group.path);
    finish(reading, node, "group_by", &text);
    group.name = group_name(&group.path);
    if (is_group_name(aggregate, group.name))
        complain_at(reading, node->line, node->column,
                    "group_by: \"%.60s\" stands twice; remove one", group.name);
    aggregate->groups[aggregate->group_count++] = group;
}

static void read_groups(struct reading *reading, const struct node *node,
                        struct aggregate *aggregate)
{
    if (node->kind != NODE_LIST) {
        read_group(reading, node, aggregate);
        return;
    }
    if (node->count == 0 || node->count > AGGREGATE_GROUPS_MAX) {
        complain_at(reading, node->line, node->column,
                    "group_by: write a list of 1 to %d members of the record",
                    AGGREGATE_GROUPS_MAX);
        return;
    }
    for (const struct node *one = node->first; one != NULL; one = one->next)
        read_group(reading, one, aggregate);
}

static void read_into(struct reading *reading, const struct node *node,
                      struct aggregate *aggregate)
{
    const char *into = scalar(reading, node, "into");
    if (into == NULL)
        return;
    aggregate->into = arena_strdup(reading->arena, into);
    if (!is_name(into, INTO_MAX_BYTES, true))
        complain_at(reading, node->line, node->column,
                    "into: \"%.100s\" is no name of a table; give 1 to %d of "
                    "letters, digits, _ . $ - (the first a letter or _)",
                    into, INTO_MAX_BYTES);
}

static void read_at_once(struct reading *reading, const struct node *node,
                         struct aggregate *aggregate)
{
    struct aggregate_text text;
    if (scalar(reading, node, "at_once") == NULL)
        return;
    start(reading, node, &text);
    aggregate_text_condition(&text, &aggregate->at_once);
    finish(reading, node, "at_once", &text);
}

/* In this order: a field may not have the name of a group's member. */
static const struct {
    const char *key;
    bool required;
    void (*read)(struct reading *reading, const struct node *node,
                 struct aggregate *aggregate);
} parts[] = {{"into", true, read_into},
             {"group_by", true, read_groups},
             {"fields", true, read_fields},
             {"at_once", false, read_at_once}};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

static void check_keys(struct reading *reading, const struct node *map)
{
    for (const struct node *node = map->first; node != NULL;
         node = node->next) {
        size_t i = 0;
        while (i < PARTS && strcmp(parts[i].key, node->key) != 0)
            i++;
        if (i == PARTS)
            complain_at(reading, node->key_line, node->key_column,
                        "unknown key \"%.100s\"; there are into, group_by, "
                        "fields and at_once",
                        node->key);
    }
}

int aggregate_read(const struct node *map, struct arena *arena,
                   struct aggregate *aggregate, aggregate_complain complain,
                   void *self)
{
    struct reading reading = {
        .arena = arena, .complain = complain, .self = self};
    *aggregate = (struct aggregate){0};
    if (map->kind != NODE_MAP) {
        complain_at(&reading, map->line, map->column,
                    "this is a %s; write {into: TABLE, group_by: [MEMBER], "
                    "fields: {NAME: EXPRESSION}}, or none",
                    node_kind_name(map->kind));
        return -1;
    }
    check_keys(&reading, map);
    for (size_t i = 0; i < PARTS; i++) {
        const struct node *node = document_get(map, parts[i].key);
        if (node != NULL)
            parts[i].read(&reading, node, aggregate);
        else if (parts[i].required)
            complain_at(&reading, map->line, map->column, "\"%s\" is missing",
                        parts[i].key);
    }
    return reading.failed ? -1 : 0;
}
