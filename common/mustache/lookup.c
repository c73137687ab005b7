/* SPDX-License-Identifier: Apache-2.0
 *
 * What a name means: the walk up the context stack, then down the parts of
 * a dotted name.
 */
#include <string.h>

#include "common/base/text.h"
#include "common/mustache/escape.h"
#include "common/mustache/execute.h"
#include "common/mustache/lambda.h"

/* A key that is searched for. */
struct wanted {
    const char *text;
    size_t size;
    uint64_t hash;
};

static inline bool is_wanted(const struct node *child, const struct wanted *key)
{
    return child->key_size == key->size && child->key[0] == key->text[0] &&
           memcmp(child->key, key->text, key->size) == 0;
}

static const struct node *find_linear(struct execution *x,
                                      const struct node *map,
                                      const struct wanted *key)
{
    const struct node *child = map->first;
    uint32_t seen = 1;
    for (; child != NULL && !is_wanted(child, key); child = child->next)
        seen++;
    x->steps += seen;
    return child;
}

static uint64_t first_bucket(uint64_t hash)
{
    return hash ^ (hash >> 32);
}

/* False when the keys were chosen to collide: then no index is better. */
static bool fill_index(struct map_index *index)
{
    uint64_t tries = (uint64_t)index->map->count * 16;
    uint32_t mask = index->bucket_count - 1;
    memset(index->buckets, 0, index->bucket_count * sizeof(*index->buckets));
    for (const struct node *child = index->map->first; child != NULL;
         child = child->next) {
        uint64_t at = first_bucket(
            text_hash(TEXT_HASH_START, child->key, child->key_size));
        for (; index->buckets[at & mask] != NULL; at++)
            if (tries-- == 0)
                return false;
        index->buckets[at & mask] = child;
    }
    return true;
}

/* Memory for indexes has a bound of its own; past it, maps are searched
 * key by key. */
static void build_index(struct execution *x, struct map_index *index)
{
    uint32_t count = 64;
    while (count < index->map->count * 2 && count < (1u << 30))
        count *= 2;
    size_t size = count * sizeof(*index->buckets);
    if (size > MAP_INDEX_MEMORY_MAX - x->index_memory)
        return;
    index->buckets = execution_alloc(x, size);
    if (index->buckets == NULL)
        return;
    x->index_memory += size;
    x->steps += (uint64_t)index->map->count * 2;
    index->bucket_count = count;
    if (!fill_index(index))
        index->buckets = NULL;
}

static const struct node *find_indexed(struct execution *x,
                                       const struct map_index *index,
                                       const struct wanted *key)
{
    uint32_t mask = index->bucket_count - 1;
    for (uint64_t at = first_bucket(key->hash);; at++) {
        const struct node *child = index->buckets[at & mask];
        x->steps++;
        if (child == NULL || is_wanted(child, key))
            return child;
    }
}

static const struct node *find_big(struct execution *x, const struct node *map,
                                   const struct wanted *key)
{
    size_t slot = ((uintptr_t)map / sizeof(*map)) % MAP_INDEX_SLOTS;
    struct map_index *index = &x->indexes[slot];
    if (index->map != map)
        *index = (struct map_index){.map = map};
    if (index->buckets == NULL && ++index->searches == MAP_INDEX_SEARCHES)
        build_index(x, index);
    return index->buckets == NULL ? find_linear(x, map, key)
                                  : find_indexed(x, index, key);
}

static const struct node *find_part(struct execution *x,
                                    const struct mustache_program *program,
                                    const struct program_part *part,
                                    const struct node *node)
{
    if (node == NULL || node->kind != NODE_MAP)
        return NULL;
    struct wanted key = {program_text(program) + part->name.at, part->name.size,
                         part->hash};
    return node->count < MAP_INDEX_COUNT_MIN ? find_linear(x, node, &key)
                                             : find_big(x, node, &key);
}

static const struct node *find_path(struct execution *x,
                                    const struct mustache_program *program,
                                    const struct program_path *path,
                                    const struct context *context)
{
    const struct program_part *part = program_parts(program) + path->part;
    const struct program_part *end = part + path->part_count;
    const struct node *node = NULL;
    if (path->from_current != 0) {
        node = context->node;
    } else if (part < end) {
        for (; node == NULL && context != NULL; context = context->up)
            node = find_part(x, program, part, context->node);
        part++;
    }
    for (; node != NULL && part < end; part++)
        node = find_part(x, program, part, node);
    return node;
}

/* Scalars as text: numbers and strings as they were written. */
static void slot_take(struct execution *x, struct slot *slot,
                      const struct node *node)
{
    slot->text = "";
    slot->size = 0;
    slot->bits = PAIR_LONG_LITERAL;
    if (node == NULL || node->kind == NODE_NULL)
        return;
    if (node->kind == NODE_LIST || node->kind == NODE_MAP) {
        slot->bits |= PAIR_LONG_VALUE;
        return;
    }
    if (node->kind == NODE_BOOL) {
        slot->text = node->boolean ? "true" : "false";
        slot->size = node->boolean ? 4 : 5;
    } else {
        slot->text = node->text;
        slot->size = (uint32_t)node->text_size;
    }
    if (escape_changes(x->options->escape, slot->text, slot->size))
        slot->bits |= PAIR_ESCAPE;
    if (slot->size > PROGRAM_SLACK)
        slot->bits |= PAIR_LONG_VALUE;
    else
        memcpy(slot->head, slot->text, slot->size);
}

/* What the data does not know stays as it was written. */
static void slot_keep(struct slot *slot, const char *text, uint32_t size)
{
    slot->text = text;
    slot->size = size;
    if (size > PROGRAM_SLACK)
        slot->bits |= PAIR_LONG_VALUE;
    else
        memcpy(slot->head, text, size);
}

int slot_fill(struct execution *x, const struct call *call, uint32_t path_index,
              const struct context *context, struct program_place place,
              bool for_section)
{
    const struct mustache_program *program = call->unit->program;
    const struct program_path *path = &program_paths(program)[path_index];
    struct slot *slot = &call->unit->slots[path_index];
    slot->node = find_path(x, program, path, context);
    bool is_lambda = for_section && path->lambda != LAMBDA_NONE;
    if (slot->node == NULL && x->options->strict && !is_lambda)
        return execution_fail(x, call, place,
                              "%.*s is not defined; give it in the data, if "
                              "only as null or false",
                              (int)path->name.size,
                              program_text(program) + path->name.at);
    if (slot->node != NULL && slot->node->text_size > UINT32_MAX)
        return execution_fail(x, call, place, "a value over 4 GiB");
    slot_take(x, slot, slot->node);
    if (slot->node == NULL && program->syntax == MUSTACHE_SYNTAX_PLACEHOLDER)
        slot_keep(slot, program_text(program) + path->name.at, path->name.size);
    /* What is right for a section need not be for a value. */
    slot->stamp = slot->node == NULL && is_lambda ? 0 : context->stamp;
    return execution_step(x, call, place, slot->size / PROGRAM_SLACK);
}
