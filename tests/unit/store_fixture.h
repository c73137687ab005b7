/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests of the local store share: a state directory of their own, and
 * statements run one by one.
 */
#ifndef TIDEMILL_TESTS_STORE_FIXTURE_H
#define TIDEMILL_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/store/reader.h"
#include "common/store/writer.h"

struct store_fixture {
    char dir[64];
    struct store_writer *writer;
    struct store_reader *reader;
    struct arena arena;
    struct store_answer answer; /* of the last request */
    struct error error;
};

static inline void fixture_open(struct store_fixture *f)
{
    error_clear(&f->error);
    if (store_writer_open(&f->writer, f->dir, "host-1", &f->error) != 0)
        fail_msg("open: %s", f->error.text);
    if (store_reader_open(&f->reader, f->dir, &f->error) != 0)
        fail_msg("reader: %s", f->error.text);
}

static inline void fixture_close(struct store_fixture *f)
{
    store_reader_close(&f->reader);
    store_writer_close(&f->writer);
}

static inline void fixture_init(struct store_fixture *f)
{
    memset(f, 0, sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "/tmp/tidemill-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    arena_init(&f->arena, 256u << 20);
    fixture_open(f);
}

static inline void fixture_deinit(struct store_fixture *f)
{
    static const char *const names[] = {"tidemill.db", "tidemill.db-wal",
                                        "tidemill.db-shm", "tidemill.lock"};
    fixture_close(f);
    arena_deinit(&f->arena);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
        unlink(path);
    }
    rmdir(f->dir);
}

/* A test with a store of its own. */
static inline int fixture_set_up(void **state)
{
    struct store_fixture *f = calloc(1, sizeof(*f));
    fixture_init(f);
    *state = f;
    return 0;
}

static inline int fixture_tear_down(void **state)
{
    fixture_deinit(*state);
    free(*state);
    return 0;
}

#define STORE_TEST(name)                                                       \
    cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

/* Runs calls as one request within a group that is open. */
static inline enum error_code fixture_request(struct store_fixture *f,
                                              uint32_t caller,
                                              struct store_call *calls,
                                              size_t count)
{
    struct store_request request = {.calls = calls, .call_count = count};
    store_writer_run(f->writer, caller, &request, &f->arena, &f->answer);
    return f->answer.code;
}

/* The same in a group of its own. */
static inline enum error_code fixture_run(struct store_fixture *f,
                                          uint32_t caller,
                                          struct store_call *calls,
                                          size_t count)
{
    if (store_writer_begin(f->writer, &f->error) != 0)
        fail_msg("begin: %s", f->error.text);
    fixture_request(f, caller, calls, count);
    if (store_writer_commit(f->writer, &f->error) != 0)
        return f->error.code;
    return f->answer.code;
}

static inline struct store_call make_call(enum statement statement,
                                          unsigned count,
                                          const struct value *values)
{
    struct store_call call = {.statement = statement, .argument_count = count};
    for (unsigned i = 0; i < count; i++)
        call.arguments[i] = values[i];
    return call;
}

#define CALL(name, ...)                                                        \
    make_call(STATEMENT_##name,                                                \
              sizeof((struct value[]){__VA_ARGS__}) / sizeof(struct value),    \
              (struct value[]){__VA_ARGS__})
#define I(number) value_integer((int64_t)(number))
#define T(text)   value_text(text)
#define N         value_null()

static inline struct store_call append_call(const char *table,
                                            const char *record, int priority,
                                            const char *data, int64_t token)
{
    return CALL(OUTBOX_APPEND, T(data != NULL ? "UPDATE" : "DELETE"), T(table),
                T(record), T(data), I(priority), N, I(token));
}

/* An operation of the table tasks; its id. */
static inline int64_t fixture_append(struct store_fixture *f,
                                     const char *record, int priority)
{
    struct store_call call = append_call("tasks", record, priority, "{}", 0);
    if (fixture_run(f, CALLER_CLI, &call, 1) != ERROR_NONE)
        fail_msg("append: %s", f->answer.text);
    return f->answer.results[0].changed;
}

#endif
