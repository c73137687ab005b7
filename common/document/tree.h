/* SPDX-License-Identifier: Apache-2.0
 *
 * How the readers of YAML and JSON build a document: values arrive in the
 * order of the text, and each is counted against the limits.  Private to
 * this folder.
 */
#ifndef TIDEMILL_DOCUMENT_TREE_H
#define TIDEMILL_DOCUMENT_TREE_H

#include "common/document/document.h"

/* A place in a text, counted onwards only, so that asking costs nothing
 * even in one line of many megabytes. */
struct place {
    const char *at;
    uint32_t line;   /* from 1 */
    uint32_t column; /* from 1, in characters */
};

/* Counts on to `target`, which is not before place->at. */
void place_advance(struct place *place, const char *target);

/* An open list or map. */
struct tree_frame {
    struct node *node;
    struct node *last;     /* its newest child */
    unsigned nodes_before; /* counted before it was opened */
    unsigned height;       /* of the deepest value in it so far */
};

struct tree {
    struct arena *arena;
    const char *name;
    const struct document_limits *limits;
    struct error *error;
    struct node *root;
    struct tree_frame *frames; /* limits->depth of them */
    unsigned depth;            /* frames in use */
    unsigned nodes;            /* counted so far, aliases expanded */
    bool has_key;              /* the next value's key has been read */
    const char *key;
    size_t key_size;
    uint32_t key_line, key_column;
};

int tree_init(struct tree *tree, struct arena *arena, const char *name,
              const struct document_limits *limits, struct error *error);

/* "NAME:LINE:COLUMN: what"; returns -1. */
int tree_fail(struct tree *tree, uint32_t line, uint32_t column,
              const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Says that the arena has no room; returns -1. */
int tree_fail_memory(struct tree *tree);

/* The checks that every text passes first: its size, UTF-8, no NUL.  A byte
 * order mark at the start is skipped. */
int tree_check_text(struct tree *tree, const char **text, size_t *size);

/* Is the innermost open thing a map that waits for a key? */
bool tree_wants_key(const struct tree *tree);
void tree_set_key(struct tree *tree, const char *key, size_t size,
                  uint32_t line, uint32_t column);

/* Puts a new value where it belongs; NULL when a limit is passed. */
struct node *tree_add(struct tree *tree, enum node_kind kind, uint32_t line,
                      uint32_t column);

/* The list or map just added is open: what comes is in it. */
int tree_open(struct tree *tree, struct node *node);

/* Closes the innermost one.  A map must have each key once. */
int tree_close(struct tree *tree);

/* Counts what a copy of a value costs: `nodes` more, `height` levels under
 * the innermost open one. */
int tree_count(struct tree *tree, unsigned nodes, unsigned height,
               uint32_t line, uint32_t column);

/* Whether the number is one as JSON writes it. */
bool document_is_json_number(const char *text, size_t size);

#endif
