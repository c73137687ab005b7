/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/monitor/sync_watch.h"

#include "common/base/log.h"
#include "common/shm/metrics.h"

uint64_t sync_watch_late_ms(struct sync_board *board, int64_t pending,
                            uint64_t now_ms)
{
    struct sync_view *view = &board->views[0];
    uint64_t attempted_ms = atomic_load(&view->attempted_ms);
    uint64_t due_ms = attempted_ms + atomic_load(&view->patience_ms);
    bool is_off = atomic_load(&board->enabled) == 0 ||
                  atomic_load(&board->paused) != 0 ||
                  atomic_load(&board->cut_until_ms) > now_ms;
    /* 0: no worker has looked yet; the master watches over its start. */
    if (pending <= 0 || is_off || attempted_ms == 0 || now_ms <= due_ms)
        return 0;
    return now_ms - due_ms;
}

void sync_watch_look(struct mapping *mapping, uint64_t now_ms)
{
    struct sync_board *board = &mapping->sync;
    int64_t pending =
        (int64_t)metrics_total(&mapping->metrics, METRIC_OUTBOX_PENDING);
    uint64_t late_ms = sync_watch_late_ms(board, pending, now_ms);
    bool was = atomic_exchange(&board->stalled, late_ms > 0) != 0;
    metric_set(METRIC_SYNC_STALLED, late_ms > 0);
    if (late_ms > 0 && !was)
        log_event(LOG_ERROR_LEVEL,
                  "operations pend and no attempt is made to sync: "
                  "'tidemill status' shows what the sync workers do; killed, "
                  "they are replaced, and nothing is lost",
                  LOG_INT("pending", pending), LOG_UINT("late_ms", late_ms));
    else if (late_ms == 0 && was)
        log_notice("sync is attempted again");
}
