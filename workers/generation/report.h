/* SPDX-License-Identifier: Apache-2.0
 *
 * What a job left to be recorded: the calls that go to the store in one
 * request with its end, kept until the store has them.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_REPORT_H
#define TIDEMILL_WORKERS_GENERATION_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/store/wire.h"
#include "workers/generation/command_job.h"
#include "workers/generation/render_job.h"

/* A job as JOB_CLAIM gave it. */
struct job {
    int64_t id;
    int64_t attempt; /* from 1 */
    int64_t timeout_ms;
    char *kind; /* one block with the specification behind it */
    const char *spec;
    size_t spec_size;
};

struct report {
    struct report *next;
    int64_t job_id;
    struct arena arena; /* owns the calls and their texts */
    struct store_call *calls;
    size_t call_count;
};

/* Who reports. */
struct reporter {
    unsigned slot;
    uint32_t spawn;
    unsigned worker_count;
    int64_t max_retries;
};

/* The end of a job.  `render` and `command` are NULL for other kinds, `error`
 * has ERROR_NONE when it is done.  Decides done, retry, failed or cancelled;
 * *outcome says which.  NULL without memory. */
struct report *report_new(const struct reporter *reporter,
                          const struct job *job,
                          const struct render_job *render,
                          const struct command_outcome *command,
                          const struct error *error, uint64_t duration_us,
                          const char **outcome);

void report_free(struct report **report);

#endif
