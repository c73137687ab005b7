/* SPDX-License-Identifier: Apache-2.0
 *
 * The text format of Prometheus, version 0.0.4:
 * https://prometheus.io/docs/instrumenting/exposition_formats/ */
#include "common/shm/metrics_text.h"

#include <inttypes.h>

#include "common/shm/metric_views.h"

/* Bounds shown outside are powers of four, from 16 us to 4^15 us (18 min):
 * few enough to scrape, and each is the end of a bucket. */
#define SHOWN_POWER_FIRST 2
#define SHOWN_POWER_LAST  15

static void write_histogram(const struct metrics *metrics, enum metric metric,
                            struct buffer *out)
{
    struct histogram_totals totals;
    const char *name = metric_outside_name(metric);
    metrics_total_histogram(metrics, metric, &totals);
    unsigned b = 0;
    uint64_t below = 0;
    for (unsigned power = SHOWN_POWER_FIRST; power <= SHOWN_POWER_LAST;
         power++) {
        uint64_t bound_us = UINT64_C(1) << (2 * power);
        for (; b < HISTOGRAM_BUCKETS && histogram_bucket_bound_us(b) < bound_us;
             b++)
            below += totals.buckets[b];
        buffer_printf(out, "%s_bucket{le=\"%.9g\"} %" PRIu64 "\n", name,
                      (double)bound_us / 1e6, below);
    }
    buffer_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name,
                  totals.count);
    buffer_printf(out, "%s_sum %.6f\n", name, (double)totals.sum_us / 1e6);
    buffer_printf(out, "%s_count %" PRIu64 "\n", name, totals.count);
}

static const struct {
    const char *name;
    const char *labels;
    const char *meaning;
    enum metric_kind kind;
} view_rows[] = {
#define X(kind, name, outside, labels, unit, meaning)                          \
    {outside, labels, meaning, METRIC_KIND_##kind},
    METRIC_VIEW_LIST(X)
#undef X
};

static void write_head(struct buffer *out, const char *name, const char *help,
                       enum metric_kind kind)
{
    static const char *const types[] = {
        [METRIC_KIND_COUNTER] = "counter",
        [METRIC_KIND_GAUGE] = "gauge",
        [METRIC_KIND_HISTOGRAM] = "histogram",
    };
    buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
                  types[kind]);
}

void metrics_write_text(struct mapping *mapping, struct buffer *out)
{
    const struct metrics *metrics = &mapping->metrics;
    mapping_measure(mapping);
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        enum metric metric = (enum metric)i;
        const char *name = metric_outside_name(metric);
        write_head(out, name, metric_meaning(metric), metric_kind_of(metric));
        if (metric_kind_of(metric) == METRIC_KIND_HISTOGRAM)
            write_histogram(metrics, metric, out);
        else
            buffer_printf(out, "%s %" PRId64 "\n", name,
                          metrics_total(metrics, metric));
    }
    for (unsigned i = 0; i < METRIC_VIEW_COUNT; i++) {
        struct metric_view_sink sink = {.out = out, .name = view_rows[i].name};
        write_head(out, sink.name, view_rows[i].meaning, view_rows[i].kind);
        metric_view_write((enum metric_view)i, mapping, &sink);
    }
}

static void write_json_histogram(const struct metrics *metrics,
                                 enum metric metric, struct buffer *out)
{
    struct histogram_totals totals;
    metrics_total_histogram(metrics, metric, &totals);
    buffer_printf(out,
                  "{\"count\":%" PRIu64 ",\"sum_seconds\":%.6f,"
                  "\"p50_ms\":%.3f,\"p95_ms\":%.3f,\"p99_ms\":%.3f,"
                  "\"buckets_us\":[",
                  totals.count, (double)totals.sum_us / 1e6,
                  histogram_quantile_us(&totals, 0.50) / 1e3,
                  histogram_quantile_us(&totals, 0.95) / 1e3,
                  histogram_quantile_us(&totals, 0.99) / 1e3);
    const char *between = "";
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        if (totals.buckets[b] == 0)
            continue;
        buffer_printf(out, "%s[%" PRIu64 ",%" PRIu64 "]", between,
                      histogram_bucket_bound_us(b), totals.buckets[b]);
        between = ",";
    }
    buffer_append_text(out, "]}");
}

void metrics_write_json(struct mapping *mapping, struct buffer *out)
{
    const struct metrics *metrics = &mapping->metrics;
    mapping_measure(mapping);
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        enum metric metric = (enum metric)i;
        buffer_printf(out, "%s\"%s\":", i == 0 ? "{" : ",",
                      metric_outside_name(metric));
        if (metric_kind_of(metric) == METRIC_KIND_HISTOGRAM)
            write_json_histogram(metrics, metric, out);
        else
            buffer_printf(out, "%" PRId64, metrics_total(metrics, metric));
    }
    for (unsigned i = 0; i < METRIC_VIEW_COUNT; i++) {
        struct metric_view_sink sink = {.out = out, .json = true};
        bool list = view_rows[i].labels[0] != '\0';
        buffer_printf(out, ",\"%s\":%s", view_rows[i].name, list ? "[" : "");
        metric_view_write((enum metric_view)i, mapping, &sink);
        buffer_append_text(out, list ? "]" : "");
    }
    buffer_append_char(out, '}');
}
