/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/job_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/shm/metrics.h"
#include "workers/generation/render_job.h"

static int run_kind(const struct job_runner *runner, const struct job *job,
                    struct render_job *render, struct error *error)
{
    if (strcmp(job->kind, "render") == 0)
        return render_job_run(&runner->world, job->spec, job->spec_size,
                              runner->arena, render, error);
    /* does nothing: it measures what a job costs beside its work */
    if (strcmp(job->kind, "noop") == 0)
        return 0;
    return error_set(error, ERROR_DATA,
                     "the kind of job '%.64s' is unknown; this version runs "
                     "render, command and noop",
                     job->kind);
}

static void count_job(const struct render_job *render, const char *outcome,
                      uint64_t duration_us)
{
    metric_record_us(METRIC_JOB_SECONDS, duration_us);
    if (strcmp(outcome, "retry") == 0)
        metric_add(METRIC_JOBS_RETRIED, 1);
    else if (strcmp(outcome, "cancelled") != 0)
        metric_add(strcmp(outcome, "done") == 0 ? METRIC_JOBS_DONE
                                                : METRIC_JOBS_FAILED,
                   1);
    if (render == NULL || strcmp(outcome, "done") != 0)
        return;
    const size_t *counts = render->output.counts;
    metric_add(METRIC_FILES_WRITTEN,
               counts[OUTPUT_CREATED] + counts[OUTPUT_CHANGED]);
    metric_add(METRIC_FILES_UNCHANGED, counts[OUTPUT_UNCHANGED]);
}

static void say_end(const struct job *job, const char *outcome,
                    const struct error *error)
{
    if (error->code == ERROR_NONE)
        log_event(LOG_DEBUG_LEVEL, "job done", LOG_INT("job", job->id));
    else
        log_event(LOG_WARNING_LEVEL, "job not done", LOG_INT("job", job->id),
                  LOG_TEXT("outcome", outcome),
                  LOG_INT("attempt", job->attempt),
                  LOG_TEXT("error", error->text));
}

/* Until its specification names the command that it came from. */
static void correlate(const struct job *job)
{
    char id[32];
    snprintf(id, sizeof(id), "job-%" PRId64, job->id);
    log_set_correlation(id);
}

struct report *job_run(const struct job_runner *runner, const struct job *job,
                       uint64_t *duration_us)
{
    struct error error;
    struct render_job render = {.contract = NULL};
    const char *outcome;
    uint64_t start_ns = clock_monotonic_ns();
    error_clear(&error);
    correlate(job);
    bool is_render = strcmp(job->kind, "render") == 0;
    run_kind(runner, job, &render, &error);
    *duration_us = (clock_monotonic_ns() - start_ns) / 1000;
    struct report *report =
        report_new(runner->reporter, job, is_render ? &render : NULL, NULL,
                   &error, *duration_us, &outcome);
    arena_reset(runner->arena);
    if (report != NULL) {
        count_job(is_render ? &render : NULL, outcome, *duration_us);
        say_end(job, outcome, &error);
    }
    log_set_correlation(NULL);
    return report;
}

struct report *job_report_command(const struct reporter *reporter,
                                  const struct job *job,
                                  const struct command_outcome *command,
                                  const struct error *error,
                                  uint64_t duration_us)
{
    const char *outcome;
    correlate(job);
    if (command->correlation != NULL)
        log_set_correlation(command->correlation);
    struct report *report =
        report_new(reporter, job, NULL, command, error, duration_us, &outcome);
    if (report != NULL) {
        count_job(NULL, outcome, duration_us);
        say_end(job, outcome, error);
    }
    log_set_correlation(NULL);
    return report;
}

void jobs_say_adopted(const struct store_result *result)
{
    for (size_t i = 0; i < result->rows && result->columns == 2; i++) {
        const struct value *row = &result->values[i * 2];
        bool failed =
            row[1].size == 6 && memcmp(row[1].bytes, "failed", 6) == 0;
        bool cancelled =
            row[1].size == 9 && memcmp(row[1].bytes, "cancelled", 9) == 0;
        log_event(failed ? LOG_WARNING_LEVEL : LOG_NOTICE_LEVEL,
                  "a job of the predecessor", LOG_INT("job", row[0].integer),
                  LOG_TEXT("outcome", failed      ? "failed"
                                      : cancelled ? "cancelled"
                                                  : "runs again"));
        if (failed)
            metric_add(METRIC_JOBS_FAILED, 1);
    }
}
