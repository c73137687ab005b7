/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/shm/sync_board.h"
#include "workers/sync/backoff.h"
#include "workers/sync/line.h"

static void backoff_grows_to_its_bound(void **state)
{
    (void)state;
    for (unsigned failures = 1; failures < 100; failures++) {
        int64_t bound = 1000;
        for (unsigned i = 1; i < failures && bound < 60000; i++)
            bound *= 2;
        if (bound > 60000)
            bound = 60000;
        uint64_t random = failures;
        int64_t smallest = INT64_MAX, largest = 0;
        for (int i = 0; i < 2000; i++) {
            int64_t delay =
                backoff_delay_ms(1000, 60000, failures, jitter_next(&random));
            smallest = delay < smallest ? delay : smallest;
            largest = delay > largest ? delay : largest;
        }
        assert_in_range(smallest, bound / 8, bound / 4);
        assert_in_range(largest, bound * 9 / 10, bound);
    }
}

static void backoff_is_never_nothing(void **state)
{
    (void)state;
    assert_int_equal(backoff_delay_ms(1, 1, 1, 7), 1);
    assert_int_equal(backoff_delay_ms(0, 0, 5, 7), 1);
    assert_in_range(backoff_delay_ms(500, 100, 1, 99), 12, 100);
    assert_in_range(
        backoff_delay_ms(INT64_MAX / 2, INT64_MAX - 1, 9, UINT64_MAX), 1,
        INT64_MAX);
}

static void spread_is_five_percent(void **state)
{
    (void)state;
    uint64_t random = 1;
    int64_t smallest = INT64_MAX, largest = 0;
    for (int i = 0; i < 10000; i++) {
        int64_t value = backoff_spread_ms(100000, jitter_next(&random));
        smallest = value < smallest ? value : smallest;
        largest = value > largest ? value : largest;
    }
    assert_in_range(smallest, 95000, 95500);
    assert_in_range(largest, 104500, 105000);
    assert_int_equal(backoff_spread_ms(10, 3), 10);
}

static void busy_is_a_state_of_its_own(void **state)
{
    (void)state;
    struct line line;
    line_init(&line, 1000, 60000, 1);
    line_take(&line, LINE_WORKED, 10);
    assert_false(line_is_away(line.state));
    assert_true(line_take(&line, LINE_BUSY, 20));
    assert_int_equal(line.state, LINK_BUSY);
    assert_true(line_is_away(line.state));
    assert_true(line_waits(&line, 20));
    assert_true(line_take(&line, LINE_DOWN, 30));
    assert_int_equal(line.state, LINK_OFFLINE);
    assert_true(line_take(&line, LINE_BUSY, 40));
    assert_true(line_take(&line, LINE_WORKED, 50));
    assert_int_equal(line.state, LINK_DRAINING);
}

static void goes_through_its_states(void **state)
{
    (void)state;
    struct line line;
    line_init(&line, 1000, 60000, 1);
    assert_int_equal(line.state, LINK_UNKNOWN);
    assert_false(line_waits(&line, 0));
    assert_true(line_take(&line, LINE_WORKED, 10));
    assert_int_equal(line.state, LINK_ONLINE);
    assert_false(line_take(&line, LINE_WORKED, 20));
    assert_false(line_take(&line, LINE_DRAINED, 20));
    assert_true(line_take(&line, LINE_DOWN, 30));
    assert_int_equal(line.state, LINK_OFFLINE);
    assert_true(line_waits(&line, 30));
    assert_false(line_take(&line, LINE_DOWN, 2000));
    assert_int_equal(line.failures, 2);
    assert_true(line_take(&line, LINE_WORKED, 5000));
    assert_int_equal(line.state, LINK_DRAINING);
    assert_false(line_waits(&line, 5000));
    assert_int_equal(line.failures, 0);
    assert_true(line_take(&line, LINE_DOWN, 6000));
    assert_int_equal(line.state, LINK_OFFLINE);
    assert_true(line_take(&line, LINE_WORKED, 7000));
    assert_true(line_take(&line, LINE_DRAINED, 8000));
    assert_int_equal(line.state, LINK_ONLINE);
}

static void transient_waits_but_stays(void **state)
{
    (void)state;
    struct line line;
    line_init(&line, 1000, 60000, 1);
    /* It answered, so it is there. */
    assert_true(line_take(&line, LINE_TRANSIENT, 100));
    assert_int_equal(line.state, LINK_ONLINE);
    assert_true(line_waits(&line, 100 + 124));
    assert_false(line_waits(&line, 100 + 1000));
    line_hurry(&line);
    assert_false(line_waits(&line, 100));
    assert_int_equal(line.failures, 1);
    /* A centre that is starting up is not back yet. */
    line_take(&line, LINE_DOWN, 200);
    assert_false(line_take(&line, LINE_TRANSIENT, 300));
    assert_int_equal(line.state, LINK_OFFLINE);
}

static void offline_from_the_start(void **state)
{
    (void)state;
    struct line line;
    line_init(&line, 10, 100, 1);
    assert_true(line_take(&line, LINE_DOWN, 0));
    assert_int_equal(line.state, LINK_OFFLINE);
    assert_true(line_take(&line, LINE_WORKED, 50));
    assert_int_equal(line.state, LINK_DRAINING);
}

static void board_has_words(void **state)
{
    (void)state;
    assert_string_equal(trigger_name(TRIGGER_THRESHOLD), "threshold");
    assert_string_equal(trigger_name(TRIGGER_COUNT), "?");
    assert_string_equal(link_state_name(LINK_DRAINING), "draining");
    assert_string_equal(link_state_name(LINK_STATE_COUNT), "?");
}

static void board_keeps_texts(void **state)
{
    (void)state;
    static struct sync_view view;
    char text[SYNC_ERROR_TEXT_MAX], small[8];
    char longest[2 * SYNC_ERROR_TEXT_MAX];
    sync_view_get_error(&view, text, sizeof(text));
    assert_string_equal(text, "");
    sync_view_set_error(&view, "the centre is away");
    sync_view_get_error(&view, text, sizeof(text));
    assert_string_equal(text, "the centre is away");
    sync_view_get_error(&view, small, sizeof(small));
    assert_string_equal(small, "the cen");
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    sync_view_set_error(&view, longest);
    sync_view_get_error(&view, text, sizeof(text));
    assert_int_equal(strlen(text), SYNC_ERROR_TEXT_MAX - 1);
    /* Its writer was killed in the middle: readers go on, and so does the
     * successor. */
    view.error_sequence |= 1u;
    sync_view_get_error(&view, small, sizeof(small));
    sync_view_set_error(&view, "");
    sync_view_get_error(&view, text, sizeof(text));
    assert_string_equal(text, "");
    assert_int_equal(view.error_sequence % 2, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backoff_grows_to_its_bound),
        cmocka_unit_test(backoff_is_never_nothing),
        cmocka_unit_test(spread_is_five_percent),
        cmocka_unit_test(goes_through_its_states),
        cmocka_unit_test(transient_waits_but_stays),
        cmocka_unit_test(busy_is_a_state_of_its_own),
        cmocka_unit_test(offline_from_the_start),
        cmocka_unit_test(board_has_words),
        cmocka_unit_test(board_keeps_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
