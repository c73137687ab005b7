/* SPDX-License-Identifier: Apache-2.0
 *
 * What retention deletes, in steps (statement EXPIRE).  A step is small: it
 * deletes at most as many rows as it is told, and stops at EXPIRY_BYTES_MAX.
 * What is pending, in flight, dead (but by EXPIRY_DEAD), in conflict, or not
 * folded yet is never touched.
 */
#ifndef TIDEMILL_STORE_EXPIRY_H
#define TIDEMILL_STORE_EXPIRY_H


#define EXPIRY_ROWS_MAX  500
#define EXPIRY_BYTES_MAX (1 << 20)
#define EXPIRY_PAGES_MAX 16384 /* free ones that stay in any case */

/* X(name, member of struct config that says how long), in the order of a
 * pass: batches after the ranges that belong to them.  SPACE deletes no
 * rows: when more than half of a large store is free pages, they go back to
 * the file system, down to a quarter. */
#define EXPIRY_LIST(X)                                                         \
    X(RANGES, retention_synced_ms)                                             \
    X(BATCHES, retention_synced_ms)                                            \
    X(CONFLICTS, retention_synced_ms)                                          \
    X(EVENTS, retention_events_ms)                                             \
    X(DETAILS, retention_events_ms)                                            \
    X(GROUPS, retention_summaries_ms)                                          \
    X(METRICS, retention_metrics_ms)                                           \
    X(DAYS, retention_metrics_ms)                                              \
    X(JOBS, retention_jobs_ms)                                                 \
    X(DEAD, retention_dead_ms)                                                 \
    X(SPACE, retention_synced_ms)

enum expiry {
#define X(name, member) EXPIRY_##name,
    EXPIRY_LIST(X)
#undef X
        EXPIRY_COUNT
};

#endif
