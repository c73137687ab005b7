/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of master and worker, whole:
 *
 * - The master forks a worker with a struct worker: role, slot, spawn
 *   number, two pipes, the configuration, the shared mapping, listeners.
 * - The worker closes what is not its own, drops rights, sets its signals,
 *   initialises, and sends READY within supervisor.hello_timeout.
 * - It keeps its scoreboard entry true: state, work, deadline, heartbeat.
 * - On DRAIN it finishes within the bound and leaves with EXIT_DRAINED; on
 *   STOP, and on end of file of the pipe down, it leaves at once.
 * - Exit codes are this list; the master reads from it what to do.
 */
#ifndef TIDEMILL_IPC_WORKER_CONTRACT_H
#define TIDEMILL_IPC_WORKER_CONTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The roles: name, whether it has a pool (else one process).  Only the
 * words stand here; what a role does is known to its folder alone. */
#define ROLE_LIST(X)                                                           \
    X(STORE, "store", 0)                                                       \
    X(GATEWAY, "gateway", 0)                                                   \
    X(MONITOR, "monitor", 0)                                                   \
    X(GENERATION, "generation", 1)                                             \
    X(SYNC, "sync", 1)

enum role {
#define X(name, text, pool) ROLE_##name,
    ROLE_LIST(X)
#undef X
        ROLE_COUNT
};

const char *role_name(enum role role);

/* Who writes log lines: the roles, and the master. */
#define COMPONENT_MASTER ROLE_COUNT
#define COMPONENT_COUNT  (ROLE_COUNT + 1)
const char *component_name(unsigned component);

bool role_has_pool(enum role role);

/* Exit codes of a worker: name, value, respawn at once (1), with back-off
 * (2), never (0), words */
#define WORKER_EXIT_LIST(X)                                                    \
    X(DRAINED, 0, 1, "drained and left as asked")                              \
    X(FAILED, 1, 2, "failed")                                                  \
    X(MASTER_GONE, 3, 0, "the master is gone")                                 \
    X(STORE_REFUSED, 4, 2, "the local store cannot be used")                   \
    X(PROTOCOL, 5, 2, "a message from the master was not understood")          \
    X(UNSETTLED, 6, 1, "left what its successor must settle")

enum worker_exit {
#define X(name, value, respawn, words) WORKER_EXIT_##name = value,
    WORKER_EXIT_LIST(X)
#undef X
};

/* Most slots of the two pools; shared memory is laid out for these.  The
 * spare entries are for successors that start while their predecessors
 * still drain: whoever lists processes goes over all SLOTS_MAX entries and
 * takes role and number from each that is in use. */
#define GENERATION_SLOTS_MAX 64
#define SYNC_SLOTS_MAX       16
#define SPARE_SLOTS          4
#define SLOTS_MAX            (3 + GENERATION_SLOTS_MAX + SYNC_SLOTS_MAX + SPARE_SLOTS)

struct config;
struct mapping;

/* What a worker has by inheritance. */
struct worker {
    enum role role;
    unsigned slot;         /* its number within the role's pool, from 0 */
    unsigned board_index;  /* its entry in the scoreboard */
    uint32_t spawn;        /* spawn number, counted over all workers from a
                            * random start: what a worker of an earlier life
                            * of the daemon claimed is told apart */
    int down_fd;           /* reading end, from the master */
    int up_fd;             /* writing end, to the master */
    const struct config *config; /* of its epoch; never changes */
    struct mapping *mapping;
    int store_listener;    /* store.sock; -1 unless the role is STORE */
    int control_listener;  /* control.sock; -1 unless it is GATEWAY */
};

/* A role's entry point: runs until the worker leaves; the result is its
 * exit code. */
typedef enum worker_exit (*worker_main)(const struct worker *worker);

#endif
