/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/fold.h"

#include <string.h>

#include "common/base/buffer.h"
#include "common/base/text.h"
#include "common/config/config.h"
#include "common/document/json_text.h"

#define FOLDED_MAX_BYTES ((size_t)1 << 30)

struct folding {
    const struct config *config;
    const struct outbox_operation *operations;
    struct arena *arena;
    struct batch_units *out;
    uint32_t *table; /* open addressing: 1 + index of a unit, 0 empty */
    size_t mask;
};

enum unit_kind operation_unit_kind(const struct outbox_operation *operation)
{
    if (operation->kind == OPERATION_DELETE)
        return UNIT_GONE;
    if (operation->kind == OPERATION_UPDATE && operation->data &&
        json_text_is_object(operation->data, operation->data_size))
        return UNIT_MERGE;
    return UNIT_SET;
}

static bool same_record(const struct outbox_operation *a,
                        const struct outbox_operation *b)
{
    return a->record_id_size == b->record_id_size &&
           a->table_name_size == b->table_name_size &&
           memcmp(a->record_id, b->record_id, a->record_id_size) == 0 &&
           memcmp(a->table_name, b->table_name, a->table_name_size) == 0;
}

static unsigned typed_index(const struct config *config,
                            const struct outbox_operation *operation)
{
    for (size_t i = 0; i < config->table_count; i++) {
        const char *name = config->tables[i].name;
        if (strlen(name) == operation->table_name_size &&
            memcmp(name, operation->table_name, operation->table_name_size) ==
                0)
            return (unsigned)i + 1;
    }
    return 0;
}

struct stamp unit_stamp(const struct config *config,
                        const struct batch_unit *unit,
                        const struct outbox_operation *operation)
{
    const char *code;
    struct outbox_operation plain = *operation;
    if (operation_refusal(operation, &code))
        plain.data = NULL;
    return operation_stamp(&config->tables[unit->typed - 1], &plain);
}

static void unit_share(struct folding *f, struct batch_unit *unit,
                       const struct outbox_operation *operation)
{
    const char *code;
    unit->shared = f->config->tables[unit->typed - 1].conflict != CONFLICT_NONE;
    if (!unit->shared)
        return;
    unit->apart = operation_refusal(operation, &code) != NULL;
    unit->stamp = unit_stamp(f->config, unit, operation);
    f->out->shared++;
}

/* Eight bytes at a time; good for a table of one batch. */
static uint64_t hash_words(uint64_t hash, const char *text, size_t size)
{
    uint64_t word = size;
    for (; size > 0; text += sizeof(word)) {
        size_t step = size < sizeof(word) ? size : sizeof(word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
        word = 0;
        memcpy(&word, text, step);
        size -= step;
    }
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

static void unit_add(struct folding *f, uint32_t index)
{
    const struct outbox_operation *operation = &f->operations[index];
    uint64_t hash = hash_words(TEXT_HASH_START, operation->record_id,
                               operation->record_id_size);
    hash = hash_words(hash, operation->table_name, operation->table_name_size);
    size_t place = hash & f->mask;
    for (; f->table[place]; place = (place + 1) & f->mask) {
        struct batch_unit *unit = &f->out->units[f->table[place] - 1];
        if (!same_record(operation, &f->operations[unit->first]))
            continue;
        f->out->next[unit->last] = index;
        unit->last = index;
        f->out->multiple += unit->count++ == 1;
        return;
    }
    f->out->units[f->out->count++] = (struct batch_unit){
        .kind = operation_unit_kind(operation),
        .apart = !operation->data && operation->kind != OPERATION_DELETE,
        .typed = typed_index(f->config, operation),
        .first = index,
        .last = index,
        .count = 1,
        .data = operation->data,
        .data_size = operation->data_size,
    };
    struct batch_unit *made = &f->out->units[f->out->count - 1];
    if (made->typed)
        unit_share(f, made, operation);
    f->out->any_apart |= made->apart;
    f->table[place] = (uint32_t)f->out->count;
}

/* Puts one more operation upon what a unit is so far. */
static void unit_put(struct batch_unit *unit,
                     const struct outbox_operation *operation,
                     struct buffer *merged)
{
    enum unit_kind kind = operation_unit_kind(operation);
    if (kind != UNIT_MERGE || unit->kind == UNIT_GONE) {
        unit->kind = kind == UNIT_GONE ? UNIT_GONE : UNIT_SET;
        unit->data = operation->data;
        unit->data_size = operation->data_size;
        return;
    }
    buffer_reset(merged);
    json_text_merge(unit->data, unit->data_size, operation->data,
                    operation->data_size, merged);
    unit->data = merged->bytes;
    unit->data_size = merged->size;
}

static void unit_raise(struct folding *f, struct batch_unit *unit,
                       const struct outbox_operation *operation)
{
    struct stamp stamp = unit_stamp(f->config, unit, operation);
    if (stamp.value > unit->stamp.value)
        unit->stamp.value = stamp.value;
}

static int unit_fold(struct folding *f, struct batch_unit *unit,
                     struct buffer merged[2], struct error *error)
{
    const char *code;
    uint32_t index = unit->first;
    for (uint32_t n = 0; n < unit->count; n++, index = f->out->next[index])
        if (operation_refusal(&f->operations[index], &code)) {
            unit->apart = f->out->any_apart = true;
            return 0;
        }
    index = unit->first;
    for (uint32_t n = 1; n < unit->count; n++) {
        index = f->out->next[index];
        unit_put(unit, &f->operations[index], &merged[n & 1]);
        if (unit->shared)
            unit_raise(f, unit, &f->operations[index]);
    }
    if (merged[0].failed || merged[1].failed)
        return error_set(error, ERROR_SYSTEM,
                         "no memory to fold the operations of a record");
    if (unit->data == merged[0].bytes || unit->data == merged[1].bytes) {
        unit->data = arena_copy(f->arena, unit->data, unit->data_size);
        if (!unit->data)
            return error_set(error, ERROR_SYSTEM,
                             "no memory to fold the operations of a record");
    }
    return 0;
}

int batch_fold(const struct config *config,
               const struct outbox_operation *operations, size_t count,
               struct arena *arena, struct batch_units *units,
               struct error *error)
{
    struct folding f = {.config = config,
                        .operations = operations,
                        .arena = arena,
                        .out = units,
                        .mask = 15};
    struct buffer merged[2];
    int status = 0;
    while (f.mask < count * 2)
        f.mask = f.mask * 2 + 1;
    memset(units, 0, sizeof *units);
    f.table = arena_calloc(arena, f.mask + 1, sizeof *f.table);
    units->units = arena_alloc(arena, (count + 1) * sizeof *units->units);
    units->next = arena_alloc(arena, (count + 1) * sizeof *units->next);
    if (!f.table || !units->units || !units->next)
        return error_set(error, ERROR_SYSTEM, "no memory for a batch");
    for (size_t i = 0; i < count; i++)
        unit_add(&f, (uint32_t)i);
    if (!units->multiple)
        return 0;
    buffer_init(&merged[0], FOLDED_MAX_BYTES);
    buffer_init(&merged[1], FOLDED_MAX_BYTES);
    for (size_t i = 0; i < units->count && status == 0; i++)
        if (units->units[i].count > 1)
            status = unit_fold(&f, &units->units[i], merged, error);
    buffer_deinit(&merged[0]);
    buffer_deinit(&merged[1]);
    return status;
}
