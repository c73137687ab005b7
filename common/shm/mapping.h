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
#include "common/shm/daemon_board.h"
#include "common/shm/metrics.h"
#include "common/shm/scoreboard.h"
#include "common/shm/sync_board.h"

#define MAPPING_MAGIC   0x6c6c696d65646974u /* "tidemill" */
#define MAPPING_VERSION 1u

struct mapping {
    uint64_t magic;
    uint32_t version;
    uint32_t slot_count; /* SLOTS_MAX of the binary that made it */
    uint64_t size_bytes;
    struct log_board log;
    struct daemon_board daemon;
    struct sync_board sync;
    struct budget budget;
    struct scoreboard scoreboard;
    struct metrics metrics;
};

/* Makes the mapping, all zero but for its head. */
struct mapping *mapping_new(struct error *error);
void mapping_free(struct mapping **mapping);

#endif
