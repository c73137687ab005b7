/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pass.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/shm/metrics.h"

static void start_row(struct pass *pass)
{
    pass->started_wall_ms = clock_wall_ms();
    pass->started_ns = clock_monotonic_ns();
    pass->applied = pass->bytes = pass->largest_batch = 0;
    pass->batches = 0;
}

void pass_begin(struct pass *pass, const struct trigger_plan *plan,
                uint64_t ticket)
{
    *pass = (struct pass){.active = true,
                          .trigger = plan->trigger,
                          .drain = plan->drain,
                          .least_important = plan->least_important,
                          .ticket = ticket,
                          .deferrals = pass->deferrals,
                          .figures = pass->figures};
    start_row(pass);
    pass->begun_ns = pass->started_ns;
}

int64_t pass_rate(const struct pass *pass)
{
    uint64_t took_us = (clock_monotonic_ns() - pass->begun_ns) / 1000;
    return pass->carried * 1000000 / (int64_t)(took_us + 1);
}

void pass_add(struct pass *pass, const struct batch *batch)
{
    pass->applied += (int64_t)batch->applied;
    pass->carried += (int64_t)batch->applied;
    pass->bytes += (int64_t)batch->bytes;
    if ((int64_t)batch->count > pass->largest_batch)
        pass->largest_batch = (int64_t)batch->count;
    pass->refused += (int64_t)batch->refused;
    pass->batches++;
    figures_add(pass->figures, batch);
    if (batch->sent_ns != 0)
        metric_record_us(METRIC_SYNC_BATCH_SECONDS, batch->took_ns / 1000);
    metric_add(METRIC_SYNC_OPERATIONS, batch->applied);
    metric_add(METRIC_SYNC_BYTES, batch->bytes);
    metric_add(METRIC_SYNC_REJECTED, batch->refused);
    metric_add(METRIC_SYNC_REPEATED, batch->repeated);
    metric_add(METRIC_SYNC_CONFLICTS_WON, batch->conflicts[CONFLICT_WON]);
    metric_add(METRIC_SYNC_CONFLICTS_LOST, batch->conflicts[CONFLICT_LOST]);
    metric_add(METRIC_SYNC_CONFLICTS_PARKED, batch->conflicts[CONFLICT_PARKED]);
    log_event(LOG_DEBUG_LEVEL, "batch applied",
              LOG_INT("epoch", batch->source.epoch),
              LOG_INT("batch_id", batch->source.batch_id),
              LOG_UINT("operations", batch->applied),
              LOG_UINT("refused", batch->refused),
              LOG_UINT("took_us", batch->took_ns / 1000),
              LOG_UINT("apply_us", batch->apply_ns / 1000));
}

bool pass_report(struct pass *pass, const char *error, struct store_call *call)
{
    if (pass->batches == 0 && error == NULL)
        return false;
    snprintf(pass->error, sizeof(pass->error), "%s",
             error != NULL ? error : "");
    int64_t took_ms =
        (int64_t)((clock_monotonic_ns() - pass->started_ns) / 1000000);
    *call = (struct store_call){
        .statement = STATEMENT_SYNC_METRIC,
        .argument_count = 10,
        .arguments = {
            value_integer(pass->started_wall_ms), value_integer(pass->applied),
            value_integer(took_ms), value_text(trigger_name(pass->trigger)),
            value_integer(error == NULL),
            value_text(error != NULL ? pass->error : NULL),
            value_integer(pass->largest_batch), value_integer(pass->bytes),
            value_integer(pass->deferrals),
            value_text(figures_take(pass->figures))}};
    pass->deferrals = 0;
    start_row(pass);
    return true;
}
