/* SPDX-License-Identifier: Apache-2.0
 *
 * The options that all commands take which submit jobs.
 */
#ifndef TIDEMILL_CTL_JOB_OPTIONS_H
#define TIDEMILL_CTL_JOB_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/store/wire.h"
#include "ctl/command.h"

/* For the table of getopt_long; none of the letters may be used otherwise. */
/* clang-format off */
#define JOB_OPTIONS                                                            \
    {"after", required_argument, NULL, 'A'},                                   \
    {"key", required_argument, NULL, 'K'},                                     \
    {"priority", required_argument, NULL, 'P'},                                \
    {"sql", no_argument, NULL, 'S'},                                           \
    {"timeout", required_argument, NULL, 'T'}
/* clang-format on */

struct job_options {
    int64_t priority;   /* its rank */
    int64_t timeout_ms; /* 0: generation.worker_timeout */
    const char *key;    /* NULL: none */
    char after[1600];   /* JSON list of ids, ascending; "": none */
    bool sql; /* printed, for the queue at the centre */
};

void job_options_init(struct job_options *options);

/* 0 when the option is one of ours and its argument good, 1 when it is none
 * of ours, else a usage error's status. */
int job_option_take(const struct command_context *context,
                    struct job_options *options, int option,
                    const char *argument);

/* 0, or a usage error's status when options were given that go together
 * with no other. */
int job_options_check(const struct command_context *context,
                      const struct job_options *options);

/* JOB_SUBMIT of a job with these options and its own key (NULL: none).  The
 * texts are not copied. */
struct store_call job_submit_call(const struct job_options *options,
                                  const char *kind, const char *spec,
                                  const char *key);

#endif
