/* SPDX-License-Identifier: Apache-2.0
 *
 * status, reload, reopen-logs, log-level: what the running daemon
 * answers.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/control.h"
#include "ctl/print.h"

#define READ_TIMEOUT_MS   20000
#define RELOAD_TIMEOUT_MS 60000

static void show_worker(const json_t *worker)
{
    char name[32];
    char uptime[32];
    char work[32] = "-";
    const json_t *work_id = json_object_get(worker, "work_id");
    const json_t *death = json_object_get(worker, "last_death");
    const char *role = report_text(worker, "role");
    bool pool = strcmp(role, "generation") == 0 || strcmp(role, "sync") == 0;
    snprintf(name, sizeof(name), pool ? "%s[%d]" : "%s", role,
             (int)json_integer_value(json_object_get(worker, "slot")));
    if (json_is_integer(work_id))
        snprintf(work, sizeof(work), "%lld",
                 (long long)json_integer_value(work_id));
    print_duration(json_number_value(json_object_get(worker, "uptime_seconds")),
                   uptime);
    printf("%-15s %8d  %-8s %8s %9lld %8lld %9s\n", name,
           (int)json_integer_value(json_object_get(worker, "pid")),
           report_text(worker, "state"), work,
           report_number(worker, "finished"), report_number(worker, "restarts"),
           uptime);
    if (json_is_object(death))
        printf("%s                the one before: %s, %s ago%s\n", print_dim(),
               report_text(death, "reason"),
               print_duration(
                   json_number_value(json_object_get(death, "seconds_ago")),
                   uptime),
               print_plain());
}

static void show_configuration(const json_t *configuration)
{
    size_t i;
    json_t *line;
    printf("configuration  %s, epoch %d\n", report_text(configuration, "path"),
           (int)json_integer_value(json_object_get(configuration, "epoch")));
    if (json_is_true(json_object_get(configuration, "reload_failed")))
        printf("%sthe last reload was refused; the daemon runs on the "
               "configuration before it:%s\n",
               print_red(), print_plain());
    json_array_foreach(json_object_get(configuration, "errors"), i, line)
        printf("  %s\n", json_string_value(line));
    json_array_foreach(json_object_get(configuration, "pending_restart"), i,
                       line)
    {
        if (i == 0)
            puts("waiting for a restart:");
        printf("  %s\n", json_string_value(line));
    }
}

static void show_upgrade(const json_t *upgrade)
{
    const char *phase = report_text(upgrade, "phase");
    if (strcmp(phase, "none") != 0)
        printf("upgrade        %s\n", phase);
    if (!json_is_string(json_object_get(upgrade, "error")))
        return;
    printf("upgrade        %sfailed at %s: ", print_red(),
           report_text(upgrade, "last_failure"));
    print_column(15, report_text(upgrade, "error"));
    fputs(print_plain(), stdout);
}

/* What was never timed is left out. */
static void show_latency(const json_t *latency)
{
    static const char *const names[][2] = {
        {"store_commit", "commit"}, {"sync_batch", "batch"}, {"job", "job"}};
    const char *between = "p95            ";
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const json_t *row = json_object_get(latency, names[i][0]);
        if (report_number(row, "count") == 0)
            continue;
        printf("%s%s %.1f ms", between, names[i][1],
               json_real_value(json_object_get(row, "p95_ms")));
        between = ", ";
    }
    if (between[0] == ',')
        putchar('\n');
}

static void show_pools(const json_t *pools)
{
    size_t i;
    json_t *pool;
    fputs("pools          ", stdout);
    json_array_foreach(pools, i, pool) printf(
        "%s%s %lld of %lld to %lld", i > 0 ? ", " : "",
        report_text(pool, "role"), report_number(pool, "size"),
        report_number(pool, "min_workers"), report_number(pool, "max_workers"));
    putchar('\n');
}

/* Only what is a matter of concern. */
static void show_memory(const json_t *memory)
{
    char held[32];
    double seconds = json_number_value(json_object_get(memory, "held_seconds"));
    if (seconds <= 0)
        return;
    printf("memory         %sjobs have waited for it for %s", print_red(),
           print_duration(seconds, held));
    if (json_is_integer(json_object_get(memory, "limit_bytes")))
        printf("; %lld of %lld MB are used",
               report_number(memory, "used_bytes") / 1000000,
               report_number(memory, "limit_bytes") / 1000000);
    if (json_is_number(json_object_get(memory, "pressure_percent")))
        printf("; pressure %.0f %%",
               json_number_value(json_object_get(memory, "pressure_percent")));
    printf("%s\n", print_plain());
}

static void show_commands(const json_t *commands)
{
    bool noted = json_is_string(json_object_get(commands, "note"));
    printf("commands       end by %s%s", report_text(commands, "mechanism"),
           noted ? "\n               " : "\n");
    if (noted)
        print_column(15, report_text(commands, "note"));
}

static void show_status(const json_t *status)
{
    char uptime[32];
    size_t i;
    json_t *item;
    const json_t *sync = json_object_get(status, "sync");
    const json_t *outbox = json_object_get(status, "outbox");
    print_duration(json_number_value(json_object_get(status, "uptime_seconds")),
                   uptime);
    printf("%stidemilld %s%s  pid %d, up %s%s\n", print_bold(),
           report_text(status, "version"), print_plain(),
           (int)json_integer_value(json_object_get(status, "pid")), uptime,
           json_is_true(json_object_get(status, "stopping")) ? ", stopping"
                                                             : "");
    show_configuration(json_object_get(status, "configuration"));
    show_upgrade(json_object_get(status, "upgrade"));
    printf("outbox         %lld pending, %lld dead\n",
           report_number(outbox, "pending"), report_number(outbox, "dead"));
    printf("sync           %s to %s\n", report_text(sync, "state"),
           report_text(sync, "sink"));
    if (json_is_string(json_object_get(sync, "last_error"))) {
        printf("               %s", print_red());
        print_column(15, report_text(sync, "last_error"));
        fputs(print_plain(), stdout);
    }
    show_pools(json_object_get(status, "pools"));
    show_memory(json_object_get(status, "memory"));
    show_commands(json_object_get(status, "commands"));
    show_latency(json_object_get(status, "latency"));
    json_array_foreach(json_object_get(status, "degraded"), i, item)
        printf("%s%s is degraded: its workers crash again and again; see "
               "the log%s\n",
               print_red(), json_string_value(item), print_plain());
    printf("\n%s%-15s %8s  %-8s %8s %9s %8s %9s%s\n", print_bold(), "worker",
           "pid", "state", "work", "finished", "restarts", "up", print_plain());
    json_array_foreach(json_object_get(status, "workers"), i, item)
        show_worker(item);
}

int command_status(const struct command_context *context, int argc, char **argv)
{
    struct error error;
    int status = take_no_arguments(context, argc, argv);
    if (status != 0)
        return status;
    json_t *data = control_ask(context->config, CONTROL_STATUS, NULL,
                               READ_TIMEOUT_MS, &error);
    if (data == NULL) {
        if (context->json && error.code == ERROR_NOT_RUNNING)
            print_json(json_pack("{s:b}", "running", 0));
        return print_failure(&error);
    }
    if (context->json)
        return print_json(data);
    show_status(data);
    json_decref(data);
    return 0;
}

int command_reload(const struct command_context *context, int argc, char **argv)
{
    struct error error;
    int status = take_no_arguments(context, argc, argv);
    if (status != 0)
        return status;
    json_t *data = control_ask(context->config, CONTROL_RELOAD, NULL,
                               RELOAD_TIMEOUT_MS, &error);
    if (data == NULL) {
        if (error.code != ERROR_CONFIG)
            return print_failure(&error);
        print_error("the new configuration was refused; the daemon runs on "
                    "the old one:");
        fputs(error.text, stderr);
        return error_exit_status(error.code);
    }
    if (context->json)
        return print_json(data);
    printf("reloaded: configuration epoch %d\n",
           (int)json_integer_value(json_object_get(data, "epoch")));
    const char *pending = report_text(data, "pending_restart");
    if (pending[0] != '\0' && strcmp(pending, "-") != 0)
        printf("waiting for a restart:\n%s", pending);
    json_decref(data);
    return 0;
}

int command_reopen_logs(const struct command_context *context, int argc,
                        char **argv)
{
    struct error error;
    int status = take_no_arguments(context, argc, argv);
    if (status != 0)
        return status;
    json_t *data = control_ask(context->config, CONTROL_REOPEN_LOGS, NULL,
                               READ_TIMEOUT_MS, &error);
    if (data == NULL)
        return print_failure(&error);
    json_decref(data);
    return 0;
}

static void show_levels(const json_t *data)
{
    size_t i;
    json_t *row;
    printf("%s%-12s %-8s %s%s\n", print_bold(), "component", "level",
           "configured", print_plain());
    json_array_foreach(json_object_get(data, "components"), i, row)
        printf("%-12s %-8s %s\n", report_text(row, "component"),
               report_text(row, "level"), report_text(row, "configured"));
}

int command_log_level(const struct command_context *context, int argc,
                      char **argv)
{
    struct error error;
    json_t *args = NULL;
    if (argc != 1 && argc != 3) {
        print_error("usage: %s", context->usage);
        return error_exit_status(ERROR_USAGE);
    }
    if (argc == 3)
        args = json_pack("{s:s,s:s}", "component", argv[1], "level", argv[2]);
    json_t *data = control_ask(
        context->config, argc == 3 ? CONTROL_LOG_LEVEL : CONTROL_LOG_LEVELS,
        args, READ_TIMEOUT_MS, &error);
    if (data == NULL)
        return print_failure(&error);
    if (context->json)
        return print_json(data);
    show_levels(data);
    json_decref(data);
    return 0;
}
