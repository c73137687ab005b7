/* SPDX-License-Identifier: Apache-2.0
 *
 * What is learned from what was generated.
 */
#include <sqlite3.h>

#include "common/store/writer_internal.h"

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
