/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a group stays open: pure, and tested without a store.
 *
 * Clients that wait for an answer before they ask again fall into two
 * halves, each of which comes while the other's group is being synced: two
 * syncs for what one could carry.  So a group waits for as many connections
 * as the last one answered, since those are about to ask again, but never
 * longer than half of what a commit takes, so that waiting in vain costs
 * less than the sync that it may save; then fewer are expected.  One
 * connection alone never waits.
 */
#ifndef TIDEMILL_WORKERS_STORE_GATHERING_H
#define TIDEMILL_WORKERS_STORE_GATHERING_H

#include <stdbool.h>
#include <stdint.h>

#define GATHERING_NS_MAX 200000

struct gathering {
    unsigned expected; /* connections, in the next group */
    uint64_t commit_ns; /* mean time of a commit, the newest count most */
    uint64_t began_ns;  /* when the group's waiting began; 0: it did not */
};

/* Whether a group of so many connections waits for more. */
bool gathering_waits(struct gathering *gathering, unsigned connections,
                     uint64_t now_ns);

/* A group of so many connections was committed within took_ns. */
void gathering_ended(struct gathering *gathering, unsigned connections,
                     uint64_t took_ns);

#endif
