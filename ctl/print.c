/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/print.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/clock.h"

/* What came from a file must not drive the terminal. */
__attribute__((format(printf, 1, 0))) static void put_words(const char *format, va_list args)
{
    char text[2 * ERROR_TEXT_MAX];
    vsnprintf(text, sizeof(text), format, args);
    for (char *at = text; *at != '\0'; at++)
        if (((unsigned char)*at < 0x20 && *at != '\n') || *at == 0x7f)
            *at = '?';
    fprintf(stderr, "tidemill: %s\n", text);
}

void print_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_words(format, args);
    va_end(args);
}

int print_failure(const struct error *error)
{
    print_error("%s", error->text);
    return error_exit_status(error->code);
}

int print_usage(const struct command_context *context, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_words(format, args);
    va_end(args);
    return print_usage_line(context);
}

int print_usage_line(const struct command_context *context)
{
    fprintf(stderr, "usage: %s\n", context->usage);
    return error_exit_status(ERROR_USAGE);
}

int print_json(json_t *value)
{
    if (value == NULL) {
        print_error("no memory for the report");
        return error_exit_status(ERROR_SYSTEM);
    }
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(value);
    return 0;
}

static const char *colour(const char *code)
{
    static int wanted = -1;
    if (wanted < 0)
        wanted = isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == NULL;
    return wanted ? code : "";
}

const char *print_bold(void)
{
    return colour("\033[1m");
}

const char *print_red(void)
{
    return colour("\033[31m");
}

const char *print_green(void)
{
    return colour("\033[32m");
}

const char *print_dim(void)
{
    return colour("\033[2m");
}

const char *print_plain(void)
{
    return colour("\033[0m");
}

#define TERMINAL_COLUMNS 80
#define COLUMN_LEAST     20

/* 0: standard output is no terminal. */
static unsigned terminal_columns(void)
{
    struct winsize size;
    if (isatty(STDOUT_FILENO) != 1)
        return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return TERMINAL_COLUMNS;
    return size.ws_col;
}

void print_column(unsigned start, const char *text)
{
    unsigned columns = terminal_columns();
    size_t room = columns > start + COLUMN_LEAST ? columns - start : 0;
    while (room > 0 && strlen(text) > room) {
        size_t cut = room;
        while (cut > 0 && text[cut] != ' ')
            cut--;
        if (cut == 0)
            cut = room; /* a word that is wider than the column */
        printf("%.*s\n%*s", (int)cut, text, (int)start, "");
        text += cut + strspn(text + cut, " ");
    }
    puts(text);
}

const char *print_time(const json_t *time, char *text)
{
    const char *iso = json_string_value(time);
    char today[CLOCK_TEXT_SIZE];
    if (iso == NULL || strlen(iso) < 19)
        return "-";
    clock_format(clock_wall_ms(), today);
    if (strncmp(iso, today, 10) == 0)
        snprintf(text, 32, "%.8s UTC", iso + 11);
    else
        snprintf(text, 32, "%.10s %.8s UTC", iso, iso + 11);
    return text;
}

const char *print_duration(double seconds, char *text)
{
    if (seconds < 60)
        snprintf(text, 32, "%.1f s", seconds);
    else if (seconds < 3600)
        snprintf(text, 32, "%.0f min", seconds / 60);
    else if (seconds < 86400)
        snprintf(text, 32, "%.1f h", seconds / 3600);
    else
        snprintf(text, 32, "%.1f d", seconds / 86400);
    return text;
}

#define PROGRESS_EVERY_MS 100
#define PROGRESS_WIDTH    30

void progress_start(struct progress *progress, const char *what)
{
    *progress = (struct progress){
        .what = what,
        .shown = isatty(STDERR_FILENO) == 1,
        .started_ms = clock_monotonic_ms(),
    };
}

void progress_show(struct progress *progress, uint64_t done, uint64_t total)
{
    uint64_t now_ms = clock_monotonic_ms();
    if (!progress->shown ||
        (done < total && now_ms - progress->drawn_ms < PROGRESS_EVERY_MS))
        return;
    progress->drawn_ms = now_ms;
    int filled =
        total == 0 ? PROGRESS_WIDTH : (int)(done * PROGRESS_WIDTH / total);
    double seconds = (double)(now_ms - progress->started_ms) / 1000.0;
    fprintf(stderr, "\r%-12.12s [%.*s%*s] %llu/%llu  %.0f/s \033[K",
            progress->what, filled, "##############################",
            PROGRESS_WIDTH - filled, "", (unsigned long long)done,
            (unsigned long long)total,
            seconds > 0 ? (double)done / seconds : 0.0);
    fflush(stderr);
}

void progress_end(struct progress *progress)
{
    if (progress->shown && progress->drawn_ms != 0)
        fputs("\r\033[K", stderr);
}
