/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/hook_event.h"

#include <string.h>

#include "common/document/json_text.h"

struct value hook_event_text(const char *text, size_t size,
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
    return hook_event_text(raw, raw_size, names);
}

static struct value said_success(const char *text, size_t size)
{
    static const struct {
        const char *name;
        bool is_failure;
    } names[] = {{"success", false}, {"is_error", true}};
    const char *raw;
    size_t raw_size;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (json_text_member(text, size, names[i].name, &raw, &raw_size) &&
            strchr("tf01", raw[0]) != NULL)
            return value_integer((raw[0] == 't' || raw[0] == '1') !=
                                 names[i].is_failure);
    return value_null();
}

/* What the event, or the tool's answer in it, says of itself. */
static struct value success_of(const char *text, size_t size)
{
    const char *raw;
    size_t raw_size;
    struct value said = said_success(text, size);
    if (said.type == VALUE_NULL &&
        (json_text_member(text, size, "tool_response", &raw, &raw_size) ||
         json_text_member(text, size, "tool_result", &raw, &raw_size)) &&
        raw[0] == '{')
        said = said_success(raw, raw_size);
    return said;
}

void hook_event_read(const char *text, size_t size, struct hook_event *event)
{
    static const char *const types[] = {"hook_event_name", "hook_event_type",
                                        "hook_type", "event", NULL};
    static const char *const sessions[] = {"session_id", NULL};
    static const char *const tasks[] = {"task_id", NULL};
    static const char *const tools[] = {"tool_name", NULL};
    static const char *const files[] = {"file_path", "notebook_path", "path",
                                        NULL};
    *event = (struct hook_event){.type = value_null()};
    if (!json_text_is_object(text, size))
        return;
    event->type = hook_event_text(text, size, types);
    event->session = hook_event_text(text, size, sessions);
    event->task = hook_event_text(text, size, tasks);
    event->tool = hook_event_text(text, size, tools);
    event->file = nested_member(text, size, "tool_input", files);
    if (event->file.type == VALUE_NULL)
        event->file = hook_event_text(text, size, files);
    event->success = success_of(text, size);
}
