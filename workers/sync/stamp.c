/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/stamp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/config/options.h"
#include "common/document/json_text.h"

/* A number up to this is seconds (until the year 5138), else milliseconds. */
#define SECONDS_MAX 1e11
/* Beyond this a double is no whole number of milliseconds. */
#define TIME_MAX_MS 9e15

#define NUMBER_MAX_BYTES 40

bool stamp_is_time(const struct sync_table *table)
{
    return table->version[0] == '\0';
}

static bool read_version(const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (*end != '\0' || end == text || errno != 0 || number < 0 ||
        number == INT64_MAX)
        return false;
    *value = number;
    return true;
}

static bool read_seconds(const char *text, int64_t *value)
{
    char *end;
    double number = strtod(text, &end);
    if (*end != '\0' || end == text || !(number >= 0))
        return false;
    number = number <= SECONDS_MAX ? number * 1000 : number;
    if (number > TIME_MAX_MS)
        return false;
    *value = (int64_t)number;
    return true;
}

/* The field's version or time; false when it is absent or neither. */
static bool read_field(const struct sync_table *table,
                       const struct outbox_operation *operation,
                       const char *field, int64_t *value)
{
    const char *text;
    size_t size;
    char number[NUMBER_MAX_BYTES + 1];
    if (operation->data == NULL ||
        !json_text_is_object(operation->data, operation->data_size) ||
        !json_text_member(operation->data, operation->data_size, field, &text,
                          &size) ||
        size == 0)
        return false;
    if (text[0] == '"')
        return stamp_is_time(table) && size > 2 &&
               clock_parse(text + 1, size - 2, value) == 0;
    if (size > NUMBER_MAX_BYTES)
        return false;
    memcpy(number, text, size);
    number[size] = '\0';
    return stamp_is_time(table) ? read_seconds(number, value)
                                : read_version(number, value);
}

struct stamp operation_stamp(const struct sync_table *table,
                             const struct outbox_operation *operation)
{
    bool timed = stamp_is_time(table);
    struct stamp stamp = {.value = timed ? operation->created_ms : 0};
    int64_t base;
    read_field(table, operation, timed ? table->updated_at : table->version,
               &stamp.value);
    stamp.seen = stamp.value - 1;
    if (table->base[0] != '\0' &&
        read_field(table, operation, table->base, &base))
        stamp.seen = base;
    /* A person has looked at the centre's row and kept this one. */
    if (operation->resolved) {
        stamp.seen = operation->resolved_over;
        if (stamp.value <= stamp.seen)
            stamp.value = stamp.seen + 1;
    }
    return stamp;
}
