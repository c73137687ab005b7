/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/metrics.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Nobody reads it. */
static struct slot_metrics nowhere;

struct slot_metrics *metrics_own = &nowhere;

static const struct {
    const char *outside;
    const char *unit;
    const char *meaning;
    enum metric_kind kind;
} metric_rows[METRIC_COUNT] = {
#define X(kind, name, outside, unit, meaning)                                  \
    [METRIC_##name] = {outside, unit, meaning, METRIC_KIND_##kind},
    METRIC_LIST(X)
#undef X
};

/* A histogram's place among the histograms; 0 for other kinds, which never
 * ask. */
static const unsigned char histogram_of[METRIC_COUNT] = {
#define METRIC_H_COUNTER(name)
#define METRIC_H_GAUGE(name)
#define METRIC_H_HISTOGRAM(name)              [METRIC_##name] = HISTOGRAM_##name,
#define X(kind, name, outside, unit, meaning) METRIC_H_##kind(name)
    METRIC_LIST(X)
#undef X
};

static struct slot_metrics *use(struct metrics *metrics, unsigned slot)
{
    atomic_store_explicit(&metrics->used[slot], 1, memory_order_relaxed);
    return &metrics->slots[slot];
}

void metrics_use(struct metrics *metrics, unsigned slot)
{
    metrics_own = metrics != NULL ? use(metrics, slot) : &nowhere;
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
    atomic_store_explicit(&metrics_own->values[metric], (uint64_t)value,
                          memory_order_relaxed);
}

void metrics_set_shared(struct metrics *metrics, enum metric metric,
                        int64_t value)
{
    atomic_store_explicit(&use(metrics, METRICS_MASTER)->values[metric],
                          (uint64_t)value, memory_order_relaxed);
}

void metric_record_us(enum metric metric, uint64_t microseconds)
{
    histogram_record_us(&metrics_own->histograms[histogram_of[metric]],
                        microseconds);
}

static bool is_used(const struct metrics *metrics, unsigned slot)
{
    return atomic_load_explicit(&metrics->used[slot], memory_order_relaxed) !=
           0;
}

void metrics_forget_gauges(struct metrics *metrics, unsigned slot)
{
    if (!is_used(metrics, slot))
        return;
    for (unsigned i = 0; i < METRIC_COUNT; i++)
        if (metric_rows[i].kind == METRIC_KIND_GAUGE)
            atomic_store_explicit(&metrics->slots[slot].values[i], 0,
                                  memory_order_relaxed);
}

int64_t metrics_total(const struct metrics *metrics, enum metric metric)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < METRICS_SLOTS; i++)
        if (is_used(metrics, i))
            total += atomic_load_explicit(&metrics->slots[i].values[metric],
                                          memory_order_relaxed);
    return (int64_t)total;
}

void metrics_total_histogram(const struct metrics *metrics, enum metric metric,
                             struct histogram_totals *totals)
{
    unsigned at = histogram_of[metric];
    memset(totals, 0, sizeof(*totals));
    for (unsigned i = 0; i < METRICS_SLOTS; i++)
        if (is_used(metrics, i))
            histogram_add_to(totals, &metrics->slots[i].histograms[at]);
}

const char *metric_outside_name(enum metric metric)
{
    return (unsigned)metric < METRIC_COUNT ? metric_rows[metric].outside : "";
}

const char *metric_unit(enum metric metric)
{
    return (unsigned)metric < METRIC_COUNT ? metric_rows[metric].unit : "";
}

const char *metric_meaning(enum metric metric)
{
    return (unsigned)metric < METRIC_COUNT ? metric_rows[metric].meaning : "";
}

enum metric_kind metric_kind_of(enum metric metric)
{
    return metric_rows[metric].kind;
}
