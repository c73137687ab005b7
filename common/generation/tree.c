/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/tree.h"

#include <stdio.h>
#include <string.h>

static struct node *new_node(struct tree *tree, enum node_kind kind)
{
    struct node *node =
        tree->failed ? NULL : arena_calloc(tree->arena, 1, sizeof(*node));
    if (node == NULL) {
        tree->failed = true;
        return NULL;
    }
    node->kind = kind;
    return node;
}

static struct node *last_child(const struct node *parent)
{
    struct node *child = parent->first;
    while (child != NULL && child->next != NULL)
        child = child->next;
    return child;
}

static struct node *add(struct tree *tree, struct node *parent, const char *key,
                        enum node_kind kind)
{
    struct node *child = parent == NULL ? NULL : new_node(tree, kind);
    if (child == NULL)
        return NULL;
    child->key = key;
    child->key_size = key == NULL ? 0 : strlen(key);
    struct node *before = last_child(parent);
    if (before == NULL)
        parent->first = child;
    else
        before->next = child;
    parent->count++;
    return child;
}

static void set_text(struct tree *tree, struct node *node, const char *text)
{
    if (node == NULL)
        return;
    node->text = arena_strdup(tree->arena, text);
    if (node->text == NULL) {
        node->text = "";
        tree->failed = true;
        return;
    }
    node->text_size = strlen(text);
}

struct node *tree_map(struct tree *tree)
{
    return new_node(tree, NODE_MAP);
}

struct node *tree_add_map(struct tree *tree, struct node *parent,
                          const char *key)
{
    return add(tree, parent, key, NODE_MAP);
}

struct node *tree_add_list(struct tree *tree, struct node *parent,
                           const char *key)
{
    return add(tree, parent, key, NODE_LIST);
}

void tree_add_text(struct tree *tree, struct node *parent, const char *key,
                   const char *text)
{
    if (text == NULL)
        tree->failed = true;
    else
        set_text(tree, add(tree, parent, key, NODE_STRING), text);
}

void tree_add_number(struct tree *tree, struct node *parent, const char *key,
                     long long number)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", number);
    set_text(tree, add(tree, parent, key, NODE_NUMBER), text);
}

void tree_add_bool(struct tree *tree, struct node *parent, const char *key,
                   bool value)
{
    struct node *node = add(tree, parent, key, NODE_BOOL);
    if (node == NULL)
        return;
    node->boolean = value;
    set_text(tree, node, value ? "true" : "false");
}

void tree_mark_last(struct tree *tree, struct node *list)
{
    if (list == NULL)
        return;
    for (struct node *item = list->first; item != NULL; item = item->next) {
        if (item->kind == NODE_MAP)
            tree_add_bool(tree, item, "last", item->next == NULL);
    }
}
