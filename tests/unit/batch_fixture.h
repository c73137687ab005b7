/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches between a real store, in this process, and a sink in memory that
 * fails when told to.
 */
#ifndef TIDEMILL_TESTS_BATCH_FIXTURE_H
#define TIDEMILL_TESTS_BATCH_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/store/reader.h"
#include "common/store/writer.h"
#include "tests/unit/memory_sink.h"
#include "workers/sync/batch.h"
#include "workers/sync/pipeline.h"

enum store_mood {
    STORE_GOOD,
    STORE_LOSES_ANSWER,  /* committed, the connection lost before the answer */
    STORE_LOSES_REQUEST, /* lost before the commit */
    STORE_FULL,
};

struct fixture {
    char folder[64];
    struct event_base *base;
    struct store_writer *writer;
    struct store_reader *reader;
    struct pipeline *pipeline;
    struct sink *sink;
    struct batch_terms terms;
    uint64_t random;
    enum store_mood store_mood;
    enum statement mood_statement; /* of the request that it strikes */
    size_t claim;                  /* operations a claim */
    size_t budget;                 /* operations that may still be claimed */
    unsigned failures, rests, troubles, reports, settles, adopted;
    unsigned too_large;
    enum sink_outcome why; /* of the last failure */
    bool broken, over;
    size_t memory_max;
};

/* A worker's pipeline, of this spawn number. */
void start_pipeline(struct fixture *fixture, uint32_t spawn);
/* Turns the loop until the pipeline rests, fails or breaks. */
void turn(struct fixture *fixture);
/* Claims of so many operations, so many in all, until it rests. */
void carry(struct fixture *fixture, size_t claim, size_t budget);
/* One operation. */
void append(struct fixture *fixture, const char *record_id,
                   int64_t priority, const char *data);
/* Operations of 100 records in turn. */
void append_many(struct fixture *fixture, size_t count);
/* The one number of a query. */
int64_t count_of(struct fixture *fixture, const char *sql);
int64_t pending_of(struct fixture *fixture);
/* What the sink has: each operation once; each record's in their order. */
void assert_each_once(struct fixture *fixture, size_t count);
void assert_in_order(struct fixture *fixture, int64_t records);
int set_up(void **state);
int tear_down(void **state);

#endif
