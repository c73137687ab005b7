/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/schema.h"

#include <sqlite3.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/store/writer_sql.h"

static const char make_table[] =
    "CREATE TABLE IF NOT EXISTS schema_migrations ("
    " version INTEGER PRIMARY KEY, description TEXT NOT NULL,"
    " applied_at TEXT NOT NULL, checksum TEXT NOT NULL)";

static int sqlite_error(sqlite3 *db, struct error *error, const char *what)
{
    enum error_code kind = sql_error_code(sqlite3_errcode(db));
    return error_set(error, kind, "cannot %s: %s", what, sqlite3_errmsg(db));
}

static int execute(sqlite3 *db, const char *sql, const char *what,
                   struct error *error)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return sqlite_error(db, error, what);
    return 0;
}

/* Compares one applied migration with what this binary has. */
static int check_applied(int version, const char *checksum, struct error *error)
{
    if (version < 1 || (size_t)version > local_migration_count)
        return error_set(
            error, ERROR_CONFIG,
            "the local store has schema version %d, this tidemill knows "
            "versions up to %zu: it was written by a newer tidemill; install "
            "that version again (nothing was changed)",
            version, local_migration_count);
    const struct migration *migration = &local_migrations[version - 1];
    if (checksum == NULL || strcmp(checksum, migration->checksum) != 0)
        return error_set(
            error, ERROR_CONFIG,
            "migration %d (%s) of the local store was applied from another "
            "file than this tidemill's (checksum %.12s there, %.12s here); "
            "install the tidemill that made the store (nothing was changed)",
            version, migration->description,
            checksum != NULL ? checksum : "none", migration->checksum);
    return 0;
}

/* *last is the newest applied version; they have no holes. */
static int check_all_applied(sqlite3 *db, int *last, struct error *error)
{
    sqlite3_stmt *rows;
    *last = 0;
    if (sqlite3_prepare_v2(db,
                           "SELECT version, checksum FROM schema_migrations "
                           "ORDER BY version",
                           -1, &rows, NULL) != SQLITE_OK)
        return sqlite_error(db, error, "read the schema version");
    int result = 0;
    int step;
    while (result == 0 && (step = sqlite3_step(rows)) == SQLITE_ROW) {
        int version = sqlite3_column_int(rows, 0);
        result = check_applied(
            version, (const char *)sqlite3_column_text(rows, 1), error);
        if (result == 0 && version != *last + 1)
            result =
                error_set(error, ERROR_CONFIG,
                          "the local store lacks schema version %d but has %d: "
                          "it is damaged; restore it from a backup",
                          *last + 1, version);
        *last = version;
    }
    if (result == 0 && step != SQLITE_DONE)
        result = sqlite_error(db, error, "read the schema version");
    sqlite3_finalize(rows);
    return result;
}

static int record_applied(sqlite3 *db, const struct migration *migration,
                          struct error *error)
{
    char now[CLOCK_TEXT_SIZE];
    sqlite3_stmt *row;
    if (sqlite3_prepare_v2(db, "INSERT INTO schema_migrations VALUES (?,?,?,?)",
                           -1, &row, NULL) != SQLITE_OK)
        return sqlite_error(db, error, "record a migration");
    sqlite3_bind_int(row, 1, migration->version);
    sqlite3_bind_text(row, 2, migration->description, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 3, clock_format(clock_wall_ms(), now), -1,
                      SQLITE_STATIC);
    sqlite3_bind_text(row, 4, migration->checksum, -1, SQLITE_STATIC);
    int step = sqlite3_step(row);
    int result =
        step == SQLITE_DONE ? 0 : sqlite_error(db, error, "record a migration");
    sqlite3_finalize(row);
    return result;
}

static int apply_one(sqlite3 *db, const struct migration *migration,
                     struct error *error)
{
    if (execute(db, "BEGIN IMMEDIATE", "begin a migration", error) != 0)
        return -1;
    if (execute(db, migration->sql, "apply a migration", error) == 0 &&
        record_applied(db, migration, error) == 0 &&
        execute(db, "COMMIT", "commit a migration", error) == 0)
        return 0;
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return error_prefix(error, "schema version %d (%s)", migration->version,
                        migration->description);
}

static int has_table(sqlite3 *db, int *has, struct error *error)
{
    sqlite3_stmt *row;
    if (sqlite3_prepare_v2(db,
                           "SELECT count(*) FROM sqlite_schema "
                           "WHERE name = 'schema_migrations'",
                           -1, &row, NULL) != SQLITE_OK)
        return sqlite_error(db, error, "read the local store's schema");
    int result = 0;
    if (sqlite3_step(row) == SQLITE_ROW)
        *has = sqlite3_column_int(row, 0);
    else
        result = sqlite_error(db, error, "read the local store's schema");
    sqlite3_finalize(row);
    return result;
}

int schema_migrate_local(sqlite3 *db, unsigned *applied, struct error *error)
{
    int has = 0;
    int last = 0;
    *applied = 0;
    if (has_table(db, &has, error) != 0)
        return -1;
    if (has && check_all_applied(db, &last, error) != 0)
        return -1;
    if (!has && execute(db, make_table, "make schema_migrations", error) != 0)
        return -1;
    for (size_t i = (size_t)last; i < local_migration_count; i++) {
        if (apply_one(db, &local_migrations[i], error) != 0)
            return -1;
        (*applied)++;
    }
    return 0;
}
