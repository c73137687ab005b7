/* SPDX-License-Identifier: Apache-2.0
 *
 * When to sync, why, and how much at a time.  Policy only: no system calls,
 * no memory; everything it judges by is handed in, so it is tested without
 * a store, a clock or a fork.
 *
 * Slot 0 takes the trickle and answers every trigger.  Higher slots join
 * while more than slot * sync.batch.max operations can be claimed (in a
 * drain, sync.batch.min), and for an urgent operation that slot 0 is too busy
 * for.
 *
 * A pass of the trickle carries at most sync.max_per_pass operations.  A
 * pass that starts with more than TRIGGER_DRAIN_FACTOR times that, after an
 * offline time, or because an operator asked for it is a drain: no cap.
 */
#ifndef TIDEMILL_SYNC_TRIGGER_H
#define TIDEMILL_SYNC_TRIGGER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/shm/sync_board.h"
#include "common/store/reader.h"

struct config;

#define TRIGGER_DRAIN_FACTOR 4

/* A slot above 0 takes an urgent operation when it still pends this long
 * after it was announced and slot 0 is in a pass. */
#define TRIGGER_URGENT_GRACE_MS 20

/* How long a claim is not tried again when it brought nothing although
 * operations pend (their lanes are in other batches), unless one of those
 * is settled first. */
#define TRIGGER_BLOCKED_MS 1000

/* A batch is claimed small enough that, by the size of recent records, it
 * has at most this many bytes of data. */
#define TRIGGER_BATCH_BYTES (16 << 20)

struct trigger_rules {
    unsigned slot;
    unsigned workers;
    int64_t interval_ms; /* of periodic passes, without spread */
    int64_t threshold_operations;
    int64_t thresholds[OUTBOX_KINDS]; /* of tables with one of their own */
    bool urgent; /* sync.event_driven.enable_urgent */
    bool immediate_on_error; /* sync.event_driven.immediate_on_error */
    bool adaptive; /* sync.mode */
    int64_t batch_min, batch_max;
    int64_t max_per_pass;
};

void trigger_rules_init(struct trigger_rules *rules,
                        const struct config *config, unsigned slot);

/* What the policy judges by.  Times are milliseconds of the monotonic clock:
 * the clock on the wall may jump. */
struct trigger_facts {
    int64_t now_ms;
    int64_t claimable;       /* trigger_claimable */
    int64_t by_kind[OUTBOX_KINDS]; /* pending */
    int64_t urgent_pending;  /* not settled */
    int64_t next_retry_ms;   /* of refused operations; 0: none */
    int64_t periodic_due_ms; /* slot 0's */
    int64_t urgent_since_ms; /* announced and not looked for; 0: none */
    int64_t blocked_until_ms; /* 0: claims are not blocked */
    enum trigger unfinished;  /* of a pass whose claims were blocked */
    bool near_capacity; /* only urgent operations go */
    bool paused;
    bool request;       /* a ticket of `sync now` waits (slot 0) */
    bool drain_wanted;  /* `sync drain` */
    bool reconnected;   /* the line is DRAINING */
    bool first_in_pass; /* slot 0 is in a pass */
    bool yields;        /* this worker is kept for urgent operations */
};

struct trigger_plan {
    enum trigger trigger; /* NONE: no pass now */
    bool drain;           /* the pass has no cap */
    unsigned least_important; /* priority that it still carries */
    enum trigger deferred; /* would run, but a pool is near capacity */
    enum trigger next;    /* what comes next if nothing else happens */
    int64_t next_ms;      /* when; 0: nothing is planned */
};

/* Whether a worker beside so many would carry, too (decided as slot `workers`
 * would): in a pass, with that much left. */
bool trigger_wants_another(const struct trigger_rules *rules, int64_t claimable,
                           bool drain, unsigned workers);

void trigger_decide(const struct trigger_rules *rules,
                    const struct trigger_facts *facts,
                    struct trigger_plan *plan);

/* What has come furthest on its way to a threshold. */
struct trigger_nearest {
    unsigned kind; /* enum outbox_kind; OUTBOX_KINDS: operations of all tables */
    int64_t pending;
    int64_t threshold;
};

struct trigger_nearest trigger_nearest(const struct trigger_rules *rules,
                                       const struct trigger_facts *facts);

/* Operations that a claim could bring now: pending ones without those in
 * flight and those waiting for their retry time. */
int64_t trigger_claimable(const struct outbox_pending *pending,
                          int64_t now_ms);

/* What a record of now costs in memory, about, from what was known before
 * (0: nothing) and a batch: rises at once and falls slowly. */
int64_t trigger_record_bytes(int64_t known_bytes, int64_t batch_bytes,
                             int64_t batch_operations);

/* What a pass has done so far, for the size of its next claim. */
struct trigger_progress {
    int64_t claimable;
    int64_t claimed;      /* in this pass */
    int64_t record_bytes; /* of recent records, about; 0: not known */
    int64_t batch_limit;  /* as pace.h has it */
    bool drain;           /* the pass has no cap */
    bool drain_wanted;    /* by an operator */
    bool ahead;           /* while another batch is being applied */
};

/* How many operations to claim next; 0: none. */
int64_t trigger_claim_size(const struct trigger_rules *rules,
                           const struct trigger_progress *progress);

#endif
