/* SPDX-License-Identifier: Apache-2.0
 *
 * Sees that jobs wait longer than idle workers would let them, and tells the
 * master, which may start more.  A queue that is emptied in time costs
 * neither a message nor anybody's waking up.
 */
#ifndef TIDEMILL_STORE_JOB_WATCH_H
#define TIDEMILL_STORE_JOB_WATCH_H

#include <stdbool.h>

#include "common/base/error.h"

struct event_base;
struct job_watch;
struct pool_board;

struct job_watch *job_watch_new(struct event_base *base,
                                struct pool_board *board,
                                void (*tell)(void *self), void *self,
                                struct error *error);
void job_watch_free(struct job_watch **watch);

/* After every group: whether jobs wait that could be claimed. */
void job_watch_note(struct job_watch *watch, bool jobs_wait);

#endif
