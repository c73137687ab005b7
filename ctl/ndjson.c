/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/ndjson.h"

#include <string.h>

#include <jansson.h>

#include "common/base/text.h"
#include "common/document/json_text.h"

/* What a member is put into. */
struct member {
    const char *name;
    bool raw; /* any JSON value, kept as it is written */
    size_t text_offset;
    size_t size_offset;
};

#define MEMBER(name, raw, field)                                               \
    {                                                                          \
        name, raw, offsetof(struct new_operation, field),                      \
            offsetof(struct new_operation, field##_size)                       \
    }

static const struct member members[] = {
    MEMBER("operation", false, operation), MEMBER("table", false, table_name),
    MEMBER("record_id", false, record_id), MEMBER("data", true, data),
    MEMBER("priority", false, priority),
};

#define MEMBER_COUNT (sizeof(members) / sizeof(members[0]))

static int unescape(const char *raw, size_t raw_size, struct arena *arena,
                    const char **text, size_t *size, struct error *error)
{
    json_error_t where;
    json_t *string =
        json_loadb(raw, raw_size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &where);
    if (string == NULL)
        return error_set(error, ERROR_DATA, "%s; correct the string",
                         where.text);
    *size = json_string_length(string);
    *text = arena_copy(arena, json_string_value(string), *size);
    json_decref(string);
    return *text != NULL ? 0 : error_set(error, ERROR_SYSTEM, "no memory left");
}

static int take_string(const char *name, const char *raw, size_t raw_size,
                       struct arena *arena, const char **text, size_t *size,
                       struct error *error)
{
    if (raw_size < 2 || raw[0] != '"')
        return error_set(error, ERROR_DATA,
                         "\"%s\" must be a string; put it in quotes", name);
    *text = raw + 1;
    *size = raw_size - 2;
    if (memchr(raw, '\\', raw_size) != NULL)
        return unescape(raw, raw_size, arena, text, size, error);
    return 0;
}

static int unknown_member(const char *key, size_t key_size, struct error *error)
{
    const char *names[MEMBER_COUNT + 1];
    char said[64];
    for (size_t i = 0; i < MEMBER_COUNT; i++)
        names[i] = members[i].name;
    names[MEMBER_COUNT] = NULL;
    if (key_size >= sizeof(said))
        key_size = sizeof(said) - 1;
    memcpy(said, key, key_size);
    said[key_size] = '\0';
    const char *nearest = text_nearest(said, names);
    if (nearest != NULL)
        return error_set(error, ERROR_DATA,
                         "unknown member \"%s\"; did you mean \"%s\"?", said,
                         nearest);
    return error_set(error, ERROR_DATA,
                     "unknown member \"%s\"; known are operation, table, "
                     "record_id, data, priority",
                     said);
}

static int take_member(const struct json_text_members *at, struct arena *arena,
                       struct new_operation *operation, struct error *error)
{
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (strlen(members[i].name) != at->key_size ||
            memcmp(members[i].name, at->key, at->key_size) != 0)
            continue;
        const char **text =
            (void *)((char *)operation + members[i].text_offset);
        size_t *size = (void *)((char *)operation + members[i].size_offset);
        if (!members[i].raw)
            return take_string(members[i].name, at->value, at->value_size,
                               arena, text, size, error);
        *text = at->value;
        *size = at->value_size;
        return 0;
    }
    return unknown_member(at->key, at->key_size, error);
}

int ndjson_parse(const char *line, size_t size, struct arena *arena,
                 struct new_operation *operation, struct error *error)
{
    *operation = (struct new_operation){.operation = "INSERT",
                                        .operation_size = 6,
                                        .priority = "normal",
                                        .priority_size = 6};
    if (!json_text_valid(line, size, error)) {
        error->code = ERROR_DATA;
        return -1;
    }
    if (!json_text_is_object(line, size))
        return error_set(error, ERROR_DATA,
                         "a line must be an object: {\"table\": ..., "
                         "\"record_id\": ..., \"data\": ...}");
    struct json_text_members at;
    json_text_members_start(&at, line, size);
    while (json_text_members_next(&at))
        if (take_member(&at, arena, operation, error) != 0)
            return -1;
    if (operation->table_name == NULL)
        return error_set(error, ERROR_DATA, "\"table\" is missing; add it");
    if (operation->record_id == NULL)
        return error_set(error, ERROR_DATA, "\"record_id\" is missing; add it");
    if (operation->data_size == 4 && memcmp(operation->data, "null", 4) == 0) {
        operation->data = NULL;
        operation->data_size = 0;
    }
    return 0;
}
