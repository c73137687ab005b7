/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/base/log.h"
#include "common/config/config.h"
#include "common/store/client.h"
#include "common/store/spool.h"
#include "tests/unit/killed_at.h"

#define SYSCALLS_MAX 2000
#define RECORDS_MAX  (3 * SYSCALLS_MAX)
/* AddressSanitizer makes thousands of system calls of its own, and more the
 * longer the spool has become. */
#ifdef __SANITIZE_ADDRESS__
#define STEP 37
#else
#define STEP 1
#endif

static struct sync_aggregate built_in[] = {
    {AGGREGATE_BUILT_IN_TABLE, aggregate_built_in, AGGREGATE_BUILT_IN_INTO}};

struct fixture {
    struct store_fixture store; /* closed but where a test opens it */
    struct config config;
    char spool[96];
    char runtime[96];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    fixture_init(&f->store);
    fixture_close(&f->store);
    snprintf(f->spool, sizeof(f->spool), "%s/%s", f->store.dir,
             SPOOL_FILE_NAME);
    snprintf(f->runtime, sizeof(f->runtime), "%s/run", f->store.dir);
    f->config.state_dir = f->store.dir;
    f->config.aggregates = built_in;
    f->config.aggregate_count = 1;
    f->config.sync_aggregate_interval_ms = 60000;
    f->config.sync_aggregate_events = 1000;
    f->config.runtime_dir = f->runtime;
    f->config.system_id = "host-1";
    log_set_level(LOG_ERROR_LEVEL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    fixture_close(&f->store);
    arena_deinit(&f->store.arena);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->store.dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* One request as a hook sends it; the error's code. */
static enum error_code record(struct fixture *f, unsigned number,
                              const char *data)
{
    char name[32];
    struct store_session *session = NULL;
    struct store_answer answer;
    struct error error;
    struct arena arena;
    snprintf(name, sizeof(name), "e%u", number);
    struct store_call calls[2] = {CALL(HOOK_RECORD, T(name), T("Stop"), N, N,
                                       T(data), I(7), N, N, N, I(2)),
                                  CALL(OUTBOX_APPEND, T("INSERT"), T("events"),
                                       T(name), T(data), I(2), N,
                                       I(store_token()))};
    error_clear(&error);
    arena_init(&arena, 1u << 20);
    if (store_session_open_spooling(&session, &f->config, 2000, &error) == 0)
        store_session_call(session, &(struct store_request){calls, 2}, &arena,
                           &answer, &error);
    store_session_close(&session);
    arena_deinit(&arena);
    f->store.error = error;
    return error.code;
}

static off_t spool_size(const struct fixture *f)
{
    struct stat status;
    return stat(f->spool, &status) == 0 ? status.st_size : 0;
}

static int64_t number_of(struct fixture *f, const char *sql)
{
    sqlite3_stmt *row = NULL;
    assert_int_equal(sqlite3_prepare_v2(store_reader_db(f->store.reader), sql,
                                        -1, &row, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return number;
}

static void expect_stored(struct fixture *f, int64_t count)
{
    fixture_open(&f->store);
    assert_int_equal(number_of(f, "SELECT count(*) FROM outbox"), count);
    assert_int_equal(
        number_of(f, "SELECT count(DISTINCT record_id) FROM outbox"), count);
    assert_int_equal(number_of(f, "SELECT count(*) FROM hook_events"), count);
    assert_int_equal(store_writer_totals(f->store.writer).pending, count);
    assert_int_equal(spool_size(f), 0);
    fixture_close(&f->store);
}

static void test_taken_over_once(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(record(f, i, "{\"a\":1}"), ERROR_NONE);
    assert_true(spool_size(f) > 0);
    assert_true(spool_is_filled(f->store.dir));
    expect_stored(f, 10);
    expect_stored(f, 10);
    assert_int_equal(record(f, 10, "{}"), ERROR_NONE);
    store_spool_settle(&f->config);
    assert_int_equal(spool_size(f), 0);
    expect_stored(f, 11);
}

static void test_bad_requests_are_refused_at_once(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(record(f, 0, "{\"a\":}"), ERROR_DATA);
    assert_int_equal(record(f, 0, "{\"a\":\"\xff\"}"), ERROR_DATA);
    assert_int_equal(spool_size(f), 0);
    expect_stored(f, 0);
}

static void test_a_full_spool_is_taken_over(void **state)
{
    struct fixture *f = *state;
    static char data[40000];
    memset(data, 'x', sizeof(data) - 1);
    data[0] = data[sizeof(data) - 2] = '"';
    unsigned count = 0;
    for (off_t before = -1; spool_size(f) > before; count++) {
        before = spool_size(f);
        assert_true(before <= SPOOL_BYTES_MAX);
        assert_int_equal(record(f, count, data), ERROR_NONE);
    }
    assert_int_equal(spool_size(f), 0);
    assert_true(count > 10 && count < 15);
    expect_stored(f, count);
}

/* --- the seal --- */

static void test_only_behind_a_seal(void **state)
{
    struct fixture *f = *state;
    char path[128];
    f->config.system_id = "host-2";
    assert_int_equal(record(f, 0, "{}"), ERROR_CONFIG);
    f->config.system_id = "host-1";
    /* The refusal broke the seal: this one opens the store, and seals it. */
    assert_int_equal(record(f, 0, "{}"), ERROR_NONE);
    assert_int_equal(spool_size(f), 0);
    assert_int_equal(record(f, 1, "{}"), ERROR_NONE);
    assert_true(spool_size(f) > 0);
    snprintf(path, sizeof(path), "%s/%s", f->store.dir, STORE_FILE_NAME);
    const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_int_equal(record(f, 2, "{}"), ERROR_NONE);
    assert_int_equal(spool_size(f), 0); /* it was opened, and taken over */
    expect_stored(f, 3);
}

static void test_a_newer_store_is_not_lied_for(void **state)
{
    struct fixture *f = *state;
    char path[128];
    sqlite3 *db;
    assert_int_equal(record(f, 0, "{}"), ERROR_NONE);
    snprintf(path, sizeof(path), "%s/%s", f->store.dir, STORE_FILE_NAME);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "INSERT INTO schema_migrations VALUES "
                                  "(999, 'future', '', 'x')",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(record(f, 1, "{}"), ERROR_CONFIG);
    assert_non_null(strstr(f->store.error.text, "999"));
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_exec(db, "DELETE FROM schema_migrations WHERE version = 999", NULL,
                 NULL, NULL);
    sqlite3_close(db);
    expect_stored(f, 1);
}

/* --- damage --- */

static off_t refused_size(const struct fixture *f)
{
    char path[128];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", f->store.dir, SPOOL_REFUSED_NAME);
    return stat(path, &status) == 0 ? status.st_size : 0;
}

static void write_spool(struct fixture *f, const void *bytes, size_t size,
                        off_t at)
{
    int fd = open(f->spool, O_WRONLY);
    assert_int_equal(pwrite(fd, bytes, size, at), (ssize_t)size);
    close(fd);
}

static void test_damage_in_the_middle(void **state)
{
    struct fixture *f = *state;
    off_t ends[5];
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(record(f, i, "{}"), ERROR_NONE);
        ends[i] = spool_size(f);
    }
    write_spool(f, "\xaa\xbb", 2, ends[1] + 40);
    write_spool(f, "\xaa\xbb\xcc\xdd\xee\xff", 6, ends[2] + 2);
    expect_stored(f, 3);
    assert_int_equal(refused_size(f), ends[3] - ends[1]);
}

static void test_a_torn_tail_and_what_comes_after(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(record(f, 0, "{}"), ERROR_NONE);
    off_t end = spool_size(f);
    assert_int_equal(record(f, 1, "{}"), ERROR_NONE);
    assert_int_equal(truncate(f->spool, end + 21), 0);
    assert_int_equal(record(f, 2, "{}"), ERROR_NONE);
    assert_int_equal(record(f, 3, "{}"), ERROR_NONE);
    off_t last = spool_size(f);
    assert_int_equal(truncate(f->spool, last - 9), 0);
    expect_stored(f, 2);
    assert_true(refused_size(f) > 0);
    /* A head alone, or a part of one, had nothing behind it. */
    assert_int_equal(record(f, 4, "{}"), ERROR_NONE);
    assert_int_equal(truncate(f->spool, 11), 0);
    assert_int_equal(record(f, 5, "{}"), ERROR_NONE);
    expect_stored(f, 3);
}

static void test_a_damaged_head_repeats_nothing(void **state)
{
    struct fixture *f = *state;
    static char bytes[4096];
    assert_int_equal(record(f, 0, "{}"), ERROR_NONE);
    assert_int_equal(record(f, 1, "{}"), ERROR_NONE);
    int fd = open(f->spool, O_RDONLY);
    ssize_t size = read(fd, bytes, sizeof(bytes));
    close(fd);
    expect_stored(f, 2);
    bytes[9] ^= 1;
    write_spool(f, bytes, (size_t)size, 0); /* as if it was never emptied */
    expect_stored(f, 2);
}

static void test_unknown_statements_are_put_aside(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(record(f, 0, "{}"), ERROR_NONE);
    assert_int_equal(refused_size(f), 0);
    struct buffer bytes;
    struct spool spool;
    struct spool_entry entry;
    struct store_request request;
    assert_int_equal(spool_open(&spool, f->store.dir, &f->store.error), 0);
    spool_next(&spool, 0, &entry);
    assert_int_equal(
        spool_parse(&entry, &f->store.arena, &request, &f->store.error), 0);
    assert_int_equal(request.call_count, 2);
    assert_int_equal(request.calls[1].statement, STATEMENT_OUTBOX_APPEND);
    buffer_init(&bytes, 4096);
    buffer_append(&bytes, entry.payload, entry.payload_size);
    char *name = memmem(bytes.bytes, bytes.size, "HOOK", 4);
    assert_non_null(name);
    memcpy(name, "HOOP", 4);
    entry.payload = bytes.bytes;
    assert_int_equal(
        spool_parse(&entry, &f->store.arena, &request, &f->store.error), -1);
    assert_non_null(strstr(f->store.error.text, "HOOP_RECORD"));
    buffer_deinit(&bytes);
    spool_close(&spool);
}

/* --- killed at each system call --- */

struct doomed {
    struct fixture *f;
    unsigned number;
    int *done; /* shared with us: the child got its answer */
};

static void append_work(void *self)
{
    struct doomed *doomed = self;
    *doomed->done =
        record(doomed->f, doomed->number, "{\"k\":1}") == ERROR_NONE;
}

static void replay_work(void *self)
{
    struct doomed *doomed = self;
    struct store_writer *writer = NULL;
    struct error error;
    if (store_writer_open(&writer, doomed->f->store.dir, "host-1", &error) != 0)
        _exit(9);
    store_writer_close(&writer);
}

static void test_killed_anywhere(void **state)
{
    struct fixture *f = *state;
    int *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static bool acknowledged[RECORDS_MAX];
    unsigned number = 0;
    bool ended[2] = {false, false};
    for (unsigned nth = 0; nth < SYSCALLS_MAX && !(ended[0] && ended[1]);
         nth += STEP) {
        struct doomed doomed = {f, number, done};
        *done = 0;
        ended[0] = killed_at(nth, append_work, &doomed);
        acknowledged[number++] = *done;
        assert_int_equal(record(f, number, "{}"), ERROR_NONE);
        acknowledged[number++] = true;
        ended[1] = killed_at(nth, replay_work, &doomed);
        assert_int_equal(record(f, number, "{}"), ERROR_NONE);
        acknowledged[number++] = true;
    }
    assert_true(ended[0] && ended[1]);
    fixture_open(&f->store);
    assert_int_equal(number_of(f, "SELECT count(*) FROM outbox"),
                     number_of(f, "SELECT count(DISTINCT record_id) "
                                  "FROM outbox"));
    for (unsigned i = 0; i < number; i++) {
        char sql[128];
        snprintf(sql, sizeof(sql),
                 "SELECT count(*) FROM outbox WHERE record_id = 'e%u'", i);
        if (acknowledged[i] && number_of(f, sql) != 1)
            fail_msg("the acknowledged e%u is not there", i);
    }
    munmap(done, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_taken_over_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_requests_are_refused_at_once,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_spool_is_taken_over, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_only_behind_a_seal, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_newer_store_is_not_lied_for,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_in_the_middle, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_torn_tail_and_what_comes_after,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_head_repeats_nothing,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_statements_are_put_aside,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_anywhere, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
