/* SPDX-License-Identifier: Apache-2.0
 *
 * Small things that all commands do with their arguments and reports.
 */
#ifndef TIDEMILL_CTL_ARGUMENTS_H
#define TIDEMILL_CTL_ARGUMENTS_H

#include <limits.h>
#include <stdint.h>

#include <jansson.h>

#include "common/base/error.h"
#include "ctl/command.h"

/* 0 when there are none, else a usage error's status. */
int take_no_arguments(const struct command_context *context, int argc,
                      char **argv);

/* A positive whole number; 0 when the text is none. */
int64_t parse_positive(const char *text);

/* "90s", "30m", "2h" and so on in milliseconds; 0 when the text is none. */
int64_t parse_duration_ms(const char *text);

/* A member of a report as text; "-" when it is absent or no string. */
const char *report_text(const json_t *row, const char *key);
/* As a number; 0 when it is none. */
long long report_number(const json_t *row, const char *key);

/* An absolute path, which need not exist yet, of one that is relative to the
 * current directory.  ERROR_USAGE when it is too long. */
int argument_path(const char *path, char out[PATH_MAX], struct error *error);

#endif
