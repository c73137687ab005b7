/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ipc/frame.h"

#include <endian.h>
#include <string.h>

void frame_put_u8(struct buffer *out, uint8_t value)
{
    buffer_append(out, &value, sizeof(value));
}

void frame_put_u16(struct buffer *out, uint16_t value)
{
    value = htole16(value);
    buffer_append(out, &value, sizeof(value));
}

void frame_put_u32(struct buffer *out, uint32_t value)
{
    value = htole32(value);
    buffer_append(out, &value, sizeof(value));
}

void frame_put_u64(struct buffer *out, uint64_t value)
{
    value = htole64(value);
    buffer_append(out, &value, sizeof(value));
}

void frame_put_i64(struct buffer *out, int64_t value)
{
    frame_put_u64(out, (uint64_t)value);
}

void frame_put_real(struct buffer *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    frame_put_u64(out, bits);
}

void frame_put_bytes(struct buffer *out, const void *bytes, size_t size)
{
    if (size > UINT32_MAX) {
        out->failed = true;
        return;
    }
    frame_put_u32(out, (uint32_t)size);
    buffer_append(out, bytes, size);
}

void frame_put_text(struct buffer *out, const char *text)
{
    frame_put_bytes(out, text, strlen(text));
}

void frame_reader_init(struct frame_reader *in, const void *bytes, size_t size)
{
    in->at = bytes;
    in->end = in->at + size;
    in->failed = false;
}

/* Copies size bytes out, or zeros once failed. */
static void take(struct frame_reader *in, void *value, size_t size)
{
    if (in->failed || (size_t)(in->end - in->at) < size) {
        in->failed = true;
        memset(value, 0, size);
        return;
    }
    memcpy(value, in->at, size);
    in->at += size;
}

uint8_t frame_get_u8(struct frame_reader *in)
{
    uint8_t value;
    take(in, &value, sizeof(value));
    return value;
}

uint16_t frame_get_u16(struct frame_reader *in)
{
    uint16_t value;
    take(in, &value, sizeof(value));
    return le16toh(value);
}

uint32_t frame_get_u32(struct frame_reader *in)
{
    uint32_t value;
    take(in, &value, sizeof(value));
    return le32toh(value);
}

uint64_t frame_get_u64(struct frame_reader *in)
{
    uint64_t value;
    take(in, &value, sizeof(value));
    return le64toh(value);
}

int64_t frame_get_i64(struct frame_reader *in)
{
    return (int64_t)frame_get_u64(in);
}

double frame_get_real(struct frame_reader *in)
{
    uint64_t bits = frame_get_u64(in);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

const char *frame_get_bytes(struct frame_reader *in, size_t *size)
{
    uint32_t length = frame_get_u32(in);
    *size = 0;
    if (in->failed || (size_t)(in->end - in->at) < length) {
        in->failed = true;
        return NULL;
    }
    const char *bytes = (const char *)in->at;
    in->at += length;
    *size = length;
    return bytes;
}

void frame_get_text(struct frame_reader *in, char *text, size_t room)
{
    size_t size;
    const char *bytes = frame_get_bytes(in, &size);
    text[0] = '\0';
    if (bytes == NULL)
        return;
    if (size >= room || memchr(bytes, '\0', size) != NULL) {
        in->failed = true;
        return;
    }
    memcpy(text, bytes, size);
    text[size] = '\0';
}

bool frame_reader_done(const struct frame_reader *in)
{
    return !in->failed && in->at == in->end;
}
