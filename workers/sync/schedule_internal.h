/* SPDX-License-Identifier: Apache-2.0
 *
 * What schedule.c (when to do something) and schedule_passes.c (doing it)
 * share.
 */
#ifndef TIDEMILL_SYNC_SCHEDULE_INTERNAL_H
#define TIDEMILL_SYNC_SCHEDULE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store/reader.h"
#include "workers/sync/batch.h"
#include "workers/sync/band.h"
#include "workers/sync/pace.h"
#include "workers/sync/urgency.h"
#include "workers/sync/pass.h"
#include "workers/sync/pipeline.h"
#include "workers/sync/pressure.h"
#include "workers/sync/schedule.h"
#include "workers/sync/standing.h"
#include "workers/sync/trigger.h"

struct config;
struct event;
struct sync_board;

struct schedule {
    struct schedule_setup setup;
    const struct config *config;
    struct sync_board *board;
    struct store_reader *reader;
    struct pipeline *pipeline;
    struct trigger_rules rules;
    struct batch_terms terms;
    struct standing standing;
    struct pass pass;
    struct figures figures; /* of the pass */
    struct pressure pressure;
    struct event *look_timer, *leave_timer;
    uint64_t random;
    uint64_t spread; /* of the interval that runs */
    struct pace pace;
    struct urgency urgency;
    enum sync_band band;
    /* Monotonic: */
    int64_t periodic_from_ms; /* the interval runs from then */
    int64_t urgent_since_ms;
    int64_t blocked_until_ms;
    enum trigger unfinished; /* a pass that blocked claims ended */
    uint64_t probed_ms;   /* monotonic */
    uint64_t inspecting;  /* ticket */
    uint64_t contact_ms;  /* monotonic: the centre last answered */
    uint64_t busy_until_ms; /* monotonic: bound of what is at the sink */
    uint64_t looked_ms;   /* monotonic, as look_due_ms */
    uint64_t look_due_ms; /* of the timer; 0: it is not set */
    int64_t record_bytes; /* of recent records; 0: not known yet */
    unsigned pool_size;   /* as last adopted for */
    bool first_look, paused, probing, leaving, troubled;
    bool pressed; /* the pass carries only urgent operations since */
};

/* schedule.c: looks again after so long, or sooner when that is planned
 * already. */
void schedule_look_after(struct schedule *schedule, int64_t delay_ms);
void schedule_forget_look(struct schedule *schedule);
/* The monotonic clock, as the policy counts. */
int64_t schedule_now_ms(void);
/* The first worker's: another one would have something to carry, since then;
 * nothing more waits. */
void schedule_need_help(struct schedule *schedule, uint64_t since_ms);
void schedule_need_no_help(struct schedule *schedule);
/* Until when, monotonic, this worker leaves all but urgent operations to
 * others; 0: it does not. */
int64_t schedule_yields_ms(const struct schedule *schedule);
/* An attempt is made, or is not needed. */
void schedule_attempted(struct schedule *schedule);
/* Its next_retry_ms is of the monotonic clock. */
int schedule_read_pending(struct schedule *schedule,
                          struct outbox_pending *pending);

/* schedule_passes.c */
void schedule_probe(struct schedule *schedule);
/* Asks the sink what the board's inspection wants to know, in the first
 * slot; true when that is under way now. */
bool schedule_inspect(struct schedule *schedule);
void schedule_start_pass(struct schedule *schedule,
                         const struct trigger_plan *plan, int64_t claimable);
/* Sends the batch that failed again, as a pass of its own. */
void schedule_resume_held(struct schedule *schedule);
/* Says so when it was told to leave and nothing more can be finished. */
void schedule_leave_if_over(struct schedule *schedule);

extern const struct pipeline_hooks schedule_pipeline_hooks;

#endif
