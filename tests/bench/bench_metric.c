/* SPDX-License-Identifier: Apache-2.0
 *
 * What it costs to count, and to record a time:
 *
 *     bench_metric ROUNDS
 *
 * Slices of each take turns: an increment of a private variable, of a counter
 * in shared memory, a reading of the clock, a record of a histogram.  Prints
 * the nanoseconds of each as JSON.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/shm/mapping.h"

#define SLICE 1000000u

enum { PLAIN, COUNTER, CLOCK, RECORD, KINDS };

/* One that the compiler keeps in memory, as a counter is. */
static uint64_t plain;

static uint64_t run_plain(void)
{
    uint64_t start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < SLICE; i++) {
        plain++;
        __asm__ volatile("" : "+m"(plain));
    }
    return clock_monotonic_ns() - start_ns;
}

static uint64_t run_counter(void)
{
    uint64_t start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < SLICE; i++)
        metric_add(METRIC_STORE_REQUESTS, 1);
    return clock_monotonic_ns() - start_ns;
}

static uint64_t run_clock(void)
{
    struct timespec now;
    uint64_t start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < SLICE; i++) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        __asm__ volatile("" : : "m"(now));
    }
    return clock_monotonic_ns() - start_ns;
}

/* Times as they come: of all sizes, in no order. */
static uint64_t run_record(void)
{
    uint32_t chance = 1;
    uint64_t start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < SLICE; i++) {
        chance = chance * 1664525u + 1013904223u;
        metric_record_us(METRIC_STORE_COMMIT_SECONDS,
                         (chance >> 8) >> (chance & 15u));
    }
    return clock_monotonic_ns() - start_ns;
}

int main(int argc, char **argv)
{
    static uint64_t (*const runs[KINDS])(void) = {run_plain, run_counter,
                                                  run_clock, run_record};
    uint64_t took_ns[KINDS] = {0};
    struct error error;
    unsigned rounds = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    struct mapping *mapping = mapping_new(&error);
    if (rounds == 0 || mapping == NULL) {
        fputs("usage: bench_metric ROUNDS\n", stderr);
        return 64;
    }
    metrics_use(&mapping->metrics, 5);
    for (unsigned i = 0; i < rounds; i++)
        for (unsigned kind = 0; kind < KINDS; kind++)
            took_ns[kind] += runs[kind]();
    double count = (double)rounds * SLICE;
    printf("{\"plain\": %.3f, \"counter\": %.3f, \"clock\": %.3f, "
           "\"record\": %.3f}\n",
           (double)took_ns[PLAIN] / count, (double)took_ns[COUNTER] / count,
           (double)took_ns[CLOCK] / count, (double)took_ns[RECORD] / count);
    mapping_free(&mapping);
    return 0;
}
