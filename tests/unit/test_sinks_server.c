/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test_sinks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/store/schema.h"
#include "tests/unit/sink_fixture.h"

#define LOCK "BEGIN; LOCK TABLE tidemill.synced_records IN EXCLUSIVE MODE"
#define IS_WAITING                                                             \
    "SELECT count(*) FROM pg_stat_activity WHERE application_name ="           \
    " 'test_sinks' AND wait_event_type = 'Lock'"
#define TERMINATE                                                              \
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"            \
    " WHERE application_name = 'test_sinks'"

static struct outbox_operation one(void)
{
    return INS("t", "a", "{\"x\":1}");
}

/* Runs the loop until the server waits for our lock. */
static void await_lock(struct fixture *f)
{
    while (strcmp(fixture_sql(f, IS_WAITING), "1") != 0) {
        assert_false(f->done);
        event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
}

static void case_cut(struct fixture *f)
{
    struct outbox_operation op = one();
    fixture_sql(f, LOCK);
    fixture_begin(f, 1, &op, 1);
    await_lock(f);
    fixture_sql(f, TERMINATE);
    assert_int_equal(fixture_wait(f), SINK_DOWN);
    assert_true(f->error.text[0] != '\0');
    fixture_sql(f, "ROLLBACK");
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_APPLIED);
}

static void case_cut_while_idle(struct fixture *f)
{
    struct outbox_operation op = one();
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_APPLIED);
    fixture_sql(f, TERMINATE);
    /* Whether it is noticed before or by the sending, nothing is lost. */
    if (fixture_apply(f, 2, &op, 1) == SINK_DOWN)
        assert_int_equal(fixture_apply(f, 2, &op, 1), SINK_APPLIED);
    assert_int_equal(f->outcome, SINK_APPLIED);
}

static void case_server_stopped(struct fixture *f)
{
    struct outbox_operation op = one();
    cluster_stop(f->cluster, SIGQUIT);
    fixture_apply(f, 1, &op, 1);
    assert_int_equal(f->outcome, SINK_DOWN);
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_DOWN);
    assert_non_null(strstr(f->error.text, "cannot connect"));
    assert_int_equal(fixture_probe(f), SINK_DOWN);
    assert_int_equal(cluster_start(f->cluster), 0);
    assert_int_equal(fixture_probe(f), SINK_APPLIED);
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_APPLIED);
    fixture_reconnect(f);
}

static void case_statement_timeout(struct fixture *f)
{
    struct outbox_operation op = one();
    f->config.database_statement_timeout_ms = 50;
    fixture_again(f);
    assert_int_equal(fixture_probe(f), SINK_APPLIED);
    fixture_sql(f, LOCK);
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_DOWN);
    assert_non_null(strstr(f->error.text, "57014"));
    fixture_sql(f, "ROLLBACK");
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_APPLIED);
}

static void case_query_timeout(struct fixture *f)
{
    struct outbox_operation op = one();
    f->config.database_query_timeout_ms = 100;
    fixture_again(f);
    assert_int_equal(fixture_probe(f), SINK_APPLIED);
    fixture_sql(f, LOCK);
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_DOWN);
    assert_non_null(strstr(f->error.text, "100 ms"));
    /* The server is still at it; its successor waits at the ledger, and
     * whoever commits first, the batch is applied once. */
    f->config.database_query_timeout_ms = 20000;
    fixture_again(f);
    fixture_begin(f, 1, &op, 1);
    fixture_sql(f, "ROLLBACK");
    fixture_wait(f);
    assert_true(f->outcome == SINK_APPLIED || f->outcome == SINK_REPEATED);
    assert_string_equal(fixture_sql(f, "SELECT count(*) FROM ledger WHERE "
                                       "system_id = $"),
                        "1");
}

static void case_sqlstates(struct fixture *f)
{
    static const struct {
        const char *code;
        enum sink_outcome outcome;
    } list[] = {{"40001", SINK_TRANSIENT}, {"40P01", SINK_TRANSIENT},
                {"53100", SINK_TRANSIENT}, {"53200", SINK_TRANSIENT},
                {"55P03", SINK_TRANSIENT}, {"57P01", SINK_DOWN},
                {"57P03", SINK_DOWN},      {"08006", SINK_DOWN},
                {"57014", SINK_DOWN},      {"25006", SINK_DOWN},
                {"42501", SINK_TRANSIENT}, {"XX000", SINK_TRANSIENT}};
    struct outbox_operation ops[] = {INS("t", "fine", "{}"),
                                     INS("t", "raise", "{}"),
                                     INS("t", "raise", "{\"\\u0000\":1}")};
    for (size_t i = 0; i < 2 * sizeof list / sizeof *list; i++) {
        char sql[600];
        snprintf(sql, sizeof sql,
                 "CREATE OR REPLACE FUNCTION raising() RETURNS trigger "
                 "LANGUAGE plpgsql AS $$ BEGIN IF NEW.record_id = 'raise' "
                 "THEN RAISE 'on purpose' USING ERRCODE = '%s'; END IF; "
                 "RETURN NEW; END $$;"
                 "CREATE OR REPLACE TRIGGER raising BEFORE INSERT ON "
                 "tidemill.synced_records FOR EACH ROW EXECUTE FUNCTION "
                 "raising()",
                 list[i / 2].code);
        fixture_sql(f, sql);
        /* the fast way, and the careful one */
        fixture_apply(f, (int64_t)i, ops, i % 2 ? 3 : 2);
        assert_int_equal(f->outcome, list[i / 2].outcome);
        assert_non_null(strstr(f->error.text, list[i / 2].code));
    }
    fixture_sql(f, "DROP TRIGGER raising ON tidemill.synced_records;"
                   "DROP FUNCTION raising");
    assert_string_equal(fixture_sql(f, "SELECT count(*) FROM ledger WHERE "
                                       "system_id = $"),
                        "0");
}

static void case_newer_schema(struct fixture *f)
{
    struct outbox_operation op = one();
    fixture_sql(f, "INSERT INTO tidemill.schema_migrations VALUES "
                   "(99, 'future', now(), 'x')");
    assert_int_equal(fixture_probe(f), SINK_TRANSIENT);
    assert_int_equal(f->error.code, ERROR_CONFIG);
    assert_non_null(strstr(f->error.text, "version 99"));
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_TRANSIENT);
    fixture_sql(f, "DELETE FROM tidemill.schema_migrations WHERE version=99");
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_APPLIED);
}

static void case_role_without_ddl(struct fixture *f)
{
    static struct sync_table tables[] = {{.name = "shared",
                                          .target = "",
                                          .key = "id",
                                          .conflict = CONFLICT_LAST_WRITE_WINS,
                                          .version = "",
                                          .updated_at = "updated_at",
                                          .base = ""}};
    struct outbox_operation op = one(), shared = INS("shared", "a", "{}");
    snprintf(f->conninfo, sizeof f->conninfo,
             "host=%s user=poor dbname=postgres", f->cluster->folder);
    fixture_sql(f, "CREATE ROLE poor LOGIN;"
                   "GRANT USAGE ON SCHEMA tidemill TO poor;"
                   "GRANT SELECT, INSERT, UPDATE, DELETE ON tidemill.ledger, "
                   "tidemill.stores, tidemill.out_of_line, "
                   "tidemill.synced_records TO poor;"
                   "GRANT SELECT, INSERT, UPDATE ON tidemill.shared_records "
                   "TO poor;"
                   "GRANT SELECT ON tidemill.schema_migrations TO poor");
    fixture_sql(f, "CREATE DATABASE bare");
    f->config.database_conninfo = f->conninfo;
    fixture_again(f);
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_APPLIED);
    f->config.tables = tables;
    f->config.table_count = 1;
    assert_int_equal(fixture_apply(f, 2, &shared, 1), SINK_APPLIED);
    f->config.table_count = 0;
    snprintf(f->conninfo, sizeof f->conninfo, "host=%s user=poor dbname=bare",
             f->cluster->folder);
    fixture_again(f);
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_TRANSIENT);
    assert_int_equal(f->error.code, ERROR_CONFIG);
    assert_non_null(strstr(f->error.text, "42501"));
}

static void case_several_hosts(struct fixture *f)
{
    struct outbox_operation op = one();
    snprintf(f->conninfo, sizeof f->conninfo,
             "postgresql://postgres@/postgres?host=/nowhere,127.0.0.1,%s&"
             "port=5432,1,5432",
             f->cluster->folder);
    f->config.database_conninfo = f->conninfo;
    fixture_again(f);
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_APPLIED);
    f->config.database_conninfo = "host=a,b port=1,2,3";
    struct error error = {0};
    assert_null(f->methods->open(&f->config, f->base, &error));
    assert_int_equal(error.code, ERROR_CONFIG);
}

static void case_read_only(struct fixture *f)
{
    struct outbox_operation op = one();
    fixture_sql(f, "ALTER DATABASE postgres SET "
                   "default_transaction_read_only = on");
    fixture_again(f);
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_DOWN);
    fixture_sql(f, "SET default_transaction_read_only = off");
    fixture_sql(f, "ALTER DATABASE postgres RESET "
                   "default_transaction_read_only");
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_APPLIED);
}

static void on_count(void *self, const struct sink_result *result)
{
    assert_int_equal(result->outcome, SINK_APPLIED);
    ++*(int *)self;
}

static void case_first_connections_at_once(struct fixture *f)
{
    enum { N = 6 };
    struct sink *sinks[N];
    int done = 0;
    fixture_sql(f, "CREATE DATABASE fresh");
    snprintf(f->conninfo, sizeof f->conninfo,
             "host=%s user=postgres dbname=fresh", f->cluster->folder);
    f->config.database_conninfo = f->conninfo;
    for (int i = 0; i < N; i++) {
        sinks[i] = f->methods->open(&f->config, f->base, &f->error);
        assert_non_null(sinks[i]);
        f->methods->probe(sinks[i], on_count, &done);
    }
    while (done < N)
        event_base_loop(f->base, EVLOOP_ONCE);
    for (int i = 0; i < N; i++)
        f->methods->close(sinks[i]);
}

static void case_weak_commit(struct fixture *f)
{
    struct outbox_operation op = one();
    fixture_sql(f, "ALTER DATABASE postgres SET synchronous_commit = off;"
                   "CREATE TABLE seen (v text);"
                   "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql "
                   "AS $$ BEGIN INSERT INTO public.seen VALUES "
                   "(current_setting('synchronous_commit')); RETURN NEW; "
                   "END $$; CREATE TRIGGER noting BEFORE INSERT ON "
                   "tidemill.synced_records FOR EACH ROW EXECUTE FUNCTION "
                   "note()");
    fixture_again(f);
    assert_int_equal(fixture_apply(f, 1, &op, 1), SINK_APPLIED);
    assert_string_equal(fixture_sql(f, "SELECT v FROM seen"), "on");
    fixture_sql(f, "ALTER DATABASE postgres RESET synchronous_commit;"
                   "DROP TRIGGER noting ON tidemill.synced_records;"
                   "DROP FUNCTION note; DROP TABLE seen");
}

static void case_deferred_constraint(struct fixture *f)
{
    static struct sync_table tables[] = {
        {.name = "child", .target = "typed_child", .key = "id"}};
    struct outbox_operation ops[] = {INS("child", "1", "{\"parent\":1}"),
                                     INS("child", "2", "{\"parent\":2}"),
                                     INS("t", "a", "{}")};
    fixture_sql(f, "CREATE TABLE parent (id integer PRIMARY KEY);"
                   "INSERT INTO parent VALUES (1);"
                   "CREATE TABLE typed_child (system_id text, id integer, "
                   "parent integer REFERENCES parent DEFERRABLE INITIALLY "
                   "DEFERRED, UNIQUE (system_id, id))");
    f->config.tables = tables;
    f->config.table_count = 1;
    fixture_again(f);
    assert_int_equal(fixture_apply(f, 1, ops, 3), SINK_APPLIED);
    assert_int_equal(f->refusal_count, 1);
    assert_int_equal(f->refusals[0].key, 2);
    assert_string_equal(f->refusals[0].sqlstate, "23503");
    fixture_sql(f, "DROP TABLE typed_child; DROP TABLE parent");
}

/* One server connection for two of ours, changing hands at each commit. */
pid_t pgbouncer_before(struct fixture *f)
{
    static const char path[] = "/usr/sbin/pgbouncer";
    char ini[200], *arguments[] = {"pgbouncer", ini, NULL};
    if (access(path, X_OK) != 0)
        skip();
    snprintf(ini, sizeof ini, "%s/pgbouncer.ini", f->cluster->folder);
    FILE *file = fopen(ini, "w");
    assert_non_null(file);
    fprintf(file,
            "[databases]\npostgres = host=%s user=postgres pool_size=1\n"
            "[pgbouncer]\n"
            "listen_port = 6432\nunix_socket_dir = %s\nauth_type = any\n"
            "pool_mode = transaction\nignore_startup_parameters =\n",
            f->cluster->folder, f->cluster->folder);
    assert_int_equal(fclose(file), 0);
    pid_t pid = cluster_program(f->cluster, path, arguments);
    assert_true(pid > 0);
    snprintf(f->conninfo, sizeof f->conninfo,
             "host=%s port=6432 user=postgres dbname=postgres",
             f->cluster->folder);
    f->config.database_conninfo = f->conninfo;
    fixture_again(f);
    for (int i = 0; i < 250 && fixture_probe(f) != SINK_APPLIED; i++)
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    return pid;
}

static void case_pgbouncer(struct fixture *f)
{
    struct outbox_operation ops[] = {INS("t", "a", "{\"x\":1}"),
                                     INS("t", "b", "{\"\\u0000\":1}")};
    struct fixture second = *f;
    pid_t pid = pgbouncer_before(f);
    second.config.database_conninfo = f->conninfo;
    second.sink = NULL;
    fixture_again(&second);
    if (fixture_probe(&second) != SINK_APPLIED)
        fail_msg("%s", second.error.text);
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(fixture_apply(i % 2 ? f : &second, i, ops, 2),
                         SINK_APPLIED);
        assert_int_equal(fixture_apply(i % 2 ? &second : f, i, ops, 2),
                         SINK_REPEATED);
        assert_int_equal(f->refusal_count, 1);
    }
    second.methods->close(second.sink);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

const struct server_case server_cases[] = {
    {"cut", case_cut},
    {"cut_while_idle", case_cut_while_idle},
    {"server_stopped", case_server_stopped},
    {"statement_timeout", case_statement_timeout},
    {"query_timeout", case_query_timeout},
    {"sqlstates", case_sqlstates},
    {"newer_schema", case_newer_schema},
    {"role_without_ddl", case_role_without_ddl},
    {"several_hosts", case_several_hosts},
    {"read_only", case_read_only},
    {"first_connections_at_once", case_first_connections_at_once},
    {"weak_commit", case_weak_commit},
    {"deferred_constraint", case_deferred_constraint},
    {"pgbouncer", case_pgbouncer},
};
const size_t server_case_count = sizeof server_cases / sizeof *server_cases;
