/* SPDX-License-Identifier: Apache-2.0
 *
 * The second syntax: {UPPER_SNAKE}, replaced one name after the other in
 * the order of the data.
 *
 * Nearly always that gives what one pass over the template gives, so one is
 * compiled and run.  Only where a value has, or makes together with what it
 * stands beside, another placeholder of the data, that placeholder is still
 * in the result of the pass: then the replacing is done as it is defined.
 */
#include "common/mustache/placeholder.h"

#include <string.h>

#include "common/mustache/compile.h"
#include "common/mustache/escape.h"

static bool is_name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || c == '_';
}

/* The next {NAME} in the text, with its braces; false: none. */
static bool find_placeholder(const char *text, size_t size,
                             struct scan_text *found)
{
    const char *end = text + size;
    const char *at = text;
    while ((at = memchr(at, '{', (size_t)(end - at))) != NULL) {
        const char *name = at + 1;
        const char *behind = name;
        while (behind < end && is_name_char(*behind))
            behind++;
        if (behind > name && behind < end && *behind == '}') {
            *found = (struct scan_text){at, (size_t)(behind + 1 - at)};
            return true;
        }
        at = behind;
    }
    return false;
}

int placeholder_compile(struct compiler *c)
{
    struct scan_text found;
    struct scan *scan = &c->scan;
    while (find_placeholder(scan->text + scan->at, scan->size - scan->at,
                            &found)) {
        size_t begin = (size_t)(found.text - scan->text);
        struct scan_word word = {
            .kind = SCAN_VALUE,
            .text = scan->text + scan->at,
            .text_size = begin - scan->at,
            .name = found.text,
            .name_size = found.size,
            .place = scan_place(scan, begin),
        };
        compile_add_text(c, &word);
        if (compile_value(c, &word) != 0)
            return -1;
        scan->at = begin + found.size;
    }
    struct scan_word rest = {.text = scan->text + scan->at,
                             .text_size = scan->size - scan->at};
    compile_add_text(c, &rest);
    compile_flush_text(c);
    return 0;
}

static const struct node *find_key(const struct node *data,
                                   struct scan_text placeholder)
{
    const struct node *child =
        data != NULL && data->kind == NODE_MAP ? data->first : NULL;
    while (child != NULL &&
           (child->key_size != placeholder.size - 2 ||
            memcmp(child->key, placeholder.text + 1, child->key_size) != 0))
        child = child->next;
    return child;
}

/* Is there a placeholder of the data in what the pass gave? */
static int look_again(struct execution *x, const struct call *call,
                      const struct node *data, size_t start, bool *again)
{
    struct program_place place = {1, 1};
    struct scan_text found;
    const char *end = x->out->bytes + x->out->size;
    const char *at = x->out->bytes + start;
    *again = false;
    while (!*again && find_placeholder(at, (size_t)(end - at), &found)) {
        *again = find_key(data, found) != NULL;
        at = found.text + found.size;
        if (execution_step(x, call, place, data == NULL ? 1 : data->count) != 0)
            return -1;
    }
    return 0;
}

static void put_pairs(const struct mustache_program *program,
                      const struct program_instruction *run,
                      struct buffer *text)
{
    const char *words = program_text(program);
    for (uint32_t i = run->index; i < run->index + run->extent; i++) {
        const struct program_pair *pair = &program_pairs(program)[i];
        struct program_span name = program_paths(program)[pair->path].name;
        buffer_append(text, words + pair->literal.at, pair->literal.size);
        buffer_append(text, words + name.at, name.size);
    }
}

/* The template's own text, from its program. */
static void put_source(const struct mustache_program *program,
                       struct buffer *text)
{
    const char *words = program_text(program);
    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct program_instruction *instruction =
            &program_instructions(program)[i];
        if (instruction->op == PROGRAM_TEXT)
            buffer_append(text, words + instruction->span.at,
                          instruction->span.size);
        else if (instruction->op == PROGRAM_RUN)
            put_pairs(program, instruction, text);
    }
}

static void put_value(const struct execution *x, const struct node *node,
                      struct buffer *out)
{
    struct buffer json;
    buffer_init(&json, out->limit);
    if (node->kind == NODE_LIST || node->kind == NODE_MAP)
        document_write_json(node, &json);
    else if (node->kind == NODE_BOOL)
        buffer_append_text(&json, node->boolean ? "true" : "false");
    else if (node->kind != NODE_NULL)
        buffer_append(&json, node->text, node->text_size);
    if (json.failed)
        out->failed = true;
    else if (json.size > 0)
        escape_append(x->options->escape, json.bytes, json.size, out);
    buffer_deinit(&json);
}

/* Every {KEY} in `from` becomes the value; the result is in `to`. */
static void replace(const struct execution *x, const struct node *value,
                    const struct buffer *from, struct buffer *to)
{
    struct scan_text found;
    const char *end = from->bytes + from->size;
    const char *at = from->bytes;
    const char *kept = at;
    while (find_placeholder(at, (size_t)(end - at), &found)) {
        at = found.text + found.size;
        if (found.size - 2 != value->key_size ||
            memcmp(found.text + 1, value->key, value->key_size) != 0)
            continue;
        buffer_append(to, kept, (size_t)(found.text - kept));
        put_value(x, value, to);
        kept = at;
    }
    buffer_append(to, kept, (size_t)(end - kept));
}

static bool is_name(const struct node *child)
{
    for (size_t i = 0; i < child->key_size; i++)
        if (!is_name_char(child->key[i]))
            return false;
    return child->key_size > 0;
}

static int replace_all(struct execution *x, const struct call *call,
                       const struct node *data, struct buffer texts[2],
                       const struct buffer **result)
{
    struct program_place place = {1, 1};
    unsigned now = 0;
    const struct node *child = data->first;
    for (; child != NULL && !texts[now].failed; child = child->next) {
        if (!is_name(child))
            continue;
        if (execution_step(x, call, place, texts[now].size / 2 + 1) != 0)
            return -1;
        buffer_reset(&texts[1 - now]);
        replace(x, child, &texts[now], &texts[1 - now]);
        now = 1 - now;
    }
    *result = &texts[now];
    return texts[now].failed ? execution_fail_output(x, call, place) : 0;
}

int placeholder_finish(struct execution *x, const struct call *call,
                       const struct node *data, size_t start)
{
    bool again;
    if (look_again(x, call, data, start, &again) != 0)
        return -1;
    if (!again)
        return 0;
    struct buffer texts[2];
    const struct buffer *result;
    buffer_init(&texts[0], x->output_end - start);
    buffer_init(&texts[1], x->output_end - start);
    put_source(call->unit->program, &texts[0]);
    int failed = replace_all(x, call, data, texts, &result);
    x->out->size = start;
    if (failed == 0)
        buffer_append(x->out, result->bytes, result->size);
    buffer_deinit(&texts[0]);
    buffer_deinit(&texts[1]);
    return failed;
}
