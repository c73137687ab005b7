/* SPDX-License-Identifier: Apache-2.0
 *
 * The aggregates of sync.tables.
 */
#include <string.h>

#include "common/config/aggregate.h"
#include "common/config/loader.h"

#define DEFINITION_MAX 65536

struct complaint {
    struct loader *loader;
    const char *what;
};

static void complain(void *self, uint32_t line, uint32_t column,
                     const char *words)
{
    struct complaint *complaint = self;
    loader_error_at(complaint->loader, line, column, "%s: aggregate: %s",
                    complaint->what, words);
}

static struct sync_aggregate *add(struct loader *loader, const char *table,
                                  const char *definition, const char *into)
{
    struct config *config = loader->config;
    if (config->aggregates == NULL)
        config->aggregates = arena_calloc(&config->arena, SYNC_TABLES_MAX + 1u,
                                          sizeof(*config->aggregates));
    if (config->aggregates == NULL || table == NULL || definition == NULL) {
        loader_error(loader, "no memory for sync.tables");
        return NULL;
    }
    struct sync_aggregate *added =
        &config->aggregates[config->aggregate_count++];
    *added = (struct sync_aggregate){table, definition, into};
    return added;
}

static void read_aggregate(struct loader *loader, const struct node *entry,
                           const struct node *node, const char *what)
{
    struct complaint complaint = {loader, what};
    struct aggregate aggregate;
    struct buffer text;
    struct arena *arena = &loader->config->arena;
    if (aggregate_read(node, arena, &aggregate, complain, &complaint) != 0)
        return;
    buffer_init(&text, DEFINITION_MAX);
    document_write_json(node, &text);
    if (text.failed)
        loader_error_at(loader, node->line, node->column,
                        "%s: aggregate: more than %d bytes", what,
                        DEFINITION_MAX);
    else
        add(loader, arena_copy(arena, entry->key, entry->key_size),
            arena_copy(arena, text.bytes, text.size), aggregate.into);
    buffer_deinit(&text);
}

static bool is_none(const struct node *node)
{
    return node->kind == NODE_STRING && strcmp(node->text, "none") == 0;
}

bool loader_read_aggregate(struct loader *loader, const struct node *entry,
                           const char *what)
{
    const struct node *node = document_get(entry, "aggregate");
    if (node == NULL)
        return true;
    bool alone = entry->count == 1;
    if (is_none(node))
        return !alone;
    read_aggregate(loader, entry, node, what);
    if (!alone)
        loader_error_at(loader, entry->line, entry->column,
                        "%s: its operations stay on this host, so only "
                        "aggregate has a meaning here; give the rest to the "
                        "table of `into`",
                        what);
    return false;
}

/* A summary that is detail of another one would never come to rest. */
static void check_into(struct loader *loader, const struct node *map,
                       const struct sync_aggregate *aggregate)
{
    const struct config *config = loader->config;
    for (size_t i = 0; i < config->aggregate_count; i++) {
        const struct sync_aggregate *other = &config->aggregates[i];
        const struct node *node = document_get(map, aggregate->table);
        if (node == NULL)
            continue;
        if (strcmp(aggregate->into, other->table) == 0)
            loader_error_at(loader, node->key_line, node->key_column,
                            "sync.tables.%s: aggregate: into \"%s\" is folded "
                            "itself; name another table",
                            aggregate->table, aggregate->into);
        if (other != aggregate && strcmp(aggregate->into, other->into) == 0)
            loader_error_at(loader, node->key_line, node->key_column,
                            "sync.tables.%s: aggregate: into \"%s\" is that of "
                            "\"%s\" too, so their summaries would overwrite "
                            "each other; give each its own",
                            aggregate->table, aggregate->into, other->table);
    }
}

void loader_finish_aggregates(struct loader *loader)
{
    const struct node *map = loader->tables;
    const struct node *events = document_get(map, AGGREGATE_BUILT_IN_TABLE);
    if (events != NULL && document_get(events, "aggregate") == NULL)
        loader_error_at(
            loader, events->key_line, events->key_column,
            "sync.tables." AGGREGATE_BUILT_IN_TABLE
            ": its operations are folded into " AGGREGATE_BUILT_IN_INTO
            "; add \"aggregate: none\", or remove the entry");
    if (document_get(events, "aggregate") == NULL)
        add(loader, AGGREGATE_BUILT_IN_TABLE, aggregate_built_in,
            AGGREGATE_BUILT_IN_INTO);
    for (size_t i = 0; i < loader->config->aggregate_count; i++)
        check_into(loader, map, &loader->config->aggregates[i]);
}
