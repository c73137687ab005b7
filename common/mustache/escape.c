/* SPDX-License-Identifier: Apache-2.0 */
#include "common/mustache/escape.h"

#include <stdio.h>
#include <string.h>

static const char *const escape_names[] = {
    [MUSTACHE_ESCAPE_NONE] = "none", [MUSTACHE_ESCAPE_HTML] = "html",
    [MUSTACHE_ESCAPE_JSON] = "json", [MUSTACHE_ESCAPE_C] = "c",
    [MUSTACHE_ESCAPE_SQL] = "sql",
};

#define ESCAPE_COUNT (sizeof(escape_names) / sizeof(escape_names[0]))

int mustache_escape_parse(const char *text, enum mustache_escape *escape)
{
    for (size_t i = 0; i < ESCAPE_COUNT; i++)
        if (strcmp(text, escape_names[i]) == 0) {
            *escape = (enum mustache_escape)i;
            return 0;
        }
    return -1;
}

int mustache_syntax_parse(const char *text, enum mustache_syntax *syntax)
{
    if (strcmp(text, "mustache") == 0)
        *syntax = MUSTACHE_SYNTAX_MUSTACHE;
    else if (strcmp(text, "placeholder") == 0)
        *syntax = MUSTACHE_SYNTAX_PLACEHOLDER;
    else
        return -1;
    return 0;
}

/* Which escapes change a byte: bit 1 << escape. */
#define HTML (1u << MUSTACHE_ESCAPE_HTML)
#define JSON (1u << MUSTACHE_ESCAPE_JSON)
#define C    (1u << MUSTACHE_ESCAPE_C)
#define SQL  (1u << MUSTACHE_ESCAPE_SQL)

static const unsigned char byte_changes[256] = {
    [0 ... 31] = JSON | C,
    ['"'] = HTML | JSON | C,
    ['&'] = HTML,
    ['<'] = HTML,
    ['>'] = HTML,
    ['\\'] = JSON | C,
    ['\''] = SQL,
    ['?'] = C,
    [0x7f] = C,
};

bool escape_changes(enum mustache_escape escape, const char *text, size_t size)
{
    if (escape == MUSTACHE_ESCAPE_NONE)
        return false;
    unsigned found = 0;
    for (size_t i = 0; i < size; i++)
        found |= byte_changes[(unsigned char)text[i]];
    return (found >> escape & 1u) != 0;
}

static const char *html_entity(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '<':
        return "&lt;";
    default:
        return "&gt;";
    }
}

/* The letter of \n, \t and so on; 0 when the byte has none. */
static char backslash_letter(unsigned char c)
{
    static const char pairs[] = "\nn\tt\rr\bb\ff\"\"\\\\";
    for (const char *p = pairs; *p != '\0'; p += 2)
        if ((unsigned char)p[0] == c)
            return p[1];
    return '\0';
}

static void append_backslash(enum mustache_escape escape, unsigned char c,
                             bool after_question, struct buffer *out)
{
    char letter = backslash_letter(c);
    if (c == '?')
        buffer_append_text(out, after_question ? "\\?" : "?");
    else if (letter != '\0')
        buffer_append(out, (char[]){'\\', letter}, 2);
    else if (escape == MUSTACHE_ESCAPE_JSON)
        buffer_printf(out, "\\u%04x", c);
    else
        buffer_printf(out, "\\%03o", c);
}

void escape_append(enum mustache_escape escape, const char *text, size_t size,
                   struct buffer *out)
{
    size_t start = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((byte_changes[c] >> escape & 1u) == 0)
            continue;
        buffer_append(out, text + start, i - start);
        start = i + 1;
        if (escape == MUSTACHE_ESCAPE_HTML)
            buffer_append_text(out, html_entity(c));
        else if (escape == MUSTACHE_ESCAPE_SQL)
            buffer_append_text(out, "''");
        else
            append_backslash(escape, c, i > 0 && text[i - 1] == '?', out);
    }
    buffer_append(out, text + start, size - start);
}
