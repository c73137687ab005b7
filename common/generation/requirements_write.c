/* SPDX-License-Identifier: Apache-2.0
 *
 * Requirements to a contract, as YAML.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/generation/mixins.h"
#include "common/generation/names.h"
#include "common/generation/requirements.h"

#define NAME_WORDS_MAX 4

struct write {
    struct arena *arena;
    struct requirements *from;
    struct buffer *errors;
    struct buffer yaml;
    unsigned *lines;
    size_t line_count, line_room;
};

/* A line of YAML that comes from this line of the Markdown. */
static void put(struct write *write, unsigned line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put(struct write *write, unsigned line, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (write->line_count == write->line_room) {
        write->yaml.failed = true;
        return;
    }
    write->lines[write->line_count++] = line;
    buffer_append_text(&write->yaml, text);
    buffer_append_char(&write->yaml, '\n');
}

/* "KEY: ", or for a list "- ", with a value, as it is or as a text that YAML
 * reads; however long. */
static void put_value(struct write *write, unsigned line, const char *key,
                      const char *value, bool as_text)
{
    size_t length = strlen(key);
    if (write->line_count == write->line_room) {
        write->yaml.failed = true;
        return;
    }
    write->lines[write->line_count++] = line;
    buffer_append_text(&write->yaml, key);
    if (length > 0 && key[length - 1] != ' ')
        buffer_append_text(&write->yaml, ": ");
    if (as_text)
        buffer_append_json(&write->yaml, value, strlen(value));
    else
        buffer_append_text(&write->yaml, value);
    buffer_append_char(&write->yaml, '\n');
}

static void put_text(struct write *write, unsigned line, const char *key,
                     const char *text)
{
    put_value(write, line, key, text, true);
}

static void complain(struct write *write, unsigned line, const char *what)
{
    buffer_printf(write->errors, "%s:%u: %s\n", write->from->name, line, what);
}

static bool is_small_word(const char *word, size_t size)
{
    static const char *const small[] = {"a",    "an",  "and", "by",  "for",
                                        "from", "in",  "its", "of",  "on",
                                        "or",   "the", "to",  "with"};
    for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++) {
        if (strlen(small[i]) == size && strncasecmp(small[i], word, size) == 0)
            return true;
    }
    return false;
}

/* The first words as snake_case, with or without small words; "" when nothing
 * usable is there. */
static const char *snake_of(struct write *write, const char *text, size_t size,
                            bool small_words)
{
    char *snake = arena_alloc(write->arena, NAME_SIZE_MAX + 2);
    size_t length = 0;
    unsigned words = 0;
    if (snake == NULL) {
        write->yaml.failed = true;
        return "";
    }
    for (size_t at = 0; at < size && words < NAME_WORDS_MAX;) {
        size_t word = 0;
        while (at + word < size && isalnum((unsigned char)text[at + word]))
            word++;
        const char *from = text + at;
        at += word + 1;
        if (word == 0 || (!small_words && is_small_word(from, word)) ||
            (length == 0 && !isalpha((unsigned char)*from)))
            continue;
        if (length + word + 1 > NAME_SIZE_MAX - 1)
            break;
        if (length > 0)
            snake[length++] = '_';
        for (size_t i = 0; i < word; i++)
            snake[length++] = (char)tolower((unsigned char)from[i]);
        words++;
    }
    snake[length] = '\0';
    if (length > 0 && name_is_keyword(snake))
        snake[length] = '_', snake[length + 1] = '\0';
    return snake;
}

/* "NAME: what it does", or what it does in words of which the first are its
 * name; *words is the description. */
static const char *operation_name(struct write *write, const char *text,
                                  const char **words)
{
    size_t size = strcspn(text, " :");
    *words = text;
    if (text[size] == ':' && size > 0 && text[size + 1] == ' ')
        *words = text + size + 2;
    else
        size = strcspn(text, ":");
    const char *name = snake_of(write, text, size, false);
    return *name != '\0' ? name : snake_of(write, text, size, true);
}

/* "Domain: Service", or the service alone. */
static void put_title(struct write *write)
{
    const struct requirements *from = write->from;
    const char *title = from->title.text;
    const char *colon = strchr(title, ':');
    const char *service = colon == NULL ? title : colon + 1;
    unsigned line = from->title.line, domain_line = line, service_line = line;
    size_t at = 0;
    const char *domain = requirements_detail(from, "Domain", &at, &domain_line);
    at = 0;
    const char *given =
        requirements_detail(from, "Service", &at, &service_line);
    const char *words = domain != NULL  ? domain
                        : colon == NULL ? "general"
                                        : title;
    size_t size = domain == NULL && colon != NULL ? (size_t)(colon - title)
                                                  : strlen(words);
    domain = snake_of(write, words, size, true);
    if (given != NULL)
        service = given;
    service = snake_of(write, service, strlen(service), true);
    if (*domain == '\0')
        complain(write, domain_line,
                 "no domain can be made from this; begin with a letter");
    if (*service == '\0')
        complain(write, service_line,
                 "no name of a service can be made from this; begin with a "
                 "letter");
    put(write, domain_line, "domain: %s", domain);
    put(write, service_line, "service: %s", service);
}

static void put_version(struct write *write)
{
    unsigned line = 1, major = 1, minor = 0, patch = 0;
    int used = 0;
    size_t at = 0;
    const char *text = requirements_detail(write->from, "Version", &at, &line);
    if (text != NULL &&
        (sscanf(text, "%6u.%6u.%6u%n", &major, &minor, &patch, &used) != 3 ||
         text[used] != '\0'))
        complain(write, line, "is no version; write it as 1.0.0");
    put(write, line, "version: {major: %u, minor: %u, patch: %u}", major, minor,
        patch);
}

static void put_operations(struct write *write)
{
    const struct requirement_list *list =
        &write->from->sections[SECTION_FUNCTIONAL];
    const char *before = NULL;
    put(write, write->from->heading_lines[SECTION_FUNCTIONAL], "operations:");
    for (size_t i = 0; i < list->count; i++) {
        const struct requirement *item = &list->items[i];
        const char *words;
        const char *name = operation_name(write, item->text, &words);
        if (*name == '\0') {
            complain(write, item->line,
                     "no operation can be named from this; begin with words, "
                     "or with NAME:");
            continue;
        }
        put(write, item->line, "  - name: %s", name);
        put_text(write, item->line, "    description", words);
        if (before != NULL && write->from->node_type == NODE_TYPE_ORCHESTRATOR)
            put(write, item->line, "    depends_on: [%s]", before);
        before = name;
    }
}

/* "sum of amount" */
static void put_fold(struct write *write, unsigned line, const char *text)
{
    size_t word = strcspn(text, " ");
    const char *of = text + word;
    of += strspn(of, " ");
    char *fold = arena_copy(write->arena, text, word);
    if (fold == NULL)
        write->yaml.failed = true;
    else
        put_text(write, line, "        fold", fold);
    if (strncmp(of, "of ", 3) == 0)
        put_text(write, line, "        of", of + 3);
    else if (*of != '\0')
        complain(write, line, "a fold is written as '= sum of FIELD'");
}

/* By itself first: one that is open would swallow the lines behind it. */
static void put_default(struct write *write, unsigned line, const char *value)
{
    struct node *node;
    struct error error;
    if (document_read_yaml(write->arena, write->from->name, value,
                           strlen(value), &document_limits_default, &node,
                           &error) != 0)
        complain(write, line,
                 "the value behind '=' is none; write it as in YAML: 5, 0.5, "
                 "true, \"text\", [a, b] or {a: 1}");
    else
        put_value(write, line, "        default", value, false);
}

/* What is behind "name (type)": ": description" or "= value -- description".
 */
static void put_field_rest(struct write *write, unsigned line,
                           const char *model, const char *rest)
{
    const char *words = NULL;
    if (*rest == '=') {
        const char *value = rest + 1 + strspn(rest + 1, " ");
        words = strstr(value, " -- ");
        size_t size = words == NULL ? strlen(value) : (size_t)(words - value);
        char *copy = arena_copy(write->arena, value, size);
        words = words == NULL ? NULL : words + 4;
        bool output = strcmp(model, "output") == 0;
        if (copy == NULL)
            write->yaml.failed = true;
        else if (output && write->from->node_type == NODE_TYPE_COMPUTE)
            put_text(write, line, "        formula", copy);
        else if (output && write->from->node_type == NODE_TYPE_REDUCER)
            put_fold(write, line, copy);
        else
            put_default(write, line, copy);
    } else if (*rest == ':' || *rest == '-' || *rest == ',') {
        words = rest + strspn(rest, ":-, ");
    } else if (*rest != '\0') {
        complain(write, line,
                 "a field is written as 'name (type): description' or 'name "
                 "(type) = value -- description'");
    }
    if (words != NULL && *words != '\0')
        put_text(write, line, "        description", words);
}

/* "name (type) ..." */
static void put_field(struct write *write, unsigned line, const char *model,
                      const char *text)
{
    const char *open = strchr(text, '(');
    const char *close = open == NULL ? NULL : strchr(open, ')');
    if (close == NULL || close - open > 20 || open - text > NAME_SIZE_MAX) {
        complain(write, line,
                 "a field needs its type; write 'name (str)', with str, int, "
                 "float, bool, list or dict");
        return;
    }
    const char *name = snake_of(write, text, (size_t)(open - text), true);
    char type[24];
    snprintf(type, sizeof(type), "%.*s", (int)(close - open - 1), open + 1);
    if (*name == '\0')
        complain(write, line, "a field needs a name before its type");
    put(write, line, "      - name: %s", name);
    put_text(write, line, "        type", type);
    put_field_rest(write, line, model, close + 1 + strspn(close + 1, " "));
}

/* Those that are given, or else one that holds anything. */
static void put_model(struct write *write, const char *model, const char *key,
                      const char *otherwise)
{
    unsigned line = write->from->title.line;
    size_t at = 0;
    const char *text = requirements_detail(write->from, key, &at, &line);
    if (text == NULL && otherwise == NULL)
        return;
    put(write, line, "  %s:", model);
    if (text == NULL)
        put(write, line, "%s", otherwise);
    for (; text != NULL;
         text = requirements_detail(write->from, key, &at, &line))
        put_field(write, line, model, text);
}

static void put_models(struct write *write)
{
    static const char *const results[] = {
        [NODE_TYPE_EFFECT] = "      - {name: result, type: dict}",
        [NODE_TYPE_COMPUTE] = "      - {name: payload, type: dict}",
        [NODE_TYPE_REDUCER] =
            "      - {name: items, type: list, fold: append, of: payload}",
        [NODE_TYPE_ORCHESTRATOR] = "      - {name: result, type: dict}",
    };
    put(write, write->from->title.line, "models:");
    put_model(write, "input", "Input", "      - {name: payload, type: dict}");
    put_model(write, "output", "Output", results[write->from->node_type]);
    put_model(write, "config", "Setting", NULL);
}

static void put_features(struct write *write)
{
    const struct requirement_list *list =
        &write->from->sections[SECTION_FEATURES];
    if (list->count == 0)
        return;
    put(write, write->from->heading_lines[SECTION_FEATURES], "features:");
    for (size_t i = 0; i < list->count; i++)
        put_text(write, list->items[i].line, "  - ", list->items[i].text);
}

/* "PostgreSQL >= 15: what for" */
static void put_dependency(struct write *write, const struct requirement *item)
{
    const char *colon = strstr(item->text, ": ");
    size_t size =
        colon == NULL ? strlen(item->text) : (size_t)(colon - item->text);
    size_t name = strcspn(item->text, "<>=~^!:");
    for (size_t i = 1; i < size && i < name; i++) {
        if (item->text[i - 1] == ' ' && isdigit((unsigned char)item->text[i]))
            name = i;
    }
    name = name > size ? size : name;
    char *version = arena_copy(write->arena, item->text + name, size - name);
    while (name > 0 && item->text[name - 1] == ' ')
        name--;
    char *text = arena_copy(write->arena, item->text, name);
    if (text == NULL || version == NULL) {
        write->yaml.failed = true;
        return;
    }
    if (*text == '\0') {
        complain(write, item->line, "a dependency needs a name");
        return;
    }
    put_text(write, item->line, "  - name", text);
    if (*version != '\0')
        put_text(write, item->line, "    version", version);
    if (colon != NULL && colon[2] != '\0')
        put_text(write, item->line, "    description", colon + 2);
}

static void put_dependencies(struct write *write)
{
    const struct requirement_list *list =
        &write->from->sections[SECTION_DEPENDENCIES];
    if (list->count == 0)
        return;
    put(write, write->from->heading_lines[SECTION_DEPENDENCIES],
        "dependencies:");
    for (size_t i = 0; i < list->count; i++)
        put_dependency(write, &list->items[i]);
}

static void put_topics(struct write *write)
{
    static const char *const keys[][2] = {{"publish", "Publishes"},
                                          {"subscribe", "Subscribes"}};
    bool begun = false;
    for (size_t i = 0; i < 2; i++) {
        size_t at = 0;
        unsigned line = 1;
        const char *text;
        bool first = true;
        while ((text = requirements_detail(write->from, keys[i][1], &at,
                                           &line)) != NULL) {
            if (!begun)
                put(write, line, "events:");
            if (first)
                put(write, line, "  %s:", keys[i][0]);
            begun = true;
            first = false;
            put_text(write, line, "    - ", text);
        }
    }
}

/* "Caching, Audit": in the order of the text, so that errors name it. */
static bool put_given_mixins(struct write *write)
{
    unsigned line = 1;
    size_t at = 0;
    const char *text = requirements_detail(write->from, "Mixins", &at, &line);
    if (text == NULL)
        return false;
    put(write, line, "mixins:");
    while (*text != '\0') {
        size_t size = strcspn(text, ",");
        size_t trimmed = size;
        while (trimmed > 0 && text[trimmed - 1] == ' ')
            trimmed--;
        char *name = arena_copy(write->arena, text, trimmed);
        if (name == NULL)
            write->yaml.failed = true;
        else
            put_text(write, line, "  - ", name);
        text += size;
        text += strspn(text, ", ");
    }
    return true;
}

/* Those that the words ask for, but for what the node type refuses. */
static void put_mixins(struct write *write)
{
    struct requirements *from = write->from;
    if (put_given_mixins(write))
        return;
    bool begun = false;
    for (int i = 0; i < MIXIN_COUNT; i++) {
        if ((from->capabilities & 1u << i) == 0)
            continue;
        if (mixin_refusal((enum mixin)i, from->node_type) != NULL) {
            from->dropped |= 1u << i;
            continue;
        }
        if (!begun)
            put(write, from->title.line, "mixins:");
        begun = true;
        put(write, from->title.line, "  - %s",
            mixin_about((enum mixin)i)->name);
    }
}

static void put_head(struct write *write)
{
    const struct requirements *from = write->from;
    unsigned line = from->title.line;
    size_t at = 0;
    (void)requirements_detail(from, "Node type", &at, &line);
    put(write, line, "node_type: %s", node_type_name(from->node_type));
    put_title(write);
    bool has = from->overview.text != NULL && *from->overview.text != '\0';
    put_text(write, has ? from->overview.line : from->title.line, "description",
             has ? from->overview.text : from->title.text);
    put_version(write);
    at = 0;
    const char *author = requirements_detail(from, "Author", &at, &line);
    if (author != NULL)
        put_text(write, line, "author", author);
}

int requirements_write(struct arena *arena, struct requirements *requirements,
                       struct buffer *errors)
{
    struct write write = {.arena = arena,
                          .from = requirements,
                          .errors = errors,
                          .line_room =
                              100 + 6 * SECTION_COUNT * REQUIREMENT_ITEMS_MAX};
    write.lines = arena_calloc(arena, write.line_room, sizeof(*write.lines));
    if (write.lines == NULL)
        return -1;
    buffer_init(&write.yaml, 8 * CONTRACT_BYTES_MAX);
    put_head(&write);
    put_features(&write);
    put_operations(&write);
    put_models(&write);
    put_dependencies(&write);
    put_topics(&write);
    put_mixins(&write);
    requirements->contract_size = write.yaml.size;
    requirements->contract =
        write.yaml.failed
            ? NULL
            : arena_copy(arena, write.yaml.bytes, write.yaml.size);
    requirements->lines = write.lines;
    requirements->line_count = write.line_count;
    buffer_deinit(&write.yaml);
    return requirements->contract == NULL ? -1 : 0;
}
