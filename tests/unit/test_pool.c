/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy of the pools: no process, no clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "common/config/config.h"
#include "daemon/pool.h"

static void backoff_doubles_up_to_its_bound(void **state)
{
    static const uint64_t expected[] = {0,    0,    100,  200,   400,  800,
                                        1600, 3200, 6400, 10000, 10000};
    (void)state;
    for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        assert_int_equal(pool_backoff_ms(i), expected[i]);
    assert_int_equal(pool_backoff_ms(UINT32_MAX), 10000);
}

static void expect_bounds(const struct config *config, enum role role,
                          unsigned least, unsigned most, uint64_t idle_ms)
{
    struct pool_bounds bounds;
    pool_bounds(config, role, &bounds);
    assert_int_equal(bounds.least, least);
    assert_int_equal(bounds.most, most);
    assert_int_equal(bounds.idle_ms, idle_ms);
}

static void sizes_follow_the_configuration(void **state)
{
    struct config config = {.generation_enabled = true,
                            .generation_min_workers = 2,
                            .generation_max_workers = 7,
                            .generation_idle_ms = 5000,
                            .sync_enabled = false,
                            .sync_min_workers = 1,
                            .sync_max_workers = 3,
                            .monitoring_enabled = false};
    (void)state;
    expect_bounds(&config, ROLE_STORE, 1, 1, 0);
    expect_bounds(&config, ROLE_GATEWAY, 1, 1, 0);
    expect_bounds(&config, ROLE_MONITOR, 0, 0, 0);
    expect_bounds(&config, ROLE_GENERATION, 2, 7, 5000);
    expect_bounds(&config, ROLE_SYNC, 0, 0, 0);
    expect_bounds(&config, ROLE_COUNT, 0, 0, 0);
    config.sync_enabled = true;
    expect_bounds(&config, ROLE_SYNC, 1, 3, 0);
}

static void what_is_a_crash(void **state)
{
    (void)state;
    struct ending killed = {.death = DEATH_SIGNALLED, .detail = 9};
    struct ending left = {.death = DEATH_LEFT, .asked = true};
    struct ending left_unasked = {.death = DEATH_LEFT};
    struct ending left_later = {.death = DEATH_LEFT, .ready_ms = 5000};
    struct ending slow_drain = {.death = DEATH_DRAIN_TIMEOUT, .asked = true};
    assert_true(pool_is_crash(&killed));
    assert_false(pool_is_crash(&left));
    assert_true(pool_is_crash(&left_unasked));
    assert_false(pool_is_crash(&left_later));
    assert_false(pool_is_crash(&slow_drain));
    struct ending unsettled = {
        .death = DEATH_EXITED, .detail = WORKER_EXIT_UNSETTLED, .asked = true};
    assert_false(pool_is_crash(&unsettled));
    assert_int_equal(pool_crashes_after(0, &unsettled), 0);
}

static void work_resets_the_row(void **state)
{
    struct ending crash = {.death = DEATH_SIGNALLED, .detail = 11};
    struct ending after_work = {
        .death = DEATH_SIGNALLED, .detail = 11, .finished = 1};
    struct ending after_a_while = {
        .death = DEATH_SIGNALLED, .detail = 11, .ready_ms = POOL_STABLE_MS};
    (void)state;
    assert_int_equal(pool_crashes_after(0, &crash), 1);
    assert_int_equal(pool_crashes_after(6, &crash), 7);
    assert_int_equal(pool_crashes_after(6, &after_work), 1);
    assert_int_equal(pool_crashes_after(6, &after_a_while), 1);
}

static void some_exits_wait_at_once(void **state)
{
    struct ending failed = {.death = DEATH_EXITED,
                            .detail = WORKER_EXIT_FAILED};
    struct ending unknown = {.death = DEATH_EXITED, .detail = 99};
    (void)state;
    assert_true(pool_backoff_ms(pool_crashes_after(0, &failed)) > 0);
    assert_int_equal(pool_backoff_ms(pool_crashes_after(0, &unknown)), 0);
}

static void degraded_within_the_window(void **state)
{
    struct crash_record *record = calloc(1, sizeof(*record));
    (void)state;
    assert_non_null(record);
    assert_int_equal(pool_degraded_until_ms(record, 3, 1000, 0), 0);
    pool_note_crash(record, 100);
    pool_note_crash(record, 200);
    assert_int_equal(pool_degraded_until_ms(record, 3, 1000, 200), 0);
    pool_note_crash(record, 300);
    assert_int_equal(pool_degraded_until_ms(record, 3, 1000, 300), 1100);
    assert_int_equal(pool_degraded_until_ms(record, 3, 1000, 1100), 0);
    pool_note_crash(record, 1150);
    assert_int_equal(pool_degraded_until_ms(record, 3, 1000, 1150), 1200);
    /* the ring goes round */
    for (unsigned i = 0; i < 2500; i++)
        pool_note_crash(record, 2000 + i);
    assert_int_equal(record->count, CRASHES_KEPT);
    assert_int_equal(pool_degraded_until_ms(record, CRASHES_KEPT, 10000, 4500),
                     2000 + 1500 + 10000);
    free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backoff_doubles_up_to_its_bound),
        cmocka_unit_test(sizes_follow_the_configuration),
        cmocka_unit_test(what_is_a_crash),
        cmocka_unit_test(work_resets_the_row),
        cmocka_unit_test(some_exits_wait_at_once),
        cmocka_unit_test(degraded_within_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
