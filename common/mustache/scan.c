/* SPDX-License-Identifier: Apache-2.0 */
#include "common/mustache/scan.h"

#include <string.h>

static const char kind_marks[] = {
    [SCAN_SECTION] = '#', [SCAN_INVERTED] = '^',   [SCAN_CLOSE] = '/',
    [SCAN_PARTIAL] = '>', [SCAN_BLOCK] = '$',      [SCAN_PARENT] = '<',
    [SCAN_COMMENT] = '!', [SCAN_DELIMITERS] = '=', [SCAN_RAW] = '&',
};

void scan_init(struct scan *scan, const char *name, const char *text,
               size_t size)
{
    *scan = (struct scan){
        .name = name,
        .text = text,
        .size = size,
        .line_begins = true,
        .line_silent = true,
        .open = {"{{", 2},
        .close = {"}}", 2},
        .place = {1, 1},
    };
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_space(char c)
{
    return is_blank(c) || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* Lines and columns (in characters, so bytes that continue one are not
 * counted) are found by going on from the last place. */
struct program_place scan_place(struct scan *scan, size_t at)
{
    for (; scan->placed_at < at; scan->placed_at++) {
        unsigned char c = (unsigned char)scan->text[scan->placed_at];
        if (c == '\n') {
            scan->place.line++;
            scan->place.column = 1;
        } else if ((c & 0xc0) != 0x80) {
            scan->place.column++;
        }
    }
    return scan->place;
}

static int fail(const struct scan *scan, struct program_place place,
                struct error *error, const char *what)
{
    return error_set(error, ERROR_DATA, "%s:%u:%u: %s", scan->name, place.line,
                     place.column, what);
}

static const char *find(const struct scan *scan, size_t from,
                        const char *needle, size_t needle_size)
{
    return memmem(scan->text + from, scan->size - from, needle, needle_size);
}

/* Where the closing delimiter of the tag is whose content begins at `from`,
 * after one more character for {{{ }}} and {{= =}}; NULL when nowhere. */
static const char *find_close(const struct scan *scan, size_t from, char before)
{
    const struct scan_text *close = &scan->close;
    const char *end = scan->text + scan->size;
    if (before == '\0')
        return find(scan, from, close->text, close->size);
    for (const char *at = memchr(scan->text + from, before, scan->size - from);
         at != NULL; at = memchr(at + 1, before, (size_t)(end - at) - 1))
        if ((size_t)(end - at) > close->size &&
            memcmp(at + 1, close->text, close->size) == 0)
            return at + 1;
    return NULL;
}

static void trim(const char **text, size_t *size)
{
    while (*size > 0 && is_space((*text)[0])) {
        (*text)++;
        (*size)--;
    }
    while (*size > 0 && is_space((*text)[*size - 1]))
        (*size)--;
}

static int check_name(const struct scan *scan, const struct scan_word *word,
                      struct error *error)
{
    if (word->name_size == 0)
        return fail(scan, word->place, error,
                    "a tag without a name; write {{name}}");
    for (size_t i = 0; i < word->name_size; i++)
        if (is_space(word->name[i]) || word->name[i] == '\0')
            return fail(scan, word->place, error,
                        "white space within a name; a name is one word, and "
                        "a tag ends with the delimiter it began with");
    return 0;
}

/* {{=<% %>=}}: from here on the tags look otherwise. */
static int set_delimiters(struct scan *scan, const struct scan_word *word,
                          struct error *error)
{
    const char *at = word->name;
    const char *end = at + word->name_size;
    struct scan_text open = {at, 0};
    while (at < end && !is_space(*at))
        at++;
    open.size = (size_t)(at - open.text);
    while (at < end && is_space(*at))
        at++;
    struct scan_text close = {at, (size_t)(end - at)};
    bool good = open.size > 0 && close.size > 0;
    for (; at < end; at++)
        good = good && !is_space(*at);
    if (!good || memchr(word->name, '=', word->name_size) != NULL)
        return fail(scan, word->place, error,
                    "delimiters that cannot be; write two words without "
                    "'=', as in {{=<% %>=}}");
    scan->open = open;
    scan->close = close;
    return 0;
}

static enum scan_kind kind_of(char mark)
{
    for (size_t kind = SCAN_RAW; mark != '\0' && kind < sizeof(kind_marks);
         kind++)
        if (kind_marks[kind] == mark)
            return (enum scan_kind)kind;
    return SCAN_VALUE;
}

static bool may_be_dynamic(const struct scan_word *word)
{
    return (word->kind == SCAN_PARTIAL || word->kind == SCAN_PARENT ||
            word->kind == SCAN_CLOSE) &&
           word->name_size > 0 && word->name[0] == '*';
}

/* Reads the tag that opens at `begin`. */
static int read_tag(struct scan *scan, size_t begin, struct scan_word *word,
                    struct error *error)
{
    size_t from = begin + scan->open.size;
    char mark = from < scan->size ? scan->text[from] : '\0';
    char before = mark == '{' ? '}' : mark == '=' ? '=' : '\0';
    word->place = scan_place(scan, begin);
    word->kind = mark == '{' ? SCAN_RAW : kind_of(mark);
    if (word->kind != SCAN_VALUE)
        from++;
    const char *close = find_close(scan, from, before);
    if (close == NULL)
        return fail(scan, word->place, error,
                    before == '}' ? "a tag that is never closed; end it with "
                                    "}}}"
                                  : "a tag that is never closed; end it with "
                                    "its closing delimiter, as }}");
    word->end = (size_t)(close - scan->text) + scan->close.size;
    word->name = scan->text + from;
    word->name_size = (size_t)(close - word->name) - (before != '\0');
    trim(&word->name, &word->name_size);
    if (may_be_dynamic(word)) {
        word->dynamic = true;
        word->name++;
        word->name_size--;
        trim(&word->name, &word->name_size);
    }
    if (word->kind == SCAN_COMMENT)
        return 0;
    if (word->kind == SCAN_DELIMITERS)
        return set_delimiters(scan, word, error);
    return check_name(scan, word, error);
}

static void look_before(const struct scan *scan, struct scan_word *word)
{
    size_t begin = scan->at + word->text_size;
    size_t line = begin;
    while (line > scan->at && is_blank(scan->text[line - 1]))
        line--;
    word->clear_before =
        line > scan->at ? scan->text[line - 1] == '\n' : scan->line_begins;
    if (!word->clear_before)
        return;
    word->indent = scan->text + line;
    word->indent_size = begin - line;
}

static void look_behind(const struct scan *scan, struct scan_word *word)
{
    size_t at = word->end;
    while (at < scan->size && is_blank(scan->text[at]))
        at++;
    if (at + 1 < scan->size && scan->text[at] == '\r' &&
        scan->text[at + 1] == '\n')
        at++;
    word->clear_behind = at == scan->size || scan->text[at] == '\n';
    word->line_end = at < scan->size ? at + 1 : at;
}

static bool may_stand_alone(enum scan_kind kind)
{
    return kind != SCAN_END && kind != SCAN_VALUE && kind != SCAN_RAW;
}

/* Field by field: zeroing all of it at once is slower than all else here. */
static void begin_word(const struct scan *scan, struct scan_word *word,
                       size_t begin)
{
    word->text = scan->text + scan->at;
    word->text_size = begin - scan->at;
    word->text_begins = scan->line_begins;
    word->text_line_start = false;
    word->kind = SCAN_END;
    word->name = "";
    word->name_size = 0;
    word->dynamic = false;
    word->line_start = false;
    word->clear_before = false;
    word->clear_behind = false;
    word->indent = "";
    word->indent_size = 0;
    word->end = begin;
    word->line_end = begin;
    word->place = scan->place;
}

int scan_next(struct scan *scan, struct scan_word *word, struct error *error)
{
    const char *open = find(scan, scan->at, scan->open.text, scan->open.size);
    size_t begin = open == NULL ? scan->size : (size_t)(open - scan->text);
    begin_word(scan, word, begin);
    if (open == NULL)
        return 0;
    if (read_tag(scan, begin, word, error) != 0)
        return -1;
    if (may_stand_alone(word->kind)) {
        look_before(scan, word);
        look_behind(scan, word);
    }
    return 0;
}

void scan_take(struct scan *scan, struct scan_word *word, bool without_before,
               bool without_behind)
{
    scan->at = without_behind ? word->line_end : word->end;
    if (without_before)
        word->text_size -= word->indent_size;
    word->text_line_start = scan->line_silent;
    if (word->text_size > 0)
        scan->line_silent = word->text[word->text_size - 1] == '\n';
    if (without_before && without_behind) {
        scan->line_begins = true;
        return;
    }
    word->line_start = scan->line_silent;
    scan->line_begins = false;
    if (word->kind != SCAN_COMMENT && word->kind != SCAN_DELIMITERS)
        scan->line_silent = false;
}

void scan_begin_line(struct scan *scan, bool of_template)
{
    scan->line_begins = of_template;
    scan->line_silent = true;
}

struct scan_text scan_indentation(const struct scan *scan)
{
    struct scan_text blanks = {scan->text + scan->at, 0};
    for (const char *at = blanks.text; at < scan->text + scan->size; at++) {
        if (*at == '\n')
            blanks.text = at + 1;
        else if (!is_space(*at)) {
            blanks.size = (size_t)(at - blanks.text);
            break;
        }
    }
    return blanks;
}
