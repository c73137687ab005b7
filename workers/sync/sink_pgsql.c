/* SPDX-License-Identifier: Apache-2.0
 *
 * The sink of PostgreSQL.  connect -> check the schema -> apply the folded
 * batch in one call; where the server refuses a part of it for good, once
 * more the careful way, by bisection in subtransactions of one call.
 *
 * Measured (tests/bench/bench_sink.c; 200-byte rows, one connection, medians
 * of 5 rounds side by side) against COPY into a table of the same columns and
 * key: 0.26 at 50 a batch, 0.54 at 500 and 1000, 0.57 at 5000; 0.72 at 1000
 * in short runs.  The client takes 2 % of the time.  What did not pay: a
 * plain INSERT after asking which keys exist (a tenth more at 5000, but its
 * cached plan, made while the table is small, is 5 times slower below).  ON
 * CONFLICT has no plan to get wrong.
 */
#include "workers/sync/sink.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/crash_point.h"
#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/ipc/exercise.h"
#include "common/postgres/connection.h"
#include "common/shm/metrics.h"
#include "workers/sync/pgsql_answer.h"
#include "workers/sync/pgsql_request.h"
#include "workers/sync/pgsql_schema.h"

#define TEXT_OID 25

/* Of folded texts and refusals of one batch. */
#define BATCH_ARENA_MAX ((size_t)1 << 30)

#define CONNINFO_MAX 16384

/* The server's connections are counted at most so often. */
#define SAMPLE_MS 5000

/* All roles may read both; numbackends counts what max_connections limits,
 * and autovacuum's workers. */
static const char sample_sql[] =
    "SELECT coalesce(sum(numbackends), 0),"
    " current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    " FROM pg_catalog.pg_stat_database";

struct sink {
    struct pg_connection *connection;
    struct pgsql_schema schema;
    bool ready;          /* this connection's schema was checked */
    bool samples;        /* the server lets us count its connections */
    uint64_t sampled_ms; /* monotonic */
    int64_t server_connections, server_limit; /* not told yet */
    bool careful;
    const struct config *config;
    const struct sink_batch *batch; /* NULL: a probe, or: */
    int64_t run;                    /* to inspect; 0: none */
    struct arena arena;             /* of the batch */
    struct batch_units units;
    struct pgsql_request request;
    struct event *soon; /* calls back with `failed` from the loop */
    struct sink_result failed;
    sink_done done;
    void *self;
};

static void sink_finish(struct sink *sink, const struct sink_result *result)
{
    struct sink_result told = *result;
    sink_done done = sink->done;
    told.server_connections = sink->server_connections;
    told.server_limit = sink->server_limit;
    sink->server_limit = 0;
    sink->done = NULL;
    done(sink->self, &told);
}

static void on_soon(evutil_socket_t fd, short what, void *self)
{
    struct sink *sink = self;
    (void)fd, (void)what;
    sink_finish(sink, &sink->failed);
}

static void finish_soon(struct sink *sink)
{
    struct timeval now = {0};
    sink->failed.outcome = SINK_TRANSIENT;
    event_add(sink->soon, &now);
}

static void finish_failed(struct sink *sink, const struct pg_answer *answer)
{
    struct sink_result result = {.outcome = answer->busy   ? SINK_BUSY
                                            : answer->down ? SINK_DOWN
                                                           : SINK_TRANSIENT,
                                 .error = answer->error};
    if (answer->busy)
        pg_connection_rest(sink->connection);
    metric_add(METRIC_SYNC_UNAUTHORIZED,
               pg_failure_is_authorization(answer->sqlstate));
    sink_finish(sink, &result);
}

static void careful_start(struct sink *sink);

static void on_applied(void *self, const struct pg_answer *answer)
{
    struct sink *sink = self;
    struct sink_result result = {.outcome = SINK_APPLIED};
    CRASH_POINT(PGSQL_ANSWERED);
    if (!answer->ok) {
        enum pg_failure failure = pg_failure_of(answer->sqlstate);
        if (!answer->down && failure == PG_REFUSED && !sink->careful) {
            careful_start(sink);
            return;
        }
        struct pg_answer failed = *answer;
        if (!answer->down && failure == PG_SETUP) {
            sink->ready = false; /* look at the schema again */
            failed.error.code = ERROR_CONFIG;
        }
        finish_failed(sink, &failed);
        return;
    }
    if (pgsql_answer_read(answer->result, &sink->arena, &result,
                          &result.error) != 0)
        result.outcome = SINK_TRANSIENT;
    sink_finish(sink, &result);
}

static void request_send(struct sink *sink)
{
    pg_connection_query(sink->connection, sink->request.sql,
                        sink->request.parameters, sink->request.parameter_count,
                        on_applied, sink);
}

static void careful_start(struct sink *sink)
{
    sink->careful = true;
    if (pgsql_request_careful(&sink->request, sink->batch, &sink->units,
                              &sink->failed.error) != 0)
        finish_soon(sink);
    else
        request_send(sink);
}

static void batch_send(struct sink *sink)
{
    arena_reset(&sink->arena);
    if (batch_fold(sink->config, sink->batch->operations, sink->batch->count,
                   &sink->arena, &sink->units, &sink->failed.error) != 0)
        finish_soon(sink);
    else if (sink->units.any_apart)
        careful_start(sink);
    else if (pgsql_request_fast(&sink->request, sink->batch, &sink->units,
                                &sink->failed.error) != 0)
        finish_soon(sink);
    else
        request_send(sink);
}

static void on_inspected(void *self, const struct pg_answer *answer)
{
    struct sink *sink = self;
    struct sink_result found = {.outcome = SINK_APPLIED};
    if (!answer->ok || pg_result_rows(answer->result) != 1) {
        finish_failed(sink, answer);
        return;
    }
    found.records = strtoll(pg_result_text(answer->result, 0, 0), NULL, 10);
    found.complete = strtoll(pg_result_text(answer->result, 0, 1), NULL, 10);
    sink_finish(sink, &found);
}

static struct pg_parameter text_parameter(const char *text)
{
    return (struct pg_parameter){
        .type = TEXT_OID, .value = text, .size_bytes = (int)strlen(text)};
}

static void run_inspect(struct sink *sink)
{
    static const char sql[] =
        "SELECT count(*), count(*) FILTER (WHERE NOT deleted"
        " AND data = $5::text::jsonb)"
        " FROM tidemill.synced_records WHERE system_id = $1"
        " AND table_name = $2 AND record_id >= $3 AND record_id < $4";
    char from[EXERCISE_ID_SIZE], to[EXERCISE_ID_SIZE];
    char whole[EXERCISE_DATA_SIZE];
    exercise_bounds(sink->run, from, to);
    exercise_whole_data(sink->run, whole);
    struct pg_parameter parameters[] = {
        text_parameter(sink->config->system_id), text_parameter(EXERCISE_TABLE),
        text_parameter(from), text_parameter(to), text_parameter(whole)};
    pg_connection_query(sink->connection, sql, parameters, 5, on_inspected,
                        sink);
}

static void call_go_on(struct sink *sink)
{
    struct sink_result there = {.outcome = SINK_APPLIED};
    if (sink->batch)
        batch_send(sink);
    else if (sink->run)
        run_inspect(sink);
    else
        sink_finish(sink, &there);
}

static void on_sampled(void *self, const struct pg_answer *answer)
{
    struct sink *sink = self;
    if (!answer->ok && answer->down) {
        finish_failed(sink, answer);
        return;
    }
    sink->samples = answer->ok; /* not again on this line */
    if (answer->ok && pg_result_rows(answer->result) == 1) {
        sink->server_connections =
            strtoll(pg_result_text(answer->result, 0, 0), NULL, 10);
        sink->server_limit =
            strtoll(pg_result_text(answer->result, 0, 1), NULL, 10);
    }
    call_go_on(sink);
}

/* Ready: counts the server's connections, when that is due, and goes on. */
static void sample(struct sink *sink)
{
    uint64_t now_ms = clock_monotonic_ms();
    if (!sink->config->sync_pool_check || !sink->samples ||
        (sink->sampled_ms && now_ms < sink->sampled_ms + SAMPLE_MS)) {
        call_go_on(sink);
        return;
    }
    sink->sampled_ms = now_ms;
    pg_connection_query(sink->connection, sample_sql, NULL, 0, on_sampled,
                        sink);
}

static void on_checked(void *self, const struct pg_answer *answer)
{
    struct sink *sink = self;
    sink->ready = answer->ok;
    if (!answer->ok)
        finish_failed(sink, answer);
    else
        sample(sink);
}

static void on_connected(void *self, const struct pg_answer *answer)
{
    struct sink *sink = self;
    if (!answer->ok) {
        finish_failed(sink, answer);
        return;
    }
    metric_add(METRIC_SYNC_CONNECTS, 1);
    sink->samples = true;
    pgsql_schema_check(&sink->schema, on_checked, sink);
}

static void sink_start(struct sink *sink)
{
    if (!pg_connection_is_open(sink->connection)) {
        sink->ready = false;
        pg_connection_connect(sink->connection, on_connected, sink);
    } else if (!sink->ready || !sink->batch) {
        pgsql_schema_check(&sink->schema, on_checked, sink);
    } else {
        sample(sink);
    }
}

static void call_start(struct sink *sink, const struct sink_batch *batch,
                       int64_t run, sink_done done, void *self)
{
    sink->batch = batch;
    sink->run = run;
    sink->done = done;
    sink->self = self;
    sink->careful = false;
    memset(&sink->failed, 0, sizeof sink->failed);
    sink_start(sink);
}

static void pgsql_apply(struct sink *sink, const struct sink_batch *batch,
                        sink_done done, void *self)
{
    call_start(sink, batch, 0, done, self);
}

static void pgsql_inspect(struct sink *sink, int64_t run, sink_done done,
                          void *self)
{
    call_start(sink, NULL, run, done, self);
}

static void pgsql_probe(struct sink *sink, sink_done done, void *self)
{
    call_start(sink, NULL, 0, done, self);
}

static void pgsql_rest(struct sink *sink)
{
    pg_connection_rest(sink->connection);
    event_del(sink->soon);
    sink->ready = false;
}

static void pgsql_close(struct sink *sink)
{
    if (!sink)
        return;
    pg_connection_free(&sink->connection);
    if (sink->soon)
        event_free(sink->soon);
    pgsql_request_deinit(&sink->request);
    arena_deinit(&sink->arena);
    free(sink);
}

static int connection_make(struct sink *sink, struct event_base *base,
                           struct error *error)
{
    const struct config *config = sink->config;
    struct buffer conninfo;
    buffer_init(&conninfo, CONNINFO_MAX);
    int status = config_conninfo(config, &conninfo, error);
    if (status == 0 && conninfo.failed)
        status = error_set(error, ERROR_CONFIG,
                           "database: the connection string is too long");
    if (status == 0) {
        struct pg_settings settings = {
            .conninfo = conninfo.size ? conninfo.bytes : "",
            .application_name = config->database_application_name,
            .connect_timeout_ms = config->database_connect_timeout_ms,
            .statement_timeout_ms = config->database_statement_timeout_ms,
            .query_timeout_ms = config->database_query_timeout_ms};
        status = pg_connection_new(&sink->connection, base, &settings, error);
    }
    if (conninfo.bytes)
        explicit_bzero(conninfo.bytes, conninfo.size); /* the password */
    buffer_deinit(&conninfo);
    return status;
}

static struct sink *pgsql_open(const struct config *config,
                               struct event_base *base, struct error *error)
{
    struct sink *sink = calloc(1, sizeof *sink);
    if (!sink) {
        error_set(error, ERROR_SYSTEM, "out of memory");
        return NULL;
    }
    sink->config = config;
    arena_init(&sink->arena, BATCH_ARENA_MAX);
    pgsql_request_init(&sink->request, config);
    sink->soon = event_new(base, -1, 0, on_soon, sink);
    if (!sink->soon)
        error_set(error, ERROR_SYSTEM, "cannot make a timer");
    else if (connection_make(sink, base, error) == 0) {
        sink->schema.connection = sink->connection;
        return sink;
    }
    pgsql_close(sink);
    return NULL;
}

const struct sink_methods sink_pgsql = {
    .name = "pgsql",
    .takes_connection = true,
    .open = pgsql_open,
    .apply = pgsql_apply,
    .probe = pgsql_probe,
    .inspect = pgsql_inspect,
    .rest = pgsql_rest,
    .close = pgsql_close,
};
