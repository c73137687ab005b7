/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/line.h"

#include "workers/sync/backoff.h"

static const enum link_state next_state[LINK_STATE_COUNT][LINE_EVENT_COUNT] = {
    [LINK_UNKNOWN] = {[LINE_WORKED] = LINK_ONLINE,
                      [LINE_DOWN] = LINK_OFFLINE,
                      [LINE_BUSY] = LINK_BUSY,
                      [LINE_TRANSIENT] = LINK_ONLINE,
                      [LINE_DRAINED] = LINK_UNKNOWN},
    [LINK_ONLINE] = {[LINE_WORKED] = LINK_ONLINE,
                     [LINE_DOWN] = LINK_OFFLINE,
                     [LINE_BUSY] = LINK_BUSY,
                     [LINE_TRANSIENT] = LINK_ONLINE,
                     [LINE_DRAINED] = LINK_ONLINE},
    [LINK_OFFLINE] = {[LINE_WORKED] = LINK_DRAINING,
                      [LINE_DOWN] = LINK_OFFLINE,
                      [LINE_BUSY] = LINK_BUSY,
                      /* It answered, but a centre that is still starting or
                       * in recovery is not back: wait for a success. */
                      [LINE_TRANSIENT] = LINK_OFFLINE,
                      [LINE_DRAINED] = LINK_OFFLINE},
    [LINK_BUSY] = {[LINE_WORKED] = LINK_DRAINING,
                   [LINE_DOWN] = LINK_OFFLINE,
                   [LINE_BUSY] = LINK_BUSY,
                   [LINE_TRANSIENT] = LINK_BUSY,
                   [LINE_DRAINED] = LINK_BUSY},
    [LINK_DRAINING] = {[LINE_WORKED] = LINK_DRAINING,
                       [LINE_DOWN] = LINK_OFFLINE,
                       [LINE_BUSY] = LINK_BUSY,
                       [LINE_TRANSIENT] = LINK_DRAINING,
                       [LINE_DRAINED] = LINK_ONLINE},
};

void line_init(struct line *line, int64_t base_ms, int64_t max_ms,
               uint64_t seed)
{
    *line = (struct line){.state = LINK_UNKNOWN,
                          .base_ms = base_ms,
                          .max_ms = max_ms,
                          .random = seed};
}

bool line_take(struct line *line, enum line_event event, uint64_t now_ms)
{
    enum link_state before = line->state;
    line->state = next_state[before][event];
    if (event == LINE_WORKED) {
        line->failures = 0;
        line->retry_at_ms = 0;
    } else if (event != LINE_DRAINED) {
        line->failures++;
        line->retry_at_ms =
            now_ms + (uint64_t)backoff_delay_ms(line->base_ms, line->max_ms,
                                                line->failures,
                                                jitter_next(&line->random));
    }
    return line->state != before;
}

bool line_is_away(enum link_state state)
{
    return state == LINK_OFFLINE || state == LINK_BUSY;
}

bool line_waits(const struct line *line, uint64_t now_ms)
{
    return line->retry_at_ms > now_ms;
}

void line_not_before(struct line *line, uint64_t at_ms)
{
    if (line->retry_at_ms < at_ms)
        line->retry_at_ms = at_ms;
}

void line_hurry(struct line *line)
{
    line->retry_at_ms = 0;
}
