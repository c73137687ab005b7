/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs that wait for others.  A job waits while one of those before it is
 * not over: its row counts them, and an edge stands for each.  Predecessors
 * are named when a job is submitted, so they are older, and there are no
 * cycles.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/priority.h"
#include "common/store/writer_internal.h"

#define RECORD_BYTES_MAX (64u << 10)

static bool is_live(const char *state)
{
    return strcmp(state, "waiting") == 0 || strcmp(state, "queued") == 0 ||
           strcmp(state, "claimed") == 0;
}

/* One predecessor: 1 when it is not over, 0 when it is done, or -1. */
static int check_one(struct statement_call *call, sqlite3_stmt *row,
                     bool gone_is_done)
{
    long long id = sqlite3_column_int64(row, 0);
    const char *state = (const char *)sqlite3_column_text(row, 1);
    if (sqlite3_column_type(row, 0) != SQLITE_INTEGER)
        return error_set(call->error, ERROR_DATA,
                         "the jobs before a job are given as numbers");
    if (state == NULL && !gone_is_done)
        return error_set(call->error, ERROR_NEGATIVE,
                         "there is no job %lld to wait for; 'tidemill jobs "
                         "list' shows them",
                         id);
    if (state == NULL || strcmp(state, "done") == 0)
        return 0;
    if (is_live(state))
        return 1;
    return error_set(call->error, ERROR_NEGATIVE,
                     "job %lld, which must be done before, %s; 'tidemill jobs "
                     "retry %lld' tries it again",
                     id, strcmp(state, "failed") == 0 ? state : "was cancelled",
                     id);
}

int job_after_check(struct statement_call *call, const struct value *list,
                    bool gone_is_done, int64_t *waits)
{
    *waits = 0;
    if (list->type == VALUE_NULL)
        return 0;
    if (argument_is_json("the list of jobs before it", list, call->error) != 0)
        return -1;
    sqlite3_stmt *rows =
        SQL_QUERY(call->writer, SQL_JOB_AFTER, call->error, *list);
    if (rows == NULL)
        return -1;
    int count = 0;
    int step;
    while ((step = sql_step(call->writer, rows, call->error)) > 0) {
        int live =
            count++ < JOB_AFTER_MAX
                ? check_one(call, rows, gone_is_done)
                : error_set(call->error, ERROR_DATA,
                            "a job waits for at most %d others", JOB_AFTER_MAX);
        if (live < 0) {
            sqlite3_reset(rows);
            return -1;
        }
        *waits += live;
    }
    return step;
}

int job_after_insert(struct statement_call *call, int64_t id,
                     const struct value *list)
{
    if (list->type == VALUE_NULL)
        return 0;
    call->writer->no_edges = false;
    return SQL_RUN(call->writer, SQL_EDGES_INSERT, call->error,
                   value_integer(id), *list);
}

int job_record(struct statement_call *call, int64_t id,
               const struct value *json, int64_t now_ms)
{
    char record[24];
    int64_t operation;
    struct outbox_append append;
    snprintf(record, sizeof(record), "%lld", (long long)id);
    const struct value arguments[] = {
        value_text("INSERT"),
        value_text("generation_jobs"),
        value_text(record),
        *json,
        value_integer(PRIORITY_NORMAL),
        value_integer(now_ms),
        value_integer(0),
    };
    outbox_append_take(&append, arguments);
    if (outbox_append_check(&append, call->error) != 0)
        return -1;
    return outbox_append(call->writer, &append, &operation, call->error);
}

int job_record_end(struct statement_call *call, int64_t id, int64_t attempt,
                   const char *state, const struct value *why, int64_t now_ms)
{
    struct buffer json;
    buffer_init(&json, RECORD_BYTES_MAX);
    buffer_printf(&json,
                  "{\"job\":%lld,\"attempt\":%lld,\"state\":\"%s\","
                  "\"error\":",
                  (long long)id, (long long)attempt, state);
    buffer_append_json(&json, why->bytes, why->size);
    buffer_append_char(&json, '}');
    const struct value text = value_text_sized(json.bytes, json.size);
    int result = json.failed ? result_out_of_memory(call->error)
                             : job_record(call, id, &text, now_ms);
    buffer_deinit(&json);
    return result;
}

/* --- the end of a job --- */

struct id_list {
    int64_t *ids; /* in the arena */
    size_t count, room;
};

static int list_add(struct arena *arena, struct id_list *list, int64_t id)
{
    if (list->count == list->room) {
        size_t room = list->room * 2 + 64;
        int64_t *ids = arena_calloc(arena, room, sizeof(*ids));
        if (ids == NULL)
            return -1;
        if (list->count > 0)
            memcpy(ids, list->ids, list->count * sizeof(*ids));
        list->ids = ids;
        list->room = room;
    }
    list->ids[list->count++] = id;
    return 0;
}

static int read_dependents(struct statement_call *call, int64_t id,
                           struct id_list *list)
{
    list->count = 0;
    sqlite3_stmt *rows =
        SQL_QUERY(call->writer, SQL_EDGES_FROM, call->error, value_integer(id));
    if (rows == NULL)
        return -1;
    int step;
    while ((step = sql_step(call->writer, rows, call->error)) > 0) {
        if (list_add(call->arena, list, sqlite3_column_int64(rows, 0)) == 0)
            continue;
        sqlite3_reset(rows);
        return result_out_of_memory(call->error);
    }
    return step;
}

/* 1 when it was waiting; one that was cancelled already has edges left from
 * its other predecessors. */
static int drop_one(struct statement_call *call, int64_t id, const char *why,
                    int64_t now_ms)
{
    const struct value text = value_text(why);
    if (SQL_RUN(call->writer, SQL_JOB_DROP, call->error, value_integer(id),
                text, value_integer(now_ms)) != 0)
        return -1;
    if (sqlite3_changes(call->writer->db) == 0)
        return 0;
    return job_record_end(call, id, 0, "cancelled", &text, now_ms) != 0 ? -1
                                                                        : 1;
}

/* Breadth first: each job is cancelled once, so this ends. */
static int drop_dependents(struct statement_call *call, int64_t id,
                           const char *state, int64_t now_ms)
{
    char why[96];
    struct id_list over = {.ids = NULL};
    struct id_list dependents = {.ids = NULL};
    if (list_add(call->arena, &over, id) != 0)
        return result_out_of_memory(call->error);
    for (size_t i = 0; i < over.count; i++) {
        snprintf(why, sizeof(why), "job %lld, which it waited for, %s",
                 (long long)over.ids[i],
                 i == 0 && strcmp(state, "failed") == 0 ? state
                                                        : "was cancelled");
        if (read_dependents(call, over.ids[i], &dependents) != 0)
            return -1;
        for (size_t j = 0; j < dependents.count; j++) {
            int dropped = drop_one(call, dependents.ids[j], why, now_ms);
            if (dropped < 0)
                return -1;
            if (dropped > 0 &&
                list_add(call->arena, &over, dependents.ids[j]) != 0)
                return result_out_of_memory(call->error);
        }
        if (dependents.count > 0 &&
            SQL_RUN(call->writer, SQL_EDGES_DELETE, call->error,
                    value_integer(over.ids[i])) != 0)
            return -1;
    }
    return 0;
}

/* Mostly no job waits for another: that is looked for once, and known until
 * one does, or something is taken back. */
static int any_edges(struct statement_call *call)
{
    struct store_writer *writer = call->writer;
    if (writer->no_edges)
        return 0;
    sqlite3_stmt *any = sql_get(writer, SQL_EDGES_ANY, call->error);
    int found = any == NULL ? -1 : sql_step(writer, any, call->error);
    sqlite3_reset(any);
    writer->no_edges = found == 0;
    return found;
}

static int release_dependents(struct statement_call *call, int64_t id)
{
    struct store_writer *writer = call->writer;
    sqlite3_stmt *any =
        SQL_QUERY(writer, SQL_EDGES_FROM, call->error, value_integer(id));
    int found = any == NULL ? -1 : sql_step(writer, any, call->error);
    if (found <= 0)
        return found;
    sqlite3_reset(any);
    writer->topics |= TOPIC_JOB_QUEUED;
    if (SQL_RUN(writer, SQL_EDGES_RELEASE, call->error, value_integer(id)) != 0)
        return -1;
    return SQL_RUN(writer, SQL_EDGES_DELETE, call->error, value_integer(id));
}

int job_over(struct statement_call *call, int64_t id, const char *state,
             int64_t now_ms)
{
    call->writer->topics |= TOPIC_JOB_OVER;
    int edges = any_edges(call);
    return edges <= 0 ? edges
           : strcmp(state, "done") == 0
               ? release_dependents(call, id)
               : drop_dependents(call, id, state, now_ms);
}
