/* SPDX-License-Identifier: Apache-2.0
 *
 * The monitor: takes a sample of all metrics every
 * monitoring.health_check_interval and keeps the last
 * monitoring.metric_retention_points of them in the local store.
 */
#ifndef TIDEMILL_MONITOR_MONITOR_H
#define TIDEMILL_MONITOR_MONITOR_H

#include "common/ipc/worker_contract.h"

/* The role's entry point. */
enum worker_exit monitor_main(const struct worker *worker);

#endif
