/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>
#include <unistd.h>

#include "workers/gateway/process_usage.h"

static void ours_grows(void **state)
{
    struct process_usage usage;
    (void)state;
    while (clock() < CLOCKS_PER_SEC / 20)
        continue;
    assert_int_equal(process_usage_read(getpid(), &usage), 0);
    assert_true(usage.cpu_seconds >= 0.02);
    assert_true(usage.rss_bytes > 100000);
}

static void a_name_may_look_like_its_end(void **state)
{
    struct process_usage usage;
    (void)state;
    assert_int_equal(
        process_usage_parse("12 (a) R 1 (b)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 "
                            "20 0 1 0 99 1000 7 0",
                            &usage),
        0);
    double ticks = (double)sysconf(_SC_CLK_TCK);
    assert_true(usage.cpu_seconds > 199 / ticks);
    assert_true(usage.cpu_seconds < 201 / ticks);
    assert_int_equal(usage.rss_bytes, 7 * sysconf(_SC_PAGESIZE));
}

static void what_is_not_there(void **state)
{
    struct process_usage usage;
    (void)state;
    assert_int_equal(process_usage_read(0, &usage), -1);
    assert_int_equal(process_usage_read(-1, &usage), -1);
    assert_int_equal(process_usage_parse("", &usage), -1);
    assert_int_equal(process_usage_parse("12 (a) S 1 2", &usage), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ours_grows),
        cmocka_unit_test(a_name_may_look_like_its_end),
        cmocka_unit_test(what_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
