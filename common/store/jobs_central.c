/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs that were leased from the central queue: jobs as all others, and a
 * row that says under which lease.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "common/store/writer_internal.h"

#define NO_TOKEN 0

int run_central_submit(struct statement_call *call)
{
    const struct value *v = call->arguments;
    char key[64];
    snprintf(key, sizeof(key), "central:%lld:%lld", (long long)v[5].integer,
             (long long)v[6].integer);
    const struct value arguments[] = {
        v[0],         v[1],           v[2], v[3], v[4], value_integer(NO_TOKEN),
        value_null(), value_text(key)};
    struct statement_call submit = *call;
    submit.arguments = arguments;
    submit.argument_count = sizeof(arguments) / sizeof(arguments[0]);
    if (writer_protect(call->writer, call->error) != 0 ||
        run_job_submit(&submit) != 0)
        return -1;
    return SQL_RUN(call->writer, SQL_CENTRAL_INSERT, call->error,
                   value_integer(call->result->changed), v[5], v[6], v[7]);
}

/* 1 when the job waits, is queued or runs, 0, or -1. */
static int is_under_way(struct statement_call *call, int64_t id)
{
    sqlite3_stmt *row =
        SQL_QUERY(call->writer, SQL_JOB_READ, call->error, value_integer(id));
    int found = row == NULL ? -1 : sql_step(call->writer, row, call->error);
    if (found <= 0)
        return found;
    const char *state = (const char *)sqlite3_column_text(row, 0);
    found = state != NULL &&
            (strcmp(state, "waiting") == 0 || strcmp(state, "queued") == 0 ||
             strcmp(state, "claimed") == 0);
    sqlite3_reset(row);
    return found;
}

int run_central_reported(struct statement_call *call)
{
    static const char *const words[] = {"reported", "refused", "lost"};
    const struct value *v = call->arguments;
    size_t word = 0;
    while (word < 3 && (v[1].size != strlen(words[word]) ||
                        memcmp(v[1].bytes, words[word], v[1].size) != 0))
        word++;
    if (word == 3)
        return error_set(call->error, ERROR_DATA,
                         "the end of a central job is reported, refused or "
                         "lost");
    if (writer_protect(call->writer, call->error) != 0 ||
        SQL_RUN(call->writer, SQL_CENTRAL_REPORT, call->error, v[0], v[1]) != 0)
        return -1;
    int64_t changed = sqlite3_changes(call->writer->db);
    int live = changed > 0 ? is_under_way(call, v[0].integer) : 0;
    if (live > 0) {
        const struct value arguments[] = {v[0], v[2]};
        struct statement_call cancel = *call;
        cancel.arguments = arguments;
        cancel.argument_count = 2;
        live = run_job_cancel(&cancel);
    }
    call->result->changed = changed;
    return live < 0 ? -1 : 0;
}

/* What was cancelled here has its end only in central_jobs: it goes on
 * elsewhere, so the centre's records know nothing of it.  Without its key
 * the same attempt may come here again under another lease. */
int run_central_hand_back(struct statement_call *call)
{
    const struct value *v = call->arguments;
    struct store_writer *writer = call->writer;
    if (writer_protect(writer, call->error) != 0 ||
        SQL_RUN(writer, SQL_CENTRAL_STOP, call->error, v[0], v[1]) != 0 ||
        sql_run_values(writer, SQL_CENTRAL_RETURN, call->error, NULL, 0) != 0)
        return -1;
    call->result->changed = sqlite3_changes(writer->db);
    writer->topics |= TOPIC_JOB_OVER;
    return 0;
}
