/* SPDX-License-Identifier: Apache-2.0
 *
 * render: the template engine without the daemon.
 */
#include <getopt.h>
#include <stdio.h>

#include "common/mustache/mustache.h"
#include "ctl/command.h"
#include "ctl/outbox.h"
#include "ctl/print.h"

#define RENDER_ARENA_MAX (512u << 20)

struct render_options {
    const char *template_path;
    const char *data_path;
    const char *partials_path;
    enum mustache_syntax syntax;
    enum mustache_escape escape;
    bool escape_given;
    bool strict;
};

static int parse_word(const struct command_context *context, int option,
                      struct render_options *options)
{
    if (option == 'y')
        return mustache_syntax_parse(optarg, &options->syntax) == 0
                   ? 0
                   : print_usage(context,
                                 "no such syntax: %s; use mustache or "
                                 "placeholder",
                                 optarg);
    options->escape_given = true;
    return mustache_escape_parse(optarg, &options->escape) == 0
               ? 0
               : print_usage(context,
                             "no such escape: %s; use none, html, json, c or "
                             "sql",
                             optarg);
}

static int parse_options(const struct command_context *context, int argc,
                         char **argv, struct render_options *options)
{
    static const struct option longs[] = {
        {"template", required_argument, NULL, 't'},
        {"data", required_argument, NULL, 'd'},
        {"partials", required_argument, NULL, 'p'},
        {"escape", required_argument, NULL, 'e'},
        {"strict", no_argument, NULL, 's'},
        {"syntax", required_argument, NULL, 'y'},
        {NULL, 0, NULL, 0},
    };
    int option;
    int status = 0;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == 't')
            options->template_path = optarg;
        else if (option == 'd')
            options->data_path = optarg;
        else if (option == 'p')
            options->partials_path = optarg;
        else if (option == 's')
            options->strict = true;
        else if (option != 'e' && option != 'y')
            return print_usage_line(context);
        else
            status = parse_word(context, option, options);
        if (status != 0)
            return status;
    }
    if (!options->escape_given &&
        options->syntax == MUSTACHE_SYNTAX_PLACEHOLDER)
        options->escape = MUSTACHE_ESCAPE_NONE;
    if (options->template_path == NULL || options->data_path == NULL)
        return print_usage(context, "--template and --data are needed");
    if (optind != argc)
        return print_usage(context, "unexpected argument: %s", argv[optind]);
    return 0;
}

static int read_data(const char *path, struct arena *arena, struct node **data,
                     struct error *error)
{
    char *text;
    size_t size;
    if (path[0] != '-' || path[1] != '\0')
        return document_read_file(arena, path, &document_limits_default, data,
                                  error);
    if (read_input("-", document_limits_default.bytes, arena, &text, &size,
                   error) != 0)
        return -1;
    return document_read_yaml(arena, "standard input", text, size,
                              &document_limits_default, data, error);
}

static int render(const struct render_options *options, struct arena *arena,
                  struct buffer *out, struct error *error)
{
    char *text;
    size_t size;
    struct node *data;
    struct mustache_directory *partials = NULL;
    struct mustache_program *program = NULL;
    int result = -1;
    if (read_input(options->template_path, MUSTACHE_TEMPLATE_MAX, arena, &text,
                   &size, error) != 0 ||
        read_data(options->data_path, arena, &data, error) != 0)
        return -1;
    program = mustache_compile(options->syntax, options->template_path, text,
                               size, error);
    if (program != NULL && options->partials_path != NULL) {
        partials = mustache_directory_new(options->partials_path, error);
        if (partials == NULL)
            goto out;
    }
    if (program != NULL) {
        const struct mustache_options how = {
            .escape = options->escape,
            .strict = options->strict,
            .resolver = partials != NULL ? mustache_directory_resolve : NULL,
            .resolver_context = partials,
        };
        result = mustache_execute(program, data, &how, out, error);
    }
out:
    mustache_program_free(&program);
    mustache_directory_free(&partials);
    return result;
}

static int print_report(const struct buffer *out)
{
    json_t *text = json_stringn(out->size > 0 ? out->bytes : "", out->size);
    if (text != NULL)
        return print_json(json_pack("{s:o}", "output", text));
    print_error("the output is no UTF-8, which JSON needs; render it without "
                "--json");
    return error_exit_status(ERROR_DATA);
}

int command_render(const struct command_context *context, int argc, char **argv)
{
    struct render_options options = {.escape = MUSTACHE_ESCAPE_HTML};
    struct arena arena;
    struct buffer out;
    struct error error;
    int status = parse_options(context, argc, argv, &options);
    if (status != 0)
        return status;
    arena_init(&arena, RENDER_ARENA_MAX);
    buffer_init(&out, MUSTACHE_OUTPUT_MAX);
    /* Complete or absent: nothing is printed of a failed rendering. */
    if (render(&options, &arena, &out, &error) != 0)
        status = print_failure(&error);
    else if (context->json)
        status = print_report(&out);
    else
        fwrite(out.bytes, 1, out.size, stdout);
    buffer_deinit(&out);
    arena_deinit(&arena);
    return status;
}
