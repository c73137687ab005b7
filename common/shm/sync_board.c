/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/sync_board.h"

#include <string.h>

/* A writer that was killed in the middle leaves the number odd until its
 * successor writes; a reader gives up waiting after this many looks. */
#define READ_ATTEMPTS 1000

static const char *const trigger_names[TRIGGER_COUNT] = {
#define X(name, text) text,
    TRIGGER_LIST(X)
#undef X
};

static const char *const link_state_names[LINK_STATE_COUNT] = {
#define X(name, text) text,
    LINK_STATE_LIST(X)
#undef X
};

static const char *const band_names[BAND_COUNT] = {
#define X(name, text) text,
    SYNC_BAND_LIST(X)
#undef X
};

const char *sync_band_name(enum sync_band band)
{
    return (unsigned)band < BAND_COUNT ? band_names[band] : "?";
}

const char *trigger_name(enum trigger trigger)
{
    return (unsigned)trigger < TRIGGER_COUNT ? trigger_names[trigger] : "?";
}

const char *link_state_name(enum link_state state)
{
    return (unsigned)state < LINK_STATE_COUNT ? link_state_names[state] : "?";
}

void sync_view_set_error(struct sync_view *view, const char *text)
{
    uint32_t odd = atomic_load(&view->error_sequence) | 1u;
    atomic_store(&view->error_sequence, odd);
    atomic_thread_fence(memory_order_seq_cst);
    size_t size = strnlen(text, SYNC_ERROR_TEXT_MAX - 1);
    memcpy(view->last_error, text, size);
    memset(view->last_error + size, 0, SYNC_ERROR_TEXT_MAX - size);
    atomic_thread_fence(memory_order_seq_cst);
    atomic_store(&view->error_sequence, odd + 1);
}

void sync_view_get_error(struct sync_view *view, char *text, size_t room)
{
    size_t size = room < SYNC_ERROR_TEXT_MAX ? room : SYNC_ERROR_TEXT_MAX;
    if (size == 0)
        return;
    for (unsigned i = 0; i < READ_ATTEMPTS; i++) {
        uint32_t before = atomic_load(&view->error_sequence);
        atomic_thread_fence(memory_order_seq_cst);
        memcpy(text, view->last_error, size);
        atomic_thread_fence(memory_order_seq_cst);
        if (before % 2 == 0 && atomic_load(&view->error_sequence) == before)
            break;
    }
    text[size - 1] = '\0';
}

struct sync_view *sync_board_leader(struct sync_board *board)
{
    struct sync_view *best = &board->views[0];
    for (unsigned i = 1; i < SYNC_SLOTS_MAX; i++) {
        struct sync_view *view = &board->views[i];
        if (atomic_load(&best->state) == LINK_UNKNOWN &&
            atomic_load(&view->state) != LINK_UNKNOWN)
            best = view;
    }
    return best;
}

const char *sync_board_state(struct sync_board *board, uint64_t now_ms)
{
    if (atomic_load(&board->enabled) == 0)
        return "disabled";
    if (atomic_load(&board->paused) != 0)
        return "paused";
    if (atomic_load(&board->cut_until_ms) > now_ms)
        return "cut";
    return link_state_name(
        (enum link_state)atomic_load(&sync_board_leader(board)->state));
}

void sync_board_set_asker(struct sync_board *board, uint64_t ticket,
                          const char *correlation)
{
    struct sync_asker *asker = &board->askers[ticket % SYNC_ASKERS];
    atomic_store(&asker->ticket, 0);
    atomic_thread_fence(memory_order_seq_cst);
    size_t size = strnlen(correlation, LOG_CORRELATION_MAX);
    memcpy(asker->correlation, correlation, size);
    asker->correlation[size] = '\0';
    atomic_store(&asker->ticket, ticket);
}

void sync_board_get_asker(struct sync_board *board, uint64_t ticket,
                          char correlation[LOG_CORRELATION_MAX + 1])
{
    struct sync_asker *asker = &board->askers[ticket % SYNC_ASKERS];
    bool known = ticket != 0 && atomic_load(&asker->ticket) == ticket;
    memcpy(correlation, asker->correlation, LOG_CORRELATION_MAX + 1);
    atomic_thread_fence(memory_order_seq_cst);
    correlation[LOG_CORRELATION_MAX] = '\0';
    if (!known || atomic_load(&asker->ticket) != ticket)
        correlation[0] = '\0';
}
