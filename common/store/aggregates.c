/* SPDX-License-Identifier: Apache-2.0
 *
 * Which tables have an aggregate, as the store remembers it: the detail that
 * was accepted under a declaration is folded with it, whoever opens the store
 * with whatever configuration.
 */
#include "common/store/aggregates.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/store/writer_internal.h"

#define INTERVAL_MS 60000 /* unless declared otherwise */
#define NEWS_MAX    1000

static int out_of_memory(struct error *error)
{
    return error_set(error, ERROR_SYSTEM, "no memory for the aggregates");
}

static int64_t detail_key(const struct aggregate_rule *rule, int64_t id)
{
    return rule->number << DETAIL_ID_BITS | id;
}

/* Detail is numbered on after what is there, and after what was. */
static int find_last(struct store_writer *writer, struct aggregate_rule *rule,
                     struct error *error)
{
    sqlite3_stmt *row =
        rule->is_hooks
            ? sql_get(writer, SQL_HOOK_LAST, error)
            : SQL_QUERY(writer, SQL_DETAIL_LAST, error,
                        value_integer(detail_key(rule, 0)),
                        value_integer(detail_key(rule, DETAIL_ID_MAX)));
    int step = row == NULL ? -1 : sql_step(writer, row, error);
    if (step > 0) {
        rule->last_id = sqlite3_column_int64(row, 0) & DETAIL_ID_MAX;
        sqlite3_reset(row);
    }
    if (rule->last_id < rule->folded_id)
        rule->last_id = rule->folded_id;
    rule->checked_id = rule->folded_id;
    rule->since_ms = rule->last_id > rule->folded_id ? clock_wall_ms() : 0;
    return step < 0 ? -1 : 0;
}

static struct aggregate_rule *add_rule(struct store_writer *writer,
                                       const char *table, size_t size,
                                       const char *definition,
                                       struct error *error)
{
    struct aggregates *all = &writer->aggregates;
    struct aggregate_rule *rules =
        realloc(all->rules, (all->count + 1) * sizeof(*rules));
    if (rules == NULL) {
        out_of_memory(error);
        return NULL;
    }
    all->rules = rules;
    struct aggregate_rule *rule = &rules[all->count];
    *rule = (struct aggregate_rule){
        .number = all->count == 0 ? 1 : rules[all->count - 1].number + 1,
        .table = strndup(table, size),
        .table_size = size,
        .definition = strdup(definition),
        .is_hooks = size == strlen(AGGREGATE_BUILT_IN_TABLE) &&
                    memcmp(table, AGGREGATE_BUILT_IN_TABLE, size) == 0};
    if (rule->table == NULL || rule->definition == NULL) {
        free(rule->table);
        free(rule->definition);
        out_of_memory(error);
        return NULL;
    }
    all->count++;
    return rule;
}

static int write_rule(struct store_writer *writer,
                      const struct aggregate_rule *rule, struct error *error)
{
    writer->aggregates.touched = true;
    return SQL_RUN(
        writer, SQL_AGGREGATE_WRITE, error, value_integer(rule->number),
        value_text_sized(rule->table, rule->table_size),
        value_integer(rule->active), value_integer(rule->first_id),
        value_integer(rule->folded_id), value_text(rule->definition));
}

static int load_row(struct store_writer *writer, sqlite3_stmt *row,
                    struct error *error)
{
    const char *table = (const char *)sqlite3_column_text(row, 1);
    size_t size = (size_t)sqlite3_column_bytes(row, 1);
    const char *definition = (const char *)sqlite3_column_text(row, 5);
    if (table == NULL || definition == NULL)
        return out_of_memory(error);
    struct aggregate_rule *rule =
        add_rule(writer, table, size, definition, error);
    if (rule == NULL)
        return -1;
    rule->number = sqlite3_column_int64(row, 0);
    rule->active = sqlite3_column_int(row, 2) != 0;
    rule->first_id = sqlite3_column_int64(row, 3);
    rule->folded_id = sqlite3_column_int64(row, 4);
    return 0;
}

static int load_rules(struct store_writer *writer, struct error *error)
{
    sqlite3_stmt *rows = sql_get(writer, SQL_AGGREGATES_READ, error);
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(writer, rows, error)) > 0)
        if (load_row(writer, rows, error) != 0) {
            sqlite3_reset(rows);
            return -1;
        }
    return step;
}

/* A new store: hook events are folded unless somebody says otherwise. */
static int add_built_in(struct store_writer *writer, struct error *error)
{
    struct aggregate_rule *rule =
        add_rule(writer, AGGREGATE_BUILT_IN_TABLE,
                 strlen(AGGREGATE_BUILT_IN_TABLE), aggregate_built_in, error);
    if (rule == NULL)
        return -1;
    rule->active = true;
    return write_rule(writer, rule, error);
}

int aggregates_load(struct store_writer *writer, struct error *error)
{
    struct aggregates *all = &writer->aggregates;
    if (all->interval_ms == 0) {
        all->interval_ms = INTERVAL_MS;
        all->news_max = NEWS_MAX;
    }
    if (load_rules(writer, error) != 0 ||
        (all->count == 0 && add_built_in(writer, error) != 0))
        return -1;
    for (size_t i = 0; i < all->count; i++)
        if (find_last(writer, &all->rules[i], error) != 0)
            return -1;
    return aggregates_find_due(writer, error);
}

int aggregates_find_due(struct store_writer *writer, struct error *error)
{
    struct aggregates *all = &writer->aggregates;
    sqlite3_stmt *row = sql_get(writer, SQL_GROUPS_NEXT, error);
    int step = row == NULL ? -1 : sql_step(writer, row, error);
    if (step <= 0)
        return step;
    all->due_ms = sqlite3_column_int64(row, 0);
    if (all->due_ms == 0 && sqlite3_column_type(row, 0) != SQLITE_NULL)
        all->due_ms = 1;
    sqlite3_reset(row);
    return 0;
}

static void free_rules(struct aggregates *all)
{
    for (size_t i = 0; i < all->count; i++) {
        aggregate_program_free(&all->rules[i].program);
        free(all->rules[i].table);
        free(all->rules[i].definition);
    }
    free(all->rules);
    all->rules = NULL;
    all->count = 0;
}

void aggregates_deinit(struct store_writer *writer)
{
    free_rules(&writer->aggregates);
}

void aggregates_restore(struct store_writer *writer)
{
    struct aggregates *all = &writer->aggregates;
    struct error error;
    sqlite3_stmt *rows;
    if (!all->touched)
        return;
    rows = sql_get(writer, SQL_AGGREGATES_READ, &error);
    while (rows != NULL && sql_step(writer, rows, &error) > 0)
        for (size_t i = 0; i < all->count; i++) {
            struct aggregate_rule *rule = &all->rules[i];
            if (rule->number != sqlite3_column_int64(rows, 0))
                continue;
            rule->folded_id = sqlite3_column_int64(rows, 4);
            if (rule->since_ms == 0 && rule->last_id > rule->folded_id)
                rule->since_ms = clock_wall_ms();
        }
    aggregates_find_due(writer, &error);
}

uint32_t aggregates_index(struct store_writer *writer, const char *table,
                          size_t size)
{
    const struct aggregates *all = &writer->aggregates;
    for (size_t i = 0; i < all->count; i++)
        if (all->rules[i].active && all->rules[i].table_size == size &&
            memcmp(all->rules[i].table, table, size) == 0)
            return (uint32_t)i + 1;
    return 0;
}

struct aggregate_rule *aggregates_hooks(struct store_writer *writer)
{
    size_t i = 0;
    while (!writer->aggregates.rules[i].is_hooks)
        i++;
    return &writer->aggregates.rules[i];
}

/* --- declarations --- */

static struct aggregate_rule *find_known(struct store_writer *writer,
                                         const char *table)
{
    struct aggregates *all = &writer->aggregates;
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->rules[i].table, table) == 0)
            return &all->rules[i];
    return NULL;
}

/* The detail that is kept is folded anew, with another declaration. */
static int change_rule(struct store_writer *writer, struct aggregate_rule *rule,
                       const char *definition, struct error *error)
{
    char *copy = strdup(definition);
    if (copy == NULL)
        return out_of_memory(error);
    free(rule->definition);
    rule->definition = copy;
    aggregate_program_free(&rule->program);
    rule->folded_id = rule->first_id;
    rule->checked_id = rule->last_id;
    rule->since_ms = rule->last_id > rule->folded_id ? clock_wall_ms() : 0;
    return SQL_RUN(writer, SQL_GROUPS_FORGET, error,
                   value_integer(rule->number));
}

static int declare(struct store_writer *writer,
                   const struct sync_aggregate *declared, struct error *error)
{
    struct aggregate_rule *rule = find_known(writer, declared->table);
    bool is_new = rule == NULL;
    if (rule != NULL && rule->active &&
        strcmp(rule->definition, declared->definition) == 0)
        return 0;
    if (is_new && writer->aggregates.count == AGGREGATES_MAX)
        return error_set(error, ERROR_CONFIG,
                         "sync.tables.%s: this store has had %d aggregates "
                         "and takes no more; remove the entry",
                         declared->table, AGGREGATES_MAX);
    if (is_new)
        rule = add_rule(writer, declared->table, strlen(declared->table),
                        declared->definition, error);
    if (rule == NULL)
        return -1;
    bool was_active = rule->active;
    if (strcmp(rule->definition, declared->definition) != 0 &&
        change_rule(writer, rule, declared->definition, error) != 0)
        return -1;
    rule->active = true;
    /* What came meanwhile was sent as it is. */
    if (!was_active)
        rule->first_id = rule->folded_id = rule->checked_id = rule->last_id;
    if (!was_active)
        rule->since_ms = 0;
    return write_rule(writer, rule, error);
}

static bool is_declared(const struct aggregate_rule *rule,
                        const struct sync_aggregate *declared, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(declared[i].table, rule->table) == 0)
            return true;
    return false;
}

/* What was accepted as detail still becomes part of its summary. */
static int retire(struct store_writer *writer, struct aggregate_rule *rule,
                  struct error *error)
{
    struct fold_step step;
    do {
        step = (struct fold_step){0};
        if (details_fold(writer, rule, true, &step, error) != 0)
            return -1;
    } while (step.more);
    rule->active = false;
    return write_rule(writer, rule, error);
}

static int declare_all(struct store_writer *writer,
                       const struct sync_aggregate *declared, size_t count,
                       struct error *error)
{
    struct aggregates *all = &writer->aggregates;
    for (size_t i = 0; i < count; i++)
        if (declare(writer, &declared[i], error) != 0)
            return -1;
    for (size_t i = 0; i < all->count; i++)
        if (all->rules[i].active &&
            !is_declared(&all->rules[i], declared, count) &&
            retire(writer, &all->rules[i], error) != 0)
            return -1;
    table_counts_mark_detail(writer);
    return 0;
}

int store_writer_aggregates(struct store_writer *writer,
                            const struct sync_aggregate *declared, size_t count,
                            int64_t interval_ms, int64_t news_max,
                            struct error *error)
{
    writer->aggregates.interval_ms = interval_ms;
    writer->aggregates.news_max = news_max;
    if (store_writer_begin(writer, error) != 0)
        return -1;
    writer->request.savepoint = true; /* the group undoes it all */
    writer->request.call_count = 1;
    if (declare_all(writer, declared, count, error) != 0) {
        store_writer_rollback(writer);
        return -1;
    }
    return store_writer_commit(writer, error);
}
