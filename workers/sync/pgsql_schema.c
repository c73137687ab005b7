/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pgsql_schema.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/log.h"
#include "common/store/schema.h"

#define SCRIPT_MAX_BYTES ((size_t)1 << 20)

static const char versions_sql[] =
    "SELECT version, checksum FROM tidemill.schema_migrations"
    " ORDER BY version";

/* The lock's number is "tidemill" in ASCII.  Nothing is created that is
 * there, because IF NOT EXISTS asks for the right to create first. */
static const char begin_sql[] =
    "BEGIN;"
    "SELECT pg_advisory_xact_lock(8388346167744359532);"
    "DO $$ BEGIN"
    " IF to_regnamespace('tidemill') IS NULL THEN"
    "  CREATE SCHEMA tidemill;"
    " END IF;"
    " IF to_regclass('tidemill.schema_migrations') IS NULL THEN"
    "  CREATE TABLE tidemill.schema_migrations ("
    "   version integer PRIMARY KEY, description text NOT NULL,"
    "   applied_at timestamptz NOT NULL DEFAULT now(),"
    "   checksum text NOT NULL);"
    " END IF; END $$;"
    "SELECT version, checksum FROM tidemill.schema_migrations"
    " ORDER BY version";

static void finish(struct pgsql_schema *s, const struct pg_answer *answer)
{
    s->done(s->self, answer);
}

static void finish_failed(struct pgsql_schema *s,
                          const struct pg_answer *answer, const char *what)
{
    struct pg_answer failed = *answer;
    failed.ok = false;
    failed.result = NULL;
    if (answer->sqlstate[0] && pg_failure_of(answer->sqlstate) == PG_SETUP)
        failed.error.code = ERROR_CONFIG;
    error_prefix(&failed.error, "%s", what);
    pg_connection_close(s->connection); /* ends an open transaction */
    finish(s, &failed);
}

/* How many migrations are applied, or -1 with what is wrong with them. */
static int versions_check(const struct pg_result *result, struct error *error)
{
    int rows = pg_result_rows(result);
    for (int i = 0; i < rows; i++) {
        int version = atoi(pg_result_text(result, i, 0));
        if (version > (int)centre_migration_count)
            return error_set(error, ERROR_CONFIG,
                             "the schema at the centre has version %d, this "
                             "program knows %zu; upgrade tidemill here",
                             atoi(pg_result_text(result, rows - 1, 0)),
                             centre_migration_count);
        if (version != i + 1 || strcmp(pg_result_text(result, i, 1),
                                       centre_migrations[i].checksum) != 0)
            return error_set(error, ERROR_CONFIG,
                             "the schema at the centre is not ours: its "
                             "migration %d differs from this program's; "
                             "compare tidemill.schema_migrations",
                             version);
    }
    return rows;
}

static void on_made(void *self, const struct pg_answer *answer)
{
    struct pgsql_schema *s = self;
    if (!answer->ok) {
        finish_failed(s, answer, "cannot make the schema at the centre");
        return;
    }
    log_notice("the schema at the centre has version %zu",
               centre_migration_count);
    finish(s, answer);
}

static void on_locked(void *self, const struct pg_answer *answer)
{
    struct pgsql_schema *s = self;
    struct pg_answer wrong = {0};
    struct buffer script;
    if (!answer->ok) {
        finish_failed(s, answer,
                      "cannot make the schema at the centre (its owner can: "
                      "let a role with CREATE on the database connect once)");
        return;
    }
    int have = versions_check(answer->result, &wrong.error);
    if (have < 0) {
        finish_failed(s, &wrong, "centre");
        return;
    }
    buffer_init(&script, SCRIPT_MAX_BYTES);
    for (size_t i = (size_t)have; i < centre_migration_count; i++) {
        const struct migration *m = &centre_migrations[i];
        buffer_append_text(&script, m->sql);
        buffer_printf(&script,
                      ";INSERT INTO tidemill.schema_migrations"
                      " (version, description, checksum)"
                      " VALUES (%d, '%s', '%s');",
                      m->version, m->description, m->checksum);
    }
    buffer_append_text(&script, "COMMIT");
    if (script.failed) {
        error_set(&wrong.error, ERROR_SYSTEM, "out of memory");
        finish_failed(s, &wrong, "cannot make the schema at the centre");
    } else {
        pg_connection_script(s->connection, script.bytes, on_made, s);
    }
    buffer_deinit(&script);
}

static void on_versions(void *self, const struct pg_answer *answer)
{
    struct pgsql_schema *s = self;
    struct pg_answer wrong = {0};
    bool absent = strcmp(answer->sqlstate, "42P01") == 0 ||
                  strcmp(answer->sqlstate, "3F000") == 0;
    if (!answer->ok && !absent) {
        finish_failed(s, answer, "cannot read the schema at the centre");
        return;
    }
    int have = absent ? 0 : versions_check(answer->result, &wrong.error);
    if (have < 0)
        finish_failed(s, &wrong, "centre");
    else if ((size_t)have == centre_migration_count)
        finish(s, answer);
    else
        pg_connection_script(s->connection, begin_sql, on_locked, s);
}

void pgsql_schema_check(struct pgsql_schema *schema, pg_done done, void *self)
{
    schema->done = done;
    schema->self = self;
    pg_connection_query(schema->connection, versions_sql, NULL, 0, on_versions,
                        schema);
}
