/* SPDX-License-Identifier: Apache-2.0
 *
 * sync dead, retry, drop: operations that the centre refused for good.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/client.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/control.h"
#include "ctl/outbox.h"
#include "ctl/print.h"
#include "ctl/report.h"

#define DEAD_LIMIT     1000
#define RETRY_PER_CALL 1000

static json_t *dead_rows(const struct command_context *context, int64_t limit,
                         struct error *error)
{
    struct store_reader *reader = NULL;
    if (report_open(&reader, context->config, error) != 0)
        return NULL;
    json_t *rows =
        report_rows(reader, "SELECT * FROM sync_dead ORDER BY id LIMIT ?",
                    &limit, 1, error);
    store_reader_close(&reader);
    return rows;
}

static void show_dead(const json_t *rows)
{
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0) {
        puts("no dead operations");
        return;
    }
    json_array_foreach(rows, i, row)
    {
        printf("%s%lld%s  %s %s %s, tried %lld times, since %.19sZ\n",
               print_bold(), report_number(row, "id"), print_plain(),
               report_text(row, "operation"), report_text(row, "table_name"),
               report_text(row, "record_id"), report_number(row, "retry_count"),
               report_text(row, "dead_since"));
        printf("    %s", print_red());
        print_column(4, report_text(row, "error_message"));
        fputs(print_plain(), stdout);
    }
    puts("\n'tidemill sync retry ID' tries one again, 'sync drop ID' gives "
         "it up.");
}

int command_sync_dead(const struct command_context *context, int argc,
                      char **argv)
{
    static const struct option longs[] = {
        {"limit", required_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    struct error error;
    int64_t limit = DEAD_LIMIT;
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        limit = option == 'l' ? parse_positive(optarg) : 0;
        if (limit == 0)
            return print_usage(context, "--limit takes a positive number");
    }
    if (optind != argc)
        return print_usage(context, "unexpected argument: %s", argv[optind]);
    json_t *rows = dead_rows(context, limit, &error);
    if (rows == NULL)
        return print_failure(&error);
    if (context->json)
        return print_json(rows);
    show_dead(rows);
    json_decref(rows);
    return 0;
}

/* Runs the statement for each id; tells which were not dead. */
static int change_dead(const struct command_context *context,
                       enum statement statement, const int64_t *ids,
                       size_t count, const char *done)
{
    struct error error;
    struct store_session *session = NULL;
    struct arena arena;
    size_t changed = 0;
    if (store_session_open(&session, context->config, SESSION_TIMEOUT_MS,
                           &error) != 0)
        return print_failure(&error);
    arena_init(&arena, 1u << 20);
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        struct store_call call = {.statement = statement,
                                  .argument_count = 1,
                                  .arguments = {value_integer(ids[i])}};
        const struct store_request request = {&call, 1};
        struct store_answer answer;
        arena_reset(&arena);
        if (store_session_call(session, &request, &arena, &answer, &error) != 0)
            status = print_failure(&error);
        else if (answer.results[0].changed == 0)
            print_error("%lld is not a dead operation; 'tidemill sync dead' "
                        "lists them",
                        (long long)ids[i]);
        else
            changed++;
    }
    arena_deinit(&arena);
    bool running = !store_session_is_direct(session);
    store_session_close(&session);
    if (statement == STATEMENT_DEAD_RETRY && changed > 0 && running)
        control_ask_pass(context->config);
    if (status == 0 && context->json)
        print_json(json_pack("{s:I}", done, (json_int_t)changed));
    else if (status == 0)
        printf("%zu of %zu %s\n", changed, count, done);
    if (status == 0 && changed < count)
        status = error_exit_status(ERROR_NEGATIVE);
    return status;
}

static int change_listed(const struct command_context *context, int argc,
                         char **argv, enum statement statement,
                         const char *done)
{
    size_t count = (size_t)argc - 1;
    int64_t *ids = calloc(count, sizeof(*ids));
    if (ids == NULL)
        return error_exit_status(ERROR_SYSTEM);
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        ids[i] = parse_positive(argv[i + 1]);
        if (ids[i] == 0)
            status =
                print_usage(context, "not an operation's id: %s", argv[i + 1]);
    }
    if (status == 0)
        status = change_dead(context, statement, ids, count, done);
    free(ids);
    return status;
}

static int retry_all(const struct command_context *context)
{
    struct error error;
    json_t *rows = dead_rows(context, RETRY_PER_CALL, &error);
    if (rows == NULL)
        return print_failure(&error);
    size_t count = json_array_size(rows);
    int64_t *ids = calloc(count + 1, sizeof(*ids));
    for (size_t i = 0; ids != NULL && i < count; i++)
        ids[i] =
            json_integer_value(json_object_get(json_array_get(rows, i), "id"));
    json_decref(rows);
    int status = ids == NULL ? error_exit_status(ERROR_SYSTEM)
                             : change_dead(context, STATEMENT_DEAD_RETRY, ids,
                                           count, "retried");
    free(ids);
    return status;
}

int command_sync_retry(const struct command_context *context, int argc,
                       char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--all") == 0)
        return retry_all(context);
    if (argc < 2)
        return print_usage(context, "name the operations, or use --all");
    return change_listed(context, argc, argv, STATEMENT_DEAD_RETRY, "retried");
}

int command_sync_drop(const struct command_context *context, int argc,
                      char **argv)
{
    if (argc < 2)
        return print_usage(context, "name the operations");
    return change_listed(context, argc, argv, STATEMENT_DEAD_DROP, "dropped");
}
