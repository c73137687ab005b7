/* SPDX-License-Identifier: Apache-2.0
 *
 * How well mixins go together: worked examples of the formulas.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/generation/compatibility.h"

static void near(double value, double wanted)
{
    assert_float_equal(value, wanted, 1e-6);
}

static void test_rules(void **state)
{
    (void)state;
    /* different categories, both have init, both change state */
    near(mixin_rule_score(MIXIN_CACHING, MIXIN_TRANSACTION), 0.4);
    near(mixin_rule_score(MIXIN_TRANSACTION, MIXIN_CACHING), 0.4);
    /* one category, both have init, both change state */
    near(mixin_rule_score(MIXIN_CIRCUIT_BREAKER, MIXIN_RATE_LIMITER), 0.5);
    /* one category, both have init */
    near(mixin_rule_score(MIXIN_LOGGING, MIXIN_METRICS), 0.7);
    near(mixin_rule_score(MIXIN_LOGGING, MIXIN_AUDIT), 0.6);
    near(mixin_rule_score(MIXIN_CACHING, MIXIN_RETRY), 0.9);
    near(mixin_rule_score(MIXIN_RETRY, MIXIN_TIMEOUT), 1.0);
}

static void test_what_was_seen(void **state)
{
    (void)state;
    near(mixin_observed_score(0, 0), 0.0);
    near(mixin_observed_score(3, 1), 0.75);
    near(mixin_learned_score(0.4, 2, 0), 0.4); /* too few */
    near(mixin_learned_score(0.4, 10, 0), 0.7);
    near(mixin_learned_score(0.9, 0, 10), 0.45);
    near(mixin_learned_score(0.7, 15, 15), 0.25 * 0.7 + 0.75 * 0.5);
}

static void test_levels(void **state)
{
    static const struct {
        double score;
        const char *level;
    } rows[] = {
        {1.0, "highly_compatible"},   {0.9, "highly_compatible"},
        {0.89, "compatible"},         {0.7, "compatible"},
        {0.69, "uncertain"},          {0.6, "uncertain"},
        {0.59, "uncertain"},          {0.51, "uncertain"},
        {0.5, "incompatible"},        {0.31, "incompatible"},
        {0.3, "highly_incompatible"}, {0.0, "highly_incompatible"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(mixin_level(rows[i].score), rows[i].level);
}

static struct mixin_record nothing(const void *self, enum mixin a, enum mixin b)
{
    (void)self;
    assert_true(strcmp(mixin_about(a)->name, mixin_about(b)->name) < 0);
    return (struct mixin_record){0, 0};
}

static struct mixin_record fine(const void *self, enum mixin a, enum mixin b)
{
    (void)self, (void)a, (void)b;
    return (struct mixin_record){100, 0};
}

#define BIT(name) (1u << MIXIN_##name)

static void test_sets(void **state)
{
    struct mixin_pair poor[2];
    size_t count;
    (void)state;
    near(mixin_set_score(0, nothing, NULL, poor, 2, &count), 1.0);
    near(mixin_set_score(BIT(AUDIT), nothing, NULL, poor, 2, &count), 1.0);
    assert_int_equal(count, 0);
    /* .9 .9 1 */
    near(mixin_set_score(BIT(CACHING) | BIT(RETRY) | BIT(TIMEOUT), nothing,
                         NULL, poor, 2, &count),
         2.8 / 3);
    assert_int_equal(count, 0);
    /* breaker and limiter .5, caching with either .4: the worst two stay */
    near(
        mixin_set_score(BIT(CACHING) | BIT(CIRCUIT_BREAKER) | BIT(RATE_LIMITER),
                        nothing, NULL, poor, 2, &count),
        1.3 / 3);
    assert_int_equal(count, 2);
    near(poor[0].score, 0.4);
    near(poor[1].score, 0.4);
    /* Logging and Audit are at the bound: not poor */
    mixin_set_score(BIT(LOGGING) | BIT(AUDIT), nothing, NULL, poor, 2, &count);
    assert_int_equal(count, 0);
    mixin_set_score(BIT(CACHING) | BIT(AUDIT), fine, NULL, poor, 2, &count);
    assert_int_equal(count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_what_was_seen),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
