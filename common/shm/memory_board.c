/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/memory_board.h"

bool memory_board_begin(struct memory_board *board, unsigned slot)
{
    uint32_t nobody = 0;
    return atomic_compare_exchange_strong(&board->turn, &nobody, slot + 1);
}

void memory_board_end(struct memory_board *board, unsigned slot)
{
    uint32_t mine = slot + 1;
    atomic_compare_exchange_strong(&board->turn, &mine, 0);
}

void memory_board_learn(struct memory_board *board, uint64_t bytes)
{
    uint64_t known = atomic_load(&board->job_bytes);
    if (bytes < known)
        bytes = known - (known - bytes) / 8;
    atomic_store(&board->job_bytes, bytes > 0 ? bytes : 1);
}

void memory_board_forget(struct memory_board *board, unsigned slot)
{
    struct memory_place *place = &board->places[slot];
    atomic_store(&place->taken, 0);
    atomic_store(&place->held_since_ms, 0);
    memory_board_end(board, slot);
}

uint64_t memory_board_held_since_ms(const struct memory_board *board)
{
    uint64_t first_ms = 0;
    for (unsigned i = 0; i < GENERATION_SLOTS_MAX; i++) {
        uint64_t since_ms = atomic_load_explicit(
            &board->places[i].held_since_ms, memory_order_relaxed);
        if (since_ms != 0 && (first_ms == 0 || since_ms < first_ms))
            first_ms = since_ms;
    }
    return first_ms;
}
