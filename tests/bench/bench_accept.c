/* SPDX-License-Identifier: Apache-2.0
 *
 * How many operations a second are accepted durably from several clients,
 * each waiting for the answer before it sends the next:
 *
 *   bench_accept ours DIR SECONDS CLIENTS   through DIR/store.sock
 *   bench_accept peer DIR SECONDS CLIENTS   into DIR/peer.db, each by itself
 *   bench_accept rows DIR COUNT             into DIR/peer.db by one process,
 *                                           500 rows a transaction
 *   bench_accept serve DIR                  a store without a daemon, until
 *                                           standard input ends
 *
 * The first two print one line: operations/s, then p50, p99 and the worst
 * latency in microseconds; `rows` prints rows/s.
 */
#include <errno.h>
#include <event2/event.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/store/client.h"
#include "common/store/writer.h"
#include "workers/store/group_commit.h"

#define CLIENTS_MAX        64
#define SAMPLES_MAX        (1u << 20)
#define ROWS_A_TRANSACTION 500

struct tally {
    uint64_t operations;
    uint32_t latencies_us[SAMPLES_MAX];
};

struct plan {
    const char *folder;
    uint64_t start_ns, end_ns;
    unsigned number;
    struct tally *tally;
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_accept: %s: %s\n", what, why);
    exit(1);
}

/* Some 200 bytes, as PERFORMANCE.md's rows. */
static char *make_data(void)
{
    static char data[256];
    snprintf(
        data, sizeof(data),
        "{\"tool\":\"Bash\",\"command\":\"make check\",\"output\":\"%0150d\"}",
        7);
    return data;
}

static void note(struct plan *plan, uint64_t began_ns)
{
    struct tally *tally = plan->tally;
    uint64_t took = (clock_monotonic_ns() - began_ns) / 1000;
    tally->latencies_us[tally->operations++ % SAMPLES_MAX] = (uint32_t)took;
}

static void wait_for_start(const struct plan *plan)
{
    while (clock_monotonic_ns() < plan->start_ns)
        usleep(200);
}

static void run_ours(struct plan *plan)
{
    struct config config = {.runtime_dir = plan->folder,
                            .state_dir = plan->folder,
                            .system_id = "bench"};
    struct store_session *session = NULL;
    struct error error;
    struct arena arena;
    char record[64];
    arena_init(&arena, 16u << 20);
    if (store_session_open(&session, &config, 5000, &error) != 0)
        fail("open", error.text);
    if (store_session_is_direct(session))
        fail("open", "there is no store behind the socket");
    wait_for_start(plan);
    for (uint64_t began = clock_monotonic_ns(); began < plan->end_ns;
         began = clock_monotonic_ns()) {
        struct store_answer answer;
        snprintf(record, sizeof(record), "r%u-%llu", plan->number,
                 (unsigned long long)plan->tally->operations);
        struct store_call call = {
            .statement = STATEMENT_OUTBOX_APPEND,
            .argument_count = 7,
            .arguments = {value_text("INSERT"), value_text("events"),
                          value_text(record), value_text(make_data()),
                          value_integer(2), value_null(),
                          value_integer(store_token())}};
        arena_reset(&arena);
        if (store_session_call(session, &(struct store_request){&call, 1},
                               &arena, &answer, &error) != 0)
            fail("append", error.text);
        note(plan, began);
    }
    store_session_close(&session);
}

static sqlite3 *open_peer(const char *folder)
{
    char path[4096];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/peer.db", folder);
    if (sqlite3_open(path, &db) != SQLITE_OK)
        fail(path, sqlite3_errmsg(db));
    sqlite3_busy_timeout(db, 10000);
    if (sqlite3_exec(db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                     "CREATE TABLE IF NOT EXISTS sync_queue ("
                     " id INTEGER PRIMARY KEY AUTOINCREMENT,"
                     " operation TEXT NOT NULL CHECK (operation IN"
                     "  ('INSERT','UPDATE','DELETE')),"
                     " table_name TEXT NOT NULL, record_id TEXT NOT NULL,"
                     " record_data JSON,"
                     " priority TEXT NOT NULL DEFAULT 'normal' CHECK"
                     "  (priority IN ('low','normal','high','urgent')),"
                     " created_at TIMESTAMP NOT NULL DEFAULT"
                     "  CURRENT_TIMESTAMP,"
                     " synced_at TIMESTAMP,"
                     " retry_count INTEGER NOT NULL DEFAULT 0,"
                     " error_message TEXT)",
                     NULL, NULL, NULL) != SQLITE_OK)
        fail(path, sqlite3_errmsg(db));
    return db;
}

static sqlite3_stmt *prepare_insert(sqlite3 *db)
{
    sqlite3_stmt *insert = NULL;
    if (sqlite3_prepare_v2(db,
                           "INSERT INTO sync_queue (operation, table_name,"
                           " record_id, record_data)"
                           " VALUES ('INSERT', 'events', ?, ?)",
                           -1, &insert, NULL) != SQLITE_OK)
        fail("prepare", sqlite3_errmsg(db));
    return insert;
}

static void insert_row(sqlite3 *db, sqlite3_stmt *insert, const char *record)
{
    sqlite3_bind_text(insert, 1, record, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(insert, 2, make_data(), -1, SQLITE_STATIC);
    if (sqlite3_step(insert) != SQLITE_DONE)
        fail("insert", sqlite3_errmsg(db));
    sqlite3_reset(insert);
}

static int run_rows(const char *folder, unsigned count)
{
    sqlite3 *db = open_peer(folder);
    sqlite3_stmt *insert = prepare_insert(db);
    char record[64];
    uint64_t began_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < count; i++) {
        if (i % ROWS_A_TRANSACTION == 0)
            sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        snprintf(record, sizeof(record), "r%u", i);
        insert_row(db, insert, record);
        if ((i % ROWS_A_TRANSACTION == ROWS_A_TRANSACTION - 1 ||
             i == count - 1) &&
            sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
            fail("commit", sqlite3_errmsg(db));
    }
    double seconds = (double)(clock_monotonic_ns() - began_ns) / 1e9;
    sqlite3_finalize(insert);
    sqlite3_close(db);
    printf("%.0f\n", count / seconds);
    return 0;
}

static void run_peer(struct plan *plan)
{
    sqlite3 *db = open_peer(plan->folder);
    sqlite3_stmt *insert = prepare_insert(db);
    char record[64];
    wait_for_start(plan);
    for (uint64_t began = clock_monotonic_ns(); began < plan->end_ns;
         began = clock_monotonic_ns()) {
        snprintf(record, sizeof(record), "r%u-%llu", plan->number,
                 (unsigned long long)plan->tally->operations);
        insert_row(db, insert, record);
        note(plan, began);
    }
    sqlite3_finalize(insert);
    sqlite3_close(db);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void print_tallies(const struct tally *tallies, unsigned clients,
                          double seconds)
{
    uint64_t operations = 0;
    size_t count = 0;
    uint32_t *all = malloc((size_t)clients * SAMPLES_MAX * sizeof(*all));
    if (all == NULL)
        fail("memory", strerror(errno));
    for (unsigned i = 0; i < clients; i++) {
        uint64_t own = tallies[i].operations;
        operations += own;
        own = own > SAMPLES_MAX ? SAMPLES_MAX : own;
        memcpy(all + count, tallies[i].latencies_us, own * sizeof(*all));
        count += own;
    }
    if (count == 0)
        fail("run", "nothing was accepted");
    qsort(all, count, sizeof(*all), compare);
    printf("%.0f %u %u %u\n", (double)operations / seconds, all[count / 2],
           all[count * 99 / 100], all[count - 1]);
    free(all);
}

static int run_clients(void (*run)(struct plan *), const char *folder,
                       double seconds, unsigned clients)
{
    size_t size = clients * sizeof(struct tally);
    struct tally *tallies = mmap(NULL, size, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tallies == MAP_FAILED)
        fail("memory", strerror(errno));
    uint64_t start_ns = clock_monotonic_ns() + 100000000;
    for (unsigned i = 0; i < clients; i++) {
        pid_t pid = fork();
        if (pid < 0)
            fail("fork", strerror(errno));
        if (pid > 0)
            continue;
        struct plan plan = {.folder = folder,
                            .start_ns = start_ns,
                            .end_ns = start_ns + (uint64_t)(seconds * 1e9),
                            .number = i,
                            .tally = &tallies[i]};
        run(&plan);
        _exit(0);
    }
    int status, result = 0;
    while (wait(&status) > 0)
        result |= status;
    if (result != 0)
        fail("client", "failed");
    print_tallies(tallies, clients, seconds);
    return 0;
}

/* --- serve --- */

static void on_input_end(evutil_socket_t fd, short what, void *base)
{
    char byte;
    (void)what;
    if (read(fd, &byte, 1) <= 0)
        event_base_loopbreak(base);
}

static int serve(const char *folder)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct error error;
    struct group_options options = {.base = event_base_new(),
                                    .state_dir = folder};
    snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/store.sock",
             folder);
    unlink(address.sun_path);
    options.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(options.listener, (struct sockaddr *)&address, sizeof(address)) !=
            0 ||
        listen(options.listener, 128) != 0)
        fail(address.sun_path, strerror(errno));
    if (store_writer_open(&options.writer, folder, "bench", &error) != 0)
        fail("store", error.text);
    struct group_commit *group = group_commit_new(&options, &error);
    if (group == NULL)
        fail("store", error.text);
    struct event *end =
        event_new(options.base, STDIN_FILENO, EV_READ | EV_PERSIST,
                  on_input_end, options.base);
    event_add(end, NULL);
    puts("ready");
    fflush(stdout);
    event_base_dispatch(options.base);
    event_free(end);
    group_commit_free(&group);
    store_writer_close(&options.writer);
    close(options.listener);
    event_base_free(options.base);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    if (argc == 4 && strcmp(argv[1], "rows") == 0 && atoi(argv[3]) > 0)
        return run_rows(argv[2], (unsigned)atoi(argv[3]));
    unsigned clients = argc == 5 ? (unsigned)atoi(argv[4]) : 0;
    double seconds = argc == 5 ? atof(argv[3]) : 0;
    if (clients == 0 || clients > CLIENTS_MAX || seconds <= 0) {
        fputs("usage: bench_accept ours|peer DIR SECONDS CLIENTS\n"
              "       bench_accept rows DIR COUNT\n"
              "       bench_accept serve DIR\n",
              stderr);
        return 64;
    }
    if (strcmp(argv[1], "ours") == 0)
        return run_clients(run_ours, argv[2], seconds, clients);
    sqlite3_close(open_peer(argv[2])); /* made before the race */
    return run_clients(run_peer, argv[2], seconds, clients);
}
