/* SPDX-License-Identifier: Apache-2.0
 *
 * feedback report: how right the patterns were, and which threshold would do
 * better.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/generation/patterns.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "ctl/report.h"

#define INCORRECT_MAX 10000 /* confidences; the store keeps no more rows */

struct reporting {
    enum pattern_strategy strategy;
    double threshold; /* the present one */
    json_t *analysis; /* rows of pattern_feedback_analysis */
    json_t *wrong;    /* {pattern_name, detected_confidence}, sorted */
};

static long long count_of(const struct reporting *reporting,
                          const char *pattern, const char *type)
{
    size_t i;
    json_t *row;
    json_array_foreach(reporting->analysis, i, row)
    {
        if (strcmp(report_text(row, "pattern_name"), pattern) == 0 &&
            strcmp(report_text(row, "feedback_type"), type) == 0)
            return report_number(row, "feedback_count");
    }
    return 0;
}

static size_t wrong_of(const struct reporting *reporting, const char *pattern,
                       double *confidences)
{
    size_t i;
    size_t count = 0;
    json_t *row;
    json_array_foreach(reporting->wrong, i, row)
    {
        if (count < INCORRECT_MAX &&
            strcmp(report_text(row, "pattern_name"), pattern) == 0)
            confidences[count++] =
                json_number_value(json_object_get(row, "detected_confidence"));
    }
    return count;
}

/* Figures that so few samples do not give are null. */
static json_t *judge(const struct reporting *reporting, const char *pattern,
                     double *room)
{
    long long correct = count_of(reporting, pattern, "correct");
    long long incorrect = count_of(reporting, pattern, "incorrect");
    long long samples = correct + incorrect +
                        count_of(reporting, pattern, "partial") +
                        count_of(reporting, pattern, "adjusted");
    json_t *row = json_pack(
        "{s:s,s:I,s:I,s:I,s:b}", "pattern", pattern, "samples",
        (json_int_t)samples, "correct", (json_int_t)correct, "incorrect",
        (json_int_t)incorrect, "enough", samples >= PATTERN_SAMPLES_MIN);
    if (samples < PATTERN_SAMPLES_MIN || correct + incorrect == 0)
        return row;
    double precision = pattern_precision(correct, incorrect);
    size_t count = wrong_of(reporting, pattern, room);
    double suggestion = pattern_suggestion(precision, room, count);
    double tuned = pattern_tuned(reporting->strategy, precision, suggestion);
    double confidence =
        pattern_tuning_confidence(samples, tuned - reporting->threshold);
    json_t *figures = json_pack(
        "{s:f,s:f,s:f,s:f,s:f,s:b,s:b}", "precision", precision, "advice",
        pattern_advice(precision), "suggestion", suggestion, "threshold", tuned,
        "tuning_confidence", confidence, "apply", confidence >= PATTERN_APPLY,
        "auto_apply", confidence >= PATTERN_AUTO);
    json_object_update(row, figures);
    json_decref(figures);
    return row;
}

static json_t *judge_all(const struct reporting *reporting)
{
    double *room = calloc(INCORRECT_MAX, sizeof(*room));
    json_t *rows = json_array();
    for (const char *const *name = pattern_names; room != NULL && *name != NULL;
         name++)
        json_array_append_new(rows, judge(reporting, *name, room));
    free(room);
    return rows;
}

static void show(const struct reporting *reporting, const json_t *rows)
{
    size_t i;
    json_t *row;
    printf("%s%-15s %7s %7s %9s %9s %6s %9s %9s %10s%s\n", print_bold(),
           "pattern", "samples", "correct", "incorrect", "precision", "advice",
           "suggested", "threshold", "confidence", print_plain());
    json_array_foreach(rows, i, row)
    {
        printf("%-15s %7lld %7lld %9lld", report_text(row, "pattern"),
               report_number(row, "samples"), report_number(row, "correct"),
               report_number(row, "incorrect"));
        if (json_object_get(row, "precision") == NULL) {
            printf("  too few, %d are needed\n", PATTERN_SAMPLES_MIN);
            continue;
        }
        printf(" %9.3f %6.2f %9.2f %9.2f %10.2f%s\n",
               json_real_value(json_object_get(row, "precision")),
               json_real_value(json_object_get(row, "advice")),
               json_real_value(json_object_get(row, "suggestion")),
               json_real_value(json_object_get(row, "threshold")),
               json_real_value(json_object_get(row, "tuning_confidence")),
               json_is_true(json_object_get(row, "apply")) ? "  worth it" : "");
    }
    printf("strategy %s, from a threshold of %.2f\n",
           pattern_strategy_names[reporting->strategy], reporting->threshold);
}

static int read_log(struct reporting *reporting,
                    const struct command_context *context, struct error *error)
{
    struct store_reader *reader = NULL;
    if (report_open(&reader, context->config, error) != 0)
        return -1;
    reporting->analysis = report_rows(
        reader, "SELECT * FROM pattern_feedback_analysis", NULL, 0, error);
    if (reporting->analysis != NULL)
        reporting->wrong = report_rows(
            reader,
            "SELECT pattern_name, detected_confidence FROM "
            "pattern_feedback_log WHERE feedback_type = 'incorrect' AND "
            "detected_confidence IS NOT NULL ORDER BY detected_confidence",
            NULL, 0, error);
    store_reader_close(&reader);
    return reporting->wrong == NULL ? -1 : 0;
}

static int parse(const struct command_context *context, int argc, char **argv,
                 struct reporting *reporting)
{
    static const struct option longs[] = {
        {"strategy", required_argument, NULL, 's'},
        {"threshold", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        char *end = NULL;
        int strategy = 0;
        if (option == 's') {
            while (pattern_strategy_names[strategy] != NULL &&
                   strcmp(pattern_strategy_names[strategy], optarg) != 0)
                strategy++;
            if (strategy == PATTERN_STRATEGY_COUNT)
                return print_usage(context,
                                   "--strategy takes precision_first, "
                                   "recall_first, balanced or adaptive");
            reporting->strategy = (enum pattern_strategy)strategy;
        } else if (option == 't') {
            reporting->threshold = strtod(optarg, &end);
            if (end == optarg || *end != '\0' ||
                !(reporting->threshold >= 0 && reporting->threshold <= 1))
                return print_usage(context, "--threshold takes 0 to 1");
        } else {
            return print_usage_line(context);
        }
    }
    if (optind < argc)
        return print_usage(context, "unexpected argument '%s'", argv[optind]);
    return 0;
}

int command_feedback_report(const struct command_context *context, int argc,
                            char **argv)
{
    struct reporting reporting = {.strategy = PATTERN_STRATEGY_BALANCED,
                                  .threshold = PATTERN_THRESHOLD};
    struct error error;
    int status = parse(context, argc, argv, &reporting);
    if (status != 0)
        return status;
    if (read_log(&reporting, context, &error) != 0) {
        json_decref(reporting.analysis);
        return print_failure(&error);
    }
    json_t *rows = judge_all(&reporting);
    json_decref(reporting.wrong);
    if (context->json)
        return print_json(json_pack("{s:s,s:f,s:o,s:o}", "strategy",
                                    pattern_strategy_names[reporting.strategy],
                                    "threshold", reporting.threshold,
                                    "patterns", rows, "analysis",
                                    reporting.analysis));
    show(&reporting, rows);
    json_decref(rows);
    json_decref(reporting.analysis);
    return 0;
}
