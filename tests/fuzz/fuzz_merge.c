/* SPDX-License-Identifier: Apache-2.0
 *
 * Three texts, apart by NULs: what only one side changed is taken from it.
 */
#include <string.h>

#include "common/generation/merge.h"
#include "tests/fuzz/fuzz.h"

static struct merge_text next_text(const uint8_t **at, size_t *left)
{
    const uint8_t *end = memchr(*at, 0, *left);
    size_t size = end == NULL ? *left : (size_t)(end - *at);
    struct merge_text text = {(const char *)*at, size};
    *at += size + (end != NULL);
    *left -= size + (end != NULL);
    return text;
}

static void must_be(const struct merge_text *base,
                    const struct merge_text *edited,
                    const struct merge_text *generated,
                    const struct merge_text *result)
{
    struct arena arena;
    struct buffer out;
    size_t conflicts = 0;
    arena_init(&arena, 64u << 20);
    buffer_init(&out, 16u << 20);
    MUST(merge_texts(&arena, base, edited, generated, &out, &conflicts) == 0);
    if (result != NULL)
        MUST(
            conflicts == 0 && out.size == result->size &&
            (out.size == 0 || memcmp(out.bytes, result->bytes, out.size) == 0));
    buffer_deinit(&out);
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct merge_text base = next_text(&bytes, &size);
    struct merge_text edited = next_text(&bytes, &size);
    struct merge_text generated = next_text(&bytes, &size);
    must_be(&base, &edited, &base, &edited);
    must_be(&base, &base, &generated, &generated);
    must_be(&base, &edited, &edited, &edited);
    must_be(&base, &edited, &generated, NULL);
    return 0;
}
