/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables that several hosts write, at an sqlite centre: one row a record in
 * shared_records (what newer means, and who wrote it last), with the data
 * there or in a typed target.  The same as tidemill.apply_shared.
 */
#ifndef TIDEMILL_SYNC_SQLITE_SHARED_H
#define TIDEMILL_SYNC_SQLITE_SHARED_H

#include <sqlite3.h>

#include "common/base/arena.h"
#include "workers/sync/sink.h"
#include "workers/sync/sqlite_typed.h"

struct sync_table;

#define SQLITE_SHARED_SQL                                                      \
    "CREATE TABLE IF NOT EXISTS shared_records ("                              \
    " table_name TEXT NOT NULL, record_id TEXT NOT NULL, data JSON,"           \
    " stamp INTEGER NOT NULL, system_id TEXT NOT NULL,"                        \
    " updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),"      \
    " deleted BOOLEAN NOT NULL DEFAULT 0,"                                     \
    " PRIMARY KEY (table_name, record_id)) WITHOUT ROWID;"

enum sqlite_shared_statement {
    SHARED_FIND,
    SHARED_SET, /* enum unit_kind - 1 later */
    SHARED_MERGE,
    SHARED_GONE,
    SHARED_STATEMENTS
};

struct sqlite_shared {
    sqlite3 *db;
    sqlite3_stmt *statements[SHARED_STATEMENTS];
    struct arena *arena; /* of what conflicts tell */
    int64_t now_ms;      /* the centre's clock */
};

/* Prepares; 0 or -1 with SQLite's error in the connection. */
int sqlite_shared_open(struct sqlite_shared *shared, sqlite3 *db);
void sqlite_shared_close(struct sqlite_shared *shared);

/* Applies a change unless a conflict says no.  conflict->outcome is
 * CONFLICT_OUTCOME_COUNT when there was none.  With conflict NULL (a change
 * made of several operations) a conflict applies nothing and is
 * STEP_REFUSED. */
enum sqlite_step sqlite_shared_apply(struct sqlite_shared *shared,
                                     const struct sync_table *table,
                                     const struct sqlite_change *change,
                                     struct stamp stamp,
                                     struct sink_conflict *conflict,
                                     char *code, struct error *error);

#endif
