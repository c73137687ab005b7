/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks at every part of a cache in shared memory: nothing may be lost, be
 * in two places, or be counted wrongly.
 */
#ifndef TIDEMILL_TESTS_CACHE_CHECK_H
#define TIDEMILL_TESTS_CACHE_CHECK_H

#include "common/shm/cache_layout.h"

/* A region of its own in shared memory; exits without memory. */
struct cache_region *cache_region_make(const struct cache_shape *shape);
void cache_region_unmake(struct cache_region **region);

/* Says what is wrong and aborts; takes each lock, which mends what the dead
 * left. */
void cache_check(struct cache *cache);

/* Entries that are alive or retired; what nobody holds is swept before. */
unsigned cache_check_held(struct cache *cache);

#endif
