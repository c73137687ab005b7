/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/top_sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "ctl/arguments.h"
#include "ctl/control.h"
#include "ctl/report.h"

#define ASK_TIMEOUT_MS 2000
#define WINDOW_MS      10000
#define LOOKS          32 /* remembered; at short intervals they span less */

struct used {
    int pid;
    double cpu_seconds;
};

struct top_sampler {
    const struct config *config;
    struct metrics_look looks[LOOKS]; /* the last one at (count - 1) % LOOKS */
    unsigned count;
    int master_pid; /* of those looks */
    struct used used[TOP_WORKERS_MAX];
    unsigned used_count;
    uint64_t used_ms;
};

struct top_sampler *top_sampler_new(const struct config *config,
                                    struct error *error)
{
    struct top_sampler *sampler = calloc(1, sizeof(*sampler));
    if (sampler == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory to remember readings");
        return NULL;
    }
    sampler->config = config;
    return sampler;
}

void top_sampler_free(struct top_sampler **sampler)
{
    free(*sampler);
    *sampler = NULL;
}

/* --- rates and latencies, from the metrics --- */

/* The look so many before the last one. */
static const struct metrics_look *look_before(const struct top_sampler *sampler,
                                              unsigned before)
{
    return &sampler->looks[(sampler->count - 1 - before) % LOOKS];
}

/* The oldest that is within the window before the last one; the last one
 * itself when it is alone. */
static const struct metrics_look *
window_start(const struct top_sampler *sampler)
{
    const struct metrics_look *last = look_before(sampler, 0);
    const struct metrics_look *start = last;
    for (unsigned i = 1; i < LOOKS && i < sampler->count; i++) {
        start = look_before(sampler, i);
        if (last->at_ms - start->at_ms >= WINDOW_MS)
            break;
    }
    return start;
}

static void derive(const struct top_sampler *sampler, struct top_sample *sample)
{
    const struct metrics_look *now = look_before(sampler, 0);
    const struct metrics_look *start = window_start(sampler);
    for (unsigned i = 0; i < LOOK_LATENCIES; i++)
        metrics_look_latency(now, start != now ? start : NULL,
                             (enum look_latency)i, &sample->latencies[i]);
    if (sampler->count < 2)
        return;
    for (unsigned i = 0; i < LOOK_RATES; i++)
        sample->rates[i] =
            metrics_look_rate(now, look_before(sampler, 1), (enum look_rate)i);
}

/* Another daemon, or this one after a restart, counts from zero. */
static bool has_begun_anew(const struct top_sampler *sampler,
                           const struct metrics_look *look, int master_pid)
{
    return sampler->count > 0 &&
           (master_pid != sampler->master_pid ||
            metrics_look_fell(look, look_before(sampler, 0)));
}

static void take_metrics(struct top_sampler *sampler, const json_t *metrics,
                         int master_pid, struct top_sample *sample)
{
    struct metrics_look fresh;
    metrics_look_read(metrics, clock_monotonic_ms(), &fresh);
    if (has_begun_anew(sampler, &fresh, master_pid))
        sampler->count = 0;
    sampler->looks[sampler->count++ % LOOKS] = fresh;
    sampler->master_pid = master_pid;
    derive(sampler, sample);
}

/* --- processes --- */

static double cpu_percent(const struct top_sampler *sampler, int pid,
                          const json_t *cpu_seconds, uint64_t now_ms)
{
    double seconds = (double)(now_ms - sampler->used_ms) / 1000.0;
    if (!json_is_real(cpu_seconds) || seconds <= 0)
        return -1;
    for (unsigned i = 0; i < sampler->used_count; i++)
        if (sampler->used[i].pid == pid)
            return 100.0 *
                   (json_real_value(cpu_seconds) -
                    sampler->used[i].cpu_seconds) /
                   seconds;
    return -1;
}

static void add_worker(const struct top_sampler *sampler, const json_t *row,
                       uint64_t now_ms, struct top_sample *sample)
{
    struct top_worker *worker = &sample->workers[sample->worker_count];
    const char *role = report_text(row, "role");
    const json_t *rss = json_object_get(row, "rss_bytes");
    const json_t *age = json_object_get(row, "work_seconds");
    if (!json_is_real(age))
        age = json_object_get(row, "state_seconds");
    bool pool = strcmp(role, "generation") == 0 || strcmp(role, "sync") == 0;
    *worker = (struct top_worker){
        .place = sample->worker_count++,
        .pid = (int)report_number(row, "pid"),
        .work_id = report_number(row, "work_id"),
        .age_seconds = json_real_value(age),
        .finished = report_number(row, "finished"),
        .restarts = report_number(row, "restarts"),
        .rss_bytes = json_is_integer(rss) ? json_integer_value(rss) : -1,
    };
    worker->cpu_percent = cpu_percent(
        sampler, worker->pid, json_object_get(row, "cpu_seconds"), now_ms);
    snprintf(worker->role, sizeof(worker->role), "%s", role);
    snprintf(worker->state, sizeof(worker->state), "%s",
             report_text(row, "state"));
    snprintf(worker->name, sizeof(worker->name), pool ? "%.15s[%lld]" : "%.15s",
             role, report_number(row, "slot"));
}

static void add_master(const struct top_sampler *sampler, uint64_t now_ms,
                       struct top_sample *sample)
{
    const json_t *status = sample->status;
    const char *state = "serving";
    if (json_is_true(json_object_get(status, "stopping")))
        state = "stopping";
    else if (!json_is_true(json_object_get(status, "ready")))
        state = "starting";
    json_t *row =
        json_pack("{s:s,s:O?,s:s,s:O?,s:O?,s:O?}", "role", "master", "pid",
                  json_object_get(status, "pid"), "state", state,
                  "state_seconds", json_object_get(status, "uptime_seconds"),
                  "cpu_seconds", json_object_get(status, "cpu_seconds"),
                  "rss_bytes", json_object_get(status, "rss_bytes"));
    add_worker(sampler, row, now_ms, sample);
    json_decref(row);
}

static void remember_used(struct top_sampler *sampler, const json_t *row)
{
    const json_t *seconds = json_object_get(row, "cpu_seconds");
    if (json_is_real(seconds) && sampler->used_count < TOP_WORKERS_MAX)
        sampler->used[sampler->used_count++] = (struct used){
            (int)report_number(row, "pid"), json_real_value(seconds)};
}

static void take_workers(struct top_sampler *sampler, struct top_sample *sample)
{
    uint64_t now_ms = clock_monotonic_ms();
    const json_t *workers = json_object_get(sample->status, "workers");
    size_t count = json_array_size(workers);
    add_master(sampler, now_ms, sample);
    for (size_t i = 0; i < count && sample->worker_count < TOP_WORKERS_MAX; i++)
        add_worker(sampler, json_array_get(workers, i), now_ms, sample);
    sampler->used_count = 0;
    sampler->used_ms = now_ms;
    remember_used(sampler, sample->status);
    for (size_t i = 0; i < count; i++)
        remember_used(sampler, json_array_get(workers, i));
}

/* --- all of it --- */

static void take_jobs(const struct config *config, struct top_sample *sample)
{
    struct store_reader *reader = NULL;
    struct error ignored;
    json_t *rows = NULL;
    /* Both counts are those of a partial index. */
    if (store_reader_open(&reader, config->state_dir, &ignored) == 0)
        rows = report_rows(
            reader,
            "SELECT (SELECT count(*) FROM generation_jobs WHERE state = "
            "'queued') AS queued, (SELECT count(*) FROM generation_jobs WHERE "
            "state = 'claimed') AS running",
            NULL, 0, &ignored);
    store_reader_close(&reader);
    if (rows == NULL)
        return;
    sample->jobs_queued = report_number(json_array_get(rows, 0), "queued");
    sample->jobs_running = report_number(json_array_get(rows, 0), "running");
    json_decref(rows);
}

static void take_daemon(struct top_sampler *sampler, struct top_sample *sample)
{
    const struct config *config = sampler->config;
    struct error ignored;
    sample->status = control_ask(config, CONTROL_STATUS, NULL, ASK_TIMEOUT_MS,
                                 &sample->error);
    if (sample->status == NULL) {
        sampler->count = 0;
        sampler->used_count = 0;
        return;
    }
    take_workers(sampler, sample);
    sample->line = control_ask(config, CONTROL_SYNC_STATUS, NULL,
                               ASK_TIMEOUT_MS, &ignored);
    json_t *metrics = control_ask(config, CONTROL_METRICS,
                                  json_pack("{s:s}", "format", "json"),
                                  ASK_TIMEOUT_MS, &ignored);
    if (metrics != NULL)
        take_metrics(sampler, metrics,
                     (int)report_number(sample->status, "pid"), sample);
    json_decref(metrics);
}

void top_sample_take(struct top_sampler *sampler, struct top_sample *sample)
{
    struct error ignored;
    memset(sample, 0, sizeof(*sample));
    sample->wall_ms = clock_wall_ms();
    sample->jobs_queued = sample->jobs_running = -1;
    for (unsigned i = 0; i < LOOK_RATES; i++)
        sample->rates[i] = -1;
    take_daemon(sampler, sample);
    sample->outbox = report_outbox(sampler->config, &ignored);
    take_jobs(sampler->config, sample);
}

void top_sample_clear(struct top_sample *sample)
{
    json_decref(sample->status);
    json_decref(sample->line);
    json_decref(sample->outbox);
    sample->status = sample->line = sample->outbox = NULL;
}

/* --- as JSON --- */

static json_t *known_real(double value)
{
    return value < 0 ? json_null() : json_real(value);
}

static json_t *known_count(long long value)
{
    return value < 0 ? json_null() : json_integer(value);
}

static json_t *worker_json(const struct top_worker *worker)
{
    return json_pack(
        "{s:s,s:i,s:s,s:o,s:f,s:I,s:I,s:o,s:o}", "name", worker->name, "pid",
        worker->pid, "state", worker->state, "work_id",
        worker->work_id == 0 ? json_null() : json_integer(worker->work_id),
        "age_seconds", worker->age_seconds, "finished",
        (json_int_t)worker->finished, "restarts", (json_int_t)worker->restarts,
        "cpu_percent", known_real(worker->cpu_percent), "rss_bytes",
        known_count(worker->rss_bytes));
}

static json_t *latency_json(const struct histogram_totals *totals)
{
    return json_pack("{s:I,s:f,s:f,s:f}", "count", (json_int_t)totals->count,
                     "p50_ms", histogram_quantile_us(totals, 0.50) / 1e3,
                     "p95_ms", histogram_quantile_us(totals, 0.95) / 1e3,
                     "p99_ms", histogram_quantile_us(totals, 0.99) / 1e3);
}

json_t *top_sample_json(const struct top_sample *sample)
{
    char at[CLOCK_TEXT_SIZE];
    json_t *rates = json_object();
    json_t *latency = json_object();
    json_t *workers = json_array();
    for (unsigned i = 0; i < LOOK_RATES; i++)
        json_object_set_new(rates, look_rate_words[i],
                            known_real(sample->rates[i]));
    for (unsigned i = 0; i < LOOK_LATENCIES; i++)
        json_object_set_new(latency, look_latency_words[i],
                            latency_json(&sample->latencies[i]));
    for (unsigned i = 0; i < sample->worker_count; i++)
        json_array_append_new(workers, worker_json(&sample->workers[i]));
    return json_pack("{s:b,s:s,s:o,s:o,s:{s:o,s:o},s:O?,s:O?,s:o}", "running",
                     (int)(sample->status != NULL), "at",
                     clock_format(sample->wall_ms, at), "rates", rates,
                     "latency", latency, "jobs", "queued",
                     known_count(sample->jobs_queued), "running",
                     known_count(sample->jobs_running), "outbox",
                     sample->outbox, "sync", sample->line, "workers", workers);
}
