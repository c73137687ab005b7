/* SPDX-License-Identifier: Apache-2.0
 *
 * A sink: where a batch goes.  One small interface, asynchronous, because
 * a sync worker is one event loop; a sink without waiting (sqlite) calls
 * back from a zero timer.
 *
 * What every sink promises:
 * - A batch is applied in one transaction together with its row in the
 *   ledger, keyed (system_id, epoch, batch_id).  A batch that is in the
 *   ledger already changes nothing and gives the result that it gave then.
 * - Operations of one record apply in their order.  INSERT sets the record,
 *   UPDATE merges its top-level fields into it and makes it where it is
 *   missing, DELETE leaves a tombstone.
 * - An operation that the sink refuses for good is found by bisection and
 *   reported with the sink's own words; later operations of the same record
 *   in the batch are not applied and reported as held; all others are
 *   applied.
 * - Tables with a rule for conflicts have one row a record, whoever wrote it.
 *   A change whose row was written by another host, with a stamp beyond what
 *   the change had seen (stamp.h), is a conflict: the rule decides, and the
 *   answer has the row as it stood there.  Behind one that is parked, later
 *   operations of the record are held.
 */
#ifndef TIDEMILL_SYNC_SINK_H
#define TIDEMILL_SYNC_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/config/options.h"
#include "common/store/reader.h"

struct config;
struct event_base;
struct sink;

enum sink_outcome {
    SINK_APPLIED,   /* committed now */
    SINK_REPEATED,  /* was in the ledger already */
    SINK_TRANSIENT, /* nothing is known to be applied: send it again */
    SINK_DOWN,      /* the same, and the line is down: connection lost,
                       refused, or timed out */
    SINK_BUSY,      /* the same, but the centre is there: it, or this host's
                       own budget, has no connection free for us */
    SINK_BEHIND,    /* nothing was applied: the centre knows of more than
                       this store does, or its epoch is over */
};

struct sink_refusal {
    int64_t key;          /* of the operation */
    bool held;            /* not refused itself: behind one that was */
    char sqlstate[6];     /* "" where the sink has none */
    const char *message;  /* the sink's own words */
};

enum conflict_outcome {
    CONFLICT_WON,    /* applied all the same */
    CONFLICT_LOST,   /* not applied: the centre's row stands */
    CONFLICT_PARKED, /* not applied: a person decides */
    CONFLICT_OUTCOME_COUNT
};

static inline const char *conflict_outcome_name(enum conflict_outcome outcome)
{
    static const char *const names[] = {"won", "lost", "parked"};
    return names[outcome];
}

/* An operation whose record stood at the centre otherwise than it knew. */
struct sink_conflict {
    int64_t key; /* of the operation */
    enum conflict_outcome outcome;
    enum conflict_rule rule;
    bool versioned;       /* stamps are versions, not times */
    int64_t stamp;        /* of the operation, as it was compared */
    int64_t centre_stamp; /* of the centre's row before this operation */
    const char *centre_system; /* who wrote that */
    bool centre_deleted;
    const char *centre_data; /* JSON; NULL: deleted, or too much to send */
    size_t centre_data_size;
};

struct sink_result {
    enum sink_outcome outcome;
    struct error error; /* of TRANSIENT, DOWN and BUSY */
    const struct sink_refusal *refusals; /* of APPLIED and REPEATED */
    size_t refusal_count;
    const struct sink_conflict *conflicts; /* the same */
    size_t conflict_count;
    uint64_t apply_ns; /* the centre's part, about; 0: not known */
    /* Of inspect: records of the run, and those of them that are as they
     * have to be */
    int64_t records, complete;
    int64_t retry_after_ms; /* of BUSY: not before that; 0: it does not say */
    /* How full the server is, where it was just counted; limit 0: it was not */
    int64_t server_connections, server_limit;
};

/* Batches of one worker at the sink: on a line of 200 ms there and back, 8
 * of 1,000 operations each keep a server busy that applies 40,000 a second. */
#define SINK_DEPTH_MAX 8

/* What of a batch the centre keeps until its store may forget it, and longer
 * in sum: {settled, store_id, host, ranges, singles}, then the keys of range
 * ends, the keys of singles, and the keys within the ranges that were left
 * out.  settled: all batches up to that number are settled in the store, so
 * the centre answers "repeated" for them and forgets their rows. */
#define SINK_LINE_HEAD 5

struct sink_batch {
    int64_t epoch;
    int64_t batch_id;
    const struct outbox_operation *operations; /* in the order of their ids */
    size_t count;
    const int64_t *line;
    size_t line_count; /* 0: a batch that nobody will ask about */
};

/* Who we are, as the centre remembers it. */
struct sink_store {
    int64_t store_id; /* of the local store, for its life */
    int64_t epoch;
    int64_t host;     /* which machine and folder: a hash */
};

/* What the centre says at first contact. */
struct sink_contact {
    bool known;            /* any store of this system.id */
    struct sink_store newest; /* epoch of that system.id */
    int64_t idle_ms;       /* since the newest was last seen there */
    int64_t highest;       /* batch of our own epoch; -1: none known */
};

enum sink_verdict {
    VERDICT_GO_ON,
    VERDICT_REFUSE, /* ends with SINK_BEHIND and the error's words */
    VERDICT_BEGIN,  /* the store went back in time: a new epoch; then the same */
};

struct sink_history;

/* Asked around every first contact: on each new connection and each probe,
 * before anything is applied. */
struct sink_watch {
    /* Fills who we are, before the centre is asked. */
    int (*before)(void *self, struct sink_store *store, struct error *error);
    enum sink_verdict (*check)(void *self, const struct sink_contact *contact,
                               struct error *error);
    /* The centre has ended our earlier epochs. */
    void (*begun)(void *self, const struct sink_history *history);
    void *self;
};

/* What the centre knows of a store that begins a new epoch. */
struct sink_history {
    int64_t epoch;
    const int64_t *marks;   /* keys: up to there its stripe was applied */
    size_t mark_count;
    const int64_t *missing; /* keys below their mark that were not */
    size_t missing_count;
    const int64_t *ahead;   /* keys above their mark that were */
    size_t ahead_count;
};

/* Called exactly once for each apply or probe, never from within it. The
 * result is valid during the call.  Must not close the sink. */
typedef void (*sink_done)(void *self, const struct sink_result *result);

struct sink_methods {
    const char *name;
    bool takes_connection; /* to a server: needs a token of the budget */
    /* Makes a sink; connects to nothing yet. */
    struct sink *(*open)(const struct config *config, struct event_base *base,
                         struct error *error);
    /* How many batches may be without an answer at once, as things are now:
     * 1 to SINK_DEPTH_MAX.  Asked before every apply and every claim, since
     * it follows what the sink measures of its line.  It may fall below
     * what is under way: then nothing more is sent until answers have come.
     * NULL: always 1. */
    unsigned (*depth)(struct sink *sink);
    /* Connects when needed (installs or checks the schema at the centre on
     * the first connection), applies the batch.  The batch must live until
     * done is called.
     *
     * Called again while earlier batches are not answered, as far as depth
     * says; those never share a record, because the lanes of a batch are its
     * own, so they may be applied, and answered, in any order, and one that
     * fails says nothing of the others.  When the line goes down all that
     * are under way are answered DOWN: they may have been applied or not. */
    void (*apply)(struct sink *sink, const struct sink_batch *batch,
                  sink_done done, void *self);
    /* Is the centre there and ready? Connects when needed.  Not while a
     * batch is under way, and none is sent until it is answered. */
    void (*probe)(struct sink *sink, sink_done done, void *self);
    /* What did the exercise `run` (common/ipc/exercise.h) leave at the
     * centre?  As probe.  NULL: this sink cannot tell. */
    void (*inspect)(struct sink *sink, int64_t run, sink_done done,
                    void *self);
    /* Ends what is under way without calling back and closes the line; the
     * next apply or probe opens it again. */
    void (*rest)(struct sink *sink);
    /* Has every first contact looked at; without a watch, and where this is
     * NULL, nothing is compared. */
    void (*watch)(struct sink *sink, const struct sink_watch *watch);
    /* Ends what is under way without calling back; frees. */
    void (*close)(struct sink *sink);
};

/* Data of the centre's rows that one answer carries at most; a conflict
 * beyond that is told without. */
#define SINK_CONFLICT_DATA_MAX ((size_t)8 << 20)

/* What a held operation's message says. */
#define SINK_HELD_WORDS "an earlier operation of this record was refused"

extern const struct sink_methods sink_sqlite;
extern const struct sink_methods sink_pgsql;
extern const struct sink_methods sink_http;

/* The methods for sync.sink. */
const struct sink_methods *sink_methods_for(const struct config *config);

#endif
