/* SPDX-License-Identifier: Apache-2.0
 *
 * A growing byte buffer with a bound.  Appending past the bound, or without
 * memory, sets `failed` and changes nothing; a writer of many pieces checks
 * once at the end.
 */
#ifndef TIDEMILL_BASE_BUFFER_H
#define TIDEMILL_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    char *bytes; /* always NUL-terminated once anything was appended */
    size_t size;
    size_t capacity;
    size_t limit; /* size never exceeds this */
    bool failed;
};

void buffer_init(struct buffer *buffer, size_t limit);
void buffer_deinit(struct buffer *buffer);

/* Empties it, forgets the failure, keeps the memory. */
void buffer_reset(struct buffer *buffer);

/* Room for `more` bytes behind size; the caller adds to size what it wrote.
 * NULL (and failed) when there is none. */
char *buffer_reserve(struct buffer *buffer, size_t more);

void buffer_append(struct buffer *buffer, const void *bytes, size_t size);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_char(struct buffer *buffer, char c);
void buffer_append_number(struct buffer *buffer, uint64_t number); /* decimal */
void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Appends text as a JSON string with its quotes: control characters,
 * quotes and backslashes escaped, other bytes as they are (the caller
 * answers for UTF-8). */
void buffer_append_json(struct buffer *buffer, const char *text, size_t size);

#endif
