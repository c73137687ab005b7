/* SPDX-License-Identifier: Apache-2.0 */
#include "common/document/tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"

/* Up to this many keys, comparing all pairs is cheaper than sorting. */
#define SMALL_MAP 16

void place_advance(struct place *place, const char *target)
{
    const uint64_t ones = 0x0101010101010101u;
    while (place->at < target) {
        uint64_t word;
        if (target - place->at >= (ptrdiff_t)sizeof(word)) {
            memcpy(&word, place->at, sizeof(word));
            uint64_t feeds = word ^ ones * '\n'; /* a byte of 0 for each */
            if (((word | ((feeds - ones) & ~feeds)) & ones * 0x80) == 0) {
                place->at += sizeof(word);
                place->column += sizeof(word);
                continue;
            }
        }
        if (*place->at == '\n') {
            place->line++;
            place->column = 1;
        } else if ((*place->at & 0xc0) != 0x80) {
            place->column++;
        }
        place->at++;
    }
}

int tree_init(struct tree *tree, struct arena *arena, const char *name,
              const struct document_limits *limits, struct error *error)
{
    *tree = (struct tree){.arena = arena,
                          .name = name,
                          .limits = limits != NULL ? limits
                                                   : &document_limits_default,
                          .error = error};
    tree->frames =
        arena_calloc(arena, tree->limits->depth, sizeof(*tree->frames));
    return tree->frames == NULL ? tree_fail_memory(tree) : 0;
}

int tree_fail(struct tree *tree, uint32_t line, uint32_t column,
              const char *format, ...)
{
    char what[ERROR_TEXT_MAX / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return error_set(tree->error, ERROR_DATA, "%s:%u:%u: %s", tree->name, line,
                     column, what);
}

int tree_fail_memory(struct tree *tree)
{
    return error_set(tree->error, ERROR_DATA,
                     "%s: takes more than %zu bytes of memory to read; make "
                     "it smaller",
                     tree->name, tree->arena->limit_bytes);
}

/* The first byte that is not UTF-8; NULL when all are.  Lines are looked at
 * one by one, since a line feed is never part of a longer character. */
static const char *find_bad_utf8(const char *text, size_t size)
{
    const char *end = text + size;
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        stop = stop == NULL ? end : stop + 1;
        if (text_is_utf8(text, (size_t)(stop - text))) {
            text = stop;
            continue;
        }
        while (text < stop) {
            size_t length = 1;
            while (length <= 4 && length <= (size_t)(stop - text) &&
                   !text_is_utf8(text, length))
                length++;
            if (length > 4 || length > (size_t)(stop - text))
                return text;
            text += length;
        }
    }
    return NULL;
}

int tree_check_text(struct tree *tree, const char **text, size_t *size)
{
    if (*size > tree->limits->bytes)
        return error_set(tree->error, ERROR_DATA,
                         "%s: has %zu bytes, more than the %zu allowed; make "
                         "it smaller",
                         tree->name, *size, tree->limits->bytes);
    if (*size >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0) {
        *text += 3;
        *size -= 3;
    }
    if (*size == 0)
        return 0;
    struct place place = {.at = *text, .line = 1, .column = 1};
    const char *nul = memchr(*text, '\0', *size);
    if (nul != NULL) {
        place_advance(&place, nul);
        return tree_fail(tree, place.line, place.column,
                         "a NUL byte; this is no text file (or it is UTF-16: "
                         "save it as UTF-8)");
    }
    const char *bad = find_bad_utf8(*text, *size);
    if (bad != NULL) {
        place_advance(&place, bad);
        return tree_fail(tree, place.line, place.column,
                         "byte 0x%02x is not UTF-8; save the file as UTF-8",
                         (unsigned)(unsigned char)*bad);
    }
    return 0;
}

bool tree_wants_key(const struct tree *tree)
{
    return tree->depth > 0 &&
           tree->frames[tree->depth - 1].node->kind == NODE_MAP &&
           !tree->has_key;
}

void tree_set_key(struct tree *tree, const char *key, size_t size,
                  uint32_t line, uint32_t column)
{
    tree->has_key = true;
    tree->key = key;
    tree->key_size = size;
    tree->key_line = line;
    tree->key_column = column;
}

int tree_count(struct tree *tree, unsigned nodes, unsigned height,
               uint32_t line, uint32_t column)
{
    if (nodes > tree->limits->nodes - tree->nodes)
        return tree_fail(tree, line, column,
                         "more than %u values with all aliases written out; "
                         "make it smaller",
                         tree->limits->nodes);
    if (tree->depth + height > tree->limits->depth)
        return tree_fail(tree, line, column, "nested more than %u deep",
                         tree->limits->depth);
    tree->nodes += nodes;
    if (tree->depth > 0) {
        struct tree_frame *frame = &tree->frames[tree->depth - 1];
        if (frame->height < height + 1)
            frame->height = height + 1;
    }
    return 0;
}

struct node *tree_add(struct tree *tree, enum node_kind kind, uint32_t line,
                      uint32_t column)
{
    if (tree_count(tree, 1, 0, line, column) != 0)
        return NULL;
    struct node *node = arena_calloc(tree->arena, 1, sizeof(*node));
    if (node == NULL) {
        tree_fail_memory(tree);
        return NULL;
    }
    node->kind = kind;
    node->line = line;
    node->column = column;
    if (tree->depth == 0) {
        tree->root = node;
        return node;
    }
    struct tree_frame *frame = &tree->frames[tree->depth - 1];
    if (tree->has_key) {
        node->key = tree->key;
        node->key_size = tree->key_size;
        node->key_line = tree->key_line;
        node->key_column = tree->key_column;
        tree->has_key = false;
    }
    if (frame->last == NULL)
        frame->node->first = node;
    else
        frame->last->next = node;
    frame->last = node;
    frame->node->count++;
    return node;
}

int tree_open(struct tree *tree, struct node *node)
{
    if (tree->depth == tree->limits->depth)
        return tree_fail(tree, node->line, node->column,
                         "nested more than %u deep", tree->limits->depth);
    tree->frames[tree->depth++] = (struct tree_frame){
        .node = node, .nodes_before = tree->nodes - 1, .height = 1};
    return 0;
}

static bool keys_equal(const struct node *a, const struct node *b)
{
    return a->key_size == b->key_size &&
           memcmp(a->key, b->key, a->key_size) == 0;
}

/* Orders by key, then by place. */
static int compare_keys(const void *left, const void *right)
{
    const struct node *a = *(struct node *const *)left;
    const struct node *b = *(struct node *const *)right;
    size_t shorter = a->key_size < b->key_size ? a->key_size : b->key_size;
    int order = memcmp(a->key, b->key, shorter);
    if (order != 0)
        return order;
    if (a->key_size != b->key_size)
        return a->key_size < b->key_size ? -1 : 1;
    if (a->key_line != b->key_line)
        return a->key_line < b->key_line ? -1 : 1;
    return a->key_column < b->key_column   ? -1
           : a->key_column > b->key_column ? 1
                                           : 0;
}

static int fail_twice(struct tree *tree, const struct node *first,
                      const struct node *second)
{
    return tree_fail(tree, second->key_line, second->key_column,
                     "key \"%.*s\" stands twice, first in line %u; remove one",
                     (int)(second->key_size < 100 ? second->key_size : 100),
                     second->key, first->key_line);
}

static int check_large_map(struct tree *tree, const struct node *map)
{
    struct node **all = malloc(map->count * sizeof(*all));
    if (all == NULL)
        return tree_fail_memory(tree);
    uint32_t count = 0;
    for (struct node *child = map->first; child != NULL; child = child->next)
        all[count++] = child;
    qsort(all, count, sizeof(*all), compare_keys);
    int result = 0;
    for (uint32_t i = 1; i < count && result == 0; i++)
        if (keys_equal(all[i - 1], all[i]))
            result = fail_twice(tree, all[i - 1], all[i]);
    free(all);
    return result;
}

static int check_keys(struct tree *tree, const struct node *map)
{
    if (map->count > SMALL_MAP)
        return check_large_map(tree, map);
    for (const struct node *b = map->first; b != NULL; b = b->next)
        for (const struct node *a = map->first; a != b; a = a->next)
            if (keys_equal(a, b))
                return fail_twice(tree, a, b);
    return 0;
}

int tree_close(struct tree *tree)
{
    struct tree_frame *frame = &tree->frames[--tree->depth];
    if (tree->depth > 0) {
        struct tree_frame *outer = &tree->frames[tree->depth - 1];
        if (outer->height < frame->height + 1)
            outer->height = frame->height + 1;
    }
    return frame->node->kind == NODE_MAP ? check_keys(tree, frame->node) : 0;
}
