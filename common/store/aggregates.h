/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables whose operations stay on this host as detail while summaries of
 * them go to the centre.  Detail is a log by ascending id.  Up to folded_id
 * it is folded into the running values of its groups; a group with news is
 * reported, as one operation, in the transaction that clears the mark.
 * Whatever dies, detail past folded_id is folded once, and a mark is cleared
 * only with its operation in the outbox.
 */
#ifndef TIDEMILL_STORE_AGGREGATES_H
#define TIDEMILL_STORE_AGGREGATES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/config/aggregate.h"

struct sqlite3;
struct sqlite3_stmt;
struct error;
struct outbox_append;
struct store_writer;

#define AGGREGATES_MAX     1000 /* that a store has ever had */
#define DETAIL_ID_BITS     48
#define DETAIL_ID_MAX      ((INT64_C(1) << DETAIL_ID_BITS) - 1)
#define FOLD_ROWS_MAX      500 /* of one step */
#define FOLD_BYTES_MAX     (1 << 20)
#define FOLD_REPORTS_MAX   200
#define FOLD_STEPS_MAX     20 /* of one request for all */

/* A declaration as SQL, made when its detail is first folded. */
struct aggregate_program {
    struct arena arena;
    struct aggregate aggregate;
    struct sqlite3_stmt *reach;   /* how far a step goes */
    struct sqlite3_stmt *at_once; /* NULL: nothing is */
    struct sqlite3_stmt *fold;
    struct sqlite3_stmt *report;
};

struct aggregate_rule {
    int64_t number;
    char *table;
    size_t table_size;
    char *definition;
    bool active;
    bool is_hooks;     /* detail is in hook_events, else in sync_details */
    bool is_wanted;    /* fold now: something that must go at once */
    int64_t first_id, folded_id;
    int64_t last_id;    /* given to detail; may be one that is not there */
    int64_t checked_id; /* looked at for what must go at once */
    int64_t since_ms;   /* when detail began to wait; 0: none does */
    uint32_t tokens_depth;
    struct aggregate_program *program;
};

struct aggregates {
    struct aggregate_rule *rules;
    size_t count;
    bool touched;   /* folded_id moved, or rules changed, in this group */
    int64_t due_ms; /* of the group to report first, 1 for at once; 0 none */
    int64_t interval_ms;
    int64_t news_max;
};

struct fold_step {
    int64_t reported;
    bool more; /* detail, or groups to report, are left */
};

int aggregates_load(struct store_writer *writer, struct error *error);
void aggregates_deinit(struct store_writer *writer);
/* After a rollback, of a request or of a group. */
void aggregates_restore(struct store_writer *writer);
/* The rule of hook events, active or not. */
struct aggregate_rule *aggregates_hooks(struct store_writer *writer);
/* Fills due_ms. */
int aggregates_find_due(struct store_writer *writer, struct error *error);

/* What table_count.detail says: 0, or 1 + the index of the rule that keeps
 * the table's operations here. */
uint32_t aggregates_index(struct store_writer *writer, const char *table,
                          size_t size);

/* Keeps an operation as detail; *id is its. */
int detail_append(struct store_writer *writer, struct aggregate_rule *rule,
                  const struct outbox_append *append, int64_t *id,
                  struct error *error);

/* details_fold.c: folds a step of the rule's detail, and reports groups that
 * are due, or all with news; adds to *done. */
int details_fold(struct store_writer *writer, struct aggregate_rule *rule,
                 bool all, struct fold_step *done, struct error *error);

/* aggregate_program.c: from the rule's definition. */
int aggregate_compile(struct store_writer *writer, struct aggregate_rule *rule,
                      struct error *error);
void aggregate_program_free(struct aggregate_program **program);

/* aggregate_functions.c: what those statements call. */
int aggregate_functions_add(struct sqlite3 *db);

#endif
