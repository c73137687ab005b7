/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates: the first byte chooses syntax, escape and strictness; the rest
 * is the template and, behind each NUL, a partial named a, b, c ...
 */
#include <string.h>

#include "common/document/document.h"
#include "common/mustache/mustache.h"
#include "tests/fuzz/fuzz.h"

#define PARTIALS_MAX 8
#define OUTPUT_MAX   (1u << 20)

struct pieces {
    struct mustache_program *partials[PARTIALS_MAX];
};

static const char data_text[] =
    "{\"a\":\"text <&\\\"'>\",\"b\":[1,2.50,true,null,{\"c\":[[\"x\"],[]]}],"
    "\"d\":{\"e\":{\"f\":\"deep\"},\"a\":0},\"g\":[],\"h\":false,"
    "\"UPPER_NAME\":\"{OTHER}\",\"OTHER\":\"{UPPER_NAME}\"}";

static const struct mustache_program *find(void *context, const char *name,
                                           size_t size, struct error *error)
{
    struct pieces *pieces = context;
    error_clear(error);
    unsigned index = size == 1 ? (unsigned)(name[0] - 'a') : PARTIALS_MAX;
    return index < PARTIALS_MAX ? pieces->partials[index] : NULL;
}

/* The next piece, up to a NUL. */
static struct mustache_program *compile_next(enum mustache_syntax syntax,
                                             const char **at, size_t *left)
{
    struct error error;
    const char *end = memchr(*at, '\0', *left);
    size_t size = end == NULL ? *left : (size_t)(end - *at);
    struct mustache_program *program =
        mustache_compile(syntax, "fuzz", *at, size, &error);
    MUST(program == NULL ||
         mustache_program_valid(program, mustache_program_size(program)));
    *at += size + (end != NULL);
    *left -= size + (end != NULL);
    return program;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct pieces pieces = {{NULL}};
    struct arena arena;
    struct node *data = NULL;
    struct buffer out;
    struct error error;
    if (size == 0)
        return 0;
    const char *at = (const char *)bytes + 1;
    size_t left = size - 1;
    enum mustache_syntax syntax = (enum mustache_syntax)(bytes[0] & 1);
    struct mustache_options options = {
        .escape = (enum mustache_escape)((bytes[0] >> 1) % 5),
        .strict = (bytes[0] & 0x80) != 0,
        .resolver = find,
        .resolver_context = &pieces,
        .output_max = OUTPUT_MAX};
    struct mustache_program *program = compile_next(syntax, &at, &left);
    for (unsigned i = 0; i < PARTIALS_MAX && left > 0; i++)
        pieces.partials[i] = compile_next(syntax, &at, &left);
    arena_init(&arena, 1u << 20);
    buffer_init(&out, 2 * OUTPUT_MAX);
    MUST(document_read_json(&arena, "data", data_text, sizeof(data_text) - 1,
                            &document_limits_default, &data, &error) == 0);
    if (program != NULL)
        mustache_execute(program, data, &options, &out, &error);
    buffer_deinit(&out);
    arena_deinit(&arena);
    mustache_program_free(&program);
    for (unsigned i = 0; i < PARTIALS_MAX; i++)
        mustache_program_free(&pieces.partials[i]);
    return 0;
}
