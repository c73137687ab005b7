/* SPDX-License-Identifier: Apache-2.0
 *
 * The days of a sync worker: looks at what pends (trigger.h), knows the line
 * (line.h), starts passes, carries them (pipeline.h), and says how it stands
 * in the worker's view of the sync board.
 *
 * One look decides: is there trouble to wait out, a batch to send again, a
 * line to probe, a pass to start, and if nothing of these, when to look
 * next.  Looks come from notifications of the store (at most one every
 * SCHEDULE_LOOK_MS), from operators, from the end of a pass, and from one
 * timer; there is no polling.
 */
#ifndef TIDEMILL_SYNC_SCHEDULE_H
#define TIDEMILL_SYNC_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/ipc/worker_contract.h"
#include "common/store/client.h"
#include "common/store/reader.h"
#include "workers/sync/sink.h"

struct event_base;
struct schedule;
struct worker_loop;

/* Least time between two looks that notifications asked for, of slot 0 and
 * of the others. */
#define SCHEDULE_LOOK_MS        20
#define SCHEDULE_LOOK_HIGHER_MS 100

struct schedule_setup {
    const struct worker *worker;
    struct worker_loop *loop;
    struct event_base *base;
    struct store_link *link;
    const struct sink_methods *sink_methods;
    struct sink *sink;
    int64_t host; /* for the centre: lineage.h */
    /* Opens the store for reading, closing an earlier reader, which stays
     * the setup's; says whether an operator paused sync. */
    struct store_reader *(*open_reader)(void *self, bool *paused,
                                        struct error *error);
    /* It was told to leave, and nothing more can be finished. */
    void (*over)(void *self);
    void *self;
};

struct schedule *schedule_new(const struct schedule_setup *setup,
                              struct error *error);
void schedule_free(struct schedule **schedule);

/* There is a connection to the store, or none any more. */
void schedule_connected(struct schedule *schedule);
void schedule_lost(struct schedule *schedule);
void schedule_notified(struct schedule *schedule, uint32_t topics);

/* The line was cut for an exercise, or came back; or an inspection is asked
 * for. */
void schedule_line_changed(struct schedule *schedule, bool cut);

/* While paused nothing is claimed or sent; what is at the sink is settled. */
void schedule_pause(struct schedule *schedule, bool paused);

/* `sync now`; slot 0 answers the ticket in its view. */
void schedule_request(struct schedule *schedule, uint64_t ticket);

/* Finishes what is on its way, then says that it is over; leaves the loop
 * within bound_ms whatever is left. */
void schedule_drain(struct schedule *schedule, uint64_t bound_ms);

#endif
