/* SPDX-License-Identifier: Apache-2.0
 *
 * Many templates at once, for tests beside other implementations:
 * render_cases FILE, a JSON list of {template, data, partials}, prints a JSON
 * list of {output} or {error}.  Values are escaped for HTML.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mustache/mustache.h"

#define PARTIALS_MAX 16

struct partials {
    const struct node *texts;
    struct {
        const struct node *text;
        struct mustache_program *program;
    } known[PARTIALS_MAX];
    size_t count;
};

static const struct mustache_program *resolve(void *context, const char *name,
                                              size_t size, struct error *error)
{
    struct partials *partials = context;
    const struct node *text =
        partials->texts == NULL ? NULL : partials->texts->first;
    error_clear(error);
    while (text != NULL &&
           (text->key_size != size || memcmp(text->key, name, size) != 0))
        text = text->next;
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < partials->count; i++)
        if (partials->known[i].text == text)
            return partials->known[i].program;
    if (partials->count == PARTIALS_MAX) {
        error_set(error, ERROR_DATA, "too many partials");
        return NULL;
    }
    struct mustache_program *program =
        mustache_compile(MUSTACHE_SYNTAX_MUSTACHE, text->key, text->text,
                         text->text_size, error);
    if (program != NULL) {
        partials->known[partials->count].text = text;
        partials->known[partials->count++].program = program;
    }
    return program;
}

static int render(const struct node *item, struct buffer *out,
                  struct error *error)
{
    const struct node *template = document_get(item, "template");
    struct partials partials = {.texts = document_get(item, "partials")};
    struct mustache_options options = {
        .escape = MUSTACHE_ESCAPE_HTML,
        .resolver = resolve,
        .resolver_context = &partials,
    };
    struct mustache_program *program =
        mustache_compile(MUSTACHE_SYNTAX_MUSTACHE, "case", template->text,
                         template->text_size, error);
    int result = program == NULL
                     ? -1
                     : mustache_execute(program, document_get(item, "data"),
                                        &options, out, error);
    mustache_program_free(&program);
    for (size_t i = 0; i < partials.count; i++)
        mustache_program_free(&partials.known[i].program);
    return result;
}

int main(int argc, char **argv)
{
    struct document_limits limits = document_limits_default;
    struct arena arena;
    struct node *cases;
    struct error error;
    arena_init(&arena, 1u << 30);
    if (argc != 2 || document_read_file(&arena, argv[1], &limits, &cases,
                                        &error) != 0) {
        fprintf(stderr, "render_cases: %s\n",
                argc != 2 ? "a file is needed" : error.text);
        return 65;
    }
    putchar('[');
    for (const struct node *item = cases->first; item != NULL;
         item = item->next) {
        struct buffer out, line;
        buffer_init(&out, 64u << 20);
        buffer_init(&line, 256u << 20);
        int failed = render(item, &out, &error);
        const char *text = failed != 0 ? error.text : out.bytes;
        buffer_append_json(&line, text, failed != 0 ? strlen(text) : out.size);
        printf("%s{\"%s\":%s}", item == cases->first ? "" : ",\n",
               failed != 0 ? "error" : "output", line.bytes);
        buffer_deinit(&line);
        buffer_deinit(&out);
    }
    puts("]");
    arena_deinit(&arena);
    return 0;
}
