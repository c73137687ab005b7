/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/record_filter.h"

#include <string.h>

/* The finalizer of MurmurHash3 (public domain, Austin Appleby): FNV-1a's
 * low bits depend on too few of the input's. */
static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}

/* The slot that holds the fingerprint, or the free one where it belongs. */
static unsigned find_slot(const struct record_filter *filter, uint64_t hash,
                          uint16_t *fingerprint)
{
    uint64_t mixed = mix(hash);
    unsigned slot = (unsigned)(mixed % RECORD_FILTER_SLOTS);
    uint16_t wanted = (uint16_t)(mixed >> 48);
    if (wanted == 0)
        wanted = 1;
    *fingerprint = wanted;
    for (unsigned i = 0; i < RECORD_FILTER_SLOTS; i++) {
        uint16_t found = filter->slots[slot];
        if (found == 0 || found == wanted)
            return slot;
        slot = (slot + 1) % RECORD_FILTER_SLOTS;
    }
    return slot;
}

void record_filter_clear(struct record_filter *filter)
{
    memset(filter, 0, sizeof(*filter));
}

void record_filter_add(struct record_filter *filter, uint64_t hash)
{
    uint16_t fingerprint;
    unsigned slot = find_slot(filter, hash, &fingerprint);
    filter->slots[slot] = fingerprint;
}

bool record_filter_may_have(const struct record_filter *filter, uint64_t hash)
{
    uint16_t fingerprint;
    unsigned slot = find_slot(filter, hash, &fingerprint);
    return filter->slots[slot] == fingerprint;
}
