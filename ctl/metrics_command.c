/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics: as they are now, from the daemon; as they were, from the samples
 * that its monitor keeps in the local store; and reports of what was
 * recorded there.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/control.h"
#include "ctl/metric_reports.h"
#include "ctl/metrics_look.h"
#include "ctl/print.h"
#include "ctl/report.h"

#define READ_TIMEOUT_MS 20000
#define SAMPLES_SHOWN   60
#define ROWS_SHOWN      100

static int show_now(const struct command_context *context)
{
    struct error error;
    json_t *args =
        json_pack("{s:s}", "format", context->json ? "json" : "text");
    json_t *data = control_ask(context->config, CONTROL_METRICS, args,
                               READ_TIMEOUT_MS, &error);
    if (data == NULL)
        return print_failure(&error);
    if (context->json)
        return print_json(data);
    fputs(report_text(data, "text"), stdout);
    json_decref(data);
    return 0;
}

/* [{at, metrics}], the oldest first. */
static json_t *read_samples(const struct command_context *context,
                            int64_t limit, struct error *error)
{
    struct store_reader *reader = NULL;
    json_t *samples = NULL;
    if (report_open(&reader, context->config, error) == 0)
        samples = report_rows(
            reader,
            "SELECT timestamp AS at_ms, metrics AS metrics_json FROM (SELECT "
            "id, timestamp, metrics FROM metric_samples ORDER BY id DESC LIMIT "
            "?) ORDER BY id",
            &limit, 1, error);
    store_reader_close(&reader);
    return samples;
}

static void show_p95(const struct metrics_look *look,
                     const struct metrics_look *before, enum look_latency which)
{
    struct histogram_totals since;
    metrics_look_latency(look, before, which, &since);
    if (since.count == 0)
        printf(" %7s", "-");
    else
        printf(" %7.1f", histogram_quantile_us(&since, 0.95) / 1e3);
}

/* Without a look before, of the same daemon, rates are not known. */
static void show_sample(const json_t *sample, const struct metrics_look *look,
                        const struct metrics_look *before)
{
    static const enum look_rate shown[] = {LOOK_RATE_ACCEPTED, LOOK_RATE_SYNCED,
                                           LOOK_RATE_JOBS};
    printf("%.19s", report_text(sample, "at"));
    for (unsigned i = 0; i < 3; i++) {
        double rate =
            before != NULL ? metrics_look_rate(look, before, shown[i]) : -1;
        if (rate < 0)
            printf(" %8s", "-");
        else
            printf(" %8.1f", rate);
    }
    printf(" %7lld", report_number(json_object_get(sample, "metrics"),
                                   "tidemill_outbox_pending"));
    show_p95(look, before, LOOK_LATENCY_COMMIT);
    show_p95(look, before, LOOK_LATENCY_BATCH);
    show_p95(look, before, LOOK_LATENCY_JOB);
    putchar('\n');
}

static void show_samples(const json_t *samples)
{
    struct metrics_look looks[2];
    printf("%s%-19s %8s %8s %8s %7s %7s %7s %7s%s\n", print_bold(), "at (UTC)",
           "accept/s", "synced/s", "jobs/s", "pending", "commit", "batch",
           "job", print_plain());
    for (size_t i = 0; i < json_array_size(samples); i++) {
        const json_t *sample = json_array_get(samples, i);
        const char *at = report_text(sample, "at");
        struct metrics_look *look = &looks[i % 2];
        const struct metrics_look *before = i > 0 ? &looks[(i + 1) % 2] : NULL;
        int64_t at_ms = 0;
        clock_parse(at, strlen(at), &at_ms);
        metrics_look_read(json_object_get(sample, "metrics"), (uint64_t)at_ms,
                          look);
        if (before != NULL && metrics_look_fell(look, before))
            before = NULL;
        show_sample(sample, look, before);
    }
}

static int show_history(const struct command_context *context, int64_t limit)
{
    struct error error;
    json_t *samples = read_samples(context, limit, &error);
    if (samples == NULL)
        return print_failure(&error);
    if (context->json)
        return print_json(samples);
    show_samples(samples);
    json_decref(samples);
    return 0;
}

int command_metrics(const struct command_context *context, int argc,
                    char **argv)
{
    static const struct option longs[] = {
        {"history", no_argument, NULL, 'h'},
        {"report", required_argument, NULL, 'r'},
        {"limit", required_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    bool history = false;
    const char *report = NULL;
    int64_t limit = -1;
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == 'h')
            history = true;
        else if (option == 'r')
            report = optarg;
        else if (option == 'l')
            limit = parse_positive(optarg);
        else
            return print_usage_line(context);
    }
    if (limit == 0 || (limit > 0 && !history && report == NULL))
        return print_usage(context, "--limit takes a positive number, with "
                                    "--history or --report");
    if (history && report != NULL)
        return print_usage(context, "--history or --report, not both");
    if (optind != argc)
        return print_usage(context, "unexpected argument: %s", argv[optind]);
    if (report != NULL)
        return metric_report_show(context, report,
                                  limit > 0 ? limit : ROWS_SHOWN);
    return history ? show_history(context, limit > 0 ? limit : SAMPLES_SHOWN)
                   : show_now(context);
}
