/* SPDX-License-Identifier: Apache-2.0
 *
 * What is told of the metrics: rates and latencies between two looks at the
 * totals.
 */
#ifndef TIDEMILL_CTL_METRICS_LOOK_H
#define TIDEMILL_CTL_METRICS_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/shm/histogram.h"

/* name in code, counter of common/shm/metrics.h, word */
#define LOOK_RATE_LIST(X)                                                      \
    X(ACCEPTED, OUTBOX_ACCEPTED, "accepted")                                   \
    X(SYNCED, SYNC_OPERATIONS, "synced")                                       \
    X(JOBS, JOBS_DONE, "jobs")                                                 \
    X(FILES, FILES_WRITTEN, "files")                                           \
    X(COMMITS, STORE_COMMITS, "commits")

/* name in code, histogram, word */
#define LOOK_LATENCY_LIST(X)                                                   \
    X(COMMIT, STORE_COMMIT_SECONDS, "commit")                                  \
    X(BATCH, SYNC_BATCH_SECONDS, "batch")                                      \
    X(JOB, JOB_SECONDS, "job")

#define X(name, metric, word) LOOK_RATE_##name,
enum look_rate { LOOK_RATE_LIST(X) LOOK_RATES };
#undef X
#define X(name, metric, word) LOOK_LATENCY_##name,
enum look_latency { LOOK_LATENCY_LIST(X) LOOK_LATENCIES };
#undef X

extern const char *const look_rate_words[LOOK_RATES];
extern const char *const look_latency_words[LOOK_LATENCIES];

/* Totals since the daemon's start. */
struct metrics_look {
    uint64_t at_ms; /* of whichever clock the reader has */
    long long counters[LOOK_RATES];
    struct histogram_totals histograms[LOOK_LATENCIES];
};

/* Reads what `metrics --json` gives. */
void metrics_look_read(const json_t *metrics, uint64_t at_ms,
                       struct metrics_look *look);

/* Is some total lower than before?  Then another daemon counted. */
bool metrics_look_fell(const struct metrics_look *look,
                       const struct metrics_look *before);

/* In a second between the two; -1 when no time went by. */
double metrics_look_rate(const struct metrics_look *look,
                         const struct metrics_look *before,
                         enum look_rate rate);

/* The records between the two; without `before`, all. */
void metrics_look_latency(const struct metrics_look *look,
                          const struct metrics_look *before,
                          enum look_latency latency,
                          struct histogram_totals *since);

#endif
