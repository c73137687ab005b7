/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/sync.h"

#include <malloc.h>
#include <sqlite3.h>

#include "common/base/log.h"
#include "common/config/config.h"
#include "common/worker/worker_loop.h"
#include "common/shm/mapping.h"
#include "common/store/client.h"
#include "common/store/reader.h"
#include "workers/sync/gate.h"
#include "workers/sync/lineage.h"
#include "workers/sync/queue_feeder.h"
#include "workers/sync/queue_leases.h"
#include "workers/sync/schedule.h"
#include "workers/sync/sink.h"

/* A batch's memory is given back and wanted again with the next one: the
 * system would clear each page anew.  It gets it at the end of a pass. */
#define KEPT_BYTES (8 << 20)

struct sync {
    const struct worker *worker;
    struct worker_loop *loop;
    struct sink *sink;
    struct store_link *link;
    struct store_reader *reader;
    struct schedule *schedule;
    struct queue_feeder *feeder; /* NULL: no part in a central queue */
    struct lineage lineage;
    bool schedule_over, feeder_over; /* when it is told to leave */
};

/* --- from the master --- */

static void leave_if_over(struct sync *sync)
{
    if (sync->schedule_over && (sync->feeder == NULL || sync->feeder_over))
        worker_loop_leave(sync->loop, WORKER_EXIT_DRAINED);
}

static void on_schedule_over(void *self)
{
    struct sync *sync = self;
    sync->schedule_over = true;
    leave_if_over(sync);
}

static void on_feeder_over(void *self)
{
    struct sync *sync = self;
    sync->feeder_over = true;
    leave_if_over(sync);
}

static void on_drain(void *self, uint64_t bound_ms)
{
    struct sync *sync = self;
    bool stopping = atomic_load(&sync->worker->mapping->daemon.stopping) != 0;
    if (sync->feeder != NULL)
        queue_feeder_drain(sync->feeder, stopping, on_feeder_over, sync);
    schedule_drain(sync->schedule, bound_ms);
}

static void on_pause(void *self)
{
    schedule_pause(((struct sync *)self)->schedule, true);
}

static void on_resume(void *self)
{
    schedule_pause(((struct sync *)self)->schedule, false);
}

static void on_sync_now(void *self, uint64_t ticket)
{
    schedule_request(((struct sync *)self)->schedule, ticket);
}

static void on_wake(void *self)
{
    struct sync *sync = self;
    schedule_line_changed(sync->schedule, gate_look(sync->sink));
    if (sync->feeder != NULL)
        queue_feeder_line_changed(sync->feeder);
}

static const struct worker_hooks worker_hooks = {
    .drain = on_drain,
    .wake = on_wake,
    .pause = on_pause,
    .resume = on_resume,
    .sync_now = on_sync_now,
};

/* --- from the store --- */

/* Was sync paused, in this life of the daemon or an earlier one? */
static int read_paused(struct store_reader *reader, bool *paused,
                       struct error *error)
{
    sqlite3 *db = store_reader_db(reader);
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db,
                                  "SELECT value FROM store_meta "
                                  "WHERE name = 'sync_paused'",
                                  -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    *paused = code == SQLITE_ROW && sqlite3_column_int(statement, 0) != 0;
    sqlite3_finalize(statement);
    if (code == SQLITE_ROW || code == SQLITE_DONE)
        return 0;
    return error_set(error, ERROR_IO,
                     "cannot read from the local store whether sync is "
                     "paused: %s",
                     sqlite3_errmsg(db));
}

/* Of a queue that this host had a part in: the source was changed. */
static bool holds_leases(const struct sync *sync)
{
    const struct config *config = sync->worker->config;
    struct error error;
    int64_t held = 0, over;
    return sync->worker->slot == 0 &&
           (config->database_conninfo[0] != '\0' ||
            config->database_host[0] != '\0' ||
            config->database_name[0] != '\0') &&
           queue_leases_count(sync->reader, &held, &over, &error) == 0 &&
           held > 0;
}

static void leave_queue(struct sync *sync)
{
    struct error error;
    sync->feeder = queue_feeder_new(sync->worker, worker_loop_base(sync->loop),
                                    sync->link, &error);
    if (sync->feeder != NULL)
        queue_feeder_drain(sync->feeder, true, on_feeder_over, sync);
    else
        log_error("leases of central jobs run out: %s", error.text);
}

/* The store is opened anew for each of its lives: it may have been put in
 * place again from a backup. */
static struct store_reader *open_reader(void *self, bool *paused,
                                        struct error *error)
{
    struct sync *sync = self;
    store_reader_close(&sync->reader);
    if (store_reader_open(&sync->reader, sync->worker->config->state_dir,
                          error) == 0 &&
        read_paused(sync->reader, paused, error) != 0)
        store_reader_close(&sync->reader);
    if (sync->reader != NULL && sync->feeder == NULL && holds_leases(sync))
        leave_queue(sync);
    return sync->reader;
}

static void on_connected(void *self)
{
    struct sync *sync = self;
    schedule_connected(sync->schedule);
    if (sync->feeder != NULL)
        queue_feeder_connected(sync->feeder);
}

static void on_notified(void *self, uint32_t topics)
{
    struct sync *sync = self;
    if (topics & ~(uint32_t)TOPIC_JOB_OVER)
        schedule_notified(sync->schedule, topics & ~(uint32_t)TOPIC_JOB_OVER);
    if (topics & TOPIC_JOB_OVER)
        queue_feeder_job_over(sync->feeder);
}

static void on_lost(void *self)
{
    struct sync *sync = self;
    schedule_lost(sync->schedule);
    if (sync->feeder != NULL)
        queue_feeder_lost(sync->feeder);
}

static const struct store_link_hooks link_hooks = {
    .connected = on_connected,
    .notified = on_notified,
    .lost = on_lost,
};

/* --- the worker --- */

static int sync_open(struct sync *sync, struct error *error)
{
    const struct config *config = sync->worker->config;
    struct event_base *base = worker_loop_base(sync->loop);
    char socket_path[CONFIG_PATH_MAX];
    config_runtime_path(config, "store.sock", socket_path, sizeof(socket_path));
    sync->sink = gate_open(sync->worker, base, sink_methods_for(config), error);
    if (sync->sink == NULL)
        return -1;
    bool feeds = sync->worker->slot == 0 &&
                 config->generation_source == GENERATION_CENTRAL;
    uint32_t topics = TOPIC_OUTBOX | TOPIC_URGENT | TOPIC_SETTLED;
    sync->link = store_link_new(base, socket_path,
                                feeds ? topics | TOPIC_JOB_OVER : topics,
                                &link_hooks, sync, error);
    if (sync->link == NULL)
        return -1;
    if (feeds && (sync->feeder = queue_feeder_new(sync->worker, base,
                                                  sync->link, error)) == NULL)
        return -1;
    lineage_init(&sync->lineage, sync->worker, sync->loop, sync->link);
    gate_methods.watch(sync->sink, &sync->lineage.watch);
    struct schedule_setup setup = {.worker = sync->worker,
                                   .loop = sync->loop,
                                   .base = base,
                                   .link = sync->link,
                                   .sink_methods = &gate_methods,
                                   .sink = sync->sink,
                                   .host = sync->lineage.host,
                                   .open_reader = open_reader,
                                   .over = on_schedule_over,
                                   .self = sync};
    sync->schedule = schedule_new(&setup, error);
    return sync->schedule != NULL ? 0 : -1;
}

static void sync_close(struct sync *sync)
{
    if (sync->sink != NULL)
        gate_methods.close(sync->sink);
    store_link_free(&sync->link);
    queue_feeder_free(&sync->feeder);
    schedule_free(&sync->schedule);
    store_reader_close(&sync->reader);
}

enum worker_exit sync_main(const struct worker *worker)
{
    struct sync sync = {.worker = worker};
    struct error error;
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    mallopt(M_MMAP_THRESHOLD, KEPT_BYTES / 2);
    sync.loop = worker_loop_new(worker, &worker_hooks, &sync, &error);
    if (sync.loop == NULL) {
        log_error("a sync worker cannot start: %s", error.text);
        return WORKER_EXIT_FAILED;
    }
    if (sync_open(&sync, &error) == 0)
        worker_loop_ready(sync.loop);
    else
        worker_loop_fail(sync.loop, WORKER_EXIT_FAILED, &error);
    enum worker_exit code = worker_loop_run(sync.loop);
    sync_close(&sync);
    worker_loop_free(&sync.loop);
    return code;
}
