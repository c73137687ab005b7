/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's life: one enum of states (enum slot_state, in the scoreboard),
 * one of events, one table of what an event does in a state.
 */
#ifndef TIDEMILL_DAEMON_SLOTS_H
#define TIDEMILL_DAEMON_SLOTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/ipc/messages.h"
#include "common/shm/scoreboard.h"

struct error;
struct event;
struct master;

#define SLOT_EVENT_LIST(X)                                                     \
    X(START, "a worker is wanted now")                                         \
    X(READY, "the worker said READY")                                          \
    X(BUSY, "the worker said BUSY")                                            \
    X(IDLE, "the worker said IDLE")                                            \
    X(DRAIN, "the worker shall finish and leave")                              \
    X(DEADLINE, "the deadline of the state has passed")                        \
    X(CONDEMN, "the worker shall die at once; slot.death says why")            \
    X(GONE, "the worker was reaped; slot.wait_status is set")

enum slot_event {
#define X(name, words) SLOT_EVENT_##name,
    SLOT_EVENT_LIST(X)
#undef X
        SLOT_EVENT_COUNT
};

#define UP_BYTES_MAX 4096

/* One entry of the table of slots; its index is that of its scoreboard
 * entry.  Spare slots take role and number from the slot they succeed. */
struct slot {
    struct master *master; /* for the events of its pipes */
    unsigned index;
    enum role role;
    unsigned number;
    enum slot_state state;
    bool wanted;              /* to be filled again when its worker ends */
    bool was_ready;           /* a worker in it has said READY */
    bool retiring;            /* drains because the pool shrinks */
    bool outdated;            /* replaced as soon as it is READY: a reload
                               * came while it was starting */
    struct slot *predecessor; /* drains when this one is READY */
    uint64_t deadline_ms;     /* of the state; 0: none */
    unsigned crashes;         /* in a row */
    unsigned fork_failures;   /* in a row */

    /* of the worker in it */
    pid_t pid; /* 0: none */
    uint32_t spawn;
    uint64_t ready_ms; /* monotonic; 0: not yet */
    enum death death;  /* why the master kills it; DEATH_NONE: it does not */
    int wait_status;   /* for SLOT_EVENT_GONE */
    int down_fd;       /* writing end; -1: closed */
    int up_fd;         /* reading end; -1: closed */
    struct event *up_event;
    struct event *down_event; /* waits for room in a full pipe */
    uint32_t pending;         /* bit 1 << kind of messages that wait */
    uint64_t pending_numbers[MESSAGE_KIND_COUNT];
    uint64_t down_bytes;      /* written so far */
    uint64_t heard_bytes;     /* of these it must have read ... */
    uint64_t heard_due_ms;    /* ... by then; 0: it had read all */
    uint64_t message_second; /* for the limit of messages a second */
    unsigned message_count;
    size_t up_size;
    unsigned char *up_bytes; /* UP_BYTES_MAX while it has a worker */
};

/* Numbers the slots and gives each its role. */
void slots_init(struct master *master);

/* The table. */
void slot_event(struct master *master, struct slot *slot,
                enum slot_event event);

/* Sets the state, in the scoreboard too, and logs old -> new. */
void slot_change_state(struct master *master, struct slot *slot,
                       enum slot_state state);

bool slot_has_worker(const struct slot *slot);

struct slot_entry *slot_entry(struct master *master, const struct slot *slot);

/* "generation[1]", "store": in text (32 bytes). */
char *slot_name(const struct slot *slot, char *text);
#define SLOT_NAME_SIZE 32

/* The slot of a role that is wanted under this number; NULL: none. */
struct slot *slots_find_wanted(struct master *master, enum role role,
                               unsigned number);

/* An empty slot for a successor; NULL when all are taken. */
struct slot *slots_find_spare(struct master *master, enum role role,
                              unsigned number);

/* Makes the slots as the configuration wants them: starts what is missing,
 * drains what is too many. */
void slots_fit_pools(struct master *master);

/* Replaces all workers of the roles (bits 1 << enum role) by ones with the
 * present configuration, each role by its handover. */
void slots_replace(struct master *master, unsigned roles);

/* Replaces those that slots_replace left alone because there could have been
 * no successor; -1: once more, later. */
int slots_replace_again(struct master *master, struct error *error);

/* Replaced or too many: the worker shall die at once because of `death`. */
void slot_condemn(struct master *master, struct slot *slot, enum death death);

#endif
