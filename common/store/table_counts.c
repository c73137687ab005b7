/* SPDX-License-Identifier: Apache-2.0 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/writer_internal.h"

#define SLOTS 32768u /* more than three times OUTBOX_TABLES_MAX */

static int out_of_memory(struct error *error)
{
    return error_set(error, ERROR_SYSTEM,
                     "no memory for the store's counters; nothing of this was "
                     "stored");
}

static int make_room(struct table_counts *counts, struct error *error)
{
    /* At once, so that it is a mapping of its own, of which only what is
     * used takes memory. */
    struct room {
        struct table_count tables[OUTBOX_TABLES_MAX];
        uint32_t slots[SLOTS];
        uint32_t dirty[OUTBOX_TABLES_MAX];
    } *room = calloc(1, sizeof(*room));
    if (room == NULL)
        return out_of_memory(error);
    counts->tables = room->tables;
    counts->slots = room->slots;
    counts->dirty = room->dirty;
    return 0;
}

void table_counts_deinit(struct table_counts *counts)
{
    for (uint32_t i = 0; i < counts->count; i++)
        free(counts->tables[i].name);
    free(counts->tables); /* and what was made with them */
    free(counts->changes);
    *counts = (struct table_counts){0};
}

static uint32_t *find_slot(struct table_counts *counts, const char *name,
                           size_t size, uint64_t hash)
{
    for (uint32_t i = (uint32_t)(hash ^ hash >> 32);; i++) {
        uint32_t *slot = &counts->slots[i % SLOTS];
        if (*slot == 0)
            return slot;
        const struct table_count *table = &counts->tables[*slot - 1];
        if (table->hash == hash && table->name_size == size &&
            memcmp(table->name, name, size) == 0)
            return slot;
    }
}

int64_t table_counts_find(struct store_writer *writer, const char *name,
                          size_t size, uint64_t hash, struct error *error)
{
    struct table_counts *counts = &writer->counts;
    uint32_t *slot = find_slot(counts, name, size, hash);
    if (*slot != 0)
        return *slot - 1;
    if (counts->count == OUTBOX_TABLES_MAX)
        return error_set(
            error, ERROR_DATA,
            "table name \"%.*s\" would be one more than the %d different "
            "ones that the outbox takes; put what varies into the record id",
            (int)size, name, OUTBOX_TABLES_MAX);
    char *copy = strndup(name, size);
    if (copy == NULL)
        return out_of_memory(error);
    counts->tables[counts->count] =
        (struct table_count){.name = copy,
                             .name_size = size,
                             .hash = hash,
                             .detail = aggregates_index(writer, name, size)};
    *slot = ++counts->count;
    return *slot - 1;
}

void table_counts_mark_detail(struct store_writer *writer)
{
    for (uint32_t i = 0; i < writer->counts.count; i++) {
        struct table_count *table = &writer->counts.tables[i];
        table->detail = aggregates_index(writer, table->name, table->name_size);
    }
}

static int remember_change(struct table_counts *counts, uint32_t table,
                           unsigned priority, int64_t delta, size_t mark,
                           struct error *error)
{
    if (counts->change_count > mark) {
        struct count_change *last = &counts->changes[counts->change_count - 1];
        if (last->table == table && last->priority == priority) {
            last->delta += delta;
            return 0;
        }
    }
    if (counts->change_count == counts->change_capacity) {
        size_t capacity = counts->change_capacity * 2 + 64;
        struct count_change *changes =
            realloc(counts->changes, capacity * sizeof(*changes));
        if (changes == NULL)
            return out_of_memory(error);
        counts->changes = changes;
        counts->change_capacity = capacity;
    }
    counts->changes[counts->change_count++] = (struct count_change){
        .table = table, .priority = priority, .delta = delta};
    return 0;
}

static void mark_dirty(struct table_counts *counts, uint32_t table,
                       unsigned priority)
{
    struct table_count *entry = &counts->tables[table];
    if (entry->dirty == 0)
        counts->dirty[counts->dirty_count++] = table;
    entry->dirty = (uint8_t)(entry->dirty | 1u << priority);
}

int table_counts_add(struct store_writer *writer, uint32_t table,
                     unsigned priority, int64_t delta, struct error *error)
{
    struct table_counts *counts = &writer->counts;
    int64_t *pending = &counts->tables[table].pending[priority];
    if (*pending + delta < 0)
        delta = -*pending;
    if (delta == 0)
        return 0;
    if (remember_change(counts, table, priority, delta,
                        writer->request.saved_changes, error) != 0)
        return -1;
    *pending += delta;
    writer->state.pending += delta;
    writer->state.pending_by[priority] += delta;
    mark_dirty(counts, table, priority);
    return 0;
}

void table_counts_undo(struct store_writer *writer, size_t to)
{
    struct table_counts *counts = &writer->counts;
    while (counts->change_count > to) {
        const struct count_change *change =
            &counts->changes[--counts->change_count];
        counts->tables[change->table].pending[change->priority] -=
            change->delta;
        writer->state.pending -= change->delta;
        writer->state.pending_by[change->priority] -= change->delta;
    }
}

/* Forgets what is dirty: written, or undone. */
static void clean(struct table_counts *counts)
{
    for (uint32_t i = 0; i < counts->dirty_count; i++)
        counts->tables[counts->dirty[i]].dirty = 0;
    counts->dirty_count = 0;
}

int table_counts_write(struct store_writer *writer, struct error *error)
{
    struct table_counts *counts = &writer->counts;
    for (uint32_t i = 0; i < counts->dirty_count; i++) {
        const struct table_count *table = &counts->tables[counts->dirty[i]];
        for (unsigned p = 0; p < OUTBOX_PRIORITIES; p++)
            if ((table->dirty >> p & 1) != 0 &&
                SQL_RUN(writer, SQL_COUNT_WRITE, error,
                        value_text_sized(table->name, table->name_size),
                        value_integer(p),
                        value_integer(table->pending[p])) != 0)
                return -1;
    }
    clean(counts);
    return 0;
}

static int load_row(struct store_writer *writer, sqlite3_stmt *row,
                    struct error *error)
{
    const char *name = (const char *)sqlite3_column_text(row, 0);
    size_t size = (size_t)sqlite3_column_bytes(row, 0);
    int64_t priority = sqlite3_column_int64(row, 1);
    if (name == NULL || priority < 0 || priority >= OUTBOX_PRIORITIES)
        return 0;
    int64_t table = table_counts_find(
        writer, name, size, text_hash(TEXT_HASH_START, name, size + 1), error);
    if (table < 0)
        return -1;
    int64_t pending = sqlite3_column_int64(row, 2);
    writer->counts.tables[table].pending[priority] = pending;
    writer->state.pending += pending;
    writer->state.pending_by[priority] += pending;
    return 0;
}

int table_counts_load(struct store_writer *writer, struct error *error)
{
    if (make_room(&writer->counts, error) != 0)
        return -1;
    sqlite3_stmt *rows = sql_get(writer, SQL_COUNTS_READ, error);
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
