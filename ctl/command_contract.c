/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/command_contract.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/document/document.h"
#include "ctl/arguments.h"
#include "ctl/correlation.h"

#define ARGUMENTS_MAX 10000
#define VARIABLES_MAX 1000

const char *const command_limit_names[] = {"cpu_seconds", "memory_bytes",
                                           "file_bytes",  "processes",
                                           "open_files",  NULL};

struct reading {
    const char *name; /* of the file, for messages */
    const char *path;
    struct buffer *errors;
    struct command_contract *contract;
    bool failed;
};

__attribute__((format(printf, 4, 5))) static void
complain(struct reading *reading, const struct node *where, const char *key,
         const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    reading->failed = true;
    buffer_printf(reading->errors, "%s:%u:%u: %s%s%s\n", reading->name,
                  where->line, where->column, key, key[0] == '\0' ? "" : ": ",
                  text);
}

static bool is_plain(const struct node *node)
{
    bool scalar = node->kind == NODE_STRING || node->kind == NODE_NUMBER ||
                  node->kind == NODE_BOOL;
    return scalar && strlen(node->text) == node->text_size;
}

static void read_argv(struct reading *reading, const struct node *value)
{
    char key[40];
    unsigned index = 0;
    json_t *list = json_array();
    json_object_set_new(reading->contract->spec, "argv", list);
    if (value->kind != NODE_LIST || value->count == 0 ||
        value->count > ARGUMENTS_MAX) {
        complain(reading, value, "argv",
                 "write a list of 1 to %d: [PROGRAM, ARGUMENT, ...]; there is "
                 "no shell",
                 ARGUMENTS_MAX);
        return;
    }
    for (const struct node *item = value->first; item != NULL;
         item = item->next, index++) {
        snprintf(key, sizeof(key), "argv[%u]", index);
        if (!is_plain(item))
            complain(reading, item, key, "a %s where a text is needed",
                     node_kind_name(item->kind));
        else if (index == 0 && item->text_size == 0)
            complain(reading, item, key, "is empty; name a program");
        else
            json_array_append_new(list, json_string(item->text));
    }
}

static void read_directory(struct reading *reading, const struct node *value)
{
    char directory[2 * PATH_MAX];
    if (value->kind != NODE_STRING || value->text_size == 0 ||
        value->text_size >= PATH_MAX ||
        strlen(value->text) != value->text_size) {
        complain(reading, value, "directory",
                 "write a path, absolute or from the contract's folder");
        return;
    }
    size_t folder = (size_t)(strrchr(reading->path, '/') - reading->path);
    if (value->text[0] == '/')
        folder = 0;
    snprintf(directory, sizeof(directory), "%.*s%s%s", (int)folder,
             reading->path, folder > 0 ? "/" : "", value->text);
    json_object_set_new(reading->contract->spec, "directory",
                        json_string(directory));
}

static void read_environment(struct reading *reading, const struct node *value)
{
    char key[300];
    json_t *map = json_object_get(reading->contract->spec, "environment");
    if (value->kind != NODE_MAP || value->count > VARIABLES_MAX) {
        complain(reading, value, "environment", "write a map: {NAME: value}");
        return;
    }
    for (const struct node *item = value->first; item != NULL;
         item = item->next) {
        snprintf(key, sizeof(key), "environment.%.200s", item->key);
        if (item->key_size == 0 || strchr(item->key, '=') != NULL)
            complain(reading, item, key, "is no name of a variable");
        else if (!is_plain(item))
            complain(reading, item, key, "a %s where a text is needed",
                     node_kind_name(item->kind));
        else
            json_object_set_new(map, item->key, json_string(item->text));
    }
}

static void read_limits(struct reading *reading, const struct node *value)
{
    char key[300];
    json_t *map = json_object_get(reading->contract->spec, "limits");
    if (value->kind != NODE_MAP) {
        complain(reading, value, "limits", "write a map: {cpu_seconds: 60}");
        return;
    }
    for (const struct node *item = value->first; item != NULL;
         item = item->next) {
        const char *const *known = command_limit_names;
        int64_t number =
            item->kind == NODE_NUMBER ? parse_positive(item->text) : 0;
        snprintf(key, sizeof(key), "limits.%.200s", item->key);
        while (*known != NULL && strcmp(*known, item->key) != 0)
            known++;
        if (*known == NULL)
            complain(reading, item, key,
                     "is unknown; there are cpu_seconds, memory_bytes, "
                     "file_bytes, processes and open_files");
        else if (number == 0)
            complain(reading, item, key, "write a positive whole number");
        else
            json_object_set_new(map, item->key, json_integer(number));
    }
}

static void read_timeout(struct reading *reading, const struct node *value)
{
    int64_t *timeout = &reading->contract->timeout_ms;
    *timeout = is_plain(value) ? parse_duration_ms(value->text) : 0;
    if (*timeout <= 0)
        complain(reading, value, "timeout", "write a duration: 90s, 10m");
}

static void read_text(struct reading *reading, const struct node *value)
{
    if (!is_plain(value))
        complain(reading, value, value->key, "a %s where a text is needed",
                 node_kind_name(value->kind));
}

static const struct key {
    const char *name;
    void (*read)(struct reading *reading, const struct node *value);
} keys[] = {
    {"kind", read_text},       {"description", read_text},
    {"argv", read_argv},       {"directory", read_directory},
    {"limits", read_limits},   {"environment", read_environment},
    {"timeout", read_timeout},
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

static void read_key(struct reading *reading, const struct node *value)
{
    const char *names[KEY_COUNT + 1] = {NULL};
    for (size_t i = 0; i < KEY_COUNT; i++) {
        names[i] = keys[i].name;
        if (strcmp(keys[i].name, value->key) == 0) {
            keys[i].read(reading, value);
            return;
        }
    }
    const struct node at = {.line = value->key_line,
                            .column = value->key_column};
    const char *nearest = text_nearest(value->key, names);
    complain(reading, &at, "", "the key '%.80s' is unknown%s%s%s", value->key,
             nearest != NULL ? "; did you mean '" : " in a command",
             nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "");
}

static struct node *parse(struct arena *arena, const char *name,
                          const char *text, size_t size, struct error *error)
{
    struct node *root = NULL;
    struct document_limits limits = document_limits_default;
    size_t length = strlen(name);
    limits.depth = 32;
    limits.nodes = 100000;
    int failed =
        length > 5 && strcmp(name + length - 5, ".json") == 0
            ? document_read_json(arena, name, text, size, &limits, &root, error)
            : document_read_yaml(arena, name, text, size, &limits, &root,
                                 error);
    return failed != 0 ? NULL : root;
}

bool command_contract_is(struct arena *arena, const char *name,
                         const char *text, size_t size)
{
    struct error error;
    if (memmem(text, size, "kind", 4) == NULL)
        return false; /* as of nearly all contracts */
    const struct node *kind =
        document_get(parse(arena, name, text, size, &error), "kind");
    return kind != NULL && kind->kind == NODE_STRING &&
           strcmp(kind->text, "command") == 0;
}

int command_contract_read(struct arena *arena, const char *name,
                          const char *path, const char *text, size_t size,
                          struct command_contract *contract,
                          struct buffer *errors)
{
    struct error error;
    struct reading reading = {
        .name = name, .path = path, .errors = errors, .contract = contract};
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%.*s",
             (int)(strrchr(path, '/') - path) + (strrchr(path, '/') == path),
             path);
    const struct node *root = parse(arena, name, text, size, &error);
    *contract = (struct command_contract){
        .spec = json_pack("{s:s,s:{},s:{},s:s,s:s}", "directory", folder,
                          "environment", "limits", "contract", path,
                          "correlation_id", correlation_id())};
    if (root == NULL || contract->spec == NULL) {
        buffer_printf(errors, "%s\n", root == NULL ? error.text : "no memory");
        return -1;
    }
    for (const struct node *item = root->first; item != NULL; item = item->next)
        read_key(&reading, item);
    if (document_get(root, "argv") == NULL)
        complain(&reading, root, "",
                 "the key 'argv' is missing: the program and its arguments");
    return reading.failed ? -1 : 0;
}
