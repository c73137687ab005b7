/* SPDX-License-Identifier: Apache-2.0
 *
 * The jobs that one command submitted, in several requests: most have ids in
 * a row, but other commands' jobs may stand between, and a key may answer a
 * job that was there.
 */
#ifndef TIDEMILL_CTL_JOB_RANGES_H
#define TIDEMILL_CTL_JOB_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "common/base/error.h"
#include "common/store/reader.h"

struct sqlite3_stmt;

struct job_ranges {
    struct id_range {
        int64_t first, last;
    } *ranges; /* the caller's, with room for all */
    size_t count;
    int64_t priority;     /* of all of them */
    bool wait_for_others; /* some may: --after */
    struct sqlite3_stmt *waiting; /* of the reader that was asked first */
};

void job_ranges_add(struct job_ranges *jobs, int64_t id);

/* How many of them wait, are queued or claimed; -1 on failure.  Cheap, to be asked
 * often: prepared once, and only those that wait are in its indexes.  Always
 * of one reader, which outlives job_ranges_forget(). */
int64_t job_ranges_waiting(struct job_ranges *jobs,
                           struct store_reader *reader, struct error *error);
void job_ranges_forget(struct job_ranges *jobs);

/* The rows of a query with two arguments, the first and the last id, over
 * each range, together, as report_rows() gives them; NULL on failure. */
json_t *job_ranges_query(const struct job_ranges *jobs,
                         struct store_reader *reader, const char *sql,
                         struct error *error);

#endif
