/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ipc/messages.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "common/ipc/frame.h"

#define SIZE_BYTES     2u
#define HEAD_BYTES     (1u + 4u + 4u)
#define BODY_BYTES_MAX (HEAD_BYTES + 8u + 4u + MESSAGE_TEXT_MAX)

_Static_assert(SIZE_BYTES + BODY_BYTES_MAX <= PIPE_BUF,
               "a message must be written atomically");

#define DIRECTION_DOWN MESSAGE_DOWN
#define DIRECTION_UP   MESSAGE_UP

static const struct {
    const char *name;
    enum message_direction direction;
    bool has_number;
    bool has_text;
} kinds[MESSAGE_KIND_COUNT] = {
#define X(name, direction, number, text, words)                                \
    [MESSAGE_##name] = {#name, DIRECTION_##direction, number, text},
    MESSAGE_LIST(X)
#undef X
};

const char *message_name(enum message_kind kind)
{
    if (kind <= MESSAGE_NONE || kind >= MESSAGE_KIND_COUNT)
        return "unknown";
    return kinds[kind].name;
}

static void put_message(struct buffer *out, const struct message *message)
{
    frame_put_u8(out, (uint8_t)message->kind);
    frame_put_u32(out, (uint32_t)message->pid);
    frame_put_u32(out, message->spawn);
    if (kinds[message->kind].has_number)
        frame_put_u64(out, message->number);
    if (kinds[message->kind].has_text)
        frame_put_bytes(out, message->text,
                        strnlen(message->text, MESSAGE_TEXT_MAX - 1));
}

size_t message_size(const struct message *message)
{
    size_t size = SIZE_BYTES + HEAD_BYTES;
    if (kinds[message->kind].has_number)
        size += 8;
    if (kinds[message->kind].has_text)
        size += 4 + strnlen(message->text, MESSAGE_TEXT_MAX - 1);
    return size;
}

static int write_whole(int fd, const struct buffer *out, struct error *error)
{
    ssize_t wrote;
    do
        wrote = write(fd, out->bytes, out->size);
    while (wrote < 0 && errno == EINTR);
    if (wrote == (ssize_t)out->size)
        return 0;
    if (wrote < 0 && errno == EAGAIN)
        return error_set(error, ERROR_TRY_AGAIN,
                         "the pipe is full: its reader does not read");
    if (wrote < 0)
        return error_set_errno(error, ERROR_IO,
                               "cannot write a message to the pipe");
    return error_set(error, ERROR_IO, "a message was written only in part");
}

int message_send(int fd, const struct message *message, struct error *error)
{
    struct buffer out;
    if (message->kind <= MESSAGE_NONE || message->kind >= MESSAGE_KIND_COUNT)
        return error_set(error, ERROR_SOFTWARE, "no such kind of message: %d",
                         (int)message->kind);
    buffer_init(&out, PIPE_BUF);
    frame_put_u16(&out, 0);
    put_message(&out, message);
    int result = -1;
    if (out.failed) {
        error_set(error, ERROR_SYSTEM, "no memory for a message");
    } else {
        size_t body = out.size - SIZE_BYTES;
        out.bytes[0] = (char)(body & 0xffu);
        out.bytes[1] = (char)(body >> 8);
        result = write_whole(fd, &out, error);
    }
    buffer_deinit(&out);
    return result;
}

static bool kind_fits(unsigned kind, enum message_direction direction)
{
    return kind > MESSAGE_NONE && kind < MESSAGE_KIND_COUNT &&
           kinds[kind].direction == direction;
}

int message_parse(const void *bytes, size_t size,
                  enum message_direction direction, struct message *message,
                  struct error *error)
{
    struct frame_reader in;
    if (size < SIZE_BYTES)
        return 0;
    frame_reader_init(&in, bytes, SIZE_BYTES);
    size_t body = frame_get_u16(&in);
    if (body < HEAD_BYTES || body > BODY_BYTES_MAX)
        return error_set(error, ERROR_PROTOCOL,
                         "a message cannot have %zu bytes", body);
    /* the kind is checked as soon as it is there, so that garbage is found
     * before all of it came */
    if (size > SIZE_BYTES) {
        unsigned kind = ((const unsigned char *)bytes)[SIZE_BYTES];
        if (!kind_fits(kind, direction))
            return error_set(error, ERROR_PROTOCOL,
                             "no message of kind %u goes this way", kind);
    }
    if (size - SIZE_BYTES < body)
        return 0;
    frame_reader_init(&in, (const char *)bytes + SIZE_BYTES, body);
    message->kind = (enum message_kind)frame_get_u8(&in);
    message->pid = (pid_t)frame_get_u32(&in);
    message->spawn = frame_get_u32(&in);
    message->number = 0;
    message->text[0] = '\0';
    if (kinds[message->kind].has_number)
        message->number = frame_get_u64(&in);
    if (kinds[message->kind].has_text)
        frame_get_text(&in, message->text, sizeof(message->text));
    if (!frame_reader_done(&in))
        return error_set(error, ERROR_PROTOCOL,
                         "a message %s does not have its form",
                         message_name(message->kind));
    return (int)(SIZE_BYTES + body);
}
