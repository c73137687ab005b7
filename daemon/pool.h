/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy of the pools: pure functions of what they are given.  They make no
 * system call and call nothing of the master.
 */
#ifndef TIDEMILL_DAEMON_POOL_H
#define TIDEMILL_DAEMON_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ipc/worker_contract.h"
#include "common/shm/scoreboard.h"
#include "daemon/pool_breath.h"

struct config;

/* How many workers of a role this configuration wants. */
void pool_bounds(const struct config *config, enum role role,
                 struct pool_bounds *bounds);

/* The delay before the next fork after this many crashes in a row:
 * 0, 100, 200, 400 ... 10000 ms. */
uint64_t pool_backoff_ms(unsigned crashes);

/* A worker that was ready for so long, or finished a piece of work, starts
 * the row of crashes anew. */
#define POOL_STABLE_MS 1000u

struct ending {
    enum death death;
    unsigned detail;    /* exit code or signal */
    bool asked;         /* it was told to leave */
    uint64_t finished;  /* pieces of work */
    uint64_t ready_ms;  /* how long it had been ready; 0: never was */
};

/* Does this end count as a crash? */
bool pool_is_crash(const struct ending *ending);

/* The number of crashes in a row after this end. */
unsigned pool_crashes_after(unsigned crashes, const struct ending *ending);

/* The crashes of a role, the latest CRASHES_KEPT. */
#define CRASHES_KEPT 1000u

struct crash_record {
    unsigned count; /* of at_ms, CRASHES_KEPT at most */
    unsigned next;
    uint64_t at_ms[CRASHES_KEPT];
};

void pool_note_crash(struct crash_record *record, uint64_t now_ms);

/* When a role stops being degraded: the time at which fewer than `limit`
 * crashes lie within `window_ms`; 0 when it is not degraded now. */
uint64_t pool_degraded_until_ms(const struct crash_record *record,
                                unsigned limit, uint64_t window_ms,
                                uint64_t now_ms);

#endif
