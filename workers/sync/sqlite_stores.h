/* SPDX-License-Identifier: Apache-2.0
 *
 * What an sqlite centre knows of the stores that send to it: as
 * common/store/sql/centre/0005_stores.sql, with a row for each mark.  All of
 * it within the caller's transaction.
 */
#ifndef TIDEMILL_SYNC_SQLITE_STORES_H
#define TIDEMILL_SYNC_SQLITE_STORES_H

#include <sqlite3.h>

#include "common/base/arena.h"
#include "workers/sync/sink.h"

extern const char sqlite_stores_sql[];

/* Of a batch's admission. */
enum sqlite_admission {
    ADMISSION_OPEN,    /* enter it */
    ADMISSION_SETTLED, /* it was applied and settled long ago */
    ADMISSION_OVER,    /* the store's epoch is over */
    ADMISSION_FAILED,  /* with SQLite's error in the connection */
};

enum sqlite_admission sqlite_stores_admit(sqlite3 *db, const char *system_id,
                                          const struct sink_batch *batch);

/* Remembers the line of a batch just entered, and now and then takes old
 * batches out of the ledger.  0, or -1 with SQLite's error. */
int sqlite_stores_entered(sqlite3 *db, const char *system_id,
                          const struct sink_batch *batch);

enum sqlite_contact {
    CONTACT_MADE,
    CONTACT_BEHIND, /* nothing may be applied; error says why */
    CONTACT_FAILED, /* with SQLite's error in the connection */
};

/* First contact of `own`: has the watch compare, and begins an epoch when it
 * says so: then history's epoch is not 0, for watch->begun once this is
 * committed.  Its memory is the arena's. */
enum sqlite_contact
sqlite_stores_compare(sqlite3 *db, const char *system_id,
                      const struct sink_watch *watch,
                      const struct sink_store *own, struct arena *arena,
                      struct sink_history *history, struct error *error);

#endif
