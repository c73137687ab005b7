/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs one job of any kind, counts it, logs it, and reports it.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_JOB_RUN_H
#define TIDEMILL_WORKERS_GENERATION_JOB_RUN_H

#include <stdint.h>

#include "common/base/arena.h"
#include "workers/generation/report.h"

struct template_cache;

/* What running needs. */
struct job_runner {
    struct template_cache *templates;
    const char *template_dir; /* for a job that names none */
    struct arena *arena;      /* for its work; reset at the end */
    const struct reporter *reporter;
};

/* The report of the job, done or not, and the time it took.  NULL only
 * without memory for the report. */
struct report *job_run(const struct job_runner *runner, const struct job *job,
                       uint64_t *duration_us);

#endif
