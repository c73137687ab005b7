/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/sink_fixture.h"

#include <event2/event.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail_with(const char *what, const char *words)
{
    fprintf(stderr, "%s: %s\n", what, words);
    abort();
}

struct outbox_operation op_make(enum operation_kind kind, const char *table,
                                const char *record, const char *data)
{
    return (struct outbox_operation){.kind = kind,
                                     .table_name = table,
                                     .table_name_size = strlen(table),
                                     .record_id = record,
                                     .record_id_size = strlen(record),
                                     .data = data,
                                     .data_size = data ? strlen(data) : 0};
}

void fixture_reconnect(struct fixture *f)
{
    if (f->pgsql) {
        PQfinish(f->line);
        f->line = PQconnectdb(f->cluster->conninfo);
        PQclear(PQexec(f->line, "SET search_path = public, tidemill"));
        PQclear(PQexec(f->line, "SET client_min_messages = error"));
        if (PQstatus(f->line) != CONNECTION_OK)
            fail_with("connect", PQerrorMessage(f->line));
        return;
    }
    sqlite3 *db;
    if (sqlite3_open(f->path, &db) != SQLITE_OK)
        fail_with("open", sqlite3_errmsg(db));
    sqlite3_busy_timeout(db, 2000);
    f->line = db;
}

void fixture_open(struct fixture *f, const struct sink_methods *methods,
                  struct cluster *cluster, const char *system_id)
{
    memset(f, 0, sizeof *f);
    f->methods = methods;
    f->pgsql = methods == &sink_pgsql;
    f->cluster = cluster;
    snprintf(f->path, sizeof f->path, "/tmp/tidemill-sink-%d.db",
             (int)getpid());
    f->config.system_id = system_id;
    f->config.sync_sqlite_path = f->path;
    f->config.database_conninfo = cluster->conninfo;
    f->config.database_host = f->config.database_name =
        f->config.database_user = f->config.database_password_env =
            f->config.database_password_file = "";
    f->config.database_port = 5432;
    f->config.database_application_name = "test_sinks";
    f->config.database_connect_timeout_ms = 5000;
    f->config.database_statement_timeout_ms = 20000;
    f->config.database_query_timeout_ms = 30000;
    f->base = event_base_new();
    fixture_again(f);
    if (fixture_probe(f) != SINK_APPLIED)
        fail_with("probe", f->error.text);
    fixture_reconnect(f);
}

void fixture_again(struct fixture *f)
{
    if (f->sink)
        f->methods->close(f->sink);
    f->sink = f->methods->open(&f->config, f->base, &f->error);
    if (!f->sink)
        fail_with("open", f->error.text);
}

void fixture_close(struct fixture *f)
{
    f->methods->close(f->sink);
    if (f->pgsql)
        PQfinish(f->line);
    else
        sqlite3_close(f->line);
    event_base_free(f->base);
    unlink(f->path);
}

static void on_done(void *self, const struct sink_result *result)
{
    struct fixture *f = self;
    if (f->done)
        fail_with("done", "called twice");
    f->done = true;
    f->outcome = result->outcome;
    f->error = result->error;
    f->refusal_count = result->refusal_count;
    for (size_t i = 0; i < result->refusal_count && i < FIXTURE_REFUSALS; i++) {
        f->refusals[i] = result->refusals[i];
        snprintf(f->messages[i], sizeof f->messages[i], "%s",
                 result->refusals[i].message);
    }
    f->conflict_count = result->conflict_count;
    for (size_t i = 0; i < result->conflict_count && i < FIXTURE_REFUSALS;
         i++) {
        const struct sink_conflict *conflict = &result->conflicts[i];
        f->conflicts[i] = *conflict;
        snprintf(f->centre_systems[i], sizeof f->centre_systems[i], "%s",
                 conflict->centre_system);
        snprintf(f->centre_data[i], sizeof f->centre_data[i], "%.*s",
                 (int)conflict->centre_data_size,
                 conflict->centre_data ? conflict->centre_data : "");
    }
}

static struct outbox_operation *numbered;
static struct sink_batch current;

void fixture_begin(struct fixture *f, int64_t batch_id,
                   const struct outbox_operation *operations, size_t count)
{
    free(numbered);
    numbered = malloc(count * sizeof *numbered);
    if (!numbered)
        abort();
    memcpy(numbered, operations, count * sizeof *numbered);
    for (size_t i = 0; i < count; i++)
        numbered[i].key = numbered[i].id = (int64_t)i + 1;
    current = (struct sink_batch){.epoch = 1,
                                  .batch_id = batch_id,
                                  .operations = numbered,
                                  .count = count};
    f->done = false;
    f->methods->apply(f->sink, &current, on_done, f);
    if (f->done)
        fail_with("apply", "called back from within");
}

enum sink_outcome fixture_wait(struct fixture *f)
{
    while (!f->done)
        event_base_loop(f->base, EVLOOP_ONCE);
    free(numbered);
    numbered = NULL;
    return f->outcome;
}

enum sink_outcome fixture_apply_beside(struct fixture *f,
                                       const struct fixture *first)
{
    f->done = false;
    f->methods->apply(f->sink, &current, on_done, f);
    while (!f->done || !first->done)
        event_base_loop(f->base, EVLOOP_ONCE);
    return f->outcome;
}

enum sink_outcome fixture_apply(struct fixture *f, int64_t batch_id,
                                const struct outbox_operation *operations,
                                size_t count)
{
    fixture_begin(f, batch_id, operations, count);
    return fixture_wait(f);
}

enum sink_outcome fixture_probe(struct fixture *f)
{
    f->done = false;
    f->methods->probe(f->sink, on_done, f);
    return fixture_wait(f);
}

static void sqlite_value(struct fixture *f, const char *sql)
{
    sqlite3_stmt *statement;
    while (*sql) {
        if (sqlite3_prepare_v2(f->line, sql, -1, &statement, &sql) != SQLITE_OK)
            fail_with(sql, sqlite3_errmsg(f->line));
        if (sqlite3_step(statement) == SQLITE_ROW)
            snprintf(f->text, sizeof f->text, "%s",
                     sqlite3_column_text(statement, 0)
                         ? (const char *)sqlite3_column_text(statement, 0)
                         : "");
        if (sqlite3_finalize(statement) != SQLITE_OK)
            fail_with("sqlite", sqlite3_errmsg(f->line));
    }
}

static void pgsql_value(struct fixture *f, const char *sql)
{
    PGresult *result = PQexec(f->line, sql);
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0)
        snprintf(f->text, sizeof f->text, "%s", PQgetvalue(result, 0, 0));
    else if (PQresultStatus(result) == PGRES_FATAL_ERROR)
        fail_with(sql, PQerrorMessage(f->line));
    PQclear(result);
}

const char *fixture_sql(struct fixture *f, const char *sql)
{
    char whole[4096];
    size_t n = 0;
    for (; *sql && n < sizeof whole - 100; sql++)
        if (*sql == '$' && sql[1] != '$' && (n == 0 || whole[n - 1] != '$'))
            n += (size_t)snprintf(whole + n, sizeof whole - n, "'%s'",
                                  f->config.system_id);
        else
            whole[n++] = *sql;
    whole[n] = '\0';
    f->text[0] = '\0';
    if (f->pgsql)
        pgsql_value(f, whole);
    else
        sqlite_value(f, whole);
    return f->text;
}
