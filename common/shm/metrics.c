/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/metrics.h"

#include <stddef.h>
#include <string.h>

/* The slot that this process writes to. */
static struct slot_metrics *own;

static const struct {
    const char *outside;
    const char *help;
    enum metric_kind kind;
} metric_rows[METRIC_COUNT] = {
#define X(kind, name, outside, help)                                           \
    [METRIC_##name] = {outside, help, METRIC_KIND_##kind},
    METRIC_LIST(X)
#undef X
};

/* A histogram's place among the histograms; 0 for other kinds, which never
 * ask. */
static const unsigned char histogram_of[METRIC_COUNT] = {
#define METRIC_H_COUNTER(name)
#define METRIC_H_GAUGE(name)
#define METRIC_H_HISTOGRAM(name)     [METRIC_##name] = HISTOGRAM_##name,
#define X(kind, name, outside, help) METRIC_H_##kind(name)
    METRIC_LIST(X)
#undef X
};

void metrics_use(struct slot_metrics *slot)
{
    own = slot;
}

/* A cell has one writer: a load and a store suffice. */
static inline void cell_add(_Atomic uint64_t *cell, uint64_t value)
{
    atomic_store_explicit(
        cell, atomic_load_explicit(cell, memory_order_relaxed) + value,
        memory_order_relaxed);
}

void metric_add(enum metric metric, uint64_t value)
{
    if (own != NULL)
        cell_add(&own->values[metric], value);
}

void metric_count_log(enum log_count what, uint64_t number)
{
    static const enum metric metrics[] = {
        [LOG_COUNT_LOST] = METRIC_LOG_LOST,
        [LOG_COUNT_REPEATED] = METRIC_LOG_REPEATED,
        [LOG_COUNT_ROTATION] = METRIC_LOG_ROTATIONS,
        [LOG_COUNT_ROTATION_FAILURE] = METRIC_LOG_ROTATIONS_FAILED,
    };
    metric_add(metrics[what], number);
}

void metric_set(enum metric metric, int64_t value)
{
    if (own != NULL)
        atomic_store_explicit(&own->values[metric], (uint64_t)value,
                              memory_order_relaxed);
}

/* 0..3 have a bucket each; then 4 for each power of two. */
static inline unsigned bucket_of(uint64_t microseconds)
{
    if (microseconds < 4)
        return (unsigned)microseconds;
    unsigned power = 63u - (unsigned)__builtin_clzll(microseconds);
    unsigned bucket =
        (power - 1) * 4 + (unsigned)((microseconds >> (power - 2)) & 3u);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

uint64_t histogram_bucket_bound_us(unsigned bucket)
{
    if (bucket < 4)
        return bucket;
    unsigned power = bucket / 4 + 1;
    return ((uint64_t)(bucket % 4 + 5) << (power - 2)) - 1;
}

void metric_record_us(enum metric metric, uint64_t microseconds)
{
    if (own == NULL)
        return;
    struct histogram *histogram = &own->histograms[histogram_of[metric]];
    cell_add(&histogram->count, 1);
    cell_add(&histogram->sum_us, microseconds);
    cell_add(&histogram->buckets[bucket_of(microseconds)], 1);
}

void metrics_forget_gauges(struct slot_metrics *slot)
{
    for (unsigned i = 0; i < METRIC_COUNT; i++)
        if (metric_rows[i].kind == METRIC_KIND_GAUGE)
            atomic_store_explicit(&slot->values[i], 0, memory_order_relaxed);
}

int64_t metrics_total(const struct metrics *metrics, enum metric metric)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < SLOTS_MAX + 1; i++)
        total += atomic_load_explicit(&metrics->slots[i].values[metric],
                                      memory_order_relaxed);
    return (int64_t)total;
}

void metrics_total_histogram(const struct metrics *metrics, enum metric metric,
                             uint64_t *count, uint64_t *sum_us,
                             uint64_t buckets[HISTOGRAM_BUCKETS])
{
    unsigned at = histogram_of[metric];
    *count = 0;
    *sum_us = 0;
    memset(buckets, 0, sizeof(*buckets) * HISTOGRAM_BUCKETS);
    for (unsigned i = 0; i < SLOTS_MAX + 1; i++) {
        const struct histogram *histogram = &metrics->slots[i].histograms[at];
        if (atomic_load_explicit(&histogram->count, memory_order_relaxed) == 0)
            continue;
        *sum_us +=
            atomic_load_explicit(&histogram->sum_us, memory_order_relaxed);
        for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
            buckets[b] += atomic_load_explicit(&histogram->buckets[b],
                                               memory_order_relaxed);
    }
    /* the count of what was read, not of what came meanwhile */
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
        *count += buckets[b];
}

double histogram_quantile_us(const uint64_t buckets[HISTOGRAM_BUCKETS],
                             double quantile)
{
    uint64_t count = 0;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
        count += buckets[b];
    if (count == 0)
        return 0;
    double rank = quantile * (double)count;
    uint64_t below = 0;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        if (buckets[b] == 0)
            continue;
        if ((double)(below + buckets[b]) >= rank) {
            double low =
                b == 0 ? 0 : (double)histogram_bucket_bound_us(b - 1) + 1;
            double high = (double)histogram_bucket_bound_us(b);
            double part = (rank - (double)below) / (double)buckets[b];
            return low + (high - low) * (part < 0 ? 0 : part);
        }
        below += buckets[b];
    }
    return (double)histogram_bucket_bound_us(HISTOGRAM_BUCKETS - 1);
}

const char *metric_outside_name(enum metric metric)
{
    return (unsigned)metric < METRIC_COUNT ? metric_rows[metric].outside : "";
}

const char *metric_help(enum metric metric)
{
    return (unsigned)metric < METRIC_COUNT ? metric_rows[metric].help : "";
}

enum metric_kind metric_kind_of(enum metric metric)
{
    return metric_rows[metric].kind;
}
