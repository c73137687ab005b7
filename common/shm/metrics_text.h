/* SPDX-License-Identifier: Apache-2.0
 *
 * All metrics as text: those that are counted (metrics.h), and those that are
 * read from the scoreboard and the boards when somebody asks.
 */
#ifndef TIDEMILL_SHM_METRICS_TEXT_H
#define TIDEMILL_SHM_METRICS_TEXT_H

#include "common/base/buffer.h"
#include "common/shm/mapping.h"

/* kind, name in code, name outside, labels, unit, meaning */
#define METRIC_VIEW_LIST(X)                                                    \
    X(GAUGE, START_TIME, "tidemill_start_time_seconds", "", "seconds",         \
      "When the daemon started, since 1970.")                                  \
    X(GAUGE, WORKERS, "tidemill_workers", "role, state", "processes",          \
      "Workers, by role and by what they do.")                                 \
    X(GAUGE, POOL_SIZE, "tidemill_pool_size", "role", "workers",               \
      "Workers that a pool wants now.")                                        \
    X(GAUGE, POOL_WAITING, "tidemill_pool_waiting_seconds", "role", "seconds", \
      "For how long there has been more work than a pool's workers take.")     \
    X(GAUGE, ROLE_DEGRADED, "tidemill_role_degraded", "role", "0 or 1",        \
      "1 while the workers of a role crash again and again.")                  \
    X(GAUGE, SYNC_STATE, "tidemill_sync_state", "state", "0 or 1",             \
      "1 for the state that the line to the centre is in.")                    \
    X(GAUGE, PENDING_BY_PRIORITY, "tidemill_outbox_pending_by_priority",       \
      "priority", "operations",                                                \
      "Operations not yet settled, by priority.")                              \
    X(GAUGE, CONFIG_EPOCH, "tidemill_config_epoch", "", "epochs",              \
      "1 at the start, and one more after each good reload.")                  \
    X(GAUGE, RELOAD_REFUSED, "tidemill_config_reload_refused", "", "0 or 1",   \
      "1 when the last reload was refused.")

/* In Prometheus' text format, version 0.0.4. */
void metrics_write_text(struct mapping *mapping, struct buffer *out);

/* As a JSON object: name to number; histograms to {count, sum_seconds,
 * p50_ms, p95_ms, p99_ms, buckets_us}, the last a list of [highest value,
 * records] of the buckets that have any; what has labels to a list of
 * {LABEL..., value}. */
void metrics_write_json(struct mapping *mapping, struct buffer *out);

#endif
