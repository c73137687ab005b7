/* SPDX-License-Identifier: Apache-2.0
 *
 * The connection budget: how many central connections this host may hold,
 * and how full the pools are.
 *
 * A token is a place in a table that names its holder (an index of the
 * scoreboard), not a number that goes up and down: what a killed worker held
 * is known, and the master gives it back when it buries the worker.  A
 * holder has at most one token.  It holds it for as long as its connection
 * is open; the token is `in use` while something is under way on it, else it
 * rests.
 */
#ifndef TIDEMILL_SHM_BUDGET_H
#define TIDEMILL_SHM_BUDGET_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/ipc/worker_contract.h"

/* A sample of the server's connections counts for this long. */
#define BUDGET_SAMPLE_FRESH_MS 6000

/* Who leases from the central queue, beside the worker of a sync slot: an
 * index behind those of the scoreboard, and behind SLOTS_MAX, which is
 * nobody. */
#define BUDGET_HOLDER_QUEUE (SLOTS_MAX + 1)
#define BUDGET_HOLDERS      (SLOTS_MAX + 2)

struct budget {
    /* 0: free; else the holder's index + 1, and BUDGET_IN_USE */
    alignas(128) _Atomic uint32_t places[SLOTS_MAX];
    /* 1: this holder waits for a token */
    _Atomic uint32_t waits[BUDGET_HOLDERS];
    /* as the sync workers are configured, for whoever shows them */
    _Atomic int64_t size;
    _Atomic int64_t threshold_millionths; /* 0: nobody looks */
    /* the server's connections as they were last counted */
    _Atomic int64_t server_connections;
    _Atomic int64_t server_limit;
    _Atomic uint64_t sampled_ms; /* monotonic; 0: never */
};

/* Takes a token out of `size`, or uses again the one that this holder has.
 * False when there is none: the holder waits, and others can see that. */
bool budget_take(struct budget *budget, unsigned holder, int64_t size);

/* Nothing is under way any more; the connection stays open. */
void budget_rest(struct budget *budget, unsigned holder);

/* The connection is closed, or its holder is dead. */
void budget_give_back(struct budget *budget, unsigned holder);

/* Does somebody wait for a token? */
bool budget_is_wanted(const struct budget *budget);

unsigned budget_held(const struct budget *budget);

/* Tokens in use, without those of this holder (SLOTS_MAX: of nobody). */
unsigned budget_in_use(const struct budget *budget, unsigned except);

/* The server has `connections` of at most `limit`. */
void budget_sample(struct budget *budget, int64_t connections, int64_t limit,
                   uint64_t now_ms);

/* How full the pools are for a holder that wants to start something. */
struct budget_usage {
    double usage;   /* the larger of the two */
    bool by_server; /* the server's is */
    int64_t in_use; /* of `size`: tokens, or the server's connections */
    int64_t size;
};

/* A sample that is too old, or was never taken, does not count. */
void budget_usage(const struct budget *budget, unsigned holder, int64_t size,
                  uint64_t now_ms, struct budget_usage *usage);

bool budget_sample_is_fresh(const struct budget *budget, uint64_t now_ms,
                            uint64_t within_ms);

#endif
