/* SPDX-License-Identifier: Apache-2.0
 *
 * What a stretch of this process's work took: time, processor, memory.
 */
#ifndef TIDEMILL_BASE_USAGE_H
#define TIDEMILL_BASE_USAGE_H

#include <stdint.h>

struct buffer;

/* A moment.  Taking one costs half a microsecond. */
struct usage_mark {
    uint64_t wall_ns; /* monotonic */
    uint64_t cpu_us;  /* of the whole process, in user and system */
    uint64_t peak_kb; /* resident, the most up to now */
};

void usage_mark(struct usage_mark *mark);

/* The time and the processor between moments, added up; the peak is that at
 * the end of the last one. */
struct usage {
    uint64_t wall_us;
    uint64_t cpu_us;
    uint64_t peak_kb;
};

/* Adds what was between two moments; since the mark, which is moved to now. */
void usage_add_between(struct usage *usage, const struct usage_mark *from,
                       const struct usage_mark *to);
void usage_add(struct usage *usage, struct usage_mark *since);

/* "[12,98.50]": peak MB, percent of a processor; null where no time passed
 * that could be measured. */
void usage_write(const struct usage *usage, struct buffer *json);

#endif
