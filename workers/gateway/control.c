/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/gateway/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/worker/worker_loop.h"
#include "common/shm/metrics.h"
#include "common/store/reader.h"
#include "workers/gateway/commands.h"

/* How often an open request looks whether what it waits for has happened;
 * the timer runs only while one does. */
#define WAIT_POLL_US 10000

/* Most bytes of answers that a slow client may leave unread. */
#define OUTPUT_MAX (8u << 20)

struct control_connection {
    struct control *control;
    struct bufferevent *io;
    uid_t uid;
    pid_t pid;
    control_poll poll; /* NULL: no request is open */
    struct control_wait wait;
    TAILQ_ENTRY(control_connection) entry;
};

struct control {
    const struct worker *worker;
    struct worker_loop *loop;
    struct evconnlistener *listener;
    struct event *poll_timer;
    struct store_reader *reader;
    unsigned count;
    bool draining;
    void (*drained)(void *self);
    void *drained_self;
    TAILQ_HEAD(, control_connection) connections;
};

const struct worker *control_worker(const struct control *control)
{
    return control->worker;
}

struct worker_loop *control_loop(const struct control *control)
{
    return control->loop;
}

struct control *control_of(struct control_connection *connection)
{
    return connection->control;
}

struct store_reader *control_reader(struct control *control,
                                    struct error *error)
{
    if (control->reader == NULL)
        store_reader_open(&control->reader, control->worker->config->state_dir,
                          error);
    return control->reader;
}

static bool any_waits(const struct control *control)
{
    struct control_connection *connection;
    TAILQ_FOREACH(connection, &control->connections, entry)
    if (connection->poll != NULL ||
        evbuffer_get_length(bufferevent_get_output(connection->io)) > 0)
        return true;
    return false;
}

static void check_drained(struct control *control)
{
    if (!control->draining || control->drained == NULL || any_waits(control))
        return;
    void (*drained)(void *) = control->drained;
    control->drained = NULL;
    drained(control->drained_self);
}

static void connection_close(struct control_connection *connection)
{
    struct control *control = connection->control;
    TAILQ_REMOVE(&control->connections, connection, entry);
    control->count--;
    bufferevent_free(connection->io);
    free(connection);
    check_drained(control);
}

/* Steals the reference to line. */
static void send_line(struct control_connection *connection, json_t *line)
{
    struct evbuffer *out = bufferevent_get_output(connection->io);
    char *text = line == NULL ? NULL : json_dumps(line, JSON_COMPACT);
    json_decref(line);
    if (text == NULL) {
        static const char sorry[] = "{\"ok\":false,\"status\":70,"
                                    "\"error\":\"out of memory\"}";
        evbuffer_add(out, sorry, sizeof(sorry) - 1);
    } else {
        evbuffer_add(out, text, strlen(text));
    }
    evbuffer_add(out, "\n", 1);
    free(text);
    metric_add(METRIC_CONTROL_COMMANDS, 1);
}

void control_answer(struct control_connection *connection, json_t *data)
{
    send_line(connection, json_pack("{s:b,s:o}", "ok", 1, "data",
                                    data != NULL ? data : json_object()));
}

void control_refuse(struct control_connection *connection,
                    const struct error *error)
{
    send_line(connection,
              json_pack("{s:b,s:i,s:s}", "ok", 0, "status",
                        error_exit_status(error->code), "error", error->text));
}

void control_wait_for(struct control_connection *connection, control_poll poll,
                      uint64_t ticket)
{
    connection->poll = poll;
    connection->wait.ticket = ticket;
    connection->wait.since_ms = clock_monotonic_ms();
    struct timeval soon = {0, WAIT_POLL_US};
    evtimer_add(connection->control->poll_timer, &soon);
}

static bool may_change(const struct control_connection *connection)
{
    return connection->uid == 0 || connection->uid == geteuid();
}

static void run_line(struct control_connection *connection, const char *text,
                     size_t size)
{
    struct error error = {0};
    json_error_t where;
    json_t *line = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    const char *name = json_string_value(json_object_get(line, "command"));
    const json_t *args = json_object_get(line, "args");
    const char *correlation =
        json_string_value(json_object_get(line, "correlation_id"));
    int command = name == NULL ? -1 : command_find(name);
    if (line == NULL)
        error_set(&error, ERROR_PROTOCOL,
                  "the request is not JSON: %s at byte %d; send one object a "
                  "line",
                  where.text, where.position);
    else if (command < 0)
        error_set(&error, ERROR_PROTOCOL,
                  "no such command: '%.64s'; this daemon and this tidemill may "
                  "be of different versions",
                  name != NULL ? name : "");
    else if (command_changes((enum control_command)command) &&
             !may_change(connection))
        error_set(&error, ERROR_NOT_ALLOWED,
                  "'%s' is for root and the daemon's user; you are uid %u",
                  name, (unsigned)connection->uid);
    if (correlation != NULL && log_correlation_is_valid(correlation))
        log_set_correlation(correlation);
    if (error.code != ERROR_NONE) {
        control_refuse(connection, &error);
    } else {
        if (command_changes((enum control_command)command))
            log_event(LOG_NOTICE_LEVEL, "operator's command",
                      LOG_TEXT("command", name),
                      LOG_UINT("uid", connection->uid),
                      LOG_INT("peer_pid", connection->pid));
        command_run((enum control_command)command, connection, args);
    }
    log_set_correlation(NULL);
    json_decref(line);
}

/* Takes lines as long as no request is open: answers stay in order. */
static void run_lines(struct control_connection *connection)
{
    struct evbuffer *in = bufferevent_get_input(connection->io);
    while (connection->poll == NULL) {
        size_t size;
        char *text = evbuffer_readln(in, &size, EVBUFFER_EOL_LF);
        if (text == NULL)
            break;
        run_line(connection, text, size);
        free(text);
    }
}

static void on_read(struct bufferevent *io, void *self)
{
    struct control_connection *connection = self;
    run_lines(connection);
    if (evbuffer_get_length(bufferevent_get_input(io)) > CONTROL_LINE_MAX ||
        evbuffer_get_length(bufferevent_get_output(io)) > OUTPUT_MAX) {
        log_warning("control connection of pid %d cut off: too much unread",
                    (int)connection->pid);
        connection_close(connection);
    }
}

static void on_written(struct bufferevent *io, void *self)
{
    struct control_connection *connection = self;
    (void)io;
    check_drained(connection->control);
}

static void on_event(struct bufferevent *io, short what, void *self)
{
    struct control_connection *connection = self;
    /* An open request may be silent for as long as it takes. */
    if ((what & BEV_EVENT_TIMEOUT) != 0 && connection->poll != NULL) {
        bufferevent_enable(io, EV_READ | EV_WRITE);
        return;
    }
    connection_close(connection);
}

static void on_poll(evutil_socket_t fd, short what, void *self)
{
    struct control *control = self;
    struct control_connection *connection;
    struct control_connection *next;
    bool again = false;
    (void)fd;
    (void)what;
    for (connection = TAILQ_FIRST(&control->connections); connection != NULL;
         connection = next) {
        next = TAILQ_NEXT(connection, entry);
        if (connection->poll == NULL)
            continue;
        if (connection->poll(connection, &connection->wait)) {
            connection->poll = NULL;
            run_lines(connection);
        }
        again |= connection->poll != NULL;
    }
    if (again) {
        struct timeval soon = {0, WAIT_POLL_US};
        evtimer_add(control->poll_timer, &soon);
    }
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd,
                      struct sockaddr *address, int length, void *self)
{
    struct control *control = self;
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    (void)listener;
    (void)address;
    (void)length;
    struct control_connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL || control->count >= CONTROL_CONNECTIONS_MAX ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        goto refuse;
    connection->control = control;
    connection->uid = peer.uid;
    connection->pid = peer.pid;
    connection->io = bufferevent_socket_new(worker_loop_base(control->loop), fd,
                                            BEV_OPT_CLOSE_ON_FREE);
    if (connection->io == NULL)
        goto refuse;
    const struct timeval idle = {CONTROL_IDLE_SECONDS, 0};
    bufferevent_set_timeouts(connection->io, &idle, &idle);
    bufferevent_setwatermark(connection->io, EV_READ, 0, CONTROL_LINE_MAX + 1);
    bufferevent_setcb(connection->io, on_read, on_written, on_event,
                      connection);
    bufferevent_enable(connection->io, EV_READ | EV_WRITE);
    TAILQ_INSERT_TAIL(&control->connections, connection, entry);
    control->count++;
    return;
refuse:
    log_warning("control connection refused: %u are open",
                (unsigned)control->count);
    free(connection);
    close(fd);
}

struct control *control_new(const struct worker *worker,
                            struct worker_loop *loop, struct error *error)
{
    struct control *control = calloc(1, sizeof(*control));
    if (control == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for the control socket");
        return NULL;
    }
    control->worker = worker;
    control->loop = loop;
    TAILQ_INIT(&control->connections);
    struct event_base *base = worker_loop_base(loop);
    control->poll_timer = evtimer_new(base, on_poll, control);
    control->listener =
        evconnlistener_new(base, on_accept, control, LEV_OPT_CLOSE_ON_EXEC, 0,
                           worker->control_listener);
    if (control->poll_timer == NULL || control->listener == NULL) {
        error_set_errno(error, ERROR_SYSTEM,
                        "cannot listen on the control socket");
        control_free(&control);
    }
    return control;
}

void control_free(struct control **control_p)
{
    struct control *control = *control_p;
    if (control == NULL)
        return;
    *control_p = NULL;
    control->drained = NULL;
    while (!TAILQ_EMPTY(&control->connections))
        connection_close(TAILQ_FIRST(&control->connections));
    if (control->listener != NULL)
        evconnlistener_free(control->listener);
    if (control->poll_timer != NULL)
        event_free(control->poll_timer);
    store_reader_close(&control->reader);
    free(control);
}

void control_cut_waiting(struct control *control)
{
    struct control_connection *connection;
    struct control_connection *next;
    for (connection = TAILQ_FIRST(&control->connections); connection != NULL;
         connection = next) {
        next = TAILQ_NEXT(connection, entry);
        if (connection->poll != NULL)
            connection_close(connection);
    }
}

void control_drain(struct control *control, void (*done)(void *self),
                   void *self)
{
    control->draining = true;
    control->drained = done;
    control->drained_self = self;
    evconnlistener_disable(control->listener);
    check_drained(control);
}
