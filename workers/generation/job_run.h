/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs one job of any kind, counts it, logs it, and reports it.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_JOB_RUN_H
#define TIDEMILL_WORKERS_GENERATION_JOB_RUN_H

#include <stdint.h>

#include "common/base/arena.h"
#include "workers/generation/command_job.h"
#include "workers/generation/report.h"

/* What running needs. */
struct job_runner {
    struct render_world world;
    struct arena *arena; /* for its work; reset at the end */
    const struct reporter *reporter;
};

/* The report of the job, done or not, and the time it took.  NULL only
 * without memory for the report. */
struct report *job_run(const struct job_runner *runner, const struct job *job,
                       uint64_t *duration_us);

/* The report of a command that is over, likewise. */
struct report *job_report_command(const struct reporter *reporter,
                                  const struct job *job,
                                  const struct command_outcome *outcome,
                                  const struct error *error,
                                  uint64_t duration_us);

/* Logs and counts what became of a predecessor's jobs (JOB_ADOPT). */
void jobs_say_adopted(const struct store_result *result);

#endif
