/* SPDX-License-Identifier: Apache-2.0 */
#include "common/mustache/program.h"

#include <stdlib.h>

#include "common/mustache/lambda.h"

void mustache_program_free(struct mustache_program **program)
{
    free(*program);
    *program = NULL;
}

size_t mustache_program_size(const struct mustache_program *program)
{
    return program->size;
}

static bool table_valid(const struct mustache_program *program, uint32_t at,
                        uint32_t count, size_t item_size)
{
    return at % PROGRAM_ALIGNMENT == 0 && at >= sizeof(*program) &&
           at <= program->size && count <= (program->size - at) / item_size;
}

static bool header_valid(const struct mustache_program *p, size_t size)
{
    return p->magic == PROGRAM_MAGIC && p->version == PROGRAM_VERSION &&
           p->header_size == sizeof(*p) && p->size == size &&
           p->syntax <= MUSTACHE_SYNTAX_PLACEHOLDER &&
           table_valid(p, p->instruction_at, p->instruction_count,
                       sizeof(struct program_instruction)) &&
           table_valid(p, p->pair_at, p->pair_count,
                       sizeof(struct program_pair)) &&
           table_valid(p, p->path_at, p->path_count,
                       sizeof(struct program_path)) &&
           table_valid(p, p->part_at, p->part_count,
                       sizeof(struct program_part)) &&
           table_valid(p, p->partial_at, p->partial_count,
                       sizeof(struct program_span)) &&
           table_valid(p, p->text_at, p->text_size, 1) &&
           p->text_size >= PROGRAM_SLACK && p->literal_size <= p->text_size;
}

static bool span_valid(const struct mustache_program *program,
                       struct program_span span)
{
    uint32_t room = program->text_size - PROGRAM_SLACK;
    return span.at <= room && span.size <= room - span.at;
}

static bool range_valid(uint32_t first, uint32_t count, uint32_t of)
{
    return first <= of && count <= of - first;
}

static bool names_valid(const struct mustache_program *program)
{
    if (!span_valid(program, program->name))
        return false;
    for (uint32_t i = 0; i < program->part_count; i++)
        if (!span_valid(program, program_parts(program)[i].name))
            return false;
    for (uint32_t i = 0; i < program->partial_count; i++)
        if (!span_valid(program, program_partials(program)[i]))
            return false;
    for (uint32_t i = 0; i < program->path_count; i++) {
        const struct program_path *path = &program_paths(program)[i];
        if (!span_valid(program, path->name) || path->from_current > 1 ||
            path->lambda >= LAMBDA_COUNT ||
            !range_valid(path->part, path->part_count, program->part_count))
            return false;
    }
    return true;
}

static bool pairs_valid(const struct mustache_program *program)
{
    for (uint32_t i = 0; i < program->pair_count; i++) {
        const struct program_pair *pair = &program_pairs(program)[i];
        unsigned need = PAIR_LONG_VALUE;
        if (pair->literal.size > PROGRAM_SLACK)
            need |= PAIR_LONG_LITERAL;
        if (!span_valid(program, pair->literal) ||
            pair->path >= program->path_count || (pair->mask & need) != need)
            return false;
    }
    return true;
}

static bool instruction_valid(const struct mustache_program *program,
                              const struct program_instruction *instruction)
{
    uint32_t index = instruction->index;
    if (!span_valid(program, instruction->span))
        return false;
    switch (instruction->op) {
    case PROGRAM_TEXT:
    case PROGRAM_INDENT:
        return true;
    case PROGRAM_RUN:
        return range_valid(index, instruction->extent, program->pair_count);
    case PROGRAM_SECTION:
    case PROGRAM_INVERTED:
        return index < program->path_count;
    case PROGRAM_BLOCK:
    case PROGRAM_ARGUMENT:
        return index < program->partial_count;
    case PROGRAM_PARTIAL:
    case PROGRAM_PARENT:
        return index < ((instruction->flags & PROGRAM_DYNAMIC) != 0
                            ? program->path_count
                            : program->partial_count);
    default:
        return false;
    }
}

/* What has an end must lie within each other: else execution would run past
 * the end of one, and perhaps never come to an end.  Arguments are found by
 * going from end to end, so a parent has nothing else. */
static bool instructions_valid(const struct mustache_program *program)
{
    struct {
        uint32_t end, op;
    } open[MUSTACHE_SECTION_DEPTH_MAX + 1] = {{program->instruction_count, 0}};
    unsigned depth = 0;
    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct program_instruction *instruction =
            &program_instructions(program)[i];
        while (depth > 0 && open[depth].end <= i)
            depth--;
        if (!instruction_valid(program, instruction) ||
            (open[depth].op == PROGRAM_PARENT) !=
                (instruction->op == PROGRAM_ARGUMENT))
            return false;
        if (!program_has_end(instruction->op))
            continue;
        if (depth == MUSTACHE_SECTION_DEPTH_MAX || instruction->extent <= i ||
            instruction->extent > open[depth].end)
            return false;
        open[++depth].end = instruction->extent;
        open[depth].op = instruction->op;
    }
    return true;
}

bool mustache_program_valid(const void *bytes, size_t size)
{
    const struct mustache_program *program = bytes;
    return bytes != NULL && (uintptr_t)bytes % PROGRAM_ALIGNMENT == 0 &&
           size >= sizeof(*program) && header_valid(program, size) &&
           names_valid(program) && pairs_valid(program) &&
           instructions_valid(program);
}
