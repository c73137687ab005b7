/* SPDX-License-Identifier: Apache-2.0
 *
 * What is said of a pool of workers: by those who see work wait, by the
 * workers themselves, and by the master, which sizes it by that.
 */
#ifndef TIDEMILL_SHM_POOL_BOARD_H
#define TIDEMILL_SHM_POOL_BOARD_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/ipc/worker_contract.h"
#include "common/shm/scoreboard.h"

struct pool_board {
    /* the master's */
    alignas(128) _Atomic uint32_t size; /* workers wanted now */
    _Atomic uint32_t least, most;       /* as configured */
    _Atomic uint32_t watched; /* 1: it wants to be told when work waits; who
                               * tells it takes that back */
    /* the workers': monotonic, when none of them was idle last; 0: never */
    _Atomic uint64_t full_ms;
    /* Of whoever sees the work (for generation the store, for sync its first
     * worker): monotonic, since when there is more than the workers take;
     * 0: there is not. */
    alignas(128) _Atomic uint64_t waiting_since_ms;
};

/* More work waits than the workers take, since then or earlier.  True when
 * the master is to be told: the caller does so (worker_loop_wait). */
bool pool_board_wait(struct pool_board *board, uint64_t since_ms);

/* No work waits. */
void pool_board_rest(struct pool_board *board);

/* Is none of the pool's workers idle? */
bool pool_board_is_full(const struct pool_board *board,
                        const struct scoreboard *scoreboard, enum role role);

/* The same, and noted when it is so. */
void pool_board_note_full(struct pool_board *board,
                          const struct scoreboard *scoreboard, enum role role,
                          uint64_t now_ms);

#endif
