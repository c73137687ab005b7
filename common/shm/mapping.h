/* SPDX-License-Identifier: Apache-2.0
 *
 * The one shared mapping, made by the master before its first fork and
 * inherited by every process.  This header describes all that is in it, in
 * order; sizes and a version stand at its start.
 */
#ifndef TIDEMILL_SHM_MAPPING_H
#define TIDEMILL_SHM_MAPPING_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/shm/budget.h"
#include "common/shm/cache.h"
#include "common/shm/daemon_board.h"
#include "common/shm/memory_board.h"
#include "common/shm/metrics.h"
#include "common/shm/pool_board.h"
#include "common/shm/scoreboard.h"
#include "common/shm/sync_board.h"

#define MAPPING_MAGIC   0x6c6c696d65646974u /* "tidemill" */
#define MAPPING_VERSION 1u

/* Room of the template cache; what it may hold is less (cache_limit), and
 * what it never held is no memory.  Where the system promises no memory that
 * it does not have, there may be less room. */
#define MAPPING_TEMPLATES       10000u
#define MAPPING_TEMPLATES_ROOM  (256u << 20)
#define MAPPING_TEMPLATES_LEAST (1u << 20)

struct mapping {
    uint64_t magic;
    uint32_t version;
    uint32_t slot_count; /* SLOTS_MAX of the binary that made it */
    uint64_t size_bytes;
    uint64_t templates_at; /* a struct cache_region, behind all others */
    struct log_board log;
    struct daemon_board daemon;
    struct sync_board sync;
    struct pool_board pools[ROLE_COUNT]; /* of those that have one */
    struct budget budget;
    struct memory_board memory;
    struct scoreboard scoreboard;
    struct metrics metrics;
};

/* Makes the mapping, all zero but for its head. */
struct mapping *mapping_new(struct error *error);
void mapping_free(struct mapping **mapping);

/* Compiled templates. */
struct cache_region *mapping_templates(struct mapping *mapping);

/* Sets the gauges of what lies in the mapping itself.  Who reads metrics asks
 * for it before; they stand in the master's place, which nobody else sets. */
void mapping_measure(struct mapping *mapping);

#endif
