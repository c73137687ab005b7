/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of contract checking share.  For common/generation only.
 */
#ifndef TIDEMILL_GENERATION_CONTRACT_CHECK_H
#define TIDEMILL_GENERATION_CONTRACT_CHECK_H

#include "common/generation/contract.h"

struct contract_check {
    struct arena *arena;
    const char *name;      /* of the file */
    struct buffer *errors; /* the caller's */
    unsigned error_count;
};

/* Appends "NAME:LINE:COLUMN: path: message\n". */
void contract_complain(struct contract_check *check, const struct node *where,
                       const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Checks keys, shapes and names of the whole tree against
 * CONTRACT_KEY_LIST. */
void contract_check_shapes(struct contract_check *check,
                           const struct node *root);

/* Checks a name: an identifier, no keyword; says what to write instead. */
void contract_check_name(struct contract_check *check, const struct node *value,
                         const char *path);

/* Checks that a value can be one of a field's type. */
void contract_check_value(struct contract_check *check,
                          const struct node *value, enum field_type type,
                          const char *path, const char *what);

/* Checks formulas, folds, defaults, and the order of steps of a contract
 * whose shapes are right. */
void contract_check_meaning(struct contract_check *check,
                            struct contract *contract);

/* By name; -1 when there is none. */
int contract_field_find(const struct contract_fields *fields, const char *name);
int contract_operation_find(const struct contract *contract, const char *name);

/* The first name of the list that occurs twice: the second place; NULL. */
const struct node *contract_duplicate(const struct node *list);

/* Settings that every node of a type has; name, types (bits 1 << type),
 * type, default, least value, words */
#define BUILTIN_LIST(X)                                                        \
    X("timeout_seconds", EFFECT_AND_ORCHESTRATOR, FLOAT, "30.0", POSITIVE,     \
      "Longest time of one attempt, in seconds.")                              \
    X("max_retries", EFFECT_ONLY, INT, "3", NOT_NEGATIVE,                      \
      "Attempts after the first when a failure may pass.")                     \
    X("backoff_seconds", EFFECT_ONLY, FLOAT, "0.1", NOT_NEGATIVE,              \
      "Delay before the first retry; it doubles each time.")                   \
    X("max_backoff_seconds", EFFECT_ONLY, FLOAT, "5.0", NOT_NEGATIVE,          \
      "Longest delay between two attempts.")                                   \
    X("cache_size", COMPUTE_ONLY, INT, "256", NOT_NEGATIVE,                    \
      "Results kept; 0 computes every time.")                                  \
    X("max_items", REDUCER_ONLY, INT, "1000", POSITIVE,                        \
      "Most items kept in a list of the state; the oldest go first.")          \
    X("max_concurrency", ORCHESTRATOR_ONLY, INT, "4", POSITIVE,                \
      "Most steps that run at the same time.")

enum builtin_bound { BUILTIN_NONE, BUILTIN_NOT_NEGATIVE, BUILTIN_POSITIVE };

struct contract_builtin {
    const char *name;
    unsigned node_types; /* bits */
    enum field_type type;
    const char *value; /* NULL: made from the contract */
    enum builtin_bound bound;
    const char *words;
};

extern const struct contract_builtin contract_builtins[];
extern const size_t contract_builtin_count;

/* The settings that a contract's node has without being asked, by its type
 * and its mixins: the next one from *at (0 first) on; NULL at the end. */
const struct contract_builtin *
contract_builtin_next(const struct contract *contract, size_t *at);

#endif
