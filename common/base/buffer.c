/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_init(struct buffer *buffer, size_t limit)
{
    *buffer = (struct buffer){.limit = limit};
}

void buffer_deinit(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct buffer){.limit = buffer->limit};
}

void buffer_reset(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = false;
}

char *buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->failed || more > buffer->limit ||
        buffer->size > buffer->limit - more) {
        buffer->failed = true;
        return NULL;
    }
    size_t need = buffer->size + more + 1;
    if (need > buffer->capacity) {
        size_t capacity = buffer->capacity < 256 ? 256 : buffer->capacity * 2;
        if (capacity > buffer->limit + 1)
            capacity = buffer->limit + 1;
        if (capacity < need)
            capacity = need;
        char *bytes = realloc(buffer->bytes, capacity);
        if (bytes == NULL) {
            buffer->failed = true;
            return NULL;
        }
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->size;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t size)
{
    char *at = buffer_reserve(buffer, size);
    if (at == NULL)
        return;
    if (size > 0)
        memcpy(at, bytes, size);
    at[size] = '\0';
    buffer->size += size;
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_char(struct buffer *buffer, char c)
{
    buffer_append(buffer, &c, 1);
}

void buffer_append_number(struct buffer *buffer, uint64_t number)
{
    char text[20];
    size_t at = sizeof(text);
    do
        text[--at] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    buffer_append(buffer, text + at, sizeof(text) - at);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list args;
    size_t room = buffer->failed ? 0 : buffer->capacity - buffer->size;
    char *at = room == 0 ? NULL : buffer->bytes + buffer->size;
    va_start(args, format);
    int size = vsnprintf(at, room, format, args);
    va_end(args);
    if (size >= 0 && (size_t)size < room) { /* mostly */
        buffer->size += (size_t)size;
        return;
    }
    if (at != NULL)
        *at = '\0';
    at = size < 0 ? NULL : buffer_reserve(buffer, (size_t)size);
    if (at == NULL) {
        buffer->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(at, (size_t)size + 1, format, args);
    va_end(args);
    buffer->size += (size_t)size;
}

static void append_json_escape(struct buffer *buffer, unsigned char c)
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *s = shorts; *s != '\0'; s += 2)
        if ((unsigned char)s[0] == c) {
            buffer_append_char(buffer, '\\');
            buffer_append_char(buffer, s[1]);
            return;
        }
    buffer_printf(buffer, "\\u%04x", c);
}

void buffer_append_json(struct buffer *buffer, const char *text, size_t size)
{
    size_t start = 0;
    buffer_append_char(buffer, '"');
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        buffer_append(buffer, text + start, i - start);
        append_json_escape(buffer, c);
        start = i + 1;
    }
    buffer_append(buffer, text + start, size - start);
    buffer_append_char(buffer, '"');
}
