/* SPDX-License-Identifier: Apache-2.0
 *
 * Running requests: who may, what arguments, in a savepoint.
 */
#include <ctype.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/writer_internal.h"

static const statement_run statement_runs[STATEMENT_COUNT] = {
    [STATEMENT_OUTBOX_APPEND] = run_outbox_append,
    [STATEMENT_BATCH_CLAIM] = run_batch_claim,
    [STATEMENT_BATCH_ADOPT] = run_batch_adopt,
    [STATEMENT_EPOCH_BEGIN] = run_epoch_begin,
    [STATEMENT_BATCH_COUNT] = run_batch_count,
    [STATEMENT_BATCH_REJECT] = run_batch_reject,
    [STATEMENT_BATCH_HOLD] = run_batch_hold,
    [STATEMENT_BATCH_CONFLICT] = run_batch_conflict,
    [STATEMENT_BATCH_SETTLE] = run_batch_settle,
    [STATEMENT_SYNC_METRIC] = run_sync_metric,
    [STATEMENT_SYNC_PAUSED] = run_sync_paused,
    [STATEMENT_DEAD_RETRY] = run_dead_retry,
    [STATEMENT_DEAD_DROP] = run_dead_drop,
    [STATEMENT_CONFLICT_RESOLVE] = run_conflict_resolve,
    [STATEMENT_HOOK_RECORD] = run_hook_record,
    [STATEMENT_DETAILS_FOLD] = run_details_fold,
    [STATEMENT_EXPIRE] = run_expire,
    [STATEMENT_JOB_SUBMIT] = run_job_submit,
    [STATEMENT_JOB_CLAIM] = run_job_claim,
    [STATEMENT_JOB_UNCLAIM] = run_job_unclaim,
    [STATEMENT_JOB_ADOPT] = run_job_adopt,
    [STATEMENT_JOB_FINISH] = run_job_finish,
    [STATEMENT_JOB_CANCEL] = run_job_cancel,
    [STATEMENT_JOB_RETRY] = run_job_retry,
    [STATEMENT_CENTRAL_SUBMIT] = run_central_submit,
    [STATEMENT_CENTRAL_REPORTED] = run_central_reported,
    [STATEMENT_CENTRAL_HAND_BACK] = run_central_hand_back,
    [STATEMENT_FILES_RECORD] = run_files_record,
    [STATEMENT_MIXINS_RECORD] = run_mixins_record,
    [STATEMENT_TEMPLATES_RECORD] = run_templates_record,
    [STATEMENT_FEEDBACK_RECORD] = run_feedback_record,
    [STATEMENT_FIGURES_REPORT] = run_figures_report,
    [STATEMENT_SAMPLE_RECORD] = run_sample_record,
};

int result_out_of_memory(struct error *error)
{
    return error_set(error, ERROR_SYSTEM,
                     "no memory for this request's answer; nothing of it was "
                     "stored; ask for less at once");
}

struct value *result_row(struct statement_call *call, size_t *capacity)
{
    struct store_result *result = call->result;
    if (result->rows == *capacity) {
        size_t wanted = *capacity * 2 + 16;
        struct value *values = arena_calloc(
            call->arena, wanted * result->columns, sizeof(*values));
        if (values == NULL)
            return NULL;
        if (result->rows > 0)
            memcpy(values, result->values,
                   result->rows * result->columns * sizeof(*values));
        result->values = values;
        *capacity = wanted;
    }
    return &result->values[result->rows++ * result->columns];
}

static bool type_fits(char letter, const struct value *value)
{
    if (value->type == VALUE_NULL)
        return isupper((unsigned char)letter) != 0;
    switch (tolower((unsigned char)letter)) {
    case 'i':
        return value->type == VALUE_INTEGER;
    case 't':
        return value->type == VALUE_TEXT;
    default:
        return value->type == VALUE_BYTES;
    }
}

static int check_text(const struct store_call *call, unsigned i,
                      struct error *error)
{
    const struct value *value = &call->arguments[i];
    const char *name = statement_name(call->statement);
    if (value->size > JSON_ARGUMENT_MAX + 1024)
        return error_set(error, ERROR_DATA,
                         "%s: argument %u has %zu bytes, at most %d are taken",
                         name, i + 1, value->size, JSON_ARGUMENT_MAX);
    /* JSON arguments are looked at again as JSON; NUL is never text. */
    if (value->size > 0 && memchr(value->bytes, 0, value->size) != NULL)
        return error_set(error, ERROR_DATA,
                         "%s: argument %u has a NUL byte; remove it", name,
                         i + 1);
    if (!text_is_utf8(value->bytes != NULL ? value->bytes : "", value->size))
        return error_set(error, ERROR_DATA,
                         "%s: argument %u is not UTF-8; convert it", name,
                         i + 1);
    return 0;
}

static int check_call(const struct store_call *call, uint32_t caller,
                      struct error *error)
{
    if ((unsigned)call->statement >= STATEMENT_COUNT)
        return error_set(error, ERROR_PROTOCOL,
                         "statement %u is not known; client and store are of "
                         "different versions: restart both",
                         (unsigned)call->statement);
    const char *name = statement_name(call->statement);
    const char *letters = statement_arguments(call->statement);
    if ((statement_callers(call->statement) & caller) == 0)
        return error_set(error, ERROR_NOT_ALLOWED,
                         "%s is not for this caller; nothing was changed",
                         name);
    if (call->argument_count != strlen(letters))
        return error_set(error, ERROR_PROTOCOL,
                         "%s takes %zu arguments, not %u", name,
                         strlen(letters), call->argument_count);
    for (unsigned i = 0; i < call->argument_count; i++) {
        if (!type_fits(letters[i], &call->arguments[i]))
            return error_set(error, ERROR_PROTOCOL,
                             "%s: argument %u is of a wrong type (wanted: %c)",
                             name, i + 1, letters[i]);
        if (call->arguments[i].type == VALUE_TEXT &&
            check_text(call, i, error) != 0)
            return -1;
    }
    return 0;
}

static int check_meaning(const struct store_call *call, struct error *error)
{
    return call->statement == STATEMENT_HOOK_RECORD
               ? hook_record_check(call->arguments, error)
           : call->statement == STATEMENT_OUTBOX_APPEND
               ? outbox_call_check(call, error)
               : 0;
}

int request_check(const struct store_request *request, uint32_t caller,
                  struct error *error)
{
    for (size_t i = 0; i < request->call_count; i++)
        if (check_call(&request->calls[i], caller, error) != 0 ||
            check_meaning(&request->calls[i], error) != 0)
            return request->call_count == 1
                       ? -1
                       : error_prefix(error, "call %zu of %zu", i + 1,
                                      request->call_count);
    return 0;
}

int writer_protect(struct store_writer *writer, struct error *error)
{
    struct request_state *request = &writer->request;
    if (request->savepoint)
        return 0;
    sqlite3_stmt *savepoint = sql_get(writer, SQL_SAVEPOINT, error);
    if (savepoint == NULL || sql_step(writer, savepoint, error) != 0)
        return -1;
    request->savepoint = true;
    request->saved = writer->state;
    return 0;
}

static void request_begin(struct store_writer *writer, size_t call_count)
{
    struct request_state *request = &writer->request;
    request->savepoint = false;
    request->call_count = call_count;
    request->saved_changes = writer->counts.change_count;
    request->saved_topics = writer->topics;
    request->batches_touched = false;
    request->settling = 0;
    request->sent = false;
    request->release_count = 0;
}

static void group_is_lost(struct store_writer *writer,
                          const struct error *error)
{
    writer->group_lost = true;
    writer->lost_error = *error;
}

/* Takes back what a failed request did, in the store and in memory. */
static void request_undo(struct store_writer *writer)
{
    struct request_state *request = &writer->request;
    struct error error;
    table_counts_undo(writer, request->saved_changes);
    writer->topics = request->saved_topics;
    writer->no_edges = false;
    if (!request->savepoint || writer->group_lost)
        return;
    writer->state = request->saved;
    sqlite3_stmt *back = sql_get(writer, SQL_ROLLBACK_TO, &error);
    sqlite3_stmt *release = sql_get(writer, SQL_RELEASE, &error);
    if (back == NULL || release == NULL ||
        sql_step(writer, back, &error) != 0 ||
        sql_step(writer, release, &error) != 0) {
        group_is_lost(writer, &error);
        return;
    }
    lane_filters_restore(writer);
    aggregates_restore(writer);
    if (request->batches_touched && batches_load(writer, &error) != 0)
        group_is_lost(writer, &error);
}

static int request_end(struct store_writer *writer, struct error *error)
{
    struct request_state *request = &writer->request;
    if (request->settling != 0)
        return error_set(error, ERROR_DATA,
                         "a settlement of batch %lld without BATCH_SETTLE; "
                         "nothing was changed",
                         (long long)request->settling);
    if (request->batches_touched)
        writer->group_batches_touched = true;
    if (!request->savepoint)
        return 0;
    sqlite3_stmt *release = sql_get(writer, SQL_RELEASE, error);
    return release == NULL ? -1 : sql_step(writer, release, error);
}

static int run_calls(struct store_writer *writer, uint32_t caller,
                     const struct store_request *request, struct arena *arena,
                     struct store_answer *answer, struct error *error)
{
    bool alone = request->call_count == 1 &&
                 request->calls[0].statement == STATEMENT_OUTBOX_APPEND;
    if (!alone && writer_protect(writer, error) != 0)
        return -1;
    for (size_t i = 0; i < request->call_count; i++) {
        const struct store_call *call = &request->calls[i];
        struct statement_call run = {.writer = writer,
                                     .arguments = call->arguments,
                                     .argument_count = call->argument_count,
                                     .arena = arena,
                                     .result = &answer->results[i],
                                     .error = error};
        if (check_call(call, caller, error) == 0 &&
            statement_runs[call->statement](&run) == 0)
            continue;
        if (request->call_count > 1)
            error_prefix(error, "call %zu of %zu", i + 1, request->call_count);
        return -1;
    }
    return request_end(writer, error);
}

static void refuse(struct arena *arena, const struct error *error,
                   struct store_answer *answer)
{
    const char *text = arena_strdup(arena, error->text);
    *answer = (struct store_answer){
        .code = error->code != ERROR_NONE ? error->code : ERROR_SOFTWARE,
        .text = text != NULL ? text : "no memory for the error's words"};
}

void store_writer_run(struct store_writer *writer, uint32_t caller,
                      const struct store_request *request, struct arena *arena,
                      struct store_answer *answer)
{
    struct error error;
    error_clear(&error);
    *answer = (struct store_answer){.text = ""};
    if (!writer->in_group || writer->group_lost) {
        if (writer->group_lost)
            error = writer->lost_error;
        else
            error_set(&error, ERROR_SOFTWARE, "no group was begun");
        refuse(arena, &error, answer);
        return;
    }
    answer->result_count = request->call_count;
    answer->results =
        arena_calloc(arena, request->call_count, sizeof(*answer->results));
    if (answer->results == NULL) {
        result_out_of_memory(&error);
        refuse(arena, &error, answer);
        return;
    }
    request_begin(writer, request->call_count);
    if (run_calls(writer, caller, request, arena, answer, &error) == 0)
        return;
    request_undo(writer);
    refuse(arena, &error, answer);
}
