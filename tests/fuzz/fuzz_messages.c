/* SPDX-License-Identifier: Apache-2.0
 *
 * What a master reads from a worker's pipe, and the other way round: the
 * first byte chooses the direction.
 */
#include "common/ipc/messages.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct message message;
    struct error error;
    if (size == 0)
        return 0;
    enum message_direction direction =
        (bytes[0] & 1) != 0 ? MESSAGE_UP : MESSAGE_DOWN;
    for (size_t at = 1; at < size;) {
        int used =
            message_parse(bytes + at, size - at, direction, &message, &error);
        if (used <= 0)
            break;
        MUST((size_t)used <= size - at);
        at += (size_t)used;
    }
    return 0;
}
