/* SPDX-License-Identifier: Apache-2.0
 *
 * A step of retention.  The outbox is clustered by stripe and id, so what is
 * synced goes as ranges from the bottom of each stripe; whatever stands
 * outside its line stays where it is until it was delivered, and goes with
 * the batch that delivered it.
 */
#include <sqlite3.h>

#include "common/store/expiry.h"
#include "common/store/writer_internal.h"

struct step {
    struct store_writer *writer;
    struct error *error;
    int64_t cutoff_ms;
    int64_t from;
    int64_t room; /* rows that may still be looked at */
    int64_t deleted;
    int64_t go_on; /* 0: the walk is over */
};

/* --- ranges of the outbox --- */

/* The last id of the range up to where this step may go. */
static int find_end(struct step *step, int64_t stripe, int64_t after,
                    int64_t last, int64_t *end)
{
    int64_t bytes = 0;
    int64_t count = 0;
    int result;
    sqlite3_stmt *rows =
        SQL_QUERY(step->writer, SQL_SYNCED_WALK, step->error,
                  value_integer(stripe << OUTBOX_ID_BITS | after),
                  value_integer(stripe << OUTBOX_ID_BITS | last),
                  value_integer(step->room));
    if (rows == NULL)
        return -1;
    *end = last;
    while ((result = sql_step(step->writer, rows, step->error)) > 0) {
        bytes += sqlite3_column_int64(rows, 1);
        if (++count < step->room && bytes < EXPIRY_BYTES_MAX)
            continue;
        *end = key_id(sqlite3_column_int64(rows, 0));
        sqlite3_reset(rows);
        step->room = 0;
        return 0;
    }
    step->room -= count + 1;
    return result;
}

static int cut_range(struct step *step, int64_t stripe, int64_t after,
                     int64_t last)
{
    struct store_writer *writer = step->writer;
    int64_t end;
    if (find_end(step, stripe, after, last, &end) != 0 ||
        SQL_RUN(writer, SQL_SYNCED_DELETE, step->error,
                value_integer(stripe << OUTBOX_ID_BITS | after),
                value_integer(stripe << OUTBOX_ID_BITS | end),
                value_integer(step->cutoff_ms)) != 0)
        return -1;
    step->deleted += sqlite3_changes64(writer->db);
    return end == last ? SQL_RUN(writer, SQL_RANGE_DELETE, step->error,
                                 value_integer(stripe), value_integer(last))
                       : SQL_RUN(writer, SQL_RANGE_CUT, step->error,
                                 value_integer(stripe), value_integer(last),
                                 value_integer(end));
}

/* 1: there was an old range at the bottom of the stripe. */
static int expire_range(struct step *step, unsigned stripe)
{
    struct store_writer *writer = step->writer;
    int64_t number = stripe_number(stripe);
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_RANGE_FIRST, step->error, value_integer(number),
                  value_integer(step->cutoff_ms));
    int found = row == NULL ? -1 : sql_step(writer, row, step->error);
    if (found <= 0)
        return found;
    int64_t last = sqlite3_column_int64(row, 0);
    int64_t after = sqlite3_column_int64(row, 1);
    sqlite3_reset(row);
    if (last > writer->state.settled[stripe])
        return 0;
    return cut_range(step, number, after, last) != 0 ? -1 : 1;
}

static int expire_ranges(struct step *step)
{
    int64_t stripe = step->from;
    while (stripe < OUTBOX_STRIPES && step->room > 0) {
        int found = expire_range(step, (unsigned)stripe);
        if (found < 0)
            return -1;
        stripe += found == 0;
        step->room -= found == 0;
    }
    /* 0 stands for the end: the first stripe is never gone on with alone. */
    step->go_on = stripe < OUTBOX_STRIPES ? stripe : 0;
    if (step->go_on == 0 && stripe == 0)
        step->go_on = -1;
    return 0;
}

/* --- batches, and what they carried alone --- */

static int expire_singles(struct step *step, int64_t batch_id)
{
    struct store_writer *writer = step->writer;
    int64_t keys[EXPIRY_ROWS_MAX];
    int count = 0;
    int result;
    sqlite3_stmt *rows =
        SQL_QUERY(writer, SQL_SINGLES_WALK, step->error,
                  value_integer(batch_id), value_integer(step->room));
    if (rows == NULL)
        return -1;
    while ((result = sql_step(writer, rows, step->error)) > 0)
        keys[count++] = sqlite3_column_int64(rows, 0);
    for (int i = 0; i < count && result == 0; i++) {
        result = SQL_RUN(writer, SQL_SINGLE_DELETE, step->error,
                         value_integer(batch_id), value_integer(keys[i]));
        if (result == 0)
            result = SQL_RUN(writer, SQL_SINGLE_SYNCED_DELETE, step->error,
                             value_integer(keys[i]));
        step->deleted += sqlite3_changes64(writer->db);
    }
    step->room -= count;
    return result;
}

/* 0 when rows that the batch carried alone are left for the next step. */
static int expire_batch(struct step *step, int64_t batch_id)
{
    if (expire_singles(step, batch_id) != 0)
        return -1;
    if (step->room <= 0)
        return 0;
    step->deleted++;
    return SQL_RUN(step->writer, SQL_BATCH_DELETE, step->error,
                   value_integer(batch_id)) != 0
               ? -1
               : 1;
}

static int expire_dead(struct step *step, int64_t key)
{
    step->deleted++;
    return outbox_drop_dead(step->writer, key, step->error) != 0 ? -1 : 1;
}

/* --- walks --- */

/* A table whose rows are looked at by ascending number. */
struct walk {
    enum sql select;
    int (*expire)(struct step *step, int64_t id); /* or: */
    enum sql deletes[4];
    unsigned delete_count;
    bool bounded; /* the select takes a last number too */
};

static const struct walk walks[EXPIRY_COUNT] = {
    [EXPIRY_BATCHES] = {.select = SQL_BATCHES_WALK, .expire = expire_batch},
    [EXPIRY_CONFLICTS] = {.select = SQL_CONFLICTS_WALK,
                          .deletes = {SQL_CONFLICT_EXPIRE},
                          .delete_count = 1},
    [EXPIRY_EVENTS] = {.select = SQL_EVENTS_WALK,
                       .deletes = {SQL_EVENT_EXPIRE},
                       .delete_count = 1,
                       .bounded = true},
    [EXPIRY_DETAILS] = {.select = SQL_DETAILS_WALK,
                        .deletes = {SQL_DETAIL_EXPIRE},
                        .delete_count = 1,
                        .bounded = true},
    [EXPIRY_GROUPS] = {.select = SQL_GROUPS_WALK,
                       .deletes = {SQL_GROUP_EXPIRE},
                       .delete_count = 1},
    [EXPIRY_METRICS] = {.select = SQL_METRICS_WALK,
                        .deletes = {SQL_METRIC_EXPIRE},
                        .delete_count = 1},
    [EXPIRY_DAYS] = {.select = SQL_DAYS_WALK,
                     .deletes = {SQL_DAY_EXPIRE},
                     .delete_count = 1},
    [EXPIRY_JOBS] = {.select = SQL_JOBS_WALK,
                     .deletes = {SQL_JOB_EXPIRE, SQL_SPEC_EXPIRE,
                                 SQL_MANIFEST_EXPIRE, SQL_CENTRAL_EXPIRE},
                     .delete_count = 4},
    [EXPIRY_DEAD] = {.select = SQL_DEAD_WALK, .expire = expire_dead},
};

static int expire_row(struct step *step, const struct walk *walk, int64_t id)
{
    if (walk->expire != NULL)
        return walk->expire(step, id);
    for (unsigned i = 0; i < walk->delete_count; i++) {
        if (SQL_RUN(step->writer, walk->deletes[i], step->error,
                    value_integer(id)) != 0)
            return -1;
    }
    step->deleted++;
    return 1;
}

struct found {
    int64_t ids[EXPIRY_ROWS_MAX];
    int count;    /* old enough */
    int64_t last; /* looked at */
    bool over;
};

static int look(struct step *step, const struct walk *walk, int64_t most_id,
                struct found *found)
{
    struct store_writer *writer = step->writer;
    int64_t bytes = 0;
    int64_t seen = 0;
    int result;
    const struct value values[] = {
        value_integer(step->from), value_integer(step->room),
        value_integer(step->cutoff_ms), value_integer(most_id)};
    sqlite3_stmt *rows = sql_query_values(writer, walk->select, step->error,
                                          values, walk->bounded ? 4 : 3);
    if (rows == NULL)
        return -1;
    *found = (struct found){.last = step->from};
    while ((result = sql_step(writer, rows, step->error)) > 0) {
        if (sqlite3_column_int(rows, 2) != 0 || bytes >= EXPIRY_BYTES_MAX) {
            found->over = sqlite3_column_int(rows, 2) != 0;
            sqlite3_reset(rows);
            return 0;
        }
        seen++;
        found->last = sqlite3_column_int64(rows, 0);
        bytes += sqlite3_column_int64(rows, 3);
        if (sqlite3_column_int(rows, 1) != 0)
            found->ids[found->count++] = found->last;
    }
    found->over = seen < step->room;
    return result;
}

static int walk_on(struct step *step, const struct walk *walk, int64_t most_id)
{
    struct found found;
    if (look(step, walk, most_id, &found) != 0)
        return -1;
    for (int i = 0; i < found.count; i++) {
        int done = expire_row(step, walk, found.ids[i]);
        if (done < 0)
            return -1;
        if (done == 0) { /* the next step goes on with this one */
            step->go_on = found.ids[i] - 1;
            return 0;
        }
    }
    step->go_on = found.over ? 0 : found.last;
    return 0;
}

/* Detail lies by table, each up to where it is folded. */
static int expire_details(struct step *step)
{
    const struct aggregates *all = &step->writer->aggregates;
    for (size_t i = 0; i < all->count; i++) {
        const struct aggregate_rule *rule = &all->rules[i];
        int64_t first = rule->number << DETAIL_ID_BITS;
        int64_t last = first | (rule->active ? rule->folded_id : DETAIL_ID_MAX);
        if (rule->is_hooks || step->from >= last)
            continue;
        if (step->from < first)
            step->from = first;
        if (walk_on(step, &walks[EXPIRY_DETAILS], last) != 0)
            return -1;
        if (step->go_on == 0) /* on with the next table */
            step->go_on = last;
        return 0;
    }
    return 0;
}

static int expire_events(struct step *step)
{
    const struct aggregate_rule *rule = aggregates_hooks(step->writer);
    return walk_on(step, &walks[EXPIRY_EVENTS],
                   rule->active ? rule->folded_id : INT64_MAX);
}

static int expire_space(struct step *step)
{
    struct store_writer *writer = step->writer;
    sqlite3_stmt *row = sql_get(writer, SQL_PAGES, step->error);
    int result = row == NULL ? -1 : sql_step(writer, row, step->error);
    if (result <= 0)
        return result;
    int64_t pages = sqlite3_column_int64(row, 0);
    int64_t left_free = sqlite3_column_int64(row, 1);
    sqlite3_reset(row);
    if (left_free <= EXPIRY_PAGES_MAX ||
        left_free <= pages / (step->from == 0 ? 2 : 4))
        return 0;
    step->go_on = 1;
    return sql_run_values(writer, SQL_PAGES_GIVE_BACK, step->error, NULL, 0);
}

static int expire(struct step *step, enum expiry expiry)
{
    switch (expiry) {
    case EXPIRY_SPACE:
        return expire_space(step);
    case EXPIRY_RANGES:
        return expire_ranges(step);
    case EXPIRY_EVENTS:
        return expire_events(step);
    case EXPIRY_DETAILS:
        return expire_details(step);
    default:
        return walk_on(step, &walks[expiry], 0);
    }
}

int run_expire(struct statement_call *call)
{
    const struct value *v = call->arguments;
    size_t capacity = 0;
    if (v[0].integer < 0 || v[0].integer >= EXPIRY_COUNT || v[3].integer < 1)
        return error_set(call->error, ERROR_DATA,
                         "EXPIRE takes a number below %d and at least 1 row",
                         EXPIRY_COUNT);
    struct step step = {.writer = call->writer,
                        .error = call->error,
                        .cutoff_ms = v[1].integer,
                        .from = v[2].integer < 0 ? 0 : v[2].integer,
                        .room = v[3].integer < EXPIRY_ROWS_MAX
                                    ? v[3].integer
                                    : EXPIRY_ROWS_MAX};
    if (expire(&step, (enum expiry)v[0].integer) != 0)
        return -1;
    call->result->columns = 1;
    struct value *row = result_row(call, &capacity);
    if (row == NULL)
        return result_out_of_memory(call->error);
    row[0] = value_integer(step.go_on);
    call->result->changed = step.deleted;
    return 0;
}
