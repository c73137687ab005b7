/* SPDX-License-Identifier: Apache-2.0
 *
 * The sizes of the pools: gathers what pool_breath decides by, and carries
 * out what it decides.
 */
#ifndef TIDEMILL_DAEMON_POOLS_H
#define TIDEMILL_DAEMON_POOLS_H

#include <stdint.h>

#include "common/ipc/worker_contract.h"
#include "daemon/pool_breath.h"

struct master;
struct message;
struct slot;

struct pool {
    struct pool_breath breath;
    uint64_t look_ms; /* monotonic: when to look again; 0: at news */
};

/* How many workers of a role are wanted now, within what the configuration
 * allows. */
unsigned pools_size(struct master *master, enum role role);

/* Looks at all pools; cheap, call when it is due or something changed. */
void pools_look(struct master *master);

/* When the next look is due; UINT64_MAX: at news. */
uint64_t pools_due_ms(const struct master *master);

/* Takes a WAITING.  One from a worker that cannot know costs it its life. */
void pools_take_waiting(struct master *master, struct slot *slot,
                        const struct message *message);

#endif
