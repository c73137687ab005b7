/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames between the store and its clients: one that is taken apart and put
 * together is the same to the byte.
 */
#include <string.h>

#include "common/store/wire.h"
#include "tests/fuzz/fuzz.h"

static void put(struct buffer *out, const struct wire_frame *frame)
{
    switch (frame->kind) {
    case WIRE_REQUEST:
        wire_put_request(out, frame->number, &frame->request);
        break;
    case WIRE_ANSWER:
        wire_put_answer(out, frame->number, &frame->answer);
        break;
    case WIRE_SUBSCRIBE:
        wire_put_subscribe(out, frame->topics);
        break;
    case WIRE_NOTIFY:
        wire_put_notify(out, frame->number, frame->topics);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct arena arena;
    struct buffer again;
    struct wire_frame frame;
    struct error error;
    int64_t whole = wire_frame_size(bytes, size);
    if (whole <= 0 || (size_t)whole > size)
        return 0;
    arena_init(&arena, 64u << 20);
    buffer_init(&again, 32u << 20);
    if (wire_parse(bytes, (size_t)whole, &arena, &frame, &error) == 0) {
        struct wire_frame second;
        put(&again, &frame);
        MUST(again.failed ||
             wire_parse(again.bytes, again.size, &arena, &second, &error) == 0);
    }
    buffer_deinit(&again);
    arena_deinit(&arena);
    return 0;
}
