/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/base/clock.h"
#include "workers/store/space.h"

#define WAIT_MS 10000

struct small {
    struct store_fixture store; /* on a file system of 4 MB */
    struct event_base *base;
    struct space *space;
    unsigned recovered;
    bool mounted;
};

static void on_recovered(void *self)
{
    ((struct small *)self)->recovered++;
}

static int setup(void **state)
{
    struct small *s = calloc(1, sizeof(*s));
    struct store_fixture *f = &s->store;
    assert_non_null(s);
    strcpy(f->dir, "/tmp/test_space.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    /* In a name space of its own the mount ends with the process. */
    s->mounted = unshare(CLONE_NEWNS) == 0 &&
                 mount("none", "/", "none", MS_REC | MS_PRIVATE, "") == 0 &&
                 mount("none", f->dir, "tmpfs", 0, "size=4m") == 0;
    arena_init(&f->arena, 64u << 20);
    s->base = event_base_new();
    *state = s;
    if (!s->mounted)
        return 0;
    fixture_open(f);
    const struct space_options options = {.base = s->base,
                                          .writer = f->writer,
                                          .state_dir = f->dir,
                                          .recovered = on_recovered,
                                          .self = s};
    s->space = space_new(&options, &f->error);
    assert_non_null(s->space);
    return 0;
}

static int teardown(void **state)
{
    struct small *s = *state;
    space_free(&s->space);
    if (s->mounted) {
        fixture_close(&s->store);
        umount(s->store.dir);
    }
    event_base_free(s->base);
    arena_deinit(&s->store.arena);
    rmdir(s->store.dir);
    free(s);
    return 0;
}

static struct small *need_small(void **state)
{
    struct small *s = *state;
    if (!s->mounted)
        skip();
    return s;
}

/* Writes to a file of somebody else until not one block is left. */
static void eat(const struct small *s)
{
    static const char block[4096] = {1};
    char path[128];
    snprintf(path, sizeof(path), "%s/other", s->store.dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof(block)) > 0)
        ;
    close(fd);
}

static void give_back(const struct small *s)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/other", s->store.dir);
    assert_int_equal(unlink(path), 0);
}

/* How many operations of 10 KB were stored until the disk was full. */
static unsigned fill(struct small *s)
{
    char data[10001];
    char name[24];
    memset(data, '1', sizeof(data) - 1);
    data[sizeof(data) - 1] = '\0';
    for (unsigned n = 0;; n++) {
        snprintf(name, sizeof(name), "r%u", n);
        struct store_call call = append_call("tasks", name, 2, data, 0);
        enum error_code code = fixture_run(&s->store, CALLER_CLI, &call, 1);
        if (code == ERROR_FULL)
            return n;
        assert_int_equal(code, ERROR_NONE);
        assert_true(n < 1000);
    }
}

/* All batches claimed and settled; the operations in them. */
static int64_t drain(struct small *s)
{
    struct store_fixture *f = &s->store;
    int64_t count = 0;
    for (;;) {
        arena_reset(&f->arena);
        struct store_call claim =
            CALL(BATCH_CLAIM, I(0), I(1), I(10), I(3), I(0));
        assert_int_equal(fixture_run(f, CALLER_SYNC, &claim, 1), ERROR_NONE);
        if (f->answer.results[0].rows == 0)
            return count;
        int64_t batch = f->answer.results[0].values[0].integer;
        int64_t size = f->answer.results[0].values[3].integer;
        struct store_call calls[2] = {
            CALL(BATCH_COUNT, I(batch), T("tasks"), I(2), I(size)),
            CALL(BATCH_SETTLE, I(batch), I(0), I(1), I(size), I(1), I(1), I(2),
                 T("request"))};
        if (fixture_run(f, CALLER_SYNC, calls, 2) != ERROR_NONE)
            fail_msg("settle: %s", f->answer.text);
        assert_int_equal(store_writer_restart_wal(f->writer, 0, &f->error), 0);
        count += size;
    }
}

static void wait_recovered(struct small *s)
{
    uint64_t deadline = clock_monotonic_ms() + WAIT_MS;
    while (s->recovered == 0 && clock_monotonic_ms() < deadline)
        event_base_loop(s->base, EVLOOP_ONCE);
    assert_int_equal(s->recovered, 1);
    assert_false(space_is_short(s->space));
}

/* With not one block free everything accepted is claimed and settled, and
 * the WAL always begins anew. */
static void test_accepted_is_finished(void **state)
{
    struct small *s = need_small(state);
    struct store_fixture *f = &s->store;
    unsigned accepted = fill(s);
    assert_true(accepted > 20);
    space_met_full(s->space);
    accepted += fill(s); /* the WAL's room is used again */
    for (int i = 0; i < 10 && !space_is_short(s->space); i++) {
        eat(s);
        space_met_full(s->space);
    }
    assert_true(space_is_short(s->space));
    eat(s); /* the reserve too */
    assert_int_equal(space_free_bytes(s->space), 0);
    assert_int_equal(store_writer_wal_length(f->writer), 0);
    assert_int_equal(store_writer_totals(f->writer).pending, accepted);
    assert_int_equal(drain(s), accepted);
    assert_int_equal(store_writer_totals(f->writer).pending, 0);
}

static void test_shortage_ends_by_itself(void **state)
{
    struct small *s = need_small(state);
    char path[128];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", s->store.dir, SPACE_FILE_NAME);
    assert_int_equal(stat(path, &status), 0);
    assert_true(status.st_blocks > 0);
    eat(s);
    space_met_full(s->space);
    assert_true(space_is_short(s->space));
    assert_int_not_equal(stat(path, &status), 0);
    give_back(s);
    wait_recovered(s);
    assert_int_equal(stat(path, &status), 0);
    assert_true(fill(s) > 20);
}

static void test_who_may_add_when_short(void **state)
{
    struct small *s = need_small(state);
    struct error error;
    struct store_call append = append_call("tasks", "r", 2, "{}", 0);
    struct store_call claim = CALL(BATCH_CLAIM, I(0), I(1), I(10), I(3), I(0));
    const struct store_request appends = {&append, 1};
    const struct store_request claims = {&claim, 1};
    assert_int_equal(space_admit(s->space, CALLER_CLI, &appends, &error), 0);
    eat(s);
    space_met_full(s->space);
    assert_int_equal(space_admit(s->space, CALLER_CLI, &appends, &error), -1);
    assert_int_equal(error.code, ERROR_FULL);
    assert_non_null(strstr(error.text, "free space"));
    assert_int_equal(space_admit(s->space, CALLER_SYNC, &claims, &error), 0);
    /* What a finished job records belongs to it. */
    assert_int_equal(space_admit(s->space, CALLER_GENERATION, &appends, &error),
                     0);
}

/* A disk that is full at the start: short from the beginning. */
static void test_starts_short(void **state)
{
    struct small *s = need_small(state);
    struct store_fixture *f = &s->store;
    const struct space_options options = {.base = s->base,
                                          .writer = f->writer,
                                          .state_dir = f->dir,
                                          .recovered = on_recovered,
                                          .self = s};
    space_free(&s->space);
    assert_true(space_give_up(f->dir));
    assert_false(space_give_up(f->dir));
    eat(s);
    s->space = space_new(&options, &f->error);
    assert_non_null(s->space);
    assert_true(space_is_short(s->space));
    give_back(s);
    wait_recovered(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_accepted_is_finished),
        TEST(test_shortage_ends_by_itself),
        TEST(test_who_may_add_when_short),
        TEST(test_starts_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
