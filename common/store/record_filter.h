/* SPDX-License-Identifier: Apache-2.0
 *
 * A set of records that may answer "perhaps" for one that it does not hold,
 * never "no" for one that it does: 16-bit fingerprints of the records' 64-bit
 * hashes in an open-addressed table.  A record that is added again takes no
 * more room.  Pure: no clock, no file, no allocation.
 */
#ifndef TIDEMILL_STORE_RECORD_FILTER_H
#define TIDEMILL_STORE_RECORD_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#define RECORD_FILTER_SLOTS   8192
#define RECORD_FILTER_RECORDS 4096 /* add no more operations than these */

/* Stored as it is (the machine's byte order: a store does not travel). */
struct record_filter {
    uint16_t slots[RECORD_FILTER_SLOTS]; /* 0: free */
};

void record_filter_clear(struct record_filter *filter);

/* At most RECORD_FILTER_RECORDS calls, so that half of the slots stay free.
 * hash is an FNV-1a sum: its bits are mixed again here. */
void record_filter_add(struct record_filter *filter, uint64_t hash);

/* False means: was not added.  About 3 of 100,000 others answer true in a
 * full filter. */
bool record_filter_may_have(const struct record_filter *filter, uint64_t hash);

#endif
