/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/band.h"

static const struct {
    int64_t enter_percent, leave_percent;
    int64_t multiply, divide; /* the interval */
} bands[BAND_COUNT] = {
    [BAND_CALM] = {0, 0, 2, 1},
    [BAND_NORMAL] = {0, 0, 1, 1},
    [BAND_RAISED] = {50, 30, 1, 2},
    [BAND_HIGH] = {100, 70, 1, 4},
};

enum sync_band band_next(enum sync_band now, int64_t claimable,
                         int64_t threshold)
{
    if (claimable <= 0)
        return BAND_CALM;
    int64_t percent =
        claimable >= threshold ? 100 : claimable * 100 / threshold;
    enum sync_band reached = BAND_NORMAL;
    while (reached + 1 < BAND_COUNT &&
           percent >= bands[reached + 1].enter_percent)
        reached++;
    while (now > reached && percent < bands[now].leave_percent)
        now--;
    return now > reached ? now : reached;
}

int64_t band_interval_ms(enum sync_band band, int64_t interval_ms)
{
    int64_t scaled = interval_ms * bands[band].multiply / bands[band].divide;
    return scaled > 0 ? scaled : 1;
}
