/* SPDX-License-Identifier: Apache-2.0
 *
 * What the command shows: errors, JSON, tables, progress.
 */
#ifndef TIDEMILL_CTL_PRINT_H
#define TIDEMILL_CTL_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "common/base/error.h"
#include "ctl/command.h"

/* "tidemill: text" on standard error. */
void print_error(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* Prints the error; returns its exit status. */
int print_failure(const struct error *error);

/* "usage: ..." with a reason; returns 64. */
int print_usage(const struct command_context *context, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The usage alone, after getopt said what is wrong; returns 64. */
int print_usage_line(const struct command_context *context);

/* Pretty JSON on standard output; takes the reference.  Returns 0. */
int print_json(json_t *value);

/* Colour codes when standard output is a terminal and NO_COLOR is not set,
 * else "". */
const char *print_bold(void);
const char *print_red(void);
const char *print_green(void);
const char *print_dim(void);
const char *print_plain(void);

/* Text in a column of its own: on a terminal it is broken between words at
 * the right edge and goes on below its start, elsewhere it stays one line.
 * `start` columns were printed already; ends the line. */
void print_column(unsigned start, const char *text);

/* A time of a JSON report ("2026-01-31T23:59:59.123Z") as "23:59:59" when it
 * is of today, else with its date; "-" for null.  In text (32 bytes). */
const char *print_time(const json_t *time, char *text);

/* "12.3 s", "4 min", "2 h", "3 d". In text (32 bytes). */
const char *print_duration(double seconds, char *text);

/* A progress bar on standard error when that is a terminal and the program
 * is not asked for JSON. */
struct progress {
    const char *what;
    bool shown;
    uint64_t started_ms;
    uint64_t drawn_ms;
};

void progress_start(struct progress *progress, const char *what);
void progress_show(struct progress *progress, uint64_t done, uint64_t total);
/* Removes it. */
void progress_end(struct progress *progress);

#endif
