/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a program over data.
 */
#include "common/mustache/execute.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/mustache/escape.h"
#include "common/mustache/lambda.h"
#include "common/mustache/placeholder.h"

/* Links of a chain that a message shows from either end. */
#define CHAIN_SHOWN 4

static const char *name_of(const struct call *call, int *size)
{
    const struct mustache_program *program = call->unit->program;
    *size = (int)program->name.size;
    return program_text(program) + program->name.at;
}

/* " (included from A:1:2, from B:3:4)": the nearest and the outermost. */
static void add_chain(const struct call *call, char *text, size_t room)
{
    size_t used = strlen(text);
    const char *word = " (included from ";
    unsigned depth = call->depth;
    for (; call->up != NULL && used + 1 < room; call = call->up) {
        int size;
        const char *name = name_of(call->up, &size);
        if (depth - call->depth >= CHAIN_SHOWN && call->depth > CHAIN_SHOWN) {
            if (depth - call->depth == CHAIN_SHOWN)
                used += (size_t)snprintf(text + used, room - used, ", ...");
            continue;
        }
        used += (size_t)snprintf(text + used, room - used, "%s%.*s:%u:%u", word,
                                 size > 100 ? 100 : size, name, call->from.line,
                                 call->from.column);
        word = ", from ";
    }
    if (depth > 0 && used + 1 < room)
        snprintf(text + used, room - used, ")");
}

int execution_fail(struct execution *x, const struct call *call,
                   struct program_place place, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    int written = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (written > 0 && call != NULL)
        add_chain(call, text, sizeof(text));
    int size;
    const char *name = name_of(call, &size);
    return error_set(x->error, ERROR_DATA, "%.*s:%u:%u: %s", size, name,
                     place.line, place.column, text);
}

int execution_fail_steps(struct execution *x, const struct call *call,
                         struct program_place place)
{
    return execution_fail(x, call, place,
                          "given up after %" PRIu64
                          " steps; the template repeats too "
                          "much for this data",
                          x->steps_max);
}

int execution_enter(struct execution *x, const struct call *call,
                    struct program_place place)
{
    if (++x->sections <= EXECUTION_SECTION_MAX)
        return 0;
    return execution_fail(x, call, place,
                          "more than %u sections within each other",
                          EXECUTION_SECTION_MAX);
}

void *execution_alloc(struct execution *x, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > sizeof(x->scratch) - x->scratch_used)
        return arena_alloc(&x->arena, size);
    void *memory = x->scratch + x->scratch_used;
    x->scratch_used += size;
    return memory;
}

/* The window of the output that may be written without asking. */
static void open_window(struct execution *x)
{
    size_t end = x->out->capacity > 0 ? x->out->capacity - 1 : 0;
    x->at = x->out->bytes + x->out->size;
    x->end = x->out->bytes + (end < x->output_end ? end : x->output_end);
}

static void close_window(struct execution *x)
{
    x->out->size = (size_t)(x->at - x->out->bytes);
}

int execution_fail_output(struct execution *x, const struct call *call,
                          struct program_place place)
{
    return execution_fail(x, call, place,
                          "more than %zu bytes of output, or no memory for "
                          "them",
                          x->output_end);
}

/* The slow way to write: grows the buffer, keeps to the bounds. */
static int append_slow(struct execution *x, const struct call *call,
                       struct program_place place, const char *text,
                       size_t size)
{
    close_window(x);
    if (size > x->output_end - x->out->size)
        return execution_fail_output(x, call, place);
    buffer_append(x->out, text, size);
    if (x->out->failed)
        return execution_fail_output(x, call, place);
    open_window(x);
    return 0;
}

static int append(struct execution *x, const struct call *call,
                  struct program_place place, const char *text, size_t size)
{
    if (size >= (size_t)(x->end - x->at))
        return append_slow(x, call, place, text, size);
    memcpy(x->at, text, size);
    x->at += size;
    return 0;
}

static int append_indentation(struct execution *x, const struct call *call,
                              struct program_place place,
                              const struct indentation *indentation)
{
    if (indentation == NULL)
        return 0;
    if (append_indentation(x, call, place, indentation->up) != 0)
        return -1;
    return append(x, call, place, indentation->text, indentation->size);
}

/* At the beginning of a line, unless an argument goes on in one. */
static int begin_line(struct execution *x, const struct call *call,
                      struct program_place place)
{
    if ((size_t)(x->at - x->out->bytes) == x->inline_at)
        return 0;
    return append_indentation(x, call, place, call->indentation);
}

static bool line_is_empty(const char *line, const char *end)
{
    return line[0] == '\n' ||
           (line[0] == '\r' && line + 1 < end && line[1] == '\n');
}

/* A literal of a partial that is indented: before each line of it that is
 * not empty. */
static int append_lines(struct execution *x, const struct call *call,
                        struct program_place place, const char *text,
                        size_t size, bool line_start)
{
    const char *end = text + size;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *next = newline == NULL ? end : newline + 1;
        if (line_start && !line_is_empty(text, end) &&
            begin_line(x, call, place) != 0)
            return -1;
        if (append(x, call, place, text, (size_t)(next - text)) != 0)
            return -1;
        line_start = true;
        text = next;
    }
    return 0;
}

/* After something was written through the buffer's own functions. */
static int reopen_window(struct execution *x, const struct call *call,
                         struct program_place place)
{
    bool full = x->out->failed || x->out->size > x->output_end;
    if (x->out->size > x->output_end)
        x->out->size = x->output_end;
    open_window(x);
    return full ? execution_fail_output(x, call, place) : 0;
}

static int append_escaped(struct execution *x, const struct call *call,
                          struct program_place place, const char *text,
                          size_t size)
{
    close_window(x);
    escape_append(x->options->escape, text, size, x->out);
    return reopen_window(x, call, place);
}

static int append_json(struct execution *x, const struct call *call,
                       const struct program_pair *pair, const struct node *node)
{
    struct buffer json;
    if ((pair->mask & PAIR_ESCAPE) == 0) {
        close_window(x);
        document_write_json(node, x->out);
        return reopen_window(x, call, pair->place);
    }
    buffer_init(&json, x->output_end);
    document_write_json(node, &json);
    int result = json.failed ? execution_fail_output(x, call, pair->place)
                             : append_escaped(x, call, pair->place, json.bytes,
                                              json.size);
    buffer_deinit(&json);
    return result;
}

/* A list or map where a value should be: as JSON, or refused. */
static int append_structure(struct execution *x, const struct call *call,
                            const struct program_pair *pair,
                            const struct node *node)
{
    if (x->options->strict)
        return execution_fail(x, call, pair->place,
                              "a %s where a value is needed; open a section "
                              "for it",
                              node_kind_name(node->kind));
    return append_json(x, call, pair, node);
}

static int append_value(struct execution *x, const struct call *call,
                        const struct program_pair *pair,
                        const struct slot *slot)
{
    const struct node *node = slot->node;
    if (node != NULL && (node->kind == NODE_LIST || node->kind == NODE_MAP))
        return append_structure(x, call, pair, node);
    if ((slot->bits & pair->mask & PAIR_ESCAPE) != 0)
        return append_escaped(x, call, pair->place, slot->text, slot->size);
    return append(x, call, pair->place, slot->text, slot->size);
}

/* A pair with nothing assumed. */
static int write_pair(struct execution *x, const struct call *call,
                      const struct program_pair *pair, const struct slot *slot)
{
    const char *literal = program_text(call->unit->program) + pair->literal.at;
    if (call->indentation == NULL) {
        if (append(x, call, pair->place, literal, pair->literal.size) != 0)
            return -1;
        return append_value(x, call, pair, slot);
    }
    if (append_lines(x, call, pair->place, literal, pair->literal.size,
                     (pair->flags & PAIR_LITERAL_LINE_START) != 0) != 0)
        return -1;
    if ((pair->flags & PAIR_VALUE_LINE_START) != 0 &&
        begin_line(x, call, pair->place) != 0)
        return -1;
    return append_value(x, call, pair, slot);
}

/* The loop where the time goes: nearly all literals and values are short,
 * so both are copied at full width, and only their sizes count.  It stands
 * for itself, so that what is compiled around it does not change its speed. */
__attribute__((noinline, aligned(64))) static int
run_pairs(struct execution *x, const struct call *call,
          const struct program_pair *pair, uint32_t count,
          const struct context *context)
{
    const char *text = program_text(call->unit->program);
    struct slot *slots = call->unit->slots;
    const uint64_t stamp = context->stamp;
    const unsigned always = call->indentation == NULL ? 0 : PAIR_LINES;
    const char *window_end = x->end;
    char *at = x->at;
    for (const struct program_pair *end = pair + count; pair < end; pair++) {
        struct slot *slot = &slots[pair->path];
        if (slot->stamp != stamp &&
            slot_fill(x, call, pair->path, context, pair->place, false) != 0) {
            x->at = at;
            return -1;
        }
        if (((slot->bits | always) & pair->mask) != 0 ||
            window_end - at < 2 * PROGRAM_SLACK) {
            x->at = at;
            if (write_pair(x, call, pair, slot) != 0)
                return -1;
            at = x->at;
            window_end = x->end;
            continue;
        }
        memcpy(at, text + pair->literal.at, PROGRAM_SLACK);
        at += pair->literal.size;
        memcpy(at, slot->head, PROGRAM_SLACK);
        at += slot->size;
    }
    x->at = at;
    return 0;
}

static bool is_truthy(const struct node *node)
{
    if (node == NULL || node->kind == NODE_NULL)
        return false;
    if (node->kind == NODE_BOOL)
        return node->boolean;
    return node->kind != NODE_LIST || node->first != NULL;
}

/* A section's body with one more item on the context stack. */
static int run_item(struct execution *x, const struct call *call,
                    const struct program_instruction *section, uint32_t begin,
                    const struct node *node, const struct context *up)
{
    struct context context = {node, up, ++x->stamps};
    return execution_run(x, call, begin, section->extent, &context);
}

/* Renders the body, then puts what the lambda makes of it in its place. */
static int run_lambda(struct execution *x, const struct call *call,
                      uint32_t index, uint32_t lambda,
                      const struct context *context)
{
    const struct program_instruction *section =
        &program_instructions(call->unit->program)[index];
    size_t start = (size_t)(x->at - x->out->bytes);
    if (execution_run(x, call, index + 1, section->extent, context) != 0)
        return -1;
    size_t size = (size_t)(x->at - x->out->bytes) - start;
    if (execution_step(x, call, section->place, size / 2) != 0)
        return -1;
    struct buffer made;
    buffer_init(&made, x->output_end);
    lambda_apply(lambda, x->out->bytes + start, size, &made);
    x->at -= size;
    x->inline_at = SIZE_MAX;
    int result = made.failed ? execution_fail_output(x, call, section->place)
                 : made.size == 0
                     ? 0
                     : append(x, call, section->place, made.bytes, made.size);
    buffer_deinit(&made);
    return result;
}

static int run_items(struct execution *x, const struct call *call,
                     uint32_t index, const struct node *node,
                     const struct context *context)
{
    const struct program_instruction *section =
        &program_instructions(call->unit->program)[index];
    if (node->kind != NODE_LIST)
        return run_item(x, call, section, index + 1, node, context);
    for (const struct node *item = node->first; item != NULL; item = item->next)
        if (execution_step(x, call, section->place, 1) != 0 ||
            run_item(x, call, section, index + 1, item, context) != 0)
            return -1;
    return 0;
}

static int run_section(struct execution *x, const struct call *call,
                       uint32_t index, const struct context *context)
{
    const struct mustache_program *program = call->unit->program;
    const struct program_instruction *section =
        &program_instructions(program)[index];
    struct slot *slot = &call->unit->slots[section->index];
    if (slot->stamp != context->stamp &&
        slot_fill(x, call, section->index, context, section->place, true) != 0)
        return -1;
    const struct node *node = slot->node;
    uint32_t lambda =
        node == NULL ? program_paths(program)[section->index].lambda : 0;
    bool wanted = is_truthy(node) || lambda != LAMBDA_NONE;
    if (wanted == (section->op == PROGRAM_INVERTED))
        return 0;
    if (execution_enter(x, call, section->place) != 0)
        return -1;
    int result;
    if (!wanted)
        result = execution_run(x, call, index + 1, section->extent, context);
    else if (lambda != LAMBDA_NONE)
        result = run_lambda(x, call, index, lambda, context);
    else
        result = run_items(x, call, index, node, context);
    x->sections--;
    return result;
}

static int run_text(struct execution *x, const struct call *call,
                    const struct program_instruction *instruction)
{
    const char *text = program_text(call->unit->program) + instruction->span.at;
    if (call->indentation == NULL)
        return append(x, call, instruction->place, text,
                      instruction->span.size);
    return append_lines(x, call, instruction->place, text,
                        instruction->span.size,
                        (instruction->flags & PROGRAM_LINE_START) != 0);
}

static int run_instruction(struct execution *x, const struct call *call,
                           uint32_t index, const struct context *context)
{
    const struct program_instruction *instruction =
        &program_instructions(call->unit->program)[index];
    switch ((enum program_op)instruction->op) {
    case PROGRAM_TEXT:
        return run_text(x, call, instruction);
    case PROGRAM_SECTION:
    case PROGRAM_INVERTED:
        return run_section(x, call, index, context);
    case PROGRAM_PARTIAL:
        return run_partial(x, call, instruction, context);
    case PROGRAM_INDENT:
        return begin_line(x, call, instruction->place);
    case PROGRAM_BLOCK:
        return run_block(x, call, index, context);
    case PROGRAM_PARENT:
        return run_parent(x, call, index, context);
    case PROGRAM_RUN:      /* see below */
    case PROGRAM_ARGUMENT: /* run by the block that it is for */
    case PROGRAM_OP_END:
        break;
    }
    return 0;
}

int execution_run(struct execution *x, const struct call *call, uint32_t begin,
                  uint32_t end, const struct context *context)
{
    const struct mustache_program *program = call->unit->program;
    for (uint32_t i = begin; i < end;) {
        const struct program_instruction *instruction =
            &program_instructions(program)[i];
        uint64_t steps = 1;
        int result;
        if (instruction->op == PROGRAM_RUN) {
            steps = instruction->extent;
            result =
                run_pairs(x, call, program_pairs(program) + instruction->index,
                          instruction->extent, context);
        } else {
            result = run_instruction(x, call, i, context);
        }
        if (result != 0 ||
            execution_step(x, call, instruction->place, steps) != 0)
            return -1;
        i = program_has_end(instruction->op) ? instruction->extent : i + 1;
    }
    return 0;
}

static size_t output_end(const struct mustache_options *options,
                         const struct buffer *out)
{
    size_t most =
        options->output_max == 0 ? MUSTACHE_OUTPUT_MAX : options->output_max;
    size_t room = out->limit > out->size ? out->limit - out->size : 0;
    return out->size + (most < room ? most : room);
}

int mustache_execute(const struct mustache_program *program,
                     const struct node *data,
                     const struct mustache_options *options, struct buffer *out,
                     struct error *error)
{
    struct execution x;
    x.options = options;
    x.out = out;
    x.output_end = output_end(options, out);
    x.stamps = 1;
    x.steps = 0;
    x.steps_max =
        options->steps_max == 0 ? MUSTACHE_STEPS_MAX : options->steps_max;
    x.sections = 0;
    x.inline_at = SIZE_MAX;
    x.units = NULL;
    x.index_memory = 0;
    memset(x.indexes, 0, sizeof(x.indexes));
    x.missing = (struct unit){0};
    x.error = error;
    x.scratch_used = 0;
    arena_init(&x.arena, EXECUTION_MEMORY_MAX);
    struct call call = {.unit = unit_new(&x, program)};
    const size_t start = out->size;
    size_t room = program->literal_size + 1024;
    if (room > x.output_end - out->size)
        room = x.output_end - out->size;
    if (call.unit == NULL || buffer_reserve(out, room) == NULL) {
        arena_deinit(&x.arena);
        return error_set(error, ERROR_SYSTEM, "render: no memory left");
    }
    open_window(&x);
    struct context root = {data, NULL, 1};
    int result = execution_run(&x, &call, 0, program->instruction_count, &root);
    close_window(&x);
    if (result == 0 && program->syntax == MUSTACHE_SYNTAX_PLACEHOLDER)
        result = placeholder_finish(&x, &call, data, start);
    out->bytes[out->size] = '\0';
    arena_deinit(&x.arena);
    return result;
}
