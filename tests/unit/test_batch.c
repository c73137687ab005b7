/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches on their way: several at once, failures, lost answers, refusals.
 */
#include "tests/unit/batch_fixture.h"

#include <sqlite3.h>

#include "common/base/clock.h"

static void carries_all(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 1000);
    start_pipeline(fixture, 7);
    carry(fixture, 64, 5000);
    assert_each_once(fixture, 1000);
    assert_in_order(fixture, 100);
    assert_int_equal(fixture->rests, 1);
    assert_int_equal(fixture->failures, 0);
    assert_true(fixture->sink->largest <= 64);
    assert_int_equal(count_of(fixture, "SELECT sum(applied) FROM sync_batches"),
                     1000);
}

/* One that is urgent goes before all that is not at the sink yet; one that
 * somebody else has taken leaves nothing behind. */
static void urgent_ones_go_first(void **state)
{
    struct fixture *fixture = *state;
    char record[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(record, sizeof(record), "r%d", i);
        append(fixture, record, 2, "{}");
    }
    start_pipeline(fixture, 7);
    fixture->claim = 64;
    fixture->budget = 5000;
    pipeline_start(fixture->pipeline);
    pipeline_express(fixture->pipeline); /* nothing is urgent */
    while (fixture->sink->applied_count == 0)
        event_base_loop(fixture->base, EVLOOP_ONCE);
    append(fixture, "urgent", 0, "{}");
    pipeline_express(fixture->pipeline);
    pipeline_express(fixture->pipeline);
    turn(fixture);
    assert_int_equal(fixture->sink->applied_count, 1001);
    size_t at = 0;
    while (fixture->sink->applied[at] != 1001)
        at++;
    assert_true(at <= 3 * 64);
    assert_int_equal(fixture->rests, 1);
    assert_false(fixture->broken);
}

static void carries_several_at_once(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned depth = 2; depth <= SINK_DEPTH_MAX; depth += 3) {
        fixture->sink->applied_count = 0;
        fixture->sink->most = 0;
        fixture->sink->depth = depth;
        append_many(fixture, 1000);
        if (fixture->pipeline == NULL)
            start_pipeline(fixture, 7);
        carry(fixture, 20, 5000);
        assert_each_once(fixture, 1000);
        assert_in_order(fixture, 100);
        assert_int_equal(fixture->sink->most, depth);
    }
    assert_int_equal(fixture->failures, 0);
}

/* One of several fails: the others are finished, it is told once, when
 * nothing is at the sink, and sent again. */
static void one_of_several_fails(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 1000);
    fixture->sink->depth = 6;
    fixture->sink->mood = MOOD_TRANSIENT;
    fixture->sink->mood_left = 1;
    start_pipeline(fixture, 7);
    carry(fixture, 20, 5000);
    assert_int_equal(fixture->failures, 1);
    assert_int_equal(fixture->why, SINK_TRANSIENT);
    assert_int_equal(pipeline_at_sink(fixture->pipeline), 0);
    assert_true(fixture->sink->applied_count >= 20);
    pipeline_release(fixture->pipeline);
    turn(fixture);
    assert_each_once(fixture, 1000);
    assert_in_order(fixture, 100);
}

/* The line breaks under several, of which some were applied. */
static void line_breaks_under_several(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 1000);
    fixture->sink->depth = 6;
    fixture->sink->mood = MOOD_LOST_ANSWER;
    fixture->sink->mood_left = 3;
    start_pipeline(fixture, 7);
    carry(fixture, 20, 5000);
    assert_int_equal(fixture->failures, 1);
    assert_int_equal(fixture->why, SINK_DOWN);
    pipeline_release(fixture->pipeline);
    turn(fixture);
    assert_each_once(fixture, 1000);
    assert_in_order(fixture, 100);
}

static void keeps_to_its_budget(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 1000);
    start_pipeline(fixture, 7);
    carry(fixture, 50, 200);
    assert_int_equal(fixture->sink->applied_count, 200);
    assert_int_equal(pending_of(fixture), 800);
    /* The record of the pass went with the last settlement. */
    assert_int_equal(fixture->reports, 1);
    assert_int_equal(count_of(fixture, "SELECT count(*) FROM sync_metrics"), 1);
}

static void sends_the_same_batch_again(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 300);
    fixture->sink->mood = MOOD_DOWN;
    fixture->sink->mood_left = 2;
    start_pipeline(fixture, 7);
    carry(fixture, 64, 5000);
    assert_int_equal(fixture->failures, 1);
    assert_true(pipeline_held(fixture->pipeline));
    assert_int_equal(fixture->sink->applied_count, 0);
    pipeline_release(fixture->pipeline);
    turn(fixture);
    assert_int_equal(fixture->failures, 2);
    pipeline_release(fixture->pipeline);
    turn(fixture);
    assert_each_once(fixture, 300);
    assert_in_order(fixture, 100);
}

static void repeats_without_harm(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 300);
    fixture->sink->mood = MOOD_LOST_ANSWER;
    fixture->sink->mood_left = 1;
    start_pipeline(fixture, 7);
    carry(fixture, 64, 5000);
    assert_int_equal(fixture->failures, 1);
    assert_int_not_equal(fixture->sink->applied_count, 0);
    pipeline_release(fixture->pipeline);
    turn(fixture);
    assert_each_once(fixture, 300);
    assert_in_order(fixture, 100);
}

static void store_strikes(struct fixture *fixture, enum statement statement,
                          enum store_mood mood)
{
    append_many(fixture, 300);
    start_pipeline(fixture, 7);
    fixture->store_mood = mood;
    fixture->mood_statement = statement;
    carry(fixture, 64, 5000);
    while (pending_of(fixture) > 0 && !fixture->broken)
        carry(fixture, 64, 5000);
    assert_false(fixture->broken);
    assert_int_equal(fixture->store_mood, STORE_GOOD);
    assert_true(fixture->troubles >= 1);
    assert_each_once(fixture, 300);
    assert_in_order(fixture, 100);
}

static void finds_a_claim_whose_answer_was_lost(void **state)
{
    struct fixture *fixture = *state;
    store_strikes(fixture, STATEMENT_BATCH_CLAIM, STORE_LOSES_ANSWER);
    assert_true(fixture->adopted >= 1);
}

static void claims_again_what_was_never_claimed(void **state)
{
    struct fixture *fixture = *state;
    store_strikes(fixture, STATEMENT_BATCH_CLAIM, STORE_LOSES_REQUEST);
}

static void knows_a_settlement_whose_answer_was_lost(void **state)
{
    store_strikes(*state, STATEMENT_BATCH_SETTLE, STORE_LOSES_ANSWER);
}

static void settles_again(void **state)
{
    store_strikes(*state, STATEMENT_BATCH_SETTLE, STORE_LOSES_REQUEST);
}

static void waits_for_room_on_the_disk(void **state)
{
    store_strikes(*state, STATEMENT_BATCH_SETTLE, STORE_FULL);
}

/* It does not rest on a claim that found the disk full. */
static void claims_again_when_there_is_room(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 300);
    start_pipeline(fixture, 7);
    fixture->store_mood = STORE_FULL;
    fixture->mood_statement = STATEMENT_BATCH_CLAIM;
    carry(fixture, 64, 5000);
    assert_true(fixture->troubles >= 1);
    assert_int_equal(fixture->rests, 1);
    assert_each_once(fixture, 300);
}

static void successor_takes_over(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 300);
    fixture->sink->mood = MOOD_LOST_ANSWER;
    fixture->sink->mood_left = 1;
    start_pipeline(fixture, 7);
    carry(fixture, 64, 5000);
    /* Killed here: applied at the centre, not settled. */
    pipeline_free(&fixture->pipeline);
    event_base_loop(fixture->base, EVLOOP_NONBLOCK);
    start_pipeline(fixture, 8);
    fixture->claim = 64;
    fixture->budget = 5000;
    turn(fixture);
    assert_true(fixture->adopted >= 1);
    carry(fixture, 64, 5000);
    assert_each_once(fixture, 300);
    assert_in_order(fixture, 100);
}

static void poison_delays_only_its_record(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 100);
    append(fixture, "bad", 2, "{\"n\": 1}");
    append(fixture, "bad", 2, "{\"n\": 2}");
    append(fixture, "good", 2, "{\"n\": 1}");
    fixture->sink->poison = "bad";
    start_pipeline(fixture, 7);
    fixture->terms.retry_base_ms = fixture->terms.retry_max_ms = 200;
    carry(fixture, 500, 5000);
    assert_int_equal(fixture->sink->applied_count, 101);
    assert_int_equal(pending_of(fixture), 2);
    fixture->terms.retry_base_ms = fixture->terms.retry_max_ms = 1;
    /* Its one retry, and it is dead; then the second of that record. */
    uint64_t until_ms = clock_monotonic_ms() + 10000;
    while (pending_of(fixture) > 0 && clock_monotonic_ms() < until_ms)
        carry(fixture, 500, 5000);
    assert_int_equal(pending_of(fixture), 0);
    assert_int_equal(count_of(fixture, "SELECT count(*) FROM sync_dead"), 2);
    assert_int_equal(
        count_of(fixture, "SELECT count(*) FROM sync_dead WHERE sqlstate = "
                          "'22P05' AND error_message = 'unsupported Unicode'"),
        2);
    assert_int_equal(fixture->sink->applied_count, 101);
}

static void leaves_what_it_has_claimed(void **state)
{
    struct fixture *fixture = *state;
    append_many(fixture, 500);
    start_pipeline(fixture, 7);
    fixture->sink->mood = MOOD_TRANSIENT;
    fixture->sink->mood_left = 1;
    carry(fixture, 64, 5000);
    pipeline_close(fixture->pipeline);
    pipeline_release(fixture->pipeline);
    turn(fixture);
    /* Two batches were claimed; they are finished, and no more. */
    assert_in_range(fixture->sink->applied_count, 64, 128);
    assert_int_equal(pending_of(fixture),
                     500 - (int64_t)fixture->sink->applied_count);
}

static void gives_back_what_no_memory_holds(void **state)
{
    struct fixture *fixture = *state;
    size_t size = 300000;
    char *data = malloc(size + 1);
    memset(data, 'x', size);
    data[0] = data[size - 1] = '"';
    data[size] = '\0';
    for (int i = 0; i < 40; i++) {
        char record[32];
        snprintf(record, sizeof(record), "r%d", i % 5);
        append(fixture, record, 2, data);
    }
    free(data);
    fixture->memory_max = 8 << 20;
    start_pipeline(fixture, 7);
    carry(fixture, 40, 5000);
    assert_false(fixture->broken);
    assert_int_equal(fixture->too_large, 1);
    assert_each_once(fixture, 40);
    assert_in_order(fixture, 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(carries_all),
        TEST(urgent_ones_go_first),
        TEST(carries_several_at_once),
        TEST(one_of_several_fails),
        TEST(line_breaks_under_several),
        TEST(keeps_to_its_budget),
        TEST(sends_the_same_batch_again),
        TEST(repeats_without_harm),
        TEST(finds_a_claim_whose_answer_was_lost),
        TEST(claims_again_what_was_never_claimed),
        TEST(knows_a_settlement_whose_answer_was_lost),
        TEST(settles_again),
        TEST(waits_for_room_on_the_disk),
        TEST(claims_again_when_there_is_room),
        TEST(successor_takes_over),
        TEST(poison_delays_only_its_record),
        TEST(leaves_what_it_has_claimed),
        TEST(gives_back_what_no_memory_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
