/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of a generation worker share: its state, and who goes on.
 */
#ifndef TIDEMILL_GENERATION_STATE_H
#define TIDEMILL_GENERATION_STATE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/generation/output_seen.h"
#include "common/ipc/worker_contract.h"
#include "workers/generation/admission.h"
#include "workers/generation/backlog.h"
#include "workers/generation/claim_size.h"
#include "workers/generation/command_slot.h"
#include "workers/generation/report.h"

#define REPORTS_HELD_MAX 256 /* not yet at the store */

struct generation {
    const struct worker *worker;
    const struct config *config;
    struct worker_loop *loop;
    struct store_link *link;
    struct store_reader *reader; /* NULL until it is needed */
    struct template_cache *templates;
    struct template_news *template_news;
    struct reporter reporter;
    char program[SEEN_PROGRAM_SIZE]; /* see program_of */
    bool program_known;
    struct claim_size claim_size;
    struct admission *admission;
    struct arena arena;        /* of the job that runs */
    struct event *turn_event;  /* there are jobs to run */
    struct event *look_event;  /* look again for jobs */
    struct event *again_event; /* ask the store again after a refusal */
    struct event *drain_event; /* the bound of DRAIN */
    struct backlog backlog;
    struct command_defaults command_defaults;
    struct command_slot *command; /* beside the backlog */
    struct predecessor *predecessor;
    struct event *long_event;     /* it runs for long */
    bool hands_back;   /* the jobs not begun: there is no memory for them */
    bool command_long;            /* and what waits behind it is let go */
    uint64_t command_since_ns;
    bool cancel_told; /* a job that we hold may be cancelled */
    unsigned report_sent; /* of the first ones, with the request under way */
    unsigned alone;       /* of the first ones: to be sent one by one */
    unsigned asked;       /* jobs, with the request under way */
    bool adopted;         /* what the predecessor left is settled */
    bool adopts_alone;    /* without a claim: with one it was refused */
    bool under_way;
    bool may_have_jobs; /* the queue, as far as we know */
    bool draining;
    bool gives_back; /* jobs not begun, to the queue, before it leaves */
    bool claim_lost; /* a claim's answer: jobs may be ours that we do not know */
};

/* After every change: asks the store, runs, rests or leaves. */
void generation_go_on(struct generation *generation);

void generation_start_timer(struct event *event, uint64_t delay_ms);

/* --- exchange.c: what goes to the store and comes from it --- */

/* Settles what the predecessor left, when it is not settled yet: once nothing
 * of its command runs.  The same request claims. */
void generation_adopt(struct generation *generation);

/* Asks the store when there is something to ask and nothing under way.
 * While jobs are at hand the ends of a few are gathered: half of a claim is
 * work enough until the answer comes. */
void generation_talk(struct generation *generation);

/* Forgets the jobs that are not begun; they go back to the queue. */
void generation_drop_jobs(struct generation *generation);

/* Forgets the first report. */
void generation_pop_report(struct generation *generation);

#endif
