/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "workers/monitor/sync_watch.h"

static struct sync_board board;

static int quiet(void **state)
{
    (void)state;
    board = (struct sync_board){0};
    atomic_store(&board.enabled, 1);
    atomic_store(&board.views[0].attempted_ms, 1000);
    atomic_store(&board.views[0].patience_ms, 500);
    return 0;
}

static void late_when_nothing_was_tried(void **state)
{
    (void)state;
    assert_int_equal(sync_watch_late_ms(&board, 1, 1500), 0);
    assert_int_equal(sync_watch_late_ms(&board, 1, 1501), 1);
    assert_int_equal(sync_watch_late_ms(&board, 1, 9500), 8000);
}

static void not_late_without_need(void **state)
{
    (void)state;
    assert_int_equal(sync_watch_late_ms(&board, 0, 9500), 0);
    atomic_store(&board.paused, 1);
    assert_int_equal(sync_watch_late_ms(&board, 1, 9500), 0);
    atomic_store(&board.paused, 0);
    atomic_store(&board.enabled, 0);
    assert_int_equal(sync_watch_late_ms(&board, 1, 9500), 0);
    atomic_store(&board.enabled, 1);
    atomic_store(&board.cut_until_ms, 10000);
    assert_int_equal(sync_watch_late_ms(&board, 1, 9500), 0);
    atomic_store(&board.cut_until_ms, 0);
    atomic_store(&board.views[0].attempted_ms, 0);
    assert_int_equal(sync_watch_late_ms(&board, 1, 9500), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(late_when_nothing_was_tried, quiet),
        cmocka_unit_test_setup(not_late_without_need, quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
