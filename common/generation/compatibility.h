/* SPDX-License-Identifier: Apache-2.0
 *
 * How well two mixins go together: what the rules say, and what was seen of
 * them (the table mixin_compatibility_matrix).  Pure figures.
 */
#ifndef TIDEMILL_GENERATION_COMPATIBILITY_H
#define TIDEMILL_GENERATION_COMPATIBILITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/generation/mixins.h"

/* Below this a combination is poor. */
#define COMPATIBILITY_LEAST 0.6

/* What was seen counts from this many tests on; with as many as
 * COMPATIBILITY_EVEN it counts as much as the rules. */
#define COMPATIBILITY_TESTS_LEAST 3
#define COMPATIBILITY_EVEN        10

/* 1, less 0.1 for different categories, 0.3 for a lifecycle hook that both
 * have, 0.2 when both change state. */
double mixin_rule_score(enum mixin a, enum mixin b);

/* s / (s + f); 0 when nothing was seen. */
double mixin_observed_score(int64_t successes, int64_t failures);

/* With n = s + f of at least COMPATIBILITY_TESTS_LEAST, the mean of both
 * scores, the observed one weighted n / (n + COMPATIBILITY_EVEN); otherwise
 * the rule's. */
double mixin_learned_score(double rule, int64_t successes, int64_t failures);

/* "highly_compatible" from 0.9, "compatible" from 0.7; below
 * COMPATIBILITY_LEAST "highly_incompatible" to 0.3, "incompatible" to 0.5;
 * what is between, "uncertain". */
const char *mixin_level(double score);

/* What was seen of the pair on nodes of one type. */
struct mixin_record {
    int64_t successes, failures;
};

/* Asked for each pair, a before b by name. */
typedef struct mixin_record mixin_lookup(const void *self, enum mixin a,
                                         enum mixin b);

struct mixin_pair {
    enum mixin a, b; /* by name */
    double score, rule;
    struct mixin_record seen;
};

/* The mean over all pairs of a set, 1 for fewer than two; the poor ones, in
 * the order of their scores, are put into `poor`, at most `most`; *count. */
double mixin_set_score(uint32_t mixins, mixin_lookup *lookup, const void *self,
                       struct mixin_pair *poor, size_t most, size_t *count);

#endif
