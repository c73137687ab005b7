/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/names.h"

#include <ctype.h>
#include <string.h>

/* https://docs.python.org/3.11/reference/lexical_analysis.html#keywords,
 * those that snake_case can spell.  The soft ones (match, case) are names. */
static const char *const keywords[] = {
    "and",      "as",       "assert", "async", "await",  "break",  "class",
    "continue", "def",      "del",    "elif",  "else",   "except", "finally",
    "for",      "from",     "global", "if",    "import", "in",     "is",
    "lambda",   "nonlocal", "not",    "or",    "pass",   "raise",  "return",
    "try",      "while",    "with",   "yield",
};

bool name_is_snake(const char *text)
{
    size_t size = strlen(text);
    if (size == 0 || size > NAME_SIZE_MAX || text[0] < 'a' || text[0] > 'z')
        return false;
    return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == size;
}

bool name_is_keyword(const char *text)
{
    for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
        if (strcmp(text, keywords[i]) == 0)
            return true;
    }
    return false;
}

const char *name_to_snake(struct arena *arena, const char *text)
{
    char *snake = arena_alloc(arena, strlen(text) * 2 + 1);
    if (snake == NULL)
        return NULL;
    size_t size = 0;
    for (size_t i = 0; text[i] != '\0'; i++) {
        unsigned char c = (unsigned char)text[i];
        bool after_small = i > 0 && islower((unsigned char)text[i - 1]);
        if (isascii(c) && isalnum(c)) {
            if (isupper(c) && after_small && size > 0)
                snake[size++] = '_';
            snake[size++] = (char)tolower(c);
        } else if (size > 0 && snake[size - 1] != '_') {
            snake[size++] = '_';
        }
    }
    while (size > 0 && snake[size - 1] == '_')
        size--;
    snake[size] = '\0';
    const char *start = snake;
    while (*start != '\0' && !islower((unsigned char)*start))
        start++;
    return name_is_snake(start) ? start : NULL;
}

const char *name_to_pascal(struct arena *arena, const char *snake)
{
    char *pascal = arena_alloc(arena, strlen(snake) + 1);
    if (pascal == NULL)
        return NULL;
    size_t size = 0;
    bool capital = true;
    for (const char *at = snake; *at != '\0'; at++) {
        if (*at == '_') {
            capital = true;
            continue;
        }
        pascal[size++] =
            (char)(capital ? toupper((unsigned char)*at) : (unsigned char)*at);
        capital = false;
    }
    pascal[size] = '\0';
    return pascal;
}

const char *name_to_upper(struct arena *arena, const char *snake)
{
    char *upper = arena_strdup(arena, snake);
    for (char *at = upper; at != NULL && *at != '\0'; at++)
        *at = (char)toupper((unsigned char)*at);
    return upper;
}

const char *name_to_json(struct arena *arena, const char *text)
{
    struct buffer json;
    buffer_init(&json, 8 * strlen(text) + 16);
    buffer_append_json(&json, text, strlen(text));
    const char *copy =
        json.failed ? NULL : arena_copy(arena, json.bytes, json.size);
    buffer_deinit(&json);
    return copy;
}

/* JSON's escapes are Python's; what Python would read otherwise is DEL and
 * nothing else, and that is fine in a literal. */
static void put_python_text(struct buffer *out, const struct node *value)
{
    buffer_append_json(out, value->text, value->text_size);
}

static void put_python_items(struct buffer *out, const struct node *value)
{
    bool is_map = value->kind == NODE_MAP;
    buffer_append_char(out, is_map ? '{' : '[');
    for (const struct node *item = value->first; item != NULL;
         item = item->next) {
        if (item != value->first)
            buffer_append_text(out, ", ");
        if (is_map) {
            buffer_append_json(out, item->key, item->key_size);
            buffer_append_text(out, ": ");
        }
        name_put_python(out, item);
    }
    buffer_append_char(out, is_map ? '}' : ']');
}

void name_put_python(struct buffer *out, const struct node *value)
{
    switch (value->kind) {
    case NODE_NULL:
        buffer_append_text(out, "None");
        break;
    case NODE_BOOL:
        buffer_append_text(out, value->boolean ? "True" : "False");
        break;
    case NODE_NUMBER:
        buffer_append(out, value->text, value->text_size);
        break;
    case NODE_STRING:
        put_python_text(out, value);
        break;
    case NODE_LIST:
    case NODE_MAP:
        put_python_items(out, value);
        break;
    }
}

bool name_is_decimal(const char *text, bool fraction_allowed)
{
    const char *digits = "0123456789";
    const char *at = text + (*text == '-');
    size_t whole = strspn(at, digits);
    if (whole == 0 || (whole > 1 && *at == '0') || whole > 300)
        return false;
    at += whole;
    if (fraction_allowed && *at == '.') {
        size_t fraction = strspn(at + 1, digits);
        if (fraction == 0)
            return false;
        at += 1 + fraction;
    }
    if (fraction_allowed && (*at == 'e' || *at == 'E')) {
        at++;
        at += *at == '+' || *at == '-';
        size_t exponent = strspn(at, digits);
        if (exponent == 0)
            return false;
        at += exponent;
    }
    return *at == '\0';
}

const char *name_to_sentence(struct arena *arena, const char *text)
{
    char *sentence = arena_alloc(arena, strlen(text) * 2 + 2);
    if (sentence == NULL)
        return NULL;
    size_t size = 0;
    unsigned quotes = 0;
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        if (c <= ' ' || c == 0x7f) {
            if (size > 0 && sentence[size - 1] != ' ')
                sentence[size++] = ' ';
            continue;
        }
        quotes = c == '"' ? quotes + 1 : 0;
        if (c == '\\')
            sentence[size++] = '\\';
        sentence[size++] = quotes == 3 ? '\'' : (char)c;
        if (quotes == 3)
            quotes = 0;
    }
    while (size > 0 && sentence[size - 1] == ' ')
        size--;
    if (size > 0 && strchr(".!?:", sentence[size - 1]) == NULL)
        sentence[size++] = '.';
    sentence[size] = '\0';
    return sentence;
}
