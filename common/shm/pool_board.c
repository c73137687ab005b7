/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/pool_board.h"

bool pool_board_wait(struct pool_board *board, uint64_t since_ms)
{
    if (atomic_load(&board->waiting_since_ms) == 0)
        atomic_store(&board->waiting_since_ms, since_ms);
    return atomic_load(&board->watched) != 0;
}

void pool_board_rest(struct pool_board *board)
{
    if (atomic_load(&board->waiting_since_ms) != 0)
        atomic_store(&board->waiting_since_ms, 0);
}

bool pool_board_is_full(const struct pool_board *board,
                        const struct scoreboard *scoreboard, enum role role)
{
    uint32_t size = atomic_load(&board->size);
    for (uint32_t i = 0; i < size; i++) {
        const struct slot_entry *entry =
            &scoreboard->slots[scoreboard_index(role, i)];
        if (atomic_load_explicit(&entry->state, memory_order_acquire) ==
            SLOT_IDLE)
            return false;
    }
    return size > 0;
}

void pool_board_note_full(struct pool_board *board,
                          const struct scoreboard *scoreboard, enum role role,
                          uint64_t now_ms)
{
    if (pool_board_is_full(board, scoreboard, role))
        atomic_store_explicit(&board->full_ms, now_ms, memory_order_relaxed);
}
