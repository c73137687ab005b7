/* SPDX-License-Identifier: Apache-2.0
 *
 * The scoreboard: one entry a slot.  The worker writes its own entry, the
 * master what stands under "the master's"; everyone reads.
 */
#ifndef TIDEMILL_SHM_SCOREBOARD_H
#define TIDEMILL_SHM_SCOREBOARD_H

#include <stdatomic.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/ipc/worker_contract.h"

/* A slot's life: name, word in status and titles */
#define SLOT_STATE_LIST(X)                                                     \
    X(EMPTY, "empty")       /* not in use */                                   \
    X(BACKOFF, "backoff")   /* waits to be forked again */                     \
    X(STARTING, "starting") /* forked, has not said READY */                   \
    X(IDLE, "idle")                                                            \
    X(BUSY, "busy")                                                            \
    X(DRAINING, "draining")                                                    \
    X(KILLED, "killed") /* told to die, not yet reaped */

enum slot_state {
#define X(name, text) SLOT_##name,
    SLOT_STATE_LIST(X)
#undef X
        SLOT_STATE_COUNT
};

const char *slot_state_name(enum slot_state state);

/* Why a slot's last worker ended: name, words ("%u" is the detail) */
#define DEATH_LIST(X)                                                          \
    X(NONE, "none")                                                            \
    X(LEFT, "left as asked")                                                   \
    X(EXITED, "exited with code %u")                                           \
    X(SIGNALLED, "killed by signal %u")                                        \
    X(HELLO_TIMEOUT, "said no hello in time")                                  \
    X(WORK_DEADLINE, "was past its deadline")                                  \
    X(HEARTBEAT, "its heartbeat stopped")                                      \
    X(DRAIN_TIMEOUT, "did not drain in time")                                  \
    X(BAD_MESSAGE, "sent a bad message")                                       \
    X(DEAF, "did not read its pipe")

enum death {
#define X(name, words) DEATH_##name,
    DEATH_LIST(X)
#undef X
        DEATH_COUNT
};

/* The words, with the detail put in, in text (64 bytes). */
char *death_words(enum death death, unsigned detail, char *text);

struct slot_entry {
    alignas(128) _Atomic uint32_t state; /* enum slot_state */
    _Atomic uint32_t role;         /* enum role; the master's */
    _Atomic uint32_t number;       /* within the role; the master's */
    _Atomic uint32_t spawn;        /* the master's */
    _Atomic int32_t pid;           /* 0: none; the master's */
    _Atomic uint32_t in_use;       /* the master's: 1 when it is in the pool */
    _Atomic uint64_t started_ms;   /* monotonic; the master's */
    _Atomic uint64_t state_since_ms;
    _Atomic uint64_t heartbeat_ms;
    _Atomic uint64_t work_id;      /* 0: none */
    _Atomic uint64_t work_started_ms;
    _Atomic uint64_t work_deadline_ms; /* 0: none */
    _Atomic uint64_t finished;     /* pieces of work, by this spawn */
    _Atomic uint64_t restarts;     /* of this slot; the master's */
    _Atomic uint64_t backoff_until_ms; /* the master's */
    /* how the predecessor ended, for its successor; the master's */
    _Atomic uint32_t death;        /* enum death */
    _Atomic uint32_t death_detail; /* signal or exit code */
    _Atomic uint32_t death_spawn;  /* which spawn it was */
    _Atomic uint64_t death_work_id; /* what it worked on; 0: nothing */
    _Atomic uint64_t death_ms;     /* monotonic, when it was reaped */
    _Atomic uint32_t has_commands; /* 1: the slot's work has been commands;
                                    * its worker's, for the successor */
};

struct scoreboard {
    struct slot_entry slots[SLOTS_MAX];
};

/* Where a role's slot stands in the table: STORE 0, GATEWAY 1, MONITOR 2,
 * then generation, then sync. */
unsigned scoreboard_index(enum role role, unsigned slot);

/* How many of a pool's first slots are not all empty: what is claimed beyond
 * them belongs to nobody, unless it was claimed after this was asked. */
unsigned scoreboard_pool_size(const struct scoreboard *board, enum role role,
                              unsigned most);

/* The entry whose process is pid and alive by the master's word; NULL when
 * none is. */
struct slot_entry *scoreboard_find(struct scoreboard *board, pid_t pid);

#endif
