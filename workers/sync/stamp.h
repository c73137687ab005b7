/* SPDX-License-Identifier: Apache-2.0
 *
 * Stamps: what decides which of two changes of a shared record is newer.
 *
 * A stamp is one number: the version that the data gives, or a time in
 * milliseconds since 1970 (the data's, or when the operation was recorded).
 * An operation without a version (a DELETE has no data to give one) has the
 * stamp 0: older than what any other host wrote.
 *
 * A change knows the record's states up to `seen`.  When the centre's row was
 * written by another host with a stamp beyond that, there is a conflict.
 */
#ifndef TIDEMILL_SYNC_STAMP_H
#define TIDEMILL_SYNC_STAMP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store/reader.h"

struct sync_table;

/* Times this far ahead of the centre's clock count as no more than that: a
 * host whose clock is a year ahead must not win for a year. */
#define STAMP_AHEAD_MAX_MS 60000

struct stamp {
    int64_t value;
    int64_t seen;
};

/* The data must be valid JSON, or NULL. */
struct stamp operation_stamp(const struct sync_table *table,
                             const struct outbox_operation *operation);

/* Is the table's stamp a time? */
bool stamp_is_time(const struct sync_table *table);

#endif
