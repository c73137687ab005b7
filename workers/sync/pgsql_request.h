/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch as the parameters of one call at the centre.
 */
#ifndef TIDEMILL_SYNC_PGSQL_REQUEST_H
#define TIDEMILL_SYNC_PGSQL_REQUEST_H

#include "workers/sync/fold.h"
#include "workers/sync/pgsql_arrays.h"
#include "workers/sync/sink.h"

#define PGSQL_ARRAYS_MAX     34
#define PGSQL_PARAMETERS_MAX 40

struct pgsql_request {
    const struct config *config;
    struct pg_array arrays[PGSQL_ARRAYS_MAX]; /* kept from batch to batch */
    struct pg_array line;
    uint64_t epoch, batch_id;                 /* in network order */
    uint32_t operations, plain_count;
    const char *sql;
    struct pg_parameter parameters[PGSQL_PARAMETERS_MAX];
    size_t parameter_count;
};

void pgsql_request_init(struct pgsql_request *request,
                        const struct config *config);
void pgsql_request_deinit(struct pgsql_request *request);

/* The fast way: folded units by kind (tidemill.apply_batch), and behind them
 * those of shared tables one by one, when there are any
 * (tidemill.apply_batch_shared).  No unit may be `apart`. */
int pgsql_request_fast(struct pgsql_request *request,
                       const struct sink_batch *batch,
                       const struct batch_units *units, struct error *error);

/* The careful way, for a batch of which something is refused
 * (tidemill.apply_carefully). */
int pgsql_request_careful(struct pgsql_request *request,
                          const struct sink_batch *batch,
                          const struct batch_units *units,
                          struct error *error);

#endif
