/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements that only record something.
 */
#include <sqlite3.h>

#include "common/document/json_text.h"
#include "common/store/writer_internal.h"

#define MS_A_DAY       86400000
#define TEMPLATES_KEPT 10000

int argument_is_json(const char *what, const struct value *value,
                     struct error *error)
{
    struct error wrong;
    error_clear(&wrong);
    if (value->size > JSON_ARGUMENT_MAX)
        return error_set(error, ERROR_DATA,
                         "%s has %zu bytes, at most %d are taken", what,
                         value->size, JSON_ARGUMENT_MAX);
    if (!json_text_valid(value->bytes != NULL ? value->bytes : "", value->size,
                         &wrong))
        return error_set(error, ERROR_DATA, "%s is not JSON: %s", what,
                         wrong.text);
    return 0;
}

/* A result of one inserted row. */
static int inserted(struct statement_call *call, int result)
{
    if (result == 0)
        call->result->changed = sqlite3_changes64(call->writer->db);
    return result;
}

/* Eight classes for each power of two, named by the most that falls in. */
static int64_t duration_class(int64_t ms)
{
    int64_t width = 1;
    if (ms < 16)
        return ms < 0 ? 0 : ms;
    while (ms / width >= 16)
        width *= 2;
    return (ms / width + 1) * width - 1;
}

int run_sync_metric(struct statement_call *call)
{
    const struct value *v = call->arguments;
    int64_t day = v[0].integer / MS_A_DAY;
    if (v[9].type != VALUE_NULL &&
        argument_is_json("the list of figures", &v[9], call->error) != 0)
        return -1;
    if (SQL_RUN(call->writer, SQL_DAY_ADD, call->error, value_integer(day),
                value_integer(v[4].integer == 0), v[1], v[7], v[2], v[8]) != 0 ||
        SQL_RUN(call->writer, SQL_DAY_DURATION, call->error, value_integer(day),
                value_integer(duration_class(v[2].integer))) != 0)
        return -1;
    return inserted(call,
                    SQL_RUN(call->writer, SQL_METRIC_INSERT, call->error, v[0],
                            v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9]));
}

int run_sync_paused(struct statement_call *call)
{
    int64_t paused = call->arguments[0].integer;
    if (paused != 0 && paused != 1)
        return error_set(call->error, ERROR_DATA,
                         "SYNC_PAUSED takes 1 (paused) or 0");
    return inserted(call, SQL_RUN(call->writer, SQL_META_WRITE, call->error,
                                  value_text_sized("sync_paused", 11),
                                  call->arguments[0]));
}

int run_files_record(struct statement_call *call)
{
    const struct value *v = call->arguments;
    if (argument_is_json("the list of files", &v[1], call->error) != 0)
        return -1;
    return inserted(call, SQL_RUN(call->writer, SQL_FILES_INSERT, call->error,
                                  v[0], v[1], v[2], v[3], v[4], v[5]));
}

int run_templates_record(struct statement_call *call)
{
    const struct value *v = call->arguments;
    if (argument_is_json("the list of templates", &v[0], call->error) != 0 ||
        SQL_RUN(call->writer, SQL_TEMPLATES_ADD, call->error, v[0], v[1]) != 0)
        return -1;
    call->result->changed = sqlite3_changes64(call->writer->db);
    return SQL_RUN(call->writer, SQL_TEMPLATES_BOUND, call->error,
                   value_integer(TEMPLATES_KEPT));
}

int run_sample_record(struct statement_call *call)
{
    const struct value *v = call->arguments;
    struct store_writer *writer = call->writer;
    if (v[2].integer < 1)
        return error_set(call->error, ERROR_DATA,
                         "at least 1 sample must be kept");
    if (argument_is_json("the sample", &v[1], call->error) != 0 ||
        SQL_RUN(writer, SQL_SAMPLE_INSERT, call->error, v[0], v[1]) != 0)
        return -1;
    int64_t oldest = sqlite3_last_insert_rowid(writer->db) - v[2].integer;
    call->result->changed = 1;
    return oldest < 1 ? 0
                      : SQL_RUN(writer, SQL_SAMPLES_DELETE, call->error,
                                value_integer(oldest));
}
