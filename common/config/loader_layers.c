/* SPDX-License-Identifier: Apache-2.0
 *
 * The layers that give options values: file, environment, command line.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/text.h"
#include "common/config/loader.h"

#define WHY_MAX 1024u

/* The two options that are no scalars. */
#define TABLES_PATH  "sync.tables"
#define SOURCES_PATH "sources"

static bool is_name_start(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

/* Replaces the "${...}" at `at`; returns what is behind it, or NULL. */
static const char *expand_variable(struct loader *loader,
                                   const struct node *node, const char *at,
                                   struct buffer *out)
{
    const char *name = at + 2;
    const char *close = strchr(name, '}');
    size_t size = 0;
    while (is_name_start(name[size]) ||
           (size > 0 && name[size] >= '0' && name[size] <= '9'))
        size++;
    const char *after = name + size;
    bool has_default = strncmp(after, ":-", 2) == 0;
    if (size == 0 || close == NULL || (!has_default && after != close)) {
        loader_error_at(loader, node->line, node->column,
                        "\"%.40s\" is no variable; write ${NAME}, "
                        "${NAME:-default}, or $${ for a plain \"${\"",
                        at);
        return NULL;
    }
    const char *value = loader_variable(loader, name, size);
    if (value == NULL && !has_default) {
        loader_error_at(loader, node->line, node->column,
                        "the environment variable %.*s is not set; set it, or "
                        "give a default: ${%.*s:-default}",
                        (int)size, name, (int)size, name);
        return NULL;
    }
    if (value != NULL && (*value != '\0' || !has_default))
        buffer_append_text(out, value);
    else
        buffer_append(out, after + 2, (size_t)(close - after) - 2);
    return close + 1;
}

static const char *expand(struct loader *loader, const struct node *node)
{
    struct buffer out;
    const char *result = NULL;
    buffer_init(&out, (size_t)1 << 16);
    const char *at = node->text;
    while (at != NULL && *at != '\0') {
        if (strncmp(at, "$${", 3) == 0) {
            buffer_append_text(&out, "${");
            at += 3;
        } else if (strncmp(at, "${", 2) == 0) {
            at = expand_variable(loader, node, at, &out);
        } else {
            buffer_append_char(&out, *at++);
        }
    }
    if (at != NULL && !out.failed)
        result = arena_copy(&loader->config->arena,
                            out.bytes != NULL ? out.bytes : "", out.size);
    if (at != NULL && result == NULL)
        loader_error_at(loader, node->line, node->column,
                        "the value with its variables replaced is too long");
    buffer_deinit(&out);
    return result;
}

const char *loader_scalar(struct loader *loader, const struct node *node,
                          const char *what)
{
    if (node->kind == NODE_NULL) {
        loader_error_at(loader, node->line, node->column,
                        "%s has no value; give one, or remove the line (an "
                        "empty text is \"\")",
                        what);
        return NULL;
    }
    if (node->kind == NODE_LIST || node->kind == NODE_MAP) {
        loader_error_at(loader, node->line, node->column,
                        "%s is a %s; give a single value", what,
                        node_kind_name(node->kind));
        return NULL;
    }
    return expand(loader, node);
}

static void set_from_node(struct loader *loader, int index,
                          const struct node *node)
{
    const char *path = option_table[index].path;
    const char *text = loader_scalar(loader, node, path);
    struct buffer why;
    if (text == NULL)
        return;
    buffer_init(&why, WHY_MAX);
    if (loader_set(loader, (enum option_index)index, text, &why) != 0) {
        loader_error_at(loader, node->line, node->column, "%s: %s", path,
                        why.bytes != NULL ? why.bytes : "no memory");
    } else {
        loader->config->origins[index] = ORIGIN_FILE;
        loader->config->lines[index] = node->line;
        loader->columns[index] = node->column;
    }
    buffer_deinit(&why);
}

/* The names directly below a section ("" for the top), each once. */
static void collect_names(struct loader *loader, const char *section,
                          const char **names, size_t room)
{
    size_t prefix = strlen(section);
    size_t count = 0;
    for (int i = 0; i < OPTION_COUNT && count + 3 < room; i++) {
        const char *rest = option_table[i].path;
        if (prefix > 0) {
            if (strncmp(rest, section, prefix) != 0 || rest[prefix] != '.')
                continue;
            rest += prefix + 1;
        }
        const char *name =
            arena_copy(&loader->scratch, rest, strcspn(rest, "."));
        if (name != NULL && (count == 0 || strcmp(names[count - 1], name) != 0))
            names[count++] = name;
    }
    if (prefix == 0)
        names[count++] = SOURCES_PATH;
    if (strcmp(section, "sync") == 0)
        names[count++] = "tables";
    names[count] = NULL;
}

/* An option whose last name is `name`, wherever it is; or NULL. */
static const char *find_elsewhere(const char *name)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        const char *dot = strrchr(option_table[i].path, '.');
        if (dot != NULL && strcmp(dot + 1, name) == 0)
            return option_table[i].path;
    }
    return NULL;
}

/* What to write instead of the unknown `name` below `section`. */
static const char *suggest(struct loader *loader, const char *section,
                           const char *name)
{
    const char *names[OPTION_COUNT + 4];
    collect_names(loader, section, names, OPTION_COUNT + 4);
    const char *nearest = text_nearest(name, names);
    const char *elsewhere = find_elsewhere(name);
    const char *text = NULL;
    if (elsewhere != NULL)
        text =
            arena_printf(&loader->scratch, "; did you mean \"%s\"?", elsewhere);
    else if (nearest != NULL)
        text = arena_printf(&loader->scratch, "; did you mean \"%s%s%s\"?",
                            section, *section != '\0' ? "." : "", nearest);
    else if (option_find(name) >= 0)
        text = arena_printf(&loader->scratch,
                            "; a dot does not lead into a section: write "
                            "\"%.*s:\", and the rest indented below it",
                            (int)strcspn(name, "."), name);
    return text != NULL ? text : "; see tidemill.yaml(5)";
}

static void read_section(struct loader *loader, const struct node *map,
                         const char *section);

static void read_entry(struct loader *loader, const struct node *node,
                       const char *section)
{
    const char *path = arena_printf(&loader->scratch, "%s%s%s", section,
                                    *section != '\0' ? "." : "", node->key);
    if (path == NULL) {
        loader_error_at(loader, node->key_line, node->key_column, "no memory");
        return;
    }
    bool dotted = strchr(node->key, '.') != NULL;
    int index = dotted ? -1 : option_find(path);
    if (index >= 0) {
        set_from_node(loader, index, node);
    } else if (strcmp(path, TABLES_PATH) == 0 && !dotted) {
        loader_read_tables(loader, node);
    } else if (strcmp(path, SOURCES_PATH) == 0) {
        loader_read_sources(loader, node);
    } else if (dotted || !option_is_section(path)) {
        loader_error_at(loader, node->key_line, node->key_column,
                        "unknown option \"%.100s\"%s", path,
                        suggest(loader, section, node->key));
    } else if (node->kind == NODE_MAP) {
        read_section(loader, node, path);
    } else if (node->kind != NODE_NULL) {
        loader_error_at(loader, node->line, node->column,
                        "\"%s\" is a %s; it is a section: write its options "
                        "indented below it",
                        path, node_kind_name(node->kind));
    }
}

/* As deep as the longest path of an option. */
static void read_section(struct loader *loader, const struct node *map,
                         const char *section)
{
    for (const struct node *node = map->first; node != NULL; node = node->next)
        read_entry(loader, node, section);
}

void loader_read_file(struct loader *loader, const struct node *root)
{
    if (root->kind == NODE_MAP)
        read_section(loader, root, "");
    else if (root->kind != NODE_NULL)
        loader_error_at(loader, root->line, root->column,
                        "the file is a %s; a configuration is a map of "
                        "sections, such as \"sync:\" with its options "
                        "indented below it",
                        node_kind_name(root->kind));
}

/* Sets an option from a text of the request; the place is named by
 * `place`. */
static void set_from_text(struct loader *loader, int index, const char *text,
                          enum option_origin origin, const char *place)
{
    struct buffer why;
    buffer_init(&why, WHY_MAX);
    const char *copy = arena_strdup(&loader->config->arena, text);
    if (copy == NULL ||
        loader_set(loader, (enum option_index)index, copy, &why) != 0) {
        loader_error(loader, "%s: %s", place,
                     why.bytes != NULL ? why.bytes : "no memory");
    } else {
        loader->config->origins[index] = origin;
        loader->config->lines[index] = 0;
    }
    buffer_deinit(&why);
}

static int find_variable(const char *name, size_t size)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        char variable[OPTION_VARIABLE_MAX];
        option_variable(&option_table[i], variable);
        if (strlen(variable) == size && memcmp(variable, name, size) == 0)
            return i;
    }
    return -1;
}

/* Does the name begin with a section's, and so was meant for us? */
static bool names_section(const char *name, size_t size)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        char variable[OPTION_VARIABLE_MAX];
        option_variable(&option_table[i], variable);
        size_t length =
            strlen("TIDEMILL_") + strcspn(option_table[i].path, ".") + 1;
        if (size >= length && memcmp(variable, name, length) == 0)
            return true;
    }
    return false;
}

static void fail_variable(struct loader *loader, const char *name, size_t size)
{
    const char *candidates[OPTION_COUNT + 1] = {NULL};
    for (int i = 0; i < OPTION_COUNT; i++) {
        char variable[OPTION_VARIABLE_MAX];
        candidates[i] = arena_strdup(
            &loader->scratch, option_variable(&option_table[i], variable));
    }
    const char *copy = arena_copy(&loader->scratch, name, size);
    if (copy == NULL)
        loader_error(loader, "no memory");
    else if (strcmp(copy, "TIDEMILL_SYNC_TABLES") == 0)
        loader_error(loader, "%s: sync.tables can only be set in the file",
                     copy);
    else
        loader_error(loader, "%s: no option has this environment variable%s",
                     copy, loader_hint(loader, copy, candidates));
}

void loader_read_environment(struct loader *loader)
{
    char **entry = loader->request->environment;
    for (; entry != NULL && *entry != NULL; entry++) {
        const char *equals = strchr(*entry, '=');
        if (equals == NULL || strncmp(*entry, "TIDEMILL_", 9) != 0)
            continue;
        size_t size = (size_t)(equals - *entry);
        int index = find_variable(*entry, size);
        if (index >= 0) {
            char place[OPTION_VARIABLE_MAX];
            option_variable(&option_table[index], place);
            set_from_text(loader, index, equals + 1, ORIGIN_ENVIRONMENT, place);
        } else if (names_section(*entry, size)) {
            fail_variable(loader, *entry, size);
        }
    }
}

/* As suggest, for the first of several names with dots between them. */
static const char *suggest_first(struct loader *loader, const char *section,
                                 const char *names)
{
    const char *first =
        arena_copy(&loader->scratch, names, strcspn(names, "."));
    return first != NULL ? suggest(loader, section, first) : "";
}

/* An unknown path of -o: what is left of some dot is right. */
static void fail_override(struct loader *loader, const char *path)
{
    char section[256] = "";
    const char *name = path;
    for (const char *dot = strchr(path, '.'); dot != NULL;
         dot = strchr(dot + 1, '.')) {
        char longer[256];
        snprintf(longer, sizeof(longer), "%.*s", (int)(dot - path), path);
        if (!option_is_section(longer))
            break;
        memcpy(section, longer, sizeof(section));
        name = dot + 1;
    }
    if (strcmp(path, TABLES_PATH) == 0 || strcmp(path, SOURCES_PATH) == 0)
        loader_error(loader, "-o %s: can only be set in the file", path);
    else if (option_is_section(path))
        loader_error(loader, "-o %s: is a section; name one option in it",
                     path);
    else
        loader_error(loader, "-o %.100s: unknown option%s", path,
                     suggest_first(loader, section, name));
}

void loader_read_overrides(struct loader *loader)
{
    const char *const *override = loader->request->overrides;
    for (; override != NULL && *override != NULL; override++) {
        const char *equals = strchr(*override, '=');
        if (equals == NULL) {
            loader_error(loader, "-o %.100s: no \"=\"; write -o path=value",
                         *override);
            continue;
        }
        const char *path = arena_copy(&loader->scratch, *override,
                                      (size_t)(equals - *override));
        const char *place =
            path == NULL ? NULL : arena_printf(&loader->scratch, "-o %s", path);
        if (place == NULL) {
            loader_error(loader, "-o: no memory");
            return;
        }
        int index = option_find(path);
        if (index < 0)
            fail_override(loader, path);
        else
            set_from_text(loader, index, equals + 1, ORIGIN_COMMAND_LINE,
                          place);
    }
}
