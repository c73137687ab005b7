/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include <sqlite3.h>

static int64_t submit_as(struct store_fixture *f, int64_t token)
{
    struct store_call call = CALL(JOB_SUBMIT, T("render"), I(2), T("{\"a\":1}"),
                                  I(0), I(1000), I(token), N, N);
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NONE);
    return f->answer.results[0].changed;
}

static int64_t submit(struct store_fixture *f, int priority)
{
    struct store_call call = CALL(JOB_SUBMIT, T("render"), I(priority),
                                  T("{\"a\":1}"), I(0), I(1000), I(0), N, N);
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NONE);
    assert_true(store_writer_topics(f->writer) & TOPIC_JOB_QUEUED);
    return f->answer.results[0].changed;
}

/* A lost answer is asked for again, of the same writer or of the next. */
static void test_tokens(void **state)
{
    struct store_fixture *f = *state;
    int64_t first = submit_as(f, 77);
    assert_int_equal(submit_as(f, 77), first);
    int64_t second = submit_as(f, 78);
    assert_int_not_equal(second, first);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(submit_as(f, 77), first);
    assert_int_equal(submit_as(f, 78), second);
    assert_true(submit_as(f, 79) > second);
    assert_int_not_equal(submit_as(f, 0), submit_as(f, 0));
}

/* Claims; the rows stay in f->answer. */
static size_t claim(struct store_fixture *f, int slot, int spawn, int most,
                    int64_t now)
{
    struct store_call call =
        CALL(JOB_CLAIM, I(slot), I(spawn), I(most), I(now));
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &call, 1), ERROR_NONE);
    return f->answer.results[0].rows;
}

static const struct value *cell(const struct store_fixture *f, size_t row,
                                unsigned column)
{
    const struct store_result *result = &f->answer.results[0];
    return &result->values[row * result->columns + column];
}

static enum error_code finish(struct store_fixture *f, int64_t id, int spawn,
                              const char *outcome, int64_t now)
{
    struct store_call call = CALL(JOB_FINISH, I(id), I(0), I(spawn), T(outcome),
                                  T("{}"), N, N, I(5), I(now));
    return fixture_run(f, CALLER_GENERATION, &call, 1);
}

static size_t adopt_before(struct store_fixture *f, int slot, int spawn,
                           int pool, int64_t died_on, int64_t last_spawn)
{
    struct store_call call =
        CALL(JOB_ADOPT, I(slot), I(spawn), I(pool), I(died_on), I(2),
             T("crashed by signal 9"), I(5000), I(last_spawn));
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &call, 1), ERROR_NONE);
    return f->answer.results[0].rows;
}

static size_t adopt(struct store_fixture *f, int slot, int spawn, int pool,
                    int64_t died_on)
{
    return adopt_before(f, slot, spawn, pool, died_on, 1000);
}

static void expect_outcome(const struct store_fixture *f, size_t row,
                           int64_t id, const char *outcome)
{
    assert_int_equal(cell(f, row, 0)->integer, id);
    assert_int_equal(cell(f, row, 1)->size, strlen(outcome));
    assert_memory_equal(cell(f, row, 1)->bytes, outcome, strlen(outcome));
}

static void test_order_and_finish(void **state)
{
    struct store_fixture *f = *state;
    int64_t low = submit(f, 3);
    int64_t normal = submit(f, 2);
    int64_t urgent = submit(f, 0);
    assert_int_equal(claim(f, 0, 1, 2, 2000), 2);
    assert_int_equal(cell(f, 0, 0)->integer, urgent);
    assert_int_equal(cell(f, 1, 0)->integer, normal);
    assert_int_equal(cell(f, 0, 3)->integer, 1);
    assert_memory_equal(cell(f, 0, 2)->bytes, "{\"a\":1}", 7);
    assert_int_equal(finish(f, urgent, 9, "done", 3000), ERROR_NOT_ALLOWED);
    assert_int_equal(finish(f, urgent, 1, "maybe", 3000), ERROR_DATA);
    assert_int_equal(finish(f, urgent, 1, "done", 3000), ERROR_NONE);
    assert_true(store_writer_topics(f->writer) & TOPIC_JOB_OVER);
    assert_int_equal(finish(f, urgent, 1, "done", 3000), ERROR_NOT_ALLOWED);
    assert_int_equal(finish(f, 999, 1, "done", 3000), ERROR_DATA);
    assert_int_equal(claim(f, 1, 2, 5, 2000), 1);
    assert_int_equal(cell(f, 0, 0)->integer, low);
}

static void test_backoff(void **state)
{
    struct store_fixture *f = *state;
    static const int64_t waits[] = {1000,  2000,  4000,  8000,
                                    16000, 32000, 60000, 60000};
    int64_t id = submit(f, 2);
    int64_t now = 10000;
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        assert_int_equal(claim(f, 0, 1, 1, now), 1);
        assert_int_equal(cell(f, 0, 3)->integer, i + 1);
        assert_int_equal(finish(f, id, 1, "retry", now), ERROR_NONE);
        assert_int_equal(claim(f, 0, 1, 1, now + waits[i] - 1), 0);
        assert_int_equal(f->answer.results[0].changed, -1); /* later */
        now += waits[i];
    }
}

/* A clock that was set back makes no retry wait for it. */
static void test_a_clock_set_back(void **state)
{
    struct store_fixture *f = *state;
    int64_t id = submit(f, 2);
    assert_int_equal(claim(f, 0, 1, 1, 90000000), 1);
    assert_int_equal(finish(f, id, 1, "retry", 90000000), ERROR_NONE);
    assert_int_equal(claim(f, 0, 1, 1, 90000000), 0);
    assert_int_equal(claim(f, 0, 1, 1, 2000), 1);
}

static int count_rows(const struct store_fixture *f, const char *table)
{
    char sql[80];
    sqlite3_stmt *row;
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table);
    sqlite3_prepare_v2(store_reader_db(f->reader), sql, -1, &row, NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int count = sqlite3_column_int(row, 0);
    sqlite3_finalize(row);
    return count;
}

static void expect_failed_for_centre(const struct store_fixture *f, int64_t id)
{
    sqlite3_stmt *row;
    sqlite3_prepare_v2(store_reader_db(f->reader),
                       "SELECT record_id, record_data ->> 'job', "
                       "record_data ->> 'state', record_data ->> 'error' "
                       "FROM sync_queue WHERE table_name = 'generation_jobs' "
                       "AND record_data ->> 'job' IS NOT NULL",
                       -1, &row, NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int64(row, 0), id);
    assert_int_equal(sqlite3_column_int64(row, 1), id);
    assert_string_equal((const char *)sqlite3_column_text(row, 2), "failed");
    assert_string_equal((const char *)sqlite3_column_text(row, 3),
                        "crashed by signal 9");
    sqlite3_finalize(row);
}

static void test_adopt(void **state)
{
    struct store_fixture *f = *state;
    int64_t first = submit(f, 2);
    int64_t second = submit(f, 2);
    assert_int_equal(claim(f, 0, 1, 5, 2000), 2);
    assert_int_equal(adopt(f, 0, 2, 2, first), 2);
    expect_outcome(f, 0, first, "retry");
    expect_outcome(f, 1, second, "queued");
    /* At once, and only the one that it died on has used an attempt. */
    assert_int_equal(claim(f, 0, 2, 5, 5000), 2);
    assert_int_equal(cell(f, 0, 3)->integer, 2);
    assert_int_equal(cell(f, 1, 3)->integer, 1);
    assert_int_equal(finish(f, first, 1, "done", 5000), ERROR_NOT_ALLOWED);
    assert_int_equal(adopt(f, 0, 2, 2, first), 0);
    assert_int_equal(adopt(f, 1, 3, 2, 0), 0);
    assert_int_equal(adopt(f, 0, 3, 2, first), 2);
    assert_int_equal(claim(f, 0, 3, 5, 5999), 1);
    assert_int_equal(finish(f, second, 3, "done", 5999), ERROR_NONE);
    assert_int_equal(claim(f, 0, 3, 5, 6000), 1);
    assert_int_equal(adopt(f, 0, 4, 2, first), 1);
    expect_outcome(f, 0, first, "failed");
    assert_int_equal(claim(f, 0, 4, 5, 100000), 0);
    assert_int_equal(count_rows(f, "sync_queue"), 2); /* and the one done */
    expect_failed_for_centre(f, first);
}

/* Claims take what fits into an answer, say so, and leave the rest. */
/* The last jobs of a queue are shared, and nobody thinks it empty. */
static void test_claim_takes_half_of_a_short_queue(void **state)
{
    struct store_fixture *f = *state;
    for (int i = 0; i < 20; i++)
        submit(f, 2);
    assert_int_equal(claim(f, 0, 1, 16, 2000), 10);
    assert_int_equal(f->answer.results[0].changed, 11);
    assert_int_equal(claim(f, 1, 2, 16, 2000), 5);
    assert_int_equal(claim(f, 0, 1, 16, 2000), 4); /* not fewer than that */
    assert_int_equal(f->answer.results[0].changed, 5);
    assert_int_equal(claim(f, 1, 2, 16, 2000), 1);
    assert_int_equal(f->answer.results[0].changed, 1);
}

static void test_claim_is_bounded_by_bytes(void **state)
{
    struct store_fixture *f = *state;
    const size_t size = 3u << 20;
    char *spec = malloc(size + 1);
    memset(spec, ' ', size);
    memcpy(spec, "{}", 2);
    spec[size] = '\0';
    for (int i = 0; i < 5; i++) {
        struct store_call call = CALL(JOB_SUBMIT, T("render"), I(2), T(spec),
                                      I(0), I(1000), I(0), N, N);
        assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NONE);
    }
    free(spec);
    assert_int_equal(claim(f, 0, 1, 5, 2000), 2);
    assert_int_equal(f->answer.results[0].changed, 3);
    assert_int_equal(claim(f, 0, 1, 5, 2000), 2);
    assert_int_equal(claim(f, 0, 1, 5, 2000), 1);
    assert_int_equal(f->answer.results[0].changed, 1);
}

static void test_adopt_beyond_pool(void **state)
{
    struct store_fixture *f = *state;
    submit(f, 2);
    assert_int_equal(claim(f, 3, 1, 5, 2000), 1);
    assert_int_equal(adopt(f, 1, 5, 2, 0), 0);
    assert_int_equal(adopt(f, 0, 6, 2, 0), 1);
    assert_int_equal(claim(f, 0, 6, 5, 2000), 1);
}

static void test_adopt_not_of_who_came_later(void **state)
{
    struct store_fixture *f = *state;
    submit(f, 2);
    assert_int_equal(claim(f, 3, 101, 5, 2000), 1);
    assert_int_equal(adopt_before(f, 0, 6, 2, 0, 100), 0);
    /* of this life, and of one that counted from elsewhere */
    assert_int_equal(adopt_before(f, 0, 6, 2, 0, 101), 1);
    assert_int_equal(claim(f, 3, 100000, 5, 2000), 1);
    assert_int_equal(adopt_before(f, 0, 6, 2, 0, 101), 1);
}

/* Who sizes the pool hears of it. */
static void test_jobs_that_wait(void **state)
{
    struct store_fixture *f = *state;
    struct error error;
    assert_false(store_writer_jobs_wait(f->writer));
    submit(f, 2);
    submit(f, 2);
    assert_true(store_writer_jobs_wait(f->writer));
    assert_int_equal(claim(f, 0, 1, 1, 2000), 1);
    assert_int_equal(f->answer.results[0].changed, 2);
    assert_true(store_writer_jobs_wait(f->writer));
    assert_int_equal(claim(f, 0, 1, 1, 2000), 1);
    assert_int_equal(f->answer.results[0].changed, 1);
    assert_false(store_writer_jobs_wait(f->writer));
    assert_int_equal(adopt(f, 0, 2, 1, 0), 2);
    assert_true(store_writer_jobs_wait(f->writer));
    assert_int_equal(claim(f, 0, 2, 5, 2000), 2);
    assert_false(store_writer_jobs_wait(f->writer));
    submit(f, 2);
    assert_int_equal(store_writer_look_for_jobs(f->writer, 2000, &error), 0);
    assert_true(store_writer_jobs_wait(f->writer));
    assert_int_equal(claim(f, 0, 2, 5, 2000), 1);
    assert_int_equal(store_writer_look_for_jobs(f->writer, 2000, &error), 0);
    assert_false(store_writer_jobs_wait(f->writer));
}

static int64_t stored_number(struct store_fixture *f, const char *sql)
{
    sqlite3_stmt *row;
    assert_int_equal(
        sqlite3_prepare_v2(store_reader_db(f->reader), sql, -1, &row, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return number;
}

/* Counts are added up; a time to load that is not given stays. */
static void test_templates(void **state)
{
    static const char *const rows[] = {
        "[[\"effect/a\",\"node\",\"m/t/a\",\"/t/a\",\"00\",10,1.5,2,1],"
        "[\"shared/c\",\"contract\",\"m/t/c\",\"/t/"
        "c\",\"01\",1048576,0.5,0,1]]",
        "[[\"effect/a\",\"node\",\"m/t/a\",\"/t/a\",\"02\",20,null,7,0]]",
    };
    struct store_fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        struct store_call call = CALL(TEMPLATES_RECORD, T(rows[i]), I(100 + i));
        assert_int_equal(fixture_run(f, CALLER_GENERATION, &call, 1),
                         ERROR_NONE);
    }
    assert_int_equal(
        stored_number(f, "SELECT count(*) FROM template_cache_metadata WHERE "
                         "template_name = 'effect/a' AND file_hash = '02' AND "
                         "cache_hits = 9 AND cache_misses = 1 AND "
                         "access_count = 10 AND load_time_ms = 1.5 AND "
                         "created_at = 100 AND updated_at = 101 AND "
                         "last_accessed_at = 101 AND size_bytes = 20"),
        1);
    assert_int_equal(
        stored_number(f, "SELECT count(*) FROM template_cache_efficiency "
                         "WHERE template_type = 'node' AND hit_rate = 0.9 OR "
                         "template_type = 'contract' AND hit_rate = 0 AND "
                         "total_size_mb = 1"),
        2);
    struct store_call bad =
        CALL(TEMPLATES_RECORD,
             T("[[\"a\",\"tea\",\"k\",\"p\",\"00\",1,1,1,1]]"), I(1));
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &bad, 1), ERROR_DATA);
    assert_int_equal(fixture_run(f, CALLER_CLI, &bad, 1), ERROR_NOT_ALLOWED);
}

static void test_records(void **state)
{
    struct store_fixture *f = *state;
    struct store_call hook = CALL(HOOK_RECORD, T("e1"), T("PreToolUse"), T("s"),
                                  N, T("{}"), I(1), N, N, N, I(2));
    assert_int_equal(fixture_run(f, CALLER_CLI, &hook, 1), ERROR_NONE);
    assert_int_equal(f->answer.results[0].changed, 1);
    assert_int_equal(fixture_run(f, CALLER_CLI, &hook, 1), ERROR_NONE);
    assert_int_equal(f->answer.results[0].changed, 0);
    hook.arguments[4] = T("{");
    assert_int_equal(fixture_run(f, CALLER_CLI, &hook, 1), ERROR_DATA);
    for (int i = 0; i < 5; i++) {
        struct store_call sample =
            CALL(SAMPLE_RECORD, I(i), T("{\"x\":1}"), I(3));
        assert_int_equal(fixture_run(f, CALLER_MONITOR, &sample, 1),
                         ERROR_NONE);
    }
    struct store_call file =
        CALL(FILES_RECORD, I(1), T("[[\"a.py\",\"00\",1]]"), T("effect"),
             T("11"), T("c.yaml"), I(1));
    struct store_call metric = CALL(SYNC_METRIC, I(1), I(2), I(3), T("urgent"),
                                    I(1), N, I(2), I(3), I(0), N);
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &file, 1), ERROR_NONE);
    assert_int_equal(fixture_run(f, CALLER_SYNC, &metric, 1), ERROR_NONE);
    metric.arguments[9] = T("coffee");
    assert_int_equal(fixture_run(f, CALLER_SYNC, &metric, 1), ERROR_DATA);
    sqlite3_stmt *row;
    sqlite3_prepare_v2(store_reader_db(f->reader),
                       "SELECT (SELECT count(*) FROM metric_samples), "
                       "(SELECT count(*) FROM hook_events), "
                       "(SELECT count(*) FROM generated_files), "
                       "(SELECT count(*) FROM sync_metrics)",
                       -1, &row, NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(row, 0), 3);
    for (int i = 1; i < 4; i++)
        assert_int_equal(sqlite3_column_int(row, i), 1);
    sqlite3_finalize(row);
}

/* Every pair counts once for each time; what is known stays known. */
static void test_mixins(void **state)
{
    struct store_fixture *f = *state;
    struct store_call call =
        CALL(MIXINS_RECORD, T("EFFECT"), T("[\"Caching\",\"Audit\",\"Retry\"]"),
             I(1), N, N, I(1000));
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &call, 1), ERROR_NONE);
    assert_int_equal(f->answer.results[0].changed, 3);
    call.arguments[2] = I(0);
    call.arguments[3] = T("they quarrel");
    call.arguments[5] = I(2000);
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NONE);
    call.arguments[1] = T("[\"Caching\",\"Audit\"]");
    call.arguments[2] = I(1);
    call.arguments[3] = N;
    call.arguments[4] = T("Audit outside");
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NONE);
    sqlite3_stmt *row;
    sqlite3_prepare_v2(
        store_reader_db(f->reader),
        "SELECT group_concat(mixin_a || '+' || mixin_b || ' ' || "
        "compatibility_score || ' ' || success_count || ' ' || "
        "failure_count || ' ' || conflict_reason || ' ' || "
        "coalesce(resolution_pattern, '-') || ' ' || "
        "created_at || ' ' || last_tested_at, '; ') FROM "
        "(SELECT * FROM mixin_compatibility_matrix WHERE "
        "node_type = 'EFFECT' ORDER BY mixin_a, mixin_b)",
        -1, &row, NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_string_equal(
        (const char *)sqlite3_column_text(row, 0),
        "Audit+Caching 0.6667 2 1 they quarrel Audit outside 1000 2000; "
        "Audit+Retry 0.5 1 1 they quarrel - 1000 2000; "
        "Caching+Retry 0.5 1 1 they quarrel - 1000 2000");
    sqlite3_finalize(row);
    call.arguments[2] = I(2);
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_DATA);
    call.arguments[2] = I(1);
    call.arguments[0] = T("TEAPOT");
    assert_int_not_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NONE);
}

static void change(struct store_fixture *f, struct store_call call,
                   enum error_code code)
{
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), code);
}

static void test_cancel_and_retry(void **state)
{
    struct store_fixture *f = *state;
    int64_t id = submit(f, 2);
    change(f, CALL(JOB_RETRY, I(id)), ERROR_NEGATIVE);
    change(f, CALL(JOB_CANCEL, I(id), I(2000)), ERROR_NONE);
    assert_int_equal(f->answer.results[0].changed, 1);
    assert_true(store_writer_topics(f->writer) & TOPIC_JOB_OVER);
    change(f, CALL(JOB_CANCEL, I(id), I(2000)), ERROR_NEGATIVE);
    change(f, CALL(JOB_RETRY, I(id)), ERROR_NONE);
    assert_int_equal(claim(f, 0, 1, 1, 3000), 1);
    change(f, CALL(JOB_CANCEL, I(id), I(2000)), ERROR_NONE);
    assert_int_equal(f->answer.results[0].changed, 2);
    assert_true(store_writer_topics(f->writer) & TOPIC_JOB_CANCEL);
    /* its worker asks for another try, too late */
    struct store_call retry =
        CALL(JOB_FINISH, I(id), I(0), I(1), T("retry"), T("{}"), value_null(),
             value_null(), I(1), I(4000));
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &retry, 1), ERROR_NONE);
    assert_int_equal(claim(f, 0, 1, 1, 900000), 0);
    /* the centre hears of each end */
    assert_int_equal(stored_number(f, "SELECT count(*) FROM sync_queue WHERE "
                                      "record_data ->> 'state' = 'cancelled'"),
                     2);
    change(f, CALL(JOB_RETRY, I(id)), ERROR_NONE);
}

static void test_a_cancelled_job_of_a_dead_worker(void **state)
{
    struct store_fixture *f = *state;
    int64_t id = submit(f, 2);
    assert_int_equal(claim(f, 0, 1, 1, 3000), 1);
    change(f, CALL(JOB_CANCEL, I(id), I(2000)), ERROR_NONE);
    struct store_call adopt = CALL(JOB_ADOPT, I(0), I(2), I(4), I(id), I(3),
                                   T("killed"), I(4000), I(0));
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &adopt, 1), ERROR_NONE);
    assert_int_equal(claim(f, 0, 2, 1, 900000), 0);
}

/* What waits behind a long job goes to others, with the attempt unused. */
static void test_unclaim(void **state)
{
    struct store_fixture *f = *state;
    int64_t first = submit(f, 2);
    int64_t second = submit(f, 2);
    assert_int_equal(claim(f, 0, 1, 2, 3000), 2);
    struct store_call other =
        CALL(JOB_UNCLAIM, I(0), I(9), T("[1,2]")); /* not its own */
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &other, 1), ERROR_NONE);
    assert_int_equal(f->answer.results[0].changed, 0);
    struct store_call call = CALL(JOB_UNCLAIM, I(0), I(1), T("[2]"));
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &call, 1), ERROR_NONE);
    assert_int_equal(f->answer.results[0].changed, 1);
    assert_true(store_writer_topics(f->writer) & TOPIC_JOB_QUEUED);
    assert_int_equal(claim(f, 1, 2, 2, 3000), 1);
    assert_int_equal(cell(f, 0, 0)->integer, second);
    assert_int_equal(cell(f, 0, 3)->integer, 1);
    assert_int_equal(finish(f, first, 1, "done", 3000), ERROR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_tokens),
        STORE_TEST(test_order_and_finish),
        STORE_TEST(test_backoff),
        STORE_TEST(test_a_clock_set_back),
        STORE_TEST(test_adopt),
        STORE_TEST(test_adopt_beyond_pool),
        STORE_TEST(test_adopt_not_of_who_came_later),
        STORE_TEST(test_jobs_that_wait),
        STORE_TEST(test_cancel_and_retry),
        STORE_TEST(test_a_cancelled_job_of_a_dead_worker),
        STORE_TEST(test_unclaim),
        STORE_TEST(test_templates),
        STORE_TEST(test_records),
        STORE_TEST(test_mixins),
        STORE_TEST(test_claim_takes_half_of_a_short_queue),
        STORE_TEST(test_claim_is_bounded_by_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
