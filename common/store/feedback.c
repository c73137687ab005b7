/* SPDX-License-Identifier: Apache-2.0
 *
 * What is learned from what was generated.
 */
#include <sqlite3.h>

#include "common/store/writer_internal.h"

#define FEEDBACK_KEPT 10000 /* rows */

int run_mixins_record(struct statement_call *call)
{
    const struct value *v = call->arguments;
    if (v[2].integer != 0 && v[2].integer != 1)
        return error_set(call->error, ERROR_DATA,
                         "MIXINS_RECORD takes 1 (success) or 0");
    if (argument_is_json("the list of mixins", &v[1], call->error) != 0 ||
        SQL_RUN(call->writer, SQL_MIXINS_COUNT, call->error, v[0], v[1], v[2],
                v[3], v[4], v[5]) != 0)
        return -1;
    call->result->changed = sqlite3_changes64(call->writer->db);
    return 0;
}

int run_feedback_record(struct statement_call *call)
{
    const struct value *v = call->arguments;
    struct store_writer *writer = call->writer;
    if (v[5].integer != 0 && v[5].integer != 1)
        return error_set(call->error, ERROR_DATA,
                         "FEEDBACK_RECORD takes 1 (by a person) or 0");
    if (v[6].type != VALUE_NULL &&
        argument_is_json("the contract", &v[6], call->error) != 0)
        return -1;
    if (argument_is_json("the list of operations", &v[7], call->error) != 0 ||
        SQL_RUN(writer, SQL_FEEDBACK_INSERT, call->error, v[0], v[1], v[2],
                v[3], v[4], v[5], v[6], v[7], v[8]) != 0)
        return -1;
    int64_t id = sqlite3_last_insert_rowid(writer->db);
    call->result->changed = id;
    return id <= FEEDBACK_KEPT
               ? 0
               : SQL_RUN(writer, SQL_FEEDBACK_DELETE, call->error,
                         value_integer(id - FEEDBACK_KEPT));
}
