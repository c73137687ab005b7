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
#include "workers/sync/window.h"
#include "workers/sync/pgsql_answer.h"
#include "workers/sync/pgsql_connect.h"
#include "workers/sync/pgsql_contact.h"
#include "workers/sync/pgsql_request.h"
#include "workers/sync/pgsql_schema.h"

#define TEXT_OID 25

/* Of folded texts and refusals of one batch. */
#define BATCH_ARENA_MAX ((size_t)1 << 30)

/* The server's connections are counted at most so often. */
#define SAMPLE_MS 3000

/* All roles may read both; numbackends counts what max_connections limits,
 * and autovacuum's workers. */
static const char sample_sql[] =
    "SELECT coalesce(sum(numbackends), 0),"
    " current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    " FROM pg_catalog.pg_stat_database";

/* One batch, or a probe, until it is answered. */
struct job {
    struct sink *sink;
    const struct sink_batch *batch; /* NULL: a probe, or: */
    int64_t run;                    /* to inspect; 0: none */
    sink_done done;                 /* NULL: not in use */
    void *self;
    bool careful;
    bool fails_soon; /* is answered with `failed` from the loop */
    struct sink_result failed;
    struct arena arena; /* of the batch */
    struct batch_units units;
    struct window_batch window; /* sent_ns 0: is not counted there */
};

struct sink {
    struct pg_connection *connection;
    struct pgsql_schema schema;
    struct pgsql_contact contact;
    bool ready;          /* this connection's schema was checked, and contact
                            made */
    bool samples;        /* the server lets us count its connections */
    uint64_t sampled_ms; /* monotonic */
    int64_t server_connections, server_limit; /* not told yet */
    const struct config *config;
    struct job jobs[SINK_DEPTH_MAX];
    struct job *starting; /* waits until the line is ready; it is alone */
    uint64_t asked_ns;    /* of a question that measures the round trip */
    struct window window;
    struct pgsql_request request; /* copied when it is sent */
    struct event *soon;           /* for jobs that fail soon */
};

/* --- answers --- */

static void job_finish(struct job *job, const struct sink_result *result)
{
    struct sink *sink = job->sink;
    struct sink_result told = *result;
    sink_done done = job->done;
    if (job->window.sent_ns)
        window_dropped(&sink->window, &job->window);
    told.server_connections = sink->server_connections;
    told.server_limit = sink->server_limit;
    sink->server_limit = 0;
    job->done = NULL;
    done(job->self, &told);
}

static void on_soon(evutil_socket_t fd, short what, void *self)
{
    struct sink *sink = self;
    (void)fd, (void)what;
    for (size_t i = 0; i < SINK_DEPTH_MAX; i++)
        if (sink->jobs[i].done && sink->jobs[i].fails_soon)
            job_finish(&sink->jobs[i], &sink->jobs[i].failed);
}

static void job_fail_soon(struct job *job)
{
    struct timeval now = {0};
    job->failed.outcome = SINK_TRANSIENT;
    job->fails_soon = true;
    event_add(job->sink->soon, &now);
}

static void job_fail(struct job *job, const struct pg_answer *answer)
{
    struct sink *sink = job->sink;
    struct sink_result result = {.outcome = answer->busy   ? SINK_BUSY
                                            : answer->down ? SINK_DOWN
                                                           : SINK_TRANSIENT,
                                 .error = answer->error};
    /* With all that is under way on it. */
    if (result.outcome != SINK_TRANSIENT &&
        pg_connection_is_open(sink->connection))
        pg_connection_close(sink->connection);
    metric_add(METRIC_SYNC_UNAUTHORIZED,
               pg_failure_is_authorization(answer->sqlstate));
    job_finish(job, &result);
}

static void job_behind(struct job *job, const struct error *error)
{
    struct sink_result result = {.outcome = SINK_BEHIND, .error = *error};
    job_finish(job, &result);
}

static void careful_start(struct job *job);

static void on_refused(struct job *job, const struct pg_answer *answer)
{
    enum pg_failure failure = pg_failure_of(answer->sqlstate);
    struct pg_answer failed = *answer;
    if (!answer->down && failure == PG_REFUSED && !job->careful) {
        careful_start(job);
        return;
    }
    if (strcmp(answer->sqlstate, PGSQL_EPOCH_OVER) == 0) {
        job->sink->ready = false; /* compare again */
        job_behind(job, &answer->error);
        return;
    }
    if (!answer->down && failure == PG_SETUP) {
        job->sink->ready = false; /* look at the schema again */
        failed.error.code = ERROR_CONFIG;
    }
    job_fail(job, &failed);
}

static void on_applied(void *self, const struct pg_answer *answer)
{
    struct job *job = self;
    struct sink_result result = {.outcome = SINK_APPLIED};
    CRASH_POINT(PGSQL_ANSWERED);
    if (!answer->ok) {
        on_refused(job, answer);
        return;
    }
    if (job->window.sent_ns) {
        result.apply_ns = window_answered(&job->sink->window, &job->window,
                                          clock_monotonic_ns());
        job->window.sent_ns = 0;
    }
    if (pgsql_answer_read(answer->result, &job->arena, &result,
                          &result.error) != 0)
        result.outcome = SINK_TRANSIENT;
    job_finish(job, &result);
}

/* --- requests --- */

static void request_send(struct job *job)
{
    struct pgsql_request *request = &job->sink->request;
    pg_connection_query(job->sink->connection, request->sql,
                        request->parameters, request->parameter_count,
                        on_applied, job);
}

/* Nothing is learnt of the line from a batch that is taken apart. */
static void careful_start(struct job *job)
{
    struct sink *sink = job->sink;
    job->careful = true;
    if (job->window.sent_ns)
        window_dropped(&sink->window, &job->window);
    job->window.sent_ns = 0;
    if (pgsql_request_careful(&sink->request, job->batch, &job->units,
                              &job->failed.error) != 0)
        job_fail_soon(job);
    else
        request_send(job);
}

static void fast_start(struct job *job)
{
    struct sink *sink = job->sink;
    if (pgsql_request_fast(&sink->request, job->batch, &job->units,
                           &job->failed.error) != 0) {
        job_fail_soon(job);
        return;
    }
    job->window = (struct window_batch){.operations = job->batch->count,
                                        .sent_ns = clock_monotonic_ns()};
    for (size_t i = 0; i < job->batch->count; i++)
        job->window.bytes += job->batch->operations[i].data_size;
    window_sent(&sink->window, &job->window);
    request_send(job);
}

static void batch_send(struct job *job)
{
    arena_reset(&job->arena);
    if (batch_fold(job->sink->config, job->batch->operations, job->batch->count,
                   &job->arena, &job->units, &job->failed.error) != 0)
        job_fail_soon(job);
    else if (job->units.any_apart)
        careful_start(job);
    else
        fast_start(job);
}

/* --- a line that is ready --- */

static void on_inspected(void *self, const struct pg_answer *answer)
{
    struct job *job = self;
    struct sink_result found = {.outcome = SINK_APPLIED};
    if (!answer->ok || pg_result_rows(answer->result) != 1) {
        job_fail(job, answer);
        return;
    }
    found.records = strtoll(pg_result_text(answer->result, 0, 0), NULL, 10);
    found.complete = strtoll(pg_result_text(answer->result, 0, 1), NULL, 10);
    job_finish(job, &found);
}

static struct pg_parameter text_parameter(const char *text)
{
    return (struct pg_parameter){
        .type = TEXT_OID, .value = text, .size_bytes = (int)strlen(text)};
}

static void run_inspect(struct job *job)
{
    static const char sql[] =
        "SELECT count(*), count(*) FILTER (WHERE NOT deleted"
        " AND data = $5::text::jsonb)"
        " FROM tidemill.synced_records WHERE system_id = $1"
        " AND table_name = $2 AND record_id >= $3 AND record_id < $4";
    char from[EXERCISE_ID_SIZE], to[EXERCISE_ID_SIZE];
    char whole[EXERCISE_DATA_SIZE];
    exercise_bounds(job->run, from, to);
    exercise_whole_data(job->run, whole);
    struct pg_parameter parameters[] = {
        text_parameter(job->sink->config->system_id),
        text_parameter(EXERCISE_TABLE), text_parameter(from),
        text_parameter(to), text_parameter(whole)};
    pg_connection_query(job->sink->connection, sql, parameters, 5, on_inspected,
                        job);
}

/* The line is ready for what waits for it. */
static void starting_go_on(struct sink *sink)
{
    struct sink_result there = {.outcome = SINK_APPLIED};
    struct job *job = sink->starting;
    sink->starting = NULL;
    if (job->batch)
        batch_send(job);
    else if (job->run)
        run_inspect(job);
    else
        job_finish(job, &there);
}

static void starting_fail(struct sink *sink, const struct pg_answer *answer)
{
    struct job *job = sink->starting;
    sink->starting = NULL;
    job_fail(job, answer);
}

static void on_sampled(void *self, const struct pg_answer *answer)
{
    struct sink *sink = self;
    sink->samples = answer->ok; /* not again on this line */
    if (answer->ok && pg_result_rows(answer->result) == 1) {
        sink->server_connections =
            strtoll(pg_result_text(answer->result, 0, 0), NULL, 10);
        sink->server_limit =
            strtoll(pg_result_text(answer->result, 0, 1), NULL, 10);
    }
    if (!sink->starting)
        return;
    if (answer->ok || !answer->down)
        starting_go_on(sink);
    else
        starting_fail(sink, answer);
}

/* Counts the server's connections when that is due; the answer comes before
 * that of what is sent next.  True when it was asked. */
static bool sample(struct sink *sink)
{
    uint64_t now_ms = clock_monotonic_ms();
    if (!sink->config->sync_pool_check || !sink->samples ||
        (sink->sampled_ms && now_ms < sink->sampled_ms + SAMPLE_MS))
        return false;
    sink->sampled_ms = now_ms;
    pg_connection_query(sink->connection, sample_sql, NULL, 0, on_sampled,
                        sink);
    return true;
}

/* A batch does not wait for the count, a probe, which may have been sent
 * for it, does. */
static void ready_go_on(struct sink *sink)
{
    bool sampled = sample(sink);
    if (!sampled || sink->starting->batch)
        starting_go_on(sink);
}

static void on_contact(void *self, const struct pg_answer *answer, bool behind)
{
    struct sink *sink = self;
    sink->ready = answer->ok && !behind;
    if (behind) {
        struct job *job = sink->starting;
        sink->starting = NULL;
        job_behind(job, &answer->error);
    } else if (answer->ok) {
        ready_go_on(sink);
    } else {
        starting_fail(sink, answer);
    }
}

static void on_checked(void *self, const struct pg_answer *answer)
{
    struct sink *sink = self;
    sink->ready = false;
    if (!answer->ok) {
        starting_fail(sink, answer);
        return;
    }
    window_round_trip(&sink->window, clock_monotonic_ns() - sink->asked_ns);
    sink->contact.arena = &sink->starting->arena;
    pgsql_contact_make(&sink->contact, on_contact, sink);
}

static void check(struct sink *sink)
{
    sink->asked_ns = clock_monotonic_ns();
    pgsql_schema_check(&sink->schema, on_checked, sink);
}

static void on_connected(void *self, const struct pg_answer *answer)
{
    struct sink *sink = self;
    if (!answer->ok) {
        starting_fail(sink, answer);
        return;
    }
    metric_add(METRIC_SYNC_CONNECTS, 1);
    sink->samples = true;
    window_reset(&sink->window);
    check(sink);
}

static void job_start(struct job *job)
{
    struct sink *sink = job->sink;
    sink->starting = job;
    if (!pg_connection_is_open(sink->connection)) {
        sink->ready = false;
        pg_connection_connect(sink->connection, on_connected, sink);
    } else if (!sink->ready || !job->batch) {
        check(sink);
    } else {
        ready_go_on(sink);
    }
}

/* --- the methods --- */

static unsigned pgsql_depth(struct sink *sink)
{
    if (!sink->ready || sink->starting ||
        !pg_connection_is_open(sink->connection) ||
        pg_connection_is_pooled(sink->connection))
        return 1;
    return window_depth(&sink->window, SINK_DEPTH_MAX);
}

static void job_new(struct sink *sink, const struct sink_batch *batch,
                    int64_t run, sink_done done, void *self)
{
    struct job *job = sink->jobs;
    while (job->done) /* depth leaves a place */
        job++;
    job->batch = batch;
    job->run = run;
    job->done = done;
    job->self = self;
    job->careful = job->fails_soon = false;
    job->window.sent_ns = 0;
    memset(&job->failed, 0, sizeof job->failed);
    job_start(job);
}

static void pgsql_apply(struct sink *sink, const struct sink_batch *batch,
                        sink_done done, void *self)
{
    job_new(sink, batch, 0, done, self);
}

static void pgsql_inspect(struct sink *sink, int64_t run, sink_done done,
                          void *self)
{
    job_new(sink, NULL, run, done, self);
}

static void pgsql_probe(struct sink *sink, sink_done done, void *self)
{
    job_new(sink, NULL, 0, done, self);
}

static void pgsql_rest(struct sink *sink)
{
    pg_connection_rest(sink->connection);
    event_del(sink->soon);
    for (size_t i = 0; i < SINK_DEPTH_MAX; i++)
        sink->jobs[i].done = NULL;
    sink->starting = NULL;
    sink->ready = false;
    window_reset(&sink->window);
}

static void pgsql_watch(struct sink *sink, const struct sink_watch *watch)
{
    sink->contact.watch = watch;
}

static void pgsql_close(struct sink *sink)
{
    if (!sink)
        return;
    pg_connection_free(&sink->connection);
    if (sink->soon)
        event_free(sink->soon);
    pgsql_request_deinit(&sink->request);
    for (size_t i = 0; i < SINK_DEPTH_MAX; i++)
        arena_deinit(&sink->jobs[i].arena);
    free(sink);
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
    for (size_t i = 0; i < SINK_DEPTH_MAX; i++) {
        sink->jobs[i].sink = sink;
        arena_init(&sink->jobs[i].arena, BATCH_ARENA_MAX);
    }
    pgsql_request_init(&sink->request, config);
    sink->soon = event_new(base, -1, 0, on_soon, sink);
    if (!sink->soon)
        error_set(error, ERROR_SYSTEM, "cannot make a timer");
    else if (pgsql_connection_new(&sink->connection, config, base, error) ==
             0) {
        sink->schema.connection = sink->connection;
        sink->contact.connection = sink->connection;
        sink->contact.system_id = config->system_id;
        return sink;
    }
    pgsql_close(sink);
    return NULL;
}

const struct sink_methods sink_pgsql = {
    .name = "pgsql",
    .takes_connection = true,
    .open = pgsql_open,
    .depth = pgsql_depth,
    .apply = pgsql_apply,
    .probe = pgsql_probe,
    .inspect = pgsql_inspect,
    .rest = pgsql_rest,
    .watch = pgsql_watch,
    .close = pgsql_close,
};
