/* SPDX-License-Identifier: Apache-2.0
 *
 * A document: the tree that a YAML or JSON text says, with the place of
 * each value.  Configuration, contracts, template data and alert rules are
 * all read through this one form.
 *
 * Scalars keep the text as it was written (1.10 stays "1.10", big integers
 * lose nothing).  Mappings keep their order; a key twice is an error.
 */
#ifndef TIDEMILL_DOCUMENT_DOCUMENT_H
#define TIDEMILL_DOCUMENT_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/error.h"

enum node_kind {
    NODE_NULL,
    NODE_BOOL,
    NODE_NUMBER, /* text is the number as written */
    NODE_STRING,
    NODE_LIST,
    NODE_MAP,
};

struct node {
    enum node_kind kind;
    bool boolean;       /* of a NODE_BOOL */
    bool quoted;        /* a scalar written with quotes or as a block */
    uint32_t line;      /* from 1 */
    uint32_t column;    /* from 1, in characters */
    const char *text;   /* of a scalar, NUL-terminated; never NULL for one */
    size_t text_size;   /* without the NUL */
    const char *key;    /* when the parent is a map, else NULL */
    size_t key_size;
    uint32_t key_line, key_column;
    struct node *next;  /* the next of the same parent */
    struct node *first; /* of a list or map */
    uint32_t count;     /* of its children */
};

/* What a text may cost at most. */
struct document_limits {
    size_t bytes;        /* of the text */
    unsigned depth;      /* of nesting */
    unsigned nodes;      /* in total, aliases counted once per use */
};

extern const struct document_limits document_limits_default; /* 16 MiB,
                                                 64 deep, 1,000,000 nodes */

/* Reads a YAML 1.1 text with the core schema (null ~, true false, numbers;
 * everything else is a string: yes, no, on, off are strings).  Anchors and
 * aliases are allowed, an alias within its own anchor is an error; more
 * than one document, a tag of another kind, and an unclosed thing are
 * errors.  name is for messages: "NAME:LINE:COLUMN: what".
 * The tree lives in the arena.  An empty text is a NODE_NULL. */
int document_read_yaml(struct arena *arena, const char *name, const char *text,
                       size_t size, const struct document_limits *limits,
                       struct node **root, struct error *error);

/* Reads a JSON text (RFC 8259, strict: surrogate pairs joined, a lone
 * surrogate or a NUL inside a string is an error). */
int document_read_json(struct arena *arena, const char *name, const char *text,
                       size_t size, const struct document_limits *limits,
                       struct node **root, struct error *error);

/* Reads a file: JSON when its name ends in .json, else YAML. */
int document_read_file(struct arena *arena, const char *path,
                       const struct document_limits *limits,
                       struct node **root, struct error *error);

/* The value under a key of a map; NULL when map is NULL, no map, or has no
 * such key. */
const struct node *document_get(const struct node *map, const char *key);

/* "map", "list", "string" ... for messages. */
const char *node_kind_name(enum node_kind kind);

/* Writes the tree as compact JSON: numbers as they were written where JSON
 * allows that form, else as strings. */
void document_write_json(const struct node *node, struct buffer *out);

#endif
