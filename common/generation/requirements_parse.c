/* SPDX-License-Identifier: Apache-2.0
 *
 * The Markdown of requirements: headings, dash bullets, the first paragraph
 * of the Overview.  Fenced code is passed over.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/generation/requirements.h"

#define WORD_MAX     40
#define OVERVIEW_MAX 3900 /* a description has at most 4000 bytes */

static const char *const headings[SECTION_COUNT] = {
#define X(name, heading) heading,
    REQUIREMENT_SECTION_LIST(X)
#undef X
};

struct parse {
    struct arena *arena;
    struct requirements *requirements;
    struct buffer *errors;
    int section; /* -1: none that is known */
    unsigned line;
    char fence;        /* of the code block that is open, or 0 */
    bool in_bullet;    /* its text may go on in the next line */
    bool in_paragraph; /* of the Overview */
    bool overview_done;
    unsigned other_bullet_lines[SECTION_COUNT]; /* the first "* " or "1. " */
    struct buffer text;                         /* of the bullet or paragraph */
    unsigned text_line;
    bool failed;
};

/* Without white space at its ends, and without Markdown's marks of strong
 * emphasis and code; what is marked as code stays as it is. */
static void put_plain(struct buffer *out, const char *text, size_t size)
{
    bool gap = out->size > 0;
    bool code = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '`') {
            code = !code;
            continue;
        }
        if (!code && c == '*' && i + 1 < size && text[i + 1] == '*') {
            i++;
            continue;
        }
        if (isspace((unsigned char)c)) {
            gap = out->size > 0;
            continue;
        }
        if (gap)
            buffer_append_char(out, ' ');
        gap = false;
        buffer_append_char(out, c);
    }
}

static void count_words(struct parse *parse, const char *text, size_t size)
{
    char word[WORD_MAX] = "";
    char before[WORD_MAX] = "";
    size_t length = 0;
    bool asks = parse->section == SECTION_FUNCTIONAL ||
                parse->section == SECTION_FEATURES ||
                parse->section == SECTION_TECHNICAL;
    for (size_t i = 0; i <= size; i++) {
        unsigned char c = i < size ? (unsigned char)text[i] : ' ';
        if (isalnum(c) || c >= 0x80) {
            if (length < WORD_MAX - 1)
                word[length++] = (char)tolower(c);
            continue;
        }
        word[length] = '\0';
        if (length > 0) {
            requirements_count_word(parse->requirements, word, before, asks);
            memcpy(before, word, length + 1);
        }
        length = 0;
    }
}

/* The bullet or paragraph that was being read is over. */
static void flush(struct parse *parse)
{
    struct requirements *all = parse->requirements;
    if (!parse->in_bullet && !parse->in_paragraph)
        return;
    char *text =
        parse->text.failed
            ? NULL
            : arena_copy(parse->arena,
                         parse->text.bytes == NULL ? "" : parse->text.bytes,
                         parse->text.size);
    const struct requirement item = {text, parse->text_line};
    parse->failed = parse->failed || text == NULL;
    if (parse->in_paragraph) {
        all->overview = item;
        parse->overview_done = true;
    } else {
        struct requirement_list *list = &all->sections[parse->section];
        if (list->count == REQUIREMENT_ITEMS_MAX)
            buffer_printf(parse->errors,
                          "%s:%u: more than %d bullets in %s; divide the "
                          "node\n",
                          all->name, parse->text_line, REQUIREMENT_ITEMS_MAX,
                          headings[parse->section]);
        if (list->count < REQUIREMENT_ITEMS_MAX && text != NULL)
            list->items[list->count++] = item;
    }
    parse->in_bullet = parse->in_paragraph = false;
    buffer_reset(&parse->text);
}

static void begin(struct parse *parse, bool bullet, const char *text,
                  size_t size)
{
    flush(parse);
    parse->in_bullet = bullet;
    parse->in_paragraph = !bullet;
    parse->text_line = parse->line;
    put_plain(&parse->text, text, size);
}

static int find_section(const char *heading, size_t size)
{
    while (size > 0 && (heading[size - 1] == '#' || heading[size - 1] == ':' ||
                        isspace((unsigned char)heading[size - 1])))
        size--;
    for (int i = 0; i < SECTION_COUNT; i++) {
        if (strlen(headings[i]) == size &&
            strncasecmp(headings[i], heading, size) == 0)
            return i;
    }
    return -1;
}

static void take_heading(struct parse *parse, unsigned level, const char *text,
                         size_t size)
{
    struct requirements *all = parse->requirements;
    flush(parse);
    if (level == 1 && all->title.text == NULL) {
        put_plain(&parse->text, text, size);
        all->title.text = arena_copy(
            parse->arena, parse->text.bytes == NULL ? "" : parse->text.bytes,
            parse->text.size);
        all->title.line = parse->line;
        parse->failed = parse->failed || all->title.text == NULL;
        buffer_reset(&parse->text);
        parse->section = -1;
        return;
    }
    int section = find_section(text, size);
    if (section >= 0 || level <= 2)
        parse->section = section;
    if (section < 0)
        return;
    if (all->present[section])
        buffer_printf(parse->errors,
                      "%s:%u: the section %s is there twice (line %u); put "
                      "both into one\n",
                      all->name, parse->line, headings[section],
                      all->heading_lines[section]);
    all->present[section] = true;
    all->heading_lines[section] = parse->line;
}

/* "* text" and "1. text", which do not count. */
static bool is_other_bullet(const char *text, size_t size)
{
    size_t digits = 0;
    while (digits < size && isdigit((unsigned char)text[digits]))
        digits++;
    return (size > 1 && (text[0] == '*' || text[0] == '+') && text[1] == ' ') ||
           (digits > 0 && digits + 1 < size && text[digits] == '.' &&
            text[digits + 1] == ' ');
}

/* A line of a section that is known, without the white space before it. */
static void take_text(struct parse *parse, const char *text, size_t size,
                      size_t indent)
{
    if (size > 1 && text[0] == '-' && text[1] == ' ' && indent < 2) {
        size_t skip = 2;
        if (size > 5 && text[2] == '[' && text[4] == ']' &&
            (text[3] == ' ' || text[3] == 'x' || text[3] == 'X'))
            skip = 5;
        begin(parse, true, text + skip, size - skip);
    } else if (is_other_bullet(text, size)) {
        flush(parse);
        if (parse->other_bullet_lines[parse->section] == 0)
            parse->other_bullet_lines[parse->section] = parse->line;
    } else if (parse->in_bullet && indent >= 2) {
        put_plain(&parse->text, text, size);
    } else if (parse->section == SECTION_OVERVIEW && !parse->overview_done) {
        if (!parse->in_paragraph)
            begin(parse, false, text, size);
        else if (parse->text.size + size < OVERVIEW_MAX)
            put_plain(&parse->text, text, size);
    } else {
        flush(parse);
    }
}

static bool take_fence(struct parse *parse, const char *text, size_t size)
{
    bool fence = size >= 3 && (text[0] == '`' || text[0] == '~') &&
                 text[1] == text[0] && text[2] == text[0];
    if (fence && parse->fence == 0)
        parse->fence = text[0];
    else if (fence && parse->fence == text[0])
        parse->fence = 0;
    else
        return parse->fence != 0;
    flush(parse);
    return true;
}

static void take_line(struct parse *parse, const char *text, size_t size)
{
    size_t indent = 0;
    while (indent < size && (text[indent] == ' ' || text[indent] == '\t'))
        indent++;
    text += indent;
    size -= indent;
    while (size > 0 && isspace((unsigned char)text[size - 1]))
        size--;
    if (take_fence(parse, text, size))
        return;
    if (memchr(text, '\0', size) != NULL)
        buffer_printf(parse->errors,
                      "%s:%u: has a NUL character; take it out\n",
                      parse->requirements->name, parse->line);
    size_t level = 0;
    while (level < size && text[level] == '#')
        level++;
    if (level > 0 && level <= 6 && level < size && text[level] == ' ') {
        while (level < size && text[level] == ' ')
            level++;
        size_t hashes = strspn(text, "#");
        take_heading(parse, (unsigned)hashes, text + level, size - level);
    } else if (size == 0) {
        flush(parse);
    } else if (parse->section >= 0) {
        take_text(parse, text, size, indent);
    }
    count_words(parse, text, size);
}

static void complain_of_bullets(const struct parse *parse)
{
    for (int i = SECTION_OVERVIEW + 1; i < SECTION_COUNT; i++) {
        if (parse->other_bullet_lines[i] != 0)
            buffer_printf(parse->errors,
                          "%s:%u: only dash bullets count in %s; write '- ' "
                          "before it\n",
                          parse->requirements->name,
                          parse->other_bullet_lines[i], headings[i]);
    }
}

int requirements_parse(struct arena *arena, const char *name, const char *text,
                       size_t size, struct requirements *requirements,
                       struct buffer *errors)
{
    struct parse parse = {.arena = arena,
                          .requirements = requirements,
                          .errors = errors,
                          .section = -1};
    *requirements = (struct requirements){.name = name};
    buffer_init(&parse.text, CONTRACT_BYTES_MAX + 1024);
    for (int i = 0; i < SECTION_COUNT; i++) {
        struct requirement_list *list = &requirements->sections[i];
        list->items =
            arena_calloc(arena, REQUIREMENT_ITEMS_MAX, sizeof(*list->items));
        parse.failed = parse.failed || list->items == NULL;
    }
    const char *end = text + size;
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    while (!parse.failed && text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline == NULL ? end : newline;
        parse.line++;
        take_line(&parse, text, (size_t)(stop - text));
        text = newline == NULL ? end : newline + 1;
    }
    if (!parse.failed) {
        flush(&parse);
        complain_of_bullets(&parse);
    }
    buffer_deinit(&parse.text);
    return parse.failed ? -1 : 0;
}

const char *requirements_detail(const struct requirements *requirements,
                                const char *key, size_t *at, unsigned *line)
{
    const struct requirement_list *list =
        &requirements->sections[SECTION_TECHNICAL];
    size_t length = strlen(key);
    while (*at < list->count) {
        const struct requirement *item = &list->items[(*at)++];
        if (strncasecmp(item->text, key, length) == 0 &&
            item->text[length] == ':') {
            *line = item->line;
            const char *value = item->text + length + 1;
            return value + strspn(value, " ");
        }
    }
    return NULL;
}
