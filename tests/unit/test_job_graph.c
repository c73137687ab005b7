/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs that wait for others, and jobs with keys.
 */
#include "tests/unit/store_fixture.h"

#include <sqlite3.h>
#include <stdio.h>

static enum error_code try_submit(struct store_fixture *f, const char *spec,
                                  const char *after, const char *key)
{
    struct store_call call =
        CALL(JOB_SUBMIT, T("command"), I(2), T(spec), I(0), I(1000), I(0),
             after != NULL ? T(after) : N, key != NULL ? T(key) : N);
    return fixture_run(f, CALLER_CLI, &call, 1);
}

static int64_t submit(struct store_fixture *f, const char *after)
{
    assert_int_equal(try_submit(f, "{\"a\":1}", after, NULL), ERROR_NONE);
    return f->answer.results[0].changed;
}

/* The one job that can be claimed; 0: none. */
static int64_t claim(struct store_fixture *f)
{
    struct store_call call = CALL(JOB_CLAIM, I(0), I(1), I(1), I(2000));
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &call, 1), ERROR_NONE);
    const struct store_result *result = &f->answer.results[0];
    return result->rows == 0 ? 0 : result->values[0].integer;
}

static void finish(struct store_fixture *f, int64_t id, const char *outcome)
{
    struct store_call call = CALL(JOB_FINISH, I(id), I(0), I(1), T(outcome),
                                  T("{}"), N, N, I(5), I(3000));
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &call, 1), ERROR_NONE);
}

static void run_one(struct store_fixture *f, int64_t id, const char *outcome)
{
    assert_int_equal(claim(f), id);
    finish(f, id, outcome);
}

static void change(struct store_fixture *f, struct store_call call,
                   enum error_code code)
{
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), code);
}

/* The text that a query of one job gives. */
static void expect(const struct store_fixture *f, const char *column,
                   int64_t id, const char *text)
{
    char sql[160];
    sqlite3_stmt *row;
    snprintf(sql, sizeof(sql), "SELECT %s FROM generation_jobs WHERE id = %lld",
             column, (long long)id);
    sqlite3_prepare_v2(store_reader_db(f->reader), sql, -1, &row, NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(row, 0), text);
    sqlite3_finalize(row);
}

static int64_t number(const struct store_fixture *f, const char *sql)
{
    sqlite3_stmt *row;
    sqlite3_prepare_v2(store_reader_db(f->reader), sql, -1, &row, NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return value;
}

/* 1 -> 2, 1 -> 3, both -> 4. */
static void test_diamond(void **state)
{
    struct store_fixture *f = *state;
    int64_t first = submit(f, NULL);
    int64_t left = submit(f, "[1]");
    int64_t right = submit(f, "[1,1]");
    int64_t last = submit(f, "[1,2,3]");
    expect(f, "state", last, "waiting");
    run_one(f, first, "done");
    assert_true(store_writer_topics(f->writer) & TOPIC_JOB_QUEUED);
    assert_int_equal(claim(f), left);
    assert_int_equal(claim(f), right);
    assert_int_equal(claim(f), 0);
    finish(f, right, "done");
    assert_int_equal(claim(f), 0);
    finish(f, left, "done");
    run_one(f, last, "done");
    assert_int_equal(number(f, "SELECT count(*) FROM generation_edges"), 0);
    assert_int_equal(submit(f, "[1,2]"), 5); /* what is done holds up none */
    run_one(f, 5, "done");
}

/* A failure goes down the whole graph, once for each job, with its reason,
 * and the centre hears of all. */
static void test_failure_cancels_what_waits(void **state)
{
    struct store_fixture *f = *state;
    submit(f, NULL);
    submit(f, NULL);
    submit(f, "[1]");
    submit(f, "[2,3]");
    submit(f, "[3,4]");
    int64_t other = submit(f, "[2]");
    run_one(f, 1, "failed");
    assert_true(store_writer_topics(f->writer) & TOPIC_JOB_OVER);
    for (int64_t id = 3; id <= 5; id++)
        expect(f, "state", id, "cancelled");
    expect(f, "error", 3, "job 1, which it waited for, failed");
    expect(f, "error", 5, "job 3, which it waited for, was cancelled");
    assert_int_equal(
        number(f, "SELECT count(*) FROM sync_queue WHERE record_data ->> "
                  "'state' = 'cancelled' AND record_data ->> 'error' LIKE "
                  "'job %'"),
        3);
    run_one(f, 2, "done"); /* also 4's, which is cancelled */
    expect(f, "state", 4, "cancelled");
    run_one(f, other, "done");
    assert_int_equal(number(f, "SELECT count(*) FROM generation_edges"), 0);
}

static void test_cancel_and_retry(void **state)
{
    struct store_fixture *f = *state;
    submit(f, NULL);
    submit(f, "[1]");
    submit(f, "[2]");
    change(f, CALL(JOB_CANCEL, I(2), I(2000)), ERROR_NONE);
    expect(f, "state", 3, "cancelled");
    change(f, CALL(JOB_RETRY, I(3)), ERROR_NEGATIVE); /* 2 was cancelled */
    change(f, CALL(JOB_RETRY, I(2)), ERROR_NONE);
    expect(f, "state", 2, "waiting"); /* 1 is not over */
    change(f, CALL(JOB_RETRY, I(3)), ERROR_NONE);
    run_one(f, 1, "done");
    run_one(f, 2, "done");
    run_one(f, 3, "done");
}

/* A worker that dies on its last attempt fails its job, and so on. */
static void test_death_cancels_what_waits(void **state)
{
    struct store_fixture *f = *state;
    submit(f, NULL);
    submit(f, "[1]");
    assert_int_equal(claim(f), 1);
    struct store_call adopt = CALL(JOB_ADOPT, I(0), I(2), I(4), I(1), I(0),
                                   T("killed by signal 9"), I(4000), I(2));
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &adopt, 1), ERROR_NONE);
    expect(f, "state", 1, "failed");
    expect(f, "state", 2, "cancelled");
}

static void test_what_is_refused(void **state)
{
    struct store_fixture *f = *state;
    char many[1024] = "[1";
    submit(f, NULL);
    assert_int_equal(try_submit(f, "{}", "[2]", NULL), ERROR_NEGATIVE);
    assert_int_equal(try_submit(f, "{}", "[\"1\"]", NULL), ERROR_DATA);
    assert_int_equal(try_submit(f, "{}", "[1", NULL), ERROR_DATA);
    for (int i = 2; i <= 65; i++) {
        submit(f, NULL);
        snprintf(many + strlen(many), 8, ",%d", i);
    }
    strcat(many, "]");
    assert_int_equal(try_submit(f, "{}", many, NULL), ERROR_DATA);
    run_one(f, 1, "failed");
    assert_int_equal(try_submit(f, "{}", "[1]", NULL), ERROR_NEGATIVE);
}

static void test_keys(void **state)
{
    struct store_fixture *f = *state;
    assert_int_equal(
        try_submit(f, "{\"a\":1,\"correlation_id\":\"x\"}", NULL, "k"),
        ERROR_NONE);
    int64_t id = f->answer.results[0].changed;
    assert_int_equal(
        try_submit(f, "{\"a\":1,\"correlation_id\":\"y\"}", NULL, "k"),
        ERROR_NONE);
    assert_int_equal(f->answer.results[0].changed, id);
    assert_int_equal(try_submit(f, "{\"a\":2}", NULL, "k"), ERROR_DATA);
    assert_non_null(strstr(f->answer.text, "specification differs"));
    assert_int_equal(try_submit(f, "{\"a\":1}", "[1]", "k"), ERROR_DATA);
    assert_int_equal(try_submit(f, "{\"a\":1}", NULL, "other"), ERROR_NONE);
    assert_int_not_equal(f->answer.results[0].changed, id);
    assert_int_equal(try_submit(f, "{\"a\":1}", NULL, ""), ERROR_DATA);
    run_one(f, id, "done");
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(try_submit(f, "{\"a\":1}", NULL, "k"), ERROR_NONE);
    assert_int_equal(f->answer.results[0].changed, id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_diamond),
        STORE_TEST(test_failure_cancels_what_waits),
        STORE_TEST(test_cancel_and_retry),
        STORE_TEST(test_death_cancels_what_waits),
        STORE_TEST(test_what_is_refused),
        STORE_TEST(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
