/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/merge.h"

#include <stdint.h>

#include "common/generation/line_diff.h"

/* A side of the merge: its changes of the base, walked once. */
struct side {
    struct lines lines;
    struct line_changes changes;
    size_t next;  /* change */
    size_t shift; /* lines here behind the changes before `next`, less those of
                   * the base: wraps */
};

/* Lines of a text. */
struct span {
    const struct lines *lines;
    size_t first, count;
};

static int side_init(struct side *side, struct arena *arena,
                     const struct lines *base, const struct merge_text *text)
{
    *side = (struct side){.next = 0};
    if (lines_split(arena, text->bytes, text->size, &side->lines) != 0)
        return -1;
    return lines_compare(arena, base, &side->lines, &side->changes);
}

static const struct line_change *next_of(const struct side *side)
{
    return side->next < side->changes.count ? &side->changes.change[side->next]
                                            : NULL;
}

/* Takes the next change into the region [.., *end) of the base if it begins
 * in it or at its end. */
static bool grow(struct side *side, size_t *end)
{
    const struct line_change *change = next_of(side);
    if (change == NULL || change->old_first > *end)
        return false;
    if (change->old_first + change->old_count > *end)
        *end = change->old_first + change->old_count;
    side->shift += change->new_count - change->old_count;
    side->next++;
    return true;
}

static void put_span(const struct span *span, struct buffer *out)
{
    for (size_t i = 0; i < span->count; i++) {
        const struct line *line = &span->lines->line[span->first + i];
        buffer_append(out, line->bytes, line->size);
    }
}

static bool spans_equal(const struct span *a, const struct span *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!line_equal(&a->lines->line[a->first + i],
                        &b->lines->line[b->first + i]))
            return false;
    return true;
}

static void end_line(struct buffer *out)
{
    if (out->size > 0 && out->bytes[out->size - 1] != '\n')
        buffer_append_char(out, '\n');
}

static void put_conflict(const struct span *base, const struct span *edited,
                         const struct span *generated, struct buffer *out)
{
    buffer_append_text(out, "<<<<<<< edited by hand\n");
    put_span(edited, out);
    end_line(out);
    buffer_append_text(out, "||||||| generated before\n");
    put_span(base, out);
    end_line(out);
    buffer_append_text(out, "=======\n");
    put_span(generated, out);
    end_line(out);
    buffer_append_text(out, ">>>>>>> generated now\n");
}

static size_t first_change(const struct side *side, size_t otherwise)
{
    const struct line_change *change = next_of(side);
    return change == NULL ? otherwise : change->old_first;
}

struct merging {
    struct lines base;
    struct side edited, generated;
    struct buffer *out;
    size_t conflicts;
};

/* The region of the base that begins at `from` with a change of either side,
 * and what it became; returns its end. */
static size_t merge_region(struct merging *merging, size_t from)
{
    struct side *edited = &merging->edited;
    struct side *generated = &merging->generated;
    size_t edited_first = from + edited->shift;
    size_t generated_first = from + generated->shift;
    size_t edited_from = edited->next;
    size_t generated_from = generated->next;
    size_t end = from;
    while (grow(edited, &end) || grow(generated, &end))
        ;
    const struct span base = {&merging->base, from, end - from};
    const struct span mine = {&edited->lines, edited_first,
                              end + edited->shift - edited_first};
    const struct span theirs = {&generated->lines, generated_first,
                                end + generated->shift - generated_first};
    if (generated->next == generated_from || spans_equal(&mine, &theirs)) {
        put_span(&mine, merging->out);
    } else if (edited->next == edited_from) {
        put_span(&theirs, merging->out);
    } else {
        put_conflict(&base, &mine, &theirs, merging->out);
        merging->conflicts++;
    }
    return end;
}

int merge_texts(struct arena *arena, const struct merge_text *base,
                const struct merge_text *edited,
                const struct merge_text *generated, struct buffer *out,
                size_t *conflicts)
{
    struct merging merging = {.out = out};
    size_t at = 0;
    if (lines_split(arena, base->bytes, base->size, &merging.base) != 0 ||
        side_init(&merging.edited, arena, &merging.base, edited) != 0 ||
        side_init(&merging.generated, arena, &merging.base, generated) != 0)
        return -1;
    for (;;) {
        size_t next = first_change(&merging.edited, SIZE_MAX);
        size_t other = first_change(&merging.generated, SIZE_MAX);
        next = other < next ? other : next;
        if (next == SIZE_MAX)
            break;
        put_span(&(struct span){&merging.base, at, next - at}, out);
        at = merge_region(&merging, next);
    }
    put_span(&(struct span){&merging.base, at, merging.base.count - at}, out);
    *conflicts = merging.conflicts;
    return 0;
}
