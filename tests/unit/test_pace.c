/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "workers/sync/backoff.h"
#include "workers/sync/band.h"
#include "workers/sync/pace.h"
#include "workers/sync/urgency.h"

static void bands_rise_at_their_marks(void **state)
{
    (void)state;
    assert_int_equal(band_next(BAND_CALM, 0, 50), BAND_CALM);
    assert_int_equal(band_next(BAND_CALM, 1, 50), BAND_NORMAL);
    assert_int_equal(band_next(BAND_NORMAL, 24, 50), BAND_NORMAL);
    assert_int_equal(band_next(BAND_NORMAL, 25, 50), BAND_RAISED);
    assert_int_equal(band_next(BAND_RAISED, 49, 50), BAND_RAISED);
    assert_int_equal(band_next(BAND_CALM, 50, 50), BAND_HIGH);
    assert_int_equal(band_next(BAND_CALM, INT64_MAX, 50), BAND_HIGH);
    assert_int_equal(band_next(BAND_CALM, 1, 1), BAND_HIGH);
}

static void bands_fall_later_than_they_rise(void **state)
{
    (void)state;
    assert_int_equal(band_next(BAND_HIGH, 49, 50), BAND_HIGH);
    assert_int_equal(band_next(BAND_HIGH, 35, 50), BAND_HIGH);
    assert_int_equal(band_next(BAND_HIGH, 34, 50), BAND_RAISED);
    assert_int_equal(band_next(BAND_RAISED, 15, 50), BAND_RAISED);
    assert_int_equal(band_next(BAND_RAISED, 14, 50), BAND_NORMAL);
    assert_int_equal(band_next(BAND_HIGH, 1, 50), BAND_NORMAL);
    assert_int_equal(band_next(BAND_HIGH, 0, 50), BAND_CALM);
}

static void nothing_flaps_at_a_mark(void **state)
{
    (void)state;
    enum sync_band band = BAND_CALM;
    unsigned changes = 0;
    for (int i = 0; i < 1000; i++) {
        enum sync_band next = band_next(band, i % 2 == 0 ? 24 : 26, 50);
        changes += next != band;
        band = next;
    }
    assert_true(changes <= 2);
}

static void intervals_of_the_bands(void **state)
{
    (void)state;
    assert_int_equal(band_interval_ms(BAND_CALM, 1800000), 3600000);
    assert_int_equal(band_interval_ms(BAND_NORMAL, 1800000), 1800000);
    assert_int_equal(band_interval_ms(BAND_RAISED, 1800000), 900000);
    assert_int_equal(band_interval_ms(BAND_HIGH, 1800000), 450000);
    assert_int_equal(band_interval_ms(BAND_HIGH, 1), 1);
}

static void batches_double_until_one_is_slow(void **state)
{
    (void)state;
    struct pace pace;
    pace_init(&pace, 50, 1000, true);
    assert_int_equal(pace.size, 50);
    pace_applied(&pace, 50, 5);
    pace_applied(&pace, 100, 5);
    assert_int_equal(pace.size, 200);
    pace_applied(&pace, 60, 5); /* not full: says nothing */
    assert_int_equal(pace.size, 200);
    pace_applied(&pace, 200, PACE_TARGET_MS + 1);
    assert_int_equal(pace.size, 100);
    pace_applied(&pace, 100, 5);
    assert_int_equal(pace.size, 150);
    for (int i = 0; i < 100; i++)
        pace_applied(&pace, pace.size, 5);
    assert_int_equal(pace.size, 1000);
    for (int i = 0; i < 100; i++)
        pace_failed(&pace);
    assert_int_equal(pace.size, 50);
}

static void a_drain_begins_large(void **state)
{
    (void)state;
    struct pace pace;
    pace_init(&pace, 50, 1000, true);
    pace_drain(&pace);
    assert_int_equal(pace.size, 500);
    pace_applied(&pace, 500, PACE_TARGET_MS + 1);
    pace_drain(&pace);
    assert_int_equal(pace.size, 250);
}

static void the_size_settles_where_the_latency_is_right(void **state)
{
    (void)state;
    struct pace pace;
    pace_init(&pace, 50, 5000, true);
    /* One operation takes a millisecond. */
    for (int i = 0; i < 200; i++) {
        pace_applied(&pace, pace.size, pace.size);
        if (i > 10)
            assert_in_range(pace.size, 100, 300);
    }
}

static void other_modes_take_the_most_at_once(void **state)
{
    (void)state;
    struct pace pace;
    pace_init(&pace, 50, 1000, false);
    pace_applied(&pace, 1000, 10000);
    pace_failed(&pace);
    assert_int_equal(pace.size, 1000);
}

/* A centre that comes back must not be met by all its hosts at once: their
 * probes, each by its own chance, are spread over the whole delay. */
static void hosts_come_back_spread(void **state)
{
    (void)state;
    unsigned tenths[10] = {0};
    for (uint64_t host = 0; host < 1000; host++) {
        uint64_t random = host;
        int64_t delay = backoff_delay_ms(1000, 60000, 12, jitter_next(&random));
        tenths[(delay - 1) * 10 / 60000]++;
    }
    for (int i = 2; i < 10; i++)
        assert_in_range(tenths[i], 60, 160);
}

static void urgent_news_cut_batches_for_a_while(void **state)
{
    (void)state;
    struct urgency urgency = {0};
    assert_int_equal(urgency_limit(&urgency, 1000, 5000), 1000);
    urgency_news(&urgency, 5000);
    assert_int_equal(urgency_limit(&urgency, 1000, 5000), 1000); /* unknown */
    urgency_applied(&urgency, 0, 1);
    urgency_applied(&urgency, 1000, 9999000);
    assert_int_equal(urgency_limit(&urgency, 1000, 5001),
                     URGENT_SLICE_MS * 100);
    assert_int_equal(urgency_limit(&urgency, 20, 5001), 20);
    assert_int_equal(urgency_until_ms(&urgency, 5999), 6000);
    assert_int_equal(urgency_until_ms(&urgency, 6000), 0);
    assert_int_equal(urgency_limit(&urgency, 1000, 6000), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bands_rise_at_their_marks),
        cmocka_unit_test(bands_fall_later_than_they_rise),
        cmocka_unit_test(nothing_flaps_at_a_mark),
        cmocka_unit_test(intervals_of_the_bands),
        cmocka_unit_test(batches_double_until_one_is_slow),
        cmocka_unit_test(a_drain_begins_large),
        cmocka_unit_test(the_size_settles_where_the_latency_is_right),
        cmocka_unit_test(other_modes_take_the_most_at_once),
        cmocka_unit_test(hosts_come_back_spread),
        cmocka_unit_test(urgent_news_cut_batches_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
