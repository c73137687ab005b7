/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define MS UINT64_C(1000000)

static struct window_batch batch_of(uint64_t operations, uint64_t sent_ns)
{
    return (struct window_batch){.operations = operations,
                                 .bytes = operations * 200,
                                 .sent_ns = sent_ns};
}

/* A server that applies a batch of 1,000 in apply_ns, a line of round_trip:
 * the depth after some batches one after the other. */
static unsigned depth_of(struct window *window, uint64_t round_trip_ns,
                         uint64_t apply_ns)
{
    window_reset(window);
    window_round_trip(window, round_trip_ns);
    for (uint64_t i = 1; i < 20; i++) {
        struct window_batch batch = batch_of(1000, i * 1000 * MS);
        window_sent(window, &batch);
        assert_in_range(window_answered(window, &batch,
                                        batch.sent_ns + round_trip_ns +
                                            apply_ns),
                        apply_ns, apply_ns);
    }
    return window_depth(window, 8);
}

static void follows_the_line(void **state)
{
    struct window window;
    (void)state;
    window_reset(&window);
    assert_int_equal(window_depth(&window, 8), 1);
    assert_int_equal(depth_of(&window, MS / 5, 10 * MS), 1);
    assert_int_equal(depth_of(&window, 10 * MS, 10 * MS), 2);
    assert_int_equal(depth_of(&window, 40 * MS, 10 * MS), 5);
    assert_int_equal(depth_of(&window, 400 * MS, 10 * MS), 8);
    assert_int_equal(depth_of(&window, 80 * MS, 1000 * MS), 1);
}

/* What is under way is applied within WINDOW_QUEUE_NS. */
static void bounds_what_waits(void **state)
{
    struct window window;
    (void)state;
    assert_int_equal(depth_of(&window, 500 * MS, 70 * MS), 8);
    for (uint64_t i = 1; i <= 2; i++) {
        struct window_batch batch = batch_of(1000, i);
        window_sent(&window, &batch);
    }
    assert_int_equal(window_depth(&window, 8), 2);
}

static void bounds_the_bytes(void **state)
{
    struct window window;
    struct window_batch large = {.operations = 10, .bytes = 20 << 20};
    (void)state;
    assert_int_equal(depth_of(&window, 80 * MS, 10 * MS), 8);
    window_sent(&window, &large);
    assert_int_equal(window_depth(&window, 8), 1);
    window_dropped(&window, &large);
    assert_int_equal(window_depth(&window, 8), 8);
}

/* Of batches behind each other the distance of the answers counts. */
static void measures_behind_others(void **state)
{
    struct window window;
    (void)state;
    depth_of(&window, 80 * MS, 10 * MS);
    struct window_batch a = batch_of(1000, 100000 * MS);
    struct window_batch b = batch_of(1000, 100001 * MS);
    window_sent(&window, &a);
    window_sent(&window, &b);
    window_answered(&window, &a, 100100 * MS);
    assert_int_equal(window_answered(&window, &b, 100105 * MS), 5 * MS);
    assert_int_equal(window.queued, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_line),
        cmocka_unit_test(bounds_what_waits),
        cmocka_unit_test(bounds_the_bytes),
        cmocka_unit_test(measures_behind_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
