/* SPDX-License-Identifier: Apache-2.0
 *
 * sync now, status, drain, pause, resume.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/store/client.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/control.h"
#include "ctl/print.h"
#include "ctl/report.h"

#define READ_TIMEOUT_MS 20000

static const char *text_of(const json_t *map, const char *key,
                           const char *missing)
{
    const char *text = json_string_value(json_object_get(map, key));
    return text != NULL ? text : missing;
}

/* What the outbox says, and what the daemon says of the line. */
static json_t *sync_report(const struct command_context *context,
                           struct error *error)
{
    json_t *report = report_outbox(context->config, error);
    if (report == NULL)
        return NULL;
    json_t *line = control_ask(context->config, CONTROL_SYNC_STATUS, NULL,
                               READ_TIMEOUT_MS, error);
    if (line == NULL) {
        json_object_set_new(report, "state", json_string("stopped"));
        json_object_set_new(report, "next_sync", json_null());
        json_object_set_new(report, "next_trigger", json_string("none"));
        return report;
    }
    /* The store remembers the last good pass over restarts. */
    if (json_is_null(json_object_get(line, "last_sync")))
        json_object_del(line, "last_sync");
    json_object_update(report, line);
    json_decref(line);
    return report;
}

static void show_map(const char *title, const json_t *map)
{
    void *at = json_object_iter((json_t *)map);
    bool any = false;
    for (; at != NULL; at = json_object_iter_next((json_t *)map, at)) {
        long long count = json_integer_value(json_object_iter_value(at));
        if (count == 0)
            continue;
        printf("%-14s %-40.40s %12lld\n", any ? "" : title,
               json_object_iter_key(at), count);
        any = true;
    }
}

/* Not there while the daemon is down. */
static void show_pool(const json_t *pool)
{
    const json_t *server = json_object_get(pool, "server");
    if (pool == NULL)
        return;
    printf("connections    %lld of %lld in use", report_number(pool, "in_use"),
           report_number(pool, "max"));
    if (json_is_object(server))
        printf("; the server's %lld of %lld",
               report_number(server, "connections"),
               report_number(server, "limit"));
    puts(json_is_true(json_object_get(pool, "deferring"))
             ? "; near capacity: only urgent ones go"
             : "");
}

static void show_state(const json_t *report)
{
    char when[32];
    const char *state = text_of(report, "state", "-");
    long long rate = report_number(report, "rate");
    long long left = report_number(report, "pending");
    printf("state          %s%s%s to %s, since %s\n", print_bold(), state,
           print_plain(), text_of(report, "sink", "-"),
           print_time(json_object_get(report, "state_since"), when));
    if (rate > 0 && left > 0)
        printf("               %lld operations a second; about %lld"
               " s left\n",
               rate, left / rate + 1);
    if (json_is_true(json_object_get(report, "stalled")))
        printf("               %sno attempt is made to sync what pends%s; "
               "see the log\n",
               print_red(), print_plain());
}

/* What starts the next pass, and how near it is. */
static void show_next(const json_t *report)
{
    char when[32];
    const json_t *threshold = json_object_get(report, "threshold");
    printf("next sync      %s, %s\n",
           print_time(json_object_get(report, "next_sync"), when),
           text_of(report, "next_trigger", "none"));
    if (threshold == NULL)
        return;
    printf("               at %lld pending %s, now %lld\n",
           report_number(threshold, "limit"), text_of(threshold, "of", "-"),
           report_number(threshold, "pending"));
    printf("mode           %s, %s: every %.0f s, batches of %lld\n",
           text_of(report, "mode", "-"), text_of(report, "band", "-"),
           json_real_value(json_object_get(report, "interval_seconds")),
           report_number(report, "batch_size"));
}

static void show_sync(const json_t *report)
{
    char when[32];
    const char *error = text_of(report, "last_error", NULL);
    show_state(report);
    printf("pending        %lld (%lld in flight, %lld waiting)\n",
           report_number(report, "pending"), report_number(report, "in_flight"),
           report_number(report, "waiting"));
    printf("dead           %lld\n", report_number(report, "dead"));
    printf("conflicts      %lld%s\n", report_number(report, "conflicts"),
           report_number(report, "conflicts") > 0
               ? " ('tidemill sync conflicts' shows them)"
               : "");
    printf("last sync      %s\n",
           print_time(json_object_get(report, "last_sync"), when));
    show_next(report);
    show_pool(json_object_get(report, "pool"));
    if (error != NULL) {
        printf("last error     %s", print_red());
        print_column(15, error);
        fputs(print_plain(), stdout);
    }
    show_map("by priority", json_object_get(report, "by_priority"));
    show_map("by table", json_object_get(report, "by_table"));
}

int command_sync_status(const struct command_context *context, int argc,
                        char **argv)
{
    struct error error;
    int status = take_no_arguments(context, argc, argv);
    if (status != 0)
        return status;
    json_t *report = sync_report(context, &error);
    if (report == NULL)
        return print_failure(&error);
    if (context->json)
        return print_json(report);
    show_sync(report);
    json_decref(report);
    return 0;
}

static int fold_all(struct store_session *session, struct error *error)
{
    struct store_call call = {.statement = STATEMENT_DETAILS_FOLD,
                              .argument_count = 1,
                              .arguments = {value_integer(1)}};
    const struct store_request request = {&call, 1};
    struct store_answer answer;
    struct arena arena;
    bool more = true;
    int result = 0;
    arena_init(&arena, 1u << 20);
    while (result == 0 && more) {
        arena_reset(&arena);
        result = store_session_call(session, &request, &arena, &answer, error);
        more = result == 0 && answer.results[0].rows == 1 &&
               answer.results[0].values[0].integer != 0;
    }
    arena_deinit(&arena);
    return result;
}

/* What was recorded goes along as summaries; without that (the disk is full,
 * say) the rest still goes. */
static void fold_details(const struct command_context *context)
{
    struct store_session *session = NULL;
    struct error error;
    json_t *line = control_ask(context->config, CONTROL_SYNC_STATUS, NULL,
                               READ_TIMEOUT_MS, &error);
    if (line == NULL)
        return; /* no daemon: the command itself will say so */
    json_decref(line);
    int result =
        store_session_open(&session, context->config, READ_TIMEOUT_MS, &error);
    if (result == 0 && !store_session_is_direct(session))
        result = fold_all(session, &error);
    store_session_close(&session);
    if (result != 0)
        print_error("what came last waits for a later pass: %s", error.text);
}

/* Runs a control command and shows the state after it. */
static int run_and_report(const struct command_context *context,
                          enum control_command command, const char *done)
{
    struct error error;
    fold_details(context);
    json_t *data = control_ask(context->config, command, NULL, 0, &error);
    if (data == NULL)
        return print_failure(&error);
    json_decref(data);
    json_t *report = sync_report(context, &error);
    if (report == NULL)
        return print_failure(&error);
    if (context->json)
        return print_json(report);
    printf("%s; %lld pending\n", done, report_number(report, "pending"));
    json_decref(report);
    return 0;
}

int command_sync_now(const struct command_context *context, int argc,
                     char **argv)
{
    int status = take_no_arguments(context, argc, argv);
    return status != 0 ? status
                       : run_and_report(context, CONTROL_SYNC_NOW, "pass done");
}

int command_sync_drain(const struct command_context *context, int argc,
                       char **argv)
{
    int status = take_no_arguments(context, argc, argv);
    return status != 0 ? status
                       : run_and_report(context, CONTROL_SYNC_DRAIN, "drained");
}

/* Remembered in the store, and told to the daemon when it runs. */
static int set_paused(const struct command_context *context, bool paused)
{
    struct error error;
    struct arena arena;
    struct store_session *session = NULL;
    struct store_call call = {.statement = STATEMENT_SYNC_PAUSED,
                              .argument_count = 1,
                              .arguments = {value_integer(paused)}};
    const struct store_request request = {&call, 1};
    struct store_answer answer;
    arena_init(&arena, 1u << 20);
    int result = store_session_open(&session, context->config, 20000, &error);
    if (result == 0)
        result = store_session_call(session, &request, &arena, &answer, &error);
    bool running = result == 0 && !store_session_is_direct(session);
    store_session_close(&session);
    arena_deinit(&arena);
    if (result != 0)
        return print_failure(&error);
    if (running) {
        json_t *data = control_ask(
            context->config, paused ? CONTROL_SYNC_PAUSE : CONTROL_SYNC_RESUME,
            NULL, READ_TIMEOUT_MS, &error);
        if (data == NULL)
            return print_failure(&error);
        json_decref(data);
    }
    if (context->json)
        return print_json(json_pack("{s:b}", "paused", (int)paused));
    puts(paused ? "sync is paused; operations stay in the outbox"
                : "sync goes on");
    return 0;
}

int command_sync_pause(const struct command_context *context, int argc,
                       char **argv)
{
    int status = take_no_arguments(context, argc, argv);
    return status != 0 ? status : set_paused(context, true);
}

int command_sync_resume(const struct command_context *context, int argc,
                        char **argv)
{
    int status = take_no_arguments(context, argc, argv);
    return status != 0 ? status : set_paused(context, false);
}
