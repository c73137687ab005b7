/* SPDX-License-Identifier: Apache-2.0
 *
 * What the master knows of each role: one row.
 */
#ifndef TIDEMILL_DAEMON_ROLES_H
#define TIDEMILL_DAEMON_ROLES_H

#include <stdbool.h>

#include "common/ipc/worker_contract.h"

/* How a worker is replaced when its configuration changed. */
enum handover {
    /* The successor starts, says READY, then the old one drains: for roles
     * of which two may serve side by side. */
    HANDOVER_SUCCESSOR_FIRST,
    /* The old one drains, then its successor starts: for the store, which
     * is alone, and for pools, whose claims belong to a slot. */
    HANDOVER_LEAVE_FIRST,
};

struct role_row {
    worker_main main;
    enum handover handover;
    unsigned stop_rank; /* at a stop, lower ranks leave first */
    bool has_store_listener;
    bool has_control_listener;
};

#define STOP_RANK_LAST 1u

/* The table of the daemon, indexed by enum role. */
extern const struct role_row master_roles[ROLE_COUNT];

#endif
