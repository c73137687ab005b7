/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/daemon_board.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#define READ_ATTEMPTS 1000

static void copy_text(char *to, const char *from)
{
    size_t size = strnlen(from, DAEMON_TEXT_MAX - 1);
    memcpy(to, from, size);
    memset(to + size, 0, DAEMON_TEXT_MAX - size);
}

static void begin_texts(struct daemon_board *board)
{
    atomic_fetch_add_explicit(&board->text_sequence, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

static void end_texts(struct daemon_board *board)
{
    atomic_fetch_add_explicit(&board->text_sequence, 1, memory_order_release);
}

void daemon_board_set_texts(struct daemon_board *board, const char *errors,
                            const char *pending_restart)
{
    begin_texts(board);
    copy_text(board->reload_errors, errors);
    copy_text(board->pending_restart, pending_restart);
    end_texts(board);
}

void daemon_board_set_upgrade_error(struct daemon_board *board,
                                    const char *error)
{
    begin_texts(board);
    copy_text(board->upgrade_error, error);
    end_texts(board);
}

const char *upgrade_phase_name(enum upgrade_phase phase)
{
    static const char *const words[] = {
#define X(name, words) words,
        UPGRADE_PHASE_LIST(X)
#undef X
    };
    return words[phase < UPGRADE_PHASE_COUNT ? phase : UPGRADE_PHASE_NONE];
}

void daemon_board_get_text(struct daemon_board *board, const char *field,
                           char *text, size_t room)
{
    if (room == 0)
        return;
    size_t most = room < DAEMON_TEXT_MAX ? room : DAEMON_TEXT_MAX;
    /* bounded: a master that died while writing leaves it odd for ever */
    for (int i = 0; i < READ_ATTEMPTS; i++) {
        uint32_t before =
            atomic_load_explicit(&board->text_sequence, memory_order_acquire);
        memcpy(text, field, most);
        text[most - 1] = '\0';
        atomic_thread_fence(memory_order_seq_cst);
        uint32_t after =
            atomic_load_explicit(&board->text_sequence, memory_order_relaxed);
        if (before == after && before % 2 == 0)
            return;
        sched_yield();
    }
}

void daemon_board_set_groups(struct daemon_board *board, const char *path,
                             const char *why)
{
    snprintf(board->command_group, sizeof(board->command_group), "%s", path);
    snprintf(board->command_group_why, sizeof(board->command_group_why), "%s",
             why);
}
