/* SPDX-License-Identifier: Apache-2.0
 *
 * What the sync workers say of the line to the centre, and what operators
 * ask of them.  Each sync slot writes its own view; a text is guarded by a
 * sequence number (odd while it is being written).
 */
#ifndef TIDEMILL_SHM_SYNC_BOARD_H
#define TIDEMILL_SHM_SYNC_BOARD_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/log.h"
#include "common/ipc/worker_contract.h"

#define TRIGGER_LIST(X)                                                        \
    X(NONE, "none")                                                            \
    X(PERIODIC, "periodic")                                                    \
    X(THRESHOLD, "threshold")                                                  \
    X(URGENT, "urgent")                                                        \
    X(REQUEST, "request")                                                      \
    X(RECONNECT, "reconnect")

enum trigger {
#define X(name, text) TRIGGER_##name,
    TRIGGER_LIST(X)
#undef X
        TRIGGER_COUNT
};

#define LINK_STATE_LIST(X)                                                     \
    X(UNKNOWN, "unknown") /* nothing tried yet */                              \
    X(ONLINE, "online")                                                        \
    X(OFFLINE, "offline")                                                      \
    X(BUSY, "busy") /* there, but without a connection for us */               \
    X(DRAINING, "draining")

enum link_state {
#define X(name, text) LINK_##name,
    LINK_STATE_LIST(X)
#undef X
        LINK_STATE_COUNT
};

/* Of backlog pressure: workers/sync/band.h. */
#define SYNC_BAND_LIST(X)                                                      \
    X(CALM, "calm")                                                            \
    X(NORMAL, "normal")                                                        \
    X(RAISED, "raised")                                                        \
    X(HIGH, "high")

enum sync_band {
#define X(name, text) BAND_##name,
    SYNC_BAND_LIST(X)
#undef X
        BAND_COUNT
};

const char *sync_band_name(enum sync_band band);
const char *trigger_name(enum trigger trigger);
const char *link_state_name(enum link_state state);

#define SYNC_ERROR_TEXT_MAX 1024

struct sync_view {
    alignas(128) _Atomic uint32_t state; /* enum link_state */
    _Atomic int64_t state_since_wall_ms;
    _Atomic int64_t last_attempt_wall_ms;
    _Atomic int64_t last_success_wall_ms;
    _Atomic int64_t next_sync_wall_ms;  /* 0: none planned */
    _Atomic uint32_t next_trigger;      /* enum trigger */
    _Atomic uint64_t ticket_done; /* the highest ticket whose pass is over */
    _Atomic uint64_t ticket_failed; /* the highest one that failed */
    _Atomic uint32_t in_pass;
    _Atomic uint64_t attempted_ms;  /* monotonic: when it last tried, or had
                                     * nothing to do */
    _Atomic uint64_t patience_ms;   /* it tries again within this */
    _Atomic int64_t interval_ms;    /* of periodic passes, as the band has it */
    _Atomic uint32_t mode;          /* enum sync_mode */
    _Atomic uint32_t band;          /* enum sync_band */
    _Atomic uint32_t nearest_kind;  /* of the thresholds, the one that is */
    _Atomic int64_t nearest_pending; /* nearest (trigger.h) */
    _Atomic int64_t nearest_threshold;
    _Atomic int64_t batch_size;     /* operations that the next may have */
    _Atomic int64_t rate;           /* operations a second in the last pass */
    _Atomic uint32_t deferred; /* all but urgent operations wait: a pool is
                                * near capacity */
    _Atomic uint32_t error_sequence;
    char last_error[SYNC_ERROR_TEXT_MAX]; /* "" when the last pass was good */
};

/* What an exercise left at the centre, asked of the first sync worker. */
struct sync_inspection {
    _Atomic uint64_t asked;  /* ticket */
    _Atomic int64_t run;     /* of the last ticket */
    _Atomic uint64_t answered; /* ticket; what follows belongs to it */
    _Atomic uint32_t failed; /* the sink cannot tell, or not now */
    _Atomic int64_t records, complete;
};

/* Under which correlation id a ticket was asked for. */
struct sync_asker {
    _Atomic uint64_t ticket; /* 0: being written */
    char correlation[LOG_CORRELATION_MAX + 1];
};

#define SYNC_ASKERS 16 /* that of ticket T is at T % SYNC_ASKERS */

struct sync_board {
    alignas(128) _Atomic uint64_t ticket; /* last `sync now` asked for */
    _Atomic uint32_t enabled; /* the master's: sync.enabled, sync.sink, as */
    _Atomic uint32_t sink;    /* they are now; who was not replaced at a reload
                               * has the configuration before it */
    _Atomic uint32_t paused;
    _Atomic uint32_t stalled; /* the monitor's: operations pend, and nobody
                               * has tried for too long */
    _Atomic uint64_t cut_until_ms; /* monotonic: until then the line to the
                                    * centre is cut, for an exercise */
    struct sync_inspection inspection;
    struct sync_asker askers[SYNC_ASKERS];
    _Atomic uint32_t drain_wanted; /* drain until this is 0 or nothing pends */
    struct sync_view views[SYNC_SLOTS_MAX];
};

/* The view of the line as a whole: one that has tried says more than one that
 * has not. */
struct sync_view *sync_board_leader(struct sync_board *board);

/* What the line is in: the leader's state, or disabled, paused, cut. */
const char *sync_board_state(struct sync_board *board, uint64_t now_ms);

void sync_board_set_asker(struct sync_board *board, uint64_t ticket,
                          const char *correlation);
/* "" when it is not known, or no longer. */
void sync_board_get_asker(struct sync_board *board, uint64_t ticket,
                          char correlation[LOG_CORRELATION_MAX + 1]);

void sync_view_set_error(struct sync_view *view, const char *text);
void sync_view_get_error(struct sync_view *view, char *text, size_t room);

#endif
