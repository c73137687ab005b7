/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration as text: what is in force, the sample, what differs.
 */
#include <string.h>

#include "common/config/aggregate.h"
#include "common/config/option_table.h"

/* The sections that are open while options are written in order. */
struct outline {
    struct buffer *out;
    char section[256];
};

static void indent(struct buffer *out, const char *path)
{
    for (; *path != '\0'; path++)
        if (*path == '.')
            buffer_append_text(out, "  ");
}

/* Writes the names of the sections of `path` that are not open yet. */
static void open_sections(struct outline *outline, const char *path)
{
    for (const char *dot = strchr(path, '.'); dot != NULL;
         dot = strchr(dot + 1, '.')) {
        size_t size = (size_t)(dot - path);
        if (strncmp(outline->section, path, size) == 0 &&
            (outline->section[size] == '\0' || outline->section[size] == '.'))
            continue;
        if (size >= sizeof(outline->section))
            return;
        memcpy(outline->section, path, size);
        outline->section[size] = '\0';
        const char *name = strrchr(outline->section, '.');
        indent(outline->out, outline->section);
        buffer_printf(outline->out, "%s:\n",
                      name != NULL ? name + 1 : outline->section);
    }
}

static const char *last_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL ? dot + 1 : path;
}

/* Is it the last option below "sync", where sync.tables follows? */
static bool ends_sync(int index)
{
    return strncmp(option_table[index].path, "sync.", 5) == 0 &&
           (index + 1 == OPTION_COUNT ||
            strncmp(option_table[index + 1].path, "sync.", 5) != 0);
}

/* A text in double quotes, so that it is read back as it is. */
static void append_quoted(struct buffer *out, const char *text)
{
    struct buffer escaped;
    buffer_init(&escaped, 8 * strlen(text) + 16);
    for (const char *at = text; *at != '\0'; at++) {
        if (at[0] == '$' && at[1] == '{')
            buffer_append_char(&escaped, '$');
        buffer_append_char(&escaped, *at);
    }
    if (escaped.failed)
        out->failed = true;
    else
        buffer_append_json(out, escaped.size > 0 ? escaped.bytes : "",
                           escaped.size);
    buffer_deinit(&escaped);
}

static bool wants_quotes(const struct option *option)
{
    return option->type == OPTION_TEXT || option->type == OPTION_PATH ||
           option->type == OPTION_MODE;
}

/* The value for people to see. */
static void append_shown(const struct option *option,
                         const union option_value *value, struct buffer *out)
{
    if (!option->secret)
        option_format(option, value, out);
    else if (value->text[0] != '\0')
        config_mask_conninfo(value->text, out);
}

static void append_value(const struct option *option,
                         const union option_value *value, struct buffer *out)
{
    struct buffer text;
    buffer_init(&text, 65536);
    append_shown(option, value, &text);
    if (wants_quotes(option))
        append_quoted(out, text.size > 0 ? text.bytes : "");
    else
        buffer_append(out, text.bytes, text.size);
    buffer_deinit(&text);
}

static void append_origin(const struct config *config, int index,
                          struct buffer *out)
{
    char variable[OPTION_VARIABLE_MAX];
    buffer_append_text(out, "  # ");
    switch (config->origins[index]) {
    case ORIGIN_DEFAULT:
        buffer_append_text(out, "default\n");
        break;
    case ORIGIN_MODE:
        buffer_append_text(out, "sync.mode\n");
        break;
    case ORIGIN_FILE:
        buffer_printf(out, "file line %u\n", config->lines[index]);
        break;
    case ORIGIN_ENVIRONMENT:
        buffer_printf(out, "%s\n",
                      option_variable(&option_table[index], variable));
        break;
    case ORIGIN_COMMAND_LINE:
        buffer_append_text(out, "command line\n");
        break;
    }
}

static void append_list_origin(uint32_t line, struct buffer *out)
{
    if (line > 0)
        buffer_printf(out, "  # file line %u\n", line);
    else
        buffer_append_text(out, "  # default\n");
}

static const struct sync_aggregate *find_aggregate(const struct config *config,
                                                   const char *table)
{
    for (size_t i = 0; i < config->aggregate_count; i++)
        if (strcmp(config->aggregates[i].table, table) == 0)
            return &config->aggregates[i];
    return NULL;
}

static void dump_aggregate(const struct sync_aggregate *aggregate,
                           struct buffer *out)
{
    buffer_append_text(out, "    ");
    append_quoted(out, aggregate->table);
    buffer_append_text(out, ": {aggregate: ");
    buffer_append_text(out, aggregate->definition); /* JSON is YAML */
    buffer_append_char(out, '}');
    buffer_append_text(out, aggregate->definition == aggregate_built_in
                                ? "  # default\n"
                                : "\n");
}

static void dump_field(const char *name, const char *value, struct buffer *out)
{
    if (value[0] == '\0')
        return;
    buffer_printf(out, ", %s: ", name);
    append_quoted(out, value);
}

static void dump_table(const struct sync_table *table, struct buffer *out)
{
    buffer_append_text(out, "    ");
    append_quoted(out, table->name);
    buffer_append_text(out, ": {key: ");
    append_quoted(out, table->key);
    dump_field("target", table->target, out);
    if (table->conflict != CONFLICT_NONE) {
        dump_field("conflict", conflict_rule_name(table->conflict), out);
        if (table->version[0] != '\0')
            dump_field("version", table->version, out);
        else
            dump_field("updated_at", table->updated_at, out);
        dump_field("base", table->base, out);
    }
    if (strcmp(table->name, AGGREGATE_BUILT_IN_TABLE) == 0)
        dump_field("aggregate", "none", out);
    buffer_append_text(out, "}\n");
}

/* The built-in aggregate is off, and no entry above says so. */
static bool lacks_none(const struct config *config)
{
    for (size_t i = 0; i < config->table_count; i++)
        if (strcmp(config->tables[i].name, AGGREGATE_BUILT_IN_TABLE) == 0)
            return false;
    return find_aggregate(config, AGGREGATE_BUILT_IN_TABLE) == NULL;
}

static void dump_tables(const struct config *config, struct buffer *out)
{
    buffer_append_text(out, "  tables:");
    append_list_origin(config->tables_line, out);
    for (size_t i = 0; i < config->table_count; i++)
        dump_table(&config->tables[i], out);
    for (size_t i = 0; i < config->aggregate_count; i++)
        dump_aggregate(&config->aggregates[i], out);
    if (lacks_none(config))
        buffer_append_text(out, "    \"" AGGREGATE_BUILT_IN_TABLE
                                "\": {aggregate: none}\n");
}

static void dump_sources(const struct config *config, struct buffer *out)
{
    buffer_printf(out, "sources:%s", config->source_count > 0 ? "" : " []");
    append_list_origin(config->sources_line, out);
    for (size_t i = 0; i < config->source_count; i++) {
        const struct sync_source *source = &config->sources[i];
        buffer_append_text(out, "  - {name: ");
        append_quoted(out, source->name);
        buffer_append_text(out, ", path: ");
        append_quoted(out, source->path);
        buffer_append_text(out, ", user: ");
        append_quoted(out, source->user);
        buffer_append_text(out, "}\n");
    }
}

void config_dump(const struct config *config, struct buffer *out)
{
    struct outline outline = {.out = out};
    buffer_printf(out, "# %s\n",
                  config->path != NULL ? config->path : "no file");
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &option_table[i];
        union option_value value = option_get(option, config);
        open_sections(&outline, option->path);
        indent(out, option->path);
        buffer_printf(out, "%s: ", last_name(option->path));
        append_value(option, &value, out);
        append_origin(config, i, out);
        if (ends_sync(i))
            dump_tables(config, out);
    }
    dump_sources(config, out);
}

static void sample_option(struct outline *outline, const struct option *option)
{
    struct buffer *out = outline->out;
    open_sections(outline, option->path);
    buffer_append_char(out, '\n');
    indent(out, option->path);
    buffer_printf(out, "# %s\n", option->sentence);
    indent(out, option->path);
    buffer_append_text(out, "# Type: ");
    option_describe(option, out);
    buffer_append_text(out, ".\n");
    indent(out, option->path);
    buffer_append_text(out, "# Cost of a change: ");
    option_describe_cost(option->cost, out);
    buffer_append_text(out, ".\n");
    indent(out, option->path);
    buffer_printf(out, "#%s: ", last_name(option->path));
    if (wants_quotes(option))
        append_quoted(out, option->fallback);
    else
        buffer_append_text(out, option->fallback);
    buffer_append_char(out, '\n');
}

static const char sample_head[] =
    "# Tidemill's configuration; see tidemill.yaml(5).\n"
    "#\n"
    "# Every option stands here with its default.  To change one, remove the\n"
    "# \"#\" before its name and write another value.  Test the file with\n"
    "# \"tidemilld -t\", then apply it with \"tidemill reload\".\n"
    "#\n"
    "# ${NAME} and ${NAME:-default} in a value stand for environment\n"
    "# variables, $${ for a plain \"${\".\n"
    "\n";

static const char sample_tables[] =
    "\n"
    "  # Typed targets at the centre for single tables; the others land in\n"
    "  # synced_records.  The key is the column of the record's id.  A table\n"
    "  # that several hosts write has one row a record, and a rule for what\n"
    "  # two of them change: conflict last_write_wins, local_wins, "
    "centre_wins\n"
    "  # or manual, by the field updated_at, or by a version that grows.\n"
    "  # Or an aggregate: the operations of the table stay on this host, and\n"
    "  # summaries of them go to the centre.  That of hook_events is built in\n"
    "  # (aggregate: none sends each event).\n"
    "  # Type: map of NAME: {target: TABLE, key: COLUMN, conflict: RULE,\n"
    "  # version: FIELD, updated_at: FIELD, base: FIELD}\n"
    "  # or NAME: {aggregate: {into: TABLE, group_by: [FIELD],\n"
    "  # fields: {NAME: EXPRESSION}, at_once: CONDITION}}.\n"
    "  # Cost of a change: respawn of sync and store.\n"
    "  #tables:\n"
    "  #  tasks: {target: public.tasks, key: id}\n"
    "  #  contexts: {conflict: last_write_wins}\n"
    "  #  purchases:\n"
    "  #    aggregate:\n"
    "  #      into: purchase_totals\n"
    "  #      group_by: [customer]\n"
    "  #      fields: {total: count, spent: sum amount, last: max at}\n";

static const char sample_sources[] =
    "\n"
    "# SQLite files of applications that have an outbox of their own; "
    "Tidemill\n"
    "# reads them and never writes.  A file must belong to the user, if one "
    "is\n"
    "# given.\n"
    "# Type: list of {name: NAME, path: FILE, user: USER}.\n"
    "# Cost of a change: respawn of store.\n"
    "#sources:\n"
    "#  - {name: ccm, path: /home/dev/.ccm/ccm.db, user: dev}\n";

void config_sample(struct buffer *out)
{
    struct outline outline = {.out = out};
    buffer_append_text(out, sample_head);
    for (int i = 0; i < OPTION_COUNT; i++) {
        bool top = strncmp(outline.section, option_table[i].path,
                           strcspn(outline.section, ".")) != 0;
        if (top && i > 0)
            buffer_append_char(out, '\n');
        sample_option(&outline, &option_table[i]);
        if (ends_sync(i))
            buffer_append_text(out, sample_tables);
    }
    buffer_append_text(out, sample_sources);
}

static void append_pending(const struct option *option,
                           const union option_value *before,
                           const union option_value *after, struct buffer *out)
{
    buffer_printf(out, "%s: ", option->path);
    append_value(option, before, out);
    buffer_append_text(out, " -> ");
    append_value(option, after, out);
    buffer_append_char(out, '\n');
}

static bool table_equal(const struct sync_table *a, const struct sync_table *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->target, b->target) == 0 &&
           strcmp(a->key, b->key) == 0 && a->conflict == b->conflict &&
           strcmp(a->version, b->version) == 0 &&
           strcmp(a->updated_at, b->updated_at) == 0 &&
           strcmp(a->base, b->base) == 0;
}

static bool tables_equal(const struct config *a, const struct config *b)
{
    if (a->table_count != b->table_count)
        return false;
    for (size_t i = 0; i < a->table_count; i++)
        if (!table_equal(&a->tables[i], &b->tables[i]))
            return false;
    return true;
}

static bool aggregates_equal(const struct config *a, const struct config *b)
{
    if (a->aggregate_count != b->aggregate_count)
        return false;
    for (size_t i = 0; i < a->aggregate_count; i++)
        if (strcmp(a->aggregates[i].table, b->aggregates[i].table) != 0 ||
            strcmp(a->aggregates[i].definition, b->aggregates[i].definition) !=
                0)
            return false;
    return true;
}

static bool sources_equal(const struct config *a, const struct config *b)
{
    if (a->source_count != b->source_count)
        return false;
    for (size_t i = 0; i < a->source_count; i++)
        if (strcmp(a->sources[i].name, b->sources[i].name) != 0 ||
            strcmp(a->sources[i].path, b->sources[i].path) != 0 ||
            strcmp(a->sources[i].user, b->sources[i].user) != 0)
            return false;
    return true;
}

unsigned config_diff(const struct config *before, const struct config *after,
                     struct buffer *pending)
{
    unsigned cost = COST_LIVE;
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &option_table[i];
        union option_value old = option_get(option, before);
        union option_value new = option_get(option, after);
        if (option_equal(option, &old, &new))
            continue;
        cost |= option->cost;
        if ((option->cost & COST_RESTART) && pending != NULL)
            append_pending(option, &old, &new, pending);
    }
    if (!tables_equal(before, after))
        cost |= COST_RESPAWN_SYNC;
    if (!sources_equal(before, after) || !aggregates_equal(before, after))
        cost |= COST_RESPAWN_STORE;
    return cost;
}
