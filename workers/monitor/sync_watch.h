/* SPDX-License-Identifier: Apache-2.0
 *
 * The watchdog on "pending and no attempt".  Every sync worker says when it
 * last tried, or found nothing to try, and by when it will again.  When
 * operations pend and slot 0, which answers every trigger, is late, somebody
 * must be told: it is logged, shown in `tidemill sync status` and counted.
 */
#ifndef TIDEMILL_MONITOR_SYNC_WATCH_H
#define TIDEMILL_MONITOR_SYNC_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/shm/mapping.h"

/* How late the attempt is, in milliseconds; 0: it is not, or none is due. */
uint64_t sync_watch_late_ms(struct sync_board *board, int64_t pending,
                            uint64_t now_ms);

/* Looks, tells when that changed, and shows it. */
void sync_watch_look(struct mapping *mapping, uint64_t now_ms);

#endif
