/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pace.h"

void pace_init(struct pace *pace, int64_t min, int64_t max, bool follows)
{
    *pace = (struct pace){.size = follows ? min : max,
                          .min = min,
                          .max = max,
                          .follows = follows};
}

void pace_drain(struct pace *pace)
{
    if (!pace->steady && pace->size < pace->max / 2)
        pace->size = pace->max / 2;
}

static void slow_down(struct pace *pace)
{
    if (!pace->follows)
        return;
    pace->steady = true;
    pace->size /= 2;
    if (pace->size < pace->min)
        pace->size = pace->min;
}

void pace_applied(struct pace *pace, int64_t operations, int64_t took_ms)
{
    if (took_ms > PACE_TARGET_MS) {
        /* A small one that was slow says nothing of the size. */
        if (operations >= pace->size / 2)
            slow_down(pace);
        return;
    }
    /* One that was not full says nothing of larger ones. */
    if (!pace->follows || operations < pace->size - pace->size / 4)
        return;
    pace->size += pace->steady ? pace->min : pace->size;
    if (pace->size > pace->max)
        pace->size = pace->max;
}

void pace_failed(struct pace *pace)
{
    slow_down(pace);
}
