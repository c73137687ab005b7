/* SPDX-License-Identifier: Apache-2.0 */
#include "common/config/aggregate_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_BYTES  200
#define VALUE_MAX_BYTES 512

void aggregate_text_wrong(struct aggregate_text *text, const char *format, ...)
{
    va_list arguments;
    if (text->wrong[0] != '\0')
        return;
    va_start(arguments, format);
    vsnprintf(text->wrong, sizeof(text->wrong), format, arguments);
    va_end(arguments);
    text->wrong_at = text->at;
}

static bool is_well(const struct aggregate_text *text)
{
    return text->wrong[0] == '\0';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool aggregate_text_more(struct aggregate_text *text)
{
    text->at += strspn(text->at, " \t\r\n");
    return is_well(text) && *text->at != '\0';
}

bool aggregate_text_take(struct aggregate_text *text, const char *word)
{
    size_t size = strlen(word);
    if (!aggregate_text_more(text) || strncmp(text->at, word, size) != 0)
        return false;
    char next = text->at[size];
    if (is_letter(word[0]) && (is_letter(next) || is_digit(next) ||
                               next == '.' || next == '|' || next == '-'))
        return false;
    text->at += size;
    return true;
}

static const char *take_bytes(struct aggregate_text *text, size_t size)
{
    const char *copy = arena_copy(text->arena, text->at, size);
    if (copy == NULL)
        aggregate_text_wrong(text, "no memory for it");
    text->at += size;
    return copy != NULL ? copy : "";
}

/* "a" or "a.b": words of letters, digits, _ and -. */
static size_t path_length(const char *text)
{
    size_t size = 0;
    for (;;) {
        if (!is_letter(text[size]))
            return 0;
        while (is_letter(text[size]) || is_digit(text[size]) ||
               text[size] == '-')
            size++;
        if (text[size] != '.')
            return size;
        size++;
    }
}

static void take_alternative(struct aggregate_text *text,
                             struct aggregate_path *path)
{
    size_t size = aggregate_text_more(text) ? path_length(text->at) : 0;
    if (size == 0 || size > PATH_MAX_BYTES)
        aggregate_text_wrong(text,
                             "a member of the record is wanted before "
                             "\"%.40s\", as amount or detail.amount",
                             text->at);
    else if (path->count == AGGREGATE_ALTERNATIVES_MAX)
        aggregate_text_wrong(text, "more than %d alternatives",
                             AGGREGATE_ALTERNATIVES_MAX);
    else
        path->alternatives[path->count++] = take_bytes(text, size);
}

void aggregate_text_path(struct aggregate_text *text,
                         struct aggregate_path *path)
{
    path->count = 0;
    do
        take_alternative(text, path);
    while (is_well(text) && aggregate_text_take(text, "|"));
}

/* --- values --- */

static size_t number_length(const char *text)
{
    char *end;
    size_t size = strspn(text, "-0123456789.eE+");
    bool plain = is_digit(text[text[0] == '-']);
    strtod(text, &end);
    return plain && size > 0 && end == text + size && size < 30 ? size : 0;
}

static size_t word_length(const char *text)
{
    size_t size = 0;
    while (is_letter(text[size]) || is_digit(text[size]) ||
           (text[size] != '\0' && strchr(".-:/@+*", text[size]) != NULL))
        size++;
    return size;
}

/* 'it''s' stands for it's. */
static void take_quoted(struct aggregate_text *text,
                        struct aggregate_value *value)
{
    char *into = arena_alloc(text->arena, strlen(text->at) + 1);
    const char *from = text->at + 1;
    size_t size = 0;
    if (into == NULL) {
        aggregate_text_wrong(text, "no memory for it");
        return;
    }
    for (; *from != '\0'; from++) {
        if (*from == '\'' && from[1] != '\'')
            break;
        from += *from == '\'';
        into[size++] = *from;
    }
    into[size] = '\0';
    if (*from == '\0' || size > VALUE_MAX_BYTES) {
        aggregate_text_wrong(text,
                             "a text in '' is not closed, or has more "
                             "than %d bytes",
                             VALUE_MAX_BYTES);
        return;
    }
    text->at = from + 1;
    value->text = into;
}

static void take_value(struct aggregate_text *text,
                       struct aggregate_value *value)
{
    *value = (struct aggregate_value){.text = ""};
    if (!aggregate_text_more(text)) {
        aggregate_text_wrong(text, "a value is wanted at the end");
        return;
    }
    size_t size = number_length(text->at);
    size_t word = word_length(text->at);
    if (*text->at == '\'') {
        take_quoted(text, value);
    } else if (word == 0 || word > VALUE_MAX_BYTES) {
        aggregate_text_wrong(text,
                             "a number, true, false, a word or 'text' "
                             "is wanted before \"%.40s\"",
                             text->at);
    } else if (size == word) {
        value->is_number = true;
        value->text = take_bytes(text, size);
    } else {
        value->text = take_bytes(text, word);
        bool yes = strcmp(value->text, "true") == 0;
        if (yes || strcmp(value->text, "false") == 0)
            *value = (struct aggregate_value){yes ? "1" : "0", true};
    }
}

static void take_values(struct aggregate_text *text,
                        struct aggregate_term *term)
{
    bool several = term->comparison <= AGGREGATE_UNEQUAL;
    struct aggregate_value values[AGGREGATE_VALUES_MAX];
    do {
        if (term->value_count == AGGREGATE_VALUES_MAX) {
            aggregate_text_wrong(text, "more than %d values",
                                 AGGREGATE_VALUES_MAX);
            return;
        }
        take_value(text, &values[term->value_count++]);
    } while (several && is_well(text) && aggregate_text_take(text, "|"));
    term->values =
        arena_calloc(text->arena, term->value_count, sizeof(*term->values));
    if (term->values == NULL)
        aggregate_text_wrong(text, "no memory for it");
    else
        memcpy(term->values, values, term->value_count * sizeof(values[0]));
}

/* --- conditions --- */

static void take_term(struct aggregate_text *text, struct aggregate_term *term)
{
    /* Longer ones before those that they begin with. */
    static const struct {
        const char *word;
        enum aggregate_comparison comparison;
    } operators[] = {
        {"!=", AGGREGATE_UNEQUAL},    {"<=", AGGREGATE_AT_MOST},
        {">=", AGGREGATE_AT_LEAST},   {"=", AGGREGATE_EQUAL},
        {"<", AGGREGATE_LESS},        {">", AGGREGATE_GREATER},
        {"exists", AGGREGATE_EXISTS}, {"missing", AGGREGATE_MISSING},
    };
    size_t count = sizeof(operators) / sizeof(operators[0]);
    size_t i = 0;
    aggregate_text_path(text, &term->path);
    while (i < count && !aggregate_text_take(text, operators[i].word))
        i++;
    if (i == count) {
        aggregate_text_wrong(text,
                             "one of = != < <= > >= exists missing is "
                             "wanted before \"%.40s\"",
                             text->at);
        return;
    }
    term->comparison = operators[i].comparison;
    if (term->comparison < AGGREGATE_EXISTS)
        take_values(text, term);
}

void aggregate_text_condition(struct aggregate_text *text,
                              struct aggregate_condition *condition)
{
    struct aggregate_term *terms =
        arena_calloc(text->arena, AGGREGATE_TERMS_MAX, sizeof(*terms));
    if (terms == NULL) {
        aggregate_text_wrong(text, "no memory for it");
        return;
    }
    *condition = (struct aggregate_condition){.terms = terms};
    bool or_before = false;
    do {
        if (condition->term_count == AGGREGATE_TERMS_MAX) {
            aggregate_text_wrong(text, "more than %d terms",
                                 AGGREGATE_TERMS_MAX);
            return;
        }
        struct aggregate_term *term = &terms[condition->term_count++];
        term->or_before = or_before;
        take_term(text, term);
        or_before = aggregate_text_take(text, "or");
    } while (is_well(text) && (or_before || aggregate_text_take(text, "and")));
}

unsigned aggregate_text_number(struct aggregate_text *text, unsigned least,
                               unsigned most)
{
    size_t size =
        aggregate_text_more(text) ? strspn(text->at, "0123456789") : 0;
    unsigned long number =
        size > 0 && size < 8 ? strtoul(text->at, NULL, 10) : 0;
    if (number < least || number > most)
        aggregate_text_wrong(text, "a number from %u to %u is wanted", least,
                             most);
    else
        text->at += size;
    return (unsigned)number;
}
