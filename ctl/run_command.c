/* SPDX-License-Identifier: Apache-2.0
 *
 * run: a program and its arguments as a job; jobs output, cancel, retry.
 */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/store/client.h"
#include "ctl/arguments.h"
#include "ctl/central_sql.h"
#include "ctl/command.h"
#include "ctl/command_contract.h"
#include "ctl/correlation.h"
#include "ctl/job_options.h"
#include "ctl/outbox.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "ctl/store_call.h"

#define WAIT_ROUND_MS 1000

struct run {
    const struct command_context *context;
    char directory[PATH_MAX];
    json_t *environment;
    json_t *limits;
    struct job_options job;
    bool detach;
    int64_t id;
};

/* NAME=VALUE, or NAME for the value that it has here. */
static int add_environment(struct run *run, const char *text)
{
    const char *equals = strchr(text, '=');
    size_t length = equals != NULL ? (size_t)(equals - text) : strlen(text);
    char name[256];
    snprintf(name, sizeof(name), "%.*s", (int)length, text);
    const char *value = equals != NULL ? equals + 1 : getenv(name);
    if (length == 0 || length >= sizeof(name) || value == NULL)
        return print_usage(run->context,
                           "--env takes NAME=VALUE, or the name of a variable "
                           "that is set, not '%s'",
                           text);
    json_object_set_new(run->environment, name, json_string(value));
    return 0;
}

static int add_limit(struct run *run, const char *text)
{
    for (const char *const *name = command_limit_names; *name != NULL; name++) {
        size_t length = strlen(*name);
        if (strncmp(text, *name, length) != 0 || text[length] != '=')
            continue;
        int64_t value = parse_positive(text + length + 1);
        if (value == 0)
            break;
        json_object_set_new(run->limits, *name, json_integer(value));
        return 0;
    }
    return print_usage(run->context,
                       "--limit takes cpu_seconds=N, memory_bytes=N, "
                       "file_bytes=N, processes=N or open_files=N, not '%s'",
                       text);
}

static int parse_options(struct run *run, int argc, char **argv)
{
    static const struct option longs[] = {
        JOB_OPTIONS,
        {"directory", required_argument, NULL, 'd'},
        {"env", required_argument, NULL, 'e'},
        {"limit", required_argument, NULL, 'l'},
        {"detach", no_argument, NULL, 'b'},
        {NULL, 0, NULL, 0},
    };
    const char *directory = ".";
    struct error error;
    int option;
    int status = 0;
    while (status == 0 &&
           (option = getopt_long(argc, argv, "+", longs, NULL)) != -1) {
        if (option == 'd') {
            directory = optarg;
        } else if (option == 'e') {
            status = add_environment(run, optarg);
        } else if (option == 'l') {
            status = add_limit(run, optarg);
        } else if (option == 'b') {
            run->detach = true;
        } else {
            status = job_option_take(run->context, &run->job, option, optarg);
            if (status == 1)
                status = print_usage_line(run->context);
        }
    }
    if (status == 0)
        status = job_options_check(run->context, &run->job);
    if (status == 0 && optind == argc)
        status = print_usage(run->context, "name a program after --");
    if (status == 0 && argument_path(directory, run->directory, &error) != 0)
        status = print_failure(&error);
    return status;
}

static char *make_spec(const struct run *run, int argc, char **argv,
                       struct error *error)
{
    json_t *list = json_array();
    for (int i = 0; i < argc; i++)
        json_array_append_new(list, json_string(argv[i]));
    json_t *spec =
        json_pack("{s:o,s:s,s:O,s:O,s:s}", "argv", list, "directory",
                  run->directory, "environment", run->environment, "limits",
                  run->limits, "correlation_id", correlation_id());
    char *text = spec == NULL || json_array_size(list) != (size_t)argc
                     ? NULL
                     : json_dumps(spec, JSON_COMPACT);
    json_decref(spec);
    if (text == NULL)
        error_set(error, ERROR_DATA,
                  "the arguments are not UTF-8, or there is no memory");
    return text;
}

static int submit(struct run *run, struct store_session *session,
                  const char *spec, struct error *error)
{
    struct arena arena;
    struct store_answer answer;
    struct store_call call =
        job_submit_call(&run->job, "command", spec, run->job.key);
    const struct store_request request = {&call, 1};
    if (store_session_is_direct(session) && !run->detach)
        return error_set(error, ERROR_NOT_RUNNING,
                         "the daemon is not running, and its workers are "
                         "needed; start tidemilld, or give --detach");
    if (!run->detach) /* subscribes before the job can be over */
        store_session_wait(session, TOPIC_JOB_OVER, 0, NULL);
    arena_init(&arena, 1u << 20);
    int result = store_session_call(session, &request, &arena, &answer, error);
    if (result == 0)
        run->id = answer.results[0].changed;
    arena_deinit(&arena);
    return result;
}

/* The job when it is over; NULL on failure. */
static json_t *await(const struct run *run, struct store_session *session,
                     struct store_reader *reader, struct error *error)
{
    for (;;) {
        json_t *rows = report_rows(
            reader,
            "SELECT id, state, attempt, duration_ms, error, output, "
            "json_extract(result, '$.exit_code') AS exit_code "
            "FROM generation_jobs WHERE id = ?",
            &run->id, 1, error);
        json_t *job = json_incref(json_array_get(rows, 0));
        json_decref(rows);
        const char *state = job == NULL ? "" : report_text(job, "state");
        if (job == NULL ||
            (strcmp(state, "waiting") != 0 && strcmp(state, "queued") != 0 &&
             strcmp(state, "claimed") != 0))
            return job;
        json_decref(job);
        if (store_session_wait(session, TOPIC_JOB_OVER, WAIT_ROUND_MS, error) !=
                0 &&
            error->code != ERROR_TRY_AGAIN)
            return NULL;
    }
}

static int report_end(const struct run *run, json_t *job)
{
    bool done = strcmp(report_text(job, "state"), "done") == 0;
    if (run->context->json) {
        print_json(job);
        return done ? 0 : error_exit_status(ERROR_NEGATIVE);
    }
    if (json_is_string(json_object_get(job, "output")))
        fputs(report_text(job, "output"), stdout);
    if (!done)
        print_error("job %lld %s: %s", (long long)run->id,
                    report_text(job, "state"), report_text(job, "error"));
    json_decref(job);
    return done ? 0 : error_exit_status(ERROR_NEGATIVE);
}

static int run_it(struct run *run, const char *spec)
{
    struct error error;
    struct store_session *session = NULL;
    struct store_reader *reader = NULL;
    json_t *job = NULL;
    const struct config *config = run->context->config;
    error_clear(&error);
    int result =
        store_session_open(&session, config, SESSION_TIMEOUT_MS, &error);
    if (result == 0)
        result = submit(run, session, spec, &error);
    if (result == 0 && !run->detach &&
        (result = store_reader_open(&reader, config->state_dir, &error)) == 0)
        job = await(run, session, reader, &error);
    store_reader_close(&reader);
    store_session_close(&session);
    if (result != 0 || (!run->detach && job == NULL))
        return print_failure(&error);
    if (!run->detach)
        return report_end(run, job);
    if (run->context->json)
        return print_json(json_pack("{s:I}", "id", (json_int_t)run->id));
    printf("%lld\n", (long long)run->id);
    return 0;
}

int command_run(const struct command_context *context, int argc, char **argv)
{
    struct run run = {.context = context,
                      .environment = json_object(),
                      .limits = json_object()};
    struct error error;
    job_options_init(&run.job);
    int status = parse_options(&run, argc, argv);
    if (status == 0) {
        char *spec = make_spec(&run, argc - optind, argv + optind, &error);
        if (spec == NULL)
            status = print_failure(&error);
        else if (run.job.sql)
            central_sql_print(&run.job, "command", spec, run.job.key, 0);
        else
            status = run_it(&run, spec);
        free(spec);
    }
    json_decref(run.environment);
    json_decref(run.limits);
    return status;
}

/* --- jobs that are there --- */

static int change_job(const struct command_context *context, int argc,
                      char **argv, enum statement statement, int64_t *changed)
{
    int64_t id = argc == 2 ? parse_positive(argv[1]) : 0;
    if (id == 0)
        return print_usage(context, "name one job by its id");
    struct store_call call = {
        .statement = statement,
        .argument_count = statement == STATEMENT_JOB_CANCEL ? 2 : 1,
        .arguments = {value_integer(id), value_integer(clock_wall_ms())}};
    return store_call_run(context, &call, changed);
}

int command_jobs_cancel(const struct command_context *context, int argc,
                        char **argv)
{
    int64_t changed = 0;
    int status =
        change_job(context, argc, argv, STATEMENT_JOB_CANCEL, &changed);
    if (status != 0)
        return status;
    const char *state = changed == 1 ? "cancelled" : "cancelling";
    if (context->json)
        return print_json(json_pack("{s:s}", "state", state));
    printf("job %s: %s\n", argv[1],
           changed == 1 ? "cancelled" : "its worker is told to end it");
    return 0;
}

int command_jobs_retry(const struct command_context *context, int argc,
                       char **argv)
{
    int64_t changed = 0;
    int status = change_job(context, argc, argv, STATEMENT_JOB_RETRY, &changed);
    if (status != 0)
        return status;
    if (context->json)
        return print_json(json_pack("{s:s}", "state", "queued"));
    printf("job %s: queued again\n", argv[1]);
    return 0;
}

int command_jobs_output(const struct command_context *context, int argc,
                        char **argv)
{
    struct error error;
    struct store_reader *reader = NULL;
    json_t *rows = NULL;
    int64_t id = argc == 2 ? parse_positive(argv[1]) : 0;
    if (id == 0)
        return print_usage(context, "name one job by its id");
    if (report_open(&reader, context->config, &error) == 0)
        rows = report_rows(reader,
                           "SELECT id, state, output FROM generation_jobs "
                           "WHERE id = ?",
                           &id, 1, &error);
    store_reader_close(&reader);
    json_t *job = json_incref(json_array_get(rows, 0));
    if (rows != NULL && job == NULL)
        error_set(&error, ERROR_NEGATIVE,
                  "there is no job %lld; 'tidemill jobs list' shows them",
                  (long long)id);
    json_decref(rows);
    if (job == NULL)
        return print_failure(&error);
    if (context->json)
        return print_json(job);
    if (json_is_string(json_object_get(job, "output")))
        fputs(report_text(job, "output"), stdout);
    json_decref(job);
    return 0;
}
