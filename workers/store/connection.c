/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/store/connection.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/shm/scoreboard.h"
#include "common/store/statements.h"
#include "common/store/wire.h"

#define ACCEPTS_A_TURN      64
#define ACCEPT_PAUSE_MS     100
#define KEPT_CAPACITY_BYTES (256u << 10)
#define READ_BYTES_MAX      (1u << 20) /* at once, of a large frame */

LIST_HEAD(connection_list, connection);

struct connections {
    struct event_base *base;
    struct event *accept_event;
    struct event *accept_again_event;
    struct event *reap_event;
    int listener;
    struct scoreboard *scoreboard;
    connection_input input;
    void *self;
    struct connection_list alive;
    struct connection_list dead; /* closed, not yet freed */
    struct connection_list subscribers;
    unsigned count;
    bool stopped;
    size_t input_bytes; /* capacity of all inputs */
    int64_t untold_ms;  /* wall clock: last closed with something unsent */
};

static const struct timeval stall_time = {.tv_sec = CONNECTION_STALL_SECONDS};

/* --- end of a connection --- */

static void count_input(struct connection *connection)
{
    struct connections *owner = connection->owner;
    owner->input_bytes -= connection->counted;
    connection->counted = connection->in.capacity;
    owner->input_bytes += connection->counted;
}

static void connection_free(struct connection *connection)
{
    LIST_REMOVE(connection, all);
    buffer_deinit(&connection->in);
    buffer_deinit(&connection->out);
    count_input(connection);
    free(connection);
}

static void on_reap(evutil_socket_t fd, short what, void *self)
{
    struct connections *connections = self;
    (void)fd;
    (void)what;
    struct connection *next;
    for (struct connection *dead = LIST_FIRST(&connections->dead); dead != NULL;
         dead = next) {
        next = LIST_NEXT(dead, all);
        if (!dead->held)
            connection_free(dead);
    }
}

void connection_close(struct connection *connection, const char *reason)
{
    struct connections *owner = connection->owner;
    if (connection->fd < 0)
        return;
    if (reason != NULL)
        log_event(LOG_WARNING_LEVEL, "a connection to the store was cut off",
                  LOG_INT("peer_pid", connection->pid),
                  LOG_UINT("peer_uid", connection->uid),
                  LOG_TEXT("reason", reason));
    if (connection->out.size > connection->sent)
        owner->untold_ms = clock_wall_ms();
    event_free(connection->read_event);
    event_free(connection->write_event);
    close(connection->fd);
    connection->fd = -1;
    connection_subscribe(connection, 0);
    LIST_REMOVE(connection, all);
    LIST_INSERT_HEAD(&owner->dead, connection, all);
    owner->count--;
    if (!owner->stopped && owner->count == CONNECTIONS_MAX - 1)
        event_add(owner->accept_event, NULL);
    event_active(owner->reap_event, EV_TIMEOUT, 0);
}

int64_t connections_untold_ms(const struct connections *connections)
{
    for (const struct connection *each = LIST_FIRST(&connections->alive);
         each != NULL; each = LIST_NEXT(each, all))
        if (each->out.size > each->sent)
            return clock_wall_ms();
    return connections->untold_ms;
}

/* --- sending --- */

void connection_subscribe(struct connection *connection, uint32_t topics)
{
    if (connection->topics == 0 && topics != 0)
        LIST_INSERT_HEAD(&connection->owner->subscribers, connection,
                         subscribers);
    if (connection->topics != 0 && topics == 0)
        LIST_REMOVE(connection, subscribers);
    connection->topics = topics;
}

void connection_hold(struct connection *connection)
{
    if (connection->held)
        return;
    connection->held = true;
    connection->hold_at = connection->out.size;
}

void connection_release(struct connection *connection)
{
    connection->held = false;
    if (connection->fd < 0)
        event_active(connection->owner->reap_event, EV_TIMEOUT, 0);
}

static void put_notification(struct connection *connection)
{
    if (connection->notify == 0 || connection->notify_put || connection->held)
        return;
    wire_put_notify(&connection->out, ++connection->notified,
                    connection->notify);
    connection->notify = 0;
    connection->notify_put = true;
}

/* 0 when all that may be sent is, 1 when the peer must read first, -1 when
 * it is gone. */
static int send_out(struct connection *connection)
{
    size_t end = connection->held ? connection->hold_at : connection->out.size;
    while (connection->sent < end) {
        ssize_t sent =
            send(connection->fd, connection->out.bytes + connection->sent,
                 end - connection->sent, MSG_NOSIGNAL);
        if (sent > 0)
            connection->sent += (size_t)sent;
        else if (sent < 0 && errno == EAGAIN)
            return 1;
        else if (sent == 0 || errno != EINTR)
            return -1;
    }
    return 0;
}

/* What may have been left in the input when the connection stalled. */
static void resume_later(struct connection *connection)
{
    static const struct timeval now = {0};
    connection->stalled = false;
    connection->timer = TIMER_RESUME;
    event_add(connection->read_event, &now);
}

void connection_flush(struct connection *connection)
{
    if (connection->fd < 0)
        return;
    put_notification(connection);
    int result = send_out(connection);
    if (result < 0) {
        connection_close(connection, NULL);
        return;
    }
    if (result > 0)
        event_add(connection->write_event, &stall_time);
    if (connection->sent == connection->out.size) {
        connection->sent = 0;
        connection->notify_put = false;
        if (connection->out.capacity > KEPT_CAPACITY_BYTES)
            buffer_deinit(&connection->out);
        else
            buffer_reset(&connection->out);
        if (connection->notify != 0)
            connection_flush(connection);
        else if (connection->stalled)
            resume_later(connection);
    } else if (connection->out.size - connection->sent > CONNECTION_OUT_BYTES &&
               !connection->stalled) {
        connection->stalled = true;
        event_del(connection->read_event);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *self)
{
    struct connection *connection = self;
    (void)fd;
    if ((what & EV_TIMEOUT) != 0)
        connection_close(connection, "it does not read its answers");
    else
        connection_flush(connection);
}

void connections_notify(struct connections *connections, uint32_t topics)
{
    struct connection *next;
    for (struct connection *connection = LIST_FIRST(&connections->subscribers);
         connection != NULL; connection = next) {
        next = LIST_NEXT(connection, subscribers);
        if ((connection->topics & topics) == 0)
            continue;
        connection->notify |= connection->topics & topics;
        if (!connection->held)
            connection_flush(connection);
    }
}

/* --- receiving --- */

void connection_used(struct connection *connection, size_t size)
{
    struct buffer *in = &connection->in;
    if (size == 0)
        return;
    in->size -= size;
    if (in->size > 0)
        memmove(in->bytes, in->bytes + size, in->size);
    else if (in->capacity > KEPT_CAPACITY_BYTES) {
        buffer_deinit(in);
        count_input(connection);
    }
}

/* A large frame is read in large pieces, so that its buffer does not grow
 * by small ones. */
static size_t wanted_bytes(const struct connection *connection)
{
    size_t have = connection->in.size;
    return have < CONNECTION_READ_BYTES ? CONNECTION_READ_BYTES
           : have < READ_BYTES_MAX      ? have
                                        : READ_BYTES_MAX;
}

/* -1 when the connection was closed. */
static int receive(struct connection *connection)
{
    size_t want = wanted_bytes(connection);
    char *at = buffer_reserve(&connection->in, want);
    if (at == NULL) {
        connection_close(connection, "no memory for what it sends");
        return -1;
    }
    count_input(connection);
    if (connection->owner->input_bytes > CONNECTIONS_INPUT_BYTES) {
        connection_close(connection, "too much is sent at once by all");
        return -1;
    }
    ssize_t got = recv(connection->fd, at, want, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0) {
        connection_close(connection, NULL);
        return -1;
    }
    connection->in.size += (size_t)got;
    return 0;
}

/* The rest of a frame must come in time: it holds memory that all share. */
static void watch_partial(struct connection *connection)
{
    if (connection->fd < 0 || connection->stalled)
        return;
    if (connection->in.size > 0 && connection->timer != TIMER_RESUME) {
        connection->timer = TIMER_PARTIAL;
        event_add(connection->read_event, &stall_time);
    } else if (connection->in.size == 0 && connection->timer == TIMER_PARTIAL) {
        connection->timer = TIMER_NONE;
        event_remove_timer(connection->read_event);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *self)
{
    struct connection *connection = self;
    struct connections *owner = connection->owner;
    (void)fd;
    if ((what & EV_TIMEOUT) != 0 && connection->timer == TIMER_PARTIAL) {
        connection_close(connection, "the rest of a frame did not come");
        return;
    }
    if (connection->timer == TIMER_RESUME) {
        connection->timer = TIMER_NONE;
        event_remove_timer(connection->read_event);
    }
    if ((what & EV_READ) != 0 && receive(connection) != 0)
        return;
    owner->input(owner->self, connection);
    watch_partial(connection);
}

/* --- accepting --- */

static uint32_t caller_of(const struct connections *connections,
                          const struct ucred *peer)
{
    if (connections->scoreboard == NULL ||
        (peer->uid != geteuid() && peer->uid != 0))
        return CALLER_CLI;
    struct slot_entry *entry =
        scoreboard_find(connections->scoreboard, peer->pid);
    if (entry == NULL)
        return CALLER_CLI;
    return 1u << atomic_load_explicit(&entry->role, memory_order_relaxed);
}

static struct connection *connection_new(struct connections *connections,
                                         int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return NULL;
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL)
        return NULL;
    connection->owner = connections;
    connection->fd = fd;
    connection->pid = peer.pid;
    connection->uid = peer.uid;
    connection->caller = caller_of(connections, &peer);
    buffer_init(&connection->in, WIRE_FRAME_MAX + READ_BYTES_MAX);
    buffer_init(&connection->out, 2u * WIRE_FRAME_MAX);
    connection->read_event = event_new(
        connections->base, fd, EV_READ | EV_PERSIST, on_readable, connection);
    connection->write_event =
        event_new(connections->base, fd, EV_WRITE, on_writable, connection);
    if (connection->read_event == NULL || connection->write_event == NULL ||
        event_add(connection->read_event, NULL) != 0) {
        if (connection->read_event != NULL)
            event_free(connection->read_event);
        if (connection->write_event != NULL)
            event_free(connection->write_event);
        free(connection);
        return NULL;
    }
    LIST_INSERT_HEAD(&connections->alive, connection, all);
    connections->count++;
    return connection;
}

static void on_connection(evutil_socket_t fd, short what, void *self)
{
    struct connections *connections = self;
    (void)what;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        if (connections->count >= CONNECTIONS_MAX) {
            event_del(connections->accept_event);
            return;
        }
        int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
                /* The backlog keeps them meanwhile. */
                static const struct timeval pause = {
                    .tv_usec = ACCEPT_PAUSE_MS * 1000};
                event_del(connections->accept_event);
                event_add(connections->accept_again_event, &pause);
            }
            return;
        }
        struct connection *connection = connection_new(connections, accepted);
        if (connection == NULL) {
            log_warning("a connection to the store could not be served: %s",
                        strerror(errno));
            close(accepted);
        } else { /* a command sends at once: save it a turn of the loop */
            on_readable(accepted, EV_READ, connection);
        }
    }
}

static void on_accept_again(evutil_socket_t fd, short what, void *self)
{
    struct connections *connections = self;
    (void)fd;
    (void)what;
    if (!connections->stopped)
        event_add(connections->accept_event, NULL);
}

void connections_stop_accepting(struct connections *connections)
{
    connections->stopped = true;
    event_del(connections->accept_event);
}

struct connections *connections_new(struct event_base *base, int listener,
                                    struct scoreboard *scoreboard,
                                    connection_input input, void *self,
                                    struct error *error)
{
    struct connections *connections = calloc(1, sizeof(*connections));
    if (connections == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for connections");
        return NULL;
    }
    *connections = (struct connections){.base = base,
                                        .listener = listener,
                                        .scoreboard = scoreboard,
                                        .input = input,
                                        .self = self};
    LIST_INIT(&connections->alive);
    LIST_INIT(&connections->dead);
    LIST_INIT(&connections->subscribers);
    int flags = fcntl(listener, F_GETFL);
    connections->accept_event = event_new(base, listener, EV_READ | EV_PERSIST,
                                          on_connection, connections);
    connections->accept_again_event =
        event_new(base, -1, 0, on_accept_again, connections);
    connections->reap_event = event_new(base, -1, 0, on_reap, connections);
    if (flags < 0 || fcntl(listener, F_SETFL, flags | O_NONBLOCK) != 0 ||
        connections->accept_event == NULL ||
        connections->accept_again_event == NULL ||
        connections->reap_event == NULL ||
        event_add(connections->accept_event, NULL) != 0) {
        error_set_errno(error, ERROR_SYSTEM, "cannot listen for requests");
        connections_free(&connections);
        return NULL;
    }
    return connections;
}

static void free_event(struct event *event)
{
    if (event != NULL)
        event_free(event);
}

void connections_free(struct connections **connections)
{
    struct connections *all = *connections;
    if (all == NULL)
        return;
    all->stopped = true;
    while (!LIST_EMPTY(&all->alive))
        connection_close(LIST_FIRST(&all->alive), NULL);
    while (!LIST_EMPTY(&all->dead))
        connection_free(LIST_FIRST(&all->dead));
    free_event(all->accept_event);
    free_event(all->accept_again_event);
    free_event(all->reap_event);
    free(all);
    *connections = NULL;
}
