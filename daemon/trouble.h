/* SPDX-License-Identifier: Apache-2.0
 *
 * What the master cannot do at the moment because the system refuses it a
 * process, a descriptor, memory or space.  It goes on without, says so once,
 * counts each refusal, tries again, and says once when it works again.
 */
#ifndef TIDEMILL_DAEMON_TROUBLE_H
#define TIDEMILL_DAEMON_TROUBLE_H

#include <stdint.h>

struct error;
struct master;

/* name, what is said when it begins, what when it is over */
#define TROUBLE_LIST(X)                                                        \
    X(SPAWN, "workers cannot be started, trying again",                        \
      "workers can be started again")                                          \
    X(REPLACE, "workers keep the old configuration until they can be replaced", \
      "workers can be replaced again")                                         \
    X(SEND, "workers cannot be told, trying again", "workers can be told again") \
    X(LOG, "the log cannot be opened, going on with the old one",              \
      "the log is open")                                                       \
    X(LOG_HELPER, "the helper for old logs cannot be started, trying again",   \
      "the helper for old logs can be started again")                          \
    X(PIDFILE, "the pidfile cannot be written, trying again",                  \
      "the pidfile is written")                                                \
    X(NOTIFY, "the service manager cannot be told, trying again",              \
      "the service manager can be told again")

enum trouble_kind {
#define X(name, begins, ends) TROUBLE_##name,
    TROUBLE_LIST(X)
#undef X
        TROUBLE_COUNT
};

struct trouble {
    unsigned failures; /* in a row; 0: there is none */
    unsigned retries;  /* of these, here */
    uint64_t retry_ms; /* monotonic; 0: whoever noted it tries again */
};

/* It failed; with a function in the table of trouble.c it is tried again
 * later. */
void trouble_note(struct master *master, enum trouble_kind kind,
                  const struct error *error);

/* It went well. */
void trouble_over(struct master *master, enum trouble_kind kind);

/* When the next one is tried again; UINT64_MAX: none. */
uint64_t trouble_due_ms(const struct master *master);

/* Tries again what is due. */
void trouble_check(struct master *master);

#endif
