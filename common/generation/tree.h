/* SPDX-License-Identifier: Apache-2.0
 *
 * Building a document tree by hand, as data for templates.  A tree that met
 * an allocation failure stays failed and every call on it does nothing:
 * check once, at the end.
 */
#ifndef TIDEMILL_GENERATION_TREE_H
#define TIDEMILL_GENERATION_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/document/document.h"

struct tree {
    struct arena *arena; /* owns all nodes and texts */
    bool failed;
};

/* A new node without a parent; NULL when failed. */
struct node *tree_map(struct tree *tree);

/* New children.  key is NULL when the parent is a list; keys must outlive
 * the tree (they are literals), texts are copied.  A NULL parent, as a
 * failed call returns it, is allowed and does nothing. */
struct node *tree_add_map(struct tree *tree, struct node *parent,
                          const char *key);
struct node *tree_add_list(struct tree *tree, struct node *parent,
                           const char *key);
void tree_add_text(struct tree *tree, struct node *parent, const char *key,
                   const char *text);
void tree_add_number(struct tree *tree, struct node *parent, const char *key,
                     long long number);
void tree_add_bool(struct tree *tree, struct node *parent, const char *key,
                   bool value);

/* Sets `last` (a bool) in every map of a list. */
void tree_mark_last(struct tree *tree, struct node *list);

#endif
