/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include <sqlite3.h>

#include "common/store/schema.h"

static sqlite3 *memory_db(void)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    return db;
}

static void execute(sqlite3 *db, const char *sql)
{
    char *text = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", sql, text);
}

static void test_applies_once(void **state)
{
    (void)state;
    sqlite3 *db = memory_db();
    struct error error;
    unsigned applied;
    assert_int_equal(schema_migrate_local(db, &applied, &error), 0);
    assert_int_equal(applied, local_migration_count);
    assert_int_equal(schema_migrate_local(db, &applied, &error), 0);
    assert_int_equal(applied, 0);
    execute(db, "SELECT * FROM sync_queue");
    execute(db, "SELECT * FROM sync_dead");
    execute(db, "SELECT * FROM performance_metrics_summary");
    sqlite3_close(db);
}

static void expect_refusal(const char *change, const char *words)
{
    sqlite3 *db = memory_db();
    struct error error;
    unsigned applied;
    assert_int_equal(schema_migrate_local(db, &applied, &error), 0);
    execute(db, change);
    assert_int_equal(schema_migrate_local(db, &applied, &error), -1);
    assert_int_equal(error.code, ERROR_CONFIG);
    assert_non_null(strstr(error.text, words));
    sqlite3_close(db);
}

static void test_refuses(void **state)
{
    (void)state;
    expect_refusal("INSERT INTO schema_migrations VALUES (99,'x','x','x')",
                   "newer tidemill");
    expect_refusal("UPDATE schema_migrations SET checksum='0' WHERE version=1",
                   "another file");
    expect_refusal("DELETE FROM schema_migrations WHERE version=1", "lacks");
}

static void test_checksums(void **state)
{
    (void)state;
    for (size_t i = 0; i < local_migration_count; i++) {
        assert_int_equal(local_migrations[i].version, i + 1);
        assert_int_equal(strlen(local_migrations[i].checksum), 64);
    }
}

static void test_percentiles(void **state)
{
    (void)state;
    sqlite3 *db = memory_db();
    struct error error;
    unsigned applied;
    sqlite3_stmt *row;
    assert_int_equal(schema_migrate_local(db, &applied, &error), 0);
    execute(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                " WHERE i < 11) INSERT INTO generation_jobs"
                " (kind, priority, state, created_ms, result)"
                " SELECT 'render', 2, 'done', 0,"
                " json_object('phases', json_object('total', i * 10, 'nap', 7,"
                " 'code_gen', 'x'), 'workers', 2) FROM n");
    sqlite3_prepare_v2(db,
                       "SELECT execution_count, avg_duration_ms, "
                       "p95_duration_ms, p99_duration_ms "
                       "FROM performance_metrics_summary",
                       -1, &row, NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(row, 0), 11);
    assert_true(sqlite3_column_double(row, 1) == 60.0);
    assert_true(sqlite3_column_double(row, 2) == 105.0);
    assert_true(sqlite3_column_double(row, 3) == 109.0);
    sqlite3_finalize(row);
    sqlite3_close(db);
}

/* A store of before has jobs without them. */
static void test_usage(void **state)
{
    (void)state;
    sqlite3 *db = memory_db();
    struct error error;
    unsigned applied;
    sqlite3_stmt *row;
    assert_int_equal(schema_migrate_local(db, &applied, &error), 0);
    execute(db, "INSERT INTO generation_jobs (kind, priority, state, "
                "created_ms, result) VALUES ('render', 2, 'done', 0, "
                "'{\"phases\":{\"total\":5}}'), ('render', 2, 'done', 0, "
                "'{\"phases\":{\"total\":5},\"usage\":{\"total\":"
                "[12,98.50]}}')");
    execute(db, "DELETE FROM schema_migrations WHERE version = 7");
    assert_int_equal(schema_migrate_local(db, &applied, &error), 0);
    assert_int_equal(applied, 1);
    sqlite3_prepare_v2(db,
                       "SELECT memory_usage_mb, cpu_percent FROM "
                       "generation_performance_metrics ORDER BY id",
                       -1, &row, NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_int_equal(sqlite3_column_type(row, 0), SQLITE_NULL);
    assert_int_equal(sqlite3_column_type(row, 1), SQLITE_NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(row, 0), 12);
    assert_true(sqlite3_column_double(row, 1) == 98.5);
    sqlite3_finalize(row);
    sqlite3_close(db);
}

/* What partial indexes are for must be found through them. */
static void expect_plan(sqlite3 *db, const char *sql, const char *index)
{
    sqlite3_stmt *row;
    char text[512];
    bool found = false;
    snprintf(text, sizeof(text), "EXPLAIN QUERY PLAN %s", sql);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &row, NULL), SQLITE_OK);
    while (sqlite3_step(row) == SQLITE_ROW)
        found |=
            strstr((const char *)sqlite3_column_text(row, 3), index) != NULL;
    sqlite3_finalize(row);
    if (!found)
        fail_msg("%s does not use %s", sql, index);
}

static void test_plans(void **state)
{
    (void)state;
    sqlite3 *db = memory_db();
    struct error error;
    unsigned applied;
    assert_int_equal(schema_migrate_local(db, &applied, &error), 0);
    expect_plan(db,
                "SELECT 1 FROM outbox_exceptions WHERE state NOT IN (4, 5) AND "
                "record_hash = ?1 AND id < ?2 AND state <> 3 LIMIT 1",
                "outbox_exceptions_record");
    expect_plan(db,
                "SELECT key FROM outbox_exceptions WHERE state = 0 AND lane = "
                "?1 AND priority <= ?2 ORDER BY priority, id LIMIT ?3",
                "outbox_exceptions_ready");
    expect_plan(db,
                "SELECT min(not_before_ms) FROM outbox_exceptions WHERE "
                "state = 1",
                "outbox_exceptions_retry");
    expect_plan(db,
                "SELECT id FROM generation_jobs WHERE state = 'queued' AND "
                "not_before_ms <= ?2 ORDER BY priority, id LIMIT ?1",
                "generation_jobs_queued");
    expect_plan(db,
                "SELECT sum(operations) FROM sync_batches WHERE finished_ms "
                "IS NULL",
                "sync_batches_in_flight");
    sqlite3_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_applies_once), cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_checksums),    cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_plans),        cmocka_unit_test(test_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
