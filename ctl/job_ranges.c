/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/job_ranges.h"

#include <sqlite3.h>

#include "ctl/report.h"

/* Not of the rows that are over: these are wide, and the more the longer it
 * takes. */
static const char waiting_sql[] =
    "SELECT (SELECT count(*) FROM generation_jobs INDEXED BY "
    "generation_jobs_queued WHERE state = 'queued' AND priority = ?3 AND "
    "id BETWEEN ?1 AND ?2) + (SELECT count(*) FROM generation_jobs "
    "INDEXED BY generation_jobs_claimed WHERE state = 'claimed' AND "
    "id BETWEEN ?1 AND ?2) + (SELECT count(*) FROM generation_jobs WHERE "
    "?4 AND state = 'waiting' AND id BETWEEN ?1 AND ?2)";

void job_ranges_add(struct job_ranges *jobs, int64_t id)
{
    if (jobs->count > 0 && jobs->ranges[jobs->count - 1].last + 1 == id)
        jobs->ranges[jobs->count - 1].last = id;
    else
        jobs->ranges[jobs->count++] = (struct id_range){id, id};
}

static int64_t waiting_in(const struct job_ranges *jobs,
                          const struct id_range *range)
{
    sqlite3_stmt *statement = jobs->waiting;
    int64_t waiting = -1;
    if (sqlite3_bind_int64(statement, 1, range->first) == SQLITE_OK &&
        sqlite3_bind_int64(statement, 2, range->last) == SQLITE_OK &&
        sqlite3_bind_int64(statement, 3, jobs->priority) == SQLITE_OK &&
        sqlite3_bind_int64(statement, 4, jobs->wait_for_others) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        waiting = sqlite3_column_int64(statement, 0);
    return sqlite3_reset(statement) == SQLITE_OK ? waiting : -1;
}

int64_t job_ranges_waiting(struct job_ranges *jobs, struct store_reader *reader,
                           struct error *error)
{
    sqlite3 *db = store_reader_db(reader);
    int64_t all = 0;
    bool good = jobs->waiting != NULL ||
                sqlite3_prepare_v2(db, waiting_sql, -1, &jobs->waiting, NULL) ==
                    SQLITE_OK;
    for (size_t i = 0; good && i < jobs->count; i++) {
        int64_t waiting = waiting_in(jobs, &jobs->ranges[i]);
        good = waiting >= 0;
        all += waiting;
    }
    return good ? all : report_unreadable(reader, error);
}

void job_ranges_forget(struct job_ranges *jobs)
{
    sqlite3_finalize(jobs->waiting);
    jobs->waiting = NULL;
}

json_t *job_ranges_query(const struct job_ranges *jobs,
                         struct store_reader *reader, const char *sql,
                         struct error *error)
{
    json_t *all = json_array();
    for (size_t i = 0; i < jobs->count; i++) {
        const int64_t range[] = {jobs->ranges[i].first, jobs->ranges[i].last};
        json_t *rows = report_rows(reader, sql, range, 2, error);
        if (rows == NULL) {
            json_decref(all);
            return NULL;
        }
        json_array_extend(all, rows);
        json_decref(rows);
    }
    return all;
}
