/* SPDX-License-Identifier: Apache-2.0
 *
 * Generation jobs: queued, claimed, done, failed.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "common/store/writer_internal.h"

#define BACKOFF_FIRST_MS  1000
#define BACKOFF_MOST_MS   60000
#define JOB_CLAIM_MAX     1024
#define CLAIM_BYTES_MAX   (8u << 20) /* of an answer, but for its first job */
#define CLAIM_SHARE_LEAST 4
#define SPEC_INLINE_MAX   256  /* bytes; longer ones are kept apart */
#define KEY_BYTES_MAX     4200 /* a word and a path */

/* After the n-th attempt, from 1: 1 s, 2 s, 4 s ... 60 s.  The time on the
 * disk is of the wall clock; one that is further ahead than the longest wait
 * was written before the clock was set back, and is due (SQL_JOBS_QUEUED). */
static int64_t backoff_ms(int64_t attempt)
{
    int64_t wait = BACKOFF_FIRST_MS;
    while (--attempt > 0 && wait < BACKOFF_MOST_MS)
        wait *= 2;
    return wait < BACKOFF_MOST_MS ? wait : BACKOFF_MOST_MS;
}

/* As in outbox_append.c. */
static int load_tokens(struct store_writer *writer, struct error *error)
{
    size_t depth = TOKENS_LOOKBACK + writer->request.call_count;
    if (writer->job_tokens_depth >= depth ||
        (writer->job_tokens_depth != 0 &&
         writer->request.call_count <= TOKENS_LOOKBACK))
        return 0;
    sqlite3_stmt *rows =
        SQL_QUERY(writer, SQL_JOB_TOKENS, error, value_integer((int64_t)depth));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, error)) > 0) {
        int64_t token = sqlite3_column_int64(rows, 1);
        if (token != 0)
            recent_tokens_add(writer->old_tokens, token,
                              sqlite3_column_int64(rows, 0));
    }
    writer->job_tokens_depth = (uint32_t)depth;
    return step;
}

static int guess_id(struct store_writer *writer, int64_t token, int64_t *id,
                    struct error *error)
{
    if (outbox_tokens_ready(writer, error) != 0)
        return -1;
    if (recent_tokens_find(writer->tokens, token, id))
        return 1;
    if (!writer->repeats)
        return 0;
    if (load_tokens(writer, error) != 0)
        return -1;
    return recent_tokens_find(writer->old_tokens, token, id);
}

/* 1 and *id when a job has the token, 0, or -1. */
static int find_submitted(struct store_writer *writer, int64_t token,
                          int64_t *id, struct error *error)
{
    if (token == 0)
        return 0;
    int found = guess_id(writer, token, id, error);
    if (found <= 0)
        return found;
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_JOB_TOKEN, error, value_integer(*id));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    bool same = step > 0 && sqlite3_column_int64(row, 0) == token;
    sqlite3_reset(row);
    return step < 0 ? -1 : same;
}

/* 1 and *id when the very job has the key, 0, or -1. */
static int find_by_key(struct statement_call *call, int64_t *id)
{
    const struct value *v = call->arguments;
    if (v[7].type == VALUE_NULL)
        return 0;
    sqlite3_stmt *row = SQL_QUERY(call->writer, SQL_JOB_BY_KEY, call->error,
                                  v[7], v[0], v[2], v[3], v[1], v[6]);
    if (row == NULL)
        return -1;
    int found = sql_step(call->writer, row, call->error);
    if (found > 0) {
        *id = sqlite3_column_int64(row, 0);
        const char *other = (const char *)sqlite3_column_text(row, 1);
        if (other != NULL)
            found =
                error_set(call->error, ERROR_DATA,
                          "the key '%.*s' is that of job %lld, whose %s "
                          "differs; give another key",
                          (int)v[7].size, v[7].bytes, (long long)*id, other);
        sqlite3_reset(row);
    }
    return found;
}

static int insert_job(struct statement_call *call, int64_t *id)
{
    const struct value *v = call->arguments;
    struct store_writer *writer = call->writer;
    bool is_long = v[2].size > SPEC_INLINE_MAX;
    int64_t waits;
    if (job_after_check(call, &v[6], false, &waits) != 0 ||
        SQL_RUN(writer, SQL_JOB_INSERT, call->error, v[0], v[1],
                is_long ? value_null() : v[2], v[3], v[4], v[5], v[6], v[7],
                value_integer(waits)) != 0)
        return -1;
    *id = sqlite3_last_insert_rowid(writer->db);
    if (job_after_insert(call, *id, &v[6]) != 0)
        return -1;
    if (is_long && SQL_RUN(writer, SQL_JOB_SPEC_INSERT, call->error,
                           value_integer(*id), v[2]) != 0)
        return -1;
    if (v[5].integer != 0)
        recent_tokens_add(writer->tokens, v[5].integer, *id);
    writer->jobs_wait = true;
    writer->topics |= TOPIC_JOB_QUEUED;
    return 0;
}

int run_job_submit(struct statement_call *call)
{
    const struct value *v = call->arguments;
    if (v[0].size == 0 || v[0].size > 64)
        return error_set(call->error, ERROR_DATA,
                         "a job's kind is a word of 1 to 64 bytes");
    if (v[1].integer < 0 || v[1].integer >= OUTBOX_PRIORITIES)
        return error_set(call->error, ERROR_DATA,
                         "a job's priority is 0 urgent, 1 high, 2 normal or "
                         "3 low, not %lld",
                         (long long)v[1].integer);
    if (v[3].integer < 0)
        return error_set(call->error, ERROR_DATA,
                         "a job's timeout cannot be negative");
    if (v[7].type != VALUE_NULL &&
        (v[7].size == 0 || v[7].size > KEY_BYTES_MAX))
        return error_set(call->error, ERROR_DATA,
                         "a job's key has 1 to %d bytes, not %zu",
                         KEY_BYTES_MAX, v[7].size);
    if (argument_is_json("the job's specification", &v[2], call->error) != 0)
        return -1;
    int found = find_submitted(call->writer, v[5].integer,
                               &call->result->changed, call->error);
    if (found == 0)
        found = find_by_key(call, &call->result->changed);
    if (found != 0)
        return found < 0 ? -1 : 0;
    return insert_job(call, &call->result->changed);
}

static int copy_column(struct statement_call *call, sqlite3_stmt *row,
                       int column, struct value *value)
{
    size_t size = (size_t)sqlite3_column_bytes(row, column);
    const char *copy =
        arena_copy(call->arena, sqlite3_column_text(row, column), size);
    if (copy == NULL)
        return result_out_of_memory(call->error);
    *value = value_text_sized(copy, size);
    return 0;
}

static int put_job(struct statement_call *call, sqlite3_stmt *row,
                   size_t *capacity)
{
    struct value *values = result_row(call, capacity);
    if (values == NULL)
        return result_out_of_memory(call->error);
    values[0] = value_integer(sqlite3_column_int64(row, 0));
    values[3] = value_integer(sqlite3_column_int64(row, 3));
    values[4] = value_integer(sqlite3_column_int64(row, 4));
    if (copy_column(call, row, 1, &values[1]) != 0)
        return -1;
    return copy_column(call, row, 2, &values[2]);
}

/* Those that must still wait count. */
static int count_queued(struct statement_call *call, int64_t most,
                        int64_t *count)
{
    sqlite3_stmt *row = SQL_QUERY(call->writer, SQL_JOBS_QUEUED_COUNT,
                                  call->error, value_integer(most));
    if (row == NULL)
        return -1;
    int step = sql_step(call->writer, row, call->error);
    *count = sqlite3_column_int64(row, 0);
    sqlite3_reset(row);
    return step < 0 ? -1 : 0;
}

/* Of a queue that runs short a worker gets half, so that the pool's last jobs
 * end together; the fewer are asked for, the less that matters. */
static int claim_share(struct statement_call *call, int64_t *most)
{
    int64_t count;
    if (count_queued(call, 2 * *most, &count) != 0)
        return -1;
    int64_t half = (count + 1) / 2;
    if (half < *most)
        *most = half > CLAIM_SHARE_LEAST ? half : CLAIM_SHARE_LEAST;
    return 0;
}

/* Mostly their ids follow one another: a statement for each such run. */
static int take_jobs(struct statement_call *call)
{
    const struct value *v = call->arguments;
    const struct value *first = call->result->values;
    const struct value *end = first + call->result->rows * 5;
    for (const struct value *last; first < end; first = last + 5) {
        for (last = first;
             last + 5 < end && last[5].integer == last->integer + 1;)
            last += 5;
        if (SQL_RUN(call->writer, SQL_JOBS_TAKE, call->error, *first, *last,
                    v[0], v[1], v[3]) != 0)
            return -1;
    }
    return 0;
}

int run_job_claim(struct statement_call *call)
{
    struct store_writer *writer = call->writer;
    const struct value *v = call->arguments;
    int64_t most = v[2].integer < JOB_CLAIM_MAX ? v[2].integer : JOB_CLAIM_MAX;
    if (most < 1)
        return error_set(call->error, ERROR_DATA,
                         "JOB_CLAIM takes at least 1 job");
    if (most > CLAIM_SHARE_LEAST && claim_share(call, &most) != 0)
        return -1;
    call->result->columns = 5;
    size_t capacity = 0;
    size_t bytes = 0;
    sqlite3_stmt *rows = SQL_QUERY(writer, SQL_JOBS_QUEUED, call->error,
                                   value_integer(most + 1), v[3]);
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, call->error)) > 0) {
        bytes += (size_t)sqlite3_column_bytes(rows, 2);
        if (call->result->rows > 0 &&
            (bytes > CLAIM_BYTES_MAX || (int64_t)call->result->rows == most))
            break;
        if (put_job(call, rows, &capacity) != 0) {
            sqlite3_reset(rows);
            return -1;
        }
    }
    sqlite3_reset(rows);
    if (step < 0)
        return -1;
    if (take_jobs(call) != 0)
        return -1;
    int64_t later = 0;
    if (step == 0 && count_queued(call, 1, &later) != 0)
        return -1;
    call->result->changed =
        later > 0 ? -1 : (int64_t)call->result->rows + (step > 0);
    writer->jobs_claimed = true;
    writer->jobs_wait = step > 0;
    return 0;
}

int run_job_unclaim(struct statement_call *call)
{
    const struct value *v = call->arguments;
    struct store_writer *writer = call->writer;
    if (argument_is_json("the list of jobs", &v[2], call->error) != 0 ||
        SQL_RUN(writer, SQL_JOBS_UNCLAIM, call->error, v[0], v[1], v[2]) != 0)
        return -1;
    call->result->changed = sqlite3_changes(writer->db);
    if (call->result->changed > 0)
        writer->topics |= TOPIC_JOB_QUEUED;
    writer->jobs_wait = writer->jobs_wait || call->result->changed > 0;
    return 0;
}

bool store_writer_jobs_wait(const struct store_writer *writer)
{
    return writer->jobs_wait;
}

int store_writer_look_for_jobs(struct store_writer *writer, int64_t now_ms,
                               struct error *error)
{
    sqlite3_stmt *row = SQL_QUERY(writer, SQL_JOBS_QUEUED, error,
                                  value_integer(1), value_integer(now_ms));
    int step = row == NULL ? -1 : sql_step(writer, row, error);
    sqlite3_reset(row);
    writer->jobs_wait = step > 0;
    return step < 0 ? -1 : 0;
}

struct abandoned {
    int64_t id;
    int64_t attempt;
    bool cancel;
};

static int read_abandoned(struct statement_call *call,
                          struct abandoned **abandoned, size_t *count)
{
    const struct value *v = call->arguments;
    size_t capacity = 0;
    *abandoned = NULL;
    *count = 0;
    sqlite3_stmt *rows =
        SQL_QUERY(call->writer, SQL_JOBS_ABANDONED, call->error, v[0], v[1],
                  v[2], v[7], value_integer(SPAWNS_LATER));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(call->writer, rows, call->error)) > 0) {
        if (*count == capacity) {
            size_t wanted = capacity * 2 + 16;
            struct abandoned *more =
                arena_calloc(call->arena, wanted, sizeof(*more));
            if (more == NULL) {
                sqlite3_reset(rows);
                return result_out_of_memory(call->error);
            }
            if (*count > 0)
                memcpy(more, *abandoned, *count * sizeof(*more));
            *abandoned = more;
            capacity = wanted;
        }
        (*abandoned)[(*count)++] =
            (struct abandoned){.id = sqlite3_column_int64(rows, 0),
                               .attempt = sqlite3_column_int64(rows, 1),
                               .cancel = sqlite3_column_int64(rows, 2) != 0};
    }
    return step;
}

/* Its end and the centre's record of that are one transaction: no death of
 * a worker comes between them. */
static int fail_job(struct statement_call *call, const struct abandoned *job)
{
    const struct value *v = call->arguments;
    if (SQL_RUN(call->writer, SQL_JOB_FAIL, call->error, value_integer(job->id),
                v[5], v[6]) != 0 ||
        job_record_end(call, job->id, job->attempt, "failed", &v[5],
                       v[6].integer) != 0)
        return -1;
    return job_over(call, job->id, "failed", v[6].integer);
}

static int cancel_job(struct statement_call *call, int64_t id, int64_t attempt,
                      int64_t now_ms)
{
    const struct value why = value_text("cancelled");
    if (SQL_RUN(call->writer, SQL_JOB_CANCEL, call->error, value_integer(id),
                value_integer(now_ms)) != 0 ||
        job_record_end(call, id, attempt, "cancelled", &why, now_ms) != 0)
        return -1;
    return job_over(call, id, "cancelled", now_ms);
}

/* What becomes of one job of a dead worker.  The one that it died on is
 * tried again at once the first time, so that a killed worker costs its job
 * no wait; later with the usual back-off. */
static int adopt_job(struct statement_call *call, const struct abandoned *job,
                     const char **outcome)
{
    const struct value *v = call->arguments;
    struct store_writer *writer = call->writer;
    int64_t now = v[6].integer;
    if (job->cancel) {
        *outcome = "cancelled";
        return cancel_job(call, job->id, job->attempt, now);
    }
    if (job->id != v[3].integer) {
        *outcome = "queued"; /* it never began: the attempt does not count */
        return SQL_RUN(writer, SQL_JOB_REQUEUE, call->error,
                       value_integer(job->id), value_integer(job->attempt - 1),
                       value_integer(0), value_null(), value_null());
    }
    if (job->attempt > v[4].integer) {
        *outcome = "failed";
        return fail_job(call, job);
    }
    *outcome = "retry";
    int64_t wait = job->attempt > 1 ? backoff_ms(job->attempt - 1) : 0;
    return SQL_RUN(writer, SQL_JOB_REQUEUE, call->error, value_integer(job->id),
                   value_integer(job->attempt), value_integer(now + wait), v[5],
                   value_null());
}

int run_job_adopt(struct statement_call *call)
{
    struct abandoned *jobs;
    size_t count;
    size_t capacity = 0;
    if (read_abandoned(call, &jobs, &count) != 0)
        return -1;
    call->result->columns = 2;
    for (size_t i = 0; i < count; i++) {
        const char *outcome;
        struct value *row = result_row(call, &capacity);
        if (row == NULL)
            return result_out_of_memory(call->error);
        if (adopt_job(call, &jobs[i], &outcome) != 0)
            return -1;
        row[0] = value_integer(jobs[i].id);
        row[1] = value_text_sized(outcome, strlen(outcome));
    }
    if (count > 0)
        call->writer->topics |= TOPIC_JOB_QUEUED;
    call->result->changed = (int64_t)count;
    return 0;
}

static bool is_word(const struct value *value, const char *word)
{
    return value->size == strlen(word) &&
           memcmp(value->bytes, word, value->size) == 0;
}

/* Of a job that this worker holds. */
static int check_owner(struct statement_call *call, int64_t *attempt,
                       bool *cancel)
{
    const struct value *v = call->arguments;
    long long id = (long long)v[0].integer;
    sqlite3_stmt *row =
        SQL_QUERY(call->writer, SQL_JOB_READ, call->error, v[0]);
    if (row == NULL)
        return -1;
    int step = sql_step(call->writer, row, call->error);
    int result = step < 0 ? -1 : 0;
    if (step == 0)
        result = error_set(call->error, ERROR_DATA, "there is no job %lld", id);
    if (step > 0) {
        const char *state = (const char *)sqlite3_column_text(row, 0);
        *attempt = sqlite3_column_int64(row, 3);
        *cancel = sqlite3_column_int64(row, 4) != 0;
        if (state == NULL || strcmp(state, "claimed") != 0)
            result = error_set(call->error, ERROR_NOT_ALLOWED,
                               "job %lld is %s, not claimed; nothing was "
                               "changed",
                               id, state != NULL ? state : "unknown");
        else if (sqlite3_column_int64(row, 1) != v[1].integer ||
                 sqlite3_column_int64(row, 2) != v[2].integer)
            result = error_set(
                call->error, ERROR_NOT_ALLOWED,
                "job %lld is held by slot %lld, spawn %lld, not by slot %lld, "
                "spawn %lld; nothing was changed",
                id, (long long)sqlite3_column_int64(row, 1),
                (long long)sqlite3_column_int64(row, 2),
                (long long)v[1].integer, (long long)v[2].integer);
    }
    sqlite3_reset(row);
    return result;
}

/* Who holds it is looked at in the same step; why it was not this worker's
 * only when it was not. */
static int end_job(struct statement_call *call, const char *state)
{
    const struct value *v = call->arguments;
    int64_t attempt;
    bool cancel;
    if (SQL_RUN(call->writer, SQL_JOB_END, call->error, v[0], value_text(state),
                v[4], v[5], v[6], v[7], v[8], v[1], v[2]) != 0)
        return -1;
    if (sqlite3_changes(call->writer->db) == 0) {
        check_owner(call, &attempt, &cancel);
        return -1;
    }
    return job_over(call, v[0].integer, state, v[8].integer);
}

/* Another try, unless it was cancelled meanwhile. */
static int retry_job(struct statement_call *call)
{
    const struct value *v = call->arguments;
    const struct value why = value_text("cancelled");
    int64_t attempt;
    bool cancel;
    if (argument_is_json("the job's result", &v[4], call->error) != 0 ||
        check_owner(call, &attempt, &cancel) != 0)
        return -1;
    if (cancel)
        return end_job(call, "cancelled") != 0
                   ? -1
                   : job_record_end(call, v[0].integer, attempt, "cancelled",
                                    &why, v[8].integer);
    call->writer->topics |= TOPIC_JOB_QUEUED;
    return SQL_RUN(call->writer, SQL_JOB_REQUEUE, call->error, v[0],
                   value_integer(attempt),
                   value_integer(v[8].integer + backoff_ms(attempt)), v[5],
                   v[6]);
}

int run_job_finish(struct statement_call *call)
{
    static const char *const states[] = {"done", "failed", "cancelled"};
    const struct value *v = call->arguments;
    call->result->changed = 1;
    if (is_word(&v[3], "retry"))
        return retry_job(call);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (is_word(&v[3], states[i]))
            return end_job(call, states[i]) != 0
                       ? -1
                       : job_record(call, v[0].integer, &v[4], v[8].integer);
    return error_set(call->error, ERROR_DATA,
                     "a job's outcome is done, retry, failed or cancelled, "
                     "not \"%.*s\"",
                     v[3].size > 40 ? 40 : (int)v[3].size, v[3].bytes);
}

struct job_state {
    char state[16];
    int64_t attempt;
    struct value after; /* in the arena */
};

static int read_state(struct statement_call *call, struct job_state *state)
{
    const struct value *v = call->arguments;
    sqlite3_stmt *row =
        SQL_QUERY(call->writer, SQL_JOB_READ, call->error, v[0]);
    if (row == NULL)
        return -1;
    int result = 0;
    int step = sql_step(call->writer, row, call->error);
    state->after = value_null();
    if (step > 0) {
        snprintf(state->state, sizeof(state->state), "%s",
                 (const char *)sqlite3_column_text(row, 0));
        state->attempt = sqlite3_column_int64(row, 3);
        if (sqlite3_column_type(row, 5) != SQLITE_NULL)
            result = copy_column(call, row, 5, &state->after);
    }
    sqlite3_reset(row);
    if (step == 0)
        return error_set(call->error, ERROR_NEGATIVE,
                         "there is no job %lld; 'tidemill jobs list' shows "
                         "them",
                         (long long)v[0].integer);
    return step < 0 ? -1 : result;
}

int run_job_cancel(struct statement_call *call)
{
    const struct value *v = call->arguments;
    struct job_state job;
    if (read_state(call, &job) != 0)
        return -1;
    if (strcmp(job.state, "queued") == 0 || strcmp(job.state, "waiting") == 0) {
        call->result->changed = 1;
        return cancel_job(call, v[0].integer, job.attempt, v[1].integer);
    }
    if (strcmp(job.state, "claimed") != 0)
        return error_set(call->error, ERROR_NEGATIVE,
                         "job %lld is %s: there is nothing to cancel",
                         (long long)v[0].integer, job.state);
    call->writer->topics |= TOPIC_JOB_CANCEL;
    call->result->changed = 2;
    return SQL_RUN(call->writer, SQL_JOB_MARK_CANCEL, call->error, v[0]);
}

int run_job_retry(struct statement_call *call)
{
    const struct value *v = call->arguments;
    struct job_state job;
    int64_t waits;
    if (read_state(call, &job) != 0)
        return -1;
    if (strcmp(job.state, "failed") != 0 && strcmp(job.state, "cancelled") != 0)
        return error_set(call->error, ERROR_NEGATIVE,
                         "job %lld is %s: only one that failed or was "
                         "cancelled is tried again",
                         (long long)v[0].integer, job.state);
    if (job_after_check(call, &job.after, true, &waits) != 0 ||
        job_after_insert(call, v[0].integer, &job.after) != 0)
        return -1;
    call->writer->topics |= TOPIC_JOB_QUEUED;
    call->result->changed = 1;
    return SQL_RUN(call->writer, SQL_JOB_RETRY, call->error, v[0],
                   value_integer(waits));
}
