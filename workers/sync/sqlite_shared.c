/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/sqlite_shared.h"

#include <string.h>

#include "common/config/options.h"

#define WRITE                                                                  \
    "INSERT INTO shared_records AS r"                                          \
    " (table_name, record_id, data, stamp, system_id, deleted)"                \
    " VALUES (?1, ?2, ?3, ?4, ?5, "
#define WRITE_OVER                                                             \
    ") ON CONFLICT DO UPDATE SET stamp = max(r.stamp, excluded.stamp),"        \
    " system_id = excluded.system_id, deleted = excluded.deleted,"             \
    " updated_at = excluded.updated_at, data = "

static const char *const statement_sql[SHARED_STATEMENTS] = {
    [SHARED_FIND] = "SELECT stamp, system_id, deleted, data FROM"
                    " shared_records WHERE table_name = ?1 AND record_id = ?2",
    [SHARED_SET] = WRITE "0" WRITE_OVER "excluded.data",
    [SHARED_MERGE] =
        WRITE "0" WRITE_OVER "CASE WHEN r.data IS NULL THEN excluded.data"
              " ELSE tidemill_merge(r.data, excluded.data) END",
    [SHARED_GONE] = WRITE "1" WRITE_OVER "NULL",
};

/* The row as it stands. */
struct there {
    bool exists;
    int64_t stamp;
    const char *system_id; /* in the arena, as data */
    bool deleted;
    const char *data;
};

int sqlite_shared_open(struct sqlite_shared *shared, sqlite3 *db)
{
    shared->db = db;
    for (size_t i = 0; i < SHARED_STATEMENTS; i++)
        if (sqlite3_prepare_v3(db, statement_sql[i], -1,
                               SQLITE_PREPARE_PERSISTENT,
                               &shared->statements[i], NULL) != SQLITE_OK)
            return -1;
    return 0;
}

void sqlite_shared_close(struct sqlite_shared *shared)
{
    for (size_t i = 0; i < SHARED_STATEMENTS; i++) {
        sqlite3_finalize(shared->statements[i]);
        shared->statements[i] = NULL;
    }
}

static sqlite3_stmt *bind_record(struct sqlite_shared *shared,
                                 enum sqlite_shared_statement which,
                                 const struct outbox_operation *operation)
{
    sqlite3_stmt *statement = shared->statements[which];
    sqlite3_bind_text64(statement, 1, operation->table_name,
                        operation->table_name_size, SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_text64(statement, 2, operation->record_id,
                        operation->record_id_size, SQLITE_STATIC, SQLITE_UTF8);
    return statement;
}

static int no_memory(struct error *error)
{
    return error_set(error, ERROR_SYSTEM, "no memory for the centre's row");
}

static int find(struct sqlite_shared *shared,
                const struct outbox_operation *operation, struct there *there,
                struct error *error)
{
    char code[6];
    sqlite3_stmt *row = bind_record(shared, SHARED_FIND, operation);
    int step = sqlite3_step(row);
    int status = 0;
    *there = (struct there){.exists = step == SQLITE_ROW};
    if (step == SQLITE_ROW) {
        const char *data = (const char *)sqlite3_column_text(row, 3);
        there->stamp = sqlite3_column_int64(row, 0);
        there->system_id = arena_strdup(
            shared->arena, (const char *)sqlite3_column_text(row, 1));
        there->deleted = sqlite3_column_int(row, 2) != 0;
        there->data = data ? arena_strdup(shared->arena, data) : NULL;
        if (!there->system_id || (data && !there->data))
            status = no_memory(error);
    } else if (step != SQLITE_DONE) {
        sqlite_failure(shared->db, code, error);
        status = -1;
    }
    sqlite3_reset(row);
    return status;
}

/* The centre's row in a typed target. */
static int find_typed(struct sqlite_shared *shared,
                      const struct sync_table *table,
                      const struct outbox_operation *operation,
                      struct there *there, struct error *error)
{
    struct buffer row;
    buffer_init(&row, SINK_CONFLICT_DATA_MAX);
    int status = sqlite_typed_row(shared->db, table, operation, &row, error);
    if (status == 0 && row.size > 0 && !row.failed) {
        there->data = arena_copy(shared->arena, row.bytes, row.size);
        status = there->data ? 0 : no_memory(error);
    }
    buffer_deinit(&row);
    return status;
}

/* As tidemill.conflict_outcome. */
static enum conflict_outcome decide(const struct sync_table *table,
                                    int64_t stamp, const char *system_id,
                                    const struct there *there)
{
    switch (table->conflict) {
    case CONFLICT_LAST_WRITE_WINS:
        if (stamp != there->stamp)
            return stamp > there->stamp ? CONFLICT_WON : CONFLICT_LOST;
        return strcmp(system_id, there->system_id) > 0 ? CONFLICT_WON
                                                       : CONFLICT_LOST;
    case CONFLICT_LOCAL_WINS:
        return CONFLICT_WON;
    case CONFLICT_CENTRE_WINS:
        return CONFLICT_LOST;
    default:
        return CONFLICT_PARKED;
    }
}

static void tell(const struct sync_table *table, int64_t stamp,
                 const struct sqlite_change *change, const struct there *there,
                 struct sink_conflict *conflict)
{
    *conflict = (struct sink_conflict){
        .key = change->operation->key,
        .outcome = decide(table, stamp, change->system_id, there),
        .rule = table->conflict,
        .versioned = !stamp_is_time(table),
        .stamp = stamp,
        .centre_stamp = there->stamp,
        .centre_system = there->system_id,
        .centre_deleted = there->deleted,
        .centre_data = there->data,
        .centre_data_size = there->data ? strlen(there->data) : 0};
}

static enum sqlite_step write_row(struct sqlite_shared *shared,
                                  const struct sync_table *table,
                                  const struct sqlite_change *change,
                                  int64_t stamp, char *code,
                                  struct error *error)
{
    enum sqlite_shared_statement which =
        (enum sqlite_shared_statement)change->kind;
    sqlite3_stmt *statement = bind_record(shared, which, change->operation);
    enum sqlite_step step = STEP_DONE;
    sqlite3_bind_null(statement, 3);
    if (change->kind != UNIT_GONE && !table->target[0] &&
        sqlite3_bind_text64(statement, 3, change->data, change->data_size,
                            SQLITE_STATIC, SQLITE_UTF8) != SQLITE_OK)
        return sqlite_failure(shared->db, code, error);
    sqlite3_bind_int64(statement, 4, stamp);
    sqlite3_bind_text(statement, 5, change->system_id, -1, SQLITE_STATIC);
    if (sqlite3_step(statement) != SQLITE_DONE)
        step = sqlite_failure(shared->db, code, error);
    sqlite3_reset(statement);
    return step;
}

/* The typed row first: it is the one that can be refused. */
static enum sqlite_step write_both(struct sqlite_shared *shared,
                                   const struct sync_table *table,
                                   const struct sqlite_change *change,
                                   int64_t stamp, char *code,
                                   struct error *error)
{
    enum sqlite_step step = STEP_DONE;
    if (table->target[0])
        step = sqlite_typed_apply(shared->db, table, change, code, error);
    return step == STEP_DONE
               ? write_row(shared, table, change, stamp, code, error)
               : step;
}

enum sqlite_step sqlite_shared_apply(struct sqlite_shared *shared,
                                     const struct sync_table *table,
                                     const struct sqlite_change *change,
                                     struct stamp stamp,
                                     struct sink_conflict *conflict, char *code,
                                     struct error *error)
{
    struct there there;
    int64_t latest = shared->now_ms + STAMP_AHEAD_MAX_MS;
    if (stamp_is_time(table) && stamp.value > latest)
        stamp.value = latest;
    if (conflict)
        conflict->outcome = CONFLICT_OUTCOME_COUNT;
    if (find(shared, change->operation, &there, error) != 0)
        return STEP_FAILED;
    if (there.exists && strcmp(there.system_id, change->system_id) != 0 &&
        there.stamp > stamp.seen) {
        if (!conflict)
            return STEP_REFUSED;
        if (table->target[0] && !there.deleted &&
            find_typed(shared, table, change->operation, &there, error) != 0)
            return STEP_FAILED;
        tell(table, stamp.value, change, &there, conflict);
        if (conflict->outcome != CONFLICT_WON)
            return STEP_DONE;
    }
    return write_both(shared, table, change, stamp.value, code, error);
}
