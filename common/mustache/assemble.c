/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of a compilation, put together as one flat program.
 */
#include "common/mustache/compile.h"

#include <stdlib.h>
#include <string.h>

static bool has_indentation(const struct program_instruction *instruction)
{
    return instruction->op == PROGRAM_PARTIAL ||
           instruction->op == PROGRAM_PARENT ||
           instruction->op == PROGRAM_BLOCK;
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
        if (has_indentation(&instructions[i]))
            instructions[i].span.at += by;
}

static uint32_t aligned(uint32_t size)
{
    return (size + PROGRAM_ALIGNMENT - 1) & ~(PROGRAM_ALIGNMENT - 1);
}

static uint32_t place_table(uint32_t *size, const struct buffer *table)
{
    uint32_t at = aligned(*size);
    *size = at + (uint32_t)table->size;
    return at;
}

static void copy_table(struct mustache_program *program, uint32_t at,
                       const struct buffer *table)
{
    if (table->size > 0)
        memcpy((char *)program + at, table->bytes, table->size);
}

struct mustache_program *compile_assemble(struct compiler *c)
{
    struct mustache_program head = {
        .magic = PROGRAM_MAGIC,
        .version = PROGRAM_VERSION,
        .header_size = sizeof(head),
        .size = sizeof(head),
        .syntax = c->syntax,
        .literal_size = (uint32_t)c->literals.size,
        .instruction_count = compile_instruction_count(c),
        .pair_count = compile_count(&c->pairs, sizeof(struct program_pair)),
        .path_count = compile_count(&c->paths, sizeof(struct program_path)),
        .part_count = compile_count(&c->parts, sizeof(struct program_part)),
        .partial_count =
            compile_count(&c->partials, sizeof(struct program_span)),
    };
    head.name = compile_add_name(c, c->scan.name, strlen(c->scan.name));
    head.name.at += head.literal_size;
    head.instruction_at = place_table(&head.size, &c->instructions);
    head.pair_at = place_table(&head.size, &c->pairs);
    head.path_at = place_table(&head.size, &c->paths);
    head.part_at = place_table(&head.size, &c->parts);
    head.partial_at = place_table(&head.size, &c->partials);
    head.text_at = aligned(head.size);
    head.text_size =
        (uint32_t)(c->literals.size + c->names.size + PROGRAM_SLACK);
    head.size = head.text_at + head.text_size;
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
