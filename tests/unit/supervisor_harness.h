/* SPDX-License-Identifier: Apache-2.0
 *
 * A real master with roles of the test's own, which behave as the test says.
 */
#ifndef TIDEMILL_TESTS_SUPERVISOR_HARNESS_H
#define TIDEMILL_TESTS_SUPERVISOR_HARNESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/shm/mapping.h"

enum behaviour {
    CALM,           /* READY, then waits */
    CRASHES,        /* dies before READY */
    REFUSES,        /* says FAILED, leaves with STORE_REFUSED */
    MUTE,           /* never says READY */
    SPINS,          /* READY, then a busy loop */
    WORKS_QUICKLY,  /* READY, then 20,000 pieces of work */
    WORKS_FOR_EVER, /* READY, busy with a deadline that passes */
    WRITES_GARBAGE, /* READY, then bytes that are no message */
    FLOODS,         /* READY, then valid messages without end */
    KEEPS_ON,       /* does not leave on DRAIN */
    SLEEPS,         /* READY, then in the kernel, deaf to TERM */
    STAYS_MUTE,     /* never says READY, deaf to TERM */
    READS_NOTHING,  /* READY, a heartbeat, and never a look at the pipe */
    FORKS,          /* READY, and its child floods the pipe */
    FALSE_REQUEST,  /* asks for what only the gateway may */
    ASKS_RELOAD,    /* the gateway's: asks once for a reload */
};

/* Shared by the test, the master and its workers. */
struct plan {
    _Atomic int behaviour[ROLE_COUNT];
    _Atomic unsigned messages[ROLE_COUNT]; /* that hooks have seen */
    _Atomic uint64_t last_ticket;
    /* what the next reload finds */
    _Atomic bool reload_bad;
    _Atomic unsigned reload_cost;
    _Atomic unsigned generation_workers;
    _Atomic unsigned asked;
};

struct supervisor {
    char folder[64];
    struct mapping *mapping;
    struct plan *plan;
    pid_t pid; /* the master; 0: none */
};

/* Makes a folder, a mapping, a plan of calm roles. */
void supervisor_init(struct supervisor *supervisor);
void supervisor_deinit(struct supervisor *supervisor);

/* Forks the master; wait_ready waits until all workers are idle. */
void supervisor_start(struct supervisor *supervisor);
void supervisor_wait_ready(struct supervisor *supervisor);

/* Waits for the master's end; its exit status, -1 when a signal ended it. */
int supervisor_wait_end(struct supervisor *supervisor, unsigned most_ms);

struct slot_entry *supervisor_entry(struct supervisor *supervisor,
                                    enum role role, unsigned number);

/* Waits until an expression is true, at most a minute. */
#define wait_until(condition)                                                  \
    do {                                                                       \
        uint64_t end_ms_ = clock_monotonic_ms() + 60000;                       \
        while (!(condition)) {                                                 \
            if (clock_monotonic_ms() > end_ms_)                                \
                fail_msg("timed out: %s", #condition);                         \
            usleep(200);                                                       \
        }                                                                      \
    } while (0)

#endif
