/* SPDX-License-Identifier: Apache-2.0
 *
 * Patterns and their feedback: worked examples of the formulas.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/generation/patterns.h"

static void near(double value, double wanted)
{
    if (value < wanted - 1e-9 || value > wanted + 1e-9)
        fail_msg("%.6f is not %.6f", value, wanted);
}

static void test_confidence(void **state)
{
    (void)state;
    /* 1 of 12, first word, in the name */
    near(pattern_confidence(PATTERN_CRUD, "create_invoice", "Create it."),
         0.4 * 4 / 12 + 0.3 + 0.3);
    /* not the first word */
    near(pattern_confidence(PATTERN_CRUD, "create_invoice", "It creates."),
         0.4 * 4 / 12 + 0.3);
    /* not in the name, two keywords */
    near(pattern_confidence(PATTERN_CRUD, "invoice", "Create or update it"),
         0.4 * 8 / 12 + 0.3 + 0.15);
    /* no more than all of the share: 4 of 12 are enough */
    near(pattern_confidence(PATTERN_CRUD, "x",
                            "it can read, get, list, find, fetch"),
         0.4 + 0.15);
    near(pattern_confidence(PATTERN_CRUD, "get_x", "Read, update, delete it"),
         1.0);
    near(pattern_confidence(PATTERN_AGGREGATION, "sum_up", NULL),
         0.4 * 4 / 12 + 0.3 + 0.3);
    near(pattern_confidence(PATTERN_AGGREGATION, "assume", "presume"), 0.0);
}

static void test_matches(void **state)
{
    struct pattern_match matches[PATTERN_MATCHES_MAX];
    (void)state;
    assert_int_equal(pattern_matches("create_invoice", "Create it",
                                     PATTERN_THRESHOLD, matches),
                     1);
    assert_int_equal(matches[0].pattern, PATTERN_CRUD);
    assert_int_equal(
        pattern_matches("create", "It creates", PATTERN_THRESHOLD, matches), 0);
    assert_int_equal(pattern_matches("get_count_parse_run", "Count, sum, total",
                                     0.1, matches),
                     3);
    assert_int_equal(matches[0].pattern, PATTERN_AGGREGATION);
    assert_true(matches[1].confidence >= matches[2].confidence);
    assert_int_equal(pattern_matches("", "", 0.1, matches), 0);
}

static void test_thresholds(void **state)
{
    static const double odd[] = {0.5, 0.72, 0.99};
    static const double even[] = {0.7, 0.74, 0.8, 0.9};
    static const double low[] = {0.3};
    static const double high[] = {0.97};
    (void)state;
    near(pattern_precision(0, 0), 0.0);
    near(pattern_precision(18, 2), 0.9);
    near(pattern_advice(0.95), 0.65);
    near(pattern_advice(0.9), 0.70);
    near(pattern_advice(0.8), 0.75);
    near(pattern_advice(0.79), 0.85);
    near(pattern_suggestion(0.5, odd, 3), 0.72);
    near(pattern_suggestion(0.5, even, 4), 0.77);
    near(pattern_suggestion(0.5, low, 1), 0.65);
    near(pattern_suggestion(0.5, high, 1), 0.90);
    near(pattern_suggestion(0.9, NULL, 0), 0.70);
    near(pattern_suggestion(0.89, NULL, 0), 0.80);
}

static void test_tuning(void **state)
{
    (void)state;
    near(pattern_tuned(PATTERN_STRATEGY_PRECISION_FIRST, 0.70, 0.8), 0.85);
    near(pattern_tuned(PATTERN_STRATEGY_PRECISION_FIRST, 0.80, 0.8), 0.90);
    near(pattern_tuned(PATTERN_STRATEGY_PRECISION_FIRST, 0.90, 0.8), 0.80);
    near(pattern_tuned(PATTERN_STRATEGY_RECALL_FIRST, 0.7, 0.8), 0.70);
    near(pattern_tuned(PATTERN_STRATEGY_RECALL_FIRST, 0.7, 0.65), 0.60);
    near(pattern_tuned(PATTERN_STRATEGY_BALANCED, 0.7, 0.77), 0.77);
    near(pattern_tuned(PATTERN_STRATEGY_ADAPTIVE, 0.79, 0.7), 0.80);
    near(pattern_tuned(PATTERN_STRATEGY_ADAPTIVE, 0.80, 0.7), 0.75);
    near(pattern_tuned(PATTERN_STRATEGY_ADAPTIVE, 0.90, 0.7), 0.70);
    near(pattern_tuning_confidence(100, 0.2), 1.0);
    near(pattern_tuning_confidence(50, -0.1), 0.3 + 0.2);
    near(pattern_tuning_confidence(1000, 0.0), 0.6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_confidence),
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_thresholds),
        cmocka_unit_test(test_tuning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
