/* SPDX-License-Identifier: Apache-2.0
 *
 * A PostgreSQL connection in an event loop: connecting and waiting for
 * answers never block.  Names are looked up by resolver.h, but for those that
 * libpq has from elsewhere (PGHOST, a service file).
 *
 * No session state is relied upon: parameters travel with each query, and
 * timeouts are set in its transaction, so that it works behind PgBouncer in
 * transaction mode.  An answer is taken for a query's only when it names the
 * query: a pooler may mix up its clients' answers (query.c).
 */
#ifndef TIDEMILL_POSTGRES_CONNECTION_H
#define TIDEMILL_POSTGRES_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/postgres/failure.h"

struct event_base;
struct pg_connection;
struct pg_result; /* libpq's PGresult */

struct pg_settings {
    const char *conninfo; /* libpq's, keywords or URI; copied */
    const char *application_name;
    int64_t connect_timeout_ms;   /* for each host */
    int64_t statement_timeout_ms; /* at the server; 0: the server's own */
    int64_t query_timeout_ms;     /* longest wait for an answer */
};

/* How an attempt ended. */
struct pg_answer {
    bool ok;
    bool down;        /* the line is down; the connection was closed */
    bool busy;        /* the server, or its pooler, has no connection free */
    char sqlstate[6]; /* of a failure the server told; "" otherwise */
    struct error error;
    struct pg_result *result; /* the rows; valid during the call */
};

typedef void (*pg_done)(void *self, const struct pg_answer *answer);

/* Checks the settings; connects to nothing yet.  Where the connection string
 * says nothing of it, target_session_attrs is read-write and keep-alives
 * find a dead line within connect_timeout_ms and half a minute. */
int pg_connection_new(struct pg_connection **connection,
                      struct event_base *base,
                      const struct pg_settings *settings, struct error *error);

/* Closes at once; nothing that is under way calls back.  A statement that
 * the server is at is ended there by its statement timeout. */
void pg_connection_free(struct pg_connection **connection);

/* Closes the line, keeps the settings. */
void pg_connection_close(struct pg_connection *connection);

/* The same, and nothing that is under way calls back. */
void pg_connection_rest(struct pg_connection *connection);

/* Is there a line, as far as is known? A line that the server closed while
 * it was idle is noticed. */
bool pg_connection_is_open(const struct pg_connection *connection);

/* Does a pooler stand between us and the server?  Known with the first answer
 * on a line; false before. */
bool pg_connection_is_pooled(const struct pg_connection *connection);

/* Tries every host of the connection string in turn, that one first which
 * was good last.  done is called
 * exactly once, never from within the call. */
void pg_connection_connect(struct pg_connection *connection, pg_done done,
                           void *self);

/* A parameter in libpq's binary form; value NULL for NULL. */
#define PG_PARAMETERS_MAX 48 /* of a query */

struct pg_parameter {
    unsigned type; /* object id of the type */
    const void *value;
    int size_bytes;
};

/* Queries of a connection without an answer. */
#define PG_QUERIES_MAX 16

/* One statement in a transaction of its own, answered when that is
 * committed.  The parameters are copied before it returns.  done as above.
 * Others may be called before it is answered, up to PG_QUERIES_MAX: they are
 * sent at once (a pipeline with a Sync behind each), through a pooler one by
 * one, and answered in their
 * order; one that fails says nothing of those behind it, but when the line is
 * lost all are down.  The connection must not be freed within done. */
void pg_connection_query(struct pg_connection *connection, const char *sql,
                         const struct pg_parameter *parameters, size_t count,
                         pg_done done, void *self);

/* Several statements without parameters in one text, which may hold BEGIN
 * and COMMIT, while no query is under way; the answer has the rows of the last
 * one that gives any.  After a failure the caller closes the connection. */
void pg_connection_script(struct pg_connection *connection, const char *sql,
                          pg_done done, void *self);

/* Reading a result (rows in text form). */
int pg_result_rows(const struct pg_result *result);
/* NULL for NULL. */
const char *pg_result_text(const struct pg_result *result, int row, int column);

#endif
