/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/text.h"

#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 sequence at s, or 0 when it is malformed. */
static size_t sequence_length(const unsigned char *s, size_t left)
{
    unsigned char c = s[0];
    if (c < 0x80)
        return 1;
    size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || left < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) ||
        (c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f))
        return 0;
    return length;
}

bool text_is_utf8(const char *text, size_t size)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < size) {
        uint64_t word;
        if (size - i >= sizeof(word)) {
            memcpy(&word, s + i, sizeof(word));
            if ((word & 0x8080808080808080u) == 0) {
                i += sizeof(word);
                continue;
            }
        }
        size_t length = sequence_length(s + i, size - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

#define NEAREST_TEXT_MAX 64

/* Levenshtein distance of two short texts. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NEAREST_TEXT_MAX + 1];
    size_t m = strlen(a);
    size_t n = strlen(b);
    if (m > NEAREST_TEXT_MAX || n > NEAREST_TEXT_MAX)
        return NEAREST_TEXT_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

const char *text_nearest(const char *text, const char *const *candidates)
{
    const char *best = NULL;
    size_t best_distance = strlen(text) / 3 + 2;
    for (; *candidates != NULL; candidates++) {
        size_t distance = edit_distance(text, *candidates);
        if (distance < best_distance) {
            best_distance = distance;
            best = *candidates;
        }
    }
    return best;
}

uint64_t text_hash(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *s = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ s[i]) * 0x100000001b3u;
    return hash;
}

char *text_bytes(uint64_t bytes, char *buffer)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1000 && unit < 4) {
        value /= 1000;
        unit++;
    }
    snprintf(buffer, 24, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s",
             value, units[unit]);
    return buffer;
}
