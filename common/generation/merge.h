/* SPDX-License-Identifier: Apache-2.0
 *
 * A three-way merge of texts, line by line, as diff3(1) and git do: what only
 * one side changed is taken from it, what both changed alike once; the rest
 * are conflicts, marked so:
 *
 *     <<<<<<< edited by hand
 *     ||||||| generated before
 *     =======
 *     >>>>>>> generated now
 */
#ifndef TIDEMILL_GENERATION_MERGE_H
#define TIDEMILL_GENERATION_MERGE_H

#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"

struct merge_text {
    const char *bytes;
    size_t size;
};

/* Appends the merged text to out; *conflicts counts.  -1 without memory. */
int merge_texts(struct arena *arena, const struct merge_text *base,
                const struct merge_text *edited,
                const struct merge_text *generated, struct buffer *out,
                size_t *conflicts);

#endif
