/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "workers/store/gathering.h"

#define COMMIT_NS 100000

static void test_one_alone_never_waits(void **state)
{
    struct gathering gathering = {0};
    (void)state;
    assert_false(gathering_waits(&gathering, 1, 1));
    gathering_ended(&gathering, 1, COMMIT_NS);
    assert_false(gathering_waits(&gathering, 1, 1));
}

static void test_it_waits_for_as_many_as_before(void **state)
{
    struct gathering gathering = {0};
    (void)state;
    gathering_ended(&gathering, 3, COMMIT_NS);
    assert_true(gathering_waits(&gathering, 1, 1000));
    assert_true(gathering_waits(&gathering, 2, 1001));
    assert_false(gathering_waits(&gathering, 3, 1002));
}

static void test_in_vain_for_half_a_commit(void **state)
{
    struct gathering gathering = {0};
    (void)state;
    gathering_ended(&gathering, 3, COMMIT_NS);
    assert_true(gathering_waits(&gathering, 1, 1000));
    assert_true(gathering_waits(&gathering, 1, 1000 + COMMIT_NS / 2 - 1));
    assert_false(gathering_waits(&gathering, 1, 1000 + COMMIT_NS / 2));
    gathering_ended(&gathering, 1, COMMIT_NS);
    assert_false(gathering_waits(&gathering, 1, 900000));
}

static void test_a_slow_disk_does_not_stretch_it(void **state)
{
    struct gathering gathering = {0};
    (void)state;
    gathering_ended(&gathering, 3, 1000000000);
    assert_true(gathering_waits(&gathering, 1, 1000));
    assert_false(gathering_waits(&gathering, 1, 1000 + GATHERING_NS_MAX));
}

static void test_the_mean_follows(void **state)
{
    struct gathering gathering = {0};
    (void)state;
    gathering_ended(&gathering, 2, 80000);
    gathering_ended(&gathering, 2, 160000);
    assert_int_equal(gathering.commit_ns, 90000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_alone_never_waits),
        cmocka_unit_test(test_it_waits_for_as_many_as_before),
        cmocka_unit_test(test_in_vain_for_half_a_commit),
        cmocka_unit_test(test_a_slow_disk_does_not_stretch_it),
        cmocka_unit_test(test_the_mean_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
