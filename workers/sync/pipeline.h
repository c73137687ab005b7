/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches on their way between the store and the sink, several at a time:
 * while some are applied at the centre, as many as the sink says (sink.h,
 * depth), those before them are settled and the next one is claimed and read.
 *
 *   - A settlement and the next claim travel in one request, and so does
 *     the record of the pass when nothing more is to be claimed: one group
 *     commit of the store for all of it.
 *   - After every connection to the store the batches in flight of this slot
 *     are adopted: what the store says is in flight is the truth.  One that
 *     we hold and the store does not was settled, its answer lost; one that
 *     we do not hold is a predecessor's, or a claim whose answer was lost,
 *     and is sent (again) under its number.
 *   - A batch that the sink could not apply stays, and holds the line, until
 *     pipeline_release.  Others that are at the sink with it are finished:
 *     each has its own transaction and row in the ledger, and no record is
 *     in two of them.
 *   - Trouble with the local store (away, disk full) is waited out with
 *     growing delays; batches stay where they are.
 *
 * The pipeline decides nothing about when and how much: it asks its hooks.
 */
#ifndef TIDEMILL_SYNC_PIPELINE_H
#define TIDEMILL_SYNC_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/store/client.h"
#include "common/store/reader.h"
#include "workers/sync/batch.h"
#include "workers/sync/sink.h"

struct event_base;
struct pipeline;

/* As many as may be at the sink, one that is ready to follow, and one that
 * is settled meanwhile. */
#define PIPELINE_PLACES (SINK_DEPTH_MAX + 2)

/* Operations of an express claim. */
#define PIPELINE_EXPRESS_MAX 50

/* Delays after trouble with the local store. */
#define PIPELINE_TROUBLE_BASE_MS 50
#define PIPELINE_TROUBLE_MAX_MS  5000

struct pipeline_hooks {
    /* How many operations to claim now, and the least important priority
     * to carry; 0: none.  `ahead`: while another batch is on its way;
     * `asked`: by claims that are not answered yet. */
    size_t (*claim_size)(void *self, bool ahead, size_t asked,
                         unsigned *least_important);
    /* A claim was answered; got 0: nothing that pends could be claimed,
     * though no batch of ours is on its way. */
    void (*claimed)(void *self, size_t got);
    /* This batch goes to the sink now. */
    void (*sending)(void *self, const struct batch *batch);
    /* A claim of so many operations did not fit so many bytes and is given
     * back unsent: ask for less. */
    void (*too_large)(void *self, int64_t bytes, int64_t operations);
    /* It was applied, and is settled next. */
    void (*applied)(void *self, const struct batch *batch);
    /* It was not, and waits for pipeline_release; nothing is at the sink any
     * more.  Where several failed, the first, or one whose line is down. */
    void (*failed)(void *self, const struct batch *batch,
                   const struct sink_result *result);
    /* Its settlement is durable. */
    void (*settled)(void *self, const struct batch *batch);
    /* Nothing more will be claimed: fill `call` with the record of what was
     * done so far, to travel with the last settlement.  False: none. */
    bool (*report)(void *self, struct store_call *call);
    /* Nothing is on its way any more. */
    void (*rested)(void *self);
    /* The store answered, so it is open: a reader of it, the caller's own
     * until it is asked again; NULL and error: tried again later.
     * `adopted` batches are taken up again next. */
    struct store_reader *(*ready)(void *self, size_t adopted,
                                  struct error *error);
    /* The local store cannot do it now; tried again later. */
    void (*trouble)(void *self, const struct error *error);
    /* The store or the sink broke the rules: leave. */
    void (*broken)(void *self, const struct error *error);
};

/* As store_link_call. */
typedef int (*pipeline_call)(void *store, const struct store_request *request,
                             store_link_answer answer, void *self,
                             struct error *error);

struct pipeline_setup {
    struct event_base *base;
    const struct pipeline_hooks *hooks;
    void *self; /* of the hooks */
    pipeline_call call;
    void *store;
    const struct sink_methods *sink_methods;
    struct sink *sink;
    const struct batch_terms *terms; /* looked at whenever a batch closes */
    size_t memory_max; /* of a batch; BATCH_MEMORY_MAX but in tests */
};

struct pipeline *pipeline_new(const struct pipeline_setup *setup,
                              struct error *error);
void pipeline_free(struct pipeline **pipeline);

/* There is a connection to the store: adopts, which the store answers as
 * soon as it is open. */
void pipeline_connected(struct pipeline *pipeline, unsigned pool_size);
/* After the answers' calls. */
void pipeline_lost(struct pipeline *pipeline);

/* Adopts again, also what slots beyond the pool left. */
void pipeline_adopt(struct pipeline *pipeline, unsigned pool_size);

/* Claims and carries until claim_size says 0; then rested is called. */
void pipeline_start(struct pipeline *pipeline);

/* An urgent operation has come while others are on their way: such alone are
 * claimed at once, and go to the sink before all that is not there yet.
 * Nothing when one such claim is under way already. */
void pipeline_express(struct pipeline *pipeline);

/* Sends nothing more to the sink, claims nothing more, until
 * pipeline_release; what is at the sink is finished and settled. */
void pipeline_hold(struct pipeline *pipeline);

/* Goes on, first with the batch that failed. */
void pipeline_release(struct pipeline *pipeline);

/* Claims nothing more, takes up nothing adopted. */
void pipeline_close(struct pipeline *pipeline);

/* Sends one call of its own when the store is there; else drops it. */
void pipeline_tell(struct pipeline *pipeline, const struct store_call *call);

bool pipeline_ready(const struct pipeline *pipeline);
bool pipeline_busy(const struct pipeline *pipeline); /* anything on its way */
/* Batches that the sink has not answered. */
unsigned pipeline_at_sink(const struct pipeline *pipeline);
bool pipeline_held(const struct pipeline *pipeline); /* one failed, or asked */

#endif
