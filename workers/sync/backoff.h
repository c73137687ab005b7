/* SPDX-License-Identifier: Apache-2.0
 *
 * Delays between attempts, and the chance in them.  Pure.
 */
#ifndef TIDEMILL_SYNC_BACKOFF_H
#define TIDEMILL_SYNC_BACKOFF_H

#include <stdint.h>

/* The next of a row of random numbers (splitmix64, Steele, Lea and Flood
 * 2014).  Not for secrets. */
uint64_t jitter_next(uint64_t *state);

/* The delay after `failures` failures in a row (1 for the first): full
 * jitter over base * 2^(failures - 1), at most max.  "Full" but for a floor
 * of an eighth, so that chance alone never makes a burst of attempts.
 * At least 1. */
int64_t backoff_delay_ms(int64_t base_ms, int64_t max_ms, unsigned failures,
                         uint64_t random);

/* interval +- 5 %, so that hosts that started together drift apart. */
int64_t backoff_spread_ms(int64_t interval_ms, uint64_t random);

#endif
