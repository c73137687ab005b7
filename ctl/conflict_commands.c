/* SPDX-License-Identifier: Apache-2.0
 *
 * sync conflicts, resolve: records that another host changed as well.
 */
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/store/client.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/control.h"
#include "ctl/outbox.h"
#include "ctl/print.h"
#include "ctl/report.h"

#define CONFLICTS_LIMIT 1000

static const char conflicts_sql[] =
    "SELECT id, table_name, record_id, CASE operation WHEN 1 THEN 'INSERT' "
    "WHEN 2 THEN 'UPDATE' ELSE 'DELETE' END AS operation, rule, outcome, "
    "local_data AS local_data_json, centre_data AS centre_data_json, "
    "centre_system, centre_deleted, "
    "CASE WHEN versioned THEN local_stamp END AS local_version, "
    "CASE WHEN versioned THEN centre_stamp END AS centre_version, "
    "CASE WHEN NOT versioned THEN local_stamp END AS local_time_ms, "
    "CASE WHEN NOT versioned THEN centre_stamp END AS centre_time_ms, "
    "detected_ms, resolved_ms, resolution, resolved_by "
    "FROM sync_conflicts ";

static json_t *conflict_rows(const struct command_context *context, bool all,
                             int64_t limit, struct error *error)
{
    struct store_reader *reader = NULL;
    char sql[sizeof(conflicts_sql) + 80];
    snprintf(sql, sizeof(sql), "%s%s LIMIT ?", conflicts_sql,
             all ? "ORDER BY id DESC"
                 : "WHERE resolved_ms IS NULL ORDER BY id");
    if (store_reader_open(&reader, context->config->state_dir, error) != 0)
        return NULL;
    json_t *rows = report_rows(reader, sql, &limit, 1, error);
    store_reader_close(&reader);
    return rows;
}

/* "version 7", or the time. */
static const char *stamp_text(const json_t *row, const char *side,
                              char text[64])
{
    char key[32];
    snprintf(key, sizeof(key), "%s_version", side);
    const json_t *version = json_object_get(row, key);
    snprintf(key, sizeof(key), "%s_time", side);
    const char *time = report_text(row, key);
    if (json_is_integer(version))
        snprintf(text, 64, "version %lld",
                 (long long)json_integer_value(version));
    else
        snprintf(text, 64, "%.10s %.12s UTC", time,
                 strlen(time) > 11 ? time + 11 : "");
    return text;
}

static void show_data(const json_t *data)
{
    char *text = json_is_null(data) || data == NULL
                     ? NULL
                     : json_dumps(data, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL)
        return;
    printf("%13s", "");
    print_column(13, text);
    free(text);
}

static void show_both(const json_t *row)
{
    char text[64];
    bool deleted = report_number(row, "centre_deleted") != 0;
    const json_t *data = json_object_get(row, "centre_data");
    printf("    here     %s, %s\n", report_text(row, "operation"),
           stamp_text(row, "local", text));
    show_data(json_object_get(row, "local_data"));
    printf("    centre   %s by %.60s, %s%s\n", deleted ? "deleted" : "written",
           report_text(row, "centre_system"), stamp_text(row, "centre", text),
           !deleted && json_is_null(data) ? " (too large to show)" : "");
    show_data(data);
}

static void show_remedy(const json_t *row)
{
    long long id = report_number(row, "id");
    printf("    rule     %s: this host's waits, nothing was overwritten\n",
           report_text(row, "rule"));
    printf("    do       tidemill sync resolve %lld --keep local   (this "
           "host's)\n",
           id);
    printf("             tidemill sync resolve %lld --keep centre  (the "
           "centre's)\n",
           id);
}

/* What became of one that is decided. */
static void show_decision(const json_t *row)
{
    char when[32];
    const char *resolution = report_text(row, "resolution");
    bool won = strcmp(report_text(row, "outcome"), "won") == 0 ||
               strcmp(resolution, "local") == 0;
    printf("    decided  %s, by ",
           won ? "this host's stands" : "the centre's stands");
    if (strcmp(resolution, "rule") == 0)
        printf("the rule %s\n", report_text(row, "rule"));
    else
        printf("%s, %s\n", report_text(row, "resolved_by"),
               print_time(json_object_get(row, "resolved"), when));
}

static void show_conflicts(const json_t *rows, bool all)
{
    size_t i;
    json_t *row;
    char when[32];
    if (json_array_size(rows) == 0)
        puts(all ? "no conflicts" : "no conflicts wait for a decision");
    json_array_foreach(rows, i, row)
    {
        printf("%s%lld%s  %s %s, found %s\n", print_bold(),
               report_number(row, "id"), print_plain(),
               report_text(row, "table_name"), report_text(row, "record_id"),
               print_time(json_object_get(row, "detected"), when));
        show_both(row);
        if (json_is_null(json_object_get(row, "resolved")))
            show_remedy(row);
        else
            show_decision(row);
    }
}

int command_sync_conflicts(const struct command_context *context, int argc,
                           char **argv)
{
    static const struct option longs[] = {
        {"all", no_argument, NULL, 'a'},
        {"limit", required_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    struct error error;
    int64_t limit = CONFLICTS_LIMIT;
    bool all = false;
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == '?')
            return print_usage_line(context);
        all |= option == 'a';
        limit = option == 'l' ? parse_positive(optarg) : limit;
        if (limit == 0)
            return print_usage(context, "--limit takes a positive number");
    }
    if (optind != argc)
        return print_usage(context, "unexpected argument: %s", argv[optind]);
    json_t *rows = conflict_rows(context, all, limit, &error);
    if (rows == NULL)
        return print_failure(&error);
    if (context->json)
        return print_json(rows);
    show_conflicts(rows, all);
    json_decref(rows);
    return 0;
}

/* --- resolve --- */

struct decision {
    const struct command_context *context;
    const char *keep;
    const char *who;
    size_t decided;
    size_t asked;
    bool running; /* the daemon */
};

static int decide(struct decision *decision, struct store_session *session,
                  struct arena *arena, int64_t id)
{
    struct error error;
    struct store_call call = {.statement = STATEMENT_CONFLICT_RESOLVE,
                              .argument_count = 4,
                              .arguments = {value_integer(id),
                                            value_text(decision->keep),
                                            value_text(decision->who),
                                            value_integer(clock_wall_ms())}};
    const struct store_request request = {&call, 1};
    struct store_answer answer;
    arena_reset(arena);
    decision->asked++;
    if (store_session_call(session, &request, arena, &answer, &error) != 0)
        return print_failure(&error);
    if (answer.results[0].changed == 0)
        print_error("%lld is no conflict that waits for a decision; 'tidemill "
                    "sync conflicts' lists them",
                    (long long)id);
    else
        decision->decided++;
    return 0;
}

static int decide_ids(struct decision *decision, const int64_t *ids,
                      size_t count)
{
    struct error error;
    struct store_session *session = NULL;
    struct arena arena;
    int status = 0;
    if (store_session_open(&session, decision->context->config,
                           SESSION_TIMEOUT_MS, &error) != 0)
        return print_failure(&error);
    arena_init(&arena, 1u << 20);
    for (size_t i = 0; i < count && status == 0; i++)
        status = decide(decision, session, &arena, ids[i]);
    arena_deinit(&arena);
    decision->running = !store_session_is_direct(session);
    store_session_close(&session);
    return status;
}

static int decide_all(struct decision *decision)
{
    struct error error;
    json_t *rows =
        conflict_rows(decision->context, false, CONFLICTS_LIMIT, &error);
    if (rows == NULL)
        return print_failure(&error);
    size_t count = json_array_size(rows);
    int64_t *ids = calloc(count + 1, sizeof(*ids));
    for (size_t i = 0; ids != NULL && i < count; i++)
        ids[i] = report_number(json_array_get(rows, i), "id");
    json_decref(rows);
    int status = ids == NULL ? error_exit_status(ERROR_SYSTEM)
                             : decide_ids(decision, ids, count);
    free(ids);
    return status;
}

static int decide_named(struct decision *decision, int count, char **words)
{
    int64_t *ids = calloc((size_t)count + 1, sizeof(*ids));
    int status = ids == NULL ? error_exit_status(ERROR_SYSTEM) : 0;
    for (int i = 0; i < count && status == 0; i++) {
        ids[i] = parse_positive(words[i]);
        if (ids[i] == 0)
            status = print_usage(decision->context, "not a conflict's id: %s",
                                 words[i]);
    }
    if (status == 0)
        status = decide_ids(decision, ids, (size_t)count);
    free(ids);
    return status;
}

static int tell_decision(const struct decision *decision)
{
    bool all = decision->decided == decision->asked;
    if (decision->context->json)
        print_json(json_pack("{s:I,s:s}", "resolved",
                             (json_int_t)decision->decided, "kept",
                             decision->keep));
    else
        printf("%zu of %zu resolved: the %s version stands\n",
               decision->decided, decision->asked,
               strcmp(decision->keep, "local") == 0 ? "local" : "centre's");
    if (decision->running && decision->decided > 0)
        control_ask_pass(decision->context->config);
    return all ? 0 : error_exit_status(ERROR_NEGATIVE);
}

int command_sync_resolve(const struct command_context *context, int argc,
                         char **argv)
{
    static const struct option longs[] = {
        {"all", no_argument, NULL, 'a'},
        {"keep", required_argument, NULL, 'k'},
        {NULL, 0, NULL, 0},
    };
    const struct passwd *user = getpwuid(getuid());
    struct decision decision = {.context = context,
                                .who = user != NULL ? user->pw_name : "?"};
    bool all = false;
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == '?')
            return print_usage_line(context);
        all |= option == 'a';
        decision.keep = option == 'k' ? optarg : decision.keep;
    }
    if (decision.keep == NULL || (strcmp(decision.keep, "local") != 0 &&
                                  strcmp(decision.keep, "centre") != 0))
        return print_usage(context, "--keep takes local or centre");
    if (all == (optind < argc))
        return print_usage(context, "name the conflicts, or use --all");
    int status = all ? decide_all(&decision)
                     : decide_named(&decision, argc - optind, argv + optind);
    return status != 0 ? status : tell_decision(&decision);
}
