/* SPDX-License-Identifier: Apache-2.0
 *
 * Folding: the operations of one record in a batch become one unit with the
 * same result, so that a record with 500 changes costs one row change, and
 * a set-wise statement never meets one key twice.
 */
#ifndef TIDEMILL_SYNC_FOLD_H
#define TIDEMILL_SYNC_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/store/reader.h"
#include "workers/sync/stamp.h"

struct config;

enum unit_kind {
    UNIT_SET = 1, /* the record becomes data */
    UNIT_MERGE,   /* data, an object, is merged into it */
    UNIT_GONE,
};

struct batch_unit {
    enum unit_kind kind;
    bool apart;      /* never folded: its operations go one by one */
    bool shared;     /* its table has a rule for conflicts */
    unsigned typed;  /* 1 + index in config->tables; 0: synced_records */
    uint32_t first;  /* index of its first operation */
    uint32_t last;
    uint32_t count;
    const char *data; /* folded */
    size_t data_size;
    struct stamp stamp; /* of shared ones: the highest value, and what the
                           first operation had seen: when that meets no
                           conflict, those behind it meet their own row */
};

struct batch_units {
    struct batch_unit *units; /* in the order of their first operations */
    size_t count;
    uint32_t *next;   /* the next operation of the same unit */
    bool any_apart;   /* some unit is apart */
    size_t shared;    /* units that are */
    size_t multiple;  /* units of more than one operation */
};

/* All memory is the arena's; texts of units with one operation are the
 * operations' own. */
int batch_fold(const struct config *config,
               const struct outbox_operation *operations, size_t count,
               struct arena *arena, struct batch_units *units,
               struct error *error);

/* The stamp of one operation of a shared unit. */
struct stamp unit_stamp(const struct config *config,
                        const struct batch_unit *unit,
                        const struct outbox_operation *operation);

/* What an operation does on its own: an UPDATE whose data is no object sets
 * the record. */
enum unit_kind operation_unit_kind(const struct outbox_operation *operation);

/* Why a sink cannot hold this operation, as PostgreSQL would say it, with
 * its SQLSTATE (5 letters) in `code`; NULL when nothing is wrong that can be
 * seen without a database: data missing, text that is no UTF-8 or has NUL
 * bytes, data that is no JSON, or that jsonb cannot hold (\u0000, a lone
 * surrogate, a number beyond numeric's range). */
const char *operation_refusal(const struct outbox_operation *operation,
                              const char **code);

/* The part of it that would break a statement as a whole: text that is no
 * UTF-8, or missing. */
const char *operation_unsendable(const struct outbox_operation *operation,
                                 const char **code);

#endif
