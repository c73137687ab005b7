/* SPDX-License-Identifier: Apache-2.0
 *
 * The texts that were generated last, in <output>/.tidemill/<node>.base: what
 * a merge of hand edits starts from.  One text behind the other, in the order
 * of the manifest, found by their hashes:
 *
 *     tidemill-base 1
 *     SHA256 SIZE
 *     ...SIZE bytes...
 */
#ifndef TIDEMILL_GENERATION_BASE_TEXTS_H
#define TIDEMILL_GENERATION_BASE_TEXTS_H

#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"

#define BASE_BYTES_MAX (64u << 20)

struct base_text {
    char sha256[65];
    const char *bytes;
    size_t size;
};

struct base_texts {
    struct base_text *texts;
    size_t count;
};

/* Reads them, as far as they are whole; without a file, or memory, none. */
void base_texts_read(int root, const char *node, struct arena *arena,
                     struct base_texts *base);

/* The text with that hash, or NULL: never another one. */
const struct base_text *base_texts_find(const struct base_texts *base,
                                        const char *sha256);

void base_texts_begin(struct buffer *out);
void base_texts_put(struct buffer *out, const char *sha256, const char *bytes,
                    size_t size);

#endif
