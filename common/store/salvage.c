/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/store/lock.h"
#include "common/store/schema.h"
#include "common/store/wal_check.h"

#define PATH_BYTES 4200
#define KEPT_MAX   1000

/* --- files --- */

static void path_of(char path[PATH_BYTES], const char *dir, const char *suffix)
{
    snprintf(path, PATH_BYTES, "%s/%s%s", dir, STORE_FILE_NAME, suffix);
}

static int copy_file(const char *from, const char *to, struct error *error)
{
    char bytes[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0 && errno == ENOENT)
        return 0;
    int out =
        open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    ssize_t n = in < 0 || out < 0 ? -1 : 0;
    int result = n < 0 ? -1 : 0;
    while (result == 0 && (n = read(in, bytes, sizeof(bytes))) > 0)
        if (write(out, bytes, (size_t)n) != n)
            result = -1;
    if (n < 0)
        result = -1;
    if (result != 0)
        error_set_errno(error, ERROR_IO, "cannot copy %s to %s", from, to);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return result;
}

/* The first bytes are the same in every store: a damaged header is made
 * good, the rest of the file decides. */
static void mend_header(const char *path)
{
    static const unsigned char fixed[24] = {
        'S', 'Q', 'L', 'i', 't', 'e', ' ', 'f', 'o', 'r', 'm', 'a',
        't', ' ', '3', 0,   16,  0,   2,   2,   0,   64,  32,  32};
    static const unsigned char utf8[4] = {0, 0, 0, 1};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    /* What fails here fails again when SQLite opens it. */
    (void)!pwrite(fd, fixed, sizeof(fixed), 0);
    (void)!pwrite(fd, utf8, sizeof(utf8), 56);
    close(fd);
}

static void remove_store(const char *dir, const char *suffix)
{
    static const char *const parts[] = {"", "-wal", "-shm", "-journal"};
    char path[PATH_BYTES];
    char whole[64];
    for (size_t i = 0; i < 4; i++) {
        snprintf(whole, sizeof(whole), "%s%s", suffix, parts[i]);
        path_of(path, dir, whole);
        unlink(path);
    }
}

static int open_file(const char *path, int flags, sqlite3 **db,
                     struct error *error)
{
    int code = sqlite3_open_v2(path, db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK)
        return 0;
    error_set(error, ERROR_IO, "cannot open %s: %s", path, sqlite3_errmsg(*db));
    sqlite3_close(*db);
    *db = NULL;
    return -1;
}

/* --- rows --- */

struct reading {
    sqlite3 *from, *to;
    const char *table;
    char columns[2048];
    sqlite3_stmt *read, *write;
    struct salvage *salvage;
};

static int step_from(struct reading *reading, int64_t after)
{
    sqlite3_reset(reading->read);
    sqlite3_bind_int64(reading->read, 1, after);
    return sqlite3_step(reading->read);
}

static int probe(struct reading *reading, int64_t after)
{
    int code = step_from(reading, after);
    sqlite3_reset(reading->read);
    return code;
}

static bool is_readable(int code)
{
    return code == SQLITE_ROW || code == SQLITE_DONE;
}

/* From where reading goes on after `after`: the least place behind it from
 * which a row can be read, nearly. */
static int64_t next_readable(struct reading *reading, int64_t after)
{
    int64_t leap = 1;
    int64_t bad = after;
    while (INT64_MAX - leap > after &&
           !is_readable(probe(reading, after + leap))) {
        bad = after + leap;
        if (leap > INT64_MAX / 2)
            return INT64_MAX;
        leap *= 2;
    }
    int64_t good = INT64_MAX - leap > after ? after + leap : INT64_MAX;
    while (good - bad > 1) {
        int64_t middle = bad + (good - bad) / 2;
        if (is_readable(probe(reading, middle)))
            good = middle;
        else
            bad = middle;
    }
    return good;
}

static void keep_row(struct reading *reading)
{
    int columns = sqlite3_column_count(reading->read);
    for (int i = 1; i < columns; i++)
        sqlite3_bind_value(reading->write, i,
                           sqlite3_column_value(reading->read, i));
    sqlite3_step(reading->write); /* what breaks a constraint is no row */
    if (sqlite3_reset(reading->write) == SQLITE_OK)
        reading->salvage->rows++;
}

static void tell_lost(struct reading *reading, int64_t after, int64_t before)
{
    reading->salvage->gaps++;
    reading->salvage->lost(reading->salvage->self, reading->table, after,
                           before);
}

static void read_rows(struct reading *reading)
{
    int64_t last = INT64_MIN;
    int code = step_from(reading, last);
    for (;;) {
        while (code == SQLITE_ROW) {
            int64_t row = sqlite3_column_int64(reading->read, 0);
            if (row <= last)
                break; /* pages that name each other: no order */
            keep_row(reading);
            last = row;
            code = sqlite3_step(reading->read);
        }
        if (code == SQLITE_DONE)
            return;
        int64_t next = next_readable(reading, last);
        code = next == INT64_MAX ? SQLITE_DONE : step_from(reading, next);
        tell_lost(reading, last,
                  code == SQLITE_ROW ? sqlite3_column_int64(reading->read, 0)
                                     : INT64_MAX);
        if (code == SQLITE_ROW)
            last = next;
    }
}

static bool prepare(struct reading *reading, bool row_ids)
{
    char sql[5000];
    char places[512] = "?";
    size_t count = 1;
    for (const char *at = reading->columns; (at = strchr(at, ',')) != NULL;
         at++)
        count++;
    for (size_t i = 1; i < count; i++)
        strcat(places, ",?");
    if (row_ids)
        snprintf(sql, sizeof(sql),
                 "SELECT rowid,%s FROM \"%s\" WHERE rowid > ?1 ORDER BY rowid",
                 reading->columns, reading->table);
    else
        snprintf(sql, sizeof(sql), "SELECT 0,%s FROM \"%s\"", reading->columns,
                 reading->table);
    if (sqlite3_prepare_v2(reading->from, sql, -1, &reading->read, NULL) !=
        SQLITE_OK)
        return false;
    snprintf(sql, sizeof(sql), "INSERT OR REPLACE INTO \"%s\" (%s) VALUES (%s)",
             reading->table, reading->columns, places);
    return sqlite3_prepare_v2(reading->to, sql, -1, &reading->write, NULL) ==
           SQLITE_OK;
}

static void read_columns(struct reading *reading)
{
    sqlite3_stmt *rows;
    reading->columns[0] = '\0';
    if (sqlite3_prepare_v2(
            reading->to, "SELECT group_concat(name) FROM pragma_table_info(?)",
            -1, &rows, NULL) != SQLITE_OK)
        return;
    sqlite3_bind_text(rows, 1, reading->table, -1, SQLITE_STATIC);
    if (sqlite3_step(rows) == SQLITE_ROW)
        snprintf(reading->columns, sizeof(reading->columns), "%s",
                 (const char *)sqlite3_column_text(rows, 0));
    sqlite3_finalize(rows);
}

static void read_table(struct reading *reading, bool row_ids)
{
    reading->read = reading->write = NULL;
    read_columns(reading);
    if (!prepare(reading, row_ids)) {
        tell_lost(reading, INT64_MIN, INT64_MAX);
    } else if (row_ids) {
        read_rows(reading);
    } else {
        int code;
        while ((code = sqlite3_step(reading->read)) == SQLITE_ROW)
            keep_row(reading);
        if (code != SQLITE_DONE)
            tell_lost(reading, INT64_MIN, INT64_MAX);
    }
    sqlite3_finalize(reading->read);
    sqlite3_finalize(reading->write);
}

static void read_tables(struct reading *reading)
{
    static const char list[] =
        "SELECT name, sql NOT LIKE '%WITHOUT ROWID%' FROM sqlite_schema "
        "WHERE type = 'table' AND name NOT IN ('schema_migrations', "
        "'sqlite_stat1', 'outbox_filters', 'outbox_counts', 'outbox_states') "
        "ORDER BY name = 'sqlite_sequence', name";
    sqlite3_stmt *rows;
    if (sqlite3_prepare_v2(reading->to, list, -1, &rows, NULL) != SQLITE_OK)
        return;
    while (sqlite3_step(rows) == SQLITE_ROW) {
        char name[200];
        snprintf(name, sizeof(name), "%s",
                 (const char *)sqlite3_column_text(rows, 0));
        reading->table = name;
        read_table(reading, sqlite3_column_int(rows, 1) != 0);
    }
    sqlite3_finalize(rows);
}

/* --- what follows from the rows --- */

/* In flight is claimable again; the centre tells, in a new epoch, what of it
 * was applied.  A text that is no JSON any more is set aside with its
 * reason. */
static const char settle_sql[] =
    "UPDATE sync_batches SET applied = 0, refused = operations,"
    " finished_ms = claimed_ms WHERE finished_ms IS NULL;"
    "UPDATE outbox_cursors SET claimed_id = settled_id;"
    "DELETE FROM outbox_exceptions WHERE key NOT IN (SELECT key FROM outbox);"
    "UPDATE outbox_exceptions SET state = 0, batch_id = NULL WHERE state = 3;"
    "INSERT OR REPLACE INTO outbox_exceptions (key, id, lane, record_hash,"
    " state, priority, error_message) SELECT key, key & 36028797018963967,"
    " (key >> 55) & 63, 0, 4, key >> 61, 'damaged in the local store: its data"
    " is no JSON any more' FROM outbox o LEFT JOIN outbox_cursors c"
    " ON c.stripe = o.key >> 55 WHERE (o.key & 36028797018963967) >"
    " coalesce(c.settled_id, 0) AND record_data IS NOT NULL"
    " AND NOT json_valid(record_data);"
    "INSERT INTO outbox_states SELECT lane, state, count(*)"
    " FROM outbox_exceptions GROUP BY 1, 2;"
    "INSERT INTO outbox_counts SELECT o.table_name, o.key >> 61, count(*)"
    " FROM outbox o LEFT JOIN outbox_cursors c ON c.stripe = o.key >> 55"
    " LEFT JOIN outbox_exceptions x ON x.key = o.key"
    " WHERE CASE WHEN x.key IS NULL THEN (o.key & 36028797018963967) >"
    " coalesce(c.settled_id, 0) ELSE x.state <= 3 END GROUP BY 1, 2;"
    "UPDATE generation_jobs SET state = 'cancelled', finished_ms = created_ms,"
    " error = 'a job that it waited for was lost with the damaged store'"
    " WHERE state = 'waiting' AND (NOT json_valid(after_jobs) OR EXISTS"
    " (SELECT 1 FROM json_each(after_jobs)"
    " WHERE value NOT IN (SELECT id FROM generation_jobs)));"
    "DELETE FROM generation_edges;"
    "INSERT OR IGNORE INTO generation_edges SELECT p.id, j.id"
    " FROM generation_jobs j, json_each(j.after_jobs) a"
    " JOIN generation_jobs p ON p.id = a.value WHERE j.state = 'waiting'"
    " AND p.state IN ('waiting', 'queued', 'claimed');"
    "UPDATE generation_jobs SET waits = (SELECT count(*) FROM generation_edges"
    " WHERE dependent = id) WHERE state = 'waiting';"
    "UPDATE generation_jobs SET state = 'queued' WHERE state = 'waiting'"
    " AND waits = 0;"
    "INSERT OR REPLACE INTO store_meta VALUES ('restored', 1)";

static int64_t number_of(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *row;
    int64_t number = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK)
        return 0;
    if (sqlite3_step(row) == SQLITE_ROW)
        number = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return number;
}

static int settle_rows(sqlite3 *db, struct salvage *salvage,
                       struct error *error)
{
    if (sqlite3_exec(db, settle_sql, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        return error_set(error, ERROR_IO, "cannot complete the new store: %s",
                         sqlite3_errmsg(db));
    salvage->pending =
        number_of(db, "SELECT coalesce(sum(pending), 0) FROM outbox_counts");
    return 0;
}

static int make_store(const char *path, sqlite3 **db, struct error *error)
{
    unsigned applied;
    if (open_file(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, db,
                  error) != 0)
        return -1;
    sqlite3_exec(*db,
                 "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL;"
                 "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=FULL",
                 NULL, NULL, NULL);
    if (schema_migrate_local(*db, &applied, error) != 0)
        return -1;
    return sqlite3_exec(*db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : error_set(error, ERROR_IO, "cannot write %s: %s", path,
                           sqlite3_errmsg(*db));
}

static int salvage_rows(const char *from_path, const char *to_path,
                        struct salvage *salvage, struct error *error)
{
    struct reading reading = {.salvage = salvage};
    int result =
        open_file(from_path, SQLITE_OPEN_READWRITE, &reading.from, error);
    if (result == 0)
        result = make_store(to_path, &reading.to, error);
    if (result == 0) {
        sqlite3_exec(reading.from, "PRAGMA writable_schema=ON", NULL, NULL,
                     NULL);
        read_tables(&reading);
        result = settle_rows(reading.to, salvage, error);
    }
    sqlite3_close(reading.from);
    sqlite3_close(reading.to);
    return result;
}

/* --- in its place --- */

static int sync_folder(const char *dir, struct error *error)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = fd < 0 || fsync(fd) != 0 ? -1 : 0;
    if (fd >= 0)
        close(fd);
    return result == 0
               ? 0
               : error_set_errno(error, ERROR_IO, "cannot sync %s", dir);
}

static int replace(const char *dir, char kept[64], struct error *error)
{
    char from[PATH_BYTES], to[PATH_BYTES], wal[80];
    struct stat status;
    int number = 0;
    do {
        snprintf(kept, 64, ".damaged-%d", ++number);
        path_of(to, dir, kept);
    } while (number < KEPT_MAX && lstat(to, &status) == 0);
    path_of(from, dir, "");
    if (rename(from, to) != 0)
        return error_set_errno(error, ERROR_IO, "cannot rename %s", from);
    path_of(from, dir, "-wal");
    snprintf(wal, sizeof(wal), "%s-wal", kept);
    path_of(to, dir, wal);
    if (rename(from, to) != 0 && errno != ENOENT)
        return error_set_errno(error, ERROR_IO, "cannot rename %s", from);
    path_of(from, dir, "-shm");
    unlink(from);
    path_of(from, dir, ".new");
    path_of(to, dir, "");
    if (rename(from, to) != 0)
        return error_set_errno(error, ERROR_IO, "cannot rename %s", from);
    return sync_folder(dir, error);
}

int store_repair(const char *state_dir, bool apply, struct salvage *salvage,
                 char kept[64], struct error *error)
{
    struct store_lock lock;
    char from[PATH_BYTES], to[PATH_BYTES];
    kept[0] = '\0';
    if (store_lock_take(&lock, state_dir, error) != 0)
        return -1;
    remove_store(state_dir, ".salvage");
    remove_store(state_dir, ".new");
    path_of(from, state_dir, "");
    path_of(to, state_dir, ".salvage");
    int result = copy_file(from, to, error);
    path_of(from, state_dir, "-wal");
    path_of(to, state_dir, ".salvage-wal");
    if (result == 0)
        result = copy_file(from, to, error);
    path_of(from, state_dir, ".salvage");
    if (result == 0) {
        mend_header(from);
        path_of(to, state_dir, ".salvage-wal");
        result = wal_mend(to, error);
    }
    path_of(to, state_dir, ".new");
    if (result == 0)
        result = salvage_rows(from, to, salvage, error);
    if (result == 0 && apply)
        result = replace(state_dir, kept, error);
    remove_store(state_dir, ".salvage");
    remove_store(state_dir, ".new");
    store_lock_leave(&lock);
    return result;
}

int store_check(const char *state_dir, int64_t *problems,
                void (*tell)(void *self, const char *words), void *self,
                struct error *error)
{
    char path[PATH_BYTES];
    sqlite3 *db;
    sqlite3_stmt *rows = NULL;
    *problems = 0;
    path_of(path, state_dir, "");
    if (open_file(path, SQLITE_OPEN_READONLY, &db, error) != 0)
        return -1;
    sqlite3_busy_timeout(db, 2000);
    int code =
        sqlite3_prepare_v2(db, "PRAGMA integrity_check(20)", -1, &rows, NULL);
    while (code == SQLITE_OK && sqlite3_step(rows) == SQLITE_ROW) {
        const char *words = (const char *)sqlite3_column_text(rows, 0);
        if (words == NULL || strcmp(words, "ok") == 0)
            continue;
        (*problems)++;
        tell(self, words);
    }
    if (code != SQLITE_OK || sqlite3_finalize(rows) != SQLITE_OK) {
        (*problems)++;
        tell(self, sqlite3_errmsg(db));
    }
    sqlite3_close(db);
    return 0;
}
