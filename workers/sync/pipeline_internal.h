/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the pipeline share: pipeline.c (batches and the sink),
 * pipeline_store.c (requests to the store) and pipeline_adopt.c (what is in
 * flight according to the store).
 */
#ifndef TIDEMILL_SYNC_PIPELINE_INTERNAL_H
#define TIDEMILL_SYNC_PIPELINE_INTERNAL_H

#include "workers/sync/pipeline.h"

struct event;

/* Adoption, a lone claim or settlement for each place, and words in
 * between: more is never under way. */
#define EXCHANGES_MAX (PIPELINE_PLACES + 6)

#define ADOPT_ARENA_MAX ((size_t)4 << 20)

/* Where a batch is, and whether a claim for it is under way. */
struct place {
    struct pipeline *pipeline;
    struct batch batch;
    struct sink_batch sink_batch; /* while it is at the sink */
    bool claiming;
    size_t asked; /* by that claim */
    bool express; /* only what is urgent, before all others */
};

/* A request to the store that is not answered yet. */
struct exchange {
    struct pipeline *pipeline; /* NULL: not in use */
    struct place *place;       /* that it settles or claims for */
    bool adopts, settles, claims;
};

struct pipeline {
    struct pipeline_setup setup;
    struct store_reader *reader;
    struct place places[PIPELINE_PLACES];
    unsigned at_sink;       /* batches without an answer */
    uint64_t answered_ns;   /* the last answer, monotonic */
    struct place *failed;   /* first of those that failed; told when */
    struct sink_result why; /* at_sink is 0 */
    struct exchange exchanges[EXCHANGES_MAX];
    struct arena adopt_arena;
    struct outbox_batch *adopted;
    size_t adopted_count, adopted_next;
    uint64_t orders;
    unsigned pool_size;
    bool connected; /* the link stands */
    bool ready;     /* and the adoption is done */
    bool held, closing;
    bool starved; /* a claim found all lanes with something in our batches */
    bool active;  /* rested is owed */
    bool turning, again; /* pipeline_turn is not entered twice */
    bool broken;
    struct event *trouble_timer;
    bool troubled;
    unsigned troubles; /* in a row */
    uint64_t random;
};

/* pipeline.c */
void pipeline_turn(struct pipeline *pipeline);
void pipeline_break_off(struct pipeline *pipeline, const struct error *error);
/* May requests and reads be made now? */
bool pipeline_store_usable(const struct pipeline *pipeline);
bool pipeline_others_busy(const struct pipeline *pipeline,
                          const struct place *except);
/* How many batches the sink takes at once, as things are now. */
unsigned pipeline_depth(const struct pipeline *pipeline);

/* pipeline_store.c: trouble with the store, waited out. */
int pipeline_trouble_init(struct pipeline *pipeline, struct error *error);
void pipeline_trouble(struct pipeline *pipeline, const struct error *error);
/* A place among the requests; NULL: none is free. */
struct exchange *exchange_new(struct pipeline *pipeline);
int exchange_start(struct exchange *exchange, struct store_call *calls,
                   size_t call_count);
/* Asks for a batch, or settles one and asks for the next; nothing when that
 * is not wanted or not possible now. */
void pipeline_claim(struct pipeline *pipeline, struct place *place);
void pipeline_settle(struct pipeline *pipeline, struct place *place);

/* pipeline_adopt.c */
bool pipeline_adopted_left(const struct pipeline *pipeline);
void pipeline_take_adopted(struct pipeline *pipeline,
                           const struct store_result *result);
void pipeline_take_up_adopted(struct pipeline *pipeline, struct place *place);

#endif
