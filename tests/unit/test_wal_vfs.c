/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/store/wal_vfs.h"

struct fixture {
    char folder[64];
    char path[128];
    sqlite3 *writer;
    sqlite3 *reader; /* by the system's VFS */
};

static void run(sqlite3 *db, const char *sql)
{
    char *words = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &words) != SQLITE_OK)
        fail_msg("%s: %s", sql, words);
}

static int64_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

static sqlite3 *open_writer(const char *path)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open_v2(path, &db,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                     wal_vfs_name()),
                     SQLITE_OK);
    run(db, "PRAGMA journal_mode=WAL; PRAGMA cache_size=20;"
            "PRAGMA wal_autocheckpoint=200");
    return db;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_non_null(wal_vfs_name());
    strcpy(f->folder, "/tmp/test_vfs.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/a.db", f->folder);
    f->writer = open_writer(f->path);
    run(f->writer, "CREATE TABLE t (id INTEGER PRIMARY KEY, x)");
    assert_int_equal(sqlite3_open(f->path, &f->reader), SQLITE_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    sqlite3_close(f->reader);
    sqlite3_close(f->writer);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* A reader that uses the system's VFS sees each commit at once and whole,
 * also where nothing is synced and where the log starts again. */
static void see_every_commit(struct fixture *f)
{
    for (int i = 1; i <= 500; i++) {
        run(f->writer, "INSERT INTO t (x) VALUES (randomblob(3000))");
        assert_int_equal(ask(f->reader, "SELECT count(*) FROM t"), i);
    }
    assert_int_equal(ask(f->reader, "SELECT sum(length(x)) FROM t"),
                     500 * 3000);
}

static void test_commits_are_seen_when_synced(void **state)
{
    struct fixture *f = *state;
    run(f->writer, "PRAGMA synchronous=FULL");
    see_every_commit(f);
}

static void test_commits_are_seen_when_not_synced(void **state)
{
    struct fixture *f = *state;
    run(f->writer, "PRAGMA synchronous=NORMAL");
    see_every_commit(f);
}

/* More than the cache holds: pages go out and come back within one
 * transaction. */
static void test_large_transactions(void **state)
{
    struct fixture *f = *state;
    static const char rows[] =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
        " WHERE i < 3000) INSERT INTO t (x) SELECT randomblob(1000) FROM n";
    run(f->writer, "BEGIN");
    run(f->writer, rows);
    run(f->writer, "UPDATE t SET x = zeroblob(1500)");
    assert_int_equal(ask(f->writer, "SELECT sum(length(x)) FROM t"), 4500000);
    assert_int_equal(ask(f->reader, "SELECT count(*) FROM t"), 0);
    run(f->writer, "ROLLBACK");
    assert_int_equal(ask(f->reader, "SELECT count(*) FROM t"), 0);
    run(f->writer, "BEGIN");
    run(f->writer, rows);
    run(f->writer, "UPDATE t SET x = zeroblob(1500)");
    run(f->writer, "COMMIT");
    assert_int_equal(ask(f->reader, "SELECT sum(length(x)) FROM t"), 4500000);
    assert_int_equal(ask(f->reader, "SELECT count(*) FROM"
                                    " pragma_integrity_check"
                                    " WHERE integrity_check = 'ok'"),
                     1);
}

/* Killed after a commit: nothing that was committed waits in memory. */
static void test_commits_survive_a_kill(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork();
    if (pid == 0) {
        char path[160];
        snprintf(path, sizeof(path), "%s/b.db", f->folder);
        sqlite3 *db = open_writer(path);
        run(db, "PRAGMA synchronous=FULL; CREATE TABLE t (x);"
                "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);"
                "BEGIN; INSERT INTO t VALUES (3)");
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    char path[160];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/b.db", f->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(ask(db, "SELECT count(*) FROM t"), 2);
    sqlite3_close(db);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_commits_are_seen_when_synced),
        TEST(test_commits_are_seen_when_not_synced),
        TEST(test_large_transactions),
        TEST(test_commits_survive_a_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
