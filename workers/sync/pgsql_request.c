/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pgsql_request.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include "common/config/config.h"

/* The arrays in the order in which the functions take them:
 * tidemill.apply_batch those before ARRAYS_FAST, apply_batch_shared those
 * before ARRAYS_SHARED, apply_carefully those from ARRAYS_FAST on. */
enum array {
    SET_TABLES,
    SET_RECORDS,
    SET_DATA,
    MERGE_TABLES,
    MERGE_RECORDS,
    MERGE_DATA,
    GONE_TABLES,
    GONE_RECORDS,
    TYPED_TARGETS,
    TYPED_KEYS,
    TYPED_KINDS,
    TYPED_COUNTS,
    TYPED_RECORDS,
    TYPED_DATA,
    ARRAYS_FAST,
    UNIT_KINDS = ARRAYS_FAST,
    UNIT_TYPED,
    UNIT_TABLES,
    UNIT_RECORDS,
    UNIT_DATA,
    UNIT_COUNTS,
    UNIT_STAMPS,
    UNIT_SEENS,
    OP_KEYS,
    OP_KINDS,
    OP_DATA,
    OP_STAMPS,
    OP_SEENS,
    TARGETS,
    TARGET_KEYS,
    TARGET_RULES,
    TARGET_TIMED,
    ARRAYS_SHARED,
    REFUSED_KEYS = ARRAYS_SHARED,
    REFUSED_CODES,
    REFUSED_WORDS,
    ARRAYS_ALL
};

#define T PG_OID_TEXT
#define I PG_OID_INT4
#define B PG_OID_INT8
static const unsigned array_types[ARRAYS_ALL] = {
    T, T, T, T, T, T, T, T, T, T, I, I, T, T,          /* folded units */
    I, I, T, T, T, I, B, B, B, I, T, B, B, T, T, I, I, /* units apart */
    B, T, T};
#undef T
#undef I
#undef B

static const char fast_sql[] =
    "SELECT * FROM tidemill.apply_batch($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,"
    "$11,$12,$13,$14,$15,$16,$17,$18,$19)";
static const char shared_sql[] =
    "SELECT * FROM tidemill.apply_batch_shared($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,"
    "$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,$25,$26,$27,$28,"
    "$29,$30,$31,$32,$33,$34,$35,$36)";
static const char careful_sql[] =
    "SELECT * FROM tidemill.apply_carefully($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,"
    "$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,$25,$26)";

void pgsql_request_init(struct pgsql_request *request,
                        const struct config *config)
{
    memset(request, 0, sizeof *request);
    request->config = config;
    for (size_t i = 0; i < PGSQL_ARRAYS_MAX; i++)
        pg_array_init(&request->arrays[i], PG_OID_TEXT);
    pg_array_init(&request->line, PG_OID_INT8);
}

void pgsql_request_deinit(struct pgsql_request *request)
{
    for (size_t i = 0; i < PGSQL_ARRAYS_MAX; i++)
        pg_array_deinit(&request->arrays[i]);
    pg_array_deinit(&request->line);
}

static void parameter_add(struct pgsql_request *r, unsigned type,
                          const void *value, size_t size)
{
    r->parameters[r->parameter_count++] = (struct pg_parameter){
        .type = type, .value = value, .size_bytes = (int)size};
}

static void request_begin(struct pgsql_request *r,
                          const struct sink_batch *batch)
{
    r->epoch = htobe64((uint64_t)batch->epoch);
    r->batch_id = htobe64((uint64_t)batch->batch_id);
    r->operations = htonl((uint32_t)batch->count);
    r->parameter_count = 0;
    parameter_add(r, PG_OID_TEXT, r->config->system_id,
                  strlen(r->config->system_id));
    parameter_add(r, PG_OID_INT8, &r->epoch, sizeof r->epoch);
    parameter_add(r, PG_OID_INT8, &r->batch_id, sizeof r->batch_id);
    parameter_add(r, PG_OID_INT4, &r->operations, sizeof r->operations);
    pg_array_reset(&r->line);
    for (size_t i = 0; i < batch->line_count; i++)
        pg_array_add_int8(&r->line, batch->line[i]);
    /* Without memory for it request_end says so. */
    pg_array_parameter(&r->line, &r->parameters[r->parameter_count++]);
    for (size_t i = 0; i < ARRAYS_ALL; i++) {
        pg_array_reset(&r->arrays[i]);
        r->arrays[i].item_type = array_types[i];
    }
}

static int request_end(struct pgsql_request *r, const char *sql, size_t first,
                       size_t end, struct error *error)
{
    bool failed = r->line.bytes.failed;
    r->sql = sql;
    for (size_t i = first; i < end; i++)
        failed |= pg_array_parameter(&r->arrays[i],
                                     &r->parameters[r->parameter_count++]) != 0;
    if (failed)
        return error_set(error, ERROR_SYSTEM,
                         "the batch needs more memory than there is, or "
                         "than PostgreSQL takes in one message (1 GB); "
                         "make sync.batch.max smaller");
    return 0;
}

static void array_add(struct pgsql_request *r, int array, const char *text,
                      size_t size)
{
    pg_array_add_text(&r->arrays[array], text, size);
}

static void text_add(struct pgsql_request *r, int array, const char *text)
{
    array_add(r, array, text, strlen(text));
}

/* Typed units go in slices of one target and kind each. */
static void typed_add(struct pgsql_request *r, const struct sink_batch *batch,
                      const struct batch_units *units, unsigned typed)
{
    const struct sync_table *table = &r->config->tables[typed - 1];
    for (int kind = UNIT_SET; kind <= UNIT_GONE; kind++) {
        int32_t count = 0;
        for (size_t i = 0; i < units->count; i++) {
            const struct batch_unit *unit = &units->units[i];
            if (unit->typed != typed || (int)unit->kind != kind)
                continue;
            const struct outbox_operation *op = &batch->operations[unit->first];
            array_add(r, TYPED_RECORDS, op->record_id, op->record_id_size);
            array_add(r, TYPED_DATA, kind == UNIT_GONE ? NULL : unit->data,
                      unit->data_size);
            count++;
        }
        if (!count)
            continue;
        text_add(r, TYPED_TARGETS, table->target);
        text_add(r, TYPED_KEYS, table->key);
        pg_array_add_int4(&r->arrays[TYPED_KINDS], kind);
        pg_array_add_int4(&r->arrays[TYPED_COUNTS], count);
    }
}

static void refused_add(struct pgsql_request *r,
                        const struct outbox_operation *op, const char *code,
                        const char *words)
{
    pg_array_add_int8(&r->arrays[REFUSED_KEYS], op->key);
    text_add(r, REFUSED_CODES, code);
    text_add(r, REFUSED_WORDS, words);
}

/* Adds the operations of a unit up to the first that cannot be sent; returns
 * how many were added. */
static int32_t unit_operations_add(struct pgsql_request *r,
                                   const struct sink_batch *batch,
                                   const struct batch_units *units,
                                   const struct batch_unit *unit)
{
    const char *code, *words = NULL;
    int32_t added = 0;
    uint32_t index = unit->first;
    for (uint32_t n = 0; n < unit->count; n++, index = units->next[index]) {
        const struct outbox_operation *op = &batch->operations[index];
        if (words) {
            refused_add(r, op, "", SINK_HELD_WORDS);
            continue;
        }
        words = operation_unsendable(op, &code);
        if (words) {
            refused_add(r, op, code, words);
            continue;
        }
        struct stamp stamp = {0};
        if (unit->shared)
            stamp = unit_stamp(r->config, unit, op);
        pg_array_add_int8(&r->arrays[OP_KEYS], op->key);
        pg_array_add_int4(&r->arrays[OP_KINDS],
                          (int32_t)operation_unit_kind(op));
        array_add(r, OP_DATA, op->kind == OPERATION_DELETE ? NULL : op->data,
                  op->data_size);
        pg_array_add_int8(&r->arrays[OP_STAMPS], stamp.value);
        pg_array_add_int8(&r->arrays[OP_SEENS], stamp.seen);
        added++;
    }
    return added;
}

static bool unit_is_plain(const struct sink_batch *batch,
                          const struct batch_units *units,
                          const struct batch_unit *unit)
{
    const char *code;
    uint32_t index = unit->first;
    for (uint32_t n = 0; n < unit->count; n++, index = units->next[index])
        if (operation_unsendable(&batch->operations[index], &code))
            return false;
    return !unit->apart;
}

/* Adds a unit with its operations; false when none of them can be sent. */
static bool unit_put(struct pgsql_request *r, const struct sink_batch *batch,
                     const struct batch_units *units,
                     const struct batch_unit *unit, bool plain)
{
    const struct outbox_operation *op = &batch->operations[unit->first];
    int32_t count = unit_operations_add(r, batch, units, unit);
    if (!count)
        return false;
    pg_array_add_int4(&r->arrays[UNIT_KINDS], (int32_t)unit->kind);
    pg_array_add_int4(&r->arrays[UNIT_TYPED], (int32_t)unit->typed);
    array_add(r, UNIT_TABLES, op->table_name, op->table_name_size);
    array_add(r, UNIT_RECORDS, op->record_id, op->record_id_size);
    array_add(r, UNIT_DATA,
              plain && unit->kind != UNIT_GONE ? unit->data : NULL,
              unit->data_size);
    pg_array_add_int4(&r->arrays[UNIT_COUNTS], count);
    pg_array_add_int8(&r->arrays[UNIT_STAMPS], unit->stamp.value);
    pg_array_add_int8(&r->arrays[UNIT_SEENS], unit->stamp.seen);
    return true;
}

static uint32_t careful_units_add(struct pgsql_request *r,
                                  const struct sink_batch *batch,
                                  const struct batch_units *units, bool plain)
{
    uint32_t added = 0;
    for (size_t i = 0; i < units->count; i++)
        if (unit_is_plain(batch, units, &units->units[i]) == plain)
            added += unit_put(r, batch, units, &units->units[i], plain);
    return added;
}

static void targets_add(struct pgsql_request *r)
{
    for (size_t i = 0; i < r->config->table_count; i++) {
        const struct sync_table *table = &r->config->tables[i];
        bool shared = table->conflict != CONFLICT_NONE;
        text_add(r, TARGETS, table->target);
        text_add(r, TARGET_KEYS, table->key);
        pg_array_add_int4(&r->arrays[TARGET_RULES], (int32_t)table->conflict);
        pg_array_add_int4(&r->arrays[TARGET_TIMED],
                          shared && stamp_is_time(table));
    }
}

static void shared_add(struct pgsql_request *r, const struct sink_batch *batch,
                       const struct batch_units *units)
{
    for (size_t i = 0; i < units->count; i++)
        if (units->units[i].shared)
            unit_put(r, batch, units, &units->units[i], true);
    targets_add(r);
}

int pgsql_request_fast(struct pgsql_request *r, const struct sink_batch *batch,
                       const struct batch_units *units, struct error *error)
{
    static const int first[] = {[UNIT_SET] = SET_TABLES,
                                [UNIT_MERGE] = MERGE_TABLES,
                                [UNIT_GONE] = GONE_TABLES};
    bool seen[SYNC_TABLES_MAX + 1] = {false};
    request_begin(r, batch);
    for (size_t i = 0; i < units->count; i++) {
        const struct batch_unit *unit = &units->units[i];
        const struct outbox_operation *op = &batch->operations[unit->first];
        if (unit->typed) {
            seen[unit->typed] = !unit->shared;
            continue;
        }
        int at = first[unit->kind];
        array_add(r, at, op->table_name, op->table_name_size);
        array_add(r, at + 1, op->record_id, op->record_id_size);
        if (unit->kind != UNIT_GONE)
            array_add(r, at + 2, unit->data, unit->data_size);
    }
    for (unsigned typed = 1; typed <= SYNC_TABLES_MAX; typed++)
        if (seen[typed])
            typed_add(r, batch, units, typed);
    if (!units->shared)
        return request_end(r, fast_sql, 0, ARRAYS_FAST, error);
    shared_add(r, batch, units);
    return request_end(r, shared_sql, 0, ARRAYS_SHARED, error);
}

int pgsql_request_careful(struct pgsql_request *r,
                          const struct sink_batch *batch,
                          const struct batch_units *units, struct error *error)
{
    request_begin(r, batch);
    r->plain_count = htonl(careful_units_add(r, batch, units, true));
    parameter_add(r, PG_OID_INT4, &r->plain_count, sizeof r->plain_count);
    careful_units_add(r, batch, units, false);
    targets_add(r);
    return request_end(r, careful_sql, ARRAYS_FAST, ARRAYS_ALL, error);
}
