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

/* A string member under any of its spellings; value_null when absent or no
 * plain string (escapes are kept as written: these are names and ids). */
static struct value string_member(const char *text, size_t size,
                                  const char *const *names)
{
    for (; *names != NULL; names++) {
        const char *raw;
        size_t raw_size;
        if (json_text_member(text, size, *names, &raw, &raw_size) &&
            raw_size >= 2 && raw[0] == '"')
            return value_text_sized(raw + 1, raw_size - 2);
    }
    return value_null();
}

static struct value nested_member(const char *text, size_t size,
                                  const char *outer, const char *const *names)
{
    const char *raw;
    size_t raw_size;
    if (!json_text_member(text, size, outer, &raw, &raw_size) || raw[0] != '{')
        return value_null();
    return string_member(raw, raw_size, names);
}

/* What the centre gets: the event with its place in time and its id. */
static void put_value(struct buffer *out, const char *name,
                      const struct value *value)
{
    buffer_printf(out, ",\"%s\":", name);
    if (value->type == VALUE_NULL) {
        buffer_append_text(out, "null");
    } else { /* raw JSON string content */
        buffer_append_char(out, '"');
        buffer_append(out, value->bytes, value->size);
        buffer_append_char(out, '"');
    }
}

struct hook {
    char event_id[37];
    int64_t wall_ms;
    struct value type, session, tool, file;
    const char *text;
    size_t size;
};

static int hook_parse(const char *text, size_t size, struct hook *hook,
                      struct error *error)
{
    static const char *const types[] = {"hook_event_name", "hook_event_type",
                                        "hook_type", "event", NULL};
    static const char *const sessions[] = {"session_id", NULL};
    static const char *const tools[] = {"tool_name", NULL};
    static const char *const files[] = {"file_path", "notebook_path", "path",
                                        NULL};
    if (!json_text_valid(text, size, error)) {
        error->code = ERROR_DATA;
        return error_prefix(error, "the hook event on standard input");
    }
    if (!json_text_is_object(text, size))
        return error_set(error, ERROR_DATA,
                         "a hook event must be a JSON object");
    hook->type = string_member(text, size, types);
    if (hook->type.type == VALUE_NULL || hook->type.size == 0)
        return error_set(error, ERROR_DATA,
                         "the event has no \"hook_event_name\"; the agent's "
                         "hook input must be passed on unchanged");
    hook->session = string_member(text, size, sessions);
    hook->tool = string_member(text, size, tools);
    hook->file = nested_member(text, size, "tool_input", files);
    hook->text = text;
    hook->size = size;
    hook->wall_ms = clock_wall_ms();
    make_event_id(hook->wall_ms, hook->event_id);
    return 0;
}

static void hook_data(const struct hook *hook, struct buffer *data)
{
    char time[CLOCK_TEXT_SIZE];
    buffer_printf(data, "{\"id\":\"%s\",\"hook_timestamp\":\"%s\"",
                  hook->event_id, clock_format(hook->wall_ms, time));
    put_value(data, "hook_type", &hook->type);
    put_value(data, "session_id", &hook->session);
    put_value(data, "tool_name", &hook->tool);
    put_value(data, "file_path", &hook->file);
    buffer_append_text(data, ",\"event_data\":");
    buffer_append(data, hook->text, hook->size);
    buffer_append_char(data, '}');
}

static int hook_store(const struct command_context *context,
                      const struct hook *hook, const char *priority,
                      struct error *error)
{
    struct buffer data;
    struct arena arena;
    struct store_call calls[2];
    struct store_answer answer;
    struct store_session *session = NULL;
    buffer_init(&data, HOOK_INPUT_MAX + 8192);
    arena_init(&arena, 1u << 20);
    hook_data(hook, &data);
    const struct new_operation operation = {
        .operation = "INSERT",
        .operation_size = 6,
        .table_name = "hook_events",
        .table_name_size = 11,
        .record_id = hook->event_id,
        .record_id_size = 36,
        .data = data.bytes,
        .data_size = data.size,
        .priority = priority,
        .priority_size = strlen(priority),
    };
    calls[0] = (struct store_call){
        .statement = STATEMENT_HOOK_RECORD,
        .argument_count = 7,
        .arguments = {value_text_sized(hook->event_id, 36), hook->type,
                      hook->session, hook->tool,
                      value_text_sized(hook->text, hook->size),
                      value_integer(hook->wall_ms), hook->file}};
    const struct store_request request = {calls, 2};
    int result = data.failed
                     ? error_set(error, ERROR_DATA, "the event is too large")
                     : outbox_call(&operation, hook->wall_ms, &calls[1], error);
    if (result == 0)
        result = store_session_open_spooling(&session, context->config,
                                             SESSION_TIMEOUT_MS, error);
    if (result == 0)
        result = store_session_call(session, &request, &arena, &answer, error);
    store_session_close(&session);
    arena_deinit(&arena);
    buffer_deinit(&data);
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
        hook_store(context, &hook, priority, &error) != 0)
        status = print_failure(&error);
    else if (context->json)
        status = print_json(json_pack("{s:s}", "id", hook.event_id));
    arena_deinit(&arena);
    return status;
}
