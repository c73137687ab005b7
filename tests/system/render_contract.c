/* SPDX-License-Identifier: Apache-2.0
 *
 * Contracts to files without a daemon, for tests and measurements:
 * render_contract [--plan] [--force] TEMPLATE_DIR OUTPUT_DIR CONTRACT...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/generation/contract.h"
#include "common/generation/node_render.h"

struct request {
    struct template_cache *cache;
    const char *template_dir;
    const char *directory;
    bool plan, force;
};

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = malloc(CONTRACT_BYTES_MAX + 1);
    if (file == NULL || text == NULL) {
        perror(path);
        exit(66);
    }
    *size = fread(text, 1, CONTRACT_BYTES_MAX + 1, file);
    fclose(file);
    return text;
}

static int render(const struct request *request, const char *path,
                  struct arena *arena, struct buffer *words,
                  struct error *error)
{
    size_t size;
    char *text = read_file(path, &size);
    struct contract *contract = contract_read(arena, path, text, size, words);
    free(text);
    if (contract == NULL)
        return -1;
    bool was_hit;
    struct output output = {.directory = request->directory,
                            .force = request->force};
    if (node_render(request->cache, request->template_dir, contract, arena,
                    &output, &was_hit, error) != 0)
        return -1;
    int result = request->plan ? output_plan(&output, error)
                               : output_write(&output, error);
    if (result == 0)
        output_summary(&output, false, words);
    return result;
}

int main(int argc, char **argv)
{
    struct error starting;
    struct request request = {.cache = template_cache_new(NULL, &starting)};
    int failures = 0, at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        request.plan = request.plan || strcmp(argv[at], "--plan") == 0;
        request.force = request.force || strcmp(argv[at], "--force") == 0;
    }
    if (argc - at < 3 || request.cache == NULL) {
        fprintf(stderr, "usage: render_contract [--plan] [--force] "
                        "TEMPLATE_DIR OUTPUT_DIR CONTRACT...\n");
        return 64;
    }
    request.template_dir = argv[at++];
    request.directory = argv[at++];
    for (; at < argc; at++) {
        struct arena arena;
        struct buffer words;
        struct error error;
        error_clear(&error);
        arena_init(&arena, 32u << 20);
        buffer_init(&words, 1u << 20);
        int failed = render(&request, argv[at], &arena, &words, &error);
        if (words.size > 0)
            fputs(words.bytes, failed != 0 ? stderr : stdout);
        if (failed != 0 && error.code != ERROR_NONE)
            fprintf(stderr, "%s\n", error.text);
        failures += failed != 0;
        buffer_deinit(&words);
        arena_deinit(&arena);
    }
    template_cache_free(&request.cache);
    return failures == 0 ? 0 : 65;
}
