/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/store/wal_check.h"

#define ROWS 20

struct fixture {
    char folder[64];
    char path[128]; /* of a copy, as a crash leaves it */
    char wal[160];
};

static void run(sqlite3 *db, const char *sql)
{
    char *words = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &words) != SQLITE_OK)
        fail_msg("%s: %s", sql, words);
}

static int64_t rows_of(const char *path)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t count = -1;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &statement,
                           NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        count = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return count;
}

/* A table in the database and ROWS commits of one row in its WAL, behind
 * frames of an older WAL that was longer. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char command[512];
    sqlite3 *db = NULL;
    assert_non_null(f);
    strcpy(f->folder, "/tmp/test_wal.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/copy.db", f->folder);
    snprintf(f->wal, sizeof(f->wal), "%s-wal", f->path);
    snprintf(command, sizeof(command), "%s/live.db", f->folder);
    assert_int_equal(sqlite3_open(command, &db), SQLITE_OK);
    run(db, "PRAGMA page_size=4096; PRAGMA journal_mode=WAL;"
            "PRAGMA wal_autocheckpoint=0;"
            "CREATE TABLE t (n INTEGER PRIMARY KEY, x)");
    for (int i = 0; i < 2 * ROWS; i++)
        run(db, "INSERT INTO t (x) VALUES (hex(zeroblob(300)))");
    run(db, "DELETE FROM t; PRAGMA wal_checkpoint(RESTART)");
    for (int i = 0; i < ROWS; i++)
        run(db, "INSERT INTO t (x) VALUES (hex(zeroblob(300)))");
    snprintf(command, sizeof(command),
             "cd %s && cp live.db copy.db && cp live.db-wal copy.db-wal",
             f->folder);
    assert_int_equal(system(command), 0);
    sqlite3_close(db);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void flip(const struct fixture *f, off_t offset)
{
    unsigned char byte;
    int fd = open(f->wal, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x5a;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static struct wal_damage inspected(const struct fixture *f)
{
    struct wal_damage damage;
    struct error error;
    assert_int_equal(wal_inspect(f->wal, &damage, &error), 0);
    return damage;
}

static off_t frame(uint32_t number)
{
    return 32 + (off_t)(number - 1) * (24 + 4096);
}

static void test_what_is_whole_is_good(void **state)
{
    struct fixture *f = *state;
    struct error error;
    struct wal_damage damage = inspected(f);
    assert_true(damage.good_frames >= ROWS);
    assert_int_equal(damage.bad_frame, 0);
    assert_int_equal(damage.frames_lost, 0);
    assert_false(wal_is_damaged(&damage));
    assert_int_equal(wal_mend(f->wal, &error), 0);
    assert_int_equal(rows_of(f->path), ROWS);
}

static void test_nothing_is_good(void **state)
{
    struct fixture *f = *state;
    struct wal_damage damage;
    assert_int_equal(truncate(f->wal, 0), 0);
    damage = inspected(f);
    assert_false(wal_is_damaged(&damage));
    assert_int_equal(unlink(f->wal), 0);
    damage = inspected(f);
    assert_false(wal_is_damaged(&damage));
}

/* SQLite would say nothing and drop the commits; mended, all is there. */
static void test_damage_anywhere_is_found(void **state)
{
    struct fixture *f = *state;
    static const off_t within[] = {4, 9, 16, 23, 24 + 4095};
    struct error error;
    uint32_t frames = inspected(f).good_frames;
    for (size_t i = 0; i < sizeof(within) / sizeof(within[0]); i++) {
        flip(f, frame(3) + within[i]);
        struct wal_damage damage = inspected(f);
        assert_int_equal(damage.bad_frame, 3);
        assert_true(wal_is_damaged(&damage));
        assert_int_equal(damage.frames_lost, frames - 2);
        assert_int_equal(wal_mend(f->wal, &error), 0);
        damage = inspected(f);
        assert_int_equal(damage.good_frames, frames);
        assert_false(wal_is_damaged(&damage));
        flip(f, frame(3) + within[i]); /* as it was, but for its checksum */
        assert_int_equal(wal_mend(f->wal, &error), 0);
    }
    assert_int_equal(rows_of(f->path), ROWS);
}

static void test_a_bad_header_is_found(void **state)
{
    struct fixture *f = *state;
    struct error error;
    for (off_t at = 0; at < 32; at += 5) {
        flip(f, at);
        struct wal_damage damage = inspected(f);
        assert_true(damage.header_bad || at == 12);
        assert_true(wal_is_damaged(&damage));
        assert_int_equal(wal_mend(f->wal, &error), 0);
        damage = inspected(f);
        assert_false(wal_is_damaged(&damage));
    }
    assert_int_equal(rows_of(f->path), ROWS);
}

/* What a power failure leaves of the last transaction. */
static void test_a_torn_end_is_no_damage(void **state)
{
    struct fixture *f = *state;
    uint32_t frames = inspected(f).good_frames;
    flip(f, frame(frames) + 100);
    struct wal_damage damage = inspected(f);
    assert_int_equal(damage.bad_frame, frames);
    assert_int_equal(damage.commits_lost, 1);
    assert_false(wal_is_damaged(&damage));
    assert_int_equal(rows_of(f->path), ROWS - 1);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_what_is_whole_is_good),    T(test_nothing_is_good),
        T(test_damage_anywhere_is_found), T(test_a_bad_header_is_found),
        T(test_a_torn_end_is_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
