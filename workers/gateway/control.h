/* SPDX-License-Identifier: Apache-2.0
 *
 * The control socket's connections: lines in, lines out, each bounded.
 */
#ifndef TIDEMILL_GATEWAY_CONTROL_H
#define TIDEMILL_GATEWAY_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "common/base/error.h"
#include "common/ipc/control.h"
#include "common/ipc/worker_contract.h"

struct worker_loop;
struct control;
struct control_connection;
struct store_reader;

#define CONTROL_CONNECTIONS_MAX 128
#define CONTROL_IDLE_SECONDS    60

/* Accepts on worker->control_listener until it is freed. */
struct control *control_new(const struct worker *worker,
                            struct worker_loop *loop, struct error *error);
void control_free(struct control **control);

/* Closes the connections whose requests are still open: after an upgrade
 * they cannot be answered, and `tidemill` asks the next daemon. */
void control_cut_waiting(struct control *control);

/* No new connections; calls `done` when no request waits for its answer. */
void control_drain(struct control *control, void (*done)(void *self),
                   void *self);

const struct worker *control_worker(const struct control *control);
struct worker_loop *control_loop(const struct control *control);

/* A reader of the local store, opened at first use; NULL and *error while
 * there is no store. */
struct store_reader *control_reader(struct control *control,
                                    struct error *error);

/* --- for the commands (commands.h) --- */

/* A request that waits for something.  `poll` is called every 10 ms until it
 * has answered; `state` is the command's own. */
struct control_wait {
    uint64_t ticket;
    uint64_t since_ms; /* monotonic */
};

/* Answers the connection's request; steals the reference to data. */
void control_answer(struct control_connection *connection, json_t *data);
void control_refuse(struct control_connection *connection,
                    const struct error *error);

/* Leaves the request open: poll(connection, wait) until it returns true,
 * having answered. */
typedef bool (*control_poll)(struct control_connection *connection,
                             const struct control_wait *wait);
void control_wait_for(struct control_connection *connection,
                      control_poll poll, uint64_t ticket);

struct control *control_of(struct control_connection *connection);

#endif
