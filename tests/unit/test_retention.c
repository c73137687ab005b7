/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention: what it may never delete, in steps of how many rows, and that
 * in the end nothing old is left.
 */
#include <sqlite3.h>

#include "common/base/clock.h"
#include "common/store/expiry.h"
#include "tests/unit/store_fixture.h"
#include "workers/store/retention.h"

#define FOR_EVER INT64_MAX
#define ID_MASK  ((INT64_C(1) << OUTBOX_ID_BITS) - 1)

static int64_t number(struct store_fixture *f, const char *sql)
{
    sqlite3_stmt *row;
    sqlite3 *db = store_reader_db(f->reader);
    if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int64_t result = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return result;
}

/* A whole walk; returns the rows deleted. */
static int64_t expire(struct store_fixture *f, enum expiry expiry,
                      int64_t cutoff_ms, int rows)
{
    int64_t deleted = 0;
    int64_t from = 0;
    int steps = 0;
    do {
        struct store_call call =
            CALL(EXPIRE, I(expiry), I(cutoff_ms), I(from), I(rows));
        if (fixture_run(f, CALLER_STORE, &call, 1) != ERROR_NONE)
            fail_msg("expire: %s", f->answer.text);
        assert_true(f->answer.results[0].changed <= 2 * rows);
        deleted += f->answer.results[0].changed;
        from = f->answer.results[0].values[0].integer;
        assert_true(++steps < 100000);
    } while (from != 0);
    return deleted;
}

static void expire_all(struct store_fixture *f, int64_t cutoff_ms, int rows)
{
    for (int i = 0; i < EXPIRY_DEAD; i++)
        expire(f, (enum expiry)i, cutoff_ms, rows);
}

/* Claims a batch and settles it at finished_ms; refuses the operation of
 * refused_key (0: none). */
static bool carry(struct store_fixture *f, int most, int64_t finished_ms,
                  int64_t refused_key, int retries)
{
    struct store_call claim =
        CALL(BATCH_CLAIM, I(0), I(7), I(most), I(3), I(finished_ms));
    assert_int_equal(fixture_run(f, CALLER_SYNC, &claim, 1), ERROR_NONE);
    const struct store_result *got = &f->answer.results[0];
    if (got->rows == 0)
        return false;
    int64_t batch = got->values[0].integer;
    int64_t operations = got->values[3].integer;
    bool holds = false;
    for (size_t i = 1; i < got->rows && refused_key != 0; i++) {
        const struct value *v = &got->values[i * got->columns];
        holds |= v[1].integer == 1 && v[2].integer == refused_key >> 55 &&
                 v[3].integer < (refused_key & ID_MASK) &&
                 v[4].integer >= (refused_key & ID_MASK);
    }
    struct store_call calls[2];
    int count = 0;
    if (holds)
        calls[count++] = CALL(BATCH_REJECT, I(batch), I(refused_key),
                              T("23505"), T("no"), I(retries), I(FOR_EVER / 2));
    calls[count++] =
        CALL(BATCH_SETTLE, I(batch), I(0), I(7), I(operations - holds), I(1),
             I(finished_ms - 1), I(finished_ms), T("request"));
    if (fixture_run(f, CALLER_SYNC, calls, (size_t)count) != ERROR_NONE)
        fail_msg("settle: %s", f->answer.text);
    return true;
}

static void append_many(struct store_fixture *f, int count, int first)
{
    for (int i = 0; i < count; i++) {
        char record[32];
        snprintf(record, sizeof(record), "r%d", first + i);
        struct store_call call =
            append_call("t", record, 2, "{\"a\":\"0123456789\"}", 0);
        fixture_run(f, CALLER_CLI, &call, 1);
    }
}

static int64_t key_of(struct store_fixture *f, const char *record)
{
    char sql[100];
    snprintf(sql, sizeof(sql), "SELECT key FROM outbox WHERE record_id='%s'",
             record);
    return number(f, sql);
}

static void test_what_may_go(void **state)
{
    struct store_fixture *f = *state;
    append_many(f, 300, 0);
    int64_t dead = key_of(f, "r7");
    int64_t waits = key_of(f, "r9");
    while (carry(f, 1000, 1000, dead, 0))
        ;
    append_many(f, 50, 300);
    int64_t late = key_of(f, "r320");
    while (carry(f, 1000, 5000, late, 5))
        ;
    append_many(f, 20, 350);
    (void)waits;
    expire_all(f, 1000, 7); /* nothing is older */
    assert_int_equal(number(f, "SELECT count(*) FROM outbox"), 370);
    expire_all(f, 2000, 7);
    assert_int_equal(number(f, "SELECT count(*) FROM outbox"), 71);
    assert_int_equal(key_of(f, "r7"), dead);
    assert_int_equal(number(f, "SELECT count(*) FROM sync_batches"),
                     number(f, "SELECT count(*) FROM sync_batches WHERE "
                               "finished_ms = 5000"));
    expire_all(f, 6000, 3);
    /* Dead, waiting to be tried again, pending. */
    assert_int_equal(number(f, "SELECT count(*) FROM outbox"), 22);
    assert_int_equal(key_of(f, "r320"), late);
    assert_int_equal(number(f, "SELECT count(*) FROM sync_batch_ranges"), 0);
    assert_int_equal(number(f, "SELECT count(*) FROM sync_batches"), 0);
    /* Ids are never given again, and what is left is still carried. */
    fixture_close(f);
    fixture_open(f);
    append_many(f, 1, 999);
    assert_int_equal(number(f, "SELECT max(id) FROM sync_queue"), 371);
    while (carry(f, 1000, 9000, 0, 0))
        ;
    expire_all(f, 10000, 500);
    assert_int_equal(number(f, "SELECT count(*) FROM outbox"), 2);
    expire(f, EXPIRY_DEAD, FOR_EVER, 10);
    assert_int_equal(number(f, "SELECT count(*) FROM outbox"), 1);
    assert_int_equal(key_of(f, "r320"), late);
}

/* Urgent operations leave the line, and are delivered before their range. */
static void test_singles(void **state)
{
    struct store_fixture *f = *state;
    append_many(f, 100, 0);
    for (int i = 0; i < 100; i += 3) {
        char record[32];
        snprintf(record, sizeof(record), "r%d", i);
        struct store_call call = append_call("t", record, 0, "{}", 0);
        fixture_run(f, CALLER_CLI, &call, 1);
    }
    int64_t now = 1000;
    while (carry(f, 10, now, 0, 0)) {
        now += 10;
        expire_all(f, now - 50, 5);
        assert_true(number(f, "SELECT count(*) FROM sync_queue WHERE status "
                              "<> 'synced'") >= 0);
    }
    assert_int_equal(
        number(f, "SELECT count(*) FROM sync_queue WHERE status <> 'synced'"),
        0);
    assert_int_equal(number(f, "SELECT sum(applied) FROM sync_batches") > 0, 1);
    expire_all(f, FOR_EVER, 5);
    assert_int_equal(number(f, "SELECT (SELECT count(*) FROM outbox) + (SELECT "
                               "count(*) FROM sync_batches) + (SELECT count(*) "
                               "FROM sync_batch_singles) + (SELECT count(*) "
                               "FROM sync_batch_ranges) + (SELECT count(*) "
                               "FROM outbox_exceptions)"),
                     0);
}

static void test_detail_is_folded_first(void **state)
{
    struct store_fixture *f = *state;
    for (int i = 0; i < 30; i++) {
        char id[16];
        snprintf(id, sizeof(id), "e%d", i);
        struct store_call hook =
            CALL(HOOK_RECORD, T(id), T("PostToolUse"), T("s"), N, T("{}"),
                 I(1000 + i), N, N, N, I(2));
        fixture_run(f, CALLER_CLI, &hook, 1);
    }
    assert_int_equal(expire(f, EXPIRY_EVENTS, FOR_EVER, 4), 0);
    struct store_call fold = CALL(DETAILS_FOLD, I(1));
    fixture_run(f, CALLER_CLI, &fold, 1);
    assert_int_equal(expire(f, EXPIRY_EVENTS, 1010, 4), 10);
    assert_int_equal(expire(f, EXPIRY_EVENTS, FOR_EVER, 4), 20);
    /* A late one after all of them, in a store that was opened anew. */
    fixture_close(f);
    fixture_open(f);
    struct store_call late = CALL(HOOK_RECORD, T("late"), T("Stop"), T("s"), N,
                                  T("{}"), I(5000), N, N, N, I(2));
    fixture_run(f, CALLER_CLI, &late, 1);
    fixture_run(f, CALLER_CLI, &fold, 1);
    assert_int_equal(number(f, "SELECT json_extract(record_data, "
                               "'$.total_events') FROM sync_queue ORDER BY id "
                               "DESC LIMIT 1"),
                     31);
    int64_t now = clock_wall_ms();
    assert_int_equal(expire(f, EXPIRY_GROUPS, now - 60000, 4), 0);
    assert_int_equal(expire(f, EXPIRY_GROUPS, FOR_EVER, 4), 1);
}

static void test_jobs_and_metrics(void **state)
{
    struct store_fixture *f = *state;
    for (int i = 0; i < 20; i++) {
        struct store_call job = CALL(JOB_SUBMIT, T("render"), I(2), T("{}"),
                                     I(0), I(1000 + i), I(0), N, N);
        struct store_call metric =
            CALL(SYNC_METRIC, I(86400000 + i), I(2), I(3), T("urgent"), I(1), N,
                 I(2), I(3), I(1), N);
        fixture_run(f, CALLER_CLI, &job, 1);
        fixture_run(f, CALLER_SYNC, &metric, 1);
    }
    assert_int_equal(expire(f, EXPIRY_JOBS, FOR_EVER, 3), 0); /* queued */
    assert_int_equal(expire(f, EXPIRY_METRICS, 86400005, 3), 5);
    assert_int_equal(expire(f, EXPIRY_METRICS, FOR_EVER, 3), 15);
    assert_int_equal(number(f, "SELECT passes FROM sync_days WHERE day = 1"),
                     20);
    assert_int_equal(expire(f, EXPIRY_DAYS, 2 * 86400000LL - 1, 3), 0);
    assert_int_equal(expire(f, EXPIRY_DAYS, 2 * 86400000LL, 3), 1);
}

/* A store that was filled for a week gives its space back. */
static void test_space(void **state)
{
    struct store_fixture *f = *state;
    static char data[20000];
    memset(data, 'x', sizeof(data) - 1);
    data[0] = data[sizeof(data) - 2] = '"';
    if (store_writer_begin(f->writer, &f->error) != 0)
        fail_msg("%s", f->error.text);
    for (int i = 0; i < 5000; i++) {
        char record[32];
        snprintf(record, sizeof(record), "r%d", i);
        struct store_call call = append_call("t", record, 2, data, 0);
        fixture_request(f, CALLER_CLI, &call, 1);
        arena_reset(&f->arena);
    }
    assert_int_equal(store_writer_commit(f->writer, &f->error), 0);
    int64_t pages = number(f, "PRAGMA page_count");
    while (carry(f, 1000, 1000, 0, 0))
        ;
    assert_int_equal(expire(f, EXPIRY_SPACE, 0, 500), 0);
    assert_true(number(f, "PRAGMA page_count") >= pages);
    expire_all(f, FOR_EVER, 500);
    expire(f, EXPIRY_SPACE, 0, 500);
    assert_true(number(f, "PRAGMA page_count") < pages * 7 / 10);
    assert_true(number(f, "PRAGMA freelist_count") <= EXPIRY_PAGES_MAX);
}

static void test_policy(void **state)
{
    (void)state;
    int64_t keep[EXPIRY_COUNT] = {0};
    assert_int_equal(retention_pause_ms(keep), 0);
    keep[3] = 7 * 86400000LL;
    assert_int_equal(retention_pause_ms(keep), 60000);
    keep[5] = 20000;
    assert_int_equal(retention_pause_ms(keep), 2000);
    keep[6] = 10;
    assert_int_equal(retention_pause_ms(keep), 100);
    assert_int_equal(retention_step_rows(0, 0), EXPIRY_ROWS_MAX);
    for (unsigned added = 0; added < 10000; added += 7) {
        unsigned rows = retention_step_rows(1, added);
        assert_true(rows <= EXPIRY_ROWS_MAX);
        assert_true(rows > added || rows == EXPIRY_ROWS_MAX);
    }
}

static int open_store(void **state)
{
    static struct store_fixture fixture;
    *state = &fixture;
    fixture_init(&fixture);
    return 0;
}

static int end_store(void **state)
{
    fixture_deinit(*state);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_store, end_store)
    const struct CMUnitTest tests[] = {
        TEST(test_what_may_go),
        TEST(test_singles),
        TEST(test_detail_is_folded_first),
        TEST(test_jobs_and_metrics),
        TEST(test_space),
        cmocka_unit_test(test_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
