/* SPDX-License-Identifier: Apache-2.0 */
#include "common/mustache/lambda.h"

#include <string.h>

#include "common/mustache/escape.h"

#define INDENT "    "

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_lower(char c)
{
    return (c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char to_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static char to_lower(char c)
{
    return is_upper(c) ? (char)(c - 'A' + 'a') : c;
}

static bool is_word(char c)
{
    return is_upper(c) || is_lower(c) || is_digit(c);
}

/* Does a word begin at text[i]?  At fooBar's B, and at HTTPRequest's R. */
static bool word_begins(const char *text, size_t size, size_t i)
{
    if (i == 0 || !is_word(text[i - 1]))
        return true;
    if (!is_upper(text[i]))
        return false;
    return !is_upper(text[i - 1]) || (i + 1 < size && is_lower(text[i + 1]));
}

/* The words of a text, put together anew: `joint` between them (0: none),
 * capitals at the first word's and at the other words' beginning? */
static void put_words(const char *text, size_t size, char joint,
                      bool first_capital, bool other_capital,
                      struct buffer *out)
{
    bool first = true;
    for (size_t i = 0; i < size; i++) {
        if (!is_word(text[i]))
            continue;
        char c = to_lower(text[i]);
        if (word_begins(text, size, i)) {
            if (!first && joint != '\0')
                buffer_append_char(out, joint);
            if (first ? first_capital : other_capital)
                c = to_upper(c);
            first = false;
        }
        buffer_append_char(out, c);
    }
}

static void put_snake(const char *text, size_t size, struct buffer *out)
{
    put_words(text, size, '_', false, false, out);
}

static void put_kebab(const char *text, size_t size, struct buffer *out)
{
    put_words(text, size, '-', false, false, out);
}

static void put_camel(const char *text, size_t size, struct buffer *out)
{
    put_words(text, size, '\0', false, true, out);
}

static void put_pascal(const char *text, size_t size, struct buffer *out)
{
    put_words(text, size, '\0', true, true, out);
}

static void put_upper(const char *text, size_t size, struct buffer *out)
{
    for (size_t i = 0; i < size; i++)
        buffer_append_char(out, to_upper(text[i]));
}

static void put_lower(const char *text, size_t size, struct buffer *out)
{
    for (size_t i = 0; i < size; i++)
        buffer_append_char(out, to_lower(text[i]));
}

/* Four spaces before each line that is not empty. */
static void put_indent(const char *text, size_t size, struct buffer *out)
{
    bool line_begins = true;
    for (size_t i = 0; i < size; i++) {
        if (line_begins && text[i] != '\n' && text[i] != '\r')
            buffer_append_text(out, INDENT);
        buffer_append_char(out, text[i]);
        line_begins = text[i] == '\n';
    }
}

static void put_c_string(const char *text, size_t size, struct buffer *out)
{
    buffer_append_char(out, '"');
    escape_append(MUSTACHE_ESCAPE_C, text, size, out);
    buffer_append_char(out, '"');
}

static void put_json(const char *text, size_t size, struct buffer *out)
{
    buffer_append_char(out, '"');
    escape_append(MUSTACHE_ESCAPE_JSON, text, size, out);
    buffer_append_char(out, '"');
}

static void put_sql_string(const char *text, size_t size, struct buffer *out)
{
    buffer_append_char(out, '\'');
    escape_append(MUSTACHE_ESCAPE_SQL, text, size, out);
    buffer_append_char(out, '\'');
}

static const struct {
    const char *name;
    void (*put)(const char *text, size_t size, struct buffer *out);
} lambdas[] = {{"", NULL},
#define X(name, function, words) {#name, function},
               LAMBDA_LIST(X)
#undef X
};

uint32_t lambda_find(const char *name, size_t size)
{
    for (uint32_t i = 1; i < LAMBDA_COUNT; i++)
        if (strlen(lambdas[i].name) == size &&
            memcmp(lambdas[i].name, name, size) == 0)
            return i;
    return LAMBDA_NONE;
}

void lambda_apply(uint32_t lambda, const char *text, size_t size,
                  struct buffer *out)
{
    lambdas[lambda].put(text, size, out);
}
