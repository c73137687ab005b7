/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/file_loop.h"

#include <stdio.h>
#include <string.h>

#define KEY_MAX 100

const struct node *file_loop_list(const struct node *data, const char *each,
                                  struct error *error)
{
    const struct node *at = data;
    for (const char *part = each; at != NULL;) {
        char key[KEY_MAX + 1];
        size_t length = strcspn(part, ".");
        snprintf(key, sizeof(key), "%.*s", (int)length, part);
        at = length > KEY_MAX || at->kind != NODE_MAP ? NULL
                                                      : document_get(at, key);
        if (part[length] == '\0')
            break;
        part += length + 1;
    }
    if (at != NULL && at->kind == NODE_LIST)
        return at;
    error_set(error, ERROR_DATA,
              "each: '%s' is no list of the contract's data; name one, such "
              "as operations",
              each);
    return NULL;
}

/* A copy of a node as the next child, under a key of its own or the old. */
static int add(struct arena *arena, struct node *map, struct node ***end,
               const struct node *child, const char *key)
{
    struct node *copy = arena_calloc(arena, 1, sizeof(*copy));
    if (copy == NULL)
        return -1;
    *copy = *child;
    copy->next = NULL;
    if (key != NULL) {
        copy->key = key;
        copy->key_size = strlen(key);
    }
    **end = copy;
    *end = &copy->next;
    map->count++;
    return 0;
}

/* The children of a map that `map` does not have yet. */
static int add_all(struct arena *arena, struct node *map, struct node ***end,
                   const struct node *from)
{
    for (const struct node *child = from->first; child != NULL;
         child = child->next)
        if (document_get(map, child->key) == NULL &&
            add(arena, map, end, child, NULL) != 0)
            return -1;
    return 0;
}

struct node *file_loop_data(struct arena *arena, const struct node *data,
                            const struct node *element)
{
    struct node *map = arena_calloc(arena, 1, sizeof(*map));
    if (map == NULL)
        return NULL;
    map->kind = NODE_MAP;
    struct node **end = &map->first;
    if (add(arena, map, &end, element, "item") != 0 ||
        (element->kind == NODE_MAP &&
         add_all(arena, map, &end, element) != 0) ||
        add_all(arena, map, &end, data) != 0)
        return NULL;
    return map;
}
