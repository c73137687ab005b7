/* SPDX-License-Identifier: Apache-2.0
 *
 * What one pass has done, for its row in sync_metrics.
 */
#ifndef TIDEMILL_SYNC_PASS_H
#define TIDEMILL_SYNC_PASS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/shm/sync_board.h"
#include "common/store/wire.h"
#include "workers/sync/batch.h"
#include "workers/sync/figures.h"
#include "workers/sync/trigger.h"

struct pass {
    bool active;
    enum trigger trigger;
    bool drain; /* no cap */
    unsigned least_important;
    bool contact;    /* the centre answered */
    uint64_t ticket; /* the highest that it answers; 0: none */
    int64_t claimed; /* operations */
    int64_t refused;
    int64_t carried; /* operations applied */
    uint64_t begun_ns;
    /* since its last row */
    int64_t started_wall_ms;
    uint64_t started_ns;
    int64_t applied, bytes, largest_batch;
    unsigned batches;
    unsigned deferrals; /* also those before this pass */
    char error[SYNC_ERROR_TEXT_MAX];
    struct figures *figures; /* not owned; set before the first pass */
};

void pass_begin(struct pass *pass, const struct trigger_plan *plan,
                uint64_t ticket);
/* A batch was applied: counts it here and in the metrics. */
void pass_add(struct pass *pass, const struct batch *batch);

/* Operations a second since the pass began. */
int64_t pass_rate(const struct pass *pass);

/* Makes the SYNC_METRIC call for what was done since the last row; its
 * texts live as long as the pass.  error NULL: it went well.  False when
 * there is nothing to tell: no batch, and no error. */
bool pass_report(struct pass *pass, const char *error, struct store_call *call);

#endif
