/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/compatibility.h"

#include <string.h>

double mixin_rule_score(enum mixin a, enum mixin b)
{
    const struct mixin_about *one = mixin_about(a);
    const struct mixin_about *two = mixin_about(b);
    double score = 1.0;
    if (one->category != two->category)
        score -= 0.1;
    if ((one->hooks & two->hooks) != 0)
        score -= 0.3;
    if (one->changes_state && two->changes_state)
        score -= 0.2;
    return score;
}

double mixin_observed_score(int64_t successes, int64_t failures)
{
    int64_t tests = successes + failures;
    return tests == 0 ? 0.0 : (double)successes / (double)tests;
}

double mixin_learned_score(double rule, int64_t successes, int64_t failures)
{
    double tests = (double)(successes + failures);
    if (tests < COMPATIBILITY_TESTS_LEAST)
        return rule;
    double weight = tests / (tests + COMPATIBILITY_EVEN);
    return (1.0 - weight) * rule +
           weight * mixin_observed_score(successes, failures);
}

/* Sums of tenths are not exact: 0.6 may come out a hair below. */
#define HAIR 1e-9

const char *mixin_level(double score)
{
    score += HAIR;
    if (score >= COMPATIBILITY_LEAST)
        return score >= 0.9   ? "highly_compatible"
               : score >= 0.7 ? "compatible"
                              : "uncertain";
    double against = 1.0 - score + 2 * HAIR;
    return against >= 0.7   ? "highly_incompatible"
           : against >= 0.5 ? "incompatible"
                            : "uncertain";
}

static void insert(struct mixin_pair *poor, size_t most, size_t *count,
                   const struct mixin_pair *pair)
{
    size_t at = *count;
    while (at > 0 && poor[at - 1].score > pair->score + HAIR)
        at--;
    if (at >= most)
        return;
    size_t kept = *count < most ? *count : most - 1;
    memmove(&poor[at + 1], &poor[at], (kept - at) * sizeof(*poor));
    poor[at] = *pair;
    *count = kept + 1;
}

static struct mixin_pair judge(enum mixin a, enum mixin b, mixin_lookup *lookup,
                               const void *self)
{
    bool swap = strcmp(mixin_about(a)->name, mixin_about(b)->name) > 0;
    struct mixin_pair pair = {.a = swap ? b : a, .b = swap ? a : b};
    pair.seen = lookup(self, pair.a, pair.b);
    pair.rule = mixin_rule_score(a, b);
    pair.score =
        mixin_learned_score(pair.rule, pair.seen.successes, pair.seen.failures);
    return pair;
}

double mixin_set_score(uint32_t chosen, mixin_lookup *lookup, const void *self,
                       struct mixin_pair *poor, size_t most, size_t *count)
{
    double sum = 0.0;
    unsigned pairs = 0;
    *count = 0;
    for (unsigned a = 0; a < MIXIN_COUNT; a++) {
        for (unsigned b = a + 1; b < MIXIN_COUNT; b++) {
            if ((chosen & 1u << a) == 0 || (chosen & 1u << b) == 0)
                continue;
            struct mixin_pair pair =
                judge((enum mixin)a, (enum mixin)b, lookup, self);
            sum += pair.score;
            pairs++;
            if (pair.score + HAIR < COMPATIBILITY_LEAST)
                insert(poor, most, count, &pair);
        }
    }
    return pairs == 0 ? 1.0 : sum / pairs;
}
