/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/window.h"

#include <string.h>

void window_reset(struct window *window)
{
    memset(window, 0, sizeof(*window));
}

void window_round_trip(struct window *window, uint64_t took_ns)
{
    if (window->round_trip_ns == 0 || took_ns < window->round_trip_ns)
        window->round_trip_ns = took_ns;
}

void window_sent(struct window *window, const struct window_batch *batch)
{
    window->queued++;
    window->queued_operations += batch->operations;
    window->queued_bytes += batch->bytes;
}

void window_dropped(struct window *window, const struct window_batch *batch)
{
    window->queued--;
    window->queued_operations -= batch->operations;
    window->queued_bytes -= batch->bytes;
}

static uint64_t smoothed(uint64_t known, uint64_t value)
{
    return known == 0 ? value : (3 * known + value) / 4;
}

uint64_t window_answered(struct window *window,
                         const struct window_batch *batch, uint64_t now_ns)
{
    uint64_t took_ns = now_ns - batch->sent_ns;
    window_dropped(window, batch);
    window_round_trip(window, took_ns);
    uint64_t apply_ns = took_ns - window->round_trip_ns;
    if (window->answered_ns > batch->sent_ns &&
        now_ns - window->answered_ns < apply_ns)
        apply_ns = now_ns - window->answered_ns;
    window->answered_ns = now_ns;
    if (apply_ns == 0)
        apply_ns = 1;
    if (batch->operations > 0) {
        window->operation_ns =
            smoothed(window->operation_ns, apply_ns / batch->operations + 1);
        window->operations = smoothed(window->operations, batch->operations);
    }
    return apply_ns;
}

unsigned window_depth(const struct window *window, unsigned most)
{
    if (window->operation_ns == 0 || window->round_trip_ns == 0)
        return 1;
    uint64_t batch_ns = window->operation_ns * window->operations;
    uint64_t queued_ns = window->operation_ns * window->queued_operations;
    /* Rounded: where the line is much quicker than a batch, one is enough. */
    uint64_t wanted = 1 + (window->round_trip_ns + batch_ns / 2) /
                              (batch_ns > 0 ? batch_ns : 1);
    if (window->queued > 0 && wanted > window->queued &&
        (queued_ns + batch_ns > WINDOW_QUEUE_NS ||
         window->queued_bytes > WINDOW_BYTES_MAX))
        wanted = window->queued;
    return wanted > most ? most : (unsigned)wanted;
}
