/* SPDX-License-Identifier: Apache-2.0
 *
 * What the master says of itself, for `tidemill status`.  Only the master
 * writes.  Texts are guarded by a sequence number: odd while being written.
 */
#ifndef TIDEMILL_SHM_DAEMON_BOARD_H
#define TIDEMILL_SHM_DAEMON_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/priority.h"

#define DAEMON_TEXT_MAX 4096

/* name, words */
#define UPGRADE_PHASE_LIST(X)                                                  \
    X(NONE, "none")                                                            \
    X(PREPARING, "preparing")                                                  \
    X(HANDING_OVER, "handing over")

enum upgrade_phase {
#define X(name, words) UPGRADE_PHASE_##name,
    UPGRADE_PHASE_LIST(X)
#undef X
        UPGRADE_PHASE_COUNT
};

/* Of operations: urgent, high, normal, low. */

struct daemon_board {
    _Atomic int32_t master_pid;
    _Atomic int64_t started_wall_ms;
    _Atomic uint64_t started_monotonic_ms;
    _Atomic uint32_t config_epoch;   /* 1 at start, +1 for each good reload */
    _Atomic int64_t reload_wall_ms;  /* of the last attempt; 0: none yet */
    _Atomic uint64_t reload_attempts; /* counts up when an attempt is over */
    _Atomic uint32_t reload_failed;  /* 1: the last attempt was refused */
    _Atomic uint32_t ready; /* 1: every first worker has said READY */
    _Atomic uint32_t upgrade_phase;   /* enum upgrade_phase */
    _Atomic uint64_t upgrade_failures; /* counts up: one that goes well ends
                                        * with the daemon */
    _Atomic uint32_t upgrade_error_code; /* enum error_code */
    _Atomic int64_t upgrade_wall_ms;  /* of the last failure; 0: none */
    _Atomic uint32_t stopping;
    _Atomic int64_t pending[PRIORITY_COUNT]; /* the store's: operations not
                                                * yet settled */
    _Atomic uint32_t degraded_roles; /* bit 1 << enum role */
    _Atomic uint32_t last_spawn;     /* of all, before its fork */
    _Atomic uint64_t next_check_ms; /* monotonic: when the master next looks at
                                     * deadlines by itself; UINT64_MAX while it
                                     * looks: then it wants to be told; a
                                     * worker that told it brings it forward */
    _Atomic uint32_t text_sequence;
    char reload_errors[DAEMON_TEXT_MAX];   /* every error, a line each */
    char pending_restart[DAEMON_TEXT_MAX]; /* "path: old -> new", a line each */
    char upgrade_error[DAEMON_TEXT_MAX];   /* why the last upgrade failed */
    char command_group[DAEMON_TEXT_MAX]; /* where commands have groups; "":
                                          * they have none */
    char command_group_why[256];         /* not, or what is missing in it */
};

/* The master's: sets both texts together. */
void daemon_board_set_texts(struct daemon_board *board, const char *errors,
                            const char *pending_restart);

/* The master's: sets that one. */
void daemon_board_set_upgrade_error(struct daemon_board *board,
                                    const char *error);

/* The master's, before the first worker is forked: they never change. */
void daemon_board_set_groups(struct daemon_board *board, const char *path,
                             const char *why);

const char *upgrade_phase_name(enum upgrade_phase phase);

/* A consistent copy of a text of the board (one of its fields) into
 * room bytes. */
void daemon_board_get_text(struct daemon_board *board, const char *field,
                           char *text, size_t room);

#endif
