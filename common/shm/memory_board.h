/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of the generation pool: what each worker's command takes, who waits
 * for memory, and the turn to decide on that, so that two workers never
 * begin something on the strength of the same free memory.
 *
 * A place names its holder by its index, and the master frees it when it
 * buries a worker: what a killed one held is known.
 */
#ifndef TIDEMILL_SHM_MEMORY_BOARD_H
#define TIDEMILL_SHM_MEMORY_BOARD_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/ipc/worker_contract.h"

struct memory_place {
    /* 0: not at work; else 1 + the bytes counted for what it runs beside
     * itself */
    _Atomic uint64_t taken;
    _Atomic uint64_t since_ms; /* monotonic: at work since then */
    _Atomic uint64_t held_since_ms; /* waits for memory since; 0: does not */
};

struct memory_board {
    alignas(128) _Atomic uint32_t turn; /* slot + 1 of who decides; 0: nobody */
    _Atomic uint64_t job_bytes; /* that a command takes, as far as is known;
                                 * 0: not known yet */
    /* for whoever shows them, as of the last decision */
    _Atomic uint64_t used_bytes;
    _Atomic int32_t pressure_hundredths; /* percent * 100; -1: not known */
    struct memory_place places[GENERATION_SLOTS_MAX];
};

/* The turn to decide; false when another worker has it. */
bool memory_board_begin(struct memory_board *board, unsigned slot);
void memory_board_end(struct memory_board *board, unsigned slot);

/* What commands were seen to take: the largest counts, and is forgotten
 * slowly. */
void memory_board_learn(struct memory_board *board, uint64_t bytes);

/* The worker of the slot is dead. */
void memory_board_forget(struct memory_board *board, unsigned slot);

/* Since when a worker waits for memory; 0: none does. */
uint64_t memory_board_held_since_ms(const struct memory_board *board);

#endif
