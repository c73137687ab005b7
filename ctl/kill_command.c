/* SPDX-License-Identifier: Apache-2.0
 *
 * test kill: an exercise for operators.  Workers are killed, one after the
 * other, and how long it takes until their successors serve is told.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/ipc/worker_contract.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/control.h"
#include "ctl/print.h"

#define ASK_TIMEOUT_MS 20000
#define PATIENCE_MS    60000
#define PAUSE_MS       2
#define COUNT_MAX      1000

struct rehearsal {
    const struct command_context *context;
    const char *role; /* NULL: any */
    int64_t count;
    json_t *kills;
    double most_seconds;
};

static bool knows_role(const char *name)
{
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        if (strcmp(role_name((enum role)role), name) == 0)
            return true;
    return false;
}

static int parse_options(struct rehearsal *rehearsal, int argc, char **argv)
{
    static const struct option longs[] = {
        {"role", required_argument, NULL, 'r'},
        {"count", required_argument, NULL, 'n'},
        {NULL, 0, NULL, 0},
    };
    const struct command_context *context = rehearsal->context;
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == 'r')
            rehearsal->role = optarg;
        else if (option == 'n')
            rehearsal->count = parse_positive(optarg);
        else
            return print_usage_line(context);
    }
    if (optind != argc)
        return print_usage(context, "unexpected argument: %s", argv[optind]);
    if (rehearsal->role != NULL && !knows_role(rehearsal->role))
        return print_usage(context, "--role takes store, gateway, monitor, "
                                    "generation or sync");
    if (rehearsal->count < 1 || rehearsal->count > COUNT_MAX)
        return print_usage(context, "--count takes 1 to %d", COUNT_MAX);
    return 0;
}

static bool serves(const json_t *worker)
{
    const char *state = report_text(worker, "state");
    return strcmp(state, "idle") == 0 || strcmp(state, "busy") == 0;
}

/* The serving workers of the role, from a status; a new reference. */
static json_t *candidates(const struct rehearsal *rehearsal,
                          const json_t *status)
{
    json_t *found = json_array();
    size_t i;
    json_t *worker;
    json_array_foreach(json_object_get(status, "workers"), i, worker)
    {
        const char *role = report_text(worker, "role");
        if (serves(worker) &&
            (rehearsal->role == NULL || strcmp(role, rehearsal->role) == 0))
            json_array_append(found, worker);
    }
    return found;
}

/* Who serves in the victim's slot; NULL: nobody yet.  A borrowed one. */
static json_t *successor(const json_t *status, const json_t *victim)
{
    size_t i;
    json_t *worker;
    json_array_foreach(json_object_get(status, "workers"), i, worker)
    {
        if (serves(worker) &&
            strcmp(report_text(worker, "role"), report_text(victim, "role")) ==
                0 &&
            report_number(worker, "slot") == report_number(victim, "slot") &&
            report_number(worker, "spawn") != report_number(victim, "spawn"))
            return worker;
    }
    return NULL;
}

static json_t *ask_status(const struct rehearsal *rehearsal,
                          struct error *error)
{
    return control_ask(rehearsal->context->config, CONTROL_STATUS, NULL,
                       ASK_TIMEOUT_MS, error);
}

/* A worker of the role, by chance; NULL with *error when none comes. */
static json_t *choose(const struct rehearsal *rehearsal, struct error *error)
{
    uint64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
    while (clock_monotonic_ms() < end_ms) {
        json_t *status = ask_status(rehearsal, error);
        if (status == NULL)
            return NULL;
        json_t *found = candidates(rehearsal, status);
        size_t count = json_array_size(found);
        json_t *victim =
            count == 0
                ? NULL
                : json_incref(json_array_get(found, (size_t)rand() % count));
        json_decref(found);
        json_decref(status);
        if (victim != NULL)
            return victim;
        nanosleep(&pause, NULL);
    }
    error_set(error, ERROR_TRY_AGAIN, "no worker of the role serves");
    return NULL;
}

/* Waits for the successor and notes it. */
static int see_successor(struct rehearsal *rehearsal, const json_t *victim,
                         uint64_t start_ms, struct error *error)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
    for (;;) {
        json_t *status = ask_status(rehearsal, error);
        if (status == NULL)
            return -1;
        const json_t *next = successor(status, victim);
        double seconds = (double)(clock_monotonic_ms() - start_ms) / 1000.0;
        if (next != NULL)
            json_array_append_new(
                rehearsal->kills,
                json_pack("{s:s,s:I,s:I,s:I,s:f}", "role",
                          report_text(victim, "role"), "slot",
                          (json_int_t)report_number(victim, "slot"), "pid",
                          (json_int_t)report_number(victim, "pid"), "successor",
                          (json_int_t)report_number(next, "pid"), "seconds",
                          seconds));
        bool seen = next != NULL;
        json_decref(status);
        if (seen) {
            if (seconds > rehearsal->most_seconds)
                rehearsal->most_seconds = seconds;
            return 0;
        }
        if (clock_monotonic_ms() - start_ms > PATIENCE_MS)
            return error_set(error, ERROR_NEGATIVE,
                             "no successor of %s worker %lld serves after %d "
                             "s; see 'tidemill status' and the log",
                             report_text(victim, "role"),
                             report_number(victim, "pid"), PATIENCE_MS / 1000);
        nanosleep(&pause, NULL);
    }
}

static int kill_one(struct rehearsal *rehearsal, struct error *error)
{
    json_t *victim = choose(rehearsal, error);
    if (victim == NULL)
        return -1;
    uint64_t start_ms = clock_monotonic_ms();
    json_t *args =
        json_pack("{s:I}", "spawn", (json_int_t)report_number(victim, "spawn"));
    json_t *data = control_ask(rehearsal->context->config, CONTROL_KILL, args,
                               ASK_TIMEOUT_MS, error);
    /* a gateway may be dead before it has answered */
    bool asked = data != NULL || error->code == ERROR_TRY_AGAIN;
    json_decref(data);
    int result = asked ? see_successor(rehearsal, victim, start_ms, error) : -1;
    json_decref(victim);
    return result;
}

static void show(const json_t *kills)
{
    size_t i;
    json_t *kill;
    json_array_foreach(kills, i, kill)
        printf("%-10s %3lld  process %lld was killed; %lld served after %.0f "
               "ms\n",
               report_text(kill, "role"), report_number(kill, "slot"),
               report_number(kill, "pid"), report_number(kill, "successor"),
               1000 * json_number_value(json_object_get(kill, "seconds")));
}

int command_test_kill(const struct command_context *context, int argc,
                      char **argv)
{
    struct rehearsal rehearsal = {.context = context, .count = 1};
    struct error error;
    int status = parse_options(&rehearsal, argc, argv);
    if (status != 0)
        return status;
    int result = 0;
    srand((unsigned)clock_monotonic_ns());
    rehearsal.kills = json_array();
    for (int64_t i = 0; result == 0 && i < rehearsal.count; i++)
        result = kill_one(&rehearsal, &error);
    if (context->json)
        print_json(json_pack("{s:O,s:f}", "kills", rehearsal.kills,
                             "most_seconds", rehearsal.most_seconds));
    else
        show(rehearsal.kills);
    json_decref(rehearsal.kills);
    return result == 0 ? 0 : print_failure(&error);
}
