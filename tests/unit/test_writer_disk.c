/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer and the disk: a full one, the WAL and its checkpoints, and what
 * a killed writer leaves.
 */
#include "tests/unit/store_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>

#include "common/store/writer_internal.h"

static void test_disk_full(void **state)
{
    struct store_fixture *f = *state;
    char *data = malloc(100001);
    fixture_append(f, "before", 2);
    memset(data, '1', 100000);
    data[100000] = '\0';
    sqlite3_exec(f->writer->db, "PRAGMA max_page_count = 1", NULL, NULL, NULL);
    struct store_call call = append_call("tasks", "large", 2, data, 0);
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_FULL);
    assert_int_equal(store_writer_totals(f->writer).pending, 1);
    sqlite3_exec(f->writer->db, "PRAGMA max_page_count = 1000000", NULL, NULL,
                 NULL);
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NONE);
    assert_int_equal(store_writer_totals(f->writer).pending, 2);
    struct outbox_pending pending;
    outbox_pending_read(f->reader, &pending, &f->error);
    assert_int_equal(pending.total, 2);
    free(data);
}

/* A complete checkpoint lets the next commit begin the WAL anew, unless a
 * reader looks at it; that one is waited for no longer than was said. */
static void test_wal_begins_anew(void **state)
{
    struct store_fixture *f = *state;
    sqlite3 *reader = store_reader_db(f->reader);
    fixture_append(f, "a", 2);
    int64_t length = store_writer_wal_length(f->writer);
    assert_true(length > 0);
    assert_int_equal(store_writer_checkpoint(f->writer, &f->error), 0);
    assert_int_equal(store_writer_wal_bytes(f->writer), 0);
    fixture_append(f, "b", 2);
    assert_true(store_writer_wal_length(f->writer) <= length);
    assert_int_equal(store_writer_wal_bytes(f->writer),
                     store_writer_wal_length(f->writer));

    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM outbox",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    length = store_writer_wal_length(f->writer);
    assert_int_equal(store_writer_restart_wal(f->writer, 5, &f->error), 0);
    fixture_append(f, "c", 2);
    assert_true(store_writer_wal_length(f->writer) > length);
    assert_true(store_writer_wal_bytes(f->writer) > 0);
    assert_int_equal(sqlite3_exec(reader, "COMMIT", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(store_writer_restart_wal(f->writer, 5, &f->error), 0);
    assert_int_equal(store_writer_wal_length(f->writer), 0);
    fixture_append(f, "d", 2);
    assert_true(store_writer_wal_length(f->writer) <= length);
}

/* A checkpoint that cannot be tried has emptied nothing. */
static void test_checkpoint_that_is_busy(void **state)
{
    struct store_fixture *f = *state;
    char path[128];
    fixture_append(f, "a", 2);
    int64_t length = store_writer_wal_length(f->writer);
    snprintf(path, sizeof(path), "%s/tidemill.db-shm", f->dir);
    pid_t child = fork();
    if (child == 0) {
        /* The checkpoint lock, byte 121 of the index. */
        struct flock lock = {.l_type = F_WRLCK, .l_start = 121, .l_len = 1};
        int fd = open(path, O_RDWR);
        if (fd < 0 || fcntl(fd, F_SETLK, &lock) != 0)
            _exit(1);
        raise(SIGSTOP);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(store_writer_checkpoint(f->writer, &f->error), 0);
    assert_int_equal(store_writer_wal_bytes(f->writer), length);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    assert_int_equal(store_writer_checkpoint(f->writer, &f->error), 0);
    assert_int_equal(store_writer_wal_bytes(f->writer), 0);
}

static void test_checkpoint(void **state)
{
    struct store_fixture *f = *state;
    fixture_append(f, "r", 2);
    assert_true(store_writer_wal_bytes(f->writer) > 0);
    assert_int_equal(store_writer_checkpoint(f->writer, &f->error), 0);
    assert_int_equal(store_writer_wal_bytes(f->writer), 0);
    fixture_append(f, "r", 2);
    assert_true(store_writer_wal_bytes(f->writer) > 0);
}

/* A writer that acknowledges through a pipe until it is killed. */
static void write_until_killed(const char *dir, int fd)
{
    struct store_fixture f = {0};
    char name[24];
    snprintf(f.dir, sizeof(f.dir), "%s", dir);
    arena_init(&f.arena, 64u << 20);
    fixture_open(&f);
    for (int64_t i = 1;; i++) {
        snprintf(name, sizeof(name), "r%lld", (long long)i % 50);
        struct store_call call =
            append_call("tasks", name, (int)(i * 7 % 4), "{}", i);
        if (fixture_run(&f, CALLER_CLI, &call, 1) != ERROR_NONE ||
            write(fd, &f.answer.results[0].changed, sizeof(int64_t)) !=
                (ssize_t)sizeof(int64_t))
            _exit(1);
        arena_reset(&f.arena);
    }
}

static int64_t count_rows(struct store_fixture *f)
{
    sqlite3_stmt *row;
    sqlite3_prepare_v2(store_reader_db(f->reader),
                       "SELECT count(*), max(id) FROM sync_queue", -1, &row,
                       NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(row, 0);
    assert_int_equal(sqlite3_column_int64(row, 1), count);
    sqlite3_finalize(row);
    return count;
}

/* What a killed writer acknowledged is there, and its lock is free. */
static void test_killed_writer(void **state)
{
    struct store_fixture *f = *state;
    for (int round = 1; round <= 8; round++) {
        int fds[2];
        int64_t id = 0;
        int64_t acknowledged = 0;
        assert_int_equal(pipe(fds), 0);
        fixture_close(f);
        pid_t pid = fork();
        if (pid == 0)
            write_until_killed(f->dir, fds[1]);
        close(fds[1]);
        for (int i = 0; i < 40 * round; i++)
            if (read(fds[0], &id, sizeof(id)) == (ssize_t)sizeof(id))
                acknowledged = id;
        kill(pid, SIGKILL);
        while (read(fds[0], &id, sizeof(id)) == (ssize_t)sizeof(id))
            acknowledged = id;
        close(fds[0]);
        waitpid(pid, NULL, 0);
        fixture_open(f);
        assert_true(acknowledged > 0);
        int64_t rows = count_rows(f);
        assert_true(rows == acknowledged || rows == acknowledged + 1);
        assert_int_equal(store_writer_totals(f->writer).pending, rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_disk_full),
        STORE_TEST(test_wal_begins_anew),
        STORE_TEST(test_checkpoint_that_is_busy),
        STORE_TEST(test_checkpoint),
        STORE_TEST(test_killed_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
