/* SPDX-License-Identifier: Apache-2.0
 *
 * hook: an agent's hook event, from standard input into the outbox.  The
 * forms are those of the hook events of coding agents: unknown types and
 * members are kept as they are.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/clock.h"
#include "common/document/json_text.h"
#include "common/store/hook_event.h"
#include "ctl/command.h"
#include "ctl/outbox.h"
#include "ctl/print.h"

#define HOOK_INPUT_MAX (4u << 20)

/* A UUID of version 7 (RFC 9562): sorts by time. */
static void make_event_id(int64_t wall_ms, char text[37])
{
    unsigned char b[16];
    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
        memset(b, 0x5a, sizeof(b));
    for (int i = 0; i < 6; i++)
        b[i] = (unsigned char)((uint64_t)wall_ms >> (40 - 8 * i));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x70);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    char *at = text;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        at += snprintf(at, 3, "%02x", b[i]);
    }
}

struct hook {
    char event_id[37];
    int64_t wall_ms;
    struct hook_event event;
    int64_t priority;
    const char *text;
    size_t size;
};

static int hook_parse(const char *text, size_t size, struct hook *hook,
                      struct error *error)
{
    if (!json_text_valid(text, size, error)) {
        error->code = ERROR_DATA;
        return error_prefix(error, "the hook event on standard input");
    }
    if (!json_text_is_object(text, size))
        return error_set(error, ERROR_DATA,
                         "a hook event must be a JSON object");
    hook_event_read(text, size, &hook->event);
    if (hook->event.type.type == VALUE_NULL || hook->event.type.size == 0)
        return error_set(error, ERROR_DATA,
                         "the event has no \"hook_event_name\"; the agent's "
                         "hook input must be passed on unchanged");
    hook->text = text;
    hook->size = size;
    hook->wall_ms = clock_wall_ms();
    make_event_id(hook->wall_ms, hook->event_id);
    return 0;
}

static int hook_store(const struct command_context *context,
                      const struct hook *hook, struct error *error)
{
    struct arena arena;
    struct store_answer answer;
    struct store_session *session = NULL;
    struct store_call call = {
        .statement = STATEMENT_HOOK_RECORD,
        .argument_count = 10,
        .arguments = {value_text_sized(hook->event_id, 36), hook->event.type,
                      hook->event.session, hook->event.tool,
                      value_text_sized(hook->text, hook->size),
                      value_integer(hook->wall_ms), hook->event.file,
                      hook->event.task, hook->event.success,
                      value_integer(hook->priority)}};
    const struct store_request request = {&call, 1};
    arena_init(&arena, 1u << 20);
    int result = store_session_open_spooling(&session, context->config,
                                             SESSION_TIMEOUT_MS, error);
    if (result == 0)
        result = store_session_call(session, &request, &arena, &answer, error);
    store_session_close(&session);
    arena_deinit(&arena);
    return result;
}

int command_hook(const struct command_context *context, int argc, char **argv)
{
    static const struct option longs[] = {
        {"priority", required_argument, NULL, 'p'},
        {NULL, 0, NULL, 0},
    };
    const char *priority = "normal";
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option != 'p')
            return print_usage_line(context);
        priority = optarg;
    }
    if (optind != argc)
        return print_usage(context, "the event is read from standard input");
    struct arena arena;
    struct error error;
    struct hook hook;
    char *text;
    size_t size;
    arena_init(&arena, 16u << 20);
    int status = 0;
    if (read_input("-", HOOK_INPUT_MAX, &arena, &text, &size, &error) != 0 ||
        hook_parse(text, size, &hook, &error) != 0 ||
        priority_rank(priority, strlen(priority), &hook.priority, &error) !=
            0 ||
        hook_store(context, &hook, &error) != 0)
        status = print_failure(&error);
    else if (context->json)
        status = print_json(json_pack("{s:s}", "id", hook.event_id));
    arena_deinit(&arena);
    return status;
}
