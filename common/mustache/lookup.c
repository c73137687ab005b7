/* SPDX-License-Identifier: Apache-2.0
 *
 * What a name means: the walk up the context stack, then down the parts of
 * a dotted name.
 */
#include <string.h>

#include "common/mustache/escape.h"
#include "common/mustache/execute.h"

static const struct node *find_key(struct execution *x, const struct node *map,
                                   const char *key, size_t size)
{
    const struct node *child = map->first;
    uint32_t seen = 1;
    for (; child != NULL; child = child->next, seen++)
        if (child->key_size == size && memcmp(child->key, key, size) == 0)
            break;
    x->steps += seen;
    return child;
}

static const struct node *find_part(struct execution *x,
                                    const struct mustache_program *program,
                                    const struct program_part *part,
                                    const struct node *node)
{
    if (node == NULL || node->kind != NODE_MAP)
        return NULL;
    return find_key(x, node, program_text(program) + part->name.at,
                    part->name.size);
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

int slot_fill(struct execution *x, const struct call *call, uint32_t path_index,
              const struct context *context, struct program_place place)
{
    const struct mustache_program *program = call->unit->program;
    const struct program_path *path = &program_paths(program)[path_index];
    struct slot *slot = &call->unit->slots[path_index];
    slot->node = find_path(x, program, path, context);
    if (slot->node == NULL && x->options->strict)
        return execution_fail(x, call, place,
                              "%.*s is not defined; give it in the data, if "
                              "only as null or false",
                              (int)path->name.size,
                              program_text(program) + path->name.at);
    if (slot->node != NULL && slot->node->text_size > UINT32_MAX)
        return execution_fail(x, call, place, "a value over 4 GiB");
    slot_take(x, slot, slot->node);
    slot->stamp = context->stamp;
    return execution_step(x, call, place, slot->size / PROGRAM_SLACK);
}
