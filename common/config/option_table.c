/* SPDX-License-Identifier: Apache-2.0 */
#include "common/config/option_table.h"

#include <stdio.h>
#include <string.h>

#define X(member, ...)                                                         \
    static const char *const words_##member[] = {__VA_ARGS__, NULL};
OPTION_CHOICE_LIST(X)
#undef X

#define WORDS_BOOL(member)     NULL
#define WORDS_INT(member)      NULL
#define WORDS_REAL(member)     NULL
#define WORDS_DURATION(member) NULL
#define WORDS_SIZE(member)     NULL
#define WORDS_TEXT(member)     NULL
#define WORDS_PATH(member)     NULL
#define WORDS_MODE(member)     NULL
#define WORDS_CHOICE(member)   words_##member

const struct option option_table[OPTION_COUNT] = {
#define X(path_, member, type_, default_, minimum_, maximum_, cost_, secret_,  \
          sentence_)                                                           \
    {.path = path_,                                                            \
     .type = OPTION_##type_,                                                   \
     .offset = offsetof(struct config, member),                                \
     .fallback = default_,                                                     \
     .minimum = minimum_,                                                      \
     .maximum = maximum_,                                                      \
     .cost = COST_##cost_,                                                     \
     .secret = secret_,                                                        \
     .sentence = sentence_,                                                    \
     .words = WORDS_##type_(member)},
    OPTION_LIST(X)
#undef X
};

int option_find(const char *path)
{
    for (int i = 0; i < OPTION_COUNT; i++)
        if (strcmp(option_table[i].path, path) == 0)
            return i;
    return -1;
}

bool option_is_section(const char *path)
{
    size_t size = strlen(path);
    for (int i = 0; i < OPTION_COUNT; i++)
        if (strncmp(option_table[i].path, path, size) == 0 &&
            option_table[i].path[size] == '.')
            return true;
    return false;
}

char *option_variable(const struct option *option, char *name)
{
    snprintf(name, OPTION_VARIABLE_MAX, "TIDEMILL_%s", option->path);
    for (char *c = name; *c != '\0'; c++) {
        if (*c == '.')
            *c = '_';
        else if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    }
    return name;
}

void option_describe_cost(unsigned cost, struct buffer *out)
{
    if (cost == COST_LIVE) {
        buffer_append_text(out, "live");
        return;
    }
    if (cost & COST_RESTART) {
        buffer_append_text(out, "restart");
        return;
    }
    if (cost == COST_RESPAWN_ALL) {
        buffer_append_text(out, "respawn of all workers");
        return;
    }
    static const char *const names[] = {
#define X(name, text, pool) text,
        ROLE_LIST(X)
#undef X
    };
    const char *before = "respawn of ";
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        if (cost & 1u << role) {
            buffer_printf(out, "%s%s", before, names[role]);
            before = ", ";
        }
}

static bool is_text(const struct option *option)
{
    return option->type == OPTION_TEXT || option->type == OPTION_PATH;
}

union option_value option_get(const struct option *option,
                              const struct config *config)
{
    const char *member = (const char *)config + option->offset;
    union option_value value = {0};
    if (option->type == OPTION_BOOL)
        memcpy(&value.boolean, member, sizeof(value.boolean));
    else if (option->type == OPTION_REAL)
        memcpy(&value.real, member, sizeof(value.real));
    else if (is_text(option))
        memcpy(&value.text, member, sizeof(value.text));
    else
        memcpy(&value.integer, member, sizeof(value.integer));
    return value;
}

void option_set(const struct option *option, struct config *config,
                const union option_value *value)
{
    char *member = (char *)config + option->offset;
    if (option->type == OPTION_BOOL)
        memcpy(member, &value->boolean, sizeof(value->boolean));
    else if (option->type == OPTION_REAL)
        memcpy(member, &value->real, sizeof(value->real));
    else if (is_text(option))
        memcpy(member, &value->text, sizeof(value->text));
    else
        memcpy(member, &value->integer, sizeof(value->integer));
}

bool option_equal(const struct option *option, const union option_value *a,
                  const union option_value *b)
{
    if (option->type == OPTION_BOOL)
        return a->boolean == b->boolean;
    if (option->type == OPTION_REAL)
        return !(a->real < b->real) && !(a->real > b->real);
    if (is_text(option))
        return strcmp(a->text, b->text) == 0;
    return a->integer == b->integer;
}
