/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/line_diff.h"

#include <stdlib.h>
#include <string.h>

#define AROUND 3

int lines_split(struct arena *arena, const char *bytes, size_t size,
                struct lines *lines)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += bytes[i] == '\n' || i + 1 == size;
    lines->count = 0;
    lines->line = arena_calloc(arena, count + 1, sizeof(*lines->line));
    if (lines->line == NULL)
        return -1;
    while (size > 0) {
        const char *end = memchr(bytes, '\n', size);
        size_t length = end == NULL ? size : (size_t)(end - bytes) + 1;
        lines->line[lines->count++] = (struct line){bytes, length};
        bytes += length;
        size -= length;
    }
    return 0;
}

bool line_equal(const struct line *a, const struct line *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* --- the shortest way from one to the other --- */

/* The middles of two texts, without what they begin and end with alike.  On
 * diagonal k = x - y, after d steps, reach[d][k + d] is the furthest x. */
struct search {
    const struct line *old, *new;
    int old_count, new_count;
    int **reach;
    int distance; /* steps needed; -1: too far apart */
};

static int follow(const struct search *search, int x, int y)
{
    while (x < search->old_count && y < search->new_count &&
           line_equal(&search->old[x], &search->new[y])) {
        x++;
        y++;
    }
    return x;
}

/* Where a step of d begins on diagonal k: a line of the new text is taken, or
 * one of the old left out. */
static bool takes_new(const int *last, int d, int k)
{
    return k == -d || (k != d && last[k - 1 + d - 1] < last[k + 1 + d - 1]);
}

static int search_steps(struct search *search)
{
    int most = search->old_count + search->new_count;
    if (most > DIFF_DISTANCE_MAX)
        most = DIFF_DISTANCE_MAX;
    search->distance = -1;
    search->reach = calloc((size_t)most + 1, sizeof(*search->reach));
    if (search->reach == NULL)
        return -1;
    for (int d = 0; d <= most; d++) {
        int *here = calloc(2 * (size_t)d + 1, sizeof(*here));
        search->reach[d] = here;
        if (here == NULL)
            return -1;
        for (int k = -d; k <= d; k += 2) {
            const int *last = d == 0 ? NULL : search->reach[d - 1];
            int x = d == 0                  ? 0
                    : takes_new(last, d, k) ? last[k + 1 + d - 1]
                                            : last[k - 1 + d - 1] + 1;
            if (x - k >= 0 && x <= search->old_count)
                x = follow(search, x, x - k);
            here[k + d] = x;
            if (x >= search->old_count && x - k >= search->new_count) {
                search->distance = d;
                return 0;
            }
        }
    }
    return 0;
}

static void search_free(struct search *search)
{
    int most = search->old_count + search->new_count;
    for (int d = 0; search->reach != NULL && d <= DIFF_DISTANCE_MAX &&
                    d <= most && search->reach[d] != NULL;
         d++)
        free(search->reach[d]);
    free(search->reach);
}

/* Puts a change before those that are there, or lengthens the first one. */
static void put_before(struct line_changes *changes, size_t *room,
                       const struct line_change *change)
{
    struct line_change *first = &changes->change[*room];
    if (changes->count > 0 &&
        change->old_first + change->old_count == first->old_first &&
        change->new_first + change->new_count == first->new_first) {
        first->old_first = change->old_first;
        first->new_first = change->new_first;
        first->old_count += change->old_count;
        first->new_count += change->new_count;
        return;
    }
    changes->change[--*room] = *change;
    changes->count++;
}

/* From the end back to the beginning. */
static void walk_back(const struct search *search, size_t skipped,
                      struct line_changes *changes, size_t room)
{
    int x = search->old_count;
    int y = search->new_count;
    for (int d = search->distance; d > 0; d--) {
        const int *last = search->reach[d - 1];
        int k = x - y;
        bool is_new = takes_new(last, d, k);
        x = is_new ? last[k + 1 + d - 1] : last[k - 1 + d - 1];
        y = is_new ? x - (k + 1) : x - (k - 1);
        put_before(changes, &room,
                   &(struct line_change){skipped + (size_t)x, !is_new,
                                         skipped + (size_t)y, is_new});
    }
    changes->change += room;
}

int lines_compare(struct arena *arena, const struct lines *old,
                  const struct lines *new, struct line_changes *changes)
{
    size_t head = 0;
    size_t tail = 0;
    size_t shorter = old->count < new->count ? old->count : new->count;
    while (head < shorter && line_equal(&old->line[head], &new->line[head]))
        head++;
    while (tail < shorter - head &&
           line_equal(&old->line[old->count - 1 - tail],
                      &new->line[new->count - 1 - tail]))
        tail++;
    struct search search = {.old = old->line + head,
                            .new = new->line + head,
                            .old_count = (int)(old->count - head - tail),
                            .new_count = (int)(new->count - head - tail)};
    *changes = (struct line_changes){
        .change = arena_calloc(arena, DIFF_DISTANCE_MAX + 1,
                               sizeof(*changes->change))};
    int result = changes->change == NULL ? -1 : search_steps(&search);
    if (result == 0 && search.distance < 0) {
        changes->count = 1;
        changes->change[0] = (struct line_change){
            head, (size_t)search.old_count, head, (size_t)search.new_count};
    } else if (result == 0) {
        walk_back(&search, head, changes, DIFF_DISTANCE_MAX + 1);
    }
    search_free(&search);
    return result;
}

/* --- the unified format --- */

static void put_line(char mark, const struct line *line, struct buffer *out)
{
    buffer_append_char(out, mark);
    buffer_append(out, line->bytes, line->size);
    if (line->size == 0 || line->bytes[line->size - 1] != '\n')
        buffer_append_text(out, "\n\\ No newline at end of file\n");
}

/* "3,7", "3" for one line, "2,0" for none behind line 2. */
static void put_range(char mark, size_t first, size_t count, struct buffer *out)
{
    buffer_printf(out, "%c%zu", mark, count == 0 ? first : first + 1);
    if (count != 1)
        buffer_printf(out, ",%zu", count);
}

/* Changes [first, last] with what stands between and around them. */
static void put_hunk(const struct lines *old, const struct lines *new,
                     const struct line_change *first,
                     const struct line_change *last, struct buffer *out)
{
    size_t before = first->old_first < AROUND ? first->old_first : AROUND;
    size_t end = last->old_first + last->old_count;
    size_t after = old->count - end < AROUND ? old->count - end : AROUND;
    size_t at = first->old_first - before;
    size_t new_at = first->new_first - before;
    buffer_append_text(out, "@@ ");
    put_range('-', at, end + after - at, out);
    buffer_append_char(out, ' ');
    put_range('+', new_at, last->new_first + last->new_count + after - new_at,
              out);
    buffer_append_text(out, " @@\n");
    for (const struct line_change *change = first; change <= last; change++) {
        for (; at < change->old_first; at++)
            put_line(' ', &old->line[at], out);
        for (; at < change->old_first + change->old_count; at++)
            put_line('-', &old->line[at], out);
        for (size_t i = 0; i < change->new_count; i++)
            put_line('+', &new->line[change->new_first + i], out);
    }
    for (; at < end + after; at++)
        put_line(' ', &old->line[at], out);
}

void lines_print_unified(const struct lines *old, const char *old_name,
                         const struct lines *new, const char *new_name,
                         const struct line_changes *changes, struct buffer *out)
{
    if (changes->count == 0)
        return;
    buffer_printf(out, "--- %s\n+++ %s\n",
                  old_name != NULL ? old_name : "/dev/null",
                  new_name != NULL ? new_name : "/dev/null");
    for (size_t i = 0; i < changes->count;) {
        size_t last = i;
        while (last + 1 < changes->count &&
               changes->change[last + 1].old_first <=
                   changes->change[last].old_first +
                       changes->change[last].old_count + 2 * AROUND)
            last++;
        put_hunk(old, new, &changes->change[i], &changes->change[last], out);
        i = last + 1;
    }
}
