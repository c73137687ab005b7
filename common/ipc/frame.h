/* SPDX-License-Identifier: Apache-2.0
 *
 * Fields put and got one by one, in little-endian byte order, bounds
 * checked.  Pipe messages, store requests and their answers are made of
 * these.  A writer or reader that met an error stays failed: check once,
 * at the end, with frame_writer_ok or frame_reader_done.
 */
#ifndef TIDEMILL_IPC_FRAME_H
#define TIDEMILL_IPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buffer.h"

/* Putting appends to a struct buffer: its bound is the frame's bound, its
 * `failed` the frame's failure. */
void frame_put_u8(struct buffer *out, uint8_t value);
void frame_put_u16(struct buffer *out, uint16_t value);
void frame_put_u32(struct buffer *out, uint32_t value);
void frame_put_u64(struct buffer *out, uint64_t value);
void frame_put_i64(struct buffer *out, int64_t value);
void frame_put_real(struct buffer *out, double value);
/* A u32 length and the bytes. */
void frame_put_bytes(struct buffer *out, const void *bytes, size_t size);
void frame_put_text(struct buffer *out, const char *text);

struct frame_reader {
    const unsigned char *at;
    const unsigned char *end;
    bool failed;
};

void frame_reader_init(struct frame_reader *in, const void *bytes, size_t size);
uint8_t frame_get_u8(struct frame_reader *in);
uint16_t frame_get_u16(struct frame_reader *in);
uint32_t frame_get_u32(struct frame_reader *in);
uint64_t frame_get_u64(struct frame_reader *in);
int64_t frame_get_i64(struct frame_reader *in);
double frame_get_real(struct frame_reader *in);
/* Points into the frame; *size is its length.  NULL when failed. */
const char *frame_get_bytes(struct frame_reader *in, size_t *size);
/* Copies a text into room bytes with a NUL; a text with a NUL inside or too
 * long for the room fails the reader. */
void frame_get_text(struct frame_reader *in, char *text, size_t room);

/* True when nothing failed and nothing is left over. */
bool frame_reader_done(const struct frame_reader *in);

#endif
