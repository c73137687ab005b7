/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries on a line: each is a pipeline of its own up to its Sync, so that
 * it is its own transaction, and the next is sent without waiting.
 */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "common/base/crash_point.h"
#include "common/postgres/connection_internal.h"
#include "common/postgres/failure.h"

#define TEXT_OID 25

/* --- the ring --- */

static struct pg_query *query_head(struct pg_connection *c)
{
    return &c->queries[c->query_first];
}

/* Takes the first query off the ring and answers it. */
static void query_finish(struct pg_connection *c)
{
    struct pg_query query = *query_head(c);
    memset(query_head(c), 0, sizeof *query_head(c));
    c->query_first = (c->query_first + 1) % PG_QUERIES_MAX;
    c->query_count--;
    query.done(query.self, &query.answer);
    libpq->clear((PGresult *)query.answer.result);
}

void pg_queries_drop(struct pg_connection *c)
{
    for (size_t i = 0; i < PG_QUERIES_MAX; i++)
        libpq->clear((PGresult *)c->queries[i].answer.result);
    memset(c->queries, 0, sizeof c->queries);
    c->query_count = 0;
}

void pg_queries_fail(struct pg_connection *c)
{
    /* Not those that are added meanwhile. */
    for (size_t left = c->query_count; left > 0 && c->query_count > 0; left--) {
        struct pg_answer *answer = &query_head(c)->answer;
        answer->ok = false;
        answer->down = true;
        if (answer->error.code == ERROR_NONE)
            answer->error = c->lost;
        query_finish(c);
    }
}

void pg_queries_lose(struct pg_connection *c, const char *what)
{
    char words[600];
    pg_line_words(c, words, sizeof words);
    if (what)
        error_set(&c->lost, ERROR_TRY_AGAIN, "%s: %s", what, words);
    pg_line_drop(c);
    pg_queries_fail(c);
}

/* --- answers --- */

static void result_keep(struct pg_answer *answer, PGresult *result)
{
    ExecStatusType status = libpq->resultStatus(result);
    if (status == PGRES_FATAL_ERROR && answer->error.code == ERROR_NONE) {
        const char *code = libpq->resultErrorField(result, PG_DIAG_SQLSTATE);
        const char *text =
            libpq->resultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        char words[800];
        pg_words_copy(words, sizeof words,
                      text ? text : libpq->resultErrorMessage(result));
        if (code)
            snprintf(answer->sqlstate, sizeof answer->sqlstate, "%s", code);
        error_set(&answer->error, ERROR_TRY_AGAIN, "PostgreSQL: %s%s%s%s",
                  words, code ? " (" : "", code ? code : "", code ? ")" : "");
        answer->busy = pg_failure_is_busy(answer->sqlstate, words);
    }
    if (status == PGRES_TUPLES_OK) {
        libpq->clear((PGresult *)answer->result);
        answer->result = (struct pg_result *)result;
        return;
    }
    libpq->clear(result);
}

/* The line is of no use any more, whatever else is under way on it. */
static bool ends_line(const struct pg_answer *answer)
{
    return answer->sqlstate[0] && pg_failure_of(answer->sqlstate) == PG_DOWN &&
           strcmp(answer->sqlstate, "57014") != 0;
}

/* The first query has its answer whole. */
static void query_end(struct pg_connection *c)
{
    struct pg_answer *answer = &query_head(c)->answer;
    if (libpq->status(c->line) == CONNECTION_BAD || ends_line(answer)) {
        pg_queries_lose(c, "the connection to PostgreSQL broke");
        return;
    }
    if (c->query_count > 1) {
        pg_timer_start(c, c->query_timeout_ms);
    } else if (!c->script && !libpq->exitPipelineMode(c->line)) {
        pg_queries_lose(c, "the connection to PostgreSQL is out of step");
        return;
    } else {
        c->phase = PHASE_IDLE;
        event_del(c->timer);
        pg_watch(c, EV_READ);
    }
    answer->ok = answer->error.code == ERROR_NONE;
    answer->down = !answer->ok && pg_failure_of(answer->sqlstate) == PG_DOWN;
    query_finish(c);
}

/* Takes one result off the line.  False when there is nothing to take, or
 * the line is not what it was: a query has ended. */
static bool result_take(struct pg_connection *c, bool *after_null)
{
    PGresult *result = libpq->getResult(c->line);
    bool synced = libpq->resultStatus(result) == PGRES_PIPELINE_SYNC;
    if (result)
        result_keep(&query_head(c)->answer, result);
    /* In a pipeline one NULL ends a statement, two mean that libpq has
     * nothing more to wait for: the server has given the line up. */
    if (!result && !c->script && *after_null) {
        pg_queries_lose(c, "the connection to PostgreSQL broke");
        return false;
    }
    *after_null = !result;
    if (synced || (!result && c->script) ||
        libpq->status(c->line) == CONNECTION_BAD) {
        *after_null = false;
        query_end(c);
    }
    return c->phase == PHASE_QUERY;
}

void pg_query_step(struct pg_connection *c)
{
    bool after_null = false;
    int rest = libpq->consumeInput(c->line) ? libpq->flush(c->line) : -1;
    if (rest < 0) {
        pg_queries_lose(c, "the connection to PostgreSQL broke");
        return;
    }
    pg_watch(c, rest ? EV_READ | EV_WRITE : EV_READ);
    if (!rest)
        CRASH_POINT(PGSQL_FLUSHED);
    while (!libpq->isBusy(c->line))
        if (!result_take(c, &after_null))
            return;
}

/* --- questions --- */

/* False when there is no line: it is answered so from the loop. */
static bool query_begin(struct pg_connection *c, pg_done done, void *self)
{
    size_t at = (c->query_first + c->query_count++) % PG_QUERIES_MAX;
    c->queries[at] = (struct pg_query){.done = done, .self = self};
    if (pg_connection_is_open(c))
        return true;
    error_set(&c->queries[at].answer.error, ERROR_TRY_AGAIN,
              "the connection to PostgreSQL is closed");
    if (c->phase == PHASE_CLOSED)
        pg_timer_start(c, 0);
    return false;
}

static void query_sent(struct pg_connection *c, bool sent)
{
    int rest = sent ? libpq->flush(c->line) : -1;
    if (rest < 0) {
        char words[600];
        pg_line_words(c, words, sizeof words);
        error_set(&c->lost, ERROR_TRY_AGAIN, "cannot send to PostgreSQL: %s",
                  words);
        pg_line_drop(c);
        pg_timer_start(c, 0);
        return;
    }
    c->phase = PHASE_QUERY;
    if (c->query_count == 1)
        pg_timer_start(c, c->query_timeout_ms);
    pg_watch(c, EV_READ | EV_WRITE);
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
    if (count > PG_PARAMETERS_MAX || !libpq->enterPipelineMode(c->line))
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
        !libpq->sendQueryParams(
            c->line, "SELECT set_config('statement_timeout', $1, true)", 1,
            &text_type, &timeout_value, NULL, NULL, 0))
        return false;
    return libpq->sendQueryParams(c->line, sql, (int)count, types, values,
                                  sizes, formats, 0) &&
           libpq->pipelineSync(c->line);
}

void pg_connection_query(struct pg_connection *c, const char *sql,
                         const struct pg_parameter *parameters, size_t count,
                         pg_done done, void *self)
{
    if (!query_begin(c, done, self))
        return;
    c->script = false;
    query_sent(c, pipeline_send(c, sql, parameters, count));
}

void pg_connection_script(struct pg_connection *c, const char *sql,
                          pg_done done, void *self)
{
    if (!query_begin(c, done, self))
        return;
    c->script = true;
    query_sent(c, libpq->sendQuery(c->line, sql) == 1);
}

/* --- reading --- */

int pg_result_rows(const struct pg_result *result)
{
    return result ? libpq->ntuples((const PGresult *)result) : 0;
}

const char *pg_result_text(const struct pg_result *result, int row, int column)
{
    const PGresult *r = (const PGresult *)result;
    return libpq->getisnull(r, row, column) ? NULL
                                            : libpq->getvalue(r, row, column);
}
