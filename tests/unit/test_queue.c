/* SPDX-License-Identifier: Apache-2.0
 *
 * The central queue: what a host does next, and what its store keeps.
 */
#include "tests/unit/store_fixture.h"

#include <sqlite3.h>

#include "workers/sync/queue_leases.h"
#include "workers/sync/queue_policy.h"

/* --- policy --- */

static struct queue_plan plan_of(struct queue_facts facts)
{
    struct queue_plan plan;
    queue_plan_make(&facts, &plan);
    return plan;
}

static void test_order(void **state)
{
    struct queue_facts facts = {.now_ms = 1000, .most = 8};
    (void)state;
    assert_int_equal(plan_of(facts).step, QUEUE_GIVE_BACK);
    facts.reconciled = true;
    assert_int_equal(plan_of(facts).step, QUEUE_LEASE);
    assert_int_equal(plan_of(facts).count, 8);
    facts.held = 3;
    facts.over = 1;
    assert_int_equal(plan_of(facts).step, QUEUE_RENEW);
    facts.renew_at_ms = 1500;
    assert_int_equal(plan_of(facts).step, QUEUE_REPORT);
    facts.over = 0;
    assert_int_equal(plan_of(facts).step, QUEUE_LEASE);
    assert_int_equal(plan_of(facts).count, 5);
    /* jobs that are over need no heartbeat */
    facts = (struct queue_facts){
        .now_ms = 9, .most = 8, .held = 2, .over = 2, .reconciled = true};
    assert_int_equal(plan_of(facts).step, QUEUE_REPORT);
}

static void test_rest(void **state)
{
    struct queue_facts facts = {.now_ms = 1000,
                                .renew_at_ms = 1400,
                                .look_at_ms = 1300,
                                .most = 100,
                                .held = 80,
                                .reconciled = true};
    (void)state;
    assert_int_equal(plan_of(facts).step, QUEUE_REST);
    assert_int_equal(plan_of(facts).wait_ms, 300);
    facts.more = true; /* a fifth is free */
    assert_int_equal(plan_of(facts).step, QUEUE_REST);
    facts.held = 75;
    assert_int_equal(plan_of(facts).step, QUEUE_LEASE);
    assert_int_equal(plan_of(facts).count, QUEUE_LEASES_MOST);
    facts.held = 100; /* full: only heartbeats */
    facts.now_ms = 1350;
    assert_int_equal(plan_of(facts).step, QUEUE_REST);
    assert_int_equal(plan_of(facts).wait_ms, 50);
    facts.held = 101; /* max_jobs was made smaller */
    assert_int_equal(plan_of(facts).step, QUEUE_REST);
}

static void test_times(void **state)
{
    (void)state;
    assert_int_equal(queue_heartbeat_ms(60000), 15000);
    assert_int_equal(queue_retry_most_ms(60000, 60000), 7500);
    assert_int_equal(queue_retry_most_ms(500, 60000), 500);
    assert_int_equal(queue_retry_most_ms(500, 4), 1);
}

/* A host that stops: what has not begun first, then what runs. */
static void test_leaving(void **state)
{
    struct queue_facts facts = {.now_ms = 1000,
                                .renew_at_ms = 2000,
                                .most = 8,
                                .held = 4,
                                .over = 1,
                                .unbegun = 2,
                                .begun = 1,
                                .reconciled = true,
                                .leaving = true};
    (void)state;
    assert_int_equal(plan_of(facts).step, QUEUE_HAND_BACK);
    facts.unbegun = 0;
    facts.held = 2;
    facts.handed_back = true;
    assert_int_equal(plan_of(facts).step, QUEUE_GIVE_BACK);
    facts.handed_back = false;
    assert_int_equal(plan_of(facts).step, QUEUE_REPORT);
    facts.over = 0;
    facts.held = 1;
    assert_int_equal(plan_of(facts).step, QUEUE_REST); /* for what runs */
    assert_int_equal(plan_of(facts).wait_ms, QUEUE_LEAVING_LOOK_MS);
    facts.now_ms = 2000;
    assert_int_equal(plan_of(facts).step, QUEUE_RENEW);
    facts.workers_gone = true;
    assert_int_equal(plan_of(facts).step, QUEUE_HAND_BACK);
    facts.begun = 0; /* what others wait for stays */
    assert_int_equal(plan_of(facts).step, QUEUE_LEAVE);
    facts.reconciled = false;
    assert_int_equal(plan_of(facts).step, QUEUE_GIVE_BACK);
    facts.held = 0;
    assert_int_equal(plan_of(facts).step, QUEUE_LEAVE);
}

/* --- the store --- */

static int64_t submit(struct store_fixture *f, int64_t central, int64_t attempt,
                      int64_t token)
{
    struct store_call call =
        CALL(CENTRAL_SUBMIT, T("noop"), I(1), T("{}"), I(0), I(1000),
             I(central), I(attempt), I(token));
    assert_int_equal(fixture_run(f, CALLER_SYNC, &call, 1), ERROR_NONE);
    return f->answer.results[0].changed;
}

static int64_t report(struct store_fixture *f, int64_t job, const char *word)
{
    struct store_call call = CALL(CENTRAL_REPORTED, I(job), T(word), I(2000));
    assert_int_equal(fixture_run(f, CALLER_SYNC, &call, 1), ERROR_NONE);
    return f->answer.results[0].changed;
}

static void claim(struct store_fixture *f)
{
    struct store_call call = CALL(JOB_CLAIM, I(0), I(1), I(1), I(1500));
    assert_int_equal(fixture_run(f, CALLER_GENERATION, &call, 1), ERROR_NONE);
    assert_int_equal(f->answer.results[0].rows, 1);
}

static int64_t number(struct store_fixture *f, const char *sql)
{
    sqlite3_stmt *row;
    sqlite3 *db = store_reader_db(f->reader);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return value;
}

/* An answer that was lost makes no second job; the next attempt does. */
static void test_submit(void **state)
{
    struct store_fixture *f = *state;
    int64_t job = submit(f, 17, 1, 5);
    assert_int_equal(submit(f, 17, 1, 5), job);
    assert_int_equal(number(f, "SELECT count(*) FROM central_jobs"), 1);
    assert_int_equal(
        number(f, "SELECT key = 'central:17:1' AND priority = 1 AND state = "
                  "'queued' FROM generation_jobs"),
        1);
    assert_int_equal(report(f, job, "reported"), 1);
    assert_int_equal(report(f, job, "refused"), 0); /* once */
    assert_int_equal(submit(f, 17, 1, 5), job);
    assert_int_equal(
        number(f, "SELECT count(*) FROM central_jobs WHERE report IS NULL"), 0);
    assert_int_not_equal(submit(f, 17, 2, 6), job);
    /* the same attempt under another lease */
    assert_int_equal(submit(f, 17, 1, 7), job);
    assert_int_equal(
        number(f, "SELECT count(*) FROM central_jobs WHERE report IS NULL"), 2);
}

static void test_lost(void **state)
{
    struct store_fixture *f = *state;
    int64_t job = submit(f, 1, 1, 5);
    assert_int_equal(report(f, job, "lost"), 1);
    assert_int_equal(
        number(f, "SELECT state = 'cancelled' FROM generation_jobs"), 1);
    job = submit(f, 2, 1, 5);
    claim(f);
    assert_int_equal(report(f, job, "lost"), 1);
    assert_true(store_writer_topics(f->writer) & TOPIC_JOB_CANCEL);
    assert_int_equal(
        number(f, "SELECT state = 'claimed' AND cancel FROM generation_jobs "
                  "ORDER BY id DESC"),
        1);
    struct store_call call = CALL(CENTRAL_REPORTED, I(job), T("odd"), I(1));
    assert_int_equal(fixture_run(f, CALLER_SYNC, &call, 1), ERROR_DATA);
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NOT_ALLOWED);
}

static int64_t hand_back(struct store_fixture *f, bool all)
{
    struct store_call call = CALL(CENTRAL_HAND_BACK, I(all), I(3000));
    assert_int_equal(fixture_run(f, CALLER_SYNC, &call, 1), ERROR_NONE);
    return f->answer.results[0].changed;
}

static void expect_job(struct store_fixture *f, int64_t job, const char *state,
                       const char *report)
{
    char sql[300];
    snprintf(sql, sizeof(sql),
             "SELECT j.state = '%s' AND c.report IS %s FROM generation_jobs j, "
             "central_jobs c WHERE j.id = %lld AND c.job_id = j.id",
             state, report, (long long)job);
    if (number(f, sql) != 1)
        fail_msg("job %lld is not %s, %s", (long long)job, state, report);
}

static void test_hand_back(void **state)
{
    struct store_fixture *f = *state;
    struct queue_lease *leases;
    struct queue_end ends[8];
    struct error error;
    int64_t unbegun, begun;
    size_t count;
    int64_t runs = submit(f, 1, 1, 5);
    claim(f);
    int64_t waits = submit(f, 2, 1, 5);
    int64_t wanted = submit(f, 3, 1, 5);
    char list[32];
    snprintf(list, sizeof(list), "[%lld]", (long long)wanted);
    struct store_call call = CALL(JOB_SUBMIT, T("noop"), I(2), T("{}"), I(0),
                                  I(1000), I(0), T(list), N);
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NONE);
    int64_t local = f->answer.results[0].changed;
    assert_int_equal(queue_leases_left(f->reader, &unbegun, &begun, &error), 0);
    assert_int_equal(unbegun, 1);
    assert_int_equal(begun, 1);

    assert_int_equal(hand_back(f, false), 1);
    expect_job(f, waits, "cancelled", "'returned'");
    expect_job(f, runs, "claimed", "NULL");
    expect_job(f, wanted, "queued", "NULL");
    /* The centre is asked to take back what is not named as held. */
    assert_int_equal(
        queue_leases_read(f->reader, false, &f->arena, &leases, &count, &error),
        0);
    assert_int_equal(count, 2);
    assert_int_equal(leases[0].central_id, 1);
    assert_int_equal(leases[1].central_id, 3);
    /* It comes here again, as the same attempt. */
    assert_int_not_equal(submit(f, 2, 1, 6), waits);

    assert_int_equal(hand_back(f, true), 1);
    expect_job(f, runs, "failed", "NULL");
    expect_job(f, wanted, "queued", "NULL");
    assert_int_equal(
        queue_ends_read(f->reader, 8, &f->arena, ends, &count, &error), 0);
    assert_int_equal(count, 1);
    assert_int_equal(ends[0].lease.central_id, 1);
    assert_string_equal(ends[0].outcome, "retry");
    assert_non_null(strstr(ends[0].told, "this host stopped"));
    snprintf(list, sizeof(list), "%lld", (long long)local);
    char sql[100];
    snprintf(sql, sizeof(sql),
             "SELECT state = 'waiting' FROM generation_jobs WHERE id = %s",
             list);
    assert_int_equal(number(f, sql), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),   cmocka_unit_test(test_rest),
        cmocka_unit_test(test_times),   STORE_TEST(test_submit),
        STORE_TEST(test_lost),          STORE_TEST(test_hand_back),
        cmocka_unit_test(test_leaving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
