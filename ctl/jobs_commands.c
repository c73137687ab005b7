/* SPDX-License-Identifier: Apache-2.0
 *
 * jobs list, jobs show.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/priority.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/control.h"
#include "ctl/print.h"
#include "ctl/report.h"

#define JOBS_LIMIT          50
#define PROGRESS_TIMEOUT_MS 5000

static const char *const states[] = {"waiting", "queued", "claimed",
                                     "done",    "failed", "cancelled"};

#define STATE_COUNT (sizeof(states) / sizeof(states[0]))

/* A constant query a state, since its text is no argument of the reader. */
static const char *list_query(int state)
{
#define LIST(where)                                                            \
    "SELECT id, kind, state, priority, attempt, created_ms, finished_ms, "     \
    "duration_ms, error, json_extract(coalesce(spec, (SELECT s.spec FROM "     \
    "generation_specs s WHERE s.job_id = generation_jobs.id)), '$.contract') " \
    "AS contract, (SELECT c.central_id FROM central_jobs c WHERE c.job_id = "  \
    "generation_jobs.id) AS central_job "                                      \
    "FROM generation_jobs " where " ORDER BY id DESC LIMIT ?"
    static const char *const queries[] = {
        LIST(""),
        LIST("WHERE state = 'waiting'"),
        LIST("WHERE state = 'queued'"),
        LIST("WHERE state = 'claimed'"),
        LIST("WHERE state = 'done'"),
        LIST("WHERE state = 'failed'"),
        LIST("WHERE state = 'cancelled'"),
    };
#undef LIST
    return queries[state + 1];
}

/* What the scoreboard says of a job that runs. */
static void add_running(json_t *job, const json_t *workers)
{
    size_t i;
    json_t *worker;
    json_array_foreach(workers, i, worker)
    {
        if (strcmp(report_text(worker, "role"), "generation") != 0 ||
            report_number(worker, "work_id") != report_number(job, "id"))
            continue;
        json_object_set_new(job, "running",
                            json_pack("{s:O,s:O,s:O}", "slot",
                                      json_object_get(worker, "slot"), "pid",
                                      json_object_get(worker, "pid"), "seconds",
                                      json_object_get(worker, "work_seconds")));
    }
}

/* Asks the daemon only when one is claimed; it need not answer. */
static void add_progress(const struct config *config, json_t *jobs)
{
    size_t i;
    json_t *job;
    struct error ignored;
    json_t *status = NULL;
    bool asked = false;
    json_array_foreach(jobs, i, job)
    {
        if (strcmp(report_text(job, "state"), "claimed") != 0)
            continue;
        if (!asked)
            status = control_ask(config, CONTROL_STATUS, NULL,
                                 PROGRESS_TIMEOUT_MS, &ignored);
        asked = true;
        add_running(job, json_object_get(status, "workers"));
    }
    json_decref(status);
}

static double running_seconds(const json_t *job)
{
    return json_number_value(
        json_object_get(json_object_get(job, "running"), "seconds"));
}

/* Room of the last column on 80. */
#define CONTRACT_SHOWN 25

static void show_job_line(const json_t *row)
{
    char when[32];
    char took[24] = "-";
    const char *contract = report_text(row, "contract");
    size_t length = strlen(contract);
    const json_t *duration = json_object_get(row, "duration_ms");
    /* the time of today, else the day */
    print_time(json_object_get(row, "created"), when);
    when[strcspn(when, " ")] = '\0';
    if (json_is_integer(duration))
        snprintf(took, sizeof(took), "%lld",
                 (long long)json_integer_value(duration));
    char origin[40] = "";
    if (json_is_integer(json_object_get(row, "central_job")))
        snprintf(origin, sizeof(origin), "central:%lld ",
                 report_number(row, "central_job"));
    bool runs = json_object_get(row, "running") != NULL;
    if (runs)
        snprintf(took, sizeof(took), "%.0f", 1000 * running_seconds(row));
    printf("%8lld  %-10s  %-7s %-9s %5lld %7s  %s%s%s\n",
           report_number(row, "id"), when, report_text(row, "kind"),
           runs ? "running" : report_text(row, "state"),
           report_number(row, "attempt"), took, origin,
           length > CONTRACT_SHOWN ? "..." : "",
           length > CONTRACT_SHOWN ? contract + length - CONTRACT_SHOWN + 3
                                   : contract);
    if (json_is_string(json_object_get(row, "error"))) {
        printf("          %s", print_red());
        print_column(10, report_text(row, "error"));
        fputs(print_plain(), stdout);
    }
}

static void show_jobs(const json_t *rows)
{
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0) {
        puts("no such jobs");
        return;
    }
    printf("%s%8s  %-10s  %-7s %-9s %5s %7s  %s%s\n", print_bold(), "id",
           "at (UTC)", "kind", "state", "tries", "ms", "contract",
           print_plain());
    json_array_foreach(rows, i, row) show_job_line(row);
}

int command_jobs_list(const struct command_context *context, int argc,
                      char **argv)
{
    static const struct option longs[] = {
        {"state", required_argument, NULL, 's'},
        {"limit", required_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    int state = -1;
    int64_t limit = JOBS_LIMIT;
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == 'l') {
            limit = parse_positive(optarg);
        } else if (option == 's') {
            for (state = 0; state < (int)STATE_COUNT; state++)
                if (strcmp(states[state], optarg) == 0)
                    break;
        } else {
            return print_usage_line(context);
        }
    }
    if (limit == 0)
        return print_usage(context, "--limit takes a positive number");
    if (state == (int)STATE_COUNT)
        return print_usage(context, "--state takes waiting, queued, claimed, "
                                    "done, failed or cancelled");
    if (optind != argc)
        return print_usage(context, "unexpected argument: %s", argv[optind]);
    struct error error;
    struct store_reader *reader = NULL;
    json_t *rows = NULL;
    if (report_open(&reader, context->config, &error) == 0)
        rows = report_rows(reader, list_query(state), &limit, 1, &error);
    store_reader_close(&reader);
    if (rows == NULL)
        return print_failure(&error);
    add_progress(context->config, rows);
    if (context->json)
        return print_json(rows);
    show_jobs(rows);
    json_decref(rows);
    return 0;
}

static json_t *read_job(struct store_reader *reader, int64_t id,
                        struct error *error)
{
    json_t *rows = report_rows(
        reader,
        "SELECT id, kind, state, priority, attempt, timeout_ms AS "
        "timeout_milliseconds, slot, created_ms, claimed_ms, finished_ms, "
        "duration_ms, error, key, "
        "coalesce(spec, (SELECT s.spec FROM "
        "generation_specs s WHERE s.job_id = generation_jobs.id)) AS "
        "spec_json, result AS result_json, output "
        "FROM generation_jobs WHERE id = ?",
        &id, 1, error);
    json_t *job = json_incref(json_array_get(rows, 0));
    if (rows != NULL && job == NULL)
        error_set(error, ERROR_NEGATIVE,
                  "there is no job %lld; 'tidemill jobs list' shows them",
                  (long long)id);
    json_decref(rows);
    if (job == NULL)
        return NULL;
    json_t *files = report_rows(
        reader,
        "SELECT path, sha256, size_bytes, template_set FROM generated_files "
        "WHERE job_id = ? ORDER BY path",
        &id, 1, error);
    json_t *before = report_rows(
        reader,
        "SELECT a.value AS id, coalesce(j.state, 'gone') AS state FROM "
        "generation_jobs t, json_each(t.after_jobs) a LEFT JOIN "
        "generation_jobs j ON j.id = a.value WHERE t.id = ?",
        &id, 1, error);
    json_t *central = report_rows(
        reader,
        "SELECT central_id AS job, attempt, coalesce(report, 'leased') AS "
        "report FROM central_jobs WHERE job_id = ?",
        &id, 1, error);
    if (json_array_size(central) > 0)
        json_object_set(job, "central", json_array_get(central, 0));
    json_decref(central);
    json_object_set_new(job, "before", before != NULL ? before : json_array());
    json_object_set_new(job, "files", files != NULL ? files : json_array());
    return job;
}

/* The options that were given with it. */
static void show_options(const json_t *options)
{
    const char *name;
    json_t *value;
    bool any = false;
    json_object_foreach((json_t *)(uintptr_t)options, name, value)
    {
        if (!json_is_true(value))
            continue;
        printf("%s%s", any ? ", " : "options        ", name);
        any = true;
    }
    if (any)
        putchar('\n');
}

static void show_central(const json_t *central)
{
    if (central != NULL)
        printf("from           central job %lld, attempt %lld, %s\n",
               report_number(central, "job"), report_number(central, "attempt"),
               report_text(central, "report"));
}

/* The jobs before it, and the state of each. */
static void show_before(const json_t *before)
{
    size_t i;
    json_t *row;
    json_array_foreach(before, i, row)
    {
        printf("%-14s %lld, %s\n", i == 0 ? "after" : "",
               report_number(row, "id"), report_text(row, "state"));
    }
}

static void show_job(const json_t *job)
{
    char when[32];
    size_t i;
    json_t *file;
    const json_t *files = json_object_get(job, "files");
    printf("job            %lld, %s, %s\n", report_number(job, "id"),
           report_text(job, "kind"), report_text(job, "state"));
    printf("priority       %s\n",
           priority_word((unsigned)report_number(job, "priority")));
    printf("attempt        %lld\n", report_number(job, "attempt"));
    if (json_is_string(json_object_get(job, "key")))
        printf("key            %s\n", report_text(job, "key"));
    show_central(json_object_get(job, "central"));
    show_before(json_object_get(job, "before"));
    printf("created        %s\n",
           print_time(json_object_get(job, "created"), when));
    printf("finished       %s\n",
           print_time(json_object_get(job, "finished"), when));
    const json_t *running = json_object_get(job, "running");
    if (running != NULL)
        printf("running        for %.1f s in generation[%lld]\n",
               running_seconds(job), report_number(running, "slot"));
    else
        printf("took           %lld ms\n", report_number(job, "duration_ms"));
    printf("contract       %s\n",
           report_text(json_object_get(job, "spec"), "contract"));
    printf("output         %s\n",
           report_text(json_object_get(job, "spec"), "output"));
    show_options(json_object_get(json_object_get(job, "spec"), "options"));
    if (json_is_string(json_object_get(job, "error"))) {
        printf("error          %s", print_red());
        print_column(15, report_text(job, "error"));
        fputs(print_plain(), stdout);
    }
    json_array_foreach(files, i, file)
        printf("%-14s %.12s %8lld  %s\n", i == 0 ? "files" : "",
               report_text(file, "sha256"), report_number(file, "size_bytes"),
               report_text(file, "path"));
}

int command_jobs_show(const struct command_context *context, int argc,
                      char **argv)
{
    int64_t id = argc == 2 ? parse_positive(argv[1]) : 0;
    if (id == 0)
        return print_usage(context, "name one job by its id");
    struct error error;
    struct store_reader *reader = NULL;
    json_t *job = NULL;
    if (report_open(&reader, context->config, &error) == 0)
        job = read_job(reader, id, &error);
    store_reader_close(&reader);
    if (job == NULL)
        return print_failure(&error);
    json_t *list = json_pack("[O]", job);
    add_progress(context->config, list);
    json_decref(list);
    if (context->json)
        return print_json(job);
    show_job(job);
    json_decref(job);
    return 0;
}
