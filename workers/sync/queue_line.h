/* SPDX-License-Identifier: Apache-2.0
 *
 * The line to the central queue: a connection of its own, so that heartbeats
 * never wait behind batches, within the host's budget of connections
 * (BUDGET_HOLDER_QUEUE).  Closed while `tidemill test offline` cuts the
 * line.
 */
#ifndef TIDEMILL_SYNC_QUEUE_LINE_H
#define TIDEMILL_SYNC_QUEUE_LINE_H

#include <stdbool.h>

#include "common/ipc/worker_contract.h"
#include "common/postgres/connection.h"

struct event_base;
struct queue_line;

struct queue_line *queue_line_new(const struct worker *worker,
                                  struct event_base *base, struct error *error);
void queue_line_free(struct queue_line **line);

/* Is it cut for an exercise? */
bool queue_line_is_cut(const struct queue_line *line);
bool queue_line_is_open(const struct queue_line *line);

/* Takes a token, connects and checks the schema; done is called once, never
 * from within this call, but -1 says that no connection is free now. */
int queue_line_open(struct queue_line *line, pg_done done, void *self);

/* As pg_connection_query, on a line that is open. */
void queue_line_ask(struct queue_line *line, const char *sql,
                    const struct pg_parameter *parameters, size_t count,
                    pg_done done, void *self);

/* Nothing is under way: lets the connection go when somebody waits for its
 * token, or it is past database.pool.max_lifetime. */
void queue_line_rest(struct queue_line *line);

/* Closes it; what is under way is not answered. */
void queue_line_close(struct queue_line *line);

#endif
