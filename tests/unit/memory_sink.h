/* SPDX-License-Identifier: Apache-2.0
 *
 * A sink in memory that keeps the promises of sink.h and fails when told to.
 * Several batches may be at it; it answers them in any order, and checks
 * that no record is in two of them.
 */
#ifndef TIDEMILL_TESTS_MEMORY_SINK_H
#define TIDEMILL_TESTS_MEMORY_SINK_H

#include "workers/sync/sink.h"

struct event;
struct event_base;

#define APPLIED_MAX 20000
#define LEDGER_MAX  2000

enum sink_mood {
    MOOD_GOOD,
    MOOD_DOWN,        /* nothing is applied */
    MOOD_TRANSIENT,   /* nothing is applied */
    MOOD_LOST_ANSWER, /* applied, but the line is lost before the answer */
};

struct sink {
    struct event_base *base;
    struct event *timer;
    unsigned depth; /* 0: 1 */
    struct under_way {
        const struct sink_batch *batch;
        sink_done done;
        void *self;
    } under_way[SINK_DEPTH_MAX];
    unsigned count, most; /* under way, now and ever */
    uint64_t random;
    enum sink_mood mood;
    unsigned mood_left;           /* applications until it is good again */
    const char *poison;           /* record ids that begin so are refused */
    int64_t applied[APPLIED_MAX]; /* ids in the order of their application */
    size_t applied_count;
    int64_t ledger[LEDGER_MAX];
    size_t ledger_count;
    unsigned sends;
    size_t largest;
    struct sink_refusal refusals[APPLIED_MAX];
};

struct sink *memory_sink_new(struct event_base *base);
void memory_sink_free(struct sink **sink);

extern const struct sink_methods memory_sink;

#endif
