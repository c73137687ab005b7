/* SPDX-License-Identifier: Apache-2.0
 *
 * cache-stats, cache-clear, cache-invalidate: the template cache, which the
 * gateway looks at and changes itself.
 */
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/generation/template_record.h"
#include "workers/gateway/commands.h"

#define LIST_BYTES_MAX (64u << 20)
#define LISTED_MAX     1000 /* in an answer, the most used first */
#define PATTERN_MAX    1000

/* What the commands look at. */
struct view {
    struct mapping *mapping;
    struct cache cache;
    struct arena arena;
    struct cache_item *items;
    size_t count;
};

/* After a failure, too, view_close follows. */
static int view_open(struct view *view, struct control_connection *connection,
                     struct error *error)
{
    const struct worker *worker = control_worker(control_of(connection));
    *view = (struct view){.mapping = worker->mapping};
    arena_init(&view->arena, LIST_BYTES_MAX);
    return cache_open(&view->cache, mapping_templates(worker->mapping),
                      worker->board_index, error);
}

static int view_list(struct view *view, struct error *error)
{
    if (cache_list(&view->cache, &view->arena, &view->items, &view->count) == 0)
        return 0;
    return error_set(error, ERROR_SYSTEM, "no memory for a list of templates");
}

/* Counts and logs what the command removed. */
static void view_close(struct view *view, int64_t removed)
{
    const struct cache_counts *counts = &view->cache.counts;
    metric_add(METRIC_TEMPLATE_RECOVERIES, counts->recoveries);
    metric_add(METRIC_TEMPLATE_INVALIDATIONS, (uint64_t)removed);
    arena_deinit(&view->arena);
}

/* A copy: what a list has is not aligned. */
static struct template_record record_of(const struct cache_item *item)
{
    struct template_record record;
    _Static_assert(sizeof(record) <= CACHE_HEAD_MAX, "a list has all of it");
    memcpy(&record, item->head, sizeof(record));
    return record;
}

static const char *path_of(const struct cache_item *item)
{
    return item->key + 1; /* behind the letter of the syntax */
}

/* --- stats --- */

static double rounded(double value, double steps)
{
    return round(value * steps) / steps;
}

static double percent(double part, double whole)
{
    return whole > 0 ? rounded(100.0 * part / whole, 10) : 0;
}

static double mean_ms(const struct metrics *metrics, enum metric metric)
{
    struct histogram_totals totals = {.count = 0};
    metrics_total_histogram(metrics, metric, &totals);
    return totals.count > 0
               ? (double)totals.sum_us / (double)totals.count / 1000.0
               : 0;
}

static void set_count(json_t *to, const char *key,
                      const struct metrics *metrics, enum metric metric)
{
    json_object_set_new(to, key, json_integer(metrics_total(metrics, metric)));
}

static void set_real(json_t *to, const char *key, double value)
{
    json_object_set_new(to, key, json_real(value));
}

static void put_speed(json_t *to, const struct metrics *metrics)
{
    double hits = (double)metrics_total(metrics, METRIC_TEMPLATE_HITS);
    double misses = (double)metrics_total(metrics, METRIC_TEMPLATE_MISSES);
    double load_ms = mean_ms(metrics, METRIC_TEMPLATE_LOAD_SECONDS);
    double reuse_ms = mean_ms(metrics, METRIC_TEMPLATE_REUSE_SECONDS);
    set_real(to, "hit_rate",
             hits + misses > 0 ? rounded(hits / (hits + misses), 10000) : 0);
    set_real(to, "avg_uncached_load_ms", rounded(load_ms, 1000));
    set_real(to, "avg_cached_load_ms", rounded(reuse_ms, 1000));
    set_real(to, "time_saved_ms", rounded(hits * (load_ms - reuse_ms), 1000));
    set_real(to, "improvement_percent", percent(load_ms - reuse_ms, load_ms));
}

static void put_size(json_t *to, const struct cache_totals *totals)
{
    double bytes = (double)totals->bytes;
    json_object_set_new(to, "cached_templates",
                        json_integer((json_int_t)totals->items));
    json_object_set_new(to, "total_size_bytes",
                        json_integer((json_int_t)totals->bytes));
    set_real(to, "total_size_mb", rounded(bytes / 1048576.0, 100));
    json_object_set_new(to, "max_templates",
                        json_integer((json_int_t)totals->items_limit));
    json_object_set_new(to, "max_size_bytes",
                        json_integer((json_int_t)totals->bytes_limit));
    set_real(to, "max_size_mb",
             rounded((double)totals->bytes_limit / 1048576.0, 100));
    json_object_set_new(to, "ttl_seconds",
                        json_integer((json_int_t)(totals->ttl_ms / 1000)));
    set_real(to, "capacity_usage_percent",
             percent((double)totals->items, (double)totals->items_limit));
    set_real(to, "memory_usage_percent",
             percent(bytes, (double)totals->bytes_limit));
    json_object_set_new(to, "enabled", json_boolean(totals->items_limit > 0));
}

static int by_use(const void *a, const void *b)
{
    const struct cache_item *x = a;
    const struct cache_item *y = b;
    if (x->uses != y->uses)
        return x->uses > y->uses ? -1 : 1;
    return strcmp(x->key, y->key);
}

static json_t *template_json(const struct cache_item *item,
                             const char *template_dir, uint64_t now_ms)
{
    char name[TEMPLATE_NAME_MAX];
    char hash[12];
    const struct template_record record = record_of(item);
    template_name(template_dir, path_of(item), name);
    snprintf(hash, sizeof(hash), "%.8s...", record.sha256);
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:f,s:s,s:b}", "name", name, "type",
        template_type(name), "path", path_of(item), "syntax",
        record.syntax == MUSTACHE_SYNTAX_MUSTACHE ? "mustache" : "placeholder",
        "size_bytes", (json_int_t)item->bytes, "access_count",
        (json_int_t)item->uses, "age_seconds",
        (json_int_t)((now_ms - item->put_ms) / 1000), "load_ms",
        record.load_us / 1000.0, "file_hash", hash, "in_use",
        (int)item->pinned);
}

static json_t *templates_json(struct view *view, const char *template_dir)
{
    json_t *list = json_array();
    uint64_t now_ms = clock_monotonic_ms();
    qsort(view->items, view->count, sizeof(*view->items), by_use);
    for (size_t i = 0; i < view->count && i < LISTED_MAX; i++)
        json_array_append_new(
            list, template_json(&view->items[i], template_dir, now_ms));
    return list;
}

void run_cache_stats(struct control_connection *connection, const json_t *args)
{
    const struct worker *worker = control_worker(control_of(connection));
    struct view view;
    struct error error;
    (void)args;
    if (view_open(&view, connection, &error) != 0 ||
        view_list(&view, &error) != 0) {
        view_close(&view, 0);
        control_refuse(connection, &error);
        return;
    }
    const struct metrics *metrics = &view.mapping->metrics;
    struct cache_totals totals;
    json_t *data = json_object();
    cache_totals(view.cache.region, &totals);
    set_count(data, "hits", metrics, METRIC_TEMPLATE_HITS);
    set_count(data, "misses", metrics, METRIC_TEMPLATE_MISSES);
    set_count(data, "evictions", metrics, METRIC_TEMPLATE_EVICTIONS);
    set_count(data, "invalidations", metrics, METRIC_TEMPLATE_INVALIDATIONS);
    set_count(data, "refusals", metrics, METRIC_TEMPLATE_REFUSALS);
    set_count(data, "recoveries", metrics, METRIC_TEMPLATE_RECOVERIES);
    put_size(data, &totals);
    put_speed(data, metrics);
    json_object_set_new(data, "templates",
                        templates_json(&view, worker->config->template_dir));
    view_close(&view, 0);
    control_answer(connection, data);
}

/* --- clear, invalidate --- */

static void refuse_busy(struct control_connection *connection)
{
    struct error error;
    error_set(&error, ERROR_TRY_AGAIN,
              "a part of the template cache is held by a worker that does not "
              "go on; try again, or see 'tidemill status' for that worker");
    control_refuse(connection, &error);
}

static void answer_removed(struct control_connection *connection,
                           const char *what, int64_t removed)
{
    log_event(LOG_NOTICE_LEVEL, "templates removed from the cache",
              LOG_TEXT("what", what), LOG_INT("removed", removed));
    control_answer(connection,
                   json_pack("{s:I}", "removed", (json_int_t)removed));
}

void run_cache_clear(struct control_connection *connection, const json_t *args)
{
    struct view view;
    struct error error;
    (void)args;
    if (view_open(&view, connection, &error) != 0) {
        view_close(&view, 0);
        control_refuse(connection, &error);
        return;
    }
    int64_t removed = cache_clear(&view.cache);
    view_close(&view, removed < 0 ? 0 : removed);
    if (removed < 0)
        refuse_busy(connection);
    else
        answer_removed(connection, "all", removed);
}

static bool is_meant(const char *pattern, const char *template_dir,
                     const struct cache_item *item)
{
    char name[TEMPLATE_NAME_MAX];
    return fnmatch(pattern, template_name(template_dir, path_of(item), name),
                   0) == 0 ||
           fnmatch(pattern, path_of(item), 0) == 0;
}

/* How many; -1: some could not be. */
static int64_t remove_meant(struct view *view, const char *pattern,
                            const char *template_dir)
{
    int64_t removed = 0;
    for (size_t i = 0; i < view->count; i++) {
        const struct cache_item *item = &view->items[i];
        if (!is_meant(pattern, template_dir, item))
            continue;
        const struct cache_key key = cache_key(item->key, item->key_size);
        int result = cache_remove(&view->cache, &key);
        if (result < 0)
            return -1;
        removed += result;
    }
    return removed;
}

void run_cache_invalidate(struct control_connection *connection,
                          const json_t *args)
{
    const struct worker *worker = control_worker(control_of(connection));
    const char *pattern = json_string_value(json_object_get(args, "pattern"));
    struct view view;
    struct error error;
    if (pattern == NULL || strlen(pattern) > PATTERN_MAX) {
        error_set(&error, ERROR_USAGE,
                  "pattern: a name or pattern of at most %d bytes is taken",
                  PATTERN_MAX);
        control_refuse(connection, &error);
        return;
    }
    if (view_open(&view, connection, &error) != 0 ||
        view_list(&view, &error) != 0) {
        view_close(&view, 0);
        control_refuse(connection, &error);
        return;
    }
    int64_t removed =
        remove_meant(&view, pattern, worker->config->template_dir);
    view_close(&view, removed < 0 ? 0 : removed);
    if (removed < 0)
        refuse_busy(connection);
    else
        answer_removed(connection, pattern, removed);
}
