/* SPDX-License-Identifier: Apache-2.0
 *
 * A part of a batch as the body of a request, and its identity.  Both are
 * made of the operations alone, so that a part that is sent again, by
 * whomever, is the same to the byte.
 *
 *   {"system_id": ..., "epoch": ..., "batch_id": ..., "sync_timestamp": ...,
 *    "operations": [{"id": ..., "operation": "INSERT|UPDATE|DELETE",
 *    "table": ..., "record_id": ..., "data": ..., "priority": ...,
 *    "created_at": ...}, ...]}
 *
 * sync_timestamp is the time of the newest operation.
 */
#ifndef TIDEMILL_SYNC_HTTP_BODY_H
#define TIDEMILL_SYNC_HTTP_BODY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buffer.h"
#include "workers/sync/sink.h"

#define HTTP_BODY_MAX ((size_t)64 << 20)
#define HTTP_KEY_SIZE 256

/* Operations [first, first + count) of the batch but for those that `left_out`
 * marks (one a byte, for the whole batch). */
struct http_part {
    size_t first, count;
};

/* Fills `out`; false when nothing is left, or out failed: it is too large
 * then. */
bool http_body_write(const char *system_id, const struct sink_batch *batch,
                     const struct http_part *part, const bool *left_out,
                     struct buffer *out);

/* "SYSTEM:EPOCH:BATCH" for the whole, with ":FIRST-LAST" (operations' ids)
 * for a part. */
void http_part_key(const char *system_id, const struct sink_batch *batch,
                   const struct http_part *part, char key[HTTP_KEY_SIZE]);

#endif
