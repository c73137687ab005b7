/* SPDX-License-Identifier: Apache-2.0
 *
 * The central queue (generation.source: central), in the first sync worker:
 * leases jobs at the centre, submits them to the local store as jobs like
 * all others, renews their leases, and reports their ends.
 *
 *   - What is leased is known in the store (central_jobs) before it can run;
 *     leases that the store does not know are given back on every new line.
 *   - An end is told until the centre has answered; the centre takes it once
 *     and refuses it when the lease was lost (queue_leases.h,
 *     sql/centre/0007_queue.sql).
 *   - While the line is down the jobs that are held go on.
 *   - A daemon that stops hands back what has not begun.
 *
 * One thing is done at a time; queue_policy.h says which.  Nothing blocks.
 */
#ifndef TIDEMILL_SYNC_QUEUE_FEEDER_H
#define TIDEMILL_SYNC_QUEUE_FEEDER_H

#include <stdbool.h>

#include "common/base/error.h"
#include "common/ipc/worker_contract.h"

struct event_base;
struct queue_feeder;
struct store_link;

/* The link's notifications of TOPIC_JOB_OVER have to be passed on. */
struct queue_feeder *queue_feeder_new(const struct worker *worker,
                                      struct event_base *base,
                                      struct store_link *link,
                                      struct error *error);
/* After the link was freed. */
void queue_feeder_free(struct queue_feeder **feeder);

/* There is a connection to the store, or none any more. */
void queue_feeder_connected(struct queue_feeder *feeder);
void queue_feeder_lost(struct queue_feeder *feeder);

/* A job is over. */
void queue_feeder_job_over(struct queue_feeder *feeder);

/* The line was cut for an exercise, or came back. */
void queue_feeder_line_changed(struct queue_feeder *feeder);

/* Leases no more.  When this host leaves the queue, or stops, jobs that have
 * not begun are handed back, and the others waited for (queue_policy.h); else
 * a successor goes on with all of them.  over is called once, perhaps from within. */
void queue_feeder_drain(struct queue_feeder *feeder, bool leaves,
                        void (*over)(void *self), void *self);

#endif
