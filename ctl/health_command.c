/* SPDX-License-Identifier: Apache-2.0
 *
 * sync health: the last seven days, from the store's row for each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "ctl/report.h"

#define DAYS     7
#define MS_A_DAY INT64_C(86400000)

static const char days_sql[] =
    "WITH RECURSIVE week (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM week "
    "WHERE n < ? - 1) SELECT date((? - n) * 86400, 'unixepoch') AS day, "
    "ifnull(passes, 0) AS passes, ifnull(operations, 0) AS operations, "
    "ifnull(bytes, 0) AS bytes, ifnull(failures, 0) AS errors, "
    "ifnull(deferrals, 0) AS deferrals, duration_ms + 0 AS total, "
    "durations AS durations_json FROM week LEFT JOIN sync_days d ON d.day = "
    "? - n ORDER BY n";

struct duration_class {
    long long most_ms;
    long long passes;
};

static int compare_classes(const void *a, const void *b)
{
    const struct duration_class *x = a;
    const struct duration_class *y = b;
    return (x->most_ms > y->most_ms) - (x->most_ms < y->most_ms);
}

/* The most that a pass of the class took where 95 of 100 are reached. */
static long long percentile_95(const json_t *durations, long long passes)
{
    size_t count = 0;
    size_t classes_count = json_object_size(durations);
    struct duration_class *classes =
        calloc(classes_count + 1, sizeof(*classes));
    if (classes == NULL)
        return 0;
    for (void *at = json_object_iter((json_t *)durations); at != NULL;
         at = json_object_iter_next((json_t *)durations, at))
        classes[count++] = (struct duration_class){
            strtoll(json_object_iter_key(at), NULL, 10),
            json_integer_value(json_object_iter_value(at))};
    qsort(classes, count, sizeof(*classes), compare_classes);
    long long left = (passes * 95 + 99) / 100;
    size_t i = 0;
    while (i + 1 < count && left > classes[i].passes)
        left -= classes[i++].passes;
    long long most_ms = classes[i].most_ms;
    free(classes);
    return most_ms;
}

/* Fills in what is computed; a day without a pass has nulls. */
static void finish_day(json_t *day)
{
    long long passes = report_number(day, "passes");
    const json_t *durations = json_object_get(day, "durations");
    json_t *rate = json_null();
    json_t *mean = json_null();
    json_t *p95 = json_null();
    if (passes > 0) {
        double of = (double)passes;
        rate = json_real((of - (double)report_number(day, "errors")) / of);
        mean = json_real((double)report_number(day, "total") / of);
        p95 = json_integer(percentile_95(durations, passes));
    }
    json_object_set_new(day, "success_rate", rate);
    json_object_set_new(day, "mean_duration_ms", mean);
    json_object_set_new(day, "p95_duration_ms", p95);
    json_object_del(day, "total");
    json_object_del(day, "durations");
}

static json_t *read_days(const struct command_context *context,
                         struct error *error)
{
    struct store_reader *reader;
    int64_t today = clock_wall_ms() / MS_A_DAY;
    const int64_t arguments[] = {DAYS, today, today};
    if (report_open(&reader, context->config, error) != 0)
        return NULL;
    json_t *days = report_rows(reader, days_sql, arguments, 3, error);
    store_reader_close(&reader);
    for (size_t i = 0; i < json_array_size(days); i++)
        finish_day(json_array_get(days, i));
    return days;
}

static void show_day(const json_t *day)
{
    char mean[32] = "-";
    char p95[32] = "-";
    char rate[16] = "-";
    const json_t *success = json_object_get(day, "success_rate");
    if (!json_is_null(success)) {
        snprintf(rate, sizeof(rate), "%.1f%%",
                 100 * json_number_value(success));
        print_duration(
            json_number_value(json_object_get(day, "mean_duration_ms")) / 1000,
            mean);
        print_duration(
            json_number_value(json_object_get(day, "p95_duration_ms")) / 1000,
            p95);
    }
    printf("%-10s %8lld %11lld %8s %9s %9s %7lld %9lld\n",
           report_text(day, "day"), report_number(day, "passes"),
           report_number(day, "operations"), rate, mean, p95,
           report_number(day, "errors"), report_number(day, "deferrals"));
}

int command_sync_health(const struct command_context *context, int argc,
                        char **argv)
{
    struct error error;
    int status = take_no_arguments(context, argc, argv);
    if (status != 0)
        return status;
    json_t *days = read_days(context, &error);
    if (days == NULL)
        return print_failure(&error);
    if (context->json)
        return print_json(json_pack("{s:o}", "days", days));
    printf("%s%-10s %8s %11s %8s %9s %9s %7s %9s%s\n", print_bold(), "day",
           "passes", "operations", "success", "mean", "p95", "errors",
           "deferrals", print_plain());
    for (size_t i = 0; i < json_array_size(days); i++)
        show_day(json_array_get(days, i));
    json_decref(days);
    return 0;
}
