/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates within templates: partials, parents with their arguments, and
 * the blocks that take them.
 */
#include <string.h>

#include "common/mustache/execute.h"

struct unit *unit_new(struct execution *x,
                      const struct mustache_program *program)
{
    for (struct unit *unit = x->units; unit != NULL; unit = unit->next) {
        x->steps++;
        if (unit->program == program)
            return unit;
    }
    struct unit *unit = execution_alloc(x, sizeof(*unit));
    struct slot *slots =
        execution_alloc(x, program->path_count * sizeof(*slots));
    struct unit **partials =
        execution_alloc(x, program->partial_count * sizeof(struct unit *));
    if (unit == NULL || slots == NULL || partials == NULL)
        return NULL;
    for (uint32_t i = 0; i < program->path_count; i++)
        slots[i].stamp = 0;
    if (program->partial_count > 0)
        memset(partials, 0, program->partial_count * sizeof(struct unit *));
    *unit = (struct unit){program, slots, partials, x->units};
    x->units = unit;
    return unit;
}

/* The unit of a partial; NULL on an error. */
static struct unit *find_partial(struct execution *x, const struct call *call,
                                 struct program_place place, const char *name,
                                 size_t size)
{
    struct error error = {.code = ERROR_NONE};
    const struct mustache_program *found = NULL;
    x->steps += EXECUTION_RESOLVE_STEPS;
    if (x->options->resolver != NULL)
        found = x->options->resolver(x->options->resolver_context, name, size,
                                     &error);
    if (found != NULL) {
        struct unit *unit = unit_new(x, found);
        if (unit == NULL)
            execution_fail(x, call, place, "no memory for the partial %.*s",
                           (int)size, name);
        return unit;
    }
    if (error.code != ERROR_NONE)
        execution_fail(x, call, place, "partial %.*s: %s", (int)size, name,
                       error.text);
    else if (x->options->strict)
        execution_fail(x, call, place,
                       "there is no partial %.*s; add it to the folder of "
                       "partials",
                       (int)size, name);
    else
        return &x->missing;
    return NULL;
}

/* {{>*name}}: whatever the name means here. */
static struct unit *find_dynamic(struct execution *x, const struct call *call,
                                 const struct program_instruction *instruction,
                                 const struct context *context)
{
    struct slot *slot = &call->unit->slots[instruction->index];
    if (slot->stamp != context->stamp &&
        slot_fill(x, call, instruction->index, context, instruction->place,
                  false) != 0)
        return NULL;
    if (slot->size == 0)
        return &x->missing;
    return find_partial(x, call, instruction->place, slot->text, slot->size);
}

/* {{>name}}: asked for once. */
static struct unit *find_named(struct execution *x, const struct call *call,
                               const struct program_instruction *instruction)
{
    struct unit **known = &call->unit->partials[instruction->index];
    const struct mustache_program *program = call->unit->program;
    struct program_span name = program_partials(program)[instruction->index];
    if (*known == NULL)
        *known = find_partial(x, call, instruction->place,
                              program_text(program) + name.at, name.size);
    return *known;
}

static struct unit *find_unit(struct execution *x, const struct call *call,
                              const struct program_instruction *instruction,
                              const struct context *context)
{
    return (instruction->flags & PROGRAM_DYNAMIC) != 0
               ? find_dynamic(x, call, instruction, context)
               : find_named(x, call, instruction);
}

static int check_depth(struct execution *x, const struct call *call,
                       const struct program_instruction *instruction)
{
    if (call->depth < MUSTACHE_PARTIAL_DEPTH_MAX)
        return 0;
    return execution_fail(x, call, instruction->place,
                          "partials nested deeper than %d: a template that "
                          "includes itself for ever; put the tag into a "
                          "section that ends",
                          MUSTACHE_PARTIAL_DEPTH_MAX);
}

static struct indentation
indentation_of(const struct call *call,
               const struct program_instruction *instruction)
{
    return (struct indentation){
        call->indentation,
        program_text(call->unit->program) + instruction->span.at,
        instruction->span.size,
    };
}

/* Runs the template that a partial's or parent's tag names. */
static int run_template(struct execution *x, const struct call *call,
                        const struct program_instruction *instruction,
                        const struct arguments *arguments,
                        const struct context *context)
{
    struct unit *unit = find_unit(x, call, instruction, context);
    if (unit == NULL)
        return -1;
    if (unit == &x->missing)
        return 0;
    if (check_depth(x, call, instruction) != 0)
        return -1;
    struct indentation indentation = indentation_of(call, instruction);
    struct call inner = {
        .unit = unit,
        .up = call,
        .from = instruction->place,
        .arguments = arguments,
        .depth = call->depth + 1,
    };
    if ((instruction->flags & PROGRAM_STANDALONE) != 0)
        inner.indentation =
            indentation.size > 0 ? &indentation : call->indentation;
    return execution_run(x, &inner, 0, unit->program->instruction_count,
                         context);
}

int run_partial(struct execution *x, const struct call *call,
                const struct program_instruction *instruction,
                const struct context *context)
{
    return run_template(x, call, instruction, call->arguments, context);
}

int run_parent(struct execution *x, const struct call *call, uint32_t index,
               const struct context *context)
{
    const struct arguments arguments = {call->arguments, call, index};
    return run_template(x, call,
                        &program_instructions(call->unit->program)[index],
                        &arguments, context);
}

static bool has_name(const struct mustache_program *program, uint32_t index,
                     const char *name, size_t size)
{
    struct program_span own = program_partials(program)[index];
    return own.size == size &&
           memcmp(program_text(program) + own.at, name, size) == 0;
}

/* The instruction of the argument, the last of its name; 0: not given. */
static uint32_t find_argument(struct execution *x,
                              const struct arguments *arguments,
                              const char *name, size_t size)
{
    const struct mustache_program *program = arguments->call->unit->program;
    const struct program_instruction *instructions =
        program_instructions(program);
    uint32_t found = 0;
    for (uint32_t i = arguments->parent + 1;
         i < instructions[arguments->parent].extent;
         i = instructions[i].extent) {
        if (has_name(program, instructions[i].index, name, size))
            found = i;
        x->steps++;
    }
    return found;
}

/* Renders an argument in a block's place, with the contexts of that place.
 * Blocks in it belong to the template that it stands in, which has fewer
 * arguments: so arguments within each other end. */
static int run_argument(struct execution *x, const struct call *call,
                        const struct program_instruction *block,
                        const struct arguments *arguments, uint32_t argument,
                        const struct context *context)
{
    struct indentation indentation = indentation_of(call, block);
    struct call inner = {
        .unit = arguments->call->unit,
        .up = call,
        .from = block->place,
        .indentation = indentation.size > 0 ? &indentation : call->indentation,
        .arguments = arguments->call->arguments,
        .depth = call->depth + 1,
    };
    if ((block->flags & PROGRAM_STANDALONE) == 0)
        x->inline_at = (size_t)(x->at - x->out->bytes);
    return execution_run(
        x, &inner, argument + 1,
        program_instructions(inner.unit->program)[argument].extent, context);
}

int run_block(struct execution *x, const struct call *call, uint32_t index,
              const struct context *context)
{
    const struct mustache_program *program = call->unit->program;
    const struct program_instruction *block =
        &program_instructions(program)[index];
    struct program_span name = program_partials(program)[block->index];
    const struct arguments *given = NULL;
    uint32_t argument = 0;
    for (const struct arguments *at = call->arguments; at != NULL;
         at = at->up) {
        uint32_t found =
            find_argument(x, at, program_text(program) + name.at, name.size);
        if (found != 0) {
            given = at;
            argument = found;
        }
    }
    if (given != NULL)
        return run_argument(x, call, block, given, argument, context);
    if (execution_enter(x, call, block->place) != 0)
        return -1;
    int result = execution_run(x, call, index + 1, block->extent, context);
    x->sections--;
    return result;
}
