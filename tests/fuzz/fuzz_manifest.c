/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifests: one that is read and written is read again as the same.
 */
#include <string.h>

#include "common/generation/manifest.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct arena arena;
    struct error error;
    struct manifest first = {.node = "node"};
    struct manifest second = {.node = "node"};
    struct buffer once, twice;
    arena_init(&arena, 64u << 20);
    buffer_init(&once, MANIFEST_BYTES_MAX);
    buffer_init(&twice, MANIFEST_BYTES_MAX);
    if (manifest_parse("fuzz", (const char *)bytes, size, &arena, &first,
                       &error) == 0) {
        manifest_put(&first, &once);
        MUST(once.failed || manifest_parse("fuzz", once.bytes, once.size,
                                           &arena, &second, &error) == 0);
        if (!once.failed) {
            manifest_put(&second, &twice);
            MUST(once.size == twice.size &&
                 memcmp(once.bytes, twice.bytes, once.size) == 0);
        }
    }
    buffer_deinit(&twice);
    buffer_deinit(&once);
    arena_deinit(&arena);
    return 0;
}
