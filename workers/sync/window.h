/* SPDX-License-Identifier: Apache-2.0
 *
 * How many batches a line to a server needs under way at once: enough that
 * the server always has one to apply while answers and requests travel,
 * and not so many that what comes next, which may be urgent, waits for long.
 * No system calls; times are handed in, in nanoseconds of one clock.
 *
 * Measured are the round trip (the least that any answer took) and what an
 * operation takes at the server (the distance of two answers, or, of a batch
 * that was alone, its time without the round trip).
 */
#ifndef TIDEMILL_SYNC_WINDOW_H
#define TIDEMILL_SYNC_WINDOW_H

#include <stdint.h>

/* What is under way is to be applied within so long. */
#define WINDOW_QUEUE_NS UINT64_C(200000000)

/* Data under way: it is held once more in libpq's buffers. */
#define WINDOW_BYTES_MAX ((uint64_t)16 << 20)

struct window {
    uint64_t round_trip_ns; /* 0: not known */
    uint64_t operation_ns;  /* smoothed; 0: not known */
    uint64_t operations;    /* of a batch, smoothed */
    uint64_t answered_ns;   /* when the last answer came */
    uint64_t queued_operations, queued_bytes; /* under way */
    unsigned queued;                          /* batches under way */
};

/* What one batch is, and when it was sent. */
struct window_batch {
    uint64_t operations, bytes;
    uint64_t sent_ns;
};

/* A new line, nothing known of it. */
void window_reset(struct window *window);

/* A question that costs the server next to nothing took so long. */
void window_round_trip(struct window *window, uint64_t took_ns);

void window_sent(struct window *window, const struct window_batch *batch);

/* Its answer came; returns what it took at the server, about, at least 1. */
uint64_t window_answered(struct window *window, const struct window_batch *batch,
                       uint64_t now_ns);

/* It is under way no longer, and nothing is learnt from it. */
void window_dropped(struct window *window, const struct window_batch *batch);

/* From 1 to most. */
unsigned window_depth(const struct window *window, unsigned most);

#endif
