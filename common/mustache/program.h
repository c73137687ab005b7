/* SPDX-License-Identifier: Apache-2.0
 *
 * The flat form of a compiled template: one block, offsets instead of
 * pointers, so that it can lie anywhere, in shared memory too.
 *
 *   header | instructions | pairs | paths | parts | partials | text
 *
 * The text holds first all literals in the order of the template, then the
 * names, then PROGRAM_SLACK bytes, so that a short literal may be copied
 * as PROGRAM_SLACK bytes without looking at its size.
 *
 * What belongs together most often, a literal and the value behind it, is
 * one pair; consecutive pairs are one instruction, executed in one loop.
 */
#ifndef TIDEMILL_MUSTACHE_PROGRAM_H
#define TIDEMILL_MUSTACHE_PROGRAM_H

#include <stdint.h>

#include "common/mustache/mustache.h"

#define PROGRAM_MAGIC   0x74706d54u /* "Tmpt" */
#define PROGRAM_VERSION 2
#define PROGRAM_SLACK   32

/* Instructions with an `end` cover those behind them up to it. */
enum program_op {
    PROGRAM_TEXT = 1, /* write span */
    PROGRAM_RUN,      /* write `count` pairs from `index` on */
    PROGRAM_PARTIAL,  /* partial `index`; span: its indentation */
    PROGRAM_INDENT,   /* a line of the template starts with a tag */
    PROGRAM_SECTION,  /* path `index`: body up to instruction `end` */
    PROGRAM_INVERTED, /* the same, when falsy */
    PROGRAM_BLOCK,    /* name `index`: an argument of that name, else what is
                         up to `end`; span: an argument's indentation */
    PROGRAM_PARENT,   /* partial `index` with the arguments up to `end`;
                         span: its indentation */
    PROGRAM_ARGUMENT, /* name `index`; only in parents, which have nothing
                         else */
    PROGRAM_OP_END
};

static inline bool program_has_end(uint32_t op)
{
    return op >= PROGRAM_SECTION;
}

/* Flags of instructions. */
#define PROGRAM_LINE_START 1u /* TEXT: a template line starts here */
#define PROGRAM_STANDALONE 2u /* PARTIAL, PARENT, BLOCK: alone on its line */
#define PROGRAM_DYNAMIC    4u /* PARTIAL, PARENT: path `index` names it */

struct program_span { /* in the text */
    uint32_t at;
    uint32_t size;
};

struct program_place { /* in the template, from 1 */
    uint32_t line;
    uint32_t column;
};

struct program_instruction {
    uint32_t op;
    uint32_t flags;
    uint32_t index;
    uint32_t extent; /* RUN: count; otherwise: end */
    struct program_span span;
    struct program_place place;
};

/* Why a pair leaves the fast way.  A pair's mask says what would matter to
 * it, a value's bits what is the case; both and-ed give the answer. */
#define PAIR_LONG_VALUE   1u /* over PROGRAM_SLACK, or no scalar */
#define PAIR_ESCAPE       2u /* has bytes that its escape changes */
#define PAIR_LONG_LITERAL 4u /* over PROGRAM_SLACK: set in every value */
#define PAIR_LINES        8u /* begins or crosses lines: set when indented */

/* Flags of pairs. */
#define PAIR_LITERAL_LINE_START 1u
#define PAIR_VALUE_LINE_START   2u

struct program_pair {
    struct program_span literal;
    uint32_t path;
    uint16_t mask;
    uint16_t flags;
    struct program_place place; /* of the value's tag */
};

/* A name: a.b.c, found from the context stack, or from the current item
 * only for a leading dot; "." has no parts. */
struct program_path {
    struct program_span name; /* a placeholder's with its braces */
    uint32_t part;
    uint32_t part_count;
    uint32_t from_current; /* 0 or 1 */
    uint32_t lambda;       /* what the name means as a section when the data
                              does not define it; LAMBDA_NONE */
};

struct program_part {
    struct program_span name;
    uint64_t hash; /* text_hash of the name */
};

struct mustache_program {
    uint32_t magic;
    uint16_t version;
    uint16_t header_size;
    uint32_t size; /* of the whole block */
    uint32_t syntax; /* enum mustache_syntax */
    uint32_t literal_size;
    uint32_t instruction_at, instruction_count;
    uint32_t pair_at, pair_count;
    uint32_t path_at, path_count;
    uint32_t part_at, part_count;
    uint32_t partial_at, partial_count; /* spans: names of templates and blocks */
    uint32_t text_at, text_size;
    struct program_span name;
};

/* Every table begins at a multiple of this. */
#define PROGRAM_ALIGNMENT 8u

static inline const struct program_instruction *
program_instructions(const struct mustache_program *program)
{
    return (const void *)((const char *)program + program->instruction_at);
}

static inline const struct program_pair *
program_pairs(const struct mustache_program *program)
{
    return (const void *)((const char *)program + program->pair_at);
}

static inline const struct program_path *
program_paths(const struct mustache_program *program)
{
    return (const void *)((const char *)program + program->path_at);
}

static inline const struct program_part *
program_parts(const struct mustache_program *program)
{
    return (const void *)((const char *)program + program->part_at);
}

static inline const struct program_span *
program_partials(const struct mustache_program *program)
{
    return (const void *)((const char *)program + program->partial_at);
}

static inline const char *program_text(const struct mustache_program *program)
{
    return (const char *)program + program->text_at;
}

#endif
