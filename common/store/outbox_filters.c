/* SPDX-License-Identifier: Apache-2.0
 *
 * Which records the operations of a lane belong to, in runs of about
 * RECORD_FILTER_RECORDS operations: the newest run grows in memory, full
 * ones are stored, runs that were never covered (a crash, a short-lived
 * writer) are built from the rows when somebody asks.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/writer_internal.h"

#define FILTERS_CACHED_MAX 2048 /* 16 kB each */

static int out_of_memory(struct error *error)
{
    return error_set(error, ERROR_SYSTEM,
                     "no memory for the store's record filters; nothing of "
                     "this was stored");
}

/* The first id of the lane that may be unclaimed; its heads are known. */
static int64_t first_unclaimed(const struct outbox_state *state, unsigned lane)
{
    int64_t first = state->next_id;
    for (unsigned p = 0; p < OUTBOX_PRIORITIES; p++) {
        unsigned stripe = stripe_index(p, lane);
        if (state->tail[stripe] > state->claimed[stripe] &&
            state->head[stripe] < first)
            first = state->head[stripe];
    }
    return first;
}

static int add_segment(struct lane_filters *lane,
                       const struct filter_segment *segment,
                       struct error *error)
{
    if (lane->count == lane->capacity) {
        size_t capacity = lane->capacity * 2 + 16;
        struct filter_segment *segments =
            realloc(lane->segments, capacity * sizeof(*segments));
        if (segments == NULL)
            return out_of_memory(error);
        lane->segments = segments;
        lane->capacity = capacity;
    }
    size_t at = lane->count;
    while (at > 0 && lane->segments[at - 1].first_id > segment->first_id)
        at--;
    memmove(&lane->segments[at + 1], &lane->segments[at],
            (lane->count - at) * sizeof(*segment));
    lane->segments[at] = *segment;
    lane->count++;
    return 0;
}

static void drop_filter(struct store_writer *writer,
                        struct filter_segment *segment)
{
    if (segment->filter != NULL)
        writer->filters_cached--;
    free(segment->filter);
    segment->filter = NULL;
}

/* Forgets segments that hold nothing unclaimed any more. */
static int drop_old(struct store_writer *writer, unsigned lane,
                    struct error *error)
{
    struct lane_filters *filters = &writer->filters[lane];
    if (outbox_heads_find(writer, lane, error) != 0)
        return -1;
    int64_t first = first_unclaimed(&writer->state, lane);
    size_t gone = 0;
    while (gone < filters->count && filters->segments[gone].last_id < first)
        drop_filter(writer, &filters->segments[gone++]);
    filters->count -= gone;
    if (gone > 0)
        memmove(filters->segments, &filters->segments[gone],
                filters->count * sizeof(filters->segments[0]));
    return SQL_RUN(
        writer, SQL_FILTERS_DELETE, error, value_integer(stripe_key(lane, 0)),
        value_integer(stripe_key(lane, OUTBOX_ID_MAX)), value_integer(first));
}

/* Stores a segment; takes the filter over, also on failure. */
static int store_segment(struct store_writer *writer, unsigned lane,
                         int64_t first, int64_t last,
                         struct record_filter *filter, struct error *error)
{
    struct lane_filters *filters = &writer->filters[lane];
    struct filter_segment segment = {.first_id = first, .last_id = last};
    struct value blob = {.type = VALUE_BYTES,
                         .bytes = (const char *)filter->slots,
                         .size = sizeof(filter->slots)};
    writer->filters_touched = true;
    int result = SQL_RUN(writer, SQL_FILTER_WRITE, error,
                         value_integer(stripe_key(lane, first)),
                         value_integer(last), blob);
    if (result != 0 || !filters->loaded) {
        free(filter);
        return result;
    }
    if (writer->filters_cached < FILTERS_CACHED_MAX) {
        segment.filter = filter;
        writer->filters_cached++;
    } else {
        free(filter);
    }
    if (add_segment(filters, &segment, error) == 0)
        return 0;
    drop_filter(writer, &segment);
    return -1;
}

static struct record_filter *new_filter(struct error *error)
{
    struct record_filter *filter = calloc(1, sizeof(*filter));
    if (filter == NULL)
        out_of_memory(error);
    return filter;
}

int lane_filters_add(struct store_writer *writer, unsigned lane, int64_t id,
                     uint64_t record_hash, struct error *error)
{
    struct lane_filters *filters = &writer->filters[lane];
    if (filters->current != NULL &&
        filters->current_count >= RECORD_FILTER_RECORDS) {
        struct record_filter *full = filters->current;
        filters->current = NULL;
        if (store_segment(writer, lane, filters->current_first, id - 1, full,
                          error) != 0 ||
            drop_old(writer, lane, error) != 0)
            return -1;
    }
    if (filters->current == NULL) {
        filters->current = new_filter(error);
        if (filters->current == NULL)
            return -1;
        filters->current_first = id;
        filters->current_count = 0;
    }
    record_filter_add(filters->current, record_hash);
    filters->current_count++;
    return 0;
}

static int load_segments(struct store_writer *writer, unsigned lane,
                         struct error *error)
{
    struct lane_filters *filters = &writer->filters[lane];
    sqlite3_stmt *rows = SQL_QUERY(
        writer, SQL_FILTERS_READ, error, value_integer(stripe_key(lane, 0)),
        value_integer(stripe_key(lane, OUTBOX_ID_MAX)));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, error)) > 0) {
        struct filter_segment segment = {
            .first_id = key_id(sqlite3_column_int64(rows, 0)),
            .last_id = sqlite3_column_int64(rows, 1)};
        if (add_segment(filters, &segment, error) != 0) {
            sqlite3_reset(rows);
            return -1;
        }
    }
    filters->loaded = step == 0;
    return step;
}

void lane_filters_forget(struct store_writer *writer)
{
    for (unsigned lane = 0; lane < OUTBOX_LANES; lane++) {
        struct lane_filters *filters = &writer->filters[lane];
        for (size_t i = 0; i < filters->count; i++)
            drop_filter(writer, &filters->segments[i]);
        free(filters->segments);
        free(filters->current);
        *filters = (struct lane_filters){0};
    }
}

void lane_filters_restore(struct store_writer *writer)
{
    if (writer->filters_touched) {
        lane_filters_forget(writer);
        return;
    }
    for (unsigned lane = 0; lane < OUTBOX_LANES; lane++) {
        struct lane_filters *filters = &writer->filters[lane];
        if (filters->current_first > writer->state.next_id)
            filters->current_first = writer->state.next_id;
    }
}

/* Rows of the four stripes of a lane, merged by id. */
struct merge {
    sqlite3_stmt *rows[OUTBOX_PRIORITIES];
    int64_t id[OUTBOX_PRIORITIES]; /* INT64_MAX: no more */
};

static int merge_step(struct store_writer *writer, struct merge *merge,
                      unsigned p, struct error *error)
{
    int step = sql_step(writer, merge->rows[p], error);
    if (step < 0)
        return -1;
    merge->id[p] =
        step > 0 ? key_id(sqlite3_column_int64(merge->rows[p], 0)) : INT64_MAX;
    return 0;
}

static void merge_end(struct merge *merge)
{
    for (unsigned p = 0; p < OUTBOX_PRIORITIES; p++)
        if (merge->rows[p] != NULL)
            sqlite3_reset(merge->rows[p]);
}

static int merge_begin(struct store_writer *writer, struct merge *merge,
                       unsigned lane, int64_t first, int64_t last,
                       struct error *error)
{
    *merge = (struct merge){0};
    for (unsigned p = 0; p < OUTBOX_PRIORITIES; p++) {
        unsigned stripe = stripe_index(p, lane);
        merge->rows[p] =
            SQL_QUERY(writer, (enum sql)(SQL_OUTBOX_RECORDS_0 + p), error,
                      value_integer(stripe_key(stripe, first - 1)),
                      value_integer(stripe_key(stripe, last)));
        if (merge->rows[p] == NULL ||
            merge_step(writer, merge, p, error) != 0) {
            merge_end(merge);
            return -1;
        }
    }
    return 0;
}

/* 1 and the next row's id and record; 0 at the end; -1. */
static int merge_next(struct store_writer *writer, struct merge *merge,
                      int64_t *id, uint64_t *record_hash, struct error *error)
{
    unsigned least = 0;
    for (unsigned p = 1; p < OUTBOX_PRIORITIES; p++)
        if (merge->id[p] < merge->id[least])
            least = p;
    if (merge->id[least] == INT64_MAX)
        return 0;
    sqlite3_stmt *row = merge->rows[least];
    *id = merge->id[least];
    const char *table = (const char *)sqlite3_column_text(row, 1);
    const char *record = (const char *)sqlite3_column_text(row, 2);
    *record_hash = outbox_record_hash(
        table != NULL ? table : "", (size_t)sqlite3_column_bytes(row, 1),
        record != NULL ? record : "", (size_t)sqlite3_column_bytes(row, 2));
    return merge_step(writer, merge, least, error) != 0 ? -1 : 1;
}

/* What is left of a gap at the end of the lane goes on growing. */
static int store_rest(struct store_writer *writer, unsigned lane, int64_t first,
                      int64_t last, struct record_filter *filter,
                      unsigned count, struct error *error)
{
    struct lane_filters *filters = &writer->filters[lane];
    if (filters->current == NULL && last == writer->state.next_id - 1) {
        filters->current = filter;
        filters->current_first = first;
        filters->current_count = count;
        return 0;
    }
    return store_segment(writer, lane, first, last, filter, error);
}

/* Builds the segments of the ids in [first, last], which no filter covers. */
static int build_gap(struct store_writer *writer, unsigned lane, int64_t first,
                     int64_t last, struct error *error)
{
    struct merge merge;
    struct record_filter *filter = new_filter(error);
    if (filter == NULL)
        return -1;
    if (merge_begin(writer, &merge, lane, first, last, error) != 0) {
        free(filter);
        return -1;
    }
    unsigned count = 0;
    int64_t id;
    uint64_t hash;
    int step;
    while ((step = merge_next(writer, &merge, &id, &hash, error)) > 0) {
        if (count == RECORD_FILTER_RECORDS) {
            if (store_segment(writer, lane, first, id - 1, filter, error) !=
                    0 ||
                (filter = new_filter(error)) == NULL) {
                merge_end(&merge);
                return -1;
            }
            first = id;
            count = 0;
        }
        record_filter_add(filter, hash);
        count++;
    }
    merge_end(&merge);
    if (step < 0) {
        free(filter);
        return -1;
    }
    return store_rest(writer, lane, first, last, filter, count, error);
}

/* Makes the segments and the growing filter cover [from, next_id). */
static int cover(struct store_writer *writer, unsigned lane, int64_t from,
                 struct error *error)
{
    struct lane_filters *filters = &writer->filters[lane];
    if (!filters->loaded && load_segments(writer, lane, error) != 0)
        return -1;
    int64_t end = filters->current != NULL ? filters->current_first
                                           : writer->state.next_id;
    size_t i = 0;
    while (from < end) {
        while (i < filters->count && filters->segments[i].last_id < from)
            i++;
        int64_t gap_end = end;
        if (i < filters->count && filters->segments[i].first_id < end)
            gap_end = filters->segments[i].first_id;
        if (gap_end > from) {
            if (build_gap(writer, lane, from, gap_end - 1, error) != 0)
                return -1;
            from = gap_end;
            i = 0;
        } else {
            from = filters->segments[i].last_id + 1;
        }
    }
    return 0;
}

static int segment_may_have(struct store_writer *writer, unsigned lane,
                            struct filter_segment *segment,
                            uint64_t record_hash, bool *may,
                            struct error *error)
{
    if (segment->filter != NULL) {
        *may = record_filter_may_have(segment->filter, record_hash);
        return 0;
    }
    struct record_filter *filter = new_filter(error);
    sqlite3_stmt *row =
        filter == NULL
            ? NULL
            : SQL_QUERY(writer, SQL_FILTER_READ, error,
                        value_integer(stripe_key(lane, segment->first_id)));
    if (row == NULL) {
        free(filter);
        return -1;
    }
    int step = sql_step(writer, row, error);
    bool whole =
        step > 0 && sqlite3_column_bytes(row, 0) == (int)sizeof(filter->slots);
    if (whole)
        memcpy(filter->slots, sqlite3_column_blob(row, 0),
               sizeof(filter->slots));
    sqlite3_reset(row);
    *may = !whole || record_filter_may_have(filter, record_hash);
    if (whole && writer->filters_cached < FILTERS_CACHED_MAX) {
        segment->filter = filter;
        writer->filters_cached++;
    } else {
        free(filter);
    }
    return step < 0 ? -1 : 0;
}

int lane_filters_visit(struct store_writer *writer, unsigned lane, int64_t from,
                       uint64_t record_hash, filter_visit visit, void *self,
                       struct error *error)
{
    struct lane_filters *filters = &writer->filters[lane];
    if (cover(writer, lane, from, error) != 0)
        return -1;
    for (size_t i = 0; i < filters->count; i++) {
        struct filter_segment *segment = &filters->segments[i];
        if (segment->last_id < from)
            continue;
        bool may;
        if (segment_may_have(writer, lane, segment, record_hash, &may, error) !=
            0)
            return -1;
        int64_t first = segment->first_id > from ? segment->first_id : from;
        if (may && visit(writer, first, segment->last_id, self, error) != 0)
            return -1;
    }
    if (filters->current == NULL ||
        !record_filter_may_have(filters->current, record_hash))
        return 0;
    int64_t first =
        filters->current_first > from ? filters->current_first : from;
    return visit(writer, first, writer->state.next_id - 1, self, error);
}
