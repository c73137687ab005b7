/* SPDX-License-Identifier: Apache-2.0
 *
 * How large a batch may be, from how long the last ones took at the centre
 * (without the line and what was before them): it begins at
 * sync.batch.min, doubles with each full batch that was quick until one was
 * not, then grows by sync.batch.min and is halved when one takes longer than
 * PACE_TARGET_MS or fails (additive increase, multiplicative decrease;
 * Chiu and Jain 1989).  A batch holds its lanes for that long, so this is
 * also what an urgent operation may have to wait for.  Pure.
 *
 * In other modes than adaptive it is sync.batch.max at once.
 */
#ifndef TIDEMILL_SYNC_PACE_H
#define TIDEMILL_SYNC_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_TARGET_MS 250

struct pace {
    int64_t size; /* operations */
    int64_t min, max;
    bool follows; /* mode adaptive */
    bool steady;  /* one was slow already: no doubling any more */
};

void pace_init(struct pace *pace, int64_t min, int64_t max, bool follows);

/* A drain begins: at half the most, as long as none was slow, for on a far
 * line each doubling costs a round trip. */
void pace_drain(struct pace *pace);

/* A batch of so many operations took so long at the sink. */
void pace_applied(struct pace *pace, int64_t operations, int64_t took_ms);

/* One failed, or timed out. */
void pace_failed(struct pace *pace);

#endif
