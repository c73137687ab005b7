/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/backlog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int backlog_push_job(struct backlog *backlog, const struct value *row)
{
    const struct value *kind = &row[1], *spec = &row[2];
    if (backlog->job_count == CLAIM_MOST || row[0].type != VALUE_INTEGER ||
        kind->type != VALUE_TEXT || spec->type != VALUE_TEXT)
        return -1;
    char *block = malloc(kind->size + spec->size + 2);
    if (block == NULL)
        return -1;
    unsigned last = (backlog->job_first + backlog->job_count) % CLAIM_MOST;
    memcpy(block, kind->bytes, kind->size);
    block[kind->size] = '\0';
    memcpy(block + kind->size + 1, spec->bytes, spec->size);
    block[kind->size + 1 + spec->size] = '\0';
    backlog->jobs[last] = (struct job){
        .id = row[0].integer,
        .attempt = row[3].integer,
        .timeout_ms = row[4].integer,
        .kind = block,
        .spec = block + kind->size + 1,
        .spec_size = spec->size,
    };
    backlog->job_count++;
    return 0;
}

void backlog_pop_job(struct backlog *backlog)
{
    struct job *job = &backlog->jobs[backlog->job_first];
    free(job->kind);
    *job = (struct job){.id = 0};
    backlog->job_first = (backlog->job_first + 1) % CLAIM_MOST;
    backlog->job_count--;
}

void backlog_take_job(struct backlog *backlog, struct job *job)
{
    *job = backlog->jobs[backlog->job_first];
    backlog->jobs[backlog->job_first].kind = NULL;
    backlog_pop_job(backlog);
}

void backlog_list_jobs(const struct backlog *backlog, char *text, size_t size)
{
    size_t at = 0;
    for (unsigned i = 0; i < backlog->job_count; i++)
        at += (size_t)snprintf(
            text + at, size - at, "%c%lld", i == 0 ? '[' : ',',
            (long long)backlog->jobs[(backlog->job_first + i) % CLAIM_MOST].id);
    snprintf(text + at, size - at, at == 0 ? "[]" : "]");
}

bool backlog_begins_with_command(const struct backlog *backlog)
{
    return backlog->job_count > 0 &&
           strcmp(backlog->jobs[backlog->job_first].kind, "command") == 0;
}

void backlog_push_report(struct backlog *backlog, struct report *report)
{
    if (backlog->report_last == NULL)
        backlog->report_first = report;
    else
        backlog->report_last->next = report;
    backlog->report_last = report;
    backlog->report_count++;
}

void backlog_pop_report(struct backlog *backlog)
{
    struct report *report = backlog->report_first;
    backlog->report_first = report->next;
    if (report->next == NULL)
        backlog->report_last = NULL;
    backlog->report_count--;
    report_free(&report);
}
