/* SPDX-License-Identifier: Apache-2.0
 *
 * The connections of the store's socket: who is at the other end, what came
 * in and what goes out, all bounded.  What the frames mean is the business
 * of group_commit.
 */
#ifndef TIDEMILL_STORE_CONNECTION_H
#define TIDEMILL_STORE_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/base/buffer.h"
#include "common/base/error.h"

#define CONNECTIONS_MAX          1024u
#define CONNECTION_READ_BYTES    65536u
#define CONNECTION_OUT_BYTES     (1u << 20)   /* unsent: no more is taken in */
#define CONNECTIONS_INPUT_BYTES  (128u << 20) /* buffered of all together */
#define CONNECTION_STALL_SECONDS 30 /* neither read nor sent a byte on */

struct event;
struct event_base;
struct scoreboard;
struct connections;

struct connection {
    LIST_ENTRY(connection) all;         /* or among the dead */
    LIST_ENTRY(connection) subscribers; /* while topics are not 0 */
    struct connections *owner;
    int fd; /* -1: dead */
    pid_t pid;
    uid_t uid;
    uint32_t caller; /* a CALLER_ bit */
    struct event *read_event;
    struct event *write_event;
    enum { TIMER_NONE, TIMER_PARTIAL, TIMER_RESUME } timer;
    struct buffer in;
    size_t counted; /* of in, in the owner's total */
    struct buffer out;
    size_t sent;       /* of out */
    bool held;         /* out past hold_at waits for a commit */
    size_t hold_at;
    bool stalled;      /* too much is unsent: nothing more is taken in */
    uint32_t topics;   /* subscribed */
    uint32_t notify;   /* topics to be told as soon as there is room */
    bool notify_put;   /* one notification is in out already */
    uint64_t notified; /* counts notifications */
};

/* Called when there may be whole frames in connection->in; takes what it
 * wants from the front with connection_used. */
typedef void (*connection_input)(void *self, struct connection *connection);

/* Listens on listener (not owned).  scoreboard may be NULL: then everybody
 * is a command. */
struct connections *connections_new(struct event_base *base, int listener,
                                    struct scoreboard *scoreboard,
                                    connection_input input, void *self,
                                    struct error *error);
void connections_free(struct connections **connections);

/* Accepts no more; those that are connected stay. */
void connections_stop_accepting(struct connections *connections);

/* When one was last closed before it had taken all (wall clock; 0: never);
 * now, when one that is open has not. */
int64_t connections_untold_ms(const struct connections *connections);

/* Drops the first size bytes of what came in. */
void connection_used(struct connection *connection, size_t size);

/* Closes it for a reason that is logged (NULL: the peer left).  The struct
 * stays valid until the loop turns and it is not held. */
void connection_close(struct connection *connection, const char *reason);

void connection_subscribe(struct connection *connection, uint32_t topics);

/* From now on what is put into out waits for connection_release. */
void connection_hold(struct connection *connection);
void connection_release(struct connection *connection);

/* Puts a pending notification and sends what is not held, without blocking. */
void connection_flush(struct connection *connection);

/* Tells all subscribers of these topics, but not those held. */
void connections_notify(struct connections *connections, uint32_t topics);

#endif
