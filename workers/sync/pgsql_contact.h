/* SPDX-License-Identifier: Apache-2.0
 *
 * First contact with the centre, and the beginning of an epoch where it is
 * found that the store went back in time.
 */
#ifndef TIDEMILL_SYNC_PGSQL_CONTACT_H
#define TIDEMILL_SYNC_PGSQL_CONTACT_H

#include "common/base/arena.h"
#include "common/postgres/connection.h"
#include "workers/sync/sink.h"

/* SQLSTATE of tidemill.admit_batch for a store whose epoch is over. */
#define PGSQL_EPOCH_OVER "TM001"

/* behind: nothing may be applied, for the reason in answer->error. */
typedef void (*pgsql_contact_done)(void *self, const struct pg_answer *answer,
                                   bool behind);

struct pgsql_contact {
    struct pg_connection *connection;
    const char *system_id;
    const struct sink_watch *watch; /* NULL: nothing is compared */
    struct sink_store store;
    struct error reason; /* that an epoch begins */
    uint64_t numbers[3]; /* of the query, in network order */
    struct arena *arena; /* for the history */
    pgsql_contact_done done;
    void *self;
};

/* On an open connection whose schema was checked; done may be called from
 * within. */
void pgsql_contact_make(struct pgsql_contact *contact, pgsql_contact_done done,
                        void *self);

#endif
