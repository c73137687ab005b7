/* SPDX-License-Identifier: Apache-2.0
 *
 * The language of `sync.tables.<t>.aggregate`: which operations are folded
 * into which summaries.
 *
 *   into:     the summaries' table
 *   group_by: PATH or a list of up to 4: one summary for each of their values
 *   fields:   NAME: EXPRESSION, up to 32
 *   at_once:  CONDITION (optional): an operation that fulfils it ends what
 *             belongs together, and its summary goes to the centre at once
 *
 *   EXPRESSION  count | count_if CONDITION
 *               | sum PATH | min PATH | max PATH | span PATH
 *               | distinct PATH [limit N]      each with [if CONDITION]
 *   CONDITION   TERM {and TERM} {or TERM {and TERM}}
 *   TERM        PATH = VALUE{|VALUE} | PATH != VALUE{|VALUE}
 *               | PATH < VALUE (also <= > >=) | PATH exists | PATH missing
 *   PATH        a member of the record, "a" or "a.b"; "a|b" is the first of
 *               them that is there
 *   VALUE       a number, true, false, a word, or 'text'
 */
#ifndef TIDEMILL_CONFIG_AGGREGATE_H
#define TIDEMILL_CONFIG_AGGREGATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/document/document.h"

#define AGGREGATE_GROUPS_MAX       4
#define AGGREGATE_FIELDS_MAX       32
#define AGGREGATE_ALTERNATIVES_MAX 8
#define AGGREGATE_VALUES_MAX       32
#define AGGREGATE_TERMS_MAX        16
#define AGGREGATE_DISTINCT         100 /* values kept, unless a limit says */
#define AGGREGATE_DISTINCT_MAX     1000

/* hook_events into task_summaries, as JSON. */
#define AGGREGATE_BUILT_IN_TABLE "hook_events"
#define AGGREGATE_BUILT_IN_INTO  "task_summaries"
extern const char aggregate_built_in[];

/* What `aggregate` of an entry of `sync.tables` says: the
 * operations of the table stay here, their summaries go to the centre.
 * Changing one respawns the store. */
struct sync_aggregate {
    const char *table;      /* the operations' table_name */
    const char *definition; /* as JSON, checked */
    const char *into;       /* the summaries' table_name */
};

struct aggregate_path {
    const char *alternatives[AGGREGATE_ALTERNATIVES_MAX]; /* "a.b" */
    unsigned count;
};

enum aggregate_comparison {
    AGGREGATE_EQUAL,
    AGGREGATE_UNEQUAL,
    AGGREGATE_LESS,
    AGGREGATE_AT_MOST,
    AGGREGATE_GREATER,
    AGGREGATE_AT_LEAST,
    AGGREGATE_EXISTS,
    AGGREGATE_MISSING,
};

struct aggregate_value {
    const char *text;
    bool is_number; /* of JSON's form; true and false are 1 and 0 */
};

struct aggregate_term {
    struct aggregate_path path;
    enum aggregate_comparison comparison;
    struct aggregate_value *values;
    unsigned value_count;
    bool or_before; /* or, else and, binds it to the term before */
};

struct aggregate_condition {
    struct aggregate_term *terms;
    unsigned term_count; /* 0: always true */
};

enum aggregate_kind {
    AGGREGATE_COUNT,
    AGGREGATE_SUM,
    AGGREGATE_MIN,
    AGGREGATE_MAX,
    AGGREGATE_SPAN, /* seconds between the earliest and the latest time */
    AGGREGATE_DISTINCT_VALUES,
};

struct aggregate_field {
    const char *name;
    enum aggregate_kind kind;
    struct aggregate_path path; /* not of a count */
    struct aggregate_condition condition;
    unsigned limit; /* of distinct values */
};

struct aggregate_group {
    const char *name; /* in the summary: the last word of its first path */
    struct aggregate_path path;
};

struct aggregate {
    const char *into;
    struct aggregate_group groups[AGGREGATE_GROUPS_MAX];
    unsigned group_count;
    struct aggregate_field fields[AGGREGATE_FIELDS_MAX];
    unsigned field_count;
    struct aggregate_condition at_once; /* without terms: never */
};

/* Where to tell what is wrong; column counts from 1. */
typedef void (*aggregate_complain)(void *self, uint32_t line, uint32_t column,
                                   const char *words);

/* Reads a declaration whole and tells all that is wrong with it; -1 when
 * there was something.  Texts are the arena's. */
int aggregate_read(const struct node *node, struct arena *arena,
                   struct aggregate *aggregate, aggregate_complain complain,
                   void *self);

#endif
