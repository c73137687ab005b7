/* SPDX-License-Identifier: Apache-2.0
 *
 * How two texts differ, line by line: the shortest list of changes (Eugene W.
 * Myers, "An O(ND) Difference Algorithm and Its Variations", 1986).  Texts
 * further apart than DIFF_DISTANCE_MAX lines are one change from the first to
 * the last line that differs: correct, but not the shortest.
 */
#ifndef TIDEMILL_GENERATION_LINE_DIFF_H
#define TIDEMILL_GENERATION_LINE_DIFF_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"

#define DIFF_DISTANCE_MAX 1000 /* 4 MB of memory while they are compared */

/* With its newline, which only the last line may lack. */
struct line {
    const char *bytes;
    size_t size;
};

struct lines {
    struct line *line;
    size_t count;
};

/* Lines [old_first, old_first + old_count) of the old text became the others
 * of the new one. */
struct line_change {
    size_t old_first, old_count;
    size_t new_first, new_count;
};

struct line_changes {
    struct line_change *change; /* in order; none touches the next one */
    size_t count;
};

/* The lines of a text, which must outlive them; -1 without memory. */
int lines_split(struct arena *arena, const char *bytes, size_t size,
                struct lines *lines);

bool line_equal(const struct line *a, const struct line *b);

int lines_compare(struct arena *arena, const struct lines *old,
                  const struct lines *new, struct line_changes *changes);

/* The unified format with three lines around each change, as `diff -u` and
 * patch(1) have it; a name is NULL for a text that is not there. */
void lines_print_unified(const struct lines *old, const char *old_name,
                         const struct lines *new, const char *new_name,
                         const struct line_changes *changes,
                         struct buffer *out);

#endif
