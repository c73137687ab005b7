/* SPDX-License-Identifier: Apache-2.0
 *
 * One compilation: what its parts share.
 */
#ifndef TIDEMILL_MUSTACHE_COMPILE_H
#define TIDEMILL_MUSTACHE_COMPILE_H

#include "common/base/buffer.h"
#include "common/mustache/program.h"
#include "common/mustache/scan.h"

/* A section, block or parent that is not closed yet. */
struct open_tag {
    uint32_t instruction;
    uint32_t lead;             /* PARENT: the first instruction of its line */
    struct scan_word word;
    struct scan_text inner;    /* BLOCK: what its default is indented by */
    struct scan_text dedented; /* in force before */
};

struct compiler {
    struct scan scan;
    struct error *error;
    enum mustache_syntax syntax;
    struct buffer instructions, pairs, paths, parts, partials;
    struct buffer literals, names;
    struct program_span pending; /* literals that no instruction has yet */
    bool pending_line_start;
    uint32_t *interned; /* hash table of path numbers + 1 */
    uint32_t interned_size;
    uint32_t probes;
    bool run_open; /* the last instruction takes further pairs */
    struct scan_text dedent; /* what each line of an argument loses */
    unsigned depth;
    struct open_tag open[MUSTACHE_SECTION_DEPTH_MAX]; /* so many hold good */
};

/* "NAME:LINE:COLUMN: what"; returns -1. */
int compile_fail(struct compiler *c, struct program_place place,
                 const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline uint32_t compile_count(const struct buffer *table,
                                     size_t item_size)
{
    return (uint32_t)(table->size / item_size);
}

static inline uint32_t compile_instruction_count(const struct compiler *c)
{
    return compile_count(&c->instructions, sizeof(struct program_instruction));
}

static inline struct program_instruction *
compile_instruction(struct compiler *c, uint32_t index)
{
    return (struct program_instruction *)(void *)c->instructions.bytes + index;
}

void compile_add_instruction(struct compiler *c,
                             const struct program_instruction *instruction);

/* Names stand behind the literals, whose size is not known yet; spans of
 * names are moved there when the program is put together. */
struct program_span compile_add_name(struct compiler *c, const char *name,
                                     size_t size);

/* The number of a partial's, parent's or block's name. */
uint32_t compile_add_partial(struct compiler *c, const struct scan_word *word);

/* The number of a name of the data; one that was seen before has one. */
int compile_add_path(struct compiler *c, const struct scan_word *word,
                     uint32_t *index);

/* A value's tag, behind the literal that was added last. */
int compile_value(struct compiler *c, const struct scan_word *word);

/* Text of the template as a literal; begins: a line of the template. */
void compile_add_literal(struct compiler *c, const char *text, size_t size,
                         bool begins);

/* The text before a tag that was taken. */
void compile_add_text(struct compiler *c, const struct scan_word *word);

/* Ends the literal and the run before a tag; line_start: the tag may be the
 * first thing on a line. */
void compile_begin_tag(struct compiler *c, const struct scan_word *word);
void compile_flush_text(struct compiler *c);

/* Opens a section, block or parent; NULL: too deep. */
struct open_tag *compile_open(struct compiler *c, const struct scan_word *word);

static inline struct open_tag *compile_innermost(struct compiler *c)
{
    return c->depth == 0 ? NULL : &c->open[c->depth - 1];
}

/* What is left of the blanks before a tag when the argument that it is in
 * loses its own. */
struct scan_text compile_dedented(const struct compiler *c, const char *text,
                                  size_t size);

/* Is this directly between the tags of a parent, where only blocks count? */
bool compile_within_parent(const struct compiler *c);

/* Tags of blocks and parents, and their closing ones (compile_inherit.c). */
int compile_parent(struct compiler *c, struct scan_word *word);
int compile_block(struct compiler *c, struct scan_word *word);
void compile_close_parent(struct compiler *c, struct open_tag *open,
                          struct scan_word *word);
void compile_close_block(struct compiler *c, struct open_tag *open,
                         struct scan_word *word);

/* The program, of one malloc'ed block; NULL: no memory (assemble.c). */
struct mustache_program *compile_assemble(struct compiler *c);

#endif
