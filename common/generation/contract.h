/* SPDX-License-Identifier: Apache-2.0
 *
 * A contract: the YAML or JSON document that says what a node is.  It is
 * checked as a whole before anything is rendered; all errors are reported
 * at once, each with its place and a remedy:
 *
 *     FILE:LINE:COLUMN: path: what; what to do
 *
 * The keys that a contract may have are one list, CONTRACT_KEY_LIST; what
 * each means is told in tidemill-templates(7).
 */
#ifndef TIDEMILL_GENERATION_CONTRACT_H
#define TIDEMILL_GENERATION_CONTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/document/document.h"

/* name, folder of its template set, what it is */
#define NODE_TYPE_LIST(X)                                                      \
    X(EFFECT, "effect", "I/O with deadline and retries")                       \
    X(COMPUTE, "compute", "pure functions with a cache")                       \
    X(REDUCER, "reducer", "folds a stream of events into a state")             \
    X(ORCHESTRATOR, "orchestrator", "runs steps in the order they depend")

enum node_type {
#define X(name, folder, words) NODE_TYPE_##name,
    NODE_TYPE_LIST(X)
#undef X
        NODE_TYPE_COUNT
};

/* name in a contract and in Python, annotation in Python */
#define FIELD_TYPE_LIST(X)                                                     \
    X(STR, "str", "str")                                                       \
    X(INT, "int", "int")                                                       \
    X(FLOAT, "float", "float")                                                 \
    X(BOOL, "bool", "bool")                                                    \
    X(LIST, "list", "list[Any]")                                               \
    X(DICT, "dict", "dict[str, Any]")

enum field_type {
#define X(name, text, annotation) FIELD_##name,
    FIELD_TYPE_LIST(X)
#undef X
        FIELD_TYPE_COUNT
};

/* How a REDUCER folds an event into a field of its state. */
#define FOLD_LIST(X)                                                           \
    X(NONE, "none")                                                            \
    X(COUNT, "count")       /* + 1 for each event */                           \
    X(SUM, "sum")           /* + of */                                         \
    X(MIN, "min")           /* the smallest `of` seen */                       \
    X(MAX, "max")           /* the largest */                                  \
    X(FIRST, "first")       /* the first */                                    \
    X(LAST, "last")         /* the last */                                     \
    X(APPEND, "append")     /* a list of all */                                \
    X(DISTINCT, "distinct") /* a list of the different ones */                 \
    X(TALLY, "tally")       /* a dict: how often each str was seen */

enum fold {
#define X(name, text) FOLD_##name,
    FOLD_LIST(X)
#undef X
        FOLD_COUNT_OF_ALL
};

/* The maps of a contract, and their keys:
 * X(map, key, shape, required, map within, words) */
#define CONTRACT_KEY_LIST(X)                                                   \
    X(CONTRACT, "node_type", NODE_TYPE, 1, NONE, "one of the node types")      \
    X(CONTRACT, "domain", NAME, 1, NONE, "the subject it belongs to")          \
    X(CONTRACT, "service", NAME, 1, NONE, "its name within the domain")        \
    X(CONTRACT, "description", TEXT, 1, NONE, "what it is for")                \
    X(CONTRACT, "version", MAP, 1, VERSION, "major, minor, patch")             \
    X(CONTRACT, "features", TEXTS, 0, NONE, "what it offers, in words")        \
    X(CONTRACT, "operations", MAPS, 1, OPERATION, "what it can do")            \
    X(CONTRACT, "models", MAP, 1, MODELS, "its data")                          \
    X(CONTRACT, "dependencies", MAPS, 0, DEPENDENCY, "what it needs")          \
    X(CONTRACT, "events", MAP, 0, EVENTS, "what it says and hears")            \
    X(CONTRACT, "mixins", MIXINS, 0, NONE, "capabilities added to it")         \
    X(CONTRACT, "author", TEXT, 0, NONE, "who answers for it")                 \
    X(VERSION, "major", NUMBER, 1, NONE, "incompatible changes")               \
    X(VERSION, "minor", NUMBER, 1, NONE, "additions")                          \
    X(VERSION, "patch", NUMBER, 1, NONE, "corrections")                        \
    X(MODELS, "input", MAPS, 1, FIELD, "fields of a request")                  \
    X(MODELS, "output", MAPS, 1, FIELD, "fields of a result or state")         \
    X(MODELS, "config", MAPS, 0, FIELD, "settings, each with a default")       \
    X(FIELD, "name", NAME, 1, NONE, "its name")                                \
    X(FIELD, "type", FIELD_TYPE, 1, NONE, "its type")                          \
    X(FIELD, "description", TEXT, 0, NONE, "what it means")                    \
    X(FIELD, "default", ANY, 0, NONE, "its value when none is given")          \
    X(FIELD, "example", ANY, 0, NONE, "a value for generated tests")           \
    X(FIELD, "formula", TEXT, 0, NONE, "COMPUTE output: how it is computed")   \
    X(FIELD, "fold", FOLD, 0, NONE, "REDUCER output: how events change it")    \
    X(FIELD, "of", NAME, 0, NONE, "REDUCER output: the input field folded")    \
    X(OPERATION, "name", NAME, 1, NONE, "its name")                            \
    X(OPERATION, "description", TEXT, 0, NONE, "what it does")                 \
    X(OPERATION, "input", NAMES, 0, NONE, "input fields used; all if absent")  \
    X(OPERATION, "output", NAMES, 0, NONE, "output fields given; all")         \
    X(OPERATION, "depends_on", NAMES, 0, NONE, "ORCHESTRATOR: earlier steps")  \
    X(DEPENDENCY, "name", TEXT, 1, NONE, "what is needed")                     \
    X(DEPENDENCY, "version", TEXT, 0, NONE, "which versions of it")            \
    X(DEPENDENCY, "description", TEXT, 0, NONE, "what for")                    \
    X(EVENTS, "publish", TEXTS, 0, NONE, "topics it publishes")                \
    X(EVENTS, "subscribe", TEXTS, 0, NONE, "topics it listens to")

#define CONTRACT_FIELDS_MAX     200
#define CONTRACT_OPERATIONS_MAX 100
#define CONTRACT_TEXTS_MAX      200
#define CONTRACT_BYTES_MAX      (1u << 20)
#define CONTRACT_ERRORS_MAX     (64u << 10) /* bytes of error text */

struct contract_field {
    const char *name;
    enum field_type type;
    const char *description;
    const struct node *source;        /* its map in the contract */
    const struct node *default_value; /* NULL: none */
    const struct node *example;       /* NULL: none */
    const char *formula;              /* as Python; NULL: none */
    bool formula_uses_math;
    enum fold fold;
    const struct contract_field *of;  /* an input field, for a fold */
};

struct contract_fields {
    struct contract_field *items;
    size_t count;
};

struct contract_operation {
    const char *name;
    const char *description;
    const struct node *source;
    const struct contract_field **input;
    size_t input_count;
    const struct contract_field **output;
    size_t output_count;
    size_t *depends_on; /* indices of operations */
    size_t depends_on_count;
};

struct contract {
    const char *name;    /* for messages: the file's name */
    char sha256[65];     /* of its text */
    enum node_type node_type;
    const char *domain;
    const char *service;
    const char *node_name;   /* node_{domain}_{service}_{type} */
    const char *version_dir; /* v1_0_0 */
    const char *description;
    int64_t version[3];
    const struct node *root;
    struct contract_fields input;
    struct contract_fields output;
    struct contract_fields config;
    uint32_t mixins; /* bits 1 << enum mixin (mixins.h) */
    struct contract_operation *operations; /* in the order of the contract */
    size_t operation_count;
};

/* Reads and checks a contract: JSON when the name ends in .json, else YAML.
 * Everything lives in the arena (a few times the text's size plus 100 kB
 * are needed).  Returns NULL after appending every error, a line each, to
 * `errors`. */
struct contract *contract_read(struct arena *arena, const char *name,
                               const char *text, size_t size,
                               struct buffer *errors);

const char *node_type_name(enum node_type type);
const char *node_type_folder(enum node_type type);
const char *field_type_name(enum field_type type);
const char *field_type_annotation(enum field_type type);
const char *fold_name(enum fold fold);

/* The contract as data for templates: itself and the names and literals
 * derived from it.  NULL when the arena is full. */
struct node *contract_data(struct arena *arena,
                           const struct contract *contract);

/* Adds the names that templates with placeholders use (NODE_TYPE, DOMAIN and
 * so on, see tidemill-templates(7)) to that.  0, or -1: no memory. */
int contract_add_placeholders(struct arena *arena,
                              const struct contract *contract,
                              struct node *data);

#endif
