/* SPDX-License-Identifier: Apache-2.0
 *
 * cache stats, clear, invalidate: the cache of compiled templates.
 */
#include <getopt.h>
#include <stdio.h>

#include "common/base/text.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/control.h"
#include "ctl/print.h"
#include "ctl/report.h"

#define TIMEOUT_MS    20000
#define SHOWN_DEFAULT 10

static double real_of(const json_t *data, const char *key)
{
    return json_number_value(json_object_get(data, key));
}

/* What the store remembers of all times; null while there is none. */
static json_t *efficiency(const struct config *config)
{
    struct store_reader *reader = NULL;
    struct error error;
    json_t *rows = NULL;
    if (report_open(&reader, config, &error) == 0)
        rows = report_rows(reader, "SELECT * FROM template_cache_efficiency",
                           NULL, 0, &error);
    store_reader_close(&reader);
    return rows != NULL ? rows : json_null();
}

static void show_sums(const json_t *data)
{
    char bytes[24];
    char most[24];
    char saved[32];
    double saved_s = real_of(data, "time_saved_ms") / 1000;
    printf("%stemplate cache%s%s\n", print_bold(), print_plain(),
           json_is_true(json_object_get(data, "enabled"))
               ? ""
               : "  switched off (template_cache.enabled)");
    printf("templates      %lld of %lld, %s of %s\n",
           report_number(data, "cached_templates"),
           report_number(data, "max_templates"),
           text_bytes((uint64_t)report_number(data, "total_size_bytes"), bytes),
           text_bytes((uint64_t)report_number(data, "max_size_bytes"), most));
    printf("uses           %lld hits, %lld misses: %.1f %% hits\n",
           report_number(data, "hits"), report_number(data, "misses"),
           100 * real_of(data, "hit_rate"));
    printf("removed        %lld for others, %lld changed, too old or on "
           "command\n",
           report_number(data, "evictions"),
           report_number(data, "invalidations"));
    printf("time           %.3f ms to compile one, %.3f ms to find it; %s "
           "saved\n",
           real_of(data, "avg_uncached_load_ms"),
           real_of(data, "avg_cached_load_ms"),
           print_duration(saved_s > 0 ? saved_s : 0, saved));
    if (report_number(data, "recoveries") > 0)
        printf("emptied        %lld times in part, after a process died in "
               "it\n",
               report_number(data, "recoveries"));
}

static void show_templates(const json_t *templates, size_t shown)
{
    size_t i;
    json_t *row;
    if (json_array_size(templates) == 0)
        return;
    printf("\n%s%-40s %-11s %9s %9s %9s  %s%s\n", print_bold(), "template",
           "type", "uses", "size", "age", "file", print_plain());
    json_array_foreach(templates, i, row)
    {
        char bytes[24];
        char age[32];
        if (i == shown) {
            printf("%s... and %zu more: --limit%s\n", print_dim(),
                   json_array_size(templates) - shown, print_plain());
            break;
        }
        printf("%-40s %-11s %9lld %9s %9s  %s\n", report_text(row, "name"),
               report_text(row, "type"), report_number(row, "access_count"),
               text_bytes((uint64_t)report_number(row, "size_bytes"), bytes),
               print_duration(real_of(row, "age_seconds"), age),
               report_text(row, "file_hash"));
    }
}

int command_cache_stats(const struct command_context *context, int argc,
                        char **argv)
{
    static const struct option options[] = {
        {"limit", required_argument, NULL, 'n'}, {NULL, 0, NULL, 0}};
    int64_t shown = SHOWN_DEFAULT;
    struct error error;
    int option;
    while ((option = getopt_long(argc, argv, "n:", options, NULL)) != -1) {
        shown = option == 'n' ? parse_positive(optarg) : -1;
        if (shown < 0)
            return print_usage_line(context);
        if (shown == 0)
            return print_usage(context, "--limit takes a positive number");
    }
    if (optind < argc)
        return print_usage(context, "unexpected argument '%s'", argv[optind]);
    json_t *data = control_ask(context->config, CONTROL_CACHE_STATS, NULL,
                               TIMEOUT_MS, &error);
    if (data == NULL)
        return print_failure(&error);
    if (context->json) {
        json_object_set_new(data, "by_type", efficiency(context->config));
        return print_json(data);
    }
    show_sums(data);
    show_templates(json_object_get(data, "templates"), (size_t)shown);
    json_decref(data);
    return 0;
}

/* 0 when something was removed, 1 when not. */
static int tell_removed(const struct command_context *context, json_t *data,
                        const char *pattern)
{
    long long removed = report_number(data, "removed");
    if (context->json) {
        print_json(data);
    } else {
        json_decref(data);
        if (removed > 0 || pattern == NULL)
            printf("%lld removed\n", removed);
        else
            print_error("no template in the cache is '%s'; 'tidemill cache "
                        "stats' names them",
                        pattern);
    }
    return removed > 0 || pattern == NULL ? 0
                                          : error_exit_status(ERROR_NEGATIVE);
}

int command_cache_clear(const struct command_context *context, int argc,
                        char **argv)
{
    struct error error;
    int status = take_no_arguments(context, argc, argv);
    if (status != 0)
        return status;
    json_t *data = control_ask(context->config, CONTROL_CACHE_CLEAR, NULL,
                               TIMEOUT_MS, &error);
    return data == NULL ? print_failure(&error)
                        : tell_removed(context, data, NULL);
}

int command_cache_invalidate(const struct command_context *context, int argc,
                             char **argv)
{
    struct error error;
    if (argc != 2)
        return print_usage(context, "one name or pattern is taken");
    json_t *data =
        control_ask(context->config, CONTROL_CACHE_INVALIDATE,
                    json_pack("{s:s}", "pattern", argv[1]), TIMEOUT_MS, &error);
    return data == NULL ? print_failure(&error)
                        : tell_removed(context, data, argv[1]);
}
