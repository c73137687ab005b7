/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/text.h"
#include "common/store/sqlite_memory.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "config.h"

#define CONFIG_ERRORS_MAX (256u << 10)

enum configuration { STRICT, LENIENT };

struct command {
    const char *words;
    command_function function;
    enum configuration configuration;
    const char *arguments;
    const char *what;
};

static const struct command commands[] = {
#define X(words, function, configuration, arguments, what)                     \
    {words, function, configuration, arguments, what},
    COMMAND_LIST(X)
#undef X
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *out)
{
    fputs("Usage: tidemill [-c FILE] [-o PATH=VALUE]... [--json] COMMAND\n\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-13s %s\n", commands[i].words, commands[i].what);
    fputs("\n'tidemill COMMAND --help' shows a command's arguments;"
          " tidemill(1) says all.\n",
          out);
}

/* Usage, a line each way to use it. */
static void print_command_help(const struct command *command)
{
    const char *rest = command->arguments;
    printf("Usage: tidemill %s", command->words);
    for (const char *bar; (bar = strstr(rest, " | --")) != NULL; rest = bar + 3)
        printf(" %.*s\n       tidemill %s", (int)(bar - rest), rest,
               command->words);
    printf("%s%s\n\n", *rest != '\0' ? " " : "", rest);
    printf("%c%s.\nSee tidemill(1).\n",
           toupper((unsigned char)command->what[0]), command->what + 1);
}

/* How many words of the command stand at argv; 0: not this one. */
static int words_match(const char *words, int argc, char **argv)
{
    int count = 0;
    while (*words != '\0') {
        size_t size = strcspn(words, " ");
        if (count >= argc || strlen(argv[count]) != size ||
            strncmp(argv[count], words, size) != 0)
            return 0;
        words += size + (words[size] == ' ');
        count++;
    }
    return count;
}

static const struct command *find_command(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        *words = words_match(commands[i].words, argc, argv);
        if (*words > 0)
            return &commands[i];
    }
    return NULL;
}

/* "tidemill sync" alone: what may stand behind it. */
static bool name_group(const char *word)
{
    char list[512];
    size_t at = 0;
    size_t size = strlen(word);
    for (size_t i = 0; i < COMMAND_COUNT && at < sizeof(list); i++)
        if (strncmp(commands[i].words, word, size) == 0 &&
            commands[i].words[size] == ' ')
            at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s",
                                   at > 0 ? ", " : "",
                                   commands[i].words + size + 1);
    if (at > 0)
        print_error("'tidemill %s' needs one word more: %s", word, list);
    return at > 0;
}

static int unknown_command(int argc, char **argv)
{
    if (argc == 1 && name_group(argv[0]))
        return error_exit_status(ERROR_USAGE);
    const char *names[COMMAND_COUNT + 1];
    char said[128];
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i].words;
    names[COMMAND_COUNT] = NULL;
    const char *second = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
    snprintf(said, sizeof(said), "%.60s%s%.60s", argv[0],
             second != NULL ? " " : "", second != NULL ? second : "");
    const char *nearest = text_nearest(said, names);
    if (nearest == NULL)
        nearest = text_nearest(argv[0], names);
    if (nearest != NULL)
        print_error("no such command: %s; did you mean 'tidemill %s'?", said,
                    nearest);
    else
        print_error("no such command: %s; 'tidemill --help' lists them", said);
    return error_exit_status(ERROR_USAGE);
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

struct options {
    const char *config_path;
    const char *overrides[65]; /* NULL-terminated */
    size_t override_count;
    bool json;
};

/* Reads the options before the command; -1 to go on, else exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "+c:o:hV", longs, NULL)) != -1) {
        switch (option) {
        case 'c':
            options->config_path = optarg;
            break;
        case 'o':
            if (options->override_count == 64) {
                print_error("at most 64 -o options");
                return error_exit_status(ERROR_USAGE);
            }
            options->overrides[options->override_count++] = optarg;
            break;
        case 'j':
            options->json = true;
            break;
        case 'h':
            print_help(stdout);
            return 0;
        case 'V':
            puts("tidemill " PACKAGE_VERSION);
            return 0;
        default:
            return error_exit_status(ERROR_USAGE);
        }
    }
    return -1;
}

static struct config *load_config(const struct options *options,
                                  enum configuration configuration)
{
    extern char **environ;
    const char *path = options->config_path;
    if (path == NULL)
        path = getenv("TIDEMILL_CONFIG");
    const struct config_request request = {
        .path = path != NULL ? path : CONFIG_DEFAULT_PATH,
        .path_optional = path == NULL,
        .overrides = options->overrides,
        .environment = environ,
        .keep_going = configuration == LENIENT,
    };
    struct buffer errors;
    buffer_init(&errors, CONFIG_ERRORS_MAX);
    struct config *config = config_load(&request, &errors);
    if (config == NULL && errors.size > 0)
        fputs(errors.bytes, stderr);
    else if (errors.size > 0)
        print_error("%s has errors ('tidemilld -t' shows them); looking for "
                    "the daemon all the same",
                    request.path);
    buffer_deinit(&errors);
    return config;
}

/* --json is also taken after the command's words. */
static int take_json(int argc, char **argv, bool *json)
{
    int kept = 1;
    bool literal = false;
    for (int i = 1; i < argc; i++) {
        literal |= strcmp(argv[i], "--") == 0;
        if (!literal && strcmp(argv[i], "--json") == 0)
            *json = true;
        else
            argv[kept++] = argv[i];
    }
    argv[kept] = NULL;
    return kept;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    signal(SIGPIPE, SIG_IGN);
    sqlite_memory_use();
    log_identify("tidemill", -1);
    log_set_level(LOG_WARNING_LEVEL);
    int status = parse_options(argc, argv, &options);
    if (status >= 0)
        return status;
    argc -= optind;
    argv += optind;
    if (argc == 0) {
        print_help(stderr);
        return error_exit_status(ERROR_USAGE);
    }
    int words;
    const struct command *command = find_command(argc, argv, &words);
    if (command == NULL)
        return unknown_command(argc, argv);
    argc -= words - 1;
    argv += words - 1;
    if (asks_for_help(argc, argv)) {
        print_command_help(command);
        return 0;
    }
    argc = take_json(argc, argv, &options.json);
    struct config *config = load_config(&options, command->configuration);
    if (config == NULL)
        return error_exit_status(ERROR_CONFIG);
    char usage[256];
    snprintf(usage, sizeof(usage), "tidemill %s %s", command->words,
             command->arguments);
    const struct command_context context = {
        .config = config,
        .config_path = options.config_path,
        .json = options.json,
        .usage = usage,
    };
    argv[0] = (char[]){"tidemill"}; /* who speaks in getopt's messages */
    optind = 0; /* the command reads its own options from the start */
    status = command->function(&context, argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        print_error("cannot write to standard output");
        if (status == 0)
            status = error_exit_status(ERROR_IO);
    }
    config_free(&config);
    return status;
}
