/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/monitor/monitor.h"

#include <string.h>

#include <event2/event.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/worker/worker_loop.h"
#include "common/shm/metrics_text.h"
#include "common/store/client.h"
#include "workers/monitor/sync_watch.h"

#define SAMPLE_MAX (256u << 10) /* bytes of a sample as JSON */

struct monitor {
    const struct worker *worker;
    struct worker_loop *loop;
    struct store_link *store;
    struct event *timer;
    bool sample_open;       /* the store has not answered yet */
    uint64_t report_due_ms; /* monotonic */
};

static void sample_answered(void *self, const struct store_answer *answer)
{
    struct monitor *monitor = self;
    monitor->sample_open = false;
    if (answer->code == ERROR_NONE) {
        metric_add(METRIC_MONITOR_SAMPLES, 1);
        worker_loop_finished(monitor->loop);
    } else {
        log_warning("a sample of the metrics was not kept: %s; the next one "
                    "follows in its turn",
                    answer->text);
    }
}

static int sample_send(struct monitor *monitor, struct error *error)
{
    const struct worker *worker = monitor->worker;
    struct buffer json;
    buffer_init(&json, SAMPLE_MAX);
    metrics_write_json(worker->mapping, &json);
    struct store_call call = {
        .statement = STATEMENT_SAMPLE_RECORD,
        .argument_count = 3,
        .arguments = {value_integer(clock_wall_ms()),
                      value_text_sized(json.bytes, json.size),
                      value_integer(worker->config->metric_retention_points)}};
    const struct store_request request = {&call, 1};
    int result = json.failed ? error_set(error, ERROR_SOFTWARE,
                                         "the sample is larger than %u bytes",
                                         SAMPLE_MAX)
                             : store_link_call(monitor->store, &request,
                                               sample_answered, monitor, error);
    buffer_deinit(&json);
    return result;
}

/* The bounds may have been lowered, and no worker asks for a template. */
static void trim_templates(const struct worker *worker)
{
    struct cache cache;
    struct error error;
    if (cache_open(&cache, mapping_templates(worker->mapping),
                   worker->board_index, &error) != 0)
        return;
    cache_trim(&cache);
    metric_add(METRIC_TEMPLATE_EVICTIONS, cache.counts.evictions);
    metric_add(METRIC_TEMPLATE_RECOVERIES, cache.counts.recoveries);
}

static void report_answered(void *self, const struct store_answer *answer)
{
    (void)self;
    if (answer->code != ERROR_NONE)
        log_warning("the centre is not told of figures: %s; it is in the next "
                    "interval",
                    answer->text);
}

/* What passes left for the centre (common/store/figures.h). */
static void report_when_due(struct monitor *monitor)
{
    const struct config *config = monitor->worker->config;
    uint64_t now_ms = clock_monotonic_ms();
    struct error error;
    struct store_call call = {.statement = STATEMENT_FIGURES_REPORT,
                              .argument_count = 1,
                              .arguments = {value_integer(clock_wall_ms())}};
    const struct store_request request = {&call, 1};
    if (!config->sync_enabled || config->report_interval_ms == 0 ||
        now_ms < monitor->report_due_ms ||
        !store_link_connected(monitor->store))
        return;
    monitor->report_due_ms = now_ms + (uint64_t)config->report_interval_ms;
    if (store_link_call(monitor->store, &request, report_answered, monitor,
                        &error) != 0)
        log_warning("the centre is not told of figures: %s", error.text);
}

static void monitor_tick(evutil_socket_t fd, short what, void *self)
{
    struct monitor *monitor = self;
    struct error error;
    (void)fd;
    (void)what;
    sync_watch_look(monitor->worker->mapping, clock_monotonic_ms());
    trim_templates(monitor->worker);
    report_when_due(monitor);
    /* While the store is away a sample is left out, not queued. */
    if (monitor->sample_open || !store_link_connected(monitor->store))
        return;
    if (sample_send(monitor, &error) == 0)
        monitor->sample_open = true;
    else
        log_warning("a sample of the metrics was not kept: %s", error.text);
}

static int monitor_open(struct monitor *monitor, struct error *error)
{
    static const struct store_link_hooks hooks = {0};
    const struct config *config = monitor->worker->config;
    monitor->report_due_ms =
        clock_monotonic_ms() + (uint64_t)config->report_interval_ms;
    struct event_base *base = worker_loop_base(monitor->loop);
    char path[CONFIG_PATH_MAX];
    config_runtime_path(config, "store.sock", path, sizeof(path));
    monitor->store = store_link_new(base, path, 0, &hooks, monitor, error);
    if (monitor->store == NULL)
        return -1;
    monitor->timer = event_new(base, -1, EV_PERSIST, monitor_tick, monitor);
    const struct timeval interval =
        clock_span(config->health_check_interval_ms);
    if (monitor->timer == NULL || event_add(monitor->timer, &interval) != 0)
        return error_set(error, ERROR_SYSTEM, "no memory for a timer");
    return 0;
}

enum worker_exit monitor_main(const struct worker *worker)
{
    struct monitor monitor = {.worker = worker};
    static const struct worker_hooks hooks = {0};
    struct error error;
    monitor.loop = worker_loop_new(worker, &hooks, &monitor, &error);
    if (monitor.loop == NULL) {
        log_error("monitor cannot start: %s", error.text);
        return WORKER_EXIT_FAILED;
    }
    if (monitor_open(&monitor, &error) != 0)
        worker_loop_fail(monitor.loop, WORKER_EXIT_FAILED, &error);
    else
        worker_loop_ready(monitor.loop);
    enum worker_exit code = worker_loop_run(monitor.loop);
    if (monitor.timer != NULL)
        event_free(monitor.timer);
    store_link_free(&monitor.store);
    worker_loop_free(&monitor.loop);
    return code;
}
