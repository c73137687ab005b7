/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_store [ROUNDS [ROWS]]: the local store beside plain SQLite, in one
 * run, sides interleaved; medians.  Rows have about 200 bytes of JSON.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/store/reader.h"
#include "common/store/writer.h"

#define GROUP      500
#define BATCH      1000
#define ROUNDS_MAX 101

static unsigned rows = 100000;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_store: %s: %s\n", what, why);
    exit(1);
}

static const char *row_data(unsigned i, char *data, size_t size)
{
    snprintf(
        data, size,
        "{\"session\":\"5f0c1a52-93c7-4be4-9d2b-%012u\",\"tool\":\"Edit\","
        "\"file\":\"src/module_%u/handler_%u.py\",\"ok\":true,\"lines\":%u,"
        "\"note\":\"the change was applied to the file as it was asked "
        "for\"}",
        i, i % 97, i % 1013, i % 400);
    return data;
}

static void remove_dir(const char *dir)
{
    static const char *const names[] = {
        "tidemill.db",  "tidemill.db-wal", "tidemill.db-shm", "plain.db",
        "plain.db-wal", "plain.db-shm",    "tidemill.lock"};
    char path[256];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

/* The peer: the same columns in a plain table, 500 rows a transaction. */
static double plain_append(const char *dir)
{
    char path[256];
    char data[400];
    char record[32];
    sqlite3 *db;
    sqlite3_stmt *insert;
    snprintf(path, sizeof(path), "%s/plain.db", dir);
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                     "CREATE TABLE q (id INTEGER PRIMARY KEY AUTOINCREMENT,"
                     " operation TEXT, table_name TEXT, record_id TEXT,"
                     " record_data TEXT, priority TEXT, created_ms INTEGER)",
                     NULL, NULL, NULL) != SQLITE_OK)
        die("plain", sqlite3_errmsg(db));
    sqlite3_prepare_v2(db,
                       "INSERT INTO q (operation, table_name, record_id, "
                       "record_data, priority, created_ms) "
                       "VALUES ('INSERT', ?, ?, ?, 'normal', ?)",
                       -1, &insert, NULL);
    uint64_t start = clock_monotonic_ns();
    for (unsigned i = 0; i < rows; i++) {
        if (i % GROUP == 0)
            sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
        snprintf(record, sizeof(record), "record-%u", i);
        row_data(i, data, sizeof(data));
        sqlite3_bind_text(insert, 1, "events", -1, SQLITE_STATIC);
        sqlite3_bind_text(insert, 2, record, -1, SQLITE_STATIC);
        sqlite3_bind_text(insert, 3, data, -1, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 4, clock_wall_ms());
        if (sqlite3_step(insert) != SQLITE_DONE)
            die("plain", sqlite3_errmsg(db));
        sqlite3_reset(insert);
        if (i % GROUP == GROUP - 1)
            sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    }
    double seconds = (double)(clock_monotonic_ns() - start) / 1e9;
    sqlite3_finalize(insert);
    sqlite3_close(db);
    return rows / seconds;
}

static void run_group(struct store_writer *writer,
                      struct store_request *request, uint32_t caller,
                      struct arena *arena, struct store_answer *answer)
{
    struct error error;
    if (store_writer_begin(writer, &error) != 0)
        die("begin", error.text);
    store_writer_run(writer, caller, request, arena, answer);
    if (answer->code != ERROR_NONE)
        die("request", answer->text);
    if (store_writer_commit(writer, &error) != 0)
        die("commit", error.text);
    if (store_writer_wal_bytes(writer) > (4 << 20) &&
        store_writer_checkpoint(writer, &error) != 0)
        die("checkpoint", error.text);
}

/* mixed: the four priorities in turn, so that order across priorities has to
 * be looked after. */
static double store_append(struct store_writer *writer, bool mixed)
{
    static char data[GROUP][400];
    static char records[GROUP][32];
    static struct store_call calls[GROUP];
    struct store_request request = {.calls = calls, .call_count = GROUP};
    struct store_answer answer;
    struct arena arena;
    arena_init(&arena, 64u << 20);
    uint64_t start = clock_monotonic_ns();
    for (unsigned i = 0; i < rows; i += GROUP) {
        for (unsigned k = 0; k < GROUP; k++) {
            unsigned n = i + k;
            snprintf(records[k], sizeof(records[k]), "record-%u", n);
            row_data(n, data[k], sizeof(data[k]));
            calls[k] = (struct store_call){
                .statement = STATEMENT_OUTBOX_APPEND,
                .argument_count = 7,
                .arguments = {value_text("INSERT"), value_text("events"),
                              value_text(records[k]), value_text(data[k]),
                              value_integer(mixed ? (int)(n % 4) : 2),
                              value_null(),
                              value_integer((int64_t)n * 7919 + 1)}};
        }
        run_group(writer, &request, CALLER_CLI, &arena, &answer);
        arena_reset(&arena);
    }
    double seconds = (double)(clock_monotonic_ns() - start) / 1e9;
    arena_deinit(&arena);
    return rows / seconds;
}

static unsigned carry_batch(struct store_writer *writer,
                            struct store_reader *reader, struct arena *arena)
{
    struct store_call claim = {
        .statement = STATEMENT_BATCH_CLAIM,
        .argument_count = 5,
        .arguments = {value_integer(0), value_integer(1), value_integer(BATCH),
                      value_integer(3), value_integer(1000)}};
    struct store_request request = {.calls = &claim, .call_count = 1};
    struct store_answer answer;
    struct outbox_batch *batch;
    struct outbox_operation *operations;
    struct error error;
    size_t count;
    run_group(writer, &request, CALLER_SYNC, arena, &answer);
    if (outbox_batches_parse(answer.results, arena, &batch, &count, &error) !=
        0)
        die("parse", error.text);
    if (count == 0)
        return 0;
    if (outbox_batch_read(reader, batch, arena, &operations, &count, &error) !=
        0)
        die("read", error.text);
    int64_t counts[OUTBOX_PRIORITIES] = {0};
    for (size_t i = 0; i < count; i++)
        counts[operations[i].priority]++;
    struct store_call calls[5];
    struct value id = value_integer(batch->batch_id);
    request.calls = calls;
    request.call_count = 0;
    for (int p = 0; p < OUTBOX_PRIORITIES; p++)
        if (counts[p] > 0)
            calls[request.call_count++] = (struct store_call){
                .statement = STATEMENT_BATCH_COUNT,
                .argument_count = 4,
                .arguments = {id, value_text("events"), value_integer(p),
                              value_integer(counts[p])}};
    calls[request.call_count++] = (struct store_call){
        .statement = STATEMENT_BATCH_SETTLE,
        .argument_count = 8,
        .arguments = {id, value_integer(0), value_integer(1),
                      value_integer((int64_t)count), value_integer(1),
                      value_integer(1), value_integer(2),
                      value_text("request")}};
    run_group(writer, &request, CALLER_SYNC, arena, &answer);
    return (unsigned)count;
}

static double store_carry(struct store_writer *writer,
                          struct store_reader *reader)
{
    struct arena arena;
    arena_init(&arena, 64u << 20);
    uint64_t start = clock_monotonic_ns();
    unsigned done = 0;
    unsigned batch;
    while ((batch = carry_batch(writer, reader, &arena)) > 0) {
        done += batch;
        arena_reset(&arena);
    }
    double seconds = (double)(clock_monotonic_ns() - start) / 1e9;
    arena_deinit(&arena);
    if (done != rows)
        die("carry", "rows are missing");
    return rows / seconds;
}

static void store_round(bool mixed, double *append, double *carry)
{
    char dir[] = "/tmp/bench-store-XXXXXX";
    struct store_writer *writer;
    struct store_reader *reader;
    struct error error;
    if (mkdtemp(dir) == NULL)
        die("mkdtemp", dir);
    if (store_writer_open(&writer, dir, "bench", &error) != 0)
        die("open", error.text);
    if (store_reader_open(&reader, dir, &error) != 0)
        die("open", error.text);
    *append = store_append(writer, mixed);
    *carry = store_carry(writer, reader);
    store_reader_close(&reader);
    store_writer_close(&writer);
    remove_dir(dir);
}

static int compare_reals(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), compare_reals);
    return values[count / 2];
}

int main(int argc, char **argv)
{
    static double plain[ROUNDS_MAX], append[2][ROUNDS_MAX],
        carry[2][ROUNDS_MAX];
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 3;
    if (argc > 2)
        rows = (unsigned)atoi(argv[2]) / BATCH * BATCH;
    if (rounds < 1 || rounds > ROUNDS_MAX || rows == 0)
        die("usage", "bench_store [ROUNDS [ROWS]]");
    for (unsigned i = 0; i < rounds; i++) {
        char dir[] = "/tmp/bench-store-XXXXXX";
        if (mkdtemp(dir) == NULL)
            die("mkdtemp", dir);
        plain[i] = plain_append(dir);
        remove_dir(dir);
        store_round(false, &append[0][i], &carry[0][i]);
        store_round(true, &append[1][i], &carry[1][i]);
    }
    double peer = median(plain, rounds);
    printf("plain INSERT, %d a transaction     %9.0f rows/s\n", GROUP, peer);
    for (int mixed = 0; mixed < 2; mixed++) {
        double a = median(append[mixed], rounds);
        printf("append, %-14s             %9.0f rows/s  %.2f of plain\n",
               mixed ? "4 priorities" : "1 priority", a, a / peer);
        printf("claim, read, settle, %-12s  %9.0f rows/s\n",
               mixed ? "4 priorities" : "1 priority",
               median(carry[mixed], rounds));
    }
    return 0;
}
