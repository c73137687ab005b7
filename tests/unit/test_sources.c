/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <pwd.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <event2/event.h>

#include "common/base/clock.h"
#include "common/store/writer.h"
#include "workers/store/source_file.h"
#include "workers/store/sources.h"

#define WAIT_MS 5000

static const char form[] =
    "CREATE TABLE sync_queue (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " operation TEXT NOT NULL, table_name TEXT NOT NULL,"
    " record_id TEXT NOT NULL, record_data JSON,"
    " priority TEXT NOT NULL DEFAULT 'normal',"
    " created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,"
    " synced_at TIMESTAMP, retry_count INTEGER NOT NULL DEFAULT 0,"
    " error_message TEXT)";

struct fixture {
    char folder[64];
    char path[128];
    struct sync_source source;
    struct source_file *file;
    struct arena arena;
    struct source_batch *batch;
    struct error error;
    int64_t cursor;
    char identity[SOURCE_IDENTITY_MAX];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    strcpy(f->folder, "/tmp/test_sources.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/app%%3f.db", f->folder);
    f->source =
        (struct sync_source){.name = "app", .path = f->path, .user = ""};
    f->file = source_file_new(&f->source);
    f->batch = malloc(sizeof(*f->batch));
    assert_non_null(f->file);
    assert_non_null(f->batch);
    arena_init(&f->arena, 16u << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    source_file_free(&f->file);
    arena_deinit(&f->arena);
    free(f->batch);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static sqlite3 *open_app(const char *path)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static void run(sqlite3 *db, const char *sql)
{
    char *words = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &words) != SQLITE_OK)
        fail_msg("%s: %s", sql, words);
}

static sqlite3 *make_app(struct fixture *f, const char *mode)
{
    sqlite3 *db = open_app(f->path);
    run(db, mode);
    run(db, form);
    return db;
}

static void add_rows(sqlite3 *db, unsigned count)
{
    char sql[400];
    snprintf(sql, sizeof(sql),
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
             " WHERE i < %u) INSERT INTO sync_queue"
             " (operation, table_name, record_id, record_data) SELECT"
             " 'INSERT', 'tasks', 't' || i, json_object('n', i) FROM n",
             count);
    run(db, sql);
}

static enum source_verdict read_some(struct fixture *f)
{
    arena_reset(&f->arena);
    enum source_verdict verdict = source_file_read(
        f->file, f->cursor, f->identity, &f->arena, f->batch, &f->error);
    if (verdict == SOURCE_OK && f->batch->count > 0) {
        f->cursor = f->batch->rows[f->batch->count - 1].id;
        strcpy(f->identity, f->batch->identity);
    }
    return verdict;
}

static void expect_rows(struct fixture *f, size_t count)
{
    enum source_verdict verdict = read_some(f);
    if (verdict != SOURCE_OK)
        fail_msg("%s", f->error.text);
    assert_int_equal(f->batch->count, count);
}

static void test_rows_are_read_once(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db = make_app(f, "PRAGMA journal_mode=WAL");
    add_rows(db, 2 * SOURCE_ROWS_MAX + 200);
    expect_rows(f, SOURCE_ROWS_MAX);
    assert_true(f->batch->more);
    assert_memory_equal(f->batch->rows[0].record_id, "t1", 2);
    assert_memory_equal(f->batch->rows[0].data, "{\"n\":1}", 7);
    assert_int_equal(f->batch->rows[0].priority_size, 6);
    assert_true(f->batch->rows[0].created_ms > 1600000000000);
    expect_rows(f, SOURCE_ROWS_MAX);
    expect_rows(f, 200);
    assert_false(f->batch->more);
    assert_false(source_file_changed(f->file));
    expect_rows(f, 0);
    add_rows(db, 3);
    assert_true(source_file_changed(f->file));
    expect_rows(f, 3);
    assert_int_equal(f->cursor, 2 * SOURCE_ROWS_MAX + 203);
    sqlite3_close(db);
}

static void test_a_rollback_journal_is_read_too(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db = make_app(f, "PRAGMA journal_mode=DELETE");
    add_rows(db, 10);
    expect_rows(f, 10);
    add_rows(db, 1);
    assert_true(source_file_changed(f->file));
    expect_rows(f, 1);
    run(db, "BEGIN EXCLUSIVE");
    assert_int_equal(read_some(f), SOURCE_BUSY);
    assert_int_equal(f->error.code, ERROR_TRY_AGAIN);
    run(db, "COMMIT");
    expect_rows(f, 0);
    sqlite3_close(db);
}

/* Whatever state the application left its file in, nothing is made beside
 * it and no byte of it changes. */
static void test_a_file_that_nobody_has_open(void **state)
{
    struct fixture *f = *state;
    char name[160];
    sqlite3 *db = make_app(f, "PRAGMA journal_mode=WAL");
    add_rows(db, 10);
    sqlite3_close(db);
    snprintf(name, sizeof(name), "%s-shm", f->path);
    assert_int_not_equal(access(name, F_OK), 0);
    expect_rows(f, 10);
    assert_int_not_equal(access(name, F_OK), 0);
    snprintf(name, sizeof(name), "%s-wal", f->path);
    assert_int_not_equal(access(name, F_OK), 0);
    db = open_app(f->path);
    add_rows(db, 5);
    sqlite3_close(db);
    assert_true(source_file_changed(f->file));
    expect_rows(f, 5);
}

static void copy_file(const char *from, const char *to)
{
    char command[512];
    snprintf(command, sizeof(command), "cp '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

/* The application was killed: its -wal and -shm stand there, nobody has
 * them open. */
static void test_a_file_after_a_crash(void **state)
{
    struct fixture *f = *state;
    char from[160], to[160];
    sqlite3 *db = make_app(f, "PRAGMA journal_mode=WAL");
    add_rows(db, 10);
    snprintf(from, sizeof(from), "%s/crashed.db", f->folder);
    copy_file(f->path, from);
    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof(from), "%s-%s", f->path, i == 0 ? "wal" : "shm");
        snprintf(to, sizeof(to), "%s/crashed.db-%s", f->folder,
                 i == 0 ? "wal" : "shm");
        copy_file(from, to);
    }
    snprintf(to, sizeof(to), "%s/crashed.db", f->folder);
    f->source.path = to;
    expect_rows(f, 10);
    sqlite3_close(db);
    /* Without its -shm it must be recovered by its application. */
    snprintf(from, sizeof(from), "%s/crashed.db-shm", f->folder);
    source_file_free(&f->file);
    f->file = source_file_new(&f->source);
    unlink(from);
    assert_int_equal(read_some(f), SOURCE_BUSY);
    assert_non_null(strstr(f->error.text, "start the application once"));
    assert_int_not_equal(access(from, F_OK), 0);
}

static void test_a_reader_holds_up_no_checkpoint(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db = make_app(f, "PRAGMA journal_mode=WAL");
    int log = 0, done = 0;
    add_rows(db, 100);
    expect_rows(f, 100);
    add_rows(db, 100);
    assert_int_equal(sqlite3_wal_checkpoint_v2(
                         db, NULL, SQLITE_CHECKPOINT_TRUNCATE, &log, &done),
                     SQLITE_OK);
    assert_int_equal(log, 0);
    expect_rows(f, 100);
    sqlite3_close(db);
}

static void test_missing_and_empty_files_are_waited_for(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(read_some(f), SOURCE_MISSING);
    close(open(f->path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(read_some(f), SOURCE_MISSING);
    sqlite3 *db = make_app(f, "PRAGMA journal_mode=WAL");
    add_rows(db, 2);
    expect_rows(f, 2);
    sqlite3_close(db);
}

static void test_other_forms_are_refused(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db = open_app(f->path);
    run(db, "CREATE TABLE other (x)");
    assert_int_equal(read_some(f), SOURCE_FAILED);
    assert_non_null(strstr(f->error.text, "no table sync_queue"));
    run(db, "CREATE VIEW sync_queue AS SELECT * FROM other");
    assert_int_equal(read_some(f), SOURCE_FAILED);
    assert_non_null(strstr(f->error.text, "not an ordinary table"));
    run(db, "DROP VIEW sync_queue");
    run(db, form);
    run(db, "ALTER TABLE sync_queue DROP COLUMN priority");
    assert_int_equal(read_some(f), SOURCE_FAILED);
    assert_non_null(strstr(f->error.text, "no column priority"));
    run(db, "ALTER TABLE sync_queue ADD COLUMN priority TEXT");
    run(db, "ALTER TABLE sync_queue ADD COLUMN further TEXT");
    add_rows(db, 1);
    expect_rows(f, 1);
    assert_null(f->batch->rows[0].priority);
    sqlite3_close(db);
}

static void test_damaged_files_are_refused(void **state)
{
    struct fixture *f = *state;
    int fd = open(f->path, O_CREAT | O_WRONLY, 0600);
    for (int i = 0; i < 100; i++)
        assert_int_equal(write(fd, "this is no database file", 24), 24);
    close(fd);
    assert_int_equal(read_some(f), SOURCE_FAILED);
    assert_non_null(strstr(f->error.text, "damaged"));
    unlink(f->path);
    mkdir(f->path, 0700);
    assert_int_equal(read_some(f), SOURCE_FAILED);
    rmdir(f->path);
}

static void test_replaced_files_stop_the_source(void **state)
{
    struct fixture *f = *state;
    char aside[160];
    sqlite3 *db = make_app(f, "PRAGMA journal_mode=WAL");
    add_rows(db, 10);
    sqlite3_close(db);
    expect_rows(f, 10);
    snprintf(aside, sizeof(aside), "%s/aside.db", f->folder);
    rename(f->path, aside);
    assert_int_equal(read_some(f), SOURCE_MISSING);

    db = make_app(f, "PRAGMA journal_mode=WAL");
    add_rows(db, 3);
    assert_int_equal(read_some(f), SOURCE_REPLACED);
    add_rows(db, 30); /* now it has a row 10 of its own */
    run(db, "UPDATE sync_queue SET record_id = 'x' || id");
    assert_int_equal(read_some(f), SOURCE_REPLACED);
    assert_non_null(strstr(f->error.text, "tidemill doctor"));
    sqlite3_close(db);
    assert_int_equal(f->cursor, 10);

    /* The right one again, as a copy: another inode, the same content. */
    copy_file(aside, f->path);
    db = open_app(f->path);
    add_rows(db, 2);
    expect_rows(f, 2);
    sqlite3_close(db);
}

static void test_deleted_rows_are_no_replacement(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db = make_app(f, "PRAGMA journal_mode=WAL");
    add_rows(db, 10);
    expect_rows(f, 10);
    run(db, "DELETE FROM sync_queue");
    expect_rows(f, 0);
    add_rows(db, 2);
    expect_rows(f, 2);
    assert_int_equal(f->cursor, 12);
    /* But ids that start again would be taken for rows already read. */
    run(db, "DELETE FROM sync_queue");
    run(db, "DELETE FROM sqlite_sequence");
    add_rows(db, 2);
    assert_int_equal(read_some(f), SOURCE_REPLACED);
    sqlite3_close(db);
}

static void test_the_owner_is_checked(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db = make_app(f, "PRAGMA journal_mode=WAL");
    struct passwd *me = getpwuid(getuid());
    f->source.user = me == NULL || getuid() == 65534 ? "root" : "nobody";
    assert_int_equal(read_some(f), SOURCE_FAILED);
    assert_int_equal(f->error.code, ERROR_NOT_ALLOWED);
    f->source.user = "no such user";
    assert_int_equal(read_some(f), SOURCE_FAILED);
    sqlite3_close(db);
}

/* --- with the writer and an event loop --- */

static int count(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int found = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return found;
}

struct copier {
    struct event_base *base;
    struct store_writer *writer;
    struct sources *sources;
    struct event *step_event;
    bool spoil; /* roll the next group back */
};

static void on_step(evutil_socket_t fd, short what, void *self)
{
    static const struct timeval now = {0};
    struct copier *copier = self;
    struct error error;
    (void)fd;
    (void)what;
    if (!sources_want(copier->sources))
        return;
    assert_int_equal(store_writer_begin(copier->writer, &error), 0);
    int result = sources_contribute(copier->sources, copier->writer, &error);
    if (result != 0)
        fail_msg("%s", error.text);
    if (copier->spoil)
        store_writer_rollback(copier->writer);
    else
        assert_int_equal(store_writer_commit(copier->writer, &error), 0);
    sources_settled(copier->sources, !copier->spoil);
    copier->spoil = false;
    if (sources_want(copier->sources))
        event_add(copier->step_event, &now);
}

static void wake_copier(void *self)
{
    struct copier *copier = self;
    event_active(copier->step_event, EV_TIMEOUT, 0);
}

static void copier_open(struct copier *copier, const char *folder,
                        const struct config *config)
{
    struct error error;
    memset(copier, 0, sizeof(*copier));
    copier->base = event_base_new();
    copier->step_event = event_new(copier->base, -1, 0, on_step, copier);
    if (store_writer_open(&copier->writer, folder, "here", &error) != 0)
        fail_msg("%s", error.text);
    copier->sources = sources_new(copier->base, config, copier->writer,
                                  wake_copier, copier, &error);
    assert_non_null(copier->sources);
}

static void copier_close(struct copier *copier)
{
    sources_free(&copier->sources);
    store_writer_close(&copier->writer);
    event_free(copier->step_event);
    event_base_free(copier->base);
}

static void expect_pending(struct copier *copier, int64_t pending)
{
    uint64_t deadline = clock_monotonic_ms() + WAIT_MS;
    while (store_writer_totals(copier->writer).pending != pending &&
           clock_monotonic_ms() < deadline) {
        struct timeval step = {.tv_usec = 20000};
        event_base_loopexit(copier->base, &step);
        event_base_loop(copier->base, 0);
    }
    assert_int_equal(store_writer_totals(copier->writer).pending, pending);
}

static void test_rows_are_copied_exactly_once(void **state)
{
    struct fixture *f = *state;
    struct copier copier;
    const char *words;
    struct sync_source two[] = {
        f->source, {.name = "gone", .path = "/nonexistent/x.db", .user = ""}};
    const struct config config = {
        .sync_poll_interval_ms = 1000, .sources = two, .source_count = 2};
    sqlite3 *db = make_app(f, "PRAGMA journal_mode=WAL");
    add_rows(db, 1700);
    copier_open(&copier, f->folder, &config);
    copier.spoil = true;
    expect_pending(&copier, 1700);
    assert_int_equal(sources_state(copier.sources, 0, &words), SOURCE_OK);
    assert_int_equal(sources_state(copier.sources, 1, &words), SOURCE_MISSING);
    sqlite3 *store = NULL;
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", f->folder, STORE_FILE_NAME);
    assert_int_equal(sqlite3_open(path, &store), SQLITE_OK);
    assert_int_equal(count(store,
                           "SELECT count(*) FROM source_cursors WHERE"
                           " source = 'gone' AND error LIKE '%No such%'"),
                     1);
    assert_int_equal(count(store, "SELECT count(*) FROM source_cursors WHERE"
                                  " source = 'app' AND error = ''"),
                     1);
    sqlite3_close(store);
    uint64_t start = clock_monotonic_ms();
    add_rows(db, 1);
    expect_pending(&copier, 1701);
    assert_true(clock_monotonic_ms() - start <
                900); /* no poll was waited for */
    copier_close(&copier);
    add_rows(db, 9);
    copier_open(&copier, f->folder, &config);
    expect_pending(&copier, 1710);
    copier_close(&copier);
    sqlite3_close(db);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_rows_are_read_once),
        TEST(test_a_rollback_journal_is_read_too),
        TEST(test_a_file_that_nobody_has_open),
        TEST(test_a_file_after_a_crash),
        TEST(test_a_reader_holds_up_no_checkpoint),
        TEST(test_missing_and_empty_files_are_waited_for),
        TEST(test_other_forms_are_refused),
        TEST(test_damaged_files_are_refused),
        TEST(test_replaced_files_stop_the_source),
        TEST(test_deleted_rows_are_no_replacement),
        TEST(test_the_owner_is_checked),
        TEST(test_rows_are_copied_exactly_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
