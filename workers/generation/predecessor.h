/* SPDX-License-Identifier: Apache-2.0
 *
 * Waits until nothing runs any more of the commands that are this worker's to
 * settle: its slot's, and for slot 0 those of slots that the pool no longer
 * has.  Only then they may go back to the queue, where anybody may start them
 * again.  Their guardians are mostly faster than the successor's start.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_PREDECESSOR_H
#define TIDEMILL_WORKERS_GENERATION_PREDECESSOR_H

#include <stdbool.h>

#include "common/ipc/worker_contract.h"

struct event_base;
struct predecessor;

/* `gone` is called from the loop.  The lock (command_lock.h) is the
 * caller's.  NULL without memory. */
struct predecessor *predecessor_new(struct event_base *base,
                                    const struct worker *worker, int lock_fd,
                                    void (*gone)(void *self), void *self);
void predecessor_free(struct predecessor **predecessor);

/* True when something of it may run: `gone` follows when nothing does, or
 * after supervisor.kill_grace, when what is left is dead but in the kernel. */
bool predecessor_lives(struct predecessor *predecessor);

#endif
