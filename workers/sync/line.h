/* SPDX-License-Identifier: Apache-2.0
 *
 * The line to the centre as a sync worker knows it: a state machine without
 * system calls.
 *
 *     UNKNOWN --worked--> ONLINE          nothing was tried yet
 *     any     --down----> OFFLINE         refused, lost, or timed out
 *     any     --busy----> BUSY            there, but no connection is free
 *     OFFLINE, BUSY --worked--> DRAINING  back again: carry the backlog
 *     DRAINING --drained-> ONLINE         the backlog is gone
 *
 * A failure of either kind sets a time before which nothing is sent.  (The
 * link to the local store is struct store_link; this is the other end.)
 */
#ifndef TIDEMILL_SYNC_LINE_H
#define TIDEMILL_SYNC_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/shm/sync_board.h"

enum line_event {
    LINE_WORKED,    /* a batch was applied, or a probe answered */
    LINE_DOWN,      /* SINK_DOWN */
    LINE_BUSY,      /* SINK_BUSY */
    LINE_TRANSIENT, /* SINK_TRANSIENT: it answered, but could not */
    LINE_DRAINED,   /* nothing that could be carried is left */
    LINE_EVENT_COUNT
};

struct line {
    enum link_state state;
    unsigned failures;    /* in a row */
    uint64_t retry_at_ms; /* monotonic; 0: at any time */
    int64_t base_ms, max_ms;
    uint64_t random;
};

/* Delays run from base_ms to max_ms (sync.retry.*); seed is any number. */
void line_init(struct line *line, int64_t base_ms, int64_t max_ms,
               uint64_t seed);

/* Takes an event at now_ms (monotonic).  True when the state changed. */
bool line_take(struct line *line, enum line_event event, uint64_t now_ms);

/* Must a probe tell whether the line is back before anything is sent? */
bool line_is_away(enum link_state state);

/* Must the next attempt still wait? */
bool line_waits(const struct line *line, uint64_t now_ms);

/* The other end has named a time: the next attempt waits for it, too. */
void line_not_before(struct line *line, uint64_t at_ms);

/* Lets the next attempt be made at once (an operator asked for it); the
 * count of failures stays. */
void line_hurry(struct line *line);

#endif
