/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/http_body.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/priority.h"

static const char *const kinds[] = {[OPERATION_INSERT] = "INSERT",
                                    [OPERATION_UPDATE] = "UPDATE",
                                    [OPERATION_DELETE] = "DELETE"};

static void append_operation(const struct outbox_operation *operation,
                             struct buffer *out)
{
    char time[CLOCK_TEXT_SIZE];
    buffer_printf(out, "{\"id\":%" PRId64 ",\"operation\":\"%s\",\"table\":",
                  operation->id, kinds[operation->kind]);
    buffer_append_json(out, operation->table_name, operation->table_name_size);
    buffer_append_text(out, ",\"record_id\":");
    buffer_append_json(out, operation->record_id, operation->record_id_size);
    buffer_append_text(out, ",\"data\":");
    if (operation->data != NULL)
        buffer_append(out, operation->data, operation->data_size);
    else
        buffer_append_text(out, "null");
    buffer_printf(out, ",\"priority\":\"%s\",\"created_at\":\"%s\"}",
                  priority_word(operation->priority),
                  clock_format(operation->created_ms, time));
}

static int64_t newest_ms(const struct sink_batch *batch,
                         const struct http_part *part)
{
    int64_t newest = 0;
    for (size_t i = part->first; i < part->first + part->count; i++)
        if (batch->operations[i].created_ms > newest)
            newest = batch->operations[i].created_ms;
    return newest;
}

bool http_body_write(const char *system_id, const struct sink_batch *batch,
                     const struct http_part *part, const bool *left_out,
                     struct buffer *out)
{
    char time[CLOCK_TEXT_SIZE];
    size_t written = 0;
    buffer_append_text(out, "{\"system_id\":");
    buffer_append_json(out, system_id, strlen(system_id));
    buffer_printf(out,
                  ",\"epoch\":%" PRId64 ",\"batch_id\":%" PRId64
                  ",\"sync_timestamp\":\"%s\",\"operations\":[",
                  batch->epoch, batch->batch_id,
                  clock_format(newest_ms(batch, part), time));
    for (size_t i = part->first; i < part->first + part->count; i++) {
        if (left_out[i])
            continue;
        if (written++ > 0)
            buffer_append_char(out, ',');
        append_operation(&batch->operations[i], out);
    }
    buffer_append_text(out, "]}");
    return written > 0 && !out->failed;
}

void http_part_key(const char *system_id, const struct sink_batch *batch,
                   const struct http_part *part, char key[HTTP_KEY_SIZE])
{
    int size = snprintf(key, HTTP_KEY_SIZE, "%.100s:%" PRId64 ":%" PRId64,
                        system_id, batch->epoch, batch->batch_id);
    if (part->count < batch->count)
        snprintf(key + size, HTTP_KEY_SIZE - (size_t)size,
                 ":%" PRId64 "-%" PRId64, batch->operations[part->first].id,
                 batch->operations[part->first + part->count - 1].id);
}
