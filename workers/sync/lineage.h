/* SPDX-License-Identifier: Apache-2.0
 *
 * Which store this is, and whether the centre knows more of it than it does
 * itself: then it went back in time, and a new epoch begins.  The whole
 * argument stands in ARCHITECTURE.md, "A store that went back in time".
 *
 * Looked at on every first contact (struct sink_watch).  The first worker
 * begins the epoch: the centre ends the earlier ones and tells what it has,
 * the store settles that (EPOCH_BEGIN), and it leaves, as does every worker
 * whose batch the centre refuses for that: their successors take up what is
 * in flight under the new epoch.
 */
#ifndef TIDEMILL_SYNC_LINEAGE_H
#define TIDEMILL_SYNC_LINEAGE_H

#include "common/ipc/worker_contract.h"
#include "common/store/client.h"
#include "common/store/reader.h"
#include "workers/sync/sink.h"

struct worker_loop;

/* Another store that was at the centre within this time lives. */
#define LINEAGE_ALIVE_MS (10 * 60 * 1000)

struct lineage {
    const struct worker *worker;
    struct worker_loop *loop;
    struct store_link *link;
    int64_t host;
    struct store_identity identity; /* read before the centre was asked */
    int64_t begins;                 /* the epoch under way; 0: none */
    bool told_behind;               /* the centre's loss, once a worker */
    struct sink_watch watch;
};

void lineage_init(struct lineage *lineage, const struct worker *worker,
                  struct worker_loop *loop, struct store_link *link);

/* What check finds in two readings of the store and what the centre said in
 * between; pure. */
enum lineage_finding {
    LINEAGE_SAME,
    LINEAGE_BEHIND,     /* the store went back in time */
    LINEAGE_OTHER,      /* another store of this system.id lives */
    LINEAGE_CENTRE_LOST /* the centre went back in time */
};
enum lineage_finding lineage_compare(const struct store_identity *before,
                                     const struct store_identity *after,
                                     int64_t host,
                                     const struct sink_contact *contact);

#endif
