/* SPDX-License-Identifier: Apache-2.0
 *
 * generate: contracts are checked here, all of them and whole, before one
 * job is submitted; the daemon's workers do the rest.
 */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/generation/contract.h"
#include "common/store/client.h"
#include "ctl/arguments.h"
#include "ctl/central_sql.h"
#include "ctl/command.h"
#include "ctl/command_contract.h"
#include "ctl/contract_input.h"
#include "ctl/correlation.h"
#include "ctl/generate_preview.h"
#include "ctl/job_options.h"
#include "ctl/job_ranges.h"
#include "ctl/outbox.h"
#include "ctl/mixin_warnings.h"
#include "ctl/print.h"
#include "ctl/report.h"

#define CONTRACTS_MAX   10000
#define JOBS_PER_CALL   64
#define JOBS_FIRST_CALL 16 /* so that the workers begin */
#define BYTES_PER_CALL  (8u << 20)
#define WAIT_ROUND_MS   1000
#define PAUSE_MOST_MS   100
#define FILES_TOLD_MAX  20

#define RENDERED (-1)

struct generate {
    const struct command_context *context;
    char output[PATH_MAX];
    char template_dir[PATH_MAX];
    const char
        *named_dir;     /* the templates' as it was given; NULL: it was not */
    bool force, merge;  /* what was edited or removed by hand */
    bool dry_run, diff; /* only say what would happen */
    size_t count;
    size_t unreadable;    /* contracts that are not there */
    char **specs;         /* JSON, one a contract */
    char **keys;          /* one a contract, NULL without --key */
    int64_t *timeouts_ms; /* of commands (0: none given); RENDERED for others */
    struct job_options job;
    struct job_ranges jobs;
    struct mixin_warnings *warnings;
    json_t *requirements; /* those that contracts were made from */
};

/* Each contract has its own: KEY:PATH. */
static int make_key(struct generate *generate, size_t at, const char *path)
{
    if (generate->job.key == NULL)
        return 0;
    size_t size = strlen(generate->job.key) + strlen(path) + 2;
    char *key = generate->keys[at] = malloc(size);
    if (key == NULL)
        return -1;
    snprintf(key, size, "%s:%s", generate->job.key, path);
    return 0;
}

/* Of a contract with `kind: command`. */
static char *make_command_spec(struct generate *generate, const char *path,
                               const char *absolute, size_t at,
                               const char *text, size_t size,
                               struct arena *arena, struct buffer *errors)
{
    struct command_contract contract;
    char *json = NULL;
    if (command_contract_read(arena, path, absolute, text, size, &contract,
                              errors) == 0) {
        json = json_dumps(contract.spec, JSON_COMPACT);
        if (json == NULL || make_key(generate, at, absolute) != 0)
            buffer_printf(errors, "%s: not UTF-8, or no memory\n", path);
    }
    json_decref(contract.spec);
    generate->timeouts_ms[at] = contract.timeout_ms;
    return json;
}

static char *make_render_spec(struct generate *generate, const char *path,
                              const char *absolute, size_t at, const char *text,
                              size_t size, struct arena *arena,
                              struct buffer *errors)
{
    struct contract_input input;
    generate->timeouts_ms[at] = RENDERED;
    if (contract_input_take(arena, path, text, size, &input, errors) != 0)
        return NULL;
    mixin_warnings_add(generate->warnings, input.contract);
    if (input.requirements != NULL)
        json_array_append_new(generate->requirements,
                              requirements_json(input.requirements));
    json_t *spec = json_pack(
        "{s:s,s:s%,s:s,s:s,s:{s:b,s:b},s:s,s:s}", "contract", absolute,
        "contract_text", input.text, input.size, "output", generate->output,
        "template_dir", generate->template_dir, "options", "force",
        generate->force, "merge", generate->merge, "correlation_id",
        correlation_id(), "node", input.contract->node_name);
    if (generate->job.sql && generate->named_dir == NULL)
        json_object_del(spec, "template_dir");
    if (spec != NULL && input.requirements != NULL)
        json_object_set_new(spec, "prd_analysis",
                            json_pack("[I,I,I]",
                                      (json_int_t)input.analysis.wall_us,
                                      (json_int_t)input.analysis.cpu_us,
                                      (json_int_t)input.analysis.peak_kb));
    char *json = spec == NULL ? NULL : json_dumps(spec, JSON_COMPACT);
    json_decref(spec);
    if (json == NULL || make_key(generate, at, absolute) != 0)
        buffer_printf(errors, "%s: not UTF-8, or no memory\n", path);
    return json;
}

/* Checks a contract; its job's spec, or NULL after the errors were added. */
static char *make_spec(struct generate *generate, const char *path, size_t at,
                       struct arena *arena, struct buffer *errors)
{
    struct error error;
    char *text;
    size_t size;
    char absolute[PATH_MAX];
    if (argument_path(path, absolute, &error) != 0 ||
        read_input(path, CONTRACT_BYTES_MAX, arena, &text, &size, &error) !=
            0) {
        buffer_printf(errors, "tidemill: %s\n", error.text);
        if (error.code == ERROR_NO_INPUT)
            generate->unreadable++;
        return NULL;
    }
    if (command_contract_is(arena, path, text, size))
        return make_command_spec(generate, path, absolute, at, text, size,
                                 arena, errors);
    return make_render_spec(generate, path, absolute, at, text, size, arena,
                            errors);
}

/* All errors of all contracts are told before anything is done. */
static int check_contracts(struct generate *generate, char **paths)
{
    struct arena arena;
    struct buffer errors;
    arena_init(&arena, 64u << 20);
    buffer_init(&errors, 1u << 20);
    for (size_t i = 0; i < generate->count; i++) {
        arena_reset(&arena);
        generate->specs[i] = make_spec(generate, paths[i], i, &arena, &errors);
    }
    bool good = errors.size == 0 && !errors.failed;
    if (!good) {
        fwrite(errors.bytes, 1, errors.size, stderr);
        print_error("nothing was generated; correct what is named above");
    }
    buffer_deinit(&errors);
    arena_deinit(&arena);
    if (good && !generate->context->json) {
        requirements_print(generate->requirements, generate->dry_run);
        mixin_warnings_print(generate->warnings);
    }
    if (good)
        return 0;
    return error_exit_status(generate->unreadable > 0 ? ERROR_NO_INPUT
                                                      : ERROR_DATA);
}

/* How many specs from `first` on go in one request. */
static size_t request_size(const struct generate *generate, size_t first)
{
    size_t bytes = 0;
    size_t count = 0;
    size_t most = first == 0 ? JOBS_FIRST_CALL : JOBS_PER_CALL;
    while (first + count < generate->count && count < most &&
           (count == 0 || bytes < BYTES_PER_CALL))
        bytes += strlen(generate->specs[first + count++]);
    return count;
}

static int submit_some(struct generate *generate, struct store_session *session,
                       size_t first, size_t count, struct arena *arena,
                       struct error *error)
{
    struct store_call *calls = arena_calloc(arena, count, sizeof(*calls));
    struct store_answer answer;
    if (calls == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for the jobs");
    for (size_t i = 0; i < count; i++) {
        int64_t own_ms = generate->timeouts_ms[first + i];
        calls[i] = job_submit_call(
            &generate->job, own_ms == RENDERED ? "render" : "command",
            generate->specs[first + i], generate->keys[first + i]);
        if (own_ms > 0 && generate->job.timeout_ms == 0)
            calls[i].arguments[3] = value_integer(own_ms);
    }
    const struct store_request request = {calls, count};
    if (store_session_call(session, &request, arena, &answer, error) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        job_ranges_add(&generate->jobs, answer.results[i].changed);
    return 0;
}

static int submit(struct generate *generate, struct store_session *session,
                  struct error *error)
{
    struct arena arena;
    int result = 0;
    arena_init(&arena, 64u << 20);
    if (store_session_is_direct(session))
        result = error_set(error, ERROR_NOT_RUNNING,
                           "the daemon is not running, and its workers are "
                           "needed to generate; start tidemilld");
    else /* subscribes before a job can be over */
        store_session_wait(session, TOPIC_JOB_OVER, 0, NULL);
    for (size_t first = 0; result == 0 && first < generate->count;) {
        size_t count = request_size(generate, first);
        arena_reset(&arena);
        result = submit_some(generate, session, first, count, &arena, error);
        first += count;
    }
    arena_deinit(&arena);
    return result;
}

/* The workers need the processor more: half of the time that is left, as
 * far as it can be told, passes before we count again. */
static void pause_for(uint64_t since_ms, int64_t over, int64_t all)
{
    uint64_t passed_ms = clock_monotonic_ms() - since_ms;
    uint64_t left_ms =
        over == 0 ? 2 * passed_ms
                  : passed_ms * (uint64_t)(all - over) / (uint64_t)over;
    uint64_t wait_ms =
        left_ms / 2 < PAUSE_MOST_MS ? left_ms / 2 : PAUSE_MOST_MS;
    const struct timespec pause = {.tv_nsec = (long)wait_ms * 1000000};
    if (wait_ms > 0)
        nanosleep(&pause, NULL);
}

static int wait_for_jobs(struct generate *generate,
                         struct store_session *session,
                         struct store_reader *reader, struct error *error)
{
    struct progress progress;
    int64_t all = (int64_t)generate->count;
    int64_t waiting;
    uint64_t since_ms = clock_monotonic_ms();
    generate->jobs.priority = generate->job.priority;
    generate->jobs.wait_for_others = generate->job.after[0] != '\0';
    progress_start(&progress, "generate");
    while ((waiting = job_ranges_waiting(&generate->jobs, reader, error)) > 0) {
        progress_show(&progress, (uint64_t)(all - waiting), (uint64_t)all);
        pause_for(since_ms, all - waiting, all);
        /* A lost notification costs a round, never the end. */
        if (store_session_wait(session, TOPIC_JOB_OVER, WAIT_ROUND_MS, error) !=
                0 &&
            error->code != ERROR_TRY_AGAIN) {
            waiting = -1;
            break;
        }
    }
    if (waiting == 0)
        progress_show(&progress, (uint64_t)all, (uint64_t)all);
    progress_end(&progress);
    job_ranges_forget(&generate->jobs);
    return waiting < 0 ? -1 : 0;
}

/* The contract is in the result, too, which is short; a job that failed
 * early has none. */
static json_t *job_rows(const struct generate *generate,
                        struct store_reader *reader, struct error *error)
{
    return job_ranges_query(
        &generate->jobs, reader,
        "SELECT id, state, attempt, duration_ms, error, "
        "coalesce(json_extract(result, '$.contract'), "
        "json_extract((SELECT s.spec FROM generation_specs s "
        "WHERE s.job_id = generation_jobs.id), '$.contract')) "
        "AS contract, "
        "json_extract(result, '$.duration_ms') AS work, "
        "json_extract(result, '$.written') AS written, "
        "json_extract(result, '$.unchanged') AS unchanged, "
        "json_extract(result, '$.conflicts') AS conflicts, "
        "json_extract(result, '$.kept_files') AS kept_files, "
        "json_extract(result, '$.gone_files') AS gone_files, "
        "json_extract(result, '$.conflict_files') AS "
        "conflict_files "
        "FROM generation_jobs WHERE id BETWEEN ? AND ? "
        "ORDER BY id",
        error);
}

/* Files of a list in the results, each with what happened to it. */
static size_t tell_files(json_t *rows, const char *list, const char *what)
{
    size_t i;
    json_t *row;
    size_t told = 0;
    json_array_foreach(rows, i, row)
    {
        json_t *files = json_loads(report_text(row, list), 0, NULL);
        size_t j;
        json_t *file;
        json_array_foreach(files, j, file)
        {
            if (told++ < FILES_TOLD_MAX)
                printf("%s %s\n", what, json_string_value(file));
        }
        json_decref(files);
    }
    if (told > FILES_TOLD_MAX)
        printf("... and %zu more\n", told - FILES_TOLD_MAX);
    return told;
}

/* What a person did to the files, and what can be done about it. */
static void tell_by_hand(const struct generate *generate, json_t *rows)
{
    size_t kept = tell_files(rows, "kept_files", "kept, edited by hand:");
    size_t gone = tell_files(rows, "gone_files", "removed by hand:");
    tell_files(rows, "conflict_files", "conflicts marked in");
    if (kept > 0 && !generate->merge)
        puts("--merge puts what is new into edited files; --diff shows what "
             "--force would\noverwrite");
    else if (gone > 0)
        puts("--force makes removed files again");
}

/* Sums up; the speed-up is the work's time over the time that passed. */
static int report_jobs(const struct generate *generate, json_t *rows,
                       uint64_t elapsed_ms)
{
    size_t i;
    json_t *row;
    long long failed = 0;
    long long written = 0;
    long long unchanged = 0;
    long long conflicts = 0;
    double work_ms = 0;
    json_array_foreach(rows, i, row)
    {
        written += report_number(row, "written");
        unchanged += report_number(row, "unchanged");
        conflicts += report_number(row, "conflicts");
        work_ms += json_number_value(json_object_get(row, "work"));
        if (strcmp(report_text(row, "state"), "done") == 0)
            continue;
        failed++;
        print_error("job %lld %s: %s: %s", report_number(row, "id"),
                    report_text(row, "state"), report_text(row, "contract"),
                    report_text(row, "error"));
    }
    double seconds = (double)(elapsed_ms > 0 ? elapsed_ms : 1) / 1000.0;
    double speed_up = work_ms / 1000.0 / seconds;
    int status = failed + conflicts > 0 ? error_exit_status(ERROR_NEGATIVE) : 0;
    if (generate->context->json) {
        print_json(json_pack(
            "{s:i,s:I,s:I,s:I,s:f,s:f,s:o,s:O,s:o}", "jobs",
            (int)generate->count, "failed", (json_int_t)failed, "written",
            (json_int_t)written, "unchanged", (json_int_t)unchanged, "seconds",
            seconds, "speed_up", speed_up, "warnings",
            mixin_warnings_json(generate->warnings), "requirements",
            generate->requirements, "results", rows));
        return status;
    }
    printf("%zu job%s, %lld failed; %lld files written, %lld unchanged; "
           "%.2f s",
           generate->count, generate->count == 1 ? "" : "s", failed, written,
           unchanged, seconds);
    if (generate->count > 1)
        printf("; %.1f times as fast as one after the other", speed_up);
    putchar('\n');
    tell_by_hand(generate, rows);
    json_decref(rows);
    return status;
}

/* Templates are those of the host that runs it, unless they were named. */
static int print_sql(const struct generate *generate)
{
    for (size_t i = 0; i < generate->count; i++) {
        int64_t own_ms = generate->timeouts_ms[i];
        central_sql_print(&generate->job,
                          own_ms == RENDERED ? "render" : "command",
                          generate->specs[i], generate->keys[i],
                          own_ms == RENDERED ? 0 : own_ms);
    }
    return 0;
}

static int run(struct generate *generate)
{
    struct error error;
    struct store_session *session = NULL;
    struct store_reader *reader = NULL;
    json_t *rows = NULL;
    const struct config *config = generate->context->config;
    uint64_t start_ms = clock_monotonic_ms();
    uint64_t elapsed_ms = 0;
    if (store_session_open(&session, config, SESSION_TIMEOUT_MS, &error) == 0 &&
        submit(generate, session, &error) == 0 &&
        store_reader_open(&reader, config->state_dir, &error) == 0 &&
        wait_for_jobs(generate, session, reader, &error) == 0) {
        elapsed_ms = clock_monotonic_ms() - start_ms;
        rows = job_rows(generate, reader, &error);
    }
    store_reader_close(&reader);
    store_session_close(&session);
    if (rows == NULL)
        return print_failure(&error);
    return report_jobs(generate, rows, elapsed_ms);
}

static int show_preview(const struct generate *generate, char **paths)
{
    const struct preview preview = {.output = generate->output,
                                    .template_dir = generate->template_dir,
                                    .force = generate->force,
                                    .merge = generate->merge,
                                    .diff = generate->diff,
                                    .json = generate->context->json,
                                    .warnings = generate->warnings,
                                    .requirements = generate->requirements};
    size_t count = 0;
    for (size_t i = 0; i < generate->count; i++) {
        if (generate->timeouts_ms[i] == RENDERED)
            paths[count++] = paths[i];
        else if (!generate->context->json)
            printf("%-10s %s\n", "command", paths[i]);
    }
    return preview_contracts(&preview, paths, count);
}

static int parse_options(const struct command_context *context, int argc,
                         char **argv, struct generate *generate)
{
    static const struct option longs[] = {
        {"output", required_argument, NULL, 'o'},
        {"template-dir", required_argument, NULL, 't'},
        {"force", no_argument, NULL, 'f'},
        {"merge", no_argument, NULL, 'm'},
        {"dry-run", no_argument, NULL, 'n'},
        {"diff", no_argument, NULL, 'd'},
        JOB_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    const char *output = ".";
    const char *template_dir = context->config->template_dir;
    struct error error;
    int option;
    int status;
    job_options_init(&generate->job);
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == 'o')
            output = optarg;
        else if (option == 't')
            template_dir = generate->named_dir = optarg;
        else if (option == 'f')
            generate->force = true;
        else if (option == 'm')
            generate->merge = true;
        else if (option == 'n')
            generate->dry_run = true;
        else if (option == 'd')
            generate->diff = true;
        else if ((status = job_option_take(context, &generate->job, option,
                                           optarg)) != 0)
            return status == 1 ? print_usage_line(context) : status;
    }
    if ((status = job_options_check(context, &generate->job)) != 0)
        return status;
    if (generate->force && generate->merge)
        return print_usage(context, "--force overwrites what --merge keeps: "
                                    "give one of them");
    if (optind == argc)
        return print_usage(context, "name at least one contract");
    if (argc - optind > CONTRACTS_MAX)
        return print_usage(context, "at most %d contracts at once",
                           CONTRACTS_MAX);
    if (argument_path(output, generate->output, &error) != 0 ||
        argument_path(template_dir, generate->template_dir, &error) != 0)
        return print_failure(&error);
    return 0;
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; texts != NULL && i < count; i++)
        free(texts[i]);
    free(texts);
}

int command_generate(const struct command_context *context, int argc,
                     char **argv)
{
    struct generate generate = {.context = context};
    int status = parse_options(context, argc, argv, &generate);
    if (status != 0)
        return status;
    generate.count = (size_t)(argc - optind);
    generate.specs = calloc(generate.count, sizeof(*generate.specs));
    generate.jobs.ranges =
        calloc(generate.count, sizeof(*generate.jobs.ranges));
    generate.keys = calloc(generate.count, sizeof(*generate.keys));
    generate.timeouts_ms =
        calloc(generate.count, sizeof(*generate.timeouts_ms));
    generate.warnings = mixin_warnings_new(context->config);
    generate.requirements = json_array();
    if (generate.timeouts_ms == NULL || generate.specs == NULL ||
        generate.jobs.ranges == NULL || generate.keys == NULL ||
        generate.warnings == NULL)
        status = error_exit_status(ERROR_SYSTEM);
    if (status == 0)
        status = check_contracts(&generate, argv + optind);
    if (status == 0)
        status = generate.dry_run || generate.diff
                     ? show_preview(&generate, argv + optind)
                 : generate.job.sql ? print_sql(&generate)
                                    : run(&generate);
    free_texts(generate.specs, generate.count);
    free_texts(generate.keys, generate.count);
    free(generate.jobs.ranges);
    free(generate.timeouts_ms);
    mixin_warnings_free(&generate.warnings);
    json_decref(generate.requirements);
    return status;
}
