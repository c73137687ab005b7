/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of one batch:
 *
 *     FREE --batch_take--> CLAIMED --batch_read--> READ --batch_sent--> SENT
 *     SENT --batch_close--> APPLIED --batch_settling--> SETTLING
 *     SENT --batch_unsent--> READ           (nothing is known to be applied)
 *     SETTLING --batch_unsettled--> APPLIED (no answer: settle it again)
 *     SETTLING --batch_free--> FREE
 *
 * From CLAIMED to FREE the claim is durable in the store, so a batch can be
 * dropped at any point: the successor in the slot sends it again under the
 * same number, and the ledger at the centre makes that harmless.
 *
 * Memory: a batch lives in its own arena, given back when it is settled.
 * Claims are sized by what recent records weighed (trigger.h), so the
 * batches of a worker are a few ten MB.  When records suddenly grow, a claim
 * may not fit BATCH_MEMORY_MAX.  It is then settled as if all of it were
 * held behind something (batch_give_back): nothing is sent, every operation
 * is ready again at its place in the order of its record, and later claims,
 * smaller ones, carry them.  Since the bound is the same for every worker,
 * a batch that does not fit was never sent by a predecessor either; for that
 * reason a later version may raise the bound, but never lower it.
 */
#ifndef TIDEMILL_SYNC_BATCH_H
#define TIDEMILL_SYNC_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/shm/sync_board.h"
#include "common/store/reader.h"
#include "common/store/wire.h"
#include "workers/sync/sink.h"

struct config;

/* All places of a pipeline together stay under half a GB. */
#define BATCH_MEMORY_MAX ((size_t)48 << 20)

/* Calls that may travel with a settlement: SYNC_METRIC and BATCH_CLAIM. */
#define BATCH_SETTLEMENT_SPARE 2

/* Of a refusal's words, in the store. */
#define BATCH_REFUSAL_TEXT_MAX 500

/* Who settles, and what becomes of refused operations. */
struct batch_terms {
    unsigned slot;
    uint32_t spawn;
    enum trigger trigger;
    uint32_t last_spawn; /* as of the pool size that is adopted for */
    int64_t max_retries;
    int64_t retry_base_ms, retry_max_ms;
    int64_t clock_lost_ms; /* how far the clock on the wall went back behind
                            * the times of retries: claims are made as of so
                            * much later; else 0 */
    uint64_t *random;
    int64_t store_id, host; /* for the batch's line (sink.h) */
};

enum batch_state {
    BATCH_FREE,
    BATCH_CLAIMED,
    BATCH_READ,
    BATCH_SENT,
    BATCH_APPLIED,
    BATCH_SETTLING,
};

struct batch {
    enum batch_state state;
    uint64_t order; /* the lower goes first to the sink */
    struct arena arena;
    struct outbox_batch source;
    struct outbox_operation *operations;
    size_t count;
    int64_t *line; /* as in struct sink_batch */
    size_t line_count;
    uint64_t bytes;          /* of record data */
    bool too_large;          /* for its arena */
    int64_t started_wall_ms; /* first sent */
    unsigned sends;          /* how often; 1 mostly */
    uint64_t sent_ns;        /* last sent, monotonic */
    uint64_t took_ns;        /* from sent to answered, the last time */
    uint64_t apply_ns;       /* of that without waiting behind other batches,
                                and without the line where the sink knows it */
    bool repeated;           /* was in the ledger already */
    size_t applied;          /* operations neither refused nor held */
    size_t refused;
    size_t conflicts[CONFLICT_OUTCOME_COUNT];
    const bool
        *left; /* by operation: it stays behind (refused, held, parked) */
    /* BATCH_CONFLICT, BATCH_REJECT, BATCH_HOLD, BATCH_COUNT ... BATCH_SETTLE,
     * and room for BATCH_SETTLEMENT_SPARE more calls behind them. */
    struct store_call *settlement;
    size_t settlement_count;
};

void batch_init(struct batch *batch, size_t memory_max);
void batch_free(struct batch *batch); /* to FREE; gives the memory back */

/* Takes over a claim; copies what it describes. */
int batch_take(struct batch *batch, const struct outbox_batch *source,
               uint64_t order, struct error *error);

/* Reads the operations.  On failure the batch stays CLAIMED, to be read
 * again, or given back when it is too_large. */
int batch_read(struct batch *batch, struct store_reader *reader,
               struct error *error);

/* Makes the line of a batch that was read; on failure it is CLAIMED again. */
int batch_make_line(struct batch *batch, struct store_reader *reader,
                    const struct batch_terms *terms, struct error *error);

/* How long the sink may take at the most: what it allows itself for a
 * connection and an answer, a margin, and time for finding refused
 * operations one by one.  It is the master's last resort, so it errs on the
 * long side. */
uint64_t batch_bound_ms(const struct batch *batch, const struct config *config);

void batch_sent(struct batch *batch);
void batch_unsent(struct batch *batch);

/* Makes the settlement of a batch that the sink applied (APPLIED or
 * REPEATED; a batch without operations needs no sink: result NULL).  Copies
 * what it needs of the result. */
int batch_close(struct batch *batch, const struct sink_result *result,
                const struct batch_terms *terms, struct error *error);

/* The operation with this key; NULL: it is not in the batch. */
struct outbox_operation *batch_operation(const struct batch *batch,
                                         int64_t key);

/* CLAIMED to APPLIED without the sink: see above. */
int batch_give_back(struct batch *batch, struct store_reader *reader,
                    const struct batch_terms *terms, struct error *error);

void batch_settling(struct batch *batch);
void batch_unsettled(struct batch *batch);

#endif
