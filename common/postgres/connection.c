/* SPDX-License-Identifier: Apache-2.0 */
#include "common/postgres/connection.h"

#include <event2/event.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "common/base/crash_point.h"
#include "common/postgres/hosts.h"
#include "common/postgres/resolver.h"

#define TEXT_OID 25

#define RESOLV_CONF "/etc/resolv.conf"

enum phase {
    PHASE_CLOSED,
    PHASE_LOOKUP, /* of a host's name */
    PHASE_CONNECTING,
    PHASE_IDLE,
    PHASE_QUERY
};

struct pg_connection {
    struct event_base *base;
    struct event *socket_event; /* of the socket as it is now */
    struct event *timer;        /* deadline, or "call back soon" */
    PGconn *line;
    int watched; /* descriptor of socket_event, -1 for none */
    short watched_for;
    enum phase phase;
    bool pipeline; /* the query under way is one */
    char *conninfo;
    char *application_name;
    struct pg_hosts hosts;
    size_t host;       /* being tried, or connected to */
    size_t hosts_left; /* to try after it */
    struct pg_lookup *lookup;
    char addresses[PG_ADDRESSES_MAX][46]; /* of the host */
    size_t address_count, address;        /* 0: libpq knows */
    int64_t connect_timeout_ms, statement_timeout_ms, query_timeout_ms;
    struct pg_answer answer;
    pg_done done;
    void *self;
};

static void host_try(struct pg_connection *c);
static void host_connect(struct pg_connection *c);
static void query_step(struct pg_connection *c);

static void timer_start(struct pg_connection *c, int64_t ms)
{
    struct timeval wait = {.tv_sec = ms / 1000,
                           .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    event_add(c->timer, &wait);
}

static void watch_stop(struct pg_connection *c)
{
    if (c->socket_event)
        event_free(c->socket_event);
    c->socket_event = NULL;
    c->watched = -1;
}

void pg_connection_close(struct pg_connection *c)
{
    watch_stop(c);
    event_del(c->timer);
    pg_lookup_cancel(&c->lookup);
    if (c->line)
        PQfinish(c->line);
    c->line = NULL;
    c->phase = PHASE_CLOSED;
}

void pg_connection_rest(struct pg_connection *c)
{
    c->done = NULL;
    pg_connection_close(c);
}

bool pg_connection_is_open(const struct pg_connection *c)
{
    return c->phase == PHASE_IDLE;
}

static void answer_reset(struct pg_connection *c)
{
    PQclear((PGresult *)c->answer.result);
    memset(&c->answer, 0, sizeof c->answer);
}

static void line_words(struct pg_connection *c, char *out, size_t room)
{
    pg_words_copy(out, room,
                  c->line ? PQerrorMessage(c->line) : "out of memory");
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
    PQclear((PGresult *)answer.result);
}

static void finish_down(struct pg_connection *c, const char *what)
{
    char words[600];
    line_words(c, words, sizeof words);
    c->answer.ok = false;
    c->answer.down = true;
    if (c->answer.error.code == ERROR_NONE)
        error_set(&c->answer.error, ERROR_TRY_AGAIN, "%s: %s", what, words);
    pg_connection_close(c);
    finish(c);
}

/* --- waiting ---------------------------------------------------------- */

static void on_socket(evutil_socket_t fd, short what, void *self);

static void watch(struct pg_connection *c, short what)
{
    int fd = PQsocket(c->line);
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
        pg_words_of_connect(c->line ? PQerrorMessage(c->line) : "out of memory",
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
    pg_connection_close(c);
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
    switch (PQconnectPoll(c->line)) {
    case PGRES_POLLING_READING:
        watch(c, EV_READ);
        return;
    case PGRES_POLLING_WRITING:
        watch(c, EV_WRITE);
        return;
    case PGRES_POLLING_OK:
        if (PQsetnonblocking(c->line, 1) != 0)
            break;
        c->phase = PHASE_IDLE;
        PQsetErrorVerbosity(c->line, PQERRORS_DEFAULT);
        c->answer.ok = true;
        c->answer.busy = false;
        c->answer.sqlstate[0] = '\0';
        error_clear(&c->answer.error);
        watch(c, EV_READ);
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
    timer_start(c, c->connect_timeout_ms /
                       (int64_t)(c->address_count ? c->address_count : 1));
    c->line = PQconnectStartParams(keys, values, 1);
    if (!c->line || PQstatus(c->line) == CONNECTION_BAD) {
        host_failed(c, NULL);
        return;
    }
    /* So that the words of a failure have its SQLSTATE. */
    PQsetErrorVerbosity(c->line, PQERRORS_VERBOSE);
    c->phase = PHASE_CONNECTING;
    watch(c, EV_WRITE);
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
    timer_start(c, c->connect_timeout_ms);
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
    timer_start(c, 0); /* the rest from the loop: we never call back here */
}

/* --- querying --------------------------------------------------------- */

static void result_keep(struct pg_connection *c, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_FATAL_ERROR && c->answer.error.code == ERROR_NONE) {
        const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        char words[800];
        pg_words_copy(words, sizeof words,
                      text ? text : PQresultErrorMessage(result));
        if (code)
            snprintf(c->answer.sqlstate, sizeof c->answer.sqlstate, "%s", code);
        error_set(&c->answer.error, ERROR_TRY_AGAIN, "PostgreSQL: %s%s%s%s",
                  words, code ? " (" : "", code ? code : "", code ? ")" : "");
        c->answer.busy = pg_failure_is_busy(c->answer.sqlstate, words);
    }
    if (status == PGRES_TUPLES_OK) {
        PQclear((PGresult *)c->answer.result);
        c->answer.result = (struct pg_result *)result;
        return;
    }
    PQclear(result);
}

static void query_end(struct pg_connection *c)
{
    if (PQstatus(c->line) == CONNECTION_BAD ||
        (c->answer.sqlstate[0] &&
         pg_failure_of(c->answer.sqlstate) == PG_DOWN &&
         strcmp(c->answer.sqlstate, "57014") != 0)) {
        finish_down(c, "the connection to PostgreSQL broke");
        return;
    }
    if (c->pipeline && !PQexitPipelineMode(c->line)) {
        finish_down(c, "the connection to PostgreSQL is out of step");
        return;
    }
    c->phase = PHASE_IDLE;
    watch(c, EV_READ);
    c->answer.ok = c->answer.error.code == ERROR_NONE;
    c->answer.down =
        !c->answer.ok && pg_failure_of(c->answer.sqlstate) == PG_DOWN;
    finish(c);
}

static void query_step(struct pg_connection *c)
{
    bool after_null = false;
    if (!PQconsumeInput(c->line)) {
        finish_down(c, "the connection to PostgreSQL broke");
        return;
    }
    int rest = PQflush(c->line);
    if (rest < 0) {
        finish_down(c, "the connection to PostgreSQL broke");
        return;
    }
    watch(c, rest ? EV_READ | EV_WRITE : EV_READ);
    if (!rest)
        CRASH_POINT(PGSQL_FLUSHED);
    while (!PQisBusy(c->line)) {
        PGresult *result = PQgetResult(c->line);
        bool synced = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        if (result)
            result_keep(c, result);
        /* In a pipeline one NULL ends a statement, two mean that libpq has
         * nothing more to wait for. */
        if (synced || (!result && (!c->pipeline || after_null)) ||
            PQstatus(c->line) == CONNECTION_BAD) {
            query_end(c);
            return;
        }
        after_null = !result;
    }
}

static void idle_step(struct pg_connection *c)
{
    /* Notices and parameter changes are swallowed; an end of file, or an
     * error that the server sends before it closes, ends the line. */
    if (!PQconsumeInput(c->line) || PQstatus(c->line) == CONNECTION_BAD)
        pg_connection_close(c);
}

static void on_socket(evutil_socket_t fd, short what, void *self)
{
    struct pg_connection *c = self;
    (void)fd, (void)what;
    if (c->phase == PHASE_CONNECTING)
        connect_step(c);
    else if (c->phase == PHASE_QUERY)
        query_step(c);
    else if (c->phase == PHASE_IDLE)
        idle_step(c);
}

static void on_timer(evutil_socket_t fd, short what, void *self)
{
    struct pg_connection *c = self;
    (void)fd, (void)what;
    switch (c->phase) {
    case PHASE_CLOSED:
        if (c->answer.down)
            finish(c);
        else if (c->done)
            host_try(c);
        return;
    case PHASE_LOOKUP:
        host_failed(c, "cannot find its address: no name server answered "
                       "in time");
        return;
    case PHASE_CONNECTING:
        host_failed(c, "no answer in time");
        return;
    case PHASE_QUERY:
        error_set(&c->answer.error, ERROR_TRY_AGAIN,
                  "PostgreSQL did not answer within %lld ms",
                  (long long)c->query_timeout_ms);
        finish_down(c, "timeout");
        return;
    case PHASE_IDLE:
        return;
    }
}

static bool query_begin(struct pg_connection *c, pg_done done, void *self)
{
    answer_reset(c);
    c->done = done;
    c->self = self;
    if (c->phase == PHASE_IDLE) {
        c->phase = PHASE_QUERY;
        return true;
    }
    c->answer.down = true;
    error_set(&c->answer.error, ERROR_TRY_AGAIN,
              "the connection to PostgreSQL is closed");
    timer_start(c, 0);
    return false;
}

static void query_sent(struct pg_connection *c, bool sent)
{
    if (!sent || PQflush(c->line) < 0) {
        char words[600];
        line_words(c, words, sizeof words);
        error_set(&c->answer.error, ERROR_TRY_AGAIN,
                  "cannot send to PostgreSQL: %s", words);
        c->answer.down = true;
        pg_connection_close(c);
        timer_start(c, 0);
        return;
    }
    timer_start(c, c->query_timeout_ms);
    watch(c, EV_READ | EV_WRITE);
}

static bool pipeline_send(struct pg_connection *c, const char *sql,
                          const struct pg_parameter *parameters, size_t count)
{
    Oid types[PG_PARAMETERS_MAX];
    const char *values[PG_PARAMETERS_MAX];
    int sizes[PG_PARAMETERS_MAX], formats[PG_PARAMETERS_MAX];
    char timeout[24];
    const char *timeout_value = timeout;
    Oid text_type = TEXT_OID;
    snprintf(timeout, sizeof timeout, "%lld",
             (long long)c->statement_timeout_ms);
    if (count > PG_PARAMETERS_MAX || !PQenterPipelineMode(c->line))
        return false;
    for (size_t i = 0; i < count; i++) {
        types[i] = parameters[i].type;
        values[i] = parameters[i].value;
        sizes[i] = parameters[i].size_bytes;
        formats[i] = 1;
    }
    /* Without BEGIN the statements up to the Sync are one transaction, and
     * a failure leaves no open one behind. */
    if (c->statement_timeout_ms > 0 &&
        !PQsendQueryParams(c->line,
                           "SELECT set_config('statement_timeout', $1, true)",
                           1, &text_type, &timeout_value, NULL, NULL, 0))
        return false;
    return PQsendQueryParams(c->line, sql, (int)count, types, values, sizes,
                             formats, 0) &&
           PQpipelineSync(c->line);
}

void pg_connection_query(struct pg_connection *c, const char *sql,
                         const struct pg_parameter *parameters, size_t count,
                         pg_done done, void *self)
{
    if (!query_begin(c, done, self))
        return;
    c->pipeline = true;
    query_sent(c, pipeline_send(c, sql, parameters, count));
}

void pg_connection_script(struct pg_connection *c, const char *sql,
                          pg_done done, void *self)
{
    if (!query_begin(c, done, self))
        return;
    c->pipeline = false;
    query_sent(c, PQsendQuery(c->line, sql) == 1);
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
        pg_connection_close(c);
        event_free(c->timer);
    }
    answer_reset(c);
    pg_hosts_deinit(&c->hosts);
    free(c->conninfo);
    free(c->application_name);
    free(c);
    *connection = NULL;
}

/* --- reading ---------------------------------------------------------- */

int pg_result_rows(const struct pg_result *result)
{
    return result ? PQntuples((const PGresult *)result) : 0;
}

const char *pg_result_text(const struct pg_result *result, int row, int column)
{
    const PGresult *r = (const PGresult *)result;
    return PQgetisnull(r, row, column) ? NULL : PQgetvalue(r, row, column);
}
