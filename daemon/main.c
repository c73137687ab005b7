/* SPDX-License-Identifier: Apache-2.0
 *
 * tidemilld: options, configuration, start.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/crash_point.h"
#include "common/base/process_title.h"
#include "daemon/master.h"
#include "daemon/roles.h"
#include "daemon/takeover.h"

#define OVERRIDES_MAX 200
#define OUTPUT_MAX    (1u << 20)

enum action { ACTION_RUN, ACTION_TEST, ACTION_DUMP, ACTION_SAMPLE };

struct arguments {
    enum action action;
    bool foreground;
    char *config_path; /* absolute; owned */
    char *pidfile;     /* absolute; owned; NULL: the default */
    const char *overrides[OVERRIDES_MAX + 1];
    unsigned override_count;
    char *program;                      /* absolute; owned */
    char *again[2 * OVERRIDES_MAX + 8]; /* argv to start it so again */
};

static const char usage_text[] =
    "usage: tidemilld [-f] [-c FILE] [-t] [-T] [-p PIDFILE] "
    "[-o path=value]... [-V] [-h]\n";

static const char help_text[] =
    "  -f            stay in the foreground, log to standard error\n"
    "  -c FILE       configuration (default: " CONFIG_DEFAULT_PATH ")\n"
    "  -t            test the configuration: exit 0 or 78\n"
    "  -T            print the effective configuration with the origin of "
    "each value\n"
    "                (--dump-config)\n"
    "  -p PIDFILE    pidfile (default: <runtime_dir>/tidemilld.pid)\n"
    "  -o path=value set an option over file and environment\n"
    "  --sample-config  print a complete sample configuration\n"
    "  -V            print the version\n"
    "  -h            print this help\n"
    "See tidemilld(8).\n";

static int usage_error(void)
{
    fputs(usage_text, stderr);
    return error_exit_status(ERROR_USAGE);
}

/* A relative path stays good when the daemon goes to /. */
static char *absolute_path(const char *path)
{
    char *text = NULL;
    char *here = NULL;
    if (path[0] == '/')
        return strdup(path);
    here = getcwd(NULL, 0);
    if (here == NULL || asprintf(&text, "%s/%s", here, path) < 0)
        text = NULL;
    free(here);
    return text;
}

static int set_path(char **to, const char *path)
{
    free(*to);
    *to = absolute_path(path);
    if (*to != NULL)
        return 0;
    fprintf(stderr, "tidemilld: no memory, or no working directory\n");
    return error_exit_status(ERROR_SYSTEM);
}

static int add_override(struct arguments *arguments, const char *text)
{
    if (arguments->override_count == OVERRIDES_MAX) {
        fprintf(stderr, "tidemilld: too many -o (at most %d)\n", OVERRIDES_MAX);
        return error_exit_status(ERROR_USAGE);
    }
    arguments->overrides[arguments->override_count++] = text;
    return 0;
}

enum { LONG_SAMPLE = 256 };

/* 0: go on; -1: done, exit 0; else the exit status. */
static int take_option(struct arguments *arguments, int option)
{
    switch (option) {
    case 'f':
        arguments->foreground = true;
        return 0;
    case 'c':
        return set_path(&arguments->config_path, optarg);
    case 'p':
        return set_path(&arguments->pidfile, optarg);
    case 't':
        arguments->action = ACTION_TEST;
        return 0;
    case 'T':
        arguments->action = ACTION_DUMP;
        return 0;
    case LONG_SAMPLE:
        arguments->action = ACTION_SAMPLE;
        return 0;
    case 'o':
        return add_override(arguments, optarg);
    case 'V':
        puts("tidemilld " PACKAGE_VERSION CRASH_POINTS_WORDS);
        return -1;
    case 'h':
        fputs(usage_text, stdout);
        fputs(help_text, stdout);
        return -1;
    default:
        return usage_error();
    }
}

static int parse_arguments(struct arguments *arguments, int argc, char **argv)
{
    static const struct option longs[] = {
        {"dump-config", no_argument, NULL, 'T'},
        {"sample-config", no_argument, NULL, LONG_SAMPLE},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "fc:tTp:o:Vh", longs, NULL)) !=
           -1) {
        int status = take_option(arguments, option);
        if (status != 0)
            return status;
    }
    if (optind < argc) {
        fprintf(stderr, "tidemilld: unexpected argument: %s\n", argv[optind]);
        return usage_error();
    }
    return 0;
}

static int print_whole(struct buffer *out)
{
    bool failed = out->failed;
    if (!failed && out->size > 0)
        failed = fwrite(out->bytes, 1, out->size, stdout) != out->size;
    if (fflush(stdout) != 0)
        failed = true;
    buffer_deinit(out);
    return failed ? error_exit_status(ERROR_CANT_CREATE) : 0;
}

static int print_sample(void)
{
    struct buffer out;
    buffer_init(&out, OUTPUT_MAX);
    config_sample(&out);
    return print_whole(&out);
}

static int print_config(const struct config *config)
{
    struct buffer out;
    buffer_init(&out, OUTPUT_MAX);
    config_dump(config, &out);
    return print_whole(&out);
}

/* The words of a command line that means the same from any directory. */
static void write_again(struct arguments *arguments)
{
    char **at = arguments->again;
    *at++ = arguments->program;
    if (arguments->foreground)
        *at++ = "-f";
    if (arguments->config_path != NULL) {
        *at++ = "-c";
        *at++ = arguments->config_path;
    }
    if (arguments->pidfile != NULL) {
        *at++ = "-p";
        *at++ = arguments->pidfile;
    }
    for (unsigned i = 0; i < arguments->override_count; i++) {
        *at++ = "-o";
        *at++ = (char *)(uintptr_t)arguments->overrides[i];
    }
    *at = NULL;
}

/* 0 in the daemon that shall run; -1 with *error. */
static int settle(const struct arguments *arguments, struct takeover *takeover,
                  struct starter *starter, struct error *error)
{
    if (takeover->wanted) {
        starter->fd = fcntl(takeover->channel_fd, F_DUPFD_CLOEXEC, 3);
        return 0;
    }
    return arguments->foreground ? 0 : daemonise(starter, error);
}

/* Takes over config. */
static int run_daemon(struct arguments *arguments, struct takeover *takeover,
                      const struct config_request *request,
                      struct config *config)
{
    const struct program program = {arguments->program, arguments->again};
    struct master_options options = {.request = *request,
                                     .roles = master_roles,
                                     .pidfile = arguments->pidfile,
                                     .foreground = arguments->foreground,
                                     .program = &program,
                                     .takeover = takeover};
    struct starter starter;
    struct error error;
    starter_init(&starter);
    umask(027);
    write_again(arguments);
    if (settle(arguments, takeover, &starter, &error) != 0) {
        starter_fail(&starter, &error);
        config_free(&config);
        return error_exit_status(error.code);
    }
    struct master *master = master_new(&options, config, &starter, &error);
    int result = master == NULL ? -1 : master_run(master, &error);
    master_free(&master);
    if (result == 0)
        return 0;
    if (!starter.reported)
        starter_fail(&starter, &error);
    return error_exit_status(error.code);
}

static void refuse_config(const struct takeover *takeover,
                          const struct buffer *errors)
{
    struct starter starter = {.fd = takeover->channel_fd};
    struct error error;
    error_set(&error, ERROR_CONFIG, "%s", errors->bytes);
    if (takeover->wanted)
        starter_fail(&starter, &error);
}

static int act(struct arguments *arguments, struct takeover *takeover)
{
    struct buffer errors;
    struct config_request request = {
        .path = arguments->config_path != NULL ? arguments->config_path
                                               : CONFIG_DEFAULT_PATH,
        .path_optional = arguments->config_path == NULL,
        .overrides = arguments->overrides,
        .environment = environ,
    };
    buffer_init(&errors, OUTPUT_MAX);
    struct config *config = config_load(&request, &errors);
    if (errors.size > 0)
        fwrite(errors.bytes, 1, errors.size, stderr);
    if (config == NULL && errors.size > 0)
        refuse_config(takeover, &errors);
    buffer_deinit(&errors);
    if (config == NULL)
        return error_exit_status(ERROR_CONFIG);
    if (arguments->action == ACTION_RUN)
        return run_daemon(arguments, takeover, &request, config);
    int status = 0;
    if (arguments->action == ACTION_DUMP)
        status = print_config(config);
    else
        printf("tidemilld: the configuration %s is good\n",
               config->path != NULL ? config->path : "(defaults)");
    config_free(&config);
    return status;
}

/* As it was named, so that a link that points elsewhere by then counts. */
static char *own_path(const char *name)
{
    char path[PATH_MAX];
    if (strchr(name, '/') != NULL)
        return absolute_path(name);
    ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[size > 0 ? size : 0] = '\0';
    return strdup(path);
}

static int run(struct arguments *arguments, int argc, char **argv)
{
    struct takeover takeover;
    struct error error;
    if (takeover_find(&takeover, &error) != 0) {
        fprintf(stderr, "tidemilld: %s\n", error.text);
        return error_exit_status(error.code);
    }
    int status = parse_arguments(arguments, argc, argv);
    if (status != 0)
        return status;
    return arguments->action == ACTION_SAMPLE ? print_sample()
                                              : act(arguments, &takeover);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.action = ACTION_RUN};
    process_title_init(argc, argv);
    arguments.program = own_path(argc > 0 ? argv[0] : "tidemilld");
    int status = run(&arguments, argc, argv);
    free(arguments.program);
    free(arguments.config_path);
    free(arguments.pidfile);
    return status == -1 ? 0 : status;
}
