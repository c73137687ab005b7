/* SPDX-License-Identifier: Apache-2.0
 *
 * Claiming: whole lanes, which no other batch holds; of each its singles
 * that are ready, then ranges from the most important stripe on.  A range is
 * taken only when the more important stripes of its lane are exhausted, and
 * a record with something left waiting outside its line is held in it.
 *
 * One claim in OUTBOX_TURN takes what has waited longest instead, whatever
 * its priority: important operations that come faster than they can be
 * carried must not keep the others waiting for ever.  Of a less important
 * stripe it takes only what is older than all that pends in the more
 * important ones of the lane, so that the order of a record's operations
 * holds.
 */
#include <sqlite3.h>
#include <stdlib.h>

#include "common/base/crash_point.h"
#include "common/store/writer_internal.h"

#define OUTBOX_TURN 16

struct candidate {
    unsigned lane;
    unsigned priority; /* the most important that it has */
    int64_t since;     /* the lower, the longer nothing was taken there */
};

struct claim {
    struct statement_call *call;
    struct store_writer *writer;
    struct error *error;
    int64_t batch_id;
    int64_t slot, spawn, now;
    unsigned least; /* the least important priority to take */
    int64_t room;   /* operations that may still be taken */
    int64_t operations;
    uint32_t lanes;
    bool oldest_first; /* the turn of what has waited longest */
};

/* Refused operations whose time has come are ready again. */
static int promote_due(struct claim *claim)
{
    struct store_writer *writer = claim->writer;
    int64_t waiting = 0;
    for (unsigned lane = 0; lane < OUTBOX_LANES; lane++)
        waiting += writer->state.states[lane][EXCEPTION_RETRY];
    if (waiting == 0)
        return 0;
    int64_t keys[1000];
    size_t count = 0;
    sqlite3_stmt *rows = SQL_QUERY(writer, SQL_EXCEPTIONS_DUE, claim->error,
                                   value_integer(claim->now));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, claim->error)) > 0)
        keys[count++] = sqlite3_column_int64(rows, 0);
    if (step < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (SQL_RUN(writer, SQL_EXCEPTION_STATE, claim->error,
                    value_integer(keys[i]), value_integer(EXCEPTION_READY),
                    value_null()) != 0)
            return -1;
        outbox_state_move(writer, key_lane(keys[i]), EXCEPTION_RETRY,
                          EXCEPTION_READY, 1);
    }
    return 0;
}

static int ready_priority(struct claim *claim, unsigned lane,
                          unsigned *priority)
{
    *priority = OUTBOX_PRIORITIES;
    if (claim->writer->state.states[lane][EXCEPTION_READY] == 0)
        return 0;
    sqlite3_stmt *row = SQL_QUERY(claim->writer, SQL_EXCEPTIONS_READY_FIRST,
                                  claim->error, value_integer(lane));
    if (row == NULL)
        return -1;
    int step = sql_step(claim->writer, row, claim->error);
    if (step > 0)
        *priority = (unsigned)sqlite3_column_int(row, 0);
    sqlite3_reset(row);
    return step < 0 ? -1 : 0;
}

/* Fills the candidate; its priority is OUTBOX_PRIORITIES when the lane has
 * nothing. */
static int look_at_lane(struct claim *claim, unsigned lane,
                        struct candidate *candidate)
{
    const struct outbox_state *state = &claim->writer->state;
    *candidate = (struct candidate){.lane = lane};
    if (ready_priority(claim, lane, &candidate->priority) != 0)
        return -1;
    for (unsigned p = 0; p < OUTBOX_PRIORITIES; p++) {
        unsigned stripe = stripe_index(p, lane);
        if (state->claimed[stripe] > candidate->since)
            candidate->since = state->claimed[stripe];
        if (state->tail[stripe] > state->claimed[stripe] &&
            p < candidate->priority)
            candidate->priority = p;
    }
    return 0;
}

/* The stripe of the lane with the oldest pending row, and the oldest one of
 * the stripes that are more important; *found false: only singles pend. */
static int find_oldest(struct claim *claim, unsigned lane, unsigned *stripe,
                       int64_t *before, bool *found)
{
    const struct outbox_state *state = &claim->writer->state;
    int64_t oldest = INT64_MAX;
    *before = INT64_MAX;
    *found = false;
    if (outbox_heads_find(claim->writer, lane, claim->error) != 0)
        return -1;
    for (unsigned p = 0; p <= claim->least; p++) {
        unsigned at = stripe_index(p, lane);
        if (state->tail[at] <= state->claimed[at] || state->head[at] >= oldest)
            continue;
        *before = oldest;
        oldest = state->head[at];
        *stripe = at;
        *found = true;
    }
    return 0;
}

/* For the turn of the oldest, a lane's age is its only rank. */
static int rank_by_age(struct claim *claim, struct candidate *candidate)
{
    unsigned stripe;
    int64_t before;
    bool found;
    if (find_oldest(claim, candidate->lane, &stripe, &before, &found) != 0)
        return -1;
    candidate->priority = 0;
    candidate->since = found ? claim->writer->state.head[stripe] : 0;
    return 0;
}

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    if (x->since != y->since)
        return x->since < y->since ? -1 : 1;
    return x->lane < y->lane ? -1 : 1;
}

/* Free lanes with something to take, the best first; *most is how many of
 * them this batch may hold. */
static int choose_lanes(struct claim *claim, struct candidate *lanes,
                        unsigned *count, unsigned *most)
{
    uint32_t busy = batches_lanes(claim->writer);
    unsigned pending = 0;
    *count = 0;
    for (unsigned lane = 0; lane < OUTBOX_LANES; lane++) {
        if ((busy >> lane & 1) != 0) {
            pending++;
            continue;
        }
        struct candidate *candidate = &lanes[*count];
        if (look_at_lane(claim, lane, candidate) != 0)
            return -1;
        pending += candidate->priority < OUTBOX_PRIORITIES;
        if (candidate->priority > claim->least)
            continue;
        if (claim->oldest_first && rank_by_age(claim, candidate) != 0)
            return -1;
        ++*count;
    }
    qsort(lanes, *count, sizeof(*lanes), compare_candidates);
    bool all_fits = claim->writer->state.pending <= claim->room;
    *most = all_fits ? OUTBOX_LANES : (pending + 1) / 2;
    return 0;
}

struct ready_row {
    int64_t key, id;
    uint64_t record_hash;
};

static int read_ready(struct claim *claim, unsigned lane,
                      struct ready_row **ready, size_t *count)
{
    struct store_writer *writer = claim->writer;
    int64_t most = writer->state.states[lane][EXCEPTION_READY];
    if (most > claim->room)
        most = claim->room;
    *count = 0;
    *ready = arena_calloc(claim->call->arena, (size_t)most, sizeof(**ready));
    if (*ready == NULL)
        return result_out_of_memory(claim->error);
    sqlite3_stmt *rows = SQL_QUERY(
        writer, SQL_EXCEPTIONS_READY, claim->error, value_integer(lane),
        value_integer(claim->least), value_integer(most));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, claim->error)) > 0)
        (*ready)[(*count)++] = (struct ready_row){
            .key = sqlite3_column_int64(rows, 0),
            .id = sqlite3_column_int64(rows, 1),
            .record_hash = (uint64_t)sqlite3_column_int64(rows, 2)};
    return step;
}

static int take_single(struct claim *claim, unsigned lane,
                       const struct ready_row *ready)
{
    struct store_writer *writer = claim->writer;
    bool blocked;
    if (record_blocked(writer, ready->record_hash, ready->id, &blocked,
                       claim->error) != 0)
        return -1;
    if (blocked)
        return 0;
    if (SQL_RUN(writer, SQL_EXCEPTION_STATE, claim->error,
                value_integer(ready->key), value_integer(EXCEPTION_IN_FLIGHT),
                value_integer(claim->batch_id)) != 0 ||
        SQL_RUN(writer, SQL_BATCH_SINGLE_INSERT, claim->error,
                value_integer(claim->batch_id), value_integer(ready->key)) != 0)
        return -1;
    outbox_state_move(writer, lane, EXCEPTION_READY, EXCEPTION_IN_FLIGHT, 1);
    claim->room--;
    claim->operations++;
    claim->lanes |= 1u << lane;
    return 0;
}

static int take_singles(struct claim *claim, unsigned lane)
{
    if (claim->writer->state.states[lane][EXCEPTION_READY] == 0)
        return 0;
    struct ready_row *ready;
    size_t count;
    if (read_ready(claim, lane, &ready, &count) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (take_single(claim, lane, &ready[i]) != 0)
            return -1;
    return 0;
}

/* A row of a range: it waits when an earlier one of its record does. */
static int hold_if_blocked(struct claim *claim, unsigned stripe, int64_t key,
                           uint64_t record_hash)
{
    struct store_writer *writer = claim->writer;
    bool blocked;
    if (record_blocked(writer, record_hash, key_id(key), &blocked,
                       claim->error) != 0)
        return -1;
    bool exists = false;
    if (blocked && exception_exists(writer, key, &exists, claim->error) != 0)
        return -1;
    if (!blocked || exists)
        return 0;
    struct exception held = {.key = key,
                             .record_hash = record_hash,
                             .state = EXCEPTION_HELD,
                             .priority = stripe / OUTBOX_LANES};
    if (record_raise(writer, record_hash, key_id(key), held.priority,
                     claim->error) != 0)
        return -1;
    return exception_insert(writer, &held, claim->error);
}

static int hold_blocked(struct claim *claim, unsigned stripe, int64_t after,
                        int64_t last)
{
    struct store_writer *writer = claim->writer;
    sqlite3_stmt *rows = SQL_QUERY(writer, SQL_OUTBOX_RECORDS_0, claim->error,
                                   value_integer(stripe_key(stripe, after)),
                                   value_integer(stripe_key(stripe, last)));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, claim->error)) > 0) {
        const char *table = (const char *)sqlite3_column_text(rows, 1);
        const char *record = (const char *)sqlite3_column_text(rows, 2);
        uint64_t hash = outbox_record_hash(
            table != NULL ? table : "", (size_t)sqlite3_column_bytes(rows, 1),
            record != NULL ? record : "",
            (size_t)sqlite3_column_bytes(rows, 2));
        if (hold_if_blocked(claim, stripe, sqlite3_column_int64(rows, 0),
                            hash) != 0) {
            sqlite3_reset(rows);
            return -1;
        }
    }
    return step;
}

static int count_exceptions(struct claim *claim, unsigned stripe, int64_t after,
                            int64_t last, int64_t *count)
{
    const int64_t *states = claim->writer->state.states[stripe % OUTBOX_LANES];
    int64_t all = 0;
    for (int i = 0; i < EXCEPTION_STATES; i++)
        all += states[i];
    *count = 0;
    if (all == 0)
        return 0;
    sqlite3_stmt *row =
        SQL_QUERY(claim->writer, SQL_EXCEPTIONS_COUNT, claim->error,
                  value_integer(stripe_key(stripe, after)),
                  value_integer(stripe_key(stripe, last)));
    if (row == NULL)
        return -1;
    int step = sql_step(claim->writer, row, claim->error);
    if (step > 0)
        *count = sqlite3_column_int64(row, 0);
    sqlite3_reset(row);
    return step < 0 ? -1 : 0;
}

/* 1 and the first column of its only row, 0: it has none, or -1. */
static int one_number(struct claim *claim, sqlite3_stmt *row, int64_t *number)
{
    if (row == NULL)
        return -1;
    int step = sql_step(claim->writer, row, claim->error);
    if (step > 0)
        *number = sqlite3_column_int64(row, 0);
    sqlite3_reset(row);
    return step;
}

/* Rows from `after` on and before `before`, at most those there is room
 * for: the last of these is stepped to, which costs half of counting. */
static int step_range(struct claim *claim, unsigned stripe, int64_t after,
                      int64_t before, int64_t *rows, int64_t *last)
{
    struct value from = value_integer(stripe_key(stripe, after));
    int64_t key = 0;
    *rows = 0;
    *last = claim->writer->state.tail[stripe];
    if (*last >= before)
        *last = before - 1;
    struct value to = value_integer(stripe_key(stripe, *last));
    int found =
        *last - after < claim->room
            ? 0
            : one_number(claim,
                         SQL_QUERY(claim->writer, SQL_OUTBOX_NTH, claim->error,
                                   from, to, value_integer(claim->room - 1)),
                         &key);
    if (found > 0) {
        *rows = claim->room;
        *last = key_id(key);
        return 0;
    }
    return found < 0 || one_number(claim,
                                   SQL_QUERY(claim->writer, SQL_OUTBOX_COUNT,
                                             claim->error, from, to),
                                   rows) < 0
               ? -1
               : 0;
}

/* Nothing of this range is left to deliver: the cursor passes it at once. */
static int pass_range(struct claim *claim, unsigned stripe, int64_t after,
                      int64_t last)
{
    struct store_writer *writer = claim->writer;
    writer->state.settled[stripe] = last;
    writer->state.claimed[stripe] = last;
    writer->state.head[stripe] = last + 1;
    return outbox_unmark(writer, stripe, after, last, claim->error) != 0
               ? -1
               : outbox_cursor_write(writer, stripe, claim->error);
}

static int take_range(struct claim *claim, unsigned stripe, int64_t before)
{
    struct store_writer *writer = claim->writer;
    struct outbox_state *state = &writer->state;
    const int64_t *states = state->states[stripe % OUTBOX_LANES];
    int64_t after = state->claimed[stripe];
    int64_t rows;
    int64_t last;
    int64_t left_out;
    if (step_range(claim, stripe, after, before, &rows, &last) != 0)
        return -1;
    if (states[EXCEPTION_READY] + states[EXCEPTION_RETRY] +
                states[EXCEPTION_HELD] + states[EXCEPTION_CONFLICT] >
            0 &&
        hold_blocked(claim, stripe, after, last) != 0)
        return -1;
    if (count_exceptions(claim, stripe, after, last, &left_out) != 0)
        return -1;
    if (rows <= left_out)
        return pass_range(claim, stripe, after, last);
    state->claimed[stripe] = last;
    state->head[stripe] = last + 1;
    claim->room -= rows - left_out;
    claim->operations += rows - left_out;
    claim->lanes |= 1u << stripe % OUTBOX_LANES;
    if (SQL_RUN(writer, SQL_BATCH_RANGE_INSERT, claim->error,
                value_integer(stripe_number(stripe)), value_integer(last),
                value_integer(after), value_integer(claim->batch_id)) != 0)
        return -1;
    return outbox_cursor_write(writer, stripe, claim->error);
}

static int take_lane(struct claim *claim, unsigned lane)
{
    const struct outbox_state *state = &claim->writer->state;
    if (take_singles(claim, lane) != 0)
        return -1;
    for (unsigned p = 0; p <= claim->least; p++) {
        unsigned stripe = stripe_index(p, lane);
        while (claim->room > 0 &&
               state->settled[stripe] == state->claimed[stripe] &&
               state->tail[stripe] > state->claimed[stripe])
            if (take_range(claim, stripe, INT64_MAX) != 0)
                return -1;
        if (state->tail[stripe] > state->claimed[stripe])
            return 0;
    }
    return 0;
}

static int take_oldest(struct claim *claim, unsigned lane)
{
    int64_t operations = claim->operations;
    bool found = true;
    if (take_singles(claim, lane) != 0)
        return -1;
    /* A head may be older than its first row; a range without rows moves it
     * on. */
    while (found && claim->room > 0 && claim->operations == operations) {
        unsigned stripe;
        int64_t before;
        if (find_oldest(claim, lane, &stripe, &before, &found) != 0 ||
            (found && take_range(claim, stripe, before) != 0))
            return -1;
    }
    return 0;
}

static int64_t batches_of(const struct store_writer *writer, int64_t slot)
{
    int64_t count = 0;
    for (unsigned i = 0; i < OUTBOX_LANES; i++)
        count +=
            writer->batches[i].batch_id != 0 && writer->batches[i].slot == slot;
    return count;
}

static int begin_batch(struct claim *claim)
{
    if (SQL_RUN(claim->writer, SQL_BATCH_INSERT, claim->error,
                value_integer(claim->writer->state.epoch),
                value_integer(claim->slot), value_integer(claim->spawn),
                value_integer(0), value_integer(claim->now)) != 0)
        return -1;
    claim->batch_id = sqlite3_last_insert_rowid(claim->writer->db);
    return 0;
}

static int end_batch(struct claim *claim)
{
    struct store_writer *writer = claim->writer;
    if (claim->operations == 0)
        return SQL_RUN(writer, SQL_BATCH_DELETE, claim->error,
                       value_integer(claim->batch_id));
    if (SQL_RUN(writer, SQL_BATCH_SIZE, claim->error,
                value_integer(claim->batch_id),
                value_integer(claim->operations)) != 0)
        return -1;
    /* There is a free place: each batch holds a lane at least. */
    struct batch *batch = writer->batches;
    while (batch->batch_id != 0)
        batch++;
    writer->request.batches_touched = true;
    *batch = (struct batch){.batch_id = claim->batch_id,
                            .epoch = writer->state.epoch,
                            .slot = claim->slot,
                            .spawn = claim->spawn,
                            .operations = claim->operations,
                            .lanes = claim->lanes};
    const struct batch *answer = batch;
    CRASH_POINT(CLAIM_STORED);
    return batch_rows(claim->call, &answer, 1);
}

static int take_some(struct claim *claim, const struct candidate *lanes,
                     unsigned count, unsigned most)
{
    unsigned held = 0;
    for (unsigned i = 0; i < count && held < most && claim->room > 0; i++) {
        if (lanes[i].priority > claim->least)
            break;
        int taken = claim->oldest_first ? take_oldest(claim, lanes[i].lane)
                                        : take_lane(claim, lanes[i].lane);
        if (taken != 0)
            return -1;
        held += claim->lanes >> lanes[i].lane & 1;
    }
    return 0;
}

/* What is urgent does not wait for others' rows: it goes alone. */
static int take_lanes(struct claim *claim, const struct candidate *lanes,
                      unsigned count, unsigned most)
{
    unsigned least = claim->least;
    if (!claim->oldest_first && lanes[0].priority == 0) {
        claim->least = 0;
        if (take_some(claim, lanes, count, most) != 0)
            return -1;
        if (claim->operations > 0)
            return 0;
        claim->least = least;
    }
    return take_some(claim, lanes, count, most);
}

int run_batch_claim(struct statement_call *call)
{
    const struct value *v = call->arguments;
    struct claim claim = {.call = call,
                          .writer = call->writer,
                          .error = call->error,
                          .slot = v[0].integer,
                          .spawn = v[1].integer,
                          .room = v[2].integer,
                          .now = v[4].integer};
    if (v[2].integer < 1 || v[3].integer < 0 ||
        v[3].integer >= OUTBOX_PRIORITIES)
        return error_set(call->error, ERROR_DATA,
                         "BATCH_CLAIM takes at least 1 operation and "
                         "priorities 0 to 3, not %lld and %lld",
                         (long long)v[2].integer, (long long)v[3].integer);
    claim.least = (unsigned)v[3].integer;
    call->result->columns = 6;
    if (batches_of(call->writer, claim.slot) >= OUTBOX_BATCHES_A_SLOT)
        return 0;
    claim.oldest_first = ++call->writer->claims % OUTBOX_TURN == 0;
    struct candidate lanes[OUTBOX_LANES];
    unsigned count;
    unsigned most;
    if (promote_due(&claim) != 0 ||
        choose_lanes(&claim, lanes, &count, &most) != 0)
        return -1;
    if (count == 0)
        return 0;
    if (begin_batch(&claim) != 0)
        return -1;
    if (take_lanes(&claim, lanes, count, most) != 0)
        return -1;
    return end_batch(&claim);
}
