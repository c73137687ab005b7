/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries on a line: each is a pipeline of its own up to its Sync, so that
 * it is its own transaction, and the next is sent without waiting.
 *
 * Each pipeline begins with a greeting, which gives back the query's name.
 * PgBouncer up to 1.18 at least, in transaction mode, takes a server for
 * free when the first of several pipelines is answered and its client is
 * gone, and its next client gets the answers to the others: "applied" for a
 * batch that never arrived.  An answer without its greeting is nobody's, and
 * ends the line.  So that those who come after a worker of ours that was
 * killed do not get its answers, nothing is sent ahead through a pooler.
 */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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
    free(query.held);
    memset(query_head(c), 0, sizeof *query_head(c));
    c->query_first = (c->query_first + 1) % PG_QUERIES_MAX;
    c->query_count--;
    query.done(query.self, &query.answer);
    libpq->clear((PGresult *)query.answer.result);
}

void pg_queries_drop(struct pg_connection *c)
{
    for (size_t i = 0; i < PG_QUERIES_MAX; i++) {
        libpq->clear((PGresult *)c->queries[i].answer.result);
        free(c->queries[i].held);
    }
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

/* --- the greeting --- */

#define NAME_SIZE 40

static const char greeting_sql[] = "SELECT $1, pg_backend_pid()";
static const char greeting_limit_sql[] =
    "SELECT $1, pg_backend_pid(), set_config('statement_timeout', $2, true)";

static void query_name(const struct pg_connection *c, uint64_t number,
                       char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "%016" PRIx64 "-%" PRIu64, c->secret, number);
}

static bool greeting_send(struct pg_connection *c, uint64_t number)
{
    char name[NAME_SIZE], limit[24];
    const char *values[] = {name, limit};
    const Oid types[] = {TEXT_OID, TEXT_OID};
    bool limited = c->statement_timeout_ms > 0;
    query_name(c, number, name);
    snprintf(limit, sizeof limit, "%lld", (long long)c->statement_timeout_ms);
    return libpq->sendQueryParams(
        c->line, limited ? greeting_limit_sql : greeting_sql, limited ? 2 : 1,
        types, values, NULL, NULL, 0);
}

/* Do these rows greet us?  Then they tell also which process the server is;
 * libpq knows the one that it was told of when it connected. */
static bool greeting_take(struct pg_connection *c, struct pg_query *query,
                          const PGresult *rows)
{
    char name[NAME_SIZE];
    query_name(c, query->number, name);
    if (libpq->ntuples(rows) != 1 || libpq->nfields(rows) < 2 ||
        strcmp(libpq->getvalue(rows, 0, 0), name) != 0)
        return false;
    query->greeted = true;
    c->pooled = atoi(libpq->getvalue(rows, 0, 1)) != libpq->backendPID(c->line);
    return true;
}

/* The answers on this line are not to our queries: whatever they say, it is
 * not of them. */
static void line_mixed_up(struct pg_connection *c)
{
    struct pg_answer *answer = &query_head(c)->answer;
    libpq->clear((PGresult *)answer->result);
    memset(answer, 0, sizeof *answer);
    error_set(&c->lost, ERROR_TRY_AGAIN,
              "the connection to PostgreSQL gave an answer to somebody else's "
              "question: a pooler before it mixes up its clients");
    pg_queries_lose(c, NULL);
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

static void held_send(struct pg_connection *c);

/* The first query has its answer whole. */
static void query_end(struct pg_connection *c)
{
    struct pg_answer *answer = &query_head(c)->answer;
    if (libpq->status(c->line) == CONNECTION_BAD || ends_line(answer)) {
        pg_queries_lose(c, "the connection to PostgreSQL broke");
        return;
    }
    if (!c->script && !query_head(c)->greeted) {
        line_mixed_up(c);
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
    if (c->phase == PHASE_QUERY && query_head(c)->held)
        held_send(c);
}

/* Takes one result off the line.  False when there is nothing to take, or
 * the line is not what it was: a query has ended. */
static bool result_take(struct pg_connection *c, bool *after_null)
{
    PGresult *result = libpq->getResult(c->line);
    struct pg_query *query = query_head(c);
    bool synced = libpq->resultStatus(result) == PGRES_PIPELINE_SYNC;
    if (!c->script && !query->greeted &&
        libpq->resultStatus(result) == PGRES_TUPLES_OK) {
        bool ours = greeting_take(c, query, result);
        libpq->clear(result);
        *after_null = false;
        if (!ours)
            line_mixed_up(c);
        return ours;
    }
    if (result)
        result_keep(&query->answer, result);
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

/* NULL when there is no line: it is answered so from the loop. */
static struct pg_query *query_begin(struct pg_connection *c, pg_done done,
                                    void *self)
{
    struct pg_query *query =
        &c->queries[(c->query_first + c->query_count++) % PG_QUERIES_MAX];
    *query =
        (struct pg_query){.done = done, .self = self, .number = c->numbered++};
    if (pg_connection_is_open(c))
        return query;
    error_set(&query->answer.error, ERROR_TRY_AGAIN,
              "the connection to PostgreSQL is closed");
    if (c->phase == PHASE_CLOSED)
        pg_timer_start(c, 0);
    return NULL;
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

static bool pipeline_send(struct pg_connection *c, uint64_t number,
                          const char *sql,
                          const struct pg_parameter *parameters, size_t count)
{
    Oid types[PG_PARAMETERS_MAX];
    const char *values[PG_PARAMETERS_MAX];
    int sizes[PG_PARAMETERS_MAX], formats[PG_PARAMETERS_MAX];
    if (!libpq->enterPipelineMode(c->line))
        return false;
    for (size_t i = 0; i < count; i++) {
        types[i] = parameters[i].type;
        values[i] = parameters[i].value;
        sizes[i] = parameters[i].size_bytes;
        formats[i] = 1;
    }
    /* Without BEGIN the statements up to the Sync are one transaction, and
     * a failure leaves no open one behind. */
    return greeting_send(c, number) &&
           libpq->sendQueryParams(c->line, sql, (int)count, types, values,
                                  sizes, formats, 0) &&
           libpq->pipelineSync(c->line);
}

/* --- what waits for the answer before it --- */

/* A query with copies of its texts, in one piece of memory. */
struct pg_held {
    const char *sql;
    size_t count;
    struct pg_parameter parameters[PG_PARAMETERS_MAX];
    char bytes[];
};

static struct pg_held *
held_new(const char *sql, const struct pg_parameter *parameters, size_t count)
{
    size_t size = strlen(sql) + 1;
    for (size_t i = 0; i < count; i++)
        size += parameters[i].value ? (size_t)parameters[i].size_bytes + 1 : 0;
    struct pg_held *held = malloc(sizeof *held + size);
    if (!held)
        return NULL;
    char *end = held->bytes;
    held->sql = strcpy(end, sql);
    held->count = count;
    end += strlen(sql) + 1;
    for (size_t i = 0; i < count; i++) {
        held->parameters[i] = parameters[i];
        if (!parameters[i].value)
            continue;
        size = (size_t)parameters[i].size_bytes;
        held->parameters[i].value = memcpy(end, parameters[i].value, size);
        end[size] = '\0';
        end += size + 1;
    }
    return held;
}

static void held_send(struct pg_connection *c)
{
    struct pg_query *query = query_head(c);
    struct pg_held *held = query->held;
    query->held = NULL;
    query_sent(c, pipeline_send(c, query->number, held->sql, held->parameters,
                                held->count));
    free(held);
}

/* Through a pooler the next one waits for the answer before it. */
static bool query_start(struct pg_connection *c, struct pg_query *query,
                        const char *sql, const struct pg_parameter *parameters,
                        size_t count)
{
    if (count > PG_PARAMETERS_MAX)
        return false;
    if (!c->pooled || c->query_count == 1)
        return pipeline_send(c, query->number, sql, parameters, count);
    query->held = held_new(sql, parameters, count);
    return query->held != NULL;
}

void pg_connection_query(struct pg_connection *c, const char *sql,
                         const struct pg_parameter *parameters, size_t count,
                         pg_done done, void *self)
{
    struct pg_query *query = query_begin(c, done, self);
    if (!query)
        return;
    c->script = false;
    query_sent(c, query_start(c, query, sql, parameters, count));
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
