/* SPDX-License-Identifier: Apache-2.0
 *
 * From the words of a template to its flat program.
 */
#include "common/mustache/mustache.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/mustache/compile.h"
#include "common/mustache/lambda.h"
#include "common/mustache/placeholder.h"

/* Names whose hashes were chosen to collide would take a time that grows
 * with the square of their number. */
#define PROBES_MAX (64u << 20)

/* No table of a program can come near this: a template is at most 4 MiB. */
#define TABLE_MAX (512u << 20)

int compile_fail(struct compiler *c, struct program_place place,
                 const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return error_set(c->error, ERROR_DATA, "%s:%u:%u: %s", c->scan.name,
                     place.line, place.column, text);
}

struct program_span compile_add_name(struct compiler *c, const char *name,
                                     size_t size)
{
    struct program_span span = {(uint32_t)c->names.size, (uint32_t)size};
    buffer_append(&c->names, name, size);
    return span;
}

void compile_add_instruction(struct compiler *c,
                             const struct program_instruction *instruction)
{
    struct program_instruction placed = *instruction;
    if (placed.place.line == 0) /* text: before the tag that was read last */
        placed.place = c->scan.place;
    buffer_append(&c->instructions, &placed, sizeof(placed));
}

void compile_flush_text(struct compiler *c)
{
    if (c->pending.size > 0)
        compile_add_instruction(
            c, &(struct program_instruction){
                   .op = PROGRAM_TEXT,
                   .flags = c->pending_line_start ? PROGRAM_LINE_START : 0,
                   .span = c->pending,
               });
    c->pending = (struct program_span){(uint32_t)c->literals.size, 0};
}

static size_t common_size(struct scan_text a, const char *text, size_t size)
{
    size_t common = 0;
    while (common < a.size && common < size && a.text[common] == text[common])
        common++;
    return common;
}

struct scan_text compile_dedented(const struct compiler *c, const char *text,
                                  size_t size)
{
    size_t lost = common_size(c->dedent, text, size);
    return (struct scan_text){text + lost, size - lost};
}

static void add_bytes(struct compiler *c, const char *text, size_t size)
{
    buffer_append(&c->literals, text, size);
    c->pending.size += (uint32_t)size;
}

void compile_add_literal(struct compiler *c, const char *text, size_t size,
                         bool begins)
{
    const char *end = text + size;
    if (c->dedent.size == 0) {
        add_bytes(c, text, size);
        return;
    }
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *next = newline == NULL ? end : newline + 1;
        if (begins)
            text += common_size(c->dedent, text, (size_t)(next - text));
        add_bytes(c, text, (size_t)(next - text));
        begins = true;
        text = next;
    }
}

void compile_add_text(struct compiler *c, const struct scan_word *word)
{
    if (word->text_size == 0)
        return;
    if (c->pending.size == 0)
        c->pending_line_start = word->text_line_start;
    if (c->dedent.size == 0)
        add_bytes(c, word->text, word->text_size);
    else
        compile_add_literal(c, word->text, word->text_size, word->text_begins);
}

static struct program_path *path_at(struct compiler *c, uint32_t index)
{
    return (struct program_path *)(void *)c->paths.bytes + index;
}

static uint32_t intern_slot(struct compiler *c, const char *name, size_t size)
{
    uint32_t slot = (uint32_t)text_hash(TEXT_HASH_START, name, size);
    for (;; slot++) {
        slot &= c->interned_size - 1;
        c->probes++;
        if (c->interned[slot] == 0)
            return slot;
        struct program_span known = path_at(c, c->interned[slot] - 1)->name;
        if (known.size == size &&
            memcmp(c->names.bytes + known.at, name, size) == 0)
            return slot;
    }
}

static int grow_interned(struct compiler *c)
{
    uint32_t count = compile_count(&c->paths, sizeof(struct program_path));
    if (c->interned != NULL && count < c->interned_size / 2)
        return 0;
    uint32_t size = c->interned == NULL ? 64 : c->interned_size * 2;
    uint32_t *table = calloc(size, sizeof(*table));
    if (table == NULL)
        return error_set_errno(c->error, ERROR_SYSTEM, "compile %s",
                               c->scan.name);
    free(c->interned);
    c->interned = table;
    c->interned_size = size;
    for (uint32_t i = 0; i < count; i++) {
        struct program_span name = path_at(c, i)->name;
        table[intern_slot(c, c->names.bytes + name.at, name.size)] = i + 1;
    }
    return 0;
}

static void add_part(struct compiler *c, const struct scan_word *word,
                     struct program_path *path, const char *at, size_t size)
{
    struct program_part part = {
        .name = {path->name.at + (uint32_t)(at - word->name), (uint32_t)size},
        .hash = text_hash(TEXT_HASH_START, at, size),
    };
    buffer_append(&c->parts, &part, sizeof(part));
    path->part_count++;
}

/* Splits a.b.c at its dots; {A} has one part, within the braces. */
static int add_parts(struct compiler *c, const struct scan_word *word,
                     struct program_path *path)
{
    const char *at = word->name;
    const char *end = at + word->name_size;
    path->part = compile_count(&c->parts, sizeof(struct program_part));
    if (c->syntax == MUSTACHE_SYNTAX_PLACEHOLDER) {
        add_part(c, word, path, at + 1, word->name_size - 2);
        return 0;
    }
    if (*at == '.') {
        path->from_current = 1;
        if (++at == end)
            return 0;
    }
    while (at != NULL) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        size_t size = (size_t)((dot == NULL ? end : dot) - at);
        if (size == 0)
            return compile_fail(
                c, word->place,
                "a dotted name with nothing between its dots; write "
                "a.b, or . alone for the current item");
        add_part(c, word, path, at, size);
        at = dot == NULL ? NULL : dot + 1;
    }
    return 0;
}

int compile_add_path(struct compiler *c, const struct scan_word *word,
                     uint32_t *index)
{
    if (c->probes > PROBES_MAX)
        return compile_fail(
            c, word->place,
            "too many names with equal hashes; split the template into "
            "partials");
    if (grow_interned(c) != 0)
        return -1;
    uint32_t slot = intern_slot(c, word->name, word->name_size);
    if (c->interned[slot] == 0) {
        struct program_path path = {
            .name = compile_add_name(c, word->name, word->name_size),
            .lambda = lambda_find(word->name, word->name_size),
        };
        if (add_parts(c, word, &path) != 0)
            return -1;
        buffer_append(&c->paths, &path, sizeof(path));
        if (c->names.failed || c->paths.failed || c->parts.failed)
            return error_set(c->error, ERROR_SYSTEM,
                             "compile %s: no memory left", c->scan.name);
        c->interned[slot] = compile_count(&c->paths, sizeof(path));
    }
    *index = c->interned[slot] - 1;
    return 0;
}

/* Pairs that follow each other are one run. */
static void add_pair(struct compiler *c, const struct program_pair *pair)
{
    uint32_t index = compile_count(&c->pairs, sizeof(*pair));
    buffer_append(&c->pairs, pair, sizeof(*pair));
    if (c->run_open) {
        compile_instruction(c, compile_instruction_count(c) - 1)->extent++;
        return;
    }
    compile_add_instruction(c, &(struct program_instruction){.op = PROGRAM_RUN,
                                                             .index = index,
                                                             .extent = 1});
    c->run_open = !c->instructions.failed;
}

static bool has_newline(const struct compiler *c, struct program_span literal)
{
    return literal.size > 0 && !c->literals.failed &&
           memchr(c->literals.bytes + literal.at, '\n', literal.size) != NULL;
}

int compile_value(struct compiler *c, const struct scan_word *word)
{
    struct program_pair pair = {
        .literal = c->pending,
        .mask = PAIR_LONG_VALUE,
        .place = word->place,
    };
    if (compile_add_path(c, word, &pair.path) != 0)
        return -1;
    if (word->kind == SCAN_VALUE)
        pair.mask |= PAIR_ESCAPE;
    if (pair.literal.size > PROGRAM_SLACK)
        pair.mask |= PAIR_LONG_LITERAL;
    if (pair.literal.size > 0 && c->pending_line_start)
        pair.flags |= PAIR_LITERAL_LINE_START;
    if (word->line_start)
        pair.flags |= PAIR_VALUE_LINE_START;
    if (pair.flags != 0 || has_newline(c, pair.literal))
        pair.mask |= PAIR_LINES;
    c->pending = (struct program_span){(uint32_t)c->literals.size, 0};
    add_pair(c, &pair);
    return 0;
}

void compile_begin_tag(struct compiler *c, const struct scan_word *word)
{
    compile_flush_text(c);
    c->run_open = false;
    if (word->line_start)
        compile_add_instruction(
            c, &(struct program_instruction){.op = PROGRAM_INDENT});
}

struct open_tag *compile_open(struct compiler *c, const struct scan_word *word)
{
    if (c->depth == MUSTACHE_SECTION_DEPTH_MAX) {
        compile_fail(c, word->place,
                     "sections nested too deep; move the inner ones into a "
                     "partial");
        return NULL;
    }
    struct open_tag *open = &c->open[c->depth++];
    *open = (struct open_tag){
        .instruction = compile_instruction_count(c),
        .word = *word,
        .dedented = c->dedent,
    };
    return open;
}

static int compile_section(struct compiler *c, const struct scan_word *word)
{
    struct program_instruction section = {
        .op = word->kind == SCAN_SECTION ? PROGRAM_SECTION : PROGRAM_INVERTED,
        .place = word->place,
    };
    if (compile_add_path(c, word, &section.index) != 0)
        return -1;
    compile_begin_tag(c, word);
    if (compile_open(c, word) == NULL)
        return -1;
    compile_add_instruction(c, &section);
    return 0;
}

static const char *kind_name(const struct scan_word *word)
{
    return word->kind == SCAN_BLOCK    ? "block"
           : word->kind == SCAN_PARENT ? "parent"
                                       : "section";
}

static int fail_unopened(struct compiler *c, const struct scan_word *word)
{
    return compile_fail(c, word->place,
                        "{{/%.*s}} closes a section that was never opened; "
                        "remove it, or open it with {{#%.*s}}",
                        (int)word->name_size, word->name, (int)word->name_size,
                        word->name);
}

static int fail_crossed(struct compiler *c, const struct scan_word *word,
                        const struct scan_word *open)
{
    return compile_fail(
        c, word->place,
        "{{/%.*s}} where {{/%s%.*s}} is needed: the %s opened at line %u, "
        "column %u is not closed yet",
        (int)word->name_size, word->name, open->dynamic ? "*" : "",
        (int)open->name_size, open->name, kind_name(open), open->place.line,
        open->place.column);
}

static int compile_close(struct compiler *c, struct scan_word *word)
{
    struct open_tag *open = compile_innermost(c);
    if (open == NULL)
        return fail_unopened(c, word);
    if (open->word.name_size != word->name_size ||
        open->word.dynamic != word->dynamic ||
        memcmp(open->word.name, word->name, word->name_size) != 0)
        return fail_crossed(c, word, &open->word);
    if (open->word.kind == SCAN_PARENT) {
        compile_close_parent(c, open, word);
    } else if (open->word.kind == SCAN_BLOCK) {
        compile_close_block(c, open, word);
    } else {
        bool alone = scan_alone(word);
        scan_take(&c->scan, word, alone, alone);
        compile_add_text(c, word);
        compile_begin_tag(c, word);
    }
    c->depth--;
    c->dedent = open->dedented;
    if (!c->instructions.failed)
        compile_instruction(c, open->instruction)->extent =
            compile_instruction_count(c);
    return 0;
}

uint32_t compile_add_partial(struct compiler *c, const struct scan_word *word)
{
    uint32_t index = compile_count(&c->partials, sizeof(struct program_span));
    struct program_span name = compile_add_name(c, word->name, word->name_size);
    buffer_append(&c->partials, &name, sizeof(name));
    return index;
}

static int compile_partial(struct compiler *c, const struct scan_word *word)
{
    bool alone = scan_alone(word);
    struct program_instruction partial = {
        .op = PROGRAM_PARTIAL,
        .flags = alone ? PROGRAM_STANDALONE : 0,
        .place = word->place,
    };
    compile_begin_tag(c, word);
    if (!word->dynamic)
        partial.index = compile_add_partial(c, word);
    else if (compile_add_path(c, word, &partial.index) == 0)
        partial.flags |= PROGRAM_DYNAMIC;
    else
        return -1;
    if (alone) {
        struct scan_text indent =
            compile_dedented(c, word->indent, word->indent_size);
        partial.span = compile_add_name(c, indent.text, indent.size);
    }
    compile_add_instruction(c, &partial);
    return 0;
}

/* Values, sections and partials, with the text before them. */
static int compile_tag(struct compiler *c, struct scan_word *word)
{
    bool alone = scan_alone(word);
    scan_take(&c->scan, word, alone, alone);
    compile_add_text(c, word);
    switch (word->kind) {
    case SCAN_VALUE:
    case SCAN_RAW:
        return compile_value(c, word);
    case SCAN_SECTION:
    case SCAN_INVERTED:
        return compile_section(c, word);
    case SCAN_PARTIAL:
        return compile_partial(c, word);
    case SCAN_END:
        compile_flush_text(c);
        return 0;
    default: /* a comment, or delimiters */
        return 0;
    }
}

bool compile_within_parent(const struct compiler *c)
{
    return c->depth > 0 && c->open[c->depth - 1].word.kind == SCAN_PARENT;
}

/* Text there is ignored, and so are comments; but a tag that would do
 * nothing is a mistake. */
static int compile_ignored(struct compiler *c, struct scan_word *word)
{
    if (word->kind != SCAN_COMMENT && word->kind != SCAN_DELIMITERS &&
        word->kind != SCAN_END)
        return compile_fail(c, word->place,
                            "between the tags of a parent only blocks count; "
                            "put this tag into a block, {{$name}}, or behind "
                            "{{/%.*s}}",
                            (int)compile_innermost(c)->word.name_size,
                            compile_innermost(c)->word.name);
    scan_take(&c->scan, word, false, false);
    return 0;
}

static int compile_word(struct compiler *c, struct scan_word *word)
{
    if (word->kind == SCAN_CLOSE)
        return compile_close(c, word);
    if (word->kind == SCAN_BLOCK)
        return compile_block(c, word);
    if (compile_within_parent(c))
        return compile_ignored(c, word);
    if (word->kind == SCAN_PARENT)
        return compile_parent(c, word);
    return compile_tag(c, word);
}

static int compile_words(struct compiler *c)
{
    struct scan_word word = {.kind = SCAN_COMMENT};
    while (word.kind != SCAN_END)
        if (scan_next(&c->scan, &word, c->error) != 0 ||
            compile_word(c, &word) != 0)
            return -1;
    if (c->depth == 0)
        return 0;
    const struct scan_word *open = &compile_innermost(c)->word;
    return compile_fail(
        c, open->place, "%s %.*s is never closed; end it with {{/%s%.*s}}",
        kind_name(open), (int)open->name_size, open->name,
        open->dynamic ? "*" : "", (int)open->name_size, open->name);
}

static bool out_of_memory(const struct compiler *c)
{
    return c->instructions.failed || c->pairs.failed || c->paths.failed ||
           c->parts.failed || c->partials.failed || c->literals.failed ||
           c->names.failed;
}

static struct buffer *tables_of(struct compiler *c, size_t index)
{
    struct buffer *const tables[] = {
        &c->instructions, &c->pairs,    &c->paths, &c->parts,
        &c->partials,     &c->literals, &c->names,
    };
    return index < sizeof(tables) / sizeof(tables[0]) ? tables[index] : NULL;
}

struct mustache_program *mustache_compile(enum mustache_syntax syntax,
                                          const char *name, const char *text,
                                          size_t size, struct error *error)
{
    struct mustache_program *program = NULL;
    if (size > MUSTACHE_TEMPLATE_MAX) {
        error_set(error, ERROR_DATA,
                  "%s:1:1: a template of %zu bytes; at most %u are read, so "
                  "split it into partials",
                  name, size, MUSTACHE_TEMPLATE_MAX);
        return NULL;
    }
    struct compiler *c = malloc(sizeof(*c));
    if (c == NULL) {
        error_set_errno(error, ERROR_SYSTEM, "compile %s", name);
        return NULL;
    }
    memset(c, 0, offsetof(struct compiler, open));
    c->error = error;
    c->syntax = syntax;
    scan_init(&c->scan, name, text, size);
    struct buffer *table;
    for (size_t i = 0; (table = tables_of(c, i)) != NULL; i++)
        buffer_init(table, TABLE_MAX);
    if (syntax == MUSTACHE_SYNTAX_PLACEHOLDER ? placeholder_compile(c) == 0
                                              : compile_words(c) == 0) {
        program = out_of_memory(c) ? NULL : compile_assemble(c);
        if (program == NULL)
            error_set(error, ERROR_SYSTEM, "compile %s: no memory left", name);
    }
    for (size_t i = 0; (table = tables_of(c, i)) != NULL; i++)
        buffer_deinit(table);
    free(c->interned);
    free(c);
    return program;
}
