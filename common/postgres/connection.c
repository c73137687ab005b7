/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/clock.h"
#include "common/postgres/connection_internal.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/time.h>

#define RESOLV_CONF "/etc/resolv.conf"

static void host_try(struct pg_connection *c);
static void host_connect(struct pg_connection *c);

void pg_timer_start(struct pg_connection *c, int64_t ms)
{
    struct timeval wait = clock_span(ms);
    event_add(c->timer, &wait);
}

static void watch_stop(struct pg_connection *c)
{
    if (c->socket_event)
        event_free(c->socket_event);
    c->socket_event = NULL;
    c->watched = -1;
}

void pg_line_drop(struct pg_connection *c)
{
    watch_stop(c);
    event_del(c->timer);
    pg_lookup_cancel(&c->lookup);
    if (c->line)
        libpq->finish(c->line);
    c->line = NULL;
    c->phase = PHASE_CLOSED;
}

void pg_connection_close(struct pg_connection *c)
{
    pg_line_drop(c);
    if (c->query_count) {
        error_set(&c->lost, ERROR_TRY_AGAIN,
                  "the connection to PostgreSQL was closed");
        pg_timer_start(c, 0);
    }
}

void pg_connection_rest(struct pg_connection *c)
{
    c->done = NULL;
    pg_queries_drop(c);
    pg_line_drop(c);
}

bool pg_connection_is_open(const struct pg_connection *c)
{
    return c->phase == PHASE_IDLE || c->phase == PHASE_QUERY;
}

bool pg_connection_is_pooled(const struct pg_connection *c)
{
    return c->pooled;
}

static void answer_reset(struct pg_connection *c)
{
    libpq->clear((PGresult *)c->answer.result);
    memset(&c->answer, 0, sizeof c->answer);
}

void pg_line_words(struct pg_connection *c, char *out, size_t room)
{
    pg_words_copy(out, room,
                  c->line ? libpq->errorMessage(c->line) : "out of memory");
}

static void finish(struct pg_connection *c)
{
    pg_done done = c->done;
    struct pg_answer answer = c->answer;
    c->done = NULL;
    memset(&c->answer, 0, sizeof c->answer);
    event_del(c->timer);
    if (done)
        done(c->self, &answer);
    libpq->clear((PGresult *)answer.result);
}

/* --- waiting ---------------------------------------------------------- */

static void on_socket(evutil_socket_t fd, short what, void *self);

void pg_watch(struct pg_connection *c, short what)
{
    int fd = libpq->socket(c->line);
    if (fd == c->watched && what == c->watched_for && c->socket_event)
        return;
    watch_stop(c);
    if (fd < 0)
        return;
    c->socket_event =
        event_new(c->base, fd, (short)(what | EV_PERSIST), on_socket, c);
    if (c->socket_event && event_add(c->socket_event, NULL) == 0) {
        c->watched = fd;
        c->watched_for = what;
    }
}

/* --- connecting ------------------------------------------------------- */

static void host_failed(struct pg_connection *c, const char *words)
{
    char text[400];
    char sqlstate[PG_SQLSTATE_SIZE] = "";
    if (words)
        snprintf(text, sizeof text, "%s", words);
    else
        pg_words_of_connect(c->line ? libpq->errorMessage(c->line)
                                    : "out of memory",
                            sqlstate, text, sizeof text);
    const char *host = c->hosts.count ? c->hosts.names[c->host] : "";
    struct error earlier = c->answer.error;
    if (earlier.code == ERROR_NONE)
        error_set(&c->answer.error, ERROR_TRY_AGAIN,
                  "cannot connect to PostgreSQL%s%s: %s", *host ? " at " : "",
                  host, text);
    else
        error_set(&c->answer.error, ERROR_TRY_AGAIN, "%s; at %s: %s",
                  earlier.text, host, text);
    /* What one server tells counts for more than that others are down. */
    if (sqlstate[0])
        memcpy(c->answer.sqlstate, sqlstate, sizeof sqlstate);
    c->answer.busy = c->answer.busy || pg_failure_is_busy(sqlstate, text);
    pg_line_drop(c);
    if (c->address + 1 < c->address_count) {
        c->address++;
        host_connect(c);
        return;
    }
    if (c->hosts_left > 0) {
        c->hosts_left--;
        c->host = (c->host + 1) % c->hosts.count;
        host_try(c);
        return;
    }
    c->answer.down = true;
    finish(c);
}

static void connect_step(struct pg_connection *c)
{
    /* With several addresses libpq closes one socket and opens the next,
     * often under the same number: the event must be made anew. */
    watch_stop(c);
    switch (libpq->connectPoll(c->line)) {
    case PGRES_POLLING_READING:
        pg_watch(c, EV_READ);
        return;
    case PGRES_POLLING_WRITING:
        pg_watch(c, EV_WRITE);
        return;
    case PGRES_POLLING_OK:
        if (libpq->setnonblocking(c->line, 1) != 0)
            break;
        c->phase = PHASE_IDLE;
        c->pooled = false;
        libpq->setErrorVerbosity(c->line, PQERRORS_DEFAULT);
        c->answer.ok = true;
        c->answer.busy = false;
        c->answer.sqlstate[0] = '\0';
        error_clear(&c->answer.error);
        pg_watch(c, EV_READ);
        pg_queries_fail(c); /* asked before there was a line */
        finish(c);
        return;
    default:
        break;
    }
    host_failed(c, NULL);
}

static void host_connect(struct pg_connection *c)
{
    char timeout[24];
    snprintf(timeout, sizeof timeout, "%lld", (long long)c->connect_timeout_ms);
    /* Those before dbname give way to the connection string, those behind it
     * go over it. */
    const char *keys[16] = {"fallback_application_name",
                            "target_session_attrs",
                            "keepalives_idle",
                            "keepalives_interval",
                            "keepalives_count",
                            "tcp_user_timeout",
                            "dbname",
                            "client_encoding"};
    const char *values[16] = {
        c->application_name, "read-write", "10", "5", "4", timeout,
        c->conninfo,         "UTF8"};
    size_t n = 8;
    if (c->hosts.count) {
        keys[n] = "host", values[n++] = c->hosts.names[c->host];
        keys[n] = "hostaddr", values[n++] = c->address_count
                                                ? c->addresses[c->address]
                                                : c->hosts.addresses[c->host];
        keys[n] = "port", values[n++] = c->hosts.ports[c->host];
    }
    /* The addresses of a host share its time. */
    pg_timer_start(c, c->connect_timeout_ms /
                          (int64_t)(c->address_count ? c->address_count : 1));
    c->line = libpq->connectStartParams(keys, values, 1);
    if (!c->line || libpq->status(c->line) == CONNECTION_BAD) {
        host_failed(c, NULL);
        return;
    }
    /* So that the words of a failure have its SQLSTATE. */
    libpq->setErrorVerbosity(c->line, PQERRORS_VERBOSE);
    c->phase = PHASE_CONNECTING;
    pg_watch(c, EV_WRITE);
}

static void on_lookup(void *self, char addresses[][46], size_t count,
                      const char *why)
{
    struct pg_connection *c = self;
    char words[200];
    c->lookup = NULL;
    c->phase = PHASE_CLOSED;
    if (count == 0) {
        snprintf(words, sizeof words, "cannot find its address: %s", why);
        host_failed(c, words);
        return;
    }
    memcpy(c->addresses, addresses, count * sizeof c->addresses[0]);
    c->address_count = count;
    host_connect(c);
}

static void host_try(struct pg_connection *c)
{
    c->address_count = c->address = 0;
    if (!c->hosts.count || !pg_hosts_needs_lookup(&c->hosts, c->host)) {
        host_connect(c);
        return;
    }
    pg_timer_start(c, c->connect_timeout_ms);
    struct error error;
    c->phase = PHASE_LOOKUP;
    c->lookup = pg_lookup_start(c->base, c->hosts.names[c->host], RESOLV_CONF,
                                on_lookup, c, &error);
    if (!c->lookup)
        host_failed(c, error.text);
}

void pg_connection_connect(struct pg_connection *c, pg_done done, void *self)
{
    pg_connection_close(c);
    answer_reset(c);
    c->done = done;
    c->self = self;
    /* The host that was good last comes first. */
    c->hosts_left = c->hosts.count ? c->hosts.count - 1 : 0;
    pg_timer_start(c, 0); /* the rest from the loop: we never call back here */
}

/* --- events ----------------------------------------------------------- */

static void idle_step(struct pg_connection *c)
{
    /* Notices and parameter changes are swallowed; an end of file, or an
     * error that the server sends before it closes, ends the line. */
    if (!libpq->consumeInput(c->line) ||
        libpq->status(c->line) == CONNECTION_BAD)
        pg_line_drop(c);
}

static void on_socket(evutil_socket_t fd, short what, void *self)
{
    struct pg_connection *c = self;
    (void)fd, (void)what;
    if (c->phase == PHASE_CONNECTING)
        connect_step(c);
    else if (c->phase == PHASE_QUERY)
        pg_query_step(c);
    else if (c->phase == PHASE_IDLE)
        idle_step(c);
}

/* Closed: queries that are down, and an attempt that begins or has failed. */
static void closed_step(struct pg_connection *c)
{
    pg_queries_fail(c);
    if (c->phase != PHASE_CLOSED || !c->done)
        return;
    if (c->answer.down)
        finish(c);
    else
        host_try(c);
}

static void on_timer(evutil_socket_t fd, short what, void *self)
{
    struct pg_connection *c = self;
    (void)fd, (void)what;
    switch (c->phase) {
    case PHASE_CLOSED:
        closed_step(c);
        return;
    case PHASE_LOOKUP:
        host_failed(c, "cannot find its address: no name server answered "
                       "in time");
        return;
    case PHASE_CONNECTING:
        host_failed(c, "no answer in time");
        return;
    case PHASE_QUERY:
        error_set(&c->lost, ERROR_TRY_AGAIN,
                  "PostgreSQL did not answer within %lld ms",
                  (long long)c->query_timeout_ms);
        pg_queries_lose(c, NULL);
        return;
    case PHASE_IDLE:
        return;
    }
}

/* --- making ----------------------------------------------------------- */

int pg_connection_new(struct pg_connection **connection,
                      struct event_base *base,
                      const struct pg_settings *settings, struct error *error)
{
    struct pg_connection *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(error, ERROR_SYSTEM, "out of memory");
    c->base = base;
    c->watched = -1;
    c->connect_timeout_ms = settings->connect_timeout_ms;
    c->statement_timeout_ms = settings->statement_timeout_ms;
    c->query_timeout_ms = settings->query_timeout_ms;
    c->conninfo = strdup(settings->conninfo);
    c->application_name = strdup(settings->application_name);
    c->timer = event_new(base, -1, 0, on_timer, c);
    if (!c->conninfo || !c->application_name || !c->timer)
        error_set(error, ERROR_SYSTEM, "out of memory");
    else if (getrandom(&c->secret, sizeof c->secret, 0) != sizeof c->secret)
        error_set(error, ERROR_SYSTEM, "no random number: %s", strerror(errno));
    else if (pg_hosts_init(&c->hosts, settings->conninfo, error) == 0) {
        *connection = c;
        return 0;
    }
    pg_connection_free(&c);
    return -1;
}

void pg_connection_free(struct pg_connection **connection)
{
    struct pg_connection *c = *connection;
    if (!c)
        return;
    if (c->timer) {
        pg_connection_rest(c);
        event_free(c->timer);
    }
    answer_reset(c);
    pg_hosts_deinit(&c->hosts);
    free(c->conninfo);
    free(c->application_name);
    free(c);
    *connection = NULL;
}
