/* SPDX-License-Identifier: Apache-2.0
 *
 * Order across priorities.  Within a stripe, and from a more to a less
 * important one, order holds by itself; only an operation that is more
 * important than an earlier pending one of its record must take that along.
 * Whenever an operation is an exception, all earlier pending ones of its
 * record are exceptions too, or in flight.
 */
#include <sqlite3.h>

#include "common/store/writer_internal.h"

struct gathering {
    const struct outbox_append *append;
    unsigned first_priority, last_priority; /* stripes to look at */
    int64_t keys[CARRY_MAX];
    unsigned count;
    bool too_many;
    unsigned least_important;
};

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int gather_row(struct store_writer *writer, struct gathering *into,
                      int64_t key, struct error *error)
{
    bool exists;
    if (exception_exists(writer, key, &exists, error) != 0)
        return -1;
    if (exists)
        return 0; /* dead, or delivered before the cursor came by */
    if (key_priority(key) > into->least_important)
        into->least_important = key_priority(key);
    if (into->count == CARRY_MAX)
        into->too_many = true;
    else
        into->keys[into->count++] = key;
    return 0;
}

static int gather_stripe(struct store_writer *writer, struct gathering *into,
                         unsigned stripe, int64_t first, int64_t last,
                         struct error *error)
{
    const struct outbox_state *state = &writer->state;
    first =
        larger(first, larger(state->head[stripe], state->claimed[stripe] + 1));
    if (first > last || first > state->tail[stripe])
        return 0;
    sqlite3_stmt *rows = SQL_QUERY(writer, SQL_OUTBOX_RECORDS_0, error,
                                   value_integer(stripe_key(stripe, first - 1)),
                                   value_integer(stripe_key(stripe, last)));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, error)) > 0) {
        const char *table = (const char *)sqlite3_column_text(rows, 1);
        const char *record = (const char *)sqlite3_column_text(rows, 2);
        uint64_t hash = outbox_record_hash(
            table != NULL ? table : "", (size_t)sqlite3_column_bytes(rows, 1),
            record != NULL ? record : "",
            (size_t)sqlite3_column_bytes(rows, 2));
        if (hash != into->append->record_hash)
            continue;
        if (gather_row(writer, into, sqlite3_column_int64(rows, 0), error) !=
            0) {
            sqlite3_reset(rows);
            return -1;
        }
    }
    return step;
}

static int gather_run(struct store_writer *writer, int64_t first, int64_t last,
                      void *self, struct error *error)
{
    struct gathering *into = self;
    unsigned lane = outbox_lane(into->append->record_hash);
    for (unsigned p = into->first_priority; p <= into->last_priority; p++)
        if (gather_stripe(writer, into, stripe_index(p, lane), first, last,
                          error) != 0)
            return -1;
    return 0;
}

/* Looks at the unclaimed rows of the record from id `after` on in stripes
 * of the given priorities. */
static int gather(struct store_writer *writer, struct gathering *into,
                  unsigned first_priority, unsigned last_priority,
                  int64_t after, struct error *error)
{
    const struct outbox_state *state = &writer->state;
    unsigned lane = outbox_lane(into->append->record_hash);
    int64_t from = INT64_MAX;
    if (outbox_heads_find(writer, lane, error) != 0)
        return -1;
    for (unsigned p = first_priority; p <= last_priority; p++) {
        unsigned stripe = stripe_index(p, lane);
        if (state->tail[stripe] > state->claimed[stripe] &&
            state->head[stripe] < from)
            from = state->head[stripe];
    }
    from = larger(from, after + 1);
    if (from >= state->next_id)
        return 0;
    into->first_priority = first_priority;
    into->last_priority = last_priority;
    return lane_filters_visit(writer, lane, from, into->append->record_hash,
                              gather_run, into, error);
}

/* What of the record is outside its line already: the newest one's id, and
 * what that means for one that comes after it. */
static int look_at_record(struct store_writer *writer,
                          const struct outbox_append *append, int64_t *newest,
                          enum carry *carry, struct error *error)
{
    unsigned lane = outbox_lane(append->record_hash);
    const int64_t *states = writer->state.states[lane];
    *newest = 0;
    *carry = CARRY_NONE;
    if (states[EXCEPTION_READY] + states[EXCEPTION_RETRY] +
            states[EXCEPTION_HELD] + states[EXCEPTION_CONFLICT] ==
        0)
        return 0;
    struct value hash = value_integer((int64_t)append->record_hash);
    sqlite3_stmt *row = SQL_QUERY(writer, SQL_RECORD_NEWEST, error, hash);
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    if (step > 0) {
        *newest = sqlite3_column_int64(row, 0);
        if (sqlite3_column_int(row, 1) != EXCEPTION_IN_FLIGHT)
            *carry = CARRY_READY;
    }
    sqlite3_reset(row);
    if (step <= 0)
        return step;
    row = SQL_QUERY(writer, SQL_RECORD_WAITS, error, hash);
    if (row == NULL)
        return -1;
    step = sql_step(writer, row, error);
    sqlite3_reset(row);
    if (step > 0)
        *carry = CARRY_HELD;
    return step < 0 ? -1 : 0;
}

static bool has_less_important(const struct store_writer *writer,
                               const struct outbox_append *append,
                               uint32_t table)
{
    unsigned lane = outbox_lane(append->record_hash);
    int64_t pending = 0;
    bool unclaimed = false;
    for (unsigned p = append->priority + 1; p < OUTBOX_PRIORITIES; p++) {
        unsigned stripe = stripe_index(p, lane);
        pending += writer->counts.tables[table].pending[p];
        unclaimed |= writer->state.tail[stripe] > writer->state.claimed[stripe];
    }
    return pending > 0 && unclaimed;
}

static int carry_found(struct store_writer *writer,
                       const struct gathering *found, enum carry carry,
                       struct error *error)
{
    if (writer_protect(writer, error) != 0)
        return -1;
    for (unsigned i = 0; i < found->count; i++) {
        struct exception exception = {
            .key = found->keys[i],
            .record_hash = found->append->record_hash,
            .state = carry == CARRY_HELD ? EXCEPTION_HELD : EXCEPTION_READY,
            .priority = found->append->priority};
        if (exception_insert(writer, &exception, error) != 0)
            return -1;
    }
    return 0;
}

/* Gathers the rows of the record that must go along: all that are pending
 * when one of them is less important, else none. */
static int gather_earlier(struct store_writer *writer,
                          struct outbox_append *append, uint32_t table,
                          int64_t newest, struct gathering *found,
                          struct error *error)
{
    found->append = append;
    found->count = 0;
    found->too_many = false;
    found->least_important = 0;
    if (!has_less_important(writer, append, table))
        return 0;
    if (gather(writer, found, append->priority + 1, OUTBOX_PRIORITIES - 1,
               newest, error) != 0)
        return -1;
    return found->count == 0
               ? 0
               : gather(writer, found, 0, append->priority, newest, error);
}

int outbox_carry(struct store_writer *writer, struct outbox_append *append,
                 uint32_t table, enum carry *carry, struct error *error)
{
    int64_t newest;
    struct gathering found;
    enum carry outside; /* what the record has outside its line already */
    *carry = CARRY_NONE;
    if (look_at_record(writer, append, &newest, &outside, error) != 0 ||
        gather_earlier(writer, append, table, newest, &found, error) != 0)
        return -1;
    if (found.too_many) {
        append->priority = found.least_important;
        return 0;
    }
    if (found.count > 0) {
        *carry = outside == CARRY_NONE ? CARRY_READY : outside;
        if (carry_found(writer, &found, *carry, error) != 0)
            return -1;
    }
    if (outside == CARRY_NONE)
        return 0;
    /* In its range it is held, if need be, when that is claimed: rows between
     * those outside and it may still be in their ranges. */
    if (writer_protect(writer, error) != 0)
        return -1;
    return record_raise(writer, append->record_hash, writer->state.next_id,
                        append->priority, error);
}
