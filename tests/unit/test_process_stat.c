/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>
#include <unistd.h>

#include "common/base/process_stat.h"

static void ours_grows(void **state)
{
    struct process_stat process;
    (void)state;
    while (clock() < CLOCKS_PER_SEC / 20)
        continue;
    assert_int_equal(process_stat_read(getpid(), &process), 0);
    assert_true(process.cpu_seconds >= 0.02);
    assert_true(process.rss_bytes > 100000);
    assert_int_equal(process.parent, getppid());
}

static void a_name_may_look_like_its_end(void **state)
{
    struct process_stat process;
    (void)state;
    assert_int_equal(
        process_stat_parse("12 (a) R 1 (b)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 "
                           "20 0 1 0 99 1000 7 0",
                           &process),
        0);
    double ticks = (double)sysconf(_SC_CLK_TCK);
    assert_true(process.cpu_seconds > 199 / ticks);
    assert_true(process.cpu_seconds < 201 / ticks);
    assert_int_equal(process.rss_bytes, 7 * sysconf(_SC_PAGESIZE));
    assert_int_equal(process.parent, 1);
    assert_int_equal(process.start, 99);
}

static void what_is_not_there(void **state)
{
    struct process_stat process;
    (void)state;
    assert_int_equal(process_stat_read(0, &process), -1);
    assert_int_equal(process_stat_read(-1, &process), -1);
    assert_int_equal(process_stat_parse("", &process), -1);
    assert_int_equal(process_stat_parse("12 (a) S 1 2", &process), -1);
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
