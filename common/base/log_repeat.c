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

#define HASH_FACTOR 0x9fb21c651e98df25u

/* Of 8 bytes at a time; unlike text_hash it need not be stable. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    size_t size = strlen(text);
    for (; size >= sizeof(hash); text += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, text, sizeof(word));
        hash = (hash ^ word) * HASH_FACTOR;
        hash ^= hash >> 32;
    }
    uint64_t rest = size << 56;
    memcpy(&rest, text, size);
    hash = (hash ^ rest) * HASH_FACTOR;
    return hash ^ hash >> 32;
}

/* Lines are equal when their texts are: numbers differ in every storm. */
static uint64_t hash_entry(const struct log_entry *entry)
{
    uint64_t hash = hash_text((uint64_t)entry->level + 1, entry->message);
    for (unsigned i = 0; i < entry->field_count; i++) {
        const struct log_field *field = &entry->fields[i];
        if (field->type == LOG_FIELD_TEXT && field->value.text != NULL)
            hash = hash_text(hash, field->value.text);
    }
    hash *= HASH_FACTOR;
    return hash ^ hash >> 32;
}

static void leave_out(struct repeat *repeat, const struct log_entry *entry)
{
    if (repeat->left_out++ == 0) {
        repeat->level = entry->level;
        snprintf(repeat->message, sizeof(repeat->message), "%s",
                 entry->message);
        repeats.waiting++;
    }
    repeats.second = repeat->second;
    log_count(LOG_COUNT_REPEATED, 1);
}

bool log_repeat_passes(struct log_entry *entry)
{
    uint64_t hash = hash_entry(entry);
    int64_t second = entry->wall_ms / 1000;
    struct repeat *repeat = &repeats.places[hash % REPEAT_PLACES];
    if (repeat->hash != hash && repeat->left_out > 0)
        return true; /* its place is taken until that was told */
    if (repeat->hash != hash || repeat->second != second) {
        entry->left_out = repeat->left_out;
        repeats.waiting -= repeat->left_out > 0;
        repeat->left_out = 0;
        repeat->hash = hash;
        repeat->second = second;
        repeat->count = 0;
    }
    if (repeat->count >= LOG_REPEAT_MAX) {
        leave_out(repeat, entry);
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
