/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_cursor FILE CONNINFO TABLE: the single-purpose loop that `drain` is
 * compared with.  It carries the sync_queue of an SQLite file to one table
 * of PostgreSQL and nothing else: 2 connections, batches of 500 by unnest of
 * binary arrays, read while others are applied, a cursor instead of marks,
 * written after each batch.  No order, no ledger, no priorities, no errors.
 *
 * Prints {"rows": N, "seconds": S, "cpu_seconds": C} of this process.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/clock.h"
#include "workers/sync/pgsql_arrays.h"

#define LINES 2
#define BATCH 500

static struct {
    PGconn *line[LINES];
    struct pg_array arrays[LINES][2]; /* record, data */
    char sql[400];
    sqlite3 *db;
    sqlite3_stmt *read, *advance;
    sqlite3_int64 last, rows;
} loop;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_cursor: %s: %s\n", what, why);
    exit(1);
}

static sqlite3_stmt *prepare(const char *sql)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(loop.db, sql, -1, &statement, NULL) != SQLITE_OK)
        die(sql, sqlite3_errmsg(loop.db));
    return statement;
}

static void open_all(char **argv)
{
    if (sqlite3_open(argv[1], &loop.db) != SQLITE_OK)
        die(argv[1], sqlite3_errmsg(loop.db));
    sqlite3_exec(loop.db,
                 "PRAGMA synchronous = NORMAL;"
                 "CREATE TABLE IF NOT EXISTS cursor (id INTEGER);"
                 "INSERT INTO cursor VALUES (0)",
                 NULL, NULL, NULL);
    loop.read = prepare("SELECT id, record_id, record_data FROM sync_queue"
                        " WHERE id > ? ORDER BY id LIMIT 500");
    loop.advance = prepare("UPDATE cursor SET id = ?");
    snprintf(loop.sql, sizeof loop.sql,
             "INSERT INTO %s (system_id, table_name, record_id, data)"
             " SELECT 'h', 'bench', u.r, u.d::jsonb"
             " FROM unnest($1::text[], $2::text[]) AS u (r, d)"
             " ON CONFLICT (system_id, table_name, record_id) DO UPDATE"
             " SET data = excluded.data, updated_at = now(), deleted = false",
             argv[3]);
    for (int i = 0; i < LINES; i++) {
        loop.line[i] = PQconnectdb(argv[2]);
        if (PQstatus(loop.line[i]) != CONNECTION_OK)
            die("connect", PQerrorMessage(loop.line[i]));
        PQclear(PQprepare(loop.line[i], "put", loop.sql, 2, NULL));
        for (int n = 0; n < 2; n++)
            pg_array_init(&loop.arrays[i][n], PG_OID_TEXT);
    }
}

static const char *column(int number)
{
    return (const char *)sqlite3_column_text(loop.read, number);
}

/* Reads the next rows and sends them; 0 when there are none. */
static int send_next(int line)
{
    struct pg_array *arrays = loop.arrays[line];
    const char *values[2];
    int count = 0, sizes[2], formats[2] = {1, 1};
    pg_array_reset(&arrays[0]);
    pg_array_reset(&arrays[1]);
    sqlite3_bind_int64(loop.read, 1, loop.last);
    for (; sqlite3_step(loop.read) == SQLITE_ROW; count++) {
        loop.last = sqlite3_column_int64(loop.read, 0);
        for (int n = 0; n < 2; n++) {
            const char *text = column(n + 1);
            pg_array_add_text(&arrays[n], text,
                              (size_t)sqlite3_column_bytes(loop.read, n + 1));
        }
    }
    sqlite3_reset(loop.read);
    if (!count)
        return 0;
    for (int n = 0; n < 2; n++) {
        struct pg_parameter parameter;
        pg_array_parameter(&arrays[n], &parameter);
        values[n] = parameter.value;
        sizes[n] = parameter.size_bytes;
    }
    if (!PQsendQueryPrepared(loop.line[line], "put", 2, values, sizes, formats,
                             0))
        die("send", PQerrorMessage(loop.line[line]));
    loop.rows += count;
    return count;
}

static void finish(int line)
{
    PGresult *result;
    while ((result = PQgetResult(loop.line[line])) != NULL) {
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            die("apply", PQresultErrorMessage(result));
        PQclear(result);
    }
    sqlite3_bind_int64(loop.advance, 1, loop.last);
    sqlite3_step(loop.advance);
    sqlite3_reset(loop.advance);
}

static int wait_for_one(const int *busy)
{
    struct pollfd polls[LINES];
    for (int i = 0; i < LINES; i++)
        polls[i] = (struct pollfd){.fd = busy[i] ? PQsocket(loop.line[i]) : -1,
                                   .events = POLLIN};
    poll(polls, LINES, -1);
    for (int i = 0; i < LINES; i++)
        if (polls[i].revents) {
            PQconsumeInput(loop.line[i]);
            if (!PQisBusy(loop.line[i]))
                return i;
        }
    return -1;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    int busy[LINES];
    if (argc != 4)
        die("usage", "bench_cursor FILE CONNINFO TABLE");
    open_all(argv);
    uint64_t started_ns = clock_monotonic_ns();
    double cpu = cpu_seconds();
    for (int i = 0; i < LINES; i++)
        busy[i] = send_next(i);
    while (busy[0] || busy[1]) {
        int line = wait_for_one(busy);
        if (line >= 0) {
            finish(line);
            busy[line] = send_next(line);
        }
    }
    printf("{\"rows\": %lld, \"seconds\": %.4f, \"cpu_seconds\": %.4f}\n",
           (long long)loop.rows,
           (double)(clock_monotonic_ns() - started_ns) / 1e9,
           cpu_seconds() - cpu);
    return 0;
}
