/* SPDX-License-Identifier: Apache-2.0
 *
 * Log-linear histograms of times in microseconds, and what is read from them.
 *
 * Up to 8 us each value has a bucket, beyond that each power of two has 8.
 * A bucket is at most an eighth as wide as its lowest value, and a quantile
 * is given as a place within the bucket that the true one lies in: it is
 * wrong by less than 12.5 %.  Beyond 2^32 us (71 minutes) there is one bucket.
 */
#ifndef TIDEMILL_SHM_HISTOGRAM_H
#define TIDEMILL_SHM_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 241

/* As it lies in shared memory; one process writes it. */
struct histogram {
    _Atomic uint64_t sum_us;
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* A reading of one, or the sum of several. */
struct histogram_totals {
    uint64_t count; /* of all buckets */
    uint64_t sum_us;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record_us(struct histogram *histogram, uint64_t microseconds);

/* Adds what the histogram has now.  The count is that of the buckets which
 * were read, whatever is recorded meanwhile. */
void histogram_add_to(struct histogram_totals *totals,
                      const struct histogram *histogram);

/* The value below which `quantile` (0..1) of the records lie, in
 * microseconds; 0 without records. */
double histogram_quantile_us(const struct histogram_totals *totals,
                             double quantile);

/* The bucket of a value, and the highest value of a bucket. */
unsigned histogram_bucket_of(uint64_t microseconds);
uint64_t histogram_bucket_bound_us(unsigned bucket);

#endif
