/* SPDX-License-Identifier: Apache-2.0
 *
 * Time.  Deadlines use the monotonic clock, records the wall clock.
 */
#ifndef TIDEMILL_BASE_CLOCK_H
#define TIDEMILL_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>

/* Monotonic time since boot; never jumps; the same in all processes. */
uint64_t clock_monotonic_ns(void);
uint64_t clock_monotonic_ms(void);

/* Wall-clock time since 1970-01-01T00:00:00Z. */
int64_t clock_wall_ms(void);

/* So long, for timers; what is negative is none. */
struct timeval clock_span(int64_t ms);

/* "2026-01-31T23:59:59.123Z" (RFC 3339, UTC, milliseconds) in buffer, which
 * must hold CLOCK_TEXT_SIZE bytes.  Returns buffer. */
#define CLOCK_TEXT_SIZE 32
char *clock_format(int64_t wall_ms, char *buffer);

/* Reads what clock_format writes, and SQLite's "YYYY-MM-DD HH:MM:SS[.SSS]"
 * (UTC), and RFC 3339 with an offset.  0 and *wall_ms, or -1. */
int clock_parse(const char *text, size_t size, int64_t *wall_ms);

#endif
