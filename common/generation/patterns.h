/* SPDX-License-Identifier: Apache-2.0
 *
 * Patterns of operations, found by their words, and what feedback says of
 * the finding (the table pattern_feedback_log).  Pure figures.
 */
#ifndef TIDEMILL_GENERATION_PATTERNS_H
#define TIDEMILL_GENERATION_PATTERNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_LIST(X)                                                        \
    X(CRUD, "crud")                                                            \
    X(TRANSFORMATION, "transformation")                                        \
    X(AGGREGATION, "aggregation")                                              \
    X(ORCHESTRATION, "orchestration")

enum pattern {
#define X(name, text) PATTERN_##name,
    PATTERN_LIST(X)
#undef X
        PATTERN_COUNT
};

#define PATTERN_THRESHOLD   0.70
#define PATTERN_MATCHES_MAX 3
#define PATTERN_SAMPLES_MIN 20 /* fewer say nothing */
#define PATTERN_TARGET      0.90 /* of the precision */
#define PATTERN_APPLY       0.70 /* confidence for a change by hand */
#define PATTERN_AUTO        0.80 /* and without one */

extern const char *const pattern_names[]; /* NULL at the end */

/* By name; -1. */
int pattern_find(const char *name);

/* How well an operation is of a pattern:
 *     0.4 min(4 matched / keywords, 1)
 *   + 0.3 when its first word is a keyword
 *   + 0.3 when its name has one of those that matched, else 0.15
 * at most 1; 0 when no word matches.  The words are those of the name and of
 * the description, whose first one counts (the name's without one); a word
 * matches a keyword that it begins with. */
double pattern_confidence(enum pattern pattern, const char *name,
                          const char *description);

struct pattern_match {
    enum pattern pattern;
    double confidence;
};

/* Those from the threshold on, the best first, at most PATTERN_MATCHES_MAX;
 * how many. */
size_t pattern_matches(const char *name, const char *description,
                       double threshold,
                       struct pattern_match matches[PATTERN_MATCHES_MAX]);

/* correct / (correct + incorrect); 0 without any. */
double pattern_precision(int64_t correct, int64_t incorrect);

/* 0.65 for a precision of 0.95 and more, 0.70 from 0.90, 0.75 from 0.80,
 * else 0.85. */
double pattern_advice(double precision);

/* The median of the confidences of what was incorrect (sorted), within 0.65
 * and 0.90; without any 0.70 for a precision of 0.9 and more, else 0.80. */
double pattern_suggestion(double precision, const double *incorrect,
                          size_t count);

/* X(name, text): how a threshold is tuned, from precision p and suggestion
 * s. */
#define PATTERN_STRATEGY_LIST(X)                                               \
    X(PRECISION_FIRST, "precision_first") /* min(.90, p + .15) below target, s */ \
    X(RECALL_FIRST, "recall_first")       /* max(.60, s - .10) */              \
    X(BALANCED, "balanced")               /* s */                              \
    X(ADAPTIVE, "adaptive") /* p < .8: .80, p < .9: .75, else .70 */

enum pattern_strategy {
#define X(name, text) PATTERN_STRATEGY_##name,
    PATTERN_STRATEGY_LIST(X)
#undef X
        PATTERN_STRATEGY_COUNT
};

extern const char *const pattern_strategy_names[];

double pattern_tuned(enum pattern_strategy strategy, double precision,
                     double suggestion);

/* 0.6 min(1, samples / (5 * PATTERN_SAMPLES_MIN)) + 0.4 min(1, 5 |change|) */
double pattern_tuning_confidence(int64_t samples, double change);

#endif
