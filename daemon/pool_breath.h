/* SPDX-License-Identifier: Apache-2.0
 *
 * How many workers a pool has: pure, tested without processes and clocks.
 *
 * It grows when work has waited for POOL_WAIT_MS: it doubles, and again when
 * all of those have started, so that a burst has all workers within some
 * tens of milliseconds and no more than twice as many are ever started as
 * there are.  It shrinks by one worker when for idle_ms no work waited, at
 * least one of them was idle at all times, and the pool was not changed: so
 * what has just grown stays for a while, and a load that needs all of them
 * now and then keeps them.
 */
#ifndef TIDEMILL_DAEMON_POOL_BREATH_H
#define TIDEMILL_DAEMON_POOL_BREATH_H

#include <stdbool.h>
#include <stdint.h>

#define POOL_WAIT_MS  20u /* more than an idle worker takes to claim work */
#define POOL_PAUSE_MS 10u /* between two growths */

struct pool_bounds {
    unsigned least, most;
    uint64_t idle_ms; /* 0: never shrinks */
};

/* Times are of the monotonic clock. */
struct pool_facts {
    uint64_t now_ms;
    uint64_t waiting_since_ms; /* 0: no work waits */
    uint64_t full_ms;          /* no worker was idle then; 0: never */
    unsigned starting;         /* wanted workers that are not READY */
    unsigned leaving;          /* workers that drain */
    bool held;      /* work waits for something else than workers */
    bool last_idle; /* the worker that would leave has no work */
    bool still; /* the daemon starts, stops, is upgraded, or replaces workers:
                 * only a change of the bounds counts */
};

struct pool_breath {
    unsigned size;       /* workers wanted */
    uint64_t changed_ms; /* when that changed last */
};

/* Sets the size anew, by one step at most.  Returns when to look again, 0
 * when only news can change it. */
uint64_t pool_breathe(struct pool_breath *breath,
                      const struct pool_bounds *bounds,
                      const struct pool_facts *facts);

/* Only keeps the size within the bounds. */
void pool_breath_bound(struct pool_breath *breath,
                       const struct pool_bounds *bounds, uint64_t now_ms);

#endif
