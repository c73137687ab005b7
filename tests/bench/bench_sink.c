/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_sink [ROUNDS [OPERATIONS [shared]]]: operations of 200 bytes of JSON
 * straight into the pgsql sink, by batch size, against COPY of the same rows
 * into a table with the same columns and key.  One server, one connection each,
 * sides taking turns; prints the medians of the rounds as JSON lines.  With
 * `shared` the table is one that several hosts write.
 */
#include <event2/event.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "tests/unit/postgres_cluster.h"
#include "workers/sync/sink.h"

static const size_t sizes[] = {50, 500, 1000, 5000};
#define SIZES      (sizeof sizes / sizeof *sizes)
#define ROUNDS_MAX 50

static struct sync_table shared_table = {.name = "tasks",
                                         .target = "",
                                         .key = "id",
                                         .conflict = CONFLICT_LAST_WRITE_WINS,
                                         .version = "",
                                         .updated_at = "updated_at",
                                         .base = ""};

static struct event_base *base;
static struct sink_result last;

static void on_done(void *self, const struct sink_result *result)
{
    (void)self;
    last = *result;
    event_base_loopbreak(base);
}

static void sql(PGconn *line, const char *text)
{
    PGresult *result = PQexec(line, text);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s: %s", text, PQerrorMessage(line));
        exit(1);
    }
    PQclear(result);
}

static struct outbox_operation *operations_make(size_t count)
{
    struct outbox_operation *list = calloc(count, sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
        char *id = malloc(40), *data = malloc(260);
        int id_size = snprintf(id, 40, "record-%08zu", i * 7919 % count);
        int data_size = snprintf(
            data, 260,
            "{\"session\": \"0123456789abcdef\", \"tool\": \"Edit\", "
            "\"number\": %zu, \"ok\": true, \"path\": "
            "\"src/module_%zu/file.c\","
            " \"note\": \"a line of words that somebody wrote about it, made "
            "as long as it takes\"}",
            i, i % 100);
        list[i] = (struct outbox_operation){.key = (int64_t)i + 1,
                                            .id = (int64_t)i + 1,
                                            .kind = OPERATION_INSERT,
                                            .table_name = "tasks",
                                            .table_name_size = 5,
                                            .record_id = id,
                                            .record_id_size = (size_t)id_size,
                                            .data = data,
                                            .data_size = (size_t)data_size};
    }
    return list;
}

static double sink_run(struct sink *sink, const struct outbox_operation *list,
                       size_t count, size_t size)
{
    static int64_t batch_id;
    uint64_t start = clock_monotonic_ns();
    for (size_t i = 0; i < count; i += size) {
        struct sink_batch batch = {.epoch = 1,
                                   .batch_id = ++batch_id,
                                   .operations = list + i,
                                   .count =
                                       count - i < size ? count - i : size};
        sink_pgsql.apply(sink, &batch, on_done, NULL);
        event_base_dispatch(base);
        if (last.outcome != SINK_APPLIED || last.refusal_count) {
            fprintf(stderr, "apply: %s\n", last.error.text);
            exit(1);
        }
    }
    return (double)count * 1e9 / (double)(clock_monotonic_ns() - start);
}

static double copy_run(PGconn *line, const struct outbox_operation *list,
                       size_t count)
{
    char row[512];
    uint64_t start = clock_monotonic_ns();
    PQclear(PQexec(line, "COPY peer (system_id, table_name, record_id, data)"
                         " FROM STDIN"));
    for (size_t i = 0; i < count; i++) {
        int n = snprintf(row, sizeof row, "bench\ttasks\t%s\t%s\n",
                         list[i].record_id, list[i].data);
        PQputCopyData(line, row, n);
    }
    PQputCopyEnd(line, NULL);
    PGresult *result = PQgetResult(line);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fprintf(stderr, "COPY: %s", PQerrorMessage(line));
        exit(1);
    }
    PQclear(result);
    while ((result = PQgetResult(line)))
        PQclear(result);
    return (double)count * 1e9 / (double)(clock_monotonic_ns() - start);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

struct figures {
    double rates[SIZES][ROUNDS_MAX], copies[SIZES][ROUNDS_MAX];
    double ratios[SIZES][ROUNDS_MAX];
};

static void configure(struct config *config, const struct cluster *cluster,
                      bool shared)
{
    config->system_id = "bench";
    config->tables = &shared_table;
    config->table_count = shared;
    config->database_conninfo = cluster->conninfo;
    config->database_host = config->database_name = config->database_user =
        config->database_password_env = config->database_password_file = "";
    config->database_application_name = "bench_sink";
    config->database_connect_timeout_ms = 10000;
    config->database_statement_timeout_ms = 60000;
    config->database_query_timeout_ms = 60000;
    config->database_port = 5432;
}

static void run_rounds(struct figures *f, size_t rounds, PGconn *line,
                       struct sink *sink, struct outbox_operation *list,
                       size_t count)
{
    for (size_t r = 0; r < rounds; r++)
        for (size_t s = 0; s < SIZES; s++) {
            sql(line, "TRUNCATE peer, tidemill.synced_records, "
                      "tidemill.shared_records");
            sql(line, "CHECKPOINT");
            f->copies[s][r] = copy_run(line, list, count);
            sql(line, "CHECKPOINT");
            f->rates[s][r] = sink_run(sink, list, count, sizes[s]);
            f->ratios[s][r] = f->rates[s][r] / f->copies[s][r];
        }
}

static void print(struct figures *f, size_t rounds)
{
    for (size_t s = 0; s < SIZES; s++)
        printf("{\"bench\":\"sink\",\"batch\":%zu,\"copy\":%.0f,"
               "\"rows_per_second\":%.0f,\"ratio\":%.2f}\n",
               sizes[s], median(f->copies[s], rounds),
               median(f->rates[s], rounds), median(f->ratios[s], rounds));
}

static void operations_free(struct outbox_operation *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free((char *)(size_t)list[i].record_id);
        free((char *)(size_t)list[i].data);
    }
    free(list);
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 1 ? (size_t)atoi(argv[1]) : 3;
    size_t count = argc > 2 ? (size_t)atol(argv[2]) : 100000;
    struct figures figures;
    struct cluster cluster;
    struct config config = {0};
    struct error error = {0};
    if (rounds < 1 || rounds > ROUNDS_MAX || cluster_make(&cluster) != 0)
        return 1;
    configure(&config, &cluster, argc > 3 && strcmp(argv[3], "shared") == 0);
    base = event_base_new();
    PGconn *line = PQconnectdb(cluster.conninfo);
    struct outbox_operation *list = operations_make(count);
    struct sink *sink = sink_pgsql.open(&config, base, &error);
    if (!list || !sink) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    sink_pgsql.probe(sink, on_done, NULL);
    event_base_dispatch(base);
    if (last.outcome != SINK_APPLIED) {
        fprintf(stderr, "probe: %s\n", last.error.text);
        return 1;
    }
    sql(line, "CREATE TABLE peer (LIKE tidemill.synced_records"
              " INCLUDING ALL)");
    run_rounds(&figures, rounds, line, sink, list, count);
    print(&figures, rounds);
    sink_pgsql.close(sink);
    PQfinish(line);
    event_base_free(base);
    operations_free(list, count);
    cluster_remove(&cluster);
    return 0;
}
