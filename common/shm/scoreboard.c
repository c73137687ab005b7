/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/scoreboard.h"

#include <stdio.h>
#include <string.h>

#define DEATH_WORDS_SIZE 64

const char *slot_state_name(enum slot_state state)
{
    static const char *const names[SLOT_STATE_COUNT] = {
#define X(name, text) [SLOT_##name] = text,
        SLOT_STATE_LIST(X)
#undef X
    };
    return (unsigned)state < SLOT_STATE_COUNT ? names[state] : "unknown";
}

char *death_words(enum death death, unsigned detail, char *text)
{
    static const char *const words[DEATH_COUNT] = {
#define X(name, format) [DEATH_##name] = format,
        DEATH_LIST(X)
#undef X
    };
    const char *format =
        (unsigned)death < DEATH_COUNT ? words[death] : "unknown";
    const char *place = strstr(format, "%u");
    if (place == NULL)
        snprintf(text, DEATH_WORDS_SIZE, "%s", format);
    else
        snprintf(text, DEATH_WORDS_SIZE, "%.*s%u%s", (int)(place - format),
                 format, detail, place + 2);
    return text;
}

unsigned scoreboard_index(enum role role, unsigned slot)
{
    switch (role) {
    case ROLE_GENERATION:
        return 3 + slot;
    case ROLE_SYNC:
        return 3 + GENERATION_SLOTS_MAX + slot;
    case ROLE_STORE:
    case ROLE_GATEWAY:
    case ROLE_MONITOR:
    case ROLE_COUNT:
    default:
        return (unsigned)role;
    }
}

unsigned scoreboard_pool_size(const struct scoreboard *board, enum role role,
                              unsigned most)
{
    unsigned size = most;
    while (size > 1) {
        const struct slot_entry *entry =
            &board->slots[scoreboard_index(role, size - 1)];
        if (atomic_load(&entry->in_use) != 0 ||
            atomic_load(&entry->state) != SLOT_EMPTY)
            break;
        size--;
    }
    return size;
}

struct slot_entry *scoreboard_find(struct scoreboard *board, pid_t pid)
{
    if (pid <= 0)
        return NULL;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (atomic_load_explicit(&board->slots[i].pid, memory_order_relaxed) ==
            pid)
            return &board->slots[i];
    return NULL;
}
