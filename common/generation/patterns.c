/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/patterns.h"

#include <ctype.h>
#include <string.h>

#define WORD_MAX     40
#define KEYWORDS_MAX 16
#define HAIR         1e-9 /* sums of hundredths are not exact */

static const char *const keywords[PATTERN_COUNT][KEYWORDS_MAX + 1] = {
    [PATTERN_CRUD] = {"create", "read", "get", "update", "delete", "insert",
                      "save", "stor", "fetch", "list", "remov", "find"},
    [PATTERN_TRANSFORMATION] = {"transform", "convert", "pars", "format", "map",
                                "normali", "translat", "encod", "decod",
                                "calculat", "comput", "validat"},
    [PATTERN_AGGREGATION] = {"aggregat", "sum", "count", "collect", "total",
                             "averag", "group", "reduc", "merg", "tally",
                             "statistic", "accumulat"},
    [PATTERN_ORCHESTRATION] = {"orchestrat", "coordinat", "workflow", "schedul",
                               "dispatch", "sequenc", "pipelin", "run", "step",
                               "process", "rout", "trigger"},
};

const char *const pattern_names[] = {
#define X(name, text) text,
    PATTERN_LIST(X)
#undef X
        NULL,
};

const char *const pattern_strategy_names[] = {
#define X(name, text) text,
    PATTERN_STRATEGY_LIST(X)
#undef X
        NULL,
};

int pattern_find(const char *name)
{
    for (int i = 0; i < PATTERN_COUNT; i++) {
        if (strcmp(pattern_names[i], name) == 0)
            return i;
    }
    return -1;
}

/* Keywords that words of a text begin with, as bits; *first: those that its
 * first word begins with. */
static unsigned find_keywords(enum pattern pattern, const char *text,
                              unsigned *first)
{
    char word[WORD_MAX];
    size_t length = 0;
    unsigned found = 0;
    bool is_first = true;
    *first = 0;
    for (;; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c)) {
            if (length < WORD_MAX - 1)
                word[length++] = (char)tolower(c);
            continue;
        }
        word[length] = '\0';
        for (unsigned i = 0; length > 0 && keywords[pattern][i] != NULL; i++) {
            const char *keyword = keywords[pattern][i];
            if (strncmp(word, keyword, strlen(keyword)) != 0)
                continue;
            found |= 1u << i;
            *first |= is_first ? 1u << i : 0;
        }
        is_first = is_first && length == 0;
        length = 0;
        if (c == '\0')
            return found;
    }
}

static unsigned count_bits(unsigned bits)
{
    unsigned count = 0;
    for (; bits != 0; bits &= bits - 1)
        count++;
    return count;
}

double pattern_confidence(enum pattern pattern, const char *name,
                          const char *description)
{
    unsigned first, name_first;
    unsigned total = 0;
    unsigned in_name = find_keywords(pattern, name, &name_first);
    unsigned matched = in_name;
    if (description != NULL && *description != '\0')
        matched |= find_keywords(pattern, description, &first);
    else
        first = name_first;
    if (matched == 0)
        return 0.0;
    while (keywords[pattern][total] != NULL)
        total++;
    double share = 4.0 * count_bits(matched) / total;
    double confidence = 0.4 * (share < 1.0 ? share : 1.0) +
                        (first != 0 ? 0.3 : 0.0) + (in_name != 0 ? 0.3 : 0.15);
    return confidence < 1.0 ? confidence : 1.0;
}

size_t pattern_matches(const char *name, const char *description,
                       double threshold,
                       struct pattern_match matches[PATTERN_MATCHES_MAX])
{
    size_t count = 0;
    for (int i = 0; i < PATTERN_COUNT; i++) {
        struct pattern_match match = {(enum pattern)i, 0.0};
        match.confidence = pattern_confidence(match.pattern, name, description);
        if (match.confidence + HAIR < threshold)
            continue;
        size_t at = count;
        while (at > 0 && matches[at - 1].confidence < match.confidence)
            at--;
        if (at == PATTERN_MATCHES_MAX)
            continue;
        count += count < PATTERN_MATCHES_MAX;
        memmove(&matches[at + 1], &matches[at],
                (count - at - 1) * sizeof(*matches));
        matches[at] = match;
    }
    return count;
}

double pattern_precision(int64_t correct, int64_t incorrect)
{
    int64_t all = correct + incorrect;
    return all == 0 ? 0.0 : (double)correct / (double)all;
}

double pattern_advice(double precision)
{
    precision += HAIR;
    return precision >= 0.95             ? 0.65
           : precision >= PATTERN_TARGET ? 0.70
           : precision >= 0.80           ? 0.75
                                         : 0.85;
}

static double within(double value, double least, double most)
{
    return value < least ? least : value > most ? most : value;
}

double pattern_suggestion(double precision, const double *incorrect,
                          size_t count)
{
    if (count == 0)
        return precision + HAIR >= PATTERN_TARGET ? 0.70 : 0.80;
    double median = incorrect[count / 2];
    if (count % 2 == 0)
        median = (median + incorrect[count / 2 - 1]) / 2.0;
    return within(median, 0.65, 0.90);
}

double pattern_tuned(enum pattern_strategy strategy, double precision,
                     double suggestion)
{
    switch (strategy) {
    case PATTERN_STRATEGY_PRECISION_FIRST:
        return precision + HAIR < PATTERN_TARGET
                   ? within(precision + 0.15, 0.0, 0.90)
                   : suggestion;
    case PATTERN_STRATEGY_RECALL_FIRST:
        return within(suggestion - 0.10, 0.60, 1.0);
    case PATTERN_STRATEGY_ADAPTIVE:
        return precision + HAIR < 0.8              ? 0.80
               : precision + HAIR < PATTERN_TARGET ? 0.75
                                                   : 0.70;
    default:
        return suggestion;
    }
}

double pattern_tuning_confidence(int64_t samples, double change)
{
    double size = change < 0 ? -change : change;
    return 0.6 * within((double)samples / (5.0 * PATTERN_SAMPLES_MIN), 0, 1) +
           0.4 * within(5.0 * size, 0, 1);
}
