/* SPDX-License-Identifier: Apache-2.0
 *
 * What connection.c (making and breaking lines) and query.c (using one)
 * share.
 */
#ifndef TIDEMILL_POSTGRES_CONNECTION_INTERNAL_H
#define TIDEMILL_POSTGRES_CONNECTION_INTERNAL_H

#include "common/postgres/connection.h"
#include "common/postgres/hosts.h"
#include "common/postgres/libpq.h"
#include "common/postgres/resolver.h"

struct event;

enum phase {
    PHASE_CLOSED,
    PHASE_LOOKUP, /* of a host's name */
    PHASE_CONNECTING,
    PHASE_IDLE,
    PHASE_QUERY
};

struct pg_held;

struct pg_query {
    struct pg_answer answer; /* as far as it is known */
    pg_done done;
    void *self;
    uint64_t number;      /* its name on this line */
    bool greeted;         /* the answer is to this query: see query.c */
    struct pg_held *held; /* not sent yet; NULL when it is */
};

struct pg_connection {
    struct event_base *base;
    struct event *socket_event; /* of the socket as it is now */
    struct event *timer;        /* deadline, or "call back soon" */
    PGconn *line;
    int watched; /* descriptor of socket_event, -1 for none */
    short watched_for;
    enum phase phase;
    char *conninfo;
    char *application_name;
    struct pg_hosts hosts;
    size_t host;       /* being tried, or connected to */
    size_t hosts_left; /* to try after it */
    struct pg_lookup *lookup;
    char addresses[PG_ADDRESSES_MAX][46]; /* of the host */
    size_t address_count, address;        /* 0: libpq knows */
    int64_t connect_timeout_ms, statement_timeout_ms, query_timeout_ms;
    /* Of connecting. */
    struct pg_answer answer;
    pg_done done;
    void *self;
    /* Queries without an answer, a ring: they are answered in turn. */
    struct pg_query queries[PG_QUERIES_MAX];
    size_t query_first, query_count;
    bool script;       /* the query under way is one */
    bool pooled;       /* a pooler stands before the server */
    uint64_t secret;   /* no other client knows our queries' names */
    uint64_t numbered; /* queries so far */
    struct error lost; /* why those are down that have no reason of their own */
};

/* connection.c */
void pg_timer_start(struct pg_connection *c, int64_t ms);
/* Waits for the socket; calls connecting, querying or idling on. */
void pg_watch(struct pg_connection *c, short what);
void pg_line_words(struct pg_connection *c, char *out, size_t room);
/* Closes the line; nothing calls back. */
void pg_line_drop(struct pg_connection *c);

/* query.c */
void pg_query_step(struct pg_connection *c);
/* The line is lost, or must be given up: all queries are DOWN. */
void pg_queries_lose(struct pg_connection *c, const char *what);
/* Answers all with why they are down; the line is closed. */
void pg_queries_fail(struct pg_connection *c);
/* Forgets all without calling back. */
void pg_queries_drop(struct pg_connection *c);

#endif
