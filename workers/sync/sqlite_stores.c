/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/sqlite_stores.h"

#include <stdbool.h>
#include <stdio.h>

#include "common/base/buffer.h"

#define FOLD_EVERY     16 /* batches */
#define FOLD_MOST      64
#define LINE_MAX_BYTES ((size_t)64 << 20)

const char sqlite_stores_sql[] =
    "CREATE TABLE IF NOT EXISTS stores ("
    " system_id TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " store_id INTEGER NOT NULL, host INTEGER NOT NULL,"
    " settled_batch INTEGER NOT NULL DEFAULT 0,"
    " seen_at REAL NOT NULL DEFAULT (julianday('now')),"
    " PRIMARY KEY (system_id, epoch)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS store_marks ("
    " system_id TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " stripe INTEGER NOT NULL, key INTEGER NOT NULL,"
    " PRIMARY KEY (system_id, epoch, stripe)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS out_of_line ("
    " system_id TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " key INTEGER NOT NULL, applied INTEGER NOT NULL,"
    " PRIMARY KEY (system_id, epoch, key)) WITHOUT ROWID;";

#define OURS " system_id = ?1 AND epoch = ?2"
#define LINE                                                                   \
    " FROM ledger l, json_each(l.line) e WHERE l.system_id = ?1"               \
    " AND l.epoch = ?2 AND l.batch_id = ?3 AND e.key "
#define RANGES_END  "5 + json_extract(l.line, '$[3]')"
#define SINGLES_END RANGES_END " + json_extract(l.line, '$[4]')"
#define IS_RANGE    "BETWEEN 5 AND " RANGES_END " - 1"
#define IS_SINGLE   "BETWEEN " RANGES_END " AND " SINGLES_END " - 1"
#define IS_LEFT_OUT ">= " SINGLES_END
#define REFUSED_KEY "json_extract(r.value, '$.key')"
#define OF_REFUSED                                                             \
    " FROM ledger k, json_each(k.refusals) r WHERE k.system_id = ?1"           \
    " AND k.epoch = ?2 AND k.batch_id = ?3"                                    \
    " AND (json_type(r.value, '$.held') IS NOT NULL"                           \
    " OR json_extract(r.value, '$.outcome') = 2)" /* CONFLICT_PARKED */
#define REFUSED "SELECT " REFUSED_KEY OF_REFUSED

/* One batch, in this order: ?1 system, ?2 epoch, ?3 batch.  What was refused
 * above its mark is left out when that comes by: noted now it does no harm. */
static const char *const fold_sql[] = {
    "INSERT INTO store_marks SELECT ?1, ?2, e.value >> 55, max(e.value)" LINE
        IS_RANGE " GROUP BY 3 ON CONFLICT DO UPDATE SET"
    " key = max(key, excluded.key)",
    "INSERT OR IGNORE INTO out_of_line SELECT ?1, ?2, e.value, 0" LINE
        IS_LEFT_OUT,
    "DELETE FROM out_of_line WHERE" OURS
    " AND key IN (SELECT e.value" LINE IS_SINGLE ") AND key NOT IN (" REFUSED
    ")",
    "INSERT OR REPLACE INTO out_of_line SELECT ?1, ?2, e.value, 1" LINE
        IS_SINGLE " AND e.value > coalesce((SELECT m.key FROM store_marks m"
    " WHERE m.system_id = ?1 AND m.epoch = ?2 AND m.stripe = e.value >> 55), 0)"
    " AND e.value NOT IN (" REFUSED ")",
    "INSERT OR REPLACE INTO out_of_line SELECT ?1, ?2, " REFUSED_KEY
    ", 0" OF_REFUSED,
};

/* Runs a statement with up to four integers behind the system_id.  1: it
 * gave a row, whose integers are in `row`; 0; -1. */
static int run(sqlite3 *db, const char *sql, const char *system_id,
               const int64_t *numbers, size_t count, int64_t row[5])
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return -1;
    sqlite3_bind_text(statement, 1, system_id, -1, SQLITE_STATIC);
    for (size_t i = 0; i < count; i++)
        sqlite3_bind_int64(statement, (int)i + 2, numbers[i]);
    int step = sqlite3_step(statement);
    for (int i = 0; step == SQLITE_ROW && i < sqlite3_column_count(statement);
         i++)
        row[i] = sqlite3_column_int64(statement, i);
    sqlite3_finalize(statement);
    return step == SQLITE_ROW ? 1 : step == SQLITE_DONE ? 0 : -1;
}

/* The oldest batch in the ledger up to `up_to`, folded; 1, 0: none, -1. */
static int fold_one(sqlite3 *db, const char *system_id, int64_t epoch,
                    int64_t up_to)
{
    int64_t numbers[] = {epoch, up_to};
    int64_t row[5];
    int found = run(db,
                    "SELECT min(batch_id), count(*) FROM ledger WHERE" OURS
                    " AND batch_id <= ?3",
                    system_id, numbers, 2, row);
    if (found <= 0 || row[1] == 0)
        return found < 0 ? -1 : 0;
    numbers[1] = row[0];
    for (size_t i = 0; i < sizeof(fold_sql) / sizeof(fold_sql[0]); i++)
        if (run(db, fold_sql[i], system_id, numbers, 2, row) < 0)
            return -1;
    if (run(db, "DELETE FROM ledger WHERE" OURS " AND batch_id = ?3", system_id,
            numbers, 2, row) < 0 ||
        run(db,
            "UPDATE stores SET settled_batch = max(settled_batch, ?3) "
            "WHERE" OURS,
            system_id, numbers, 2, row) < 0)
        return -1;
    return 1;
}

static int fold(sqlite3 *db, const char *system_id, int64_t epoch,
                int64_t up_to, int64_t most)
{
    int64_t numbers[] = {epoch, up_to};
    int64_t row[5];
    int more = 1;
    for (int64_t i = 0; i < most && more > 0; i++)
        more = fold_one(db, system_id, epoch, up_to);
    if (more < 0 ||
        run(db,
            "DELETE FROM out_of_line WHERE" OURS " AND applied AND key <="
            " (SELECT m.key FROM store_marks m WHERE m.system_id = ?1"
            " AND m.epoch = ?2 AND m.stripe = out_of_line.key >> 55)",
            system_id, numbers, 1, row) < 0)
        return -1;
    return more > 0
               ? 0
               : run(db,
                     "UPDATE stores SET settled_batch = max(settled_batch, ?3),"
                     " seen_at = julianday('now') WHERE" OURS,
                     system_id, numbers, 2, row);
}

enum sqlite_admission sqlite_stores_admit(sqlite3 *db, const char *system_id,
                                          const struct sink_batch *batch)
{
    const int64_t numbers[] = {
        batch->epoch, batch->line_count >= SINK_LINE_HEAD ? batch->line[1] : 0,
        batch->line_count >= SINK_LINE_HEAD ? batch->line[2] : 0};
    int64_t row[5];
    int found = run(db, "SELECT settled_batch FROM stores WHERE" OURS,
                    system_id, numbers, 1, row);
    if (found > 0)
        return batch->batch_id <= row[0] ? ADMISSION_SETTLED : ADMISSION_OPEN;
    if (found == 0)
        found =
            run(db, "SELECT 1 FROM stores WHERE system_id = ?1 AND epoch > ?2",
                system_id, numbers, 1, row);
    if (found != 0)
        return found > 0 ? ADMISSION_OVER : ADMISSION_FAILED;
    return run(db,
               "INSERT INTO stores (system_id, epoch, store_id, host)"
               " VALUES (?1, ?2, ?3, ?4)",
               system_id, numbers, 3, row) == 0
               ? ADMISSION_OPEN
               : ADMISSION_FAILED;
}

static int remember_line(sqlite3 *db, const char *system_id,
                         const struct sink_batch *batch)
{
    struct buffer text;
    sqlite3_stmt *statement = NULL;
    buffer_init(&text, LINE_MAX_BYTES);
    for (size_t i = 0; i < batch->line_count; i++)
        buffer_printf(&text, "%c%lld", i == 0 ? '[' : ',',
                      (long long)batch->line[i]);
    buffer_append_char(&text, ']');
    int status =
        text.failed
            ? SQLITE_NOMEM
            : sqlite3_prepare_v2(db,
                                 "UPDATE ledger SET line = ?4 WHERE" OURS
                                 " AND batch_id = ?3",
                                 -1, &statement, NULL);
    if (status == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, system_id, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 2, batch->epoch);
        sqlite3_bind_int64(statement, 3, batch->batch_id);
        sqlite3_bind_text64(statement, 4, text.bytes, text.size, SQLITE_STATIC,
                            SQLITE_UTF8);
        status = sqlite3_step(statement);
    }
    sqlite3_finalize(statement);
    buffer_deinit(&text);
    return status == SQLITE_DONE ? 0 : -1;
}

int sqlite_stores_entered(sqlite3 *db, const char *system_id,
                          const struct sink_batch *batch)
{
    if (batch->line_count < SINK_LINE_HEAD)
        return 0;
    if (remember_line(db, system_id, batch) != 0)
        return -1;
    return batch->batch_id % FOLD_EVERY == 0
               ? fold(db, system_id, batch->epoch, batch->line[0], FOLD_MOST)
               : 0;
}

static int contact_read(sqlite3 *db, const char *system_id,
                        const struct sink_store *own,
                        struct sink_contact *contact)
{
    const int64_t numbers[] = {own->epoch, own->host};
    int64_t row[5];
    *contact = (struct sink_contact){.highest = -1};
    int found = run(db,
                    "SELECT epoch, store_id, host,"
                    " CAST((julianday('now') - seen_at) * 86400000 AS INTEGER)"
                    " FROM stores WHERE system_id = ?1"
                    " ORDER BY epoch DESC LIMIT 1",
                    system_id, numbers, 0, row);
    if (found <= 0)
        return found;
    contact->known = true;
    contact->newest = (struct sink_store){
        .epoch = row[0], .store_id = row[1], .host = row[2]};
    contact->idle_ms = row[3];
    found = run(db,
                "SELECT max(s.settled_batch, coalesce((SELECT max(l.batch_id)"
                " FROM ledger l WHERE l.system_id = ?1 AND l.epoch = ?2), 0))"
                " FROM stores s WHERE s.system_id = ?1 AND s.epoch = ?2",
                system_id, numbers, 1, row);
    if (found > 0)
        contact->highest = row[0];
    return found < 0
               ? -1
               : run(db,
                     "UPDATE stores SET seen_at = julianday('now') WHERE" OURS
                     " AND host = ?3",
                     system_id, numbers, 2, row);
}

/* Moves what is known of the epoch to the new one. */
static int epoch_move(sqlite3 *db, const char *system_id, int64_t from,
                      int64_t to)
{
    static const char *const moves[] = {
        "UPDATE store_marks SET epoch = ?3 WHERE" OURS,
        "UPDATE out_of_line SET epoch = ?3 WHERE" OURS,
    };
    const int64_t numbers[] = {from, to};
    int64_t row[5];
    for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++)
        if (run(db, moves[i], system_id, numbers, 2, row) < 0)
            return -1;
    return 0;
}

static const int64_t *keys_read(sqlite3 *db, const char *sql,
                                const char *system_id, int64_t epoch,
                                struct arena *arena, size_t *count)
{
    sqlite3_stmt *rows;
    size_t room = 64;
    int64_t *keys = arena_calloc(arena, room, sizeof(*keys));
    int step = SQLITE_NOMEM;
    *count = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &rows, NULL) != SQLITE_OK)
        return NULL;
    sqlite3_bind_text(rows, 1, system_id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(rows, 2, epoch);
    while (keys != NULL && (step = sqlite3_step(rows)) == SQLITE_ROW) {
        if (*count == room) {
            int64_t *more = arena_calloc(arena, room * 2, sizeof(*keys));
            for (size_t i = 0; more != NULL && i < room; i++)
                more[i] = keys[i];
            keys = more;
            room *= 2;
        }
        if (keys != NULL)
            keys[(*count)++] = sqlite3_column_int64(rows, 0);
    }
    sqlite3_finalize(rows);
    return step == SQLITE_DONE ? keys : NULL;
}

static int begin_epoch(sqlite3 *db, const char *system_id,
                       const struct sink_store *own, struct arena *arena,
                       struct sink_history *history)
{
    int64_t numbers[] = {own->store_id, own->epoch, own->host};
    int64_t row[5];
    if (run(db,
            "SELECT max(coalesce((SELECT max(epoch) FROM stores"
            " WHERE system_id = ?1), 0), ?3) + 1, coalesce((SELECT max(epoch)"
            " FROM stores WHERE system_id = ?1 AND store_id = ?2), 0)",
            system_id, numbers, 2, row) < 0)
        return -1;
    int64_t next = row[0];
    int64_t old = row[1];
    if (fold(db, system_id, old, INT64_MAX, INT64_MAX) < 0 ||
        epoch_move(db, system_id, old, next) != 0 ||
        run(db, "DELETE FROM stores WHERE system_id = ?1 AND store_id = ?2",
            system_id, numbers, 1, row) < 0)
        return -1;
    numbers[1] = next;
    if (run(db,
            "INSERT INTO stores (store_id, epoch, host, system_id)"
            " VALUES (?2, ?3, ?4, ?1)",
            system_id, numbers, 3, row) < 0)
        return -1;
    history->epoch = next;
    history->marks = keys_read(db, "SELECT key FROM store_marks WHERE" OURS,
                               system_id, next, arena, &history->mark_count);
    history->missing = keys_read(
        db, "SELECT key FROM out_of_line WHERE" OURS " AND NOT applied",
        system_id, next, arena, &history->missing_count);
    history->ahead =
        keys_read(db, "SELECT key FROM out_of_line WHERE" OURS " AND applied",
                  system_id, next, arena, &history->ahead_count);
    return history->marks && history->missing && history->ahead ? 0 : -1;
}

enum sqlite_contact sqlite_stores_compare(sqlite3 *db, const char *system_id,
                                          const struct sink_watch *watch,
                                          const struct sink_store *own,
                                          struct arena *arena,
                                          struct sink_history *history,
                                          struct error *error)
{
    struct sink_contact contact;
    if (contact_read(db, system_id, own, &contact) != 0)
        return CONTACT_FAILED;
    switch (watch->check(watch->self, &contact, error)) {
    case VERDICT_GO_ON:
        return CONTACT_MADE;
    case VERDICT_BEGIN:
        if (begin_epoch(db, system_id, own, arena, history) != 0) {
            history->epoch = 0;
            return CONTACT_FAILED;
        }
        return CONTACT_BEHIND;
    default:
        return CONTACT_BEHIND;
    }
}
