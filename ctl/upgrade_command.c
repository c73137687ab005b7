/* SPDX-License-Identifier: Apache-2.0
 *
 * upgrade: asks for a new master, and tells what came of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/control.h"
#include "ctl/print.h"
#include "ctl/report.h"

#define ASK_TIMEOUT_MS 20000
/* The workers may take supervisor.shutdown_timeout to leave, and then
 * supervisor.hello_timeout until the new ones are ready. */
#define MARGIN_MS 20000
#define PAUSE_MS  10

static json_t *ask_status(const struct command_context *context,
                          unsigned timeout_ms, struct error *error)
{
    return control_ask(context->config, CONTROL_STATUS, NULL, timeout_ms,
                       error);
}

static long long failures(const json_t *status)
{
    return report_number(json_object_get(status, "upgrade"), "failures");
}

/* Has it gone well, or failed?  A new master that is not ready may fail. */
static bool is_over(const json_t *before, const json_t *after)
{
    if (report_number(after, "pid") == report_number(before, "pid"))
        return failures(after) > failures(before);
    return json_is_true(json_object_get(after, "ready"));
}

/* The gateway that is asked leaves before the upgrade is over: who answers
 * then tells. */
static json_t *wait_until_over(const struct command_context *context,
                               const json_t *before, unsigned timeout_ms,
                               struct error *error)
{
    uint64_t end_ms = clock_monotonic_ms() + timeout_ms;
    for (;;) {
        json_t *after = ask_status(context, timeout_ms, error);
        if (after == NULL || is_over(before, after) ||
            clock_monotonic_ms() >= end_ms)
            return after;
        json_decref(after);
        const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
        nanosleep(&pause, NULL);
    }
}

static json_t *request(const struct command_context *context,
                       const json_t *before, struct error *error)
{
    const struct config *config = context->config;
    unsigned timeout_ms =
        (unsigned)(config->shutdown_timeout_ms + 2 * config->hello_timeout_ms) +
        MARGIN_MS;
    json_t *data =
        control_ask(config, CONTROL_UPGRADE, NULL, timeout_ms, error);
    json_decref(data);
    if (data == NULL && error->code != ERROR_TRY_AGAIN)
        return NULL;
    return wait_until_over(context, before, timeout_ms, error);
}

static int tell(const struct command_context *context, const json_t *before,
                json_t *after)
{
    const json_t *outcome = json_object_get(after, "upgrade");
    if (report_number(after, "pid") == report_number(before, "pid")) {
        print_error("the upgrade failed; the daemon goes on as it was: %s",
                    failures(after) > failures(before)
                        ? report_text(outcome, "error")
                        : "it is still under way; see 'tidemill status'");
        return failures(after) > failures(before)
                   ? (int)report_number(outcome, "exit_status")
                   : error_exit_status(ERROR_TRY_AGAIN);
    }
    if (context->json)
        return print_json(json_pack(
            "{s:I,s:I,s:s,s:s}", "pid", (json_int_t)report_number(after, "pid"),
            "old_pid", (json_int_t)report_number(before, "pid"), "version",
            report_text(after, "version"), "old_version",
            report_text(before, "version")));
    printf("upgraded from %s to %s; the master is process %lld now\n",
           report_text(before, "version"), report_text(after, "version"),
           report_number(after, "pid"));
    return 0;
}

int command_upgrade(const struct command_context *context, int argc,
                    char **argv)
{
    struct error error;
    int status = take_no_arguments(context, argc, argv);
    if (status != 0)
        return status;
    json_t *before = ask_status(context, ASK_TIMEOUT_MS, &error);
    json_t *after = before == NULL ? NULL : request(context, before, &error);
    if (after != NULL) {
        status = tell(context, before, after);
    } else if (before != NULL && error.code != ERROR_NOT_ALLOWED) {
        print_error("the upgrade failed; the daemon goes on as it was: %s",
                    error.text);
        status = error_exit_status(error.code);
    } else {
        status = print_failure(&error);
    }
    json_decref(after);
    json_decref(before);
    return status;
}
