/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "common/document/document.h"
#include "common/document/tree.h"

struct json_reader {
    struct tree tree;
    const char *at;
    const char *end;
    struct place place; /* never behind what has been reported */
};

static void locate(struct json_reader *reader, const char *at, uint32_t *line,
                   uint32_t *column)
{
    place_advance(&reader->place, at);
    *line = reader->place.line;
    *column = reader->place.column;
}

static int fail_at(struct json_reader *reader, const char *at, const char *what)
{
    uint32_t line;
    uint32_t column;
    locate(reader, at, &line, &column);
    return tree_fail(&reader->tree, line, column, "%s", what);
}

static void skip_space(struct json_reader *reader)
{
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' ||
            *reader->at == '\r'))
        reader->at++;
}

static char peek(const struct json_reader *reader)
{
    return reader->at < reader->end ? *reader->at : '\0';
}

/* Four hexadecimal digits at `at`; -1 when they are none. */
static long read_hex4(const char *at, const char *end)
{
    long value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static char *put_utf8(char *out, unsigned long c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* Reads the digits after "\u", and a second escape where they are half of a
 * pair; *at ends behind them. */
static int read_unicode_escape(struct json_reader *reader, const char **at,
                               const char *end, char **out)
{
    const char *start = *at - 2;
    long c = read_hex4(*at, end);
    *at += 4;
    if (c < 0)
        return fail_at(reader, start, "\\u needs four hexadecimal digits");
    if (c == 0)
        return fail_at(reader, start, "a NUL (\\u0000) in a string");
    if (c >= 0xdc00 && c <= 0xdfff)
        return fail_at(reader, start, "half of a surrogate pair");
    if (c >= 0xd800 && c <= 0xdbff) {
        long low = end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u'
                       ? read_hex4(*at + 2, end)
                       : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return fail_at(reader, start, "half of a surrogate pair");
        *at += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    *out = put_utf8(*out, (unsigned long)c);
    return 0;
}

/* Undoes the escapes between start and end into out, which has room for as
 * many bytes. */
static int unescape(struct json_reader *reader, const char *start,
                    const char *end, char *out, size_t *size)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    char *begin = out;
    for (const char *at = start; at < end;) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((escape == NULL ? end : escape) - at);
        memcpy(out, at, plain);
        out += plain;
        at += plain;
        if (at == end)
            break;
        char c = at[1]; /* the closing quote at the least */
        const char *name = c == '\0' ? NULL : strchr(names, c);
        at += 2;
        if (c == 'u') {
            if (read_unicode_escape(reader, &at, end, &out) != 0)
                return -1;
        } else if (name != NULL) {
            *out++ = values[name - names];
        } else {
            return fail_at(reader, at - 2,
                           "unknown escape; only \\\" \\\\ \\/ \\b \\f \\n "
                           "\\r \\t \\uXXXX exist");
        }
    }
    *size = (size_t)(out - begin);
    *out = '\0';
    return 0;
}

static int read_string(struct json_reader *reader, const char **text,
                       size_t *size)
{
    const char *start = ++reader->at;
    const char *at = start;
    bool escaped = false;
    while (at < reader->end && *at != '"') {
        if ((unsigned char)*at < 0x20)
            return fail_at(reader, at,
                           "a control character in a string; write it as an "
                           "escape, or close the string");
        if (*at == '\\') {
            escaped = true;
            at++;
        }
        at++;
    }
    if (at >= reader->end)
        return fail_at(reader, start - 1, "a string that is never closed");
    reader->at = at + 1;
    char *copy =
        escaped ? arena_alloc(reader->tree.arena, (size_t)(at - start) + 1)
                : arena_copy(reader->tree.arena, start, (size_t)(at - start));
    if (copy == NULL)
        return tree_fail_memory(&reader->tree);
    *text = copy;
    *size = (size_t)(at - start);
    return escaped ? unescape(reader, start, at, copy, size) : 0;
}

static int read_key(struct json_reader *reader)
{
    uint32_t line;
    uint32_t column;
    const char *key = "";
    size_t size = 0;
    if (peek(reader) != '"')
        return fail_at(reader, reader->at, "expected a key in double quotes");
    locate(reader, reader->at, &line, &column);
    if (read_string(reader, &key, &size) != 0)
        return -1;
    skip_space(reader);
    if (peek(reader) != ':')
        return fail_at(reader, reader->at, "expected ':' after a key");
    reader->at++;
    skip_space(reader);
    tree_set_key(&reader->tree, key, size, line, column);
    return 0;
}

static bool is_delimiter(char c)
{
    return c == ',' || c == ']' || c == '}' || c == ' ' || c == '\t' ||
           c == '\n' || c == '\r' || c == ':' || c == '"' || c == '[' ||
           c == '{';
}

/* true, false, null or a number: everything up to a delimiter. */
static int read_word(struct json_reader *reader, struct node *node)
{
    const char *start = reader->at;
    while (reader->at < reader->end && !is_delimiter(*reader->at))
        reader->at++;
    size_t size = (size_t)(reader->at - start);
    if (size == 4 && memcmp(start, "null", 4) == 0) {
        node->kind = NODE_NULL;
    } else if (size == 4 && memcmp(start, "true", 4) == 0) {
        node->kind = NODE_BOOL;
        node->boolean = true;
    } else if (size == 5 && memcmp(start, "false", 5) == 0) {
        node->kind = NODE_BOOL;
    } else if (document_is_json_number(start, size)) {
        node->kind = NODE_NUMBER;
    } else {
        return fail_at(reader, start,
                       "expected a value: a string in double quotes, a "
                       "number, true, false, null, [ or {");
    }
    node->text = arena_copy(reader->tree.arena, start, size);
    node->text_size = size;
    return node->text == NULL ? tree_fail_memory(&reader->tree) : 0;
}

static int read_value(struct json_reader *reader)
{
    uint32_t line;
    uint32_t column;
    locate(reader, reader->at, &line, &column);
    char c = peek(reader);
    enum node_kind kind = c == '{'   ? NODE_MAP
                          : c == '[' ? NODE_LIST
                          : c == '"' ? NODE_STRING
                                     : NODE_NULL;
    struct node *node = tree_add(&reader->tree, kind, line, column);
    if (node == NULL)
        return -1;
    if (kind == NODE_STRING) {
        node->quoted = true;
        return read_string(reader, &node->text, &node->text_size);
    }
    if (kind == NODE_NULL)
        return read_word(reader, node);
    reader->at++;
    return tree_open(&reader->tree, node);
}

static const struct node *innermost(const struct json_reader *reader)
{
    return reader->tree.frames[reader->tree.depth - 1].node;
}

/* After a value: closes what ends here, up to a comma or the end. */
static int finish_value(struct json_reader *reader)
{
    while (reader->tree.depth > 0) {
        skip_space(reader);
        bool map = innermost(reader)->kind == NODE_MAP;
        if (peek(reader) == ',') {
            reader->at++;
            skip_space(reader);
            return 0;
        }
        if (reader->at == reader->end)
            return fail_at(reader, reader->at,
                           map ? "the text ends within an object; '}' is "
                                 "missing"
                               : "the text ends within a list; ']' is missing");
        if (peek(reader) != (map ? '}' : ']'))
            return fail_at(reader, reader->at,
                           map ? "expected ',' or '}'" : "expected ',' or ']'");
        reader->at++;
        if (tree_close(&reader->tree) != 0)
            return -1;
    }
    return 0;
}

static int read_all(struct json_reader *reader)
{
    skip_space(reader);
    if (reader->at == reader->end)
        return fail_at(reader, reader->at, "no JSON value: the text is empty");
    do {
        unsigned depth = reader->tree.depth;
        if (tree_wants_key(&reader->tree) && read_key(reader) != 0)
            return -1;
        if (read_value(reader) != 0)
            return -1;
        skip_space(reader);
        /* What was just opened has a first value, or none at all. */
        if (reader->tree.depth > depth &&
            peek(reader) != (innermost(reader)->kind == NODE_MAP ? '}' : ']')) {
            if (reader->at == reader->end)
                return finish_value(reader);
            continue;
        }
        if (finish_value(reader) != 0)
            return -1;
    } while (reader->tree.depth > 0);
    skip_space(reader);
    if (reader->at != reader->end)
        return fail_at(reader, reader->at, "more text after the JSON value");
    return 0;
}

int document_read_json(struct arena *arena, const char *name, const char *text,
                       size_t size, const struct document_limits *limits,
                       struct node **root, struct error *error)
{
    struct json_reader reader;
    if (tree_init(&reader.tree, arena, name, limits, error) != 0 ||
        tree_check_text(&reader.tree, &text, &size) != 0)
        return -1;
    reader.at = text;
    reader.end = text + size;
    reader.place = (struct place){.at = text, .line = 1, .column = 1};
    if (read_all(&reader) != 0)
        return -1;
    *root = reader.tree.root;
    return 0;
}
