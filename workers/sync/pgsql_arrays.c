/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pgsql_arrays.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

/* Of PostgreSQL's MaxAllocSize, 1 GB - 1, some is left for the server. */
#define ARRAY_MAX_BYTES ((size_t)1000000000)

/* dimensions, has-null, item type, length, lower bound */
#define HEADER_BYTES 20

void pg_array_init(struct pg_array *array, unsigned item_type)
{
    memset(array, 0, sizeof *array);
    array->item_type = item_type;
    buffer_init(&array->bytes, ARRAY_MAX_BYTES);
}

void pg_array_deinit(struct pg_array *array)
{
    buffer_deinit(&array->bytes);
}

void pg_array_reset(struct pg_array *array)
{
    buffer_reset(&array->bytes);
    array->count = 0;
    array->has_null = false;
}

static char *item_reserve(struct pg_array *array, size_t size)
{
    size_t header = array->count ? 0 : HEADER_BYTES;
    char *at = buffer_reserve(&array->bytes, header + 4 + size);
    if (!at)
        return NULL;
    array->bytes.size += header + 4 + size;
    array->count++;
    uint32_t length = htonl((uint32_t)size);
    memcpy(at + header, &length, 4);
    return at + header + 4;
}

void pg_array_add_text(struct pg_array *array, const char *text, size_t size)
{
    char *at = item_reserve(array, text ? size : 0);
    if (!at)
        return;
    if (text) {
        memcpy(at, text, size);
        return;
    }
    memset(at - 4, 0xff, 4);
    array->has_null = true;
}

void pg_array_add_int4(struct pg_array *array, int32_t value)
{
    uint32_t bits = htonl((uint32_t)value);
    char *at = item_reserve(array, sizeof bits);
    if (at)
        memcpy(at, &bits, sizeof bits);
}

void pg_array_add_int8(struct pg_array *array, int64_t value)
{
    uint64_t bits = htobe64((uint64_t)value);
    char *at = item_reserve(array, sizeof bits);
    if (at)
        memcpy(at, &bits, sizeof bits);
}

int pg_array_parameter(struct pg_array *array, struct pg_parameter *parameter)
{
    uint32_t header[5] = {htonl(array->count ? 1 : 0), htonl(array->has_null),
                          htonl(array->item_type), htonl(array->count),
                          htonl(1)};
    if (!array->count)
        buffer_append(&array->bytes, header, 12);
    if (array->bytes.failed)
        return -1;
    memcpy(array->bytes.bytes, header, array->count ? sizeof header : 12);
    parameter->type = array->item_type == PG_OID_INT8   ? PG_OID_INT8_ARRAY
                      : array->item_type == PG_OID_INT4 ? PG_OID_INT4_ARRAY
                                                        : PG_OID_TEXT_ARRAY;
    parameter->value = array->bytes.bytes;
    parameter->size_bytes = (int)array->bytes.size;
    return 0;
}
