/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/histogram.h"

#include <stddef.h>

#include "common/shm/cell.h"

#define STEP_BITS 3 /* 8 buckets for each power of two */
#define STEPS     (1u << STEP_BITS)

unsigned histogram_bucket_of(uint64_t microseconds)
{
    if (microseconds < STEPS)
        return (unsigned)microseconds;
    unsigned power = 63u - (unsigned)__builtin_clzll(microseconds);
    unsigned bucket =
        (power - STEP_BITS + 1) * STEPS +
        (unsigned)((microseconds >> (power - STEP_BITS)) & (STEPS - 1));
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

uint64_t histogram_bucket_bound_us(unsigned bucket)
{
    if (bucket < STEPS)
        return bucket;
    unsigned shift = bucket / STEPS - 1;
    return ((uint64_t)(bucket % STEPS + STEPS + 1) << shift) - 1;
}

void histogram_record_us(struct histogram *histogram, uint64_t microseconds)
{
    cell_add(&histogram->sum_us, microseconds);
    cell_add(&histogram->buckets[histogram_bucket_of(microseconds)], 1);
}

void histogram_add_to(struct histogram_totals *totals,
                      const struct histogram *histogram)
{
    uint64_t sum_us =
        atomic_load_explicit(&histogram->sum_us, memory_order_relaxed);
    /* Most are empty: only records of 0 us leave no trace in the sum. */
    if (sum_us == 0 &&
        atomic_load_explicit(&histogram->buckets[0], memory_order_relaxed) == 0)
        return;
    totals->sum_us += sum_us;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        uint64_t records =
            atomic_load_explicit(&histogram->buckets[b], memory_order_relaxed);
        totals->buckets[b] += records;
        totals->count += records;
    }
}

/* The place of the rank among the bucket's records, as if they lay evenly. */
static double place_in(unsigned bucket, double rank, uint64_t records)
{
    double low =
        bucket == 0 ? 0 : (double)histogram_bucket_bound_us(bucket - 1) + 1;
    double high = (double)histogram_bucket_bound_us(bucket);
    double part = rank / (double)records;
    return low + (high - low) * (part < 0 ? 0 : part);
}

double histogram_quantile_us(const struct histogram_totals *totals,
                             double quantile)
{
    double rank = quantile * (double)totals->count;
    uint64_t below = 0;
    if (totals->count == 0)
        return 0;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        uint64_t records = totals->buckets[b];
        if (records > 0 && (double)(below + records) >= rank)
            return place_in(b, rank - (double)below, records);
        below += records;
    }
    return (double)histogram_bucket_bound_us(HISTOGRAM_BUCKETS - 1);
}
