/* SPDX-License-Identifier: Apache-2.0
 *
 * What a worker holds between the store's answers: jobs that are claimed
 * and not begun, and reports that the store has not taken yet.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_BACKLOG_H
#define TIDEMILL_WORKERS_GENERATION_BACKLOG_H

#include <stdbool.h>

#include "common/store/wire.h"
#include "workers/generation/claim_size.h"
#include "workers/generation/report.h"

struct backlog {
    struct job jobs[CLAIM_MOST]; /* a ring */
    unsigned job_first, job_count;
    struct report *report_first, *report_last;
    unsigned report_count;
};

/* Copies a row of JOB_CLAIM behind the other jobs; -1 when it is none, or
 * there is no room. */
int backlog_push_job(struct backlog *backlog, const struct value *row);

/* Forgets the first job. */
void backlog_pop_job(struct backlog *backlog);

/* Moves the first job out; its block is the caller's to free. */
void backlog_take_job(struct backlog *backlog, struct job *job);

/* Their ids as a JSON list, which needs 24 bytes for each. */
void backlog_list_jobs(const struct backlog *backlog, char *text, size_t size);

bool backlog_begins_with_command(const struct backlog *backlog);

/* Takes over a report, behind the others. */
void backlog_push_report(struct backlog *backlog, struct report *report);

/* Frees the first report. */
void backlog_pop_report(struct backlog *backlog);

#endif
