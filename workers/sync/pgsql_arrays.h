/* SPDX-License-Identifier: Apache-2.0
 *
 * PostgreSQL arrays in binary form (src/backend/utils/adt/arrayfuncs.c,
 * array_recv): built by copying, nothing is escaped.
 */
#ifndef TIDEMILL_SYNC_PGSQL_ARRAYS_H
#define TIDEMILL_SYNC_PGSQL_ARRAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buffer.h"
#include "common/postgres/connection.h"

#define PG_OID_INT8       20u
#define PG_OID_INT4       23u
#define PG_OID_TEXT       25u
#define PG_OID_INT4_ARRAY 1007u
#define PG_OID_TEXT_ARRAY 1009u
#define PG_OID_INT8_ARRAY 1016u

struct pg_array {
    struct buffer bytes;
    unsigned item_type; /* PG_OID_INT8, PG_OID_INT4 or PG_OID_TEXT */
    uint32_t count;
    bool has_null;
};

void pg_array_init(struct pg_array *array, unsigned item_type);
void pg_array_deinit(struct pg_array *array);
void pg_array_reset(struct pg_array *array);

/* NULL text adds a NULL. */
void pg_array_add_text(struct pg_array *array, const char *text, size_t size);
void pg_array_add_int4(struct pg_array *array, int32_t value);
void pg_array_add_int8(struct pg_array *array, int64_t value);

/* Completes it as a parameter, whose bytes stay the array's; -1 when it did
 * not fit PostgreSQL's gigabyte, or memory. */
int pg_array_parameter(struct pg_array *array, struct pg_parameter *parameter);

#endif
