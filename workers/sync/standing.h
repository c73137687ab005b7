/* SPDX-License-Identifier: Apache-2.0
 *
 * How a sync worker stands, told to others: the line to the centre, the last
 * error in words, what comes next, and the tickets of `sync now`.  All of it
 * shows in the worker's view of the sync board; changes of the line are
 * logged once.
 */
#ifndef TIDEMILL_SYNC_STANDING_H
#define TIDEMILL_SYNC_STANDING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ipc/worker_contract.h"
#include "common/shm/sync_board.h"
#include "workers/sync/line.h"
#include "workers/sync/sink.h"

struct standing {
    struct sync_view *view;
    struct line line;
    uint64_t ticket;  /* the highest asked for */
    uint64_t answered;
    uint64_t hurried; /* the highest for which an attempt was hurried */
};

void standing_init(struct standing *standing, const struct worker *worker,
                   uint64_t seed);

/* "" when all is well again. */
void standing_error(struct standing *standing, const char *text);

/* What runs next and when (wall clock; 0: nothing is planned). */
void standing_next(struct standing *standing, enum trigger trigger,
                   int64_t at_ms);

/* The line took an event. */
void standing_line(struct standing *standing, enum line_event event,
                   const char *reason);

/* An attempt failed: TRANSIENT, DOWN or BUSY, each with words of its own. */
void standing_failed(struct standing *standing,
                     const struct sink_result *result);

/* Does somebody wait for the end of a pass? */
bool standing_asked(const struct standing *standing);

/* True once for each ticket: it lets one attempt skip the back-off. */
bool standing_hurries(struct standing *standing);

/* The pass that answers this ticket and all before it is over. */
void standing_answer(struct standing *standing, uint64_t ticket, bool ok);

#endif
