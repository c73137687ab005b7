/* SPDX-License-Identifier: Apache-2.0
 *
 * The ledger of an sqlite centre: which batches were applied, and what there
 * is to tell of them, so that who asks again is told the same.
 */
#ifndef TIDEMILL_SYNC_SQLITE_LEDGER_H
#define TIDEMILL_SYNC_SQLITE_LEDGER_H

#include <sqlite3.h>
#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "workers/sync/sink.h"
#include "workers/sync/sqlite_typed.h"

#define SQLITE_LEDGER_SQL                                                      \
    "CREATE TABLE IF NOT EXISTS ledger ("                                      \
    " system_id TEXT NOT NULL, epoch INTEGER NOT NULL,"                        \
    " batch_id INTEGER NOT NULL,"                                              \
    " applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),"      \
    " operations INTEGER NOT NULL, refusals TEXT, line TEXT,"                             \
    " PRIMARY KEY (system_id, epoch, batch_id)) WITHOUT ROWID;"

struct sqlite_ledger {
    sqlite3 *db;
    sqlite3_stmt *enter, *remember, *recall;
    const char *system_id;
    const struct sink_batch *batch;
    struct buffer told; /* JSON array without its end; empty: nothing */
};

void sqlite_ledger_init(struct sqlite_ledger *ledger, const char *system_id);
void sqlite_ledger_deinit(struct sqlite_ledger *ledger);

/* Prepares; 0 or -1 with SQLite's error in the connection. */
int sqlite_ledger_open(struct sqlite_ledger *ledger, sqlite3 *db);
void sqlite_ledger_close(struct sqlite_ledger *ledger);

/* Enters the batch; *known: it was there already. */
int sqlite_ledger_enter(struct sqlite_ledger *ledger,
                        const struct sink_batch *batch, bool *known,
                        struct error *error);

/* What is told of an operation; code "" for one that is held. */
void sqlite_ledger_refused(struct sqlite_ledger *ledger, int64_t key,
                           const char *code, const char *words);
void sqlite_ledger_conflict(struct sqlite_ledger *ledger,
                            const struct sink_conflict *conflict);

/* Keeps what was told since the batch was entered. */
int sqlite_ledger_remember(struct sqlite_ledger *ledger, struct error *error);

/* Reads what is kept of the batch, into the arena; 0, or -1 with SQLite's
 * error in the connection. */
int sqlite_ledger_recall(struct sqlite_ledger *ledger, struct arena *arena,
                         struct sink_result *result);

#endif
