/* SPDX-License-Identifier: Apache-2.0
 *
 * From the words of a template to its flat program.
 */
#include "common/mustache/mustache.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/mustache/lambda.h"
#include "common/mustache/program.h"
#include "common/mustache/scan.h"

/* Names whose hashes were chosen to collide would take a time that grows
 * with the square of their number. */
#define PROBES_MAX (64u << 20)

/* No table of a program can come near this: a template is at most 4 MiB. */
#define TABLE_MAX (512u << 20)

struct open_section {
    uint32_t instruction;
    struct scan_word word;
};

struct compiler {
    struct scan scan;
    struct error *error;
    struct buffer instructions, pairs, paths, parts, partials;
    struct buffer literals, names;
    struct program_span pending; /* literals that no instruction has yet */
    bool pending_line_start;
    uint32_t *interned; /* hash table of path numbers + 1 */
    uint32_t interned_size;
    uint32_t probes;
    bool run_open; /* the last instruction takes further pairs */
    unsigned depth;
    struct open_section open[MUSTACHE_SECTION_DEPTH_MAX];
};

static int fail(struct compiler *c, struct program_place place,
                const char *what)
{
    return error_set(c->error, ERROR_DATA, "%s:%u:%u: %s", c->scan.name,
                     place.line, place.column, what);
}

static uint32_t count_of(const struct buffer *table, size_t item_size)
{
    return (uint32_t)(table->size / item_size);
}

static struct program_instruction *instruction_at(struct compiler *c,
                                                  uint32_t index)
{
    return (struct program_instruction *)(void *)c->instructions.bytes + index;
}

static uint32_t instruction_count(const struct compiler *c)
{
    return count_of(&c->instructions, sizeof(struct program_instruction));
}

/* Names stand behind the literals, whose size is not known yet; spans of
 * names are moved there when the program is put together. */
static struct program_span add_name(struct compiler *c, const char *name,
                                    size_t size)
{
    struct program_span span = {(uint32_t)c->names.size, (uint32_t)size};
    buffer_append(&c->names, name, size);
    return span;
}

static void add_instruction(struct compiler *c,
                            const struct program_instruction *instruction)
{
    buffer_append(&c->instructions, instruction, sizeof(*instruction));
}

static void flush_text(struct compiler *c)
{
    if (c->pending.size > 0)
        add_instruction(
            c, &(struct program_instruction){
                   .op = PROGRAM_TEXT,
                   .flags = c->pending_line_start ? PROGRAM_LINE_START : 0,
                   .span = c->pending,
               });
    c->pending = (struct program_span){(uint32_t)c->literals.size, 0};
}

static void add_text(struct compiler *c, const struct scan_word *word)
{
    if (word->text_size == 0)
        return;
    if (c->pending.size == 0)
        c->pending_line_start = word->text_line_start;
    buffer_append(&c->literals, word->text, word->text_size);
    c->pending.size += (uint32_t)word->text_size;
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
    uint32_t count = count_of(&c->paths, sizeof(struct program_path));
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

/* Splits a.b.c at its dots. */
static int add_parts(struct compiler *c, const struct scan_word *word,
                     struct program_path *path)
{
    const char *at = word->name;
    const char *end = at + word->name_size;
    path->part = count_of(&c->parts, sizeof(struct program_part));
    if (*at == '.') {
        path->from_current = 1;
        if (++at == end)
            return 0;
    }
    while (at != NULL) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        size_t size = (size_t)((dot == NULL ? end : dot) - at);
        if (size == 0)
            return fail(c, word->place,
                        "a dotted name with nothing between its dots; write "
                        "a.b, or . alone for the current item");
        struct program_part part = {
            .name = {path->name.at + (uint32_t)(at - word->name),
                     (uint32_t)size},
            .hash = text_hash(TEXT_HASH_START, at, size),
        };
        buffer_append(&c->parts, &part, sizeof(part));
        path->part_count++;
        at = dot == NULL ? NULL : dot + 1;
    }
    return 0;
}

/* The number of a name; one that was seen before has one already. */
static int add_path(struct compiler *c, const struct scan_word *word,
                    uint32_t *index)
{
    if (c->probes > PROBES_MAX)
        return fail(c, word->place,
                    "too many names with equal hashes; split the template into "
                    "partials");
    if (grow_interned(c) != 0)
        return -1;
    uint32_t slot = intern_slot(c, word->name, word->name_size);
    if (c->interned[slot] == 0) {
        struct program_path path = {
            .name = add_name(c, word->name, word->name_size),
            .lambda = lambda_find(word->name, word->name_size),
        };
        if (add_parts(c, word, &path) != 0)
            return -1;
        buffer_append(&c->paths, &path, sizeof(path));
        if (c->names.failed || c->paths.failed || c->parts.failed)
            return error_set(c->error, ERROR_SYSTEM,
                             "compile %s: no memory left", c->scan.name);
        c->interned[slot] = count_of(&c->paths, sizeof(path));
    }
    *index = c->interned[slot] - 1;
    return 0;
}

/* Pairs that follow each other are one run. */
static void add_pair(struct compiler *c, const struct program_pair *pair)
{
    uint32_t index = count_of(&c->pairs, sizeof(*pair));
    buffer_append(&c->pairs, pair, sizeof(*pair));
    if (c->run_open) {
        instruction_at(c, instruction_count(c) - 1)->extent++;
        return;
    }
    add_instruction(c, &(struct program_instruction){
                           .op = PROGRAM_RUN, .index = index, .extent = 1});
    c->run_open = !c->instructions.failed;
}

static bool has_newline(const struct compiler *c, struct program_span literal)
{
    return literal.size > 0 && !c->literals.failed &&
           memchr(c->literals.bytes + literal.at, '\n', literal.size) != NULL;
}

static int compile_value(struct compiler *c, const struct scan_word *word)
{
    struct program_pair pair = {
        .literal = c->pending,
        .mask = PAIR_LONG_VALUE,
        .place = word->place,
    };
    if (add_path(c, word, &pair.path) != 0)
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

static void begin_tag(struct compiler *c, const struct scan_word *word)
{
    flush_text(c);
    c->run_open = false;
    if (word->line_start)
        add_instruction(c, &(struct program_instruction){.op = PROGRAM_INDENT});
}

static int compile_section(struct compiler *c, const struct scan_word *word)
{
    struct program_instruction section = {
        .op = word->kind == SCAN_SECTION ? PROGRAM_SECTION : PROGRAM_INVERTED,
        .place = word->place,
    };
    if (c->depth == MUSTACHE_SECTION_DEPTH_MAX)
        return fail(c, word->place,
                    "sections nested too deep; move the inner ones into a "
                    "partial");
    if (add_path(c, word, &section.index) != 0)
        return -1;
    begin_tag(c, word);
    c->open[c->depth++] = (struct open_section){instruction_count(c), *word};
    add_instruction(c, &section);
    return 0;
}

static int compile_close(struct compiler *c, const struct scan_word *word)
{
    if (c->depth == 0)
        return error_set(c->error, ERROR_DATA,
                         "%s:%u:%u: {{/%.*s}} closes a section that was never "
                         "opened; remove it, or open it with {{#%.*s}}",
                         c->scan.name, word->place.line, word->place.column,
                         (int)word->name_size, word->name, (int)word->name_size,
                         word->name);
    const struct open_section *open = &c->open[c->depth - 1];
    if (open->word.name_size != word->name_size ||
        memcmp(open->word.name, word->name, word->name_size) != 0)
        return error_set(
            c->error, ERROR_DATA,
            "%s:%u:%u: {{/%.*s}} where {{/%.*s}} is needed: the section "
            "opened at line %u, column %u is not closed yet",
            c->scan.name, word->place.line, word->place.column,
            (int)word->name_size, word->name, (int)open->word.name_size,
            open->word.name, open->word.place.line, open->word.place.column);
    begin_tag(c, word);
    if (c->instructions.failed)
        return 0;
    c->depth--;
    instruction_at(c, open->instruction)->extent = instruction_count(c);
    return 0;
}

static uint32_t add_partial(struct compiler *c, const struct scan_word *word)
{
    uint32_t index = count_of(&c->partials, sizeof(struct program_span));
    struct program_span name = add_name(c, word->name, word->name_size);
    buffer_append(&c->partials, &name, sizeof(name));
    return index;
}

static int compile_partial(struct compiler *c, const struct scan_word *word)
{
    struct program_instruction partial = {
        .op = PROGRAM_PARTIAL,
        .flags = word->standalone ? PROGRAM_STANDALONE : 0,
        .place = word->place,
    };
    begin_tag(c, word);
    if (word->kind == SCAN_PARTIAL)
        partial.index = add_partial(c, word);
    else if (add_path(c, word, &partial.index) == 0)
        partial.flags |= PROGRAM_DYNAMIC;
    else
        return -1;
    if (word->standalone)
        partial.span = add_name(c, word->indent, word->indent_size);
    add_instruction(c, &partial);
    return 0;
}

static int compile_word(struct compiler *c, const struct scan_word *word)
{
    add_text(c, word);
    switch (word->kind) {
    case SCAN_VALUE:
    case SCAN_RAW:
        return compile_value(c, word);
    case SCAN_SECTION:
    case SCAN_INVERTED:
        return compile_section(c, word);
    case SCAN_CLOSE:
        return compile_close(c, word);
    case SCAN_PARTIAL:
    case SCAN_DYNAMIC:
        return compile_partial(c, word);
    case SCAN_END:
        flush_text(c);
        return 0;
    case SCAN_COMMENT:
    case SCAN_DELIMITERS:
        break;
    }
    return 0;
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
    const struct scan_word *open = &c->open[c->depth - 1].word;
    return error_set(c->error, ERROR_DATA,
                     "%s:%u:%u: section %.*s is never closed; end it with "
                     "{{/%.*s}}",
                     c->scan.name, open->place.line, open->place.column,
                     (int)open->name_size, open->name, (int)open->name_size,
                     open->name);
}

static void move_spans(struct mustache_program *program)
{
    uint32_t by = program->literal_size;
    struct program_part *parts = (void *)((char *)program + program->part_at);
    struct program_path *paths = (void *)((char *)program + program->path_at);
    struct program_span *partials =
        (void *)((char *)program + program->partial_at);
    for (uint32_t i = 0; i < program->part_count; i++)
        parts[i].name.at += by;
    for (uint32_t i = 0; i < program->path_count; i++)
        paths[i].name.at += by;
    for (uint32_t i = 0; i < program->partial_count; i++)
        partials[i].at += by;
    struct program_instruction *instructions =
        (void *)((char *)program + program->instruction_at);
    for (uint32_t i = 0; i < program->instruction_count; i++)
        if (instructions[i].op == PROGRAM_PARTIAL)
            instructions[i].span.at += by;
}

static uint32_t place_table(uint32_t *size, const struct buffer *table)
{
    uint32_t at = *size;
    *size = (uint32_t)(at + table->size + PROGRAM_ALIGNMENT - 1) &
            ~(PROGRAM_ALIGNMENT - 1);
    return at;
}

static void copy_table(struct mustache_program *program, uint32_t at,
                       const struct buffer *table)
{
    if (table->size > 0)
        memcpy((char *)program + at, table->bytes, table->size);
}

static struct mustache_program *assemble(struct compiler *c)
{
    struct mustache_program head = {
        .magic = PROGRAM_MAGIC,
        .version = PROGRAM_VERSION,
        .header_size = sizeof(head),
        .size = sizeof(head),
        .literal_size = (uint32_t)c->literals.size,
        .instruction_count = instruction_count(c),
        .pair_count = count_of(&c->pairs, sizeof(struct program_pair)),
        .path_count = count_of(&c->paths, sizeof(struct program_path)),
        .part_count = count_of(&c->parts, sizeof(struct program_part)),
        .partial_count = count_of(&c->partials, sizeof(struct program_span)),
    };
    head.name = add_name(c, c->scan.name, strlen(c->scan.name));
    head.name.at += head.literal_size;
    head.instruction_at = place_table(&head.size, &c->instructions);
    head.pair_at = place_table(&head.size, &c->pairs);
    head.path_at = place_table(&head.size, &c->paths);
    head.part_at = place_table(&head.size, &c->parts);
    head.partial_at = place_table(&head.size, &c->partials);
    head.text_at = head.size;
    head.text_size =
        (uint32_t)(c->literals.size + c->names.size + PROGRAM_SLACK);
    head.size += head.text_size;
    struct mustache_program *program = calloc(1, head.size);
    if (program == NULL || c->names.failed) {
        free(program);
        return NULL;
    }
    *program = head;
    copy_table(program, head.instruction_at, &c->instructions);
    copy_table(program, head.pair_at, &c->pairs);
    copy_table(program, head.path_at, &c->paths);
    copy_table(program, head.part_at, &c->parts);
    copy_table(program, head.partial_at, &c->partials);
    copy_table(program, head.text_at, &c->literals);
    copy_table(program, head.text_at + head.literal_size, &c->names);
    move_spans(program);
    return program;
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

struct mustache_program *mustache_compile(const char *name, const char *text,
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
    struct compiler *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        error_set_errno(error, ERROR_SYSTEM, "compile %s", name);
        return NULL;
    }
    c->error = error;
    scan_init(&c->scan, name, text, size);
    struct buffer *table;
    for (size_t i = 0; (table = tables_of(c, i)) != NULL; i++)
        buffer_init(table, TABLE_MAX);
    if (compile_words(c) == 0) {
        program = out_of_memory(c) ? NULL : assemble(c);
        if (program == NULL)
            error_set(error, ERROR_SYSTEM, "compile %s: no memory left", name);
    }
    for (size_t i = 0; (table = tables_of(c, i)) != NULL; i++)
        buffer_deinit(table);
    free(c->interned);
    free(c);
    return program;
}
