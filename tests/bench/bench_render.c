/* SPDX-License-Identifier: Apache-2.0
 *
 * Renders per second of the template engine, and its limit.
 *
 * usage: bench_render limit|cached|cold FOLDER SECONDS
 *
 * FOLDER is what render_shape.py wrote; the last output goes to FOLDER/MODE.
 * limit copies the pieces of the output one by one; cached executes a
 * compiled template; cold compiles it each time too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/mustache/mustache.h"

struct piece {
    const char *text;
    size_t size;
};

struct bench {
    const char *mode;
    struct arena arena;
    struct node *data;
    struct piece *pieces;
    unsigned piece_count;
    char *template;
    size_t template_size;
    struct mustache_program *program;
    struct buffer out;
};

static void die(const char *what)
{
    fprintf(stderr, "bench_render: %s\n", what);
    exit(1);
}

static struct node *read_json(struct bench *bench, const char *folder,
                              const char *name)
{
    char path[4096];
    struct node *node;
    struct error error;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (document_read_file(&bench->arena, path, &document_limits_default, &node,
                           &error) != 0)
        die(error.text);
    return node;
}

static void read_template(struct bench *bench, const char *folder)
{
    char path[4096];
    struct error error;
    snprintf(path, sizeof(path), "%s/template.mustache", folder);
    FILE *file = fopen(path, "r");
    bench->template = arena_alloc(&bench->arena, 1u << 20);
    if (file == NULL || bench->template == NULL)
        die("cannot read the template");
    bench->template_size = fread(bench->template, 1, 1u << 20, file);
    fclose(file);
    bench->program =
        mustache_compile(MUSTACHE_SYNTAX_MUSTACHE, "bench", bench->template,
                         bench->template_size, &error);
    if (bench->program == NULL)
        die(error.text);
}

static void read_pieces(struct bench *bench, const char *folder)
{
    const struct node *list = read_json(bench, folder, "pieces.json");
    bench->pieces =
        arena_calloc(&bench->arena, list->count, sizeof(*bench->pieces));
    if (bench->pieces == NULL)
        die("no memory");
    for (const struct node *at = list->first; at != NULL; at = at->next)
        bench->pieces[bench->piece_count++] =
            (struct piece){at->text, at->text_size};
}

static void copy_pieces(struct bench *bench)
{
    char *at = buffer_reserve(&bench->out, 65536);
    if (at == NULL)
        die("no memory");
    for (unsigned i = 0; i < bench->piece_count; i++) {
        memcpy(at, bench->pieces[i].text, bench->pieces[i].size);
        at += bench->pieces[i].size;
    }
    bench->out.size = (size_t)(at - bench->out.bytes);
}

static void render(struct bench *bench)
{
    struct mustache_options options = {0};
    struct error error;
    bool cold = strcmp(bench->mode, "cold") == 0;
    struct mustache_program *program = bench->program;
    if (cold)
        program =
            mustache_compile(MUSTACHE_SYNTAX_MUSTACHE, "bench", bench->template,
                             bench->template_size, &error);
    if (program == NULL || mustache_execute(program, bench->data, &options,
                                            &bench->out, &error) != 0)
        die(error.text);
    if (cold)
        mustache_program_free(&program);
}

static double measure(struct bench *bench, double seconds)
{
    void (*once)(struct bench *) =
        strcmp(bench->mode, "limit") == 0 ? copy_pieces : render;
    uint64_t begin = clock_monotonic_ns();
    uint64_t end = begin + (uint64_t)(seconds * 1e9);
    uint64_t now;
    unsigned long count = 0;
    do {
        for (unsigned i = 0; i < 50; i++) {
            buffer_reset(&bench->out);
            once(bench);
        }
        count += 50;
        now = clock_monotonic_ns();
    } while (now < end);
    return (double)count * 1e9 / (double)(now - begin);
}

static void write_output(const struct bench *bench, const char *folder)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, bench->mode);
    FILE *file = fopen(path, "w");
    if (file == NULL ||
        fwrite(bench->out.bytes, 1, bench->out.size, file) != bench->out.size ||
        fclose(file) != 0)
        die("cannot write the output");
}

int main(int argc, char **argv)
{
    struct bench bench = {.mode = argc == 4 ? argv[1] : ""};
    if (strcmp(bench.mode, "limit") != 0 && strcmp(bench.mode, "cached") != 0 &&
        strcmp(bench.mode, "cold") != 0)
        die("usage: bench_render limit|cached|cold FOLDER SECONDS");
    arena_init(&bench.arena, 64u << 20);
    buffer_init(&bench.out, 1u << 20);
    bench.data = read_json(&bench, argv[2], "data.json");
    read_pieces(&bench, argv[2]);
    read_template(&bench, argv[2]);
    double rate = measure(&bench, strtod(argv[3], NULL));
    write_output(&bench, argv[2]);
    printf("{\"name\":\"%s\",\"renders_per_second\":%.0f,\"bytes\":%zu}\n",
           bench.mode, rate, bench.out.size);
    mustache_program_free(&bench.program);
    buffer_deinit(&bench.out);
    arena_deinit(&bench.arena);
    return 0;
}
