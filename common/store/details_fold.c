/* SPDX-License-Identifier: Apache-2.0
 *
 * Folding detail into the running values of its groups, and reporting groups
 * with news to the outbox: in steps of a few milliseconds.
 */
#include <sqlite3.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/store/writer_internal.h"

/* Where a rule's detail stands in its table. */
static int64_t detail_place(const struct aggregate_rule *rule, int64_t id)
{
    return rule->is_hooks ? id : rule->number << DETAIL_ID_BITS | id;
}

static void bind(sqlite3_stmt *statement, const int64_t *values, int count)
{
    for (int i = 0; i < count; i++)
        sqlite3_bind_int64(statement, i + 1, values[i]);
}

#define BIND(statement, ...)                                                   \
    bind((statement), (const int64_t[]){__VA_ARGS__},                          \
         sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* The last id of a step from folded_id on, by rows and bytes. */
static int find_reach(struct store_writer *writer, struct aggregate_rule *rule,
                      int64_t *last, struct error *error)
{
    sqlite3_stmt *rows = rule->program->reach;
    int64_t bytes = 0;
    int count = 0;
    int step;
    BIND(rows, detail_place(rule, rule->folded_id),
         detail_place(rule, rule->last_id), FOLD_ROWS_MAX);
    *last = rule->last_id;
    while ((step = sql_step(writer, rows, error)) > 0) {
        count++;
        bytes += sqlite3_column_int64(rows, 1);
        if (count < FOLD_ROWS_MAX && bytes < FOLD_BYTES_MAX)
            continue;
        *last = sqlite3_column_int64(rows, 0) & DETAIL_ID_MAX;
        sqlite3_reset(rows);
        return 0;
    }
    return step;
}

static int fold(struct store_writer *writer, struct aggregate_rule *rule,
                struct error *error)
{
    int64_t last;
    if (rule->last_id <= rule->folded_id)
        return 0;
    if (find_reach(writer, rule, &last, error) != 0)
        return -1;
    int64_t now = clock_wall_ms();
    int64_t since = rule->since_ms != 0 ? rule->since_ms : now;
    BIND(rule->program->fold, rule->number, detail_place(rule, rule->folded_id),
         detail_place(rule, last), now, since + writer->aggregates.interval_ms,
         writer->aggregates.news_max);
    writer->aggregates.touched = true;
    if (sql_step(writer, rule->program->fold, error) != 0 ||
        SQL_RUN(writer, SQL_AGGREGATE_FOLDED, error,
                value_integer(rule->number), value_integer(last)) != 0)
        return -1;
    rule->folded_id = last;
    if (rule->checked_id < last)
        rule->checked_id = last;
    if (rule->folded_id == rule->last_id) {
        rule->since_ms = 0;
        rule->is_wanted = false;
    }
    return 0;
}

/* --- reporting --- */

struct report {
    int64_t group;
    bool reported;
    unsigned priority;
    const char *record_id, *data;
    size_t record_id_size, data_size;
};

static int read_reports(struct store_writer *writer,
                        struct aggregate_rule *rule, int64_t due_ms,
                        struct arena *arena, struct report *reports,
                        unsigned *count, bool *more, struct error *error)
{
    sqlite3_stmt *rows = rule->program->report;
    int step;
    *count = 0;
    BIND(rows, rule->number, due_ms, FOLD_REPORTS_MAX);
    while ((step = sql_step(writer, rows, error)) > 0) {
        struct report *report = &reports[*count];
        report->group = sqlite3_column_int64(rows, 0);
        report->reported = sqlite3_column_int(rows, 2) != 0;
        report->priority = (unsigned)sqlite3_column_int(rows, 3) & 3;
        report->record_id_size = (size_t)sqlite3_column_bytes(rows, 1);
        report->data_size = (size_t)sqlite3_column_bytes(rows, 4);
        report->record_id = arena_copy(arena, sqlite3_column_text(rows, 1),
                                       report->record_id_size);
        report->data =
            arena_copy(arena, sqlite3_column_text(rows, 4), report->data_size);
        if (report->record_id != NULL && report->data != NULL) {
            ++*count;
            continue;
        }
        sqlite3_reset(rows);
        *more = true; /* large ones: the rest is for the next step */
        return *count > 0 ? 0 : result_out_of_memory(error);
    }
    *more = *count == FOLD_REPORTS_MAX;
    return step;
}

/* What the outbox would refuse, more than it takes for one record, is kept
 * there as dead: an operator sees it, and nothing waits for it. */
static int append_report(struct store_writer *writer,
                         const struct aggregate_rule *rule,
                         const struct report *report, struct error *error)
{
    const char *into = rule->program->aggregate.into;
    struct outbox_append append = {.operation =
                                       report->reported ? "UPDATE" : "INSERT",
                                   .operation_size = 6,
                                   .table_name = into,
                                   .table_name_size = strlen(into),
                                   .record_id = report->record_id,
                                   .record_id_size = report->record_id_size,
                                   .data = report->data,
                                   .data_size = report->data_size,
                                   .priority = report->priority,
                                   .created_ms = clock_wall_ms()};
    struct error reason;
    int64_t id;
    error_clear(&reason);
    if (outbox_append_check(&append, &reason) != 0)
        return outbox_append_dead(writer, &append, &reason, error);
    return outbox_append(writer, &append, &id, error);
}

static int report(struct store_writer *writer, struct aggregate_rule *rule,
                  int64_t due_ms, struct fold_step *done, struct error *error)
{
    struct report reports[FOLD_REPORTS_MAX];
    struct arena arena;
    unsigned count;
    bool more = false;
    arena_init(&arena, (size_t)4 * OUTBOX_DATA_MAX);
    int result = read_reports(writer, rule, due_ms, &arena, reports, &count,
                              &more, error);
    for (unsigned i = 0; i < count && result == 0; i++) {
        result = SQL_RUN(writer, SQL_GROUP_REPORTED, error,
                         value_integer(reports[i].group));
        if (result == 0)
            result = append_report(writer, rule, &reports[i], error);
    }
    arena_deinit(&arena);
    done->reported += count;
    done->more |= more;
    return result;
}

int details_fold(struct store_writer *writer, struct aggregate_rule *rule,
                 bool all, struct fold_step *done, struct error *error)
{
    if (aggregate_compile(writer, rule, error) != 0 ||
        fold(writer, rule, error) != 0)
        return -1;
    done->more |= rule->last_id > rule->folded_id;
    return report(writer, rule, all ? INT64_MAX : clock_wall_ms(), done, error);
}

/* --- when --- */

/* Has detail come that must go at once? */
static int look_at_new(struct store_writer *writer, struct aggregate_rule *rule,
                       struct error *error)
{
    if (rule->checked_id >= rule->last_id)
        return 0;
    if (aggregate_compile(writer, rule, error) != 0)
        return -1;
    sqlite3_stmt *row = rule->program->at_once;
    BIND(row, detail_place(rule, rule->checked_id),
         detail_place(rule, rule->last_id));
    int step = sql_step(writer, row, error);
    sqlite3_reset(row);
    if (step < 0)
        return -1;
    rule->checked_id = rule->last_id;
    rule->is_wanted |= step > 0;
    return 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* When this rule's detail is to be folded; 0: there is none. */
static int64_t rule_due_ms(const struct store_writer *writer,
                           const struct aggregate_rule *rule)
{
    const struct aggregates *all = &writer->aggregates;
    if (!rule->active || rule->last_id <= rule->folded_id)
        return 0;
    return rule->is_wanted || rule->last_id - rule->folded_id >= all->news_max
               ? 1
               : rule->since_ms + all->interval_ms;
}

int64_t store_writer_fold_due_ms(struct store_writer *writer)
{
    struct aggregates *all = &writer->aggregates;
    int64_t due_ms = all->due_ms;
    struct error error;
    for (size_t i = 0; i < all->count; i++) {
        struct aggregate_rule *rule = &all->rules[i];
        /* What cannot be looked at is folded in its time, and fails there. */
        if (rule->active && look_at_new(writer, rule, &error) != 0)
            rule->checked_id = rule->last_id;
        due_ms = earlier(due_ms, rule_due_ms(writer, rule));
    }
    return due_ms;
}

/* One step of each rule, or of those whose time has come. */
static int fold_step(struct store_writer *writer, bool all, int64_t now,
                     struct fold_step *done, struct error *error)
{
    struct aggregates *rules = &writer->aggregates;
    done->more = false;
    for (size_t i = 0; i < rules->count; i++) {
        struct aggregate_rule *rule = &rules->rules[i];
        int64_t due_ms = rule_due_ms(writer, rule);
        bool wanted = all || (due_ms != 0 && due_ms <= now) ||
                      (rules->due_ms != 0 && rules->due_ms <= now);
        if (rule->active && wanted &&
            details_fold(writer, rule, all, done, error) != 0)
            return -1;
    }
    return aggregates_find_due(writer, error);
}

int run_details_fold(struct statement_call *call)
{
    struct store_writer *writer = call->writer;
    bool all = call->arguments[0].integer != 0;
    int64_t now = clock_wall_ms();
    struct fold_step done = {0};
    size_t capacity = 0;
    for (int i = 0; i < (all ? FOLD_STEPS_MAX : 1); i++) {
        if (fold_step(writer, all, now, &done, call->error) != 0)
            return -1;
        if (!done.more)
            break;
    }
    call->result->columns = 1;
    struct value *row = result_row(call, &capacity);
    if (row == NULL)
        return result_out_of_memory(call->error);
    row[0] = value_integer(done.more);
    call->result->changed = done.reported;
    return 0;
}
