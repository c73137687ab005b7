/* SPDX-License-Identifier: Apache-2.0
 *
 * The two options that are no scalars: sync.tables and sources.
 */
#include <string.h>

#include "common/config/loader.h"

/* PostgreSQL's NAMEDATALEN without the NUL. */
#define IDENTIFIER_MAX  63u
#define TABLE_NAME_MAX  128u
#define SOURCE_NAME_MAX 64u
#define SOURCE_PATH_MAX 4000u
#define SOURCE_USER_MAX 64u

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t identifier_length(const char *text)
{
    size_t size = 0;
    while (is_letter(text[size]) || text[size] == '_' ||
           (size > 0 && is_digit(text[size])))
        size++;
    return size;
}

static bool is_identifier(const char *text)
{
    size_t size = identifier_length(text);
    return size > 0 && size <= IDENTIFIER_MAX && text[size] == '\0';
}

/* "table" or "schema.table" */
static bool is_target(const char *text)
{
    size_t size = identifier_length(text);
    if (size == 0 || size > IDENTIFIER_MAX)
        return false;
    return text[size] == '\0' ||
           (text[size] == '.' && is_identifier(text + size + 1));
}

/* A name of an operation's table_name: [A-Za-z_][A-Za-z0-9_.$-]* */
static bool is_table_name(const char *text)
{
    size_t size = 0;
    while (is_letter(text[size]) || text[size] == '_' ||
           (size > 0 && (is_digit(text[size]) || text[size] == '.' ||
                         text[size] == '$' || text[size] == '-')))
        size++;
    return size > 0 && size <= TABLE_NAME_MAX && text[size] == '\0';
}

static bool is_source_name(const char *text)
{
    size_t size = 0;
    while (is_letter(text[size]) || is_digit(text[size]) || text[size] == '_' ||
           text[size] == '-')
        size++;
    return size > 0 && size <= SOURCE_NAME_MAX && text[size] == '\0';
}

/* Tidemill's own tables, where those without a target land. */
static bool is_generic_target(const char *target)
{
    static const char *const names[] = {"synced_records", "shared_records"};
    const char *dot = strchr(target, '.');
    const char *name = dot != NULL ? dot + 1 : target;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* Says which keys of an entry are unknown. */
static void check_keys(struct loader *loader, const struct node *map,
                       const char *what, const char *const *known)
{
    for (const struct node *node = map->first; node != NULL;
         node = node->next) {
        const char *const *name = known;
        while (*name != NULL && strcmp(*name, node->key) != 0)
            name++;
        if (*name == NULL)
            loader_error_at(loader, node->key_line, node->key_column,
                            "%s: unknown key \"%.100s\"%s", what, node->key,
                            loader_hint(loader, node->key, known));
    }
}

/* The text of an entry's key.  Where it is absent: `fallback`, or an error
 * when that is NULL.  *at is where to complain. */
static const char *read_key(struct loader *loader, const struct node *map,
                            const char *what, const char *key,
                            const char *fallback, const struct node **at)
{
    const struct node *node = document_get(map, key);
    *at = node != NULL ? node : map;
    if (node != NULL) {
        const char *name = arena_printf(&loader->scratch, "%s: %s", what, key);
        return loader_scalar(loader, node, name != NULL ? name : key);
    }
    if (fallback == NULL)
        loader_error_at(loader, map->line, map->column, "%s: \"%s\" is missing",
                        what, key);
    return fallback;
}

static bool check_entry(struct loader *loader, const struct node *node,
                        const char *what, const char *keys)
{
    if (node->kind == NODE_MAP)
        return true;
    loader_error_at(loader, node->line, node->column, "%s is a %s; write {%s}",
                    what, node_kind_name(node->kind), keys);
    return false;
}

static const char *const rule_names[] = {
#define X(name, word) word,
    CONFLICT_RULE_LIST(X)
#undef X
        NULL,
};

/* The name of a field of the data; "" where the entry has none. */
static const char *read_field(struct loader *loader, const struct node *node,
                              const char *what, const char *key,
                              const char *fallback)
{
    const struct node *at;
    const char *field = read_key(loader, node, what, key, fallback, &at);
    if (field != NULL && at != node && !is_identifier(field))
        loader_error_at(loader, at->line, at->column,
                        "%s: %s \"%.130s\" is no name of a field; give 1 to "
                        "%u letters, digits or _ (the first no digit)",
                        what, key, field, IDENTIFIER_MAX);
    return field;
}

/* How two hosts' changes of one record are compared and decided. */
static void read_conflict(struct loader *loader, const struct node *node,
                          const char *what, struct sync_table *table)
{
    const struct node *at;
    const char *word =
        read_key(loader, node, what, "conflict", rule_names[0], &at);
    int rule = 0;
    while (word != NULL && rule_names[rule] != NULL &&
           strcmp(rule_names[rule], word) != 0)
        rule++;
    if (word != NULL && rule_names[rule] == NULL)
        loader_error_at(loader, at->line, at->column,
                        "%s: conflict \"%.100s\" is not known; write none, "
                        "last_write_wins, local_wins, centre_wins or manual%s",
                        what, word, loader_hint(loader, word, rule_names));
    else
        table->conflict = (enum conflict_rule)rule;
    table->version = read_field(loader, node, what, "version", "");
    table->updated_at =
        read_field(loader, node, what, "updated_at", "updated_at");
    table->base = read_field(loader, node, what, "base", "");
    bool compares = document_get(node, "version") != NULL ||
                    document_get(node, "updated_at") != NULL ||
                    document_get(node, "base") != NULL;
    if (table->conflict == CONFLICT_NONE && compares)
        loader_error_at(loader, node->line, node->column,
                        "%s: version, updated_at and base say how conflicts "
                        "are found, but there is no conflict; add \"conflict: "
                        "last_write_wins\", or remove them",
                        what);
    if (document_get(node, "version") != NULL &&
        document_get(node, "updated_at") != NULL)
        loader_error_at(loader, node->line, node->column,
                        "%s: version and updated_at are both given; only one "
                        "of them can decide what is newer",
                        what);
}

/* Where the records land, and in which column their id. */
static void read_target(struct loader *loader, const struct node *node,
                        const char *what, struct sync_table *table)
{
    const struct node *at;
    /* A shared table without a target lands in shared_records. */
    table->target = read_key(loader, node, what, "target",
                             table->conflict != CONFLICT_NONE ? "" : NULL, &at);
    if (table->target != NULL && at != node && !is_target(table->target))
        loader_error_at(loader, at->line, at->column,
                        "%s: target \"%.130s\" is neither TABLE nor "
                        "SCHEMA.TABLE, each 1 to %u letters, digits or _ "
                        "(the first no digit)",
                        what, table->target, IDENTIFIER_MAX);
    else if (table->target != NULL && is_generic_target(table->target))
        loader_error_at(loader, at->line, at->column,
                        "%s: target \"%s\" holds the tables that have no "
                        "target; name another, or leave it out",
                        what, table->target);
    table->key = read_key(loader, node, what, "key", "id", &at);
    if (table->key != NULL && !is_identifier(table->key))
        loader_error_at(loader, at->line, at->column,
                        "%s: key \"%.130s\" is no name of a column; give 1 to "
                        "%u letters, digits or _ (the first no digit)",
                        what, table->key, IDENTIFIER_MAX);
}

static void read_table(struct loader *loader, const struct node *node)
{
    static const char *const known[] = {"target",    "key",  "conflict",
                                        "version",   "base", "updated_at",
                                        "aggregate", NULL};
    const char *what =
        arena_printf(&loader->scratch, "sync.tables.%.130s", node->key);
    struct sync_table *table =
        &loader->config->tables[loader->config->table_count];
    if (what == NULL)
        what = "sync.tables";
    if (!is_table_name(node->key))
        loader_error_at(loader, node->key_line, node->key_column,
                        "%s: no name of a table; give 1 to %u of letters, "
                        "digits, _ . $ - (the first a letter or _)",
                        what, TABLE_NAME_MAX);
    if (!check_entry(loader, node, what,
                     "target: TABLE, key: COLUMN, conflict: RULE"))
        return;
    check_keys(loader, node, what, known);
    if (!loader_read_aggregate(loader, node, what))
        return;
    table->name = arena_copy(&loader->config->arena, node->key, node->key_size);
    read_conflict(loader, node, what, table);
    read_target(loader, node, what, table);
    if (table->name != NULL && table->target != NULL && table->key != NULL)
        loader->config->table_count++;
}

/* Two tables in one target would overwrite each other's records. */
static void check_targets(struct loader *loader, const struct node *map)
{
    const struct config *config = loader->config;
    for (size_t i = 0; i < config->table_count; i++)
        for (size_t j = 0; j < i; j++) {
            const struct sync_table *one = &config->tables[j];
            const struct sync_table *two = &config->tables[i];
            if (one->target[0] == '\0' || strcmp(one->target, two->target) != 0)
                continue;
            const struct node *node = document_get(map, two->name);
            loader_error_at(loader, node->key_line, node->key_column,
                            "sync.tables.%s: target \"%s\" is that of "
                            "\"%s\" too, so their records would overwrite "
                            "each other; give each its own",
                            two->name, two->target, one->name);
        }
}

void loader_read_tables(struct loader *loader, const struct node *map)
{
    if (map->kind == NODE_NULL)
        return;
    if (map->kind != NODE_MAP) {
        loader_error_at(loader, map->line, map->column,
                        "sync.tables is a %s; write NAME: {target: TABLE, "
                        "key: COLUMN} for each table",
                        node_kind_name(map->kind));
        return;
    }
    if (map->count > SYNC_TABLES_MAX) {
        loader_error_at(loader, map->line, map->column,
                        "sync.tables has %u entries, more than %d", map->count,
                        SYNC_TABLES_MAX);
        return;
    }
    loader->tables = map;
    loader->config->tables_line = map->key_line;
    loader->config->tables =
        arena_calloc(&loader->config->arena, map->count + 1u,
                     sizeof(*loader->config->tables));
    if (loader->config->tables == NULL) {
        loader_error(loader, "no memory for sync.tables");
        return;
    }
    for (const struct node *node = map->first; node != NULL; node = node->next)
        read_table(loader, node);
    check_targets(loader, map);
}

static void check_source_path(struct loader *loader, const struct node *at,
                              const char *what, const char *path)
{
    if (path[0] != '/')
        loader_error_at(loader, at->line, at->column,
                        "%s: path \"%.200s\" does not begin with \"/\"; give "
                        "an absolute path",
                        what, path);
    else if (strlen(path) > SOURCE_PATH_MAX)
        loader_error_at(loader, at->line, at->column,
                        "%s: path is longer than %u bytes", what,
                        SOURCE_PATH_MAX);
}

static void check_source_twice(struct loader *loader, const struct node *node,
                               const char *what,
                               const struct sync_source *source)
{
    const struct config *config = loader->config;
    for (size_t i = 0; i < config->source_count; i++) {
        const struct sync_source *other = &config->sources[i];
        if (strcmp(other->name, source->name) == 0)
            loader_error_at(loader, node->line, node->column,
                            "%s: the name \"%s\" stands twice; give each "
                            "source its own",
                            what, source->name);
        if (strcmp(other->path, source->path) == 0)
            loader_error_at(loader, node->line, node->column,
                            "%s: the path is that of source \"%s\" too, so "
                            "each row would be taken twice; remove one",
                            what, other->name);
    }
}

static void read_source(struct loader *loader, const struct node *node,
                        unsigned number)
{
    static const char *const known[] = {"name", "path", "user", NULL};
    const char *what = arena_printf(&loader->scratch, "sources[%u]", number);
    struct sync_source *source =
        &loader->config->sources[loader->config->source_count];
    const struct node *at;
    if (what == NULL)
        what = "sources";
    if (!check_entry(loader, node, what, "name: NAME, path: FILE, user: USER"))
        return;
    check_keys(loader, node, what, known);
    source->name = read_key(loader, node, what, "name", NULL, &at);
    if (source->name != NULL && !is_source_name(source->name))
        loader_error_at(loader, at->line, at->column,
                        "%s: name \"%.100s\" is not 1 to %u letters, digits, "
                        "_ or -",
                        what, source->name, SOURCE_NAME_MAX);
    source->path = read_key(loader, node, what, "path", NULL, &at);
    if (source->path != NULL)
        check_source_path(loader, at, what, source->path);
    source->user = read_key(loader, node, what, "user", "", &at);
    if (source->user != NULL && strlen(source->user) > SOURCE_USER_MAX)
        loader_error_at(loader, at->line, at->column,
                        "%s: user is longer than %u bytes", what,
                        SOURCE_USER_MAX);
    if (source->name == NULL || source->path == NULL || source->user == NULL)
        return;
    check_source_twice(loader, node, what, source);
    loader->config->source_count++;
}

void loader_read_sources(struct loader *loader, const struct node *list)
{
    if (list->kind == NODE_NULL)
        return;
    if (list->kind != NODE_LIST) {
        loader_error_at(loader, list->line, list->column,
                        "sources is a %s; write a list with one "
                        "\"- {name: NAME, path: FILE}\" for each source",
                        node_kind_name(list->kind));
        return;
    }
    if (list->count > SOURCES_MAX) {
        loader_error_at(loader, list->line, list->column,
                        "sources has %u entries, more than %d", list->count,
                        SOURCES_MAX);
        return;
    }
    loader->sources = list;
    loader->config->sources_line = list->key_line;
    loader->config->sources =
        arena_calloc(&loader->config->arena, list->count + 1u,
                     sizeof(*loader->config->sources));
    if (loader->config->sources == NULL) {
        loader_error(loader, "no memory for sources");
        return;
    }
    unsigned number = 0;
    for (const struct node *node = list->first; node != NULL; node = node->next)
        read_source(loader, node, number++);
}
