/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/queue_leases.h"

#include <sqlite3.h>

#include "common/store/reader.h"

#define IS_OVER                                                                \
    "(j.state IS NULL OR j.state IN ('done', 'failed', 'cancelled'))"
#define HELD                                                                   \
    "FROM central_jobs c LEFT JOIN generation_jobs j ON j.id = c.job_id "      \
    "WHERE c.report IS NULL "

static const char count_sql[] =
    "SELECT count(*), coalesce(sum(" IS_OVER "), 0) " HELD;
static const char left_sql[] =
    "SELECT coalesce(sum(j.state = 'queued'), 0), coalesce(sum(j.state = "
    "'claimed'), 0) " HELD "AND NOT EXISTS (SELECT 1 FROM generation_edges e "
    "WHERE e.predecessor = c.job_id)";
static const char leases_sql[] =
    "SELECT c.job_id, c.central_id, c.token " HELD "AND NOT (?1 AND " IS_OVER
    ") ORDER BY c.job_id";
/* What failed for a reason that may pass, all retries here included, may go
 * well elsewhere. */
static const char ends_sql[] =
    "SELECT c.job_id, c.central_id, c.token, CASE WHEN j.state IS NULL THEN "
    "'failed' WHEN j.state = 'failed' AND coalesce(json_extract(j.result, "
    "'$.temporary'), 1) THEN 'retry' ELSE j.state END, coalesce(j.result, "
    "json_object('error', coalesce(j.error, 'the host has no record of the "
    "job any more'))) " HELD "AND " IS_OVER " ORDER BY c.job_id LIMIT ?1";

static int unreadable(struct store_reader *reader, sqlite3_stmt *rows,
                      struct error *error)
{
    error_set(error, ERROR_IO,
              "cannot read the leases of central jobs from the local store: "
              "%s",
              sqlite3_errmsg(store_reader_db(reader)));
    sqlite3_finalize(rows);
    return -1;
}

static int no_memory(sqlite3_stmt *rows, struct error *error)
{
    sqlite3_finalize(rows);
    return error_set(error, ERROR_SYSTEM,
                     "no memory for the leases of central jobs");
}

static int prepare(struct store_reader *reader, const char *sql,
                   int64_t argument, sqlite3_stmt **rows, struct error *error)
{
    *rows = NULL;
    if (sqlite3_prepare_v2(store_reader_db(reader), sql, -1, rows, NULL) !=
        SQLITE_OK)
        return unreadable(reader, *rows, error);
    if (sqlite3_bind_parameter_count(*rows) > 0)
        sqlite3_bind_int64(*rows, 1, argument);
    return 0;
}

/* The two numbers of one row. */
static int read_two(struct store_reader *reader, const char *sql,
                    int64_t *first, int64_t *second, struct error *error)
{
    sqlite3_stmt *row;
    if (prepare(reader, sql, 0, &row, error) != 0)
        return -1;
    if (sqlite3_step(row) != SQLITE_ROW)
        return unreadable(reader, row, error);
    *first = sqlite3_column_int64(row, 0);
    *second = sqlite3_column_int64(row, 1);
    sqlite3_finalize(row);
    return 0;
}

int queue_leases_count(struct store_reader *reader, int64_t *held,
                       int64_t *over, struct error *error)
{
    return read_two(reader, count_sql, held, over, error);
}

int queue_leases_left(struct store_reader *reader, int64_t *unbegun,
                      int64_t *begun, struct error *error)
{
    return read_two(reader, left_sql, unbegun, begun, error);
}

static struct queue_lease lease_of(sqlite3_stmt *row)
{
    return (struct queue_lease){.job_id = sqlite3_column_int64(row, 0),
                                .central_id = sqlite3_column_int64(row, 1),
                                .token = sqlite3_column_int64(row, 2)};
}

int queue_leases_read(struct store_reader *reader, bool live_only,
                      struct arena *arena, struct queue_lease **leases,
                      size_t *count, struct error *error)
{
    sqlite3_stmt *rows;
    int64_t held, over;
    *count = 0;
    if (queue_leases_count(reader, &held, &over, error) != 0 ||
        prepare(reader, leases_sql, live_only, &rows, error) != 0)
        return -1;
    *leases = arena_calloc(arena, (size_t)held + 1, sizeof(**leases));
    if (*leases == NULL)
        return no_memory(rows, error);
    int step = SQLITE_DONE;
    while (*count < (size_t)held && (step = sqlite3_step(rows)) == SQLITE_ROW)
        (*leases)[(*count)++] = lease_of(rows);
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        return unreadable(reader, rows, error);
    sqlite3_finalize(rows);
    return 0;
}

int queue_ends_read(struct store_reader *reader, size_t most,
                    struct arena *arena, struct queue_end *ends, size_t *count,
                    struct error *error)
{
    sqlite3_stmt *rows;
    *count = 0;
    if (prepare(reader, ends_sql, (int64_t)most, &rows, error) != 0)
        return -1;
    int step = SQLITE_DONE;
    while (*count < most && (step = sqlite3_step(rows)) == SQLITE_ROW) {
        struct queue_end *end = &ends[(*count)++];
        end->lease = lease_of(rows);
        end->outcome =
            arena_strdup(arena, (const char *)sqlite3_column_text(rows, 3));
        end->told =
            arena_strdup(arena, (const char *)sqlite3_column_text(rows, 4));
        if (end->outcome == NULL || end->told == NULL)
            return no_memory(rows, error);
    }
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        return unreadable(reader, rows, error);
    sqlite3_finalize(rows);
    return 0;
}
