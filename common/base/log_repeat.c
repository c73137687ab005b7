/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "common/base/log_internal.h"
#include "common/base/text.h"

#define REPEAT_PLACES 64

/* How often one message was written in the current second. */
struct repeat {
    uint64_t hash;
    int64_t second;
    uint32_t count;
    uint32_t left_out;
    enum log_level level;
    char message[sizeof(((struct log_repeated *)0)->message)];
};

static struct {
    struct repeat places[REPEAT_PLACES];
    unsigned waiting; /* places with something left out */
    int64_t second;   /* of the newest of these */
} repeats;

/* Of 8 bytes at a time; unlike text_hash it need not be stable. */
static uint64_t hash_message(enum log_level level, const char *message)
{
    uint64_t hash = 0x9e3779b97f4a7c15u * (uint64_t)(level + 1);
    size_t size = strlen(message);
    for (; size >= sizeof(hash); message += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, message, sizeof(word));
        hash = (hash ^ word) * 0x9fb21c651e98df25u;
        hash ^= hash >> 32;
    }
    uint64_t rest = size;
    memcpy(&rest, message, size);
    hash = (hash ^ rest) * 0x9fb21c651e98df25u;
    hash = (hash ^ hash >> 32) * 0x9fb21c651e98df25u;
    return hash ^ hash >> 32;
}

static void leave_out(struct repeat *repeat, enum log_level level,
                      const char *message)
{
    if (repeat->left_out++ == 0) {
        repeat->level = level;
        snprintf(repeat->message, sizeof(repeat->message), "%s", message);
        repeats.waiting++;
    }
    repeats.second = repeat->second;
    log_count(LOG_COUNT_REPEATED, 1);
}

bool log_repeat_passes(enum log_level level, const char *message,
                       int64_t wall_ms, uint32_t *left_out)
{
    uint64_t hash = hash_message(level, message);
    int64_t second = wall_ms / 1000;
    struct repeat *repeat = &repeats.places[hash % REPEAT_PLACES];
    *left_out = 0;
    if (repeat->hash != hash && repeat->left_out > 0)
        return true; /* its place is taken until that was told */
    if (repeat->hash != hash || repeat->second != second) {
        *left_out = repeat->left_out;
        repeats.waiting -= repeat->left_out > 0;
        repeat->left_out = 0;
        repeat->hash = hash;
        repeat->second = second;
        repeat->count = 0;
    }
    if (repeat->count >= LOG_REPEAT_MAX) {
        leave_out(repeat, level, message);
        return false;
    }
    repeat->count++;
    return true;
}

bool log_repeat_waits(int64_t wall_ms)
{
    int64_t age_s = wall_ms / 1000 - repeats.second;
    return repeats.waiting > 0 && (age_s < 0 || age_s >= 2);
}

bool log_repeat_take(int64_t wall_ms, bool all, struct log_repeated *repeated)
{
    for (unsigned i = 0; repeats.waiting > 0 && i < REPEAT_PLACES; i++) {
        struct repeat *repeat = &repeats.places[i];
        int64_t age_s = wall_ms / 1000 - repeat->second;
        /* a clock set back would keep it for long */
        if (repeat->left_out == 0 || (!all && age_s >= 0 && age_s < 2))
            continue;
        repeated->level = repeat->level;
        repeated->left_out = repeat->left_out;
        memcpy(repeated->message, repeat->message, sizeof(repeat->message));
        repeat->left_out = 0;
        repeats.waiting--;
        return true;
    }
    return false;
}

void log_repeat_forget(void)
{
    memset(&repeats, 0, sizeof(repeats));
}
