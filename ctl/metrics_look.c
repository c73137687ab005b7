/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/metrics_look.h"

#include <stddef.h>
#include <string.h>

#include "common/shm/metrics.h"
#include "ctl/arguments.h"

#define X(name, metric, word) word,
const char *const look_rate_words[] = {LOOK_RATE_LIST(X)};
const char *const look_latency_words[] = {LOOK_LATENCY_LIST(X)};
#undef X

#define X(kind, name, outside, unit, meaning) outside,
static const char *const outside_names[] = {METRIC_LIST(X)};
#undef X
#define X(name, metric, word) METRIC_##metric,
static const enum metric rate_metrics[] = {LOOK_RATE_LIST(X)};
static const enum metric latency_metrics[] = {LOOK_LATENCY_LIST(X)};
#undef X

static void read_histogram(const json_t *row, struct histogram_totals *totals)
{
    size_t i;
    json_t *pair;
    memset(totals, 0, sizeof(*totals));
    json_array_foreach(json_object_get(row, "buckets_us"), i, pair)
    {
        json_int_t bound_us = json_integer_value(json_array_get(pair, 0));
        json_int_t records = json_integer_value(json_array_get(pair, 1));
        totals->buckets[histogram_bucket_of((uint64_t)bound_us)] +=
            (uint64_t)records;
        totals->count += (uint64_t)records;
    }
}

void metrics_look_read(const json_t *metrics, uint64_t at_ms,
                       struct metrics_look *look)
{
    look->at_ms = at_ms;
    for (unsigned i = 0; i < LOOK_RATES; i++)
        look->counters[i] =
            report_number(metrics, outside_names[rate_metrics[i]]);
    for (unsigned i = 0; i < LOOK_LATENCIES; i++)
        read_histogram(
            json_object_get(metrics, outside_names[latency_metrics[i]]),
            &look->histograms[i]);
}

bool metrics_look_fell(const struct metrics_look *look,
                       const struct metrics_look *before)
{
    bool fell = false;
    for (unsigned i = 0; i < LOOK_RATES; i++)
        fell |= look->counters[i] < before->counters[i];
    for (unsigned i = 0; i < LOOK_LATENCIES; i++)
        for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
            fell |= look->histograms[i].buckets[b] <
                    before->histograms[i].buckets[b];
    return fell;
}

double metrics_look_rate(const struct metrics_look *look,
                         const struct metrics_look *before, enum look_rate rate)
{
    if (look->at_ms <= before->at_ms)
        return -1;
    return (double)(look->counters[rate] - before->counters[rate]) * 1000.0 /
           (double)(look->at_ms - before->at_ms);
}

void metrics_look_latency(const struct metrics_look *look,
                          const struct metrics_look *before,
                          enum look_latency latency,
                          struct histogram_totals *since)
{
    *since = look->histograms[latency];
    if (before == NULL)
        return;
    const struct histogram_totals *start = &before->histograms[latency];
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
        since->buckets[b] -= start->buckets[b];
    since->count -= start->count;
}
