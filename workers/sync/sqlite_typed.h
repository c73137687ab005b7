/* SPDX-License-Identifier: Apache-2.0
 *
 * Typed targets in the sqlite sink: a table with columns system_id, the key
 * column and whatever else, unique by the first two.
 */
#ifndef TIDEMILL_SYNC_SQLITE_TYPED_H
#define TIDEMILL_SYNC_SQLITE_TYPED_H

#include <sqlite3.h>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "workers/sync/fold.h"

struct sync_table;

/* What came of one change. */
enum sqlite_step {
    STEP_DONE,
    STEP_REFUSED, /* for good; the words are in error->text */
    STEP_FAILED,  /* again later */
};

struct sqlite_change {
    const char *system_id;
    const struct outbox_operation *operation; /* names the record */
    enum unit_kind kind;
    const char *data; /* valid JSON; NULL for UNIT_GONE */
    size_t data_size;
    bool shared; /* the row is found by its key alone; system_id names the
                    last writer */
};

/* Applies a change, whole or not at all. code (6 bytes) gets the SQLSTATE of
 * a refusal. */
enum sqlite_step sqlite_typed_apply(sqlite3 *db,
                                    const struct sync_table *table,
                                    const struct sqlite_change *change,
                                    char *code, struct error *error);

/* Appends the record as one JSON object, if it is there. */
int sqlite_typed_row(sqlite3 *db, const struct sync_table *table,
                     const struct outbox_operation *operation,
                     struct buffer *out, struct error *error);

/* Sorts what SQLite says after a failed step. */
enum sqlite_step sqlite_failure(sqlite3 *db, char *code, struct error *error);

#endif
