/* SPDX-License-Identifier: Apache-2.0
 *
 * The leases of the central queue that this host holds, as its own store
 * has them.
 */
#ifndef TIDEMILL_SYNC_QUEUE_LEASES_H
#define TIDEMILL_SYNC_QUEUE_LEASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"

struct store_reader;

struct queue_lease {
    int64_t job_id;
    int64_t central_id;
    int64_t token;
};

/* The end of a job that is over here and not told there. */
struct queue_end {
    struct queue_lease lease;
    const char *outcome; /* done, failed, cancelled, retry */
    const char *told;    /* JSON */
};

/* How many leases are held, and how many of their jobs are over. */
int queue_leases_count(struct store_reader *reader, int64_t *held,
                       int64_t *over, struct error *error);

/* Of these, how many jobs wait for a worker, and how many have begun; not
 * those for which other jobs of this host wait: they stay. */
int queue_leases_left(struct store_reader *reader, int64_t *unbegun,
                      int64_t *begun, struct error *error);

/* All that are held, or those whose jobs are not over; in the arena. */
int queue_leases_read(struct store_reader *reader, bool live_only,
                      struct arena *arena, struct queue_lease **leases,
                      size_t *count, struct error *error);

/* At most `most`, the oldest first.  A job that is gone has failed. */
int queue_ends_read(struct store_reader *reader, size_t most,
                    struct arena *arena, struct queue_end *ends, size_t *count,
                    struct error *error);

#endif
