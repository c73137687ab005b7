/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/mustache_render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PARTIALS_MAX 64

/* Partials compiled from a JSON object. */
struct partials {
    const struct node *texts;
    const char *names[PARTIALS_MAX];
    struct mustache_program *programs[PARTIALS_MAX];
    unsigned count;
};

static const struct mustache_program *resolve(void *context, const char *name,
                                              size_t size, struct error *error)
{
    struct partials *partials = context;
    error->code = ERROR_NONE;
    char text[256];
    snprintf(text, sizeof(text), "%.*s", (int)size, name);
    const struct node *found = document_get(partials->texts, text);
    if (found == NULL)
        return NULL;
    for (unsigned i = 0; i < partials->count; i++)
        if (partials->names[i] == found->key)
            return partials->programs[i];
    assert_true(partials->count < PARTIALS_MAX);
    struct mustache_program *program =
        mustache_compile(MUSTACHE_SYNTAX_MUSTACHE, found->key, found->text,
                         found->text_size, error);
    if (program == NULL)
        return NULL;
    partials->names[partials->count] = found->key;
    partials->programs[partials->count++] = program;
    return program;
}

const struct node *read_json(struct arena *arena, const char *text)
{
    struct node *root;
    struct error error;
    if (document_read_json(arena, "data", text, strlen(text),
                           &document_limits_default, &root, &error) != 0)
        fail_msg("%s in %s", error.text, text);
    return root;
}

int render(const char *template, const char *data, const char *partials,
           struct mustache_options options, struct buffer *out,
           struct error *error)
{
    return render_as(MUSTACHE_SYNTAX_MUSTACHE, template, data, partials,
                     options, out, error);
}

int render_as(enum mustache_syntax syntax, const char *template,
              const char *data, const char *partials,
              struct mustache_options options, struct buffer *out,
              struct error *error)
{
    struct arena arena;
    arena_init(&arena, 64u << 20);
    struct partials known = {
        .texts = read_json(&arena, partials == NULL ? "{}" : partials)};
    const struct node *root = read_json(&arena, data);
    options.resolver = resolve;
    options.resolver_context = &known;
    buffer_init(out, 128u << 20);
    error_clear(error);
    int result = -1;
    struct mustache_program *program =
        mustache_compile(syntax, "main", template, strlen(template), error);
    if (program != NULL) {
        assert_true(
            mustache_program_valid(program, mustache_program_size(program)));
        result = mustache_execute(program, root, &options, out, error);
    }
    mustache_program_free(&program);
    for (unsigned i = 0; i < known.count; i++)
        mustache_program_free(&known.programs[i]);
    arena_deinit(&arena);
    return result;
}

void expect(const char *name, const char *template, const char *data,
            const char *partials, struct mustache_options options,
            const char *expected)
{
    struct buffer out;
    struct error error;
    if (render(template, data, partials, options, &out, &error) != 0)
        fail_msg("%s: %s", name, error.text);
    if (strcmp(out.bytes, expected) != 0)
        fail_msg("%s: <%s> where <%s> is right", name, out.bytes, expected);
    assert_int_equal(out.size, strlen(expected));
    buffer_deinit(&out);
}

void check_rules(const struct rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect(rules[i].name, rules[i].template, rules[i].data,
               rules[i].partials,
               (struct mustache_options){.escape = MUSTACHE_ESCAPE_HTML},
               rules[i].expected);
}

void expect_error(const char *template, const char *data, const char *partials,
                  bool strict, const char *text)
{
    struct buffer out;
    struct error error;
    if (render(template, data, partials,
               (struct mustache_options){.strict = strict}, &out, &error) == 0)
        fail_msg("no error (%s) for %s", text, template);
    if (error.code != ERROR_DATA || strstr(error.text, text) == NULL)
        fail_msg("%s\n where this is right: %s", error.text, text);
    buffer_deinit(&out);
}
