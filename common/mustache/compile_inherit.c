/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks and parents.  What the specification's cases ask of their lines:
 *
 * - A parent whose first tag begins a line and whose last one ends one
 *   stands alone, whatever is between.
 * - A block within a parent is an argument: a text of its own.  When its
 *   first tag ends a line, the text begins with the next one and loses the
 *   indentation of its first line; blanks before its last tag are not in it.
 * - Any other block is a place for an argument, whose lines are indented as
 *   the first line of the block's own text is, when the first tag has a line
 *   for itself; else as that tag is, when the block begins and ends lines.
 */
#include "common/mustache/compile.h"

static struct program_span add_indentation(struct compiler *c,
                                           struct scan_text blanks)
{
    struct scan_text left = compile_dedented(c, blanks.text, blanks.size);
    return compile_add_name(c, left.text, left.size);
}

/* Whether the parent stands alone is known at its end: until then the blanks
 * before it are a text of their own. */
static void add_lead(struct compiler *c, const struct scan_word *word)
{
    if (!word->clear_before)
        return;
    compile_add_literal(c, word->indent, word->indent_size, true);
    c->pending_line_start = false;
    compile_flush_text(c);
}

int compile_parent(struct compiler *c, struct scan_word *word)
{
    struct program_instruction parent = {
        .op = PROGRAM_PARENT,
        .place = word->place,
    };
    scan_take(&c->scan, word, word->clear_before, false);
    compile_add_text(c, word);
    compile_flush_text(c);
    uint32_t lead = compile_instruction_count(c);
    compile_begin_tag(c, word);
    add_lead(c, word);
    if (!word->dynamic)
        parent.index = compile_add_partial(c, word);
    else if (compile_add_path(c, word, &parent.index) == 0)
        parent.flags |= PROGRAM_DYNAMIC;
    else
        return -1;
    struct open_tag *open = compile_open(c, word);
    if (open == NULL)
        return -1;
    open->lead = lead;
    compile_add_instruction(c, &parent);
    return 0;
}

void compile_close_parent(struct compiler *c, struct open_tag *open,
                          struct scan_word *word)
{
    bool alone = open->word.clear_before && word->clear_behind;
    scan_take(&c->scan, word, false, alone);
    if (!alone || c->instructions.failed)
        return;
    scan_begin_line(&c->scan, true);
    for (uint32_t i = open->lead; i < open->instruction; i++)
        *compile_instruction(c, i) =
            (struct program_instruction){.op = PROGRAM_TEXT};
    struct program_instruction *parent =
        compile_instruction(c, open->instruction);
    parent->flags |= PROGRAM_STANDALONE;
    parent->span = add_indentation(
        c, (struct scan_text){open->word.indent, open->word.indent_size});
}

static int open_argument(struct compiler *c, struct scan_word *word)
{
    struct program_instruction argument = {
        .op = PROGRAM_ARGUMENT,
        .index = compile_add_partial(c, word),
        .place = word->place,
    };
    scan_take(&c->scan, word, false, word->clear_behind);
    scan_begin_line(&c->scan, word->clear_behind);
    if (compile_open(c, word) == NULL)
        return -1;
    c->dedent = word->clear_behind ? scan_indentation(&c->scan)
                                   : (struct scan_text){"", 0};
    compile_add_instruction(c, &argument);
    return 0;
}

int compile_block(struct compiler *c, struct scan_word *word)
{
    if (compile_within_parent(c))
        return open_argument(c, word);
    bool alone = scan_alone(word);
    struct program_instruction block = {
        .op = PROGRAM_BLOCK,
        .flags = alone ? PROGRAM_STANDALONE : 0,
        .index = compile_add_partial(c, word),
        .place = word->place,
    };
    scan_take(&c->scan, word, alone, alone);
    compile_add_text(c, word);
    compile_begin_tag(c, word);
    struct open_tag *open = compile_open(c, word);
    if (open == NULL)
        return -1;
    open->inner = scan_indentation(&c->scan);
    compile_add_instruction(c, &block);
    return 0;
}

static void close_argument(struct compiler *c, struct scan_word *word)
{
    scan_take(&c->scan, word, word->clear_before, false);
    compile_add_text(c, word);
    compile_flush_text(c);
    c->run_open = false;
}

void compile_close_block(struct compiler *c, struct open_tag *open,
                         struct scan_word *word)
{
    if (c->instructions.failed)
        return;
    struct program_instruction *block =
        compile_instruction(c, open->instruction);
    if (block->op == PROGRAM_ARGUMENT) {
        close_argument(c, word);
        return;
    }
    bool alone = scan_alone(word);
    scan_take(&c->scan, word, alone, alone);
    compile_add_text(c, word);
    compile_begin_tag(c, word);
    struct scan_text own = {open->word.indent, open->word.indent_size};
    bool empty = compile_instruction_count(c) == open->instruction + 1;
    block = compile_instruction(c, open->instruction);
    if ((block->flags & PROGRAM_STANDALONE) != 0 && !empty)
        own = open->inner;
    else if (!open->word.clear_before || !word->clear_behind)
        return;
    block->span = add_indentation(c, own);
}
