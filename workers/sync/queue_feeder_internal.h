/* SPDX-License-Identifier: Apache-2.0
 *
 * What queue_feeder.c (when to do something) and queue_asks.c (doing it)
 * share.
 */
#ifndef TIDEMILL_SYNC_QUEUE_FEEDER_INTERNAL_H
#define TIDEMILL_SYNC_QUEUE_FEEDER_INTERNAL_H

#include "common/store/client.h"
#include "workers/sync/pgsql_arrays.h"
#include "workers/sync/queue_leases.h"
#include "workers/sync/queue_line.h"
#include "workers/sync/queue_policy.h"

struct event;
struct queue_feeder;

/* The end of a job on its way to the centre. */
struct queue_report {
    struct queue_feeder *feeder;
    struct queue_end end;
    const char *answer; /* reported, refused; NULL: none yet */
    bool bare;          /* the centre refused its words: goes without */
};

struct queue_feeder {
    const struct worker *worker;
    const struct config *config;
    struct queue_line *line;
    struct store_link *link;
    struct store_reader *reader; /* NULL: there is no store now */
    struct event *timer;
    struct arena arena; /* of one step */
    struct queue_facts facts;
    unsigned asks;  /* under way at the centre */
    unsigned calls; /* under way at the store */
    bool leaving; /* does nothing any more */
    void (*over)(void *self);
    void *over_self;
    bool failed;      /* the line, in this step */
    struct error why; /* it failed */
    unsigned failures;
    int64_t retry_at_ms, store_again_ms; /* monotonic */
    uint64_t random;
    /* Of the step that is under way: */
    struct pg_array ids, tokens;
    struct queue_lease *leases;
    size_t lease_count;
    struct queue_report reports[QUEUE_REPORTS_MOST];
    size_t report_count;
    int64_t asked, token;
};

/* queue_feeder.c */
void queue_feeder_soon(struct queue_feeder *feeder, int64_t wait_ms);
int64_t queue_feeder_now_ms(void);
void queue_feeder_failed(struct queue_feeder *feeder,
                         const struct pg_answer *answer);
void queue_feeder_settle(struct queue_feeder *feeder, unsigned *under_way);
/* 0, or -1 when it cannot be sent: the step is tried again later. */
int queue_feeder_call(struct queue_feeder *feeder, struct store_call *calls,
                      size_t count, store_link_answer answer, void *self);
void queue_feeder_refused(struct queue_feeder *feeder,
                          const struct store_answer *answer);

/* queue_asks.c: the steps of queue_policy.h.  Each sends something; -1 when
 * the local store cannot be read, or written. */
int queue_ask_give_back(struct queue_feeder *feeder, struct error *error);
int queue_ask_renew(struct queue_feeder *feeder, struct error *error);
int queue_ask_hand_back(struct queue_feeder *feeder, struct error *error);
int queue_ask_report(struct queue_feeder *feeder, struct error *error);
void queue_ask_lease(struct queue_feeder *feeder, int64_t count);

#endif
