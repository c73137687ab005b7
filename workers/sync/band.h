/* SPDX-License-Identifier: Apache-2.0
 *
 * Bands of backlog pressure: how far what pends has come on its way to the
 * threshold shortens or stretches the interval of periodic passes.  A band
 * is left downwards at a lower mark than it is entered at, so that nothing
 * goes to and fro at one limit.  Pure; only for sync.mode adaptive.
 *
 *   band     entered at   left below   interval
 *   calm     -            -            twice as long (nothing pends)
 *   normal   1 pending    1 pending    as configured
 *   raised   50 %         30 %         half
 *   high     100 %        70 %         a quarter
 *
 * A pass starts at 100 % anyway; high is what a backlog comes to that may
 * not go yet: a line that is down, or a pool near capacity.
 */
#ifndef TIDEMILL_SYNC_BAND_H
#define TIDEMILL_SYNC_BAND_H

#include <stdint.h>

#include "common/shm/sync_board.h"

/* The band after `now`, with so many claimable operations of so many that
 * start a pass (at least 1). */
enum sync_band band_next(enum sync_band now, int64_t claimable,
                         int64_t threshold);

/* The interval in this band, of the one that is configured; at least 1. */
int64_t band_interval_ms(enum sync_band band, int64_t interval_ms);

#endif
