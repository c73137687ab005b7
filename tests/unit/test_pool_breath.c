/* SPDX-License-Identifier: Apache-2.0
 *
 * How pools breathe: no process, no clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/pool_breath.h"

#define IDLE_MS 1000u

static const struct pool_bounds bounds = {
    .least = 1, .most = 10, .idle_ms = IDLE_MS};

/* A pool at time 10000 that was changed long ago. */
struct play {
    struct pool_bounds bounds;
    struct pool_breath breath;
    struct pool_facts facts;
};

static struct play begin(unsigned size)
{
    return (struct play){.bounds = bounds,
                         .breath = {.size = size},
                         .facts = {.now_ms = 10000, .last_idle = true}};
}

static uint64_t breathe(struct play *play)
{
    return pool_breathe(&play->breath, &play->bounds, &play->facts);
}

static void grows_when_work_waits_too_long(void **state)
{
    struct play play = begin(1);
    (void)state;
    play.facts.waiting_since_ms = 10000;
    assert_int_equal(breathe(&play), 10000 + POOL_WAIT_MS);
    assert_int_equal(play.breath.size, 1);
    play.facts.now_ms = 10000 + POOL_WAIT_MS - 1;
    breathe(&play);
    assert_int_equal(play.breath.size, 1);
    play.facts.now_ms++;
    breathe(&play);
    assert_int_equal(play.breath.size, 2);
    assert_int_equal(play.breath.changed_ms, play.facts.now_ms);
}

static void a_burst_has_all_soon(void **state)
{
    static const unsigned sizes[] = {2, 4, 8, 10};
    struct play play = begin(1);
    (void)state;
    play.facts.waiting_since_ms = play.facts.now_ms;
    play.facts.now_ms += POOL_WAIT_MS;
    for (unsigned i = 0; i < 4; i++) {
        breathe(&play);
        assert_int_equal(play.breath.size, sizes[i]);
        /* not before those have started, and not at once */
        play.facts.starting = 1;
        play.facts.now_ms += POOL_PAUSE_MS;
        breathe(&play);
        assert_int_equal(play.breath.size, sizes[i]);
        play.facts.starting = 0;
    }
    play.facts.now_ms += 100;
    breathe(&play);
    assert_int_equal(play.breath.size, 10);
}

static void pauses_between_growths(void **state)
{
    struct play play = begin(2);
    (void)state;
    play.facts.waiting_since_ms = 9000;
    play.breath.changed_ms = 10000;
    assert_int_equal(breathe(&play), 10000 + POOL_PAUSE_MS);
    assert_int_equal(play.breath.size, 2);
}

static void shrinks_by_one_after_idleness(void **state)
{
    struct play play = begin(3);
    (void)state;
    play.facts.full_ms = 9500;
    assert_int_equal(breathe(&play), 9500 + IDLE_MS);
    play.facts.now_ms = 9500 + IDLE_MS - 1;
    breathe(&play);
    assert_int_equal(play.breath.size, 3);
    play.facts.now_ms++;
    assert_int_equal(breathe(&play), play.facts.now_ms + IDLE_MS);
    assert_int_equal(play.breath.size, 2);
    /* the next one as long after this */
    breathe(&play);
    assert_int_equal(play.breath.size, 2);
    play.facts.now_ms += IDLE_MS;
    assert_int_equal(breathe(&play), 0);
    assert_int_equal(play.breath.size, 1);
    play.facts.now_ms += 10 * IDLE_MS;
    assert_int_equal(breathe(&play), 0);
    assert_int_equal(play.breath.size, 1);
}

static void what_has_just_grown_stays(void **state)
{
    struct play play = begin(1);
    (void)state;
    play.facts.waiting_since_ms = 9000;
    breathe(&play);
    assert_int_equal(play.breath.size, 2);
    play.facts.waiting_since_ms = 0;
    play.facts.now_ms += IDLE_MS - 1;
    breathe(&play);
    assert_int_equal(play.breath.size, 2);
}

static void busy_workers_stay(void **state)
{
    struct play play = begin(3);
    (void)state;
    play.facts.last_idle = false;
    assert_true(breathe(&play) > play.facts.now_ms);
    assert_int_equal(play.breath.size, 3);
    play.facts.last_idle = true;
    play.facts.leaving = 1; /* the one before still drains */
    assert_true(breathe(&play) > play.facts.now_ms);
    assert_int_equal(play.breath.size, 3);
    play.facts.leaving = 0;
    play.facts.starting = 1;
    breathe(&play);
    assert_int_equal(play.breath.size, 3);
    play.facts.starting = 0;
    play.facts.waiting_since_ms = 9999;
    breathe(&play);
    assert_int_equal(play.breath.size, 3);
}

static void that_work_waits_no_more_is_looked_for(void **state)
{
    struct play play = begin(10);
    (void)state;
    play.facts.waiting_since_ms = 5000;
    assert_int_equal(breathe(&play), 10000 + IDLE_MS);
    play.facts.still = true;
    assert_int_equal(breathe(&play), 10000 + IDLE_MS);
}

static void idle_for_ever(void **state)
{
    struct play play = begin(3);
    (void)state;
    play.bounds.idle_ms = 0;
    assert_int_equal(breathe(&play), 0);
    assert_int_equal(play.breath.size, 3);
}

static void nothing_while_all_stands_still(void **state)
{
    struct play play = begin(3);
    (void)state;
    play.facts.still = true;
    breathe(&play);
    assert_int_equal(play.breath.size, 3);
    play.facts.waiting_since_ms = 1;
    breathe(&play);
    assert_int_equal(play.breath.size, 3);
}

static void what_is_held_back_wants_no_workers(void **state)
{
    struct play play = begin(1);
    (void)state;
    play.facts.waiting_since_ms = 1;
    play.facts.held = true;
    assert_int_equal(breathe(&play), 0);
    assert_int_equal(play.breath.size, 1);
}

static void new_bounds_hold_at_once(void **state)
{
    struct play play = begin(5);
    (void)state;
    play.facts.still = true;
    play.bounds.most = 2;
    breathe(&play);
    assert_int_equal(play.breath.size, 2);
    play.bounds.most = 10;
    play.bounds.least = 4;
    breathe(&play);
    assert_int_equal(play.breath.size, 4);
    assert_int_equal(play.breath.changed_ms, 10000);
    play.bounds.least = play.bounds.most = 0; /* the role is disabled */
    breathe(&play);
    assert_int_equal(play.breath.size, 0);
    play.facts.still = false;
    play.facts.waiting_since_ms = 1;
    assert_int_equal(breathe(&play), 0);
    assert_int_equal(play.breath.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_when_work_waits_too_long),
        cmocka_unit_test(a_burst_has_all_soon),
        cmocka_unit_test(pauses_between_growths),
        cmocka_unit_test(shrinks_by_one_after_idleness),
        cmocka_unit_test(what_has_just_grown_stays),
        cmocka_unit_test(busy_workers_stay),
        cmocka_unit_test(that_work_waits_no_more_is_looked_for),
        cmocka_unit_test(idle_for_ever),
        cmocka_unit_test(nothing_while_all_stands_still),
        cmocka_unit_test(what_is_held_back_wants_no_workers),
        cmocka_unit_test(new_bounds_hold_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
