/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include "common/store/record_filter.h"
#include "common/base/clock.h"
#include "common/store/recent_tokens.h"
#include "common/store/wal_check.h"
#include "common/store/writer_internal.h"

/* Claims one batch and reads it; its operations' count. */
static size_t claim(struct store_fixture *f, int least, int64_t most,
                    int64_t now, struct outbox_batch **batch,
                    struct outbox_operation **operations)
{
    struct store_call call =
        CALL(BATCH_CLAIM, I(0), I(1), I(most), I(least), I(now));
    size_t count;
    if (fixture_run(f, CALLER_SYNC, &call, 1) != ERROR_NONE)
        fail_msg("claim: %s", f->answer.text);
    assert_int_equal(outbox_batches_parse(f->answer.results, &f->arena, batch,
                                          &count, &f->error),
                     0);
    if (count == 0)
        return 0;
    assert_int_equal(outbox_batch_read(f->reader, *batch, &f->arena, operations,
                                       &count, &f->error),
                     0);
    return count;
}

static enum error_code settle(struct store_fixture *f,
                              const struct outbox_batch *batch, int64_t applied)
{
    struct store_call calls[2] = {
        CALL(BATCH_COUNT, I(batch->batch_id), T("tasks"), I(2), I(applied)),
        CALL(BATCH_SETTLE, I(batch->batch_id), I(0), I(1), I(applied), I(1),
             I(1), I(2), T("request"))};
    return fixture_run(f, CALLER_SYNC, calls, 2);
}

static void expect_refused(struct store_fixture *f, struct store_call call,
                           const char *words)
{
    enum error_code code = fixture_run(f, CALLER_CLI, &call, 1);
    if (code != ERROR_DATA || strstr(f->answer.text, words) == NULL)
        fail_msg("wanted \"%s\", got %d \"%s\"", words, (int)code,
                 f->answer.text);
}

static void test_bad_operations(void **state)
{
    struct store_fixture *f = *state;
    char large[600];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    expect_refused(f,
                   CALL(OUTBOX_APPEND, T("insert"), T("t"), T("r"), T("{}"),
                        I(2), N, I(0)),
                   "INSERT, UPDATE or DELETE");
    expect_refused(f, append_call("", "r", 2, "{}", 0), "empty");
    expect_refused(f, append_call("1t", "r", 2, "{}", 0), "not a name");
    expect_refused(f, append_call(large, "r", 2, "{}", 0), "599 bytes");
    expect_refused(f, append_call("t", "", 2, "{}", 0), "record id");
    expect_refused(f, append_call("t", large, 2, "{}", 0), "512");
    expect_refused(f, append_call("t", "a\nb", 2, "{}", 0), "0x0a");
    expect_refused(f, append_call("t", "\xff", 2, "{}", 0), "UTF-8");
    expect_refused(f, append_call("t", "r", 4, "{}", 0), "priority 4");
    expect_refused(f, append_call("t", "r", 2, "{\"a\":}", 0), "not JSON");
    expect_refused(f, append_call("t", "r", 2, "", 0), "not JSON");
    expect_refused(f,
                   CALL(OUTBOX_APPEND, T("DELETE"), T("t"), T("r"), T("{}"),
                        I(2), N, I(0)),
                   "takes no data");
    expect_refused(
        f, CALL(OUTBOX_APPEND, T("INSERT"), T("t"), T("r"), N, I(2), N, I(0)),
        "needs data");
    assert_int_equal(store_writer_totals(f->writer).pending, 0);
}

/* More high operations than can be carried, and a few old low ones. */
static void test_low_ones_do_not_starve(void **state)
{
    struct store_fixture *f = *state;
    struct outbox_batch *batch;
    struct outbox_operation *operations;
    char record[32];
    unsigned low = 0;
    unsigned claims = 0;
    for (int i = 0; i < 20; i++) {
        snprintf(record, sizeof(record), "low%d", i);
        fixture_append(f, record, 3);
    }
    for (; low < 20 && claims < 500; claims++) {
        for (int i = 0; i < 20; i++) {
            snprintf(record, sizeof(record), "high%u-%d", claims, i);
            fixture_append(f, record, 1);
        }
        size_t count = claim(f, 3, 10, 0, &batch, &operations);
        for (size_t i = 0; i < count; i++)
            low += operations[i].priority == 3;
        assert_true(count > 0);
        struct store_call call =
            CALL(BATCH_SETTLE, I(batch->batch_id), I(0), I(1),
                 I((int64_t)count), I(1), I(1), I(2), T("request"));
        assert_int_equal(fixture_run(f, CALLER_SYNC, &call, 1), ERROR_NONE);
    }
    assert_int_equal(low, 20);
    assert_true(claims > 10);
}

static void test_urgent_ones_go_alone(void **state)
{
    struct store_fixture *f = *state;
    struct outbox_batch *batch;
    struct outbox_operation *operations;
    char record[32];
    for (int i = 0; i < 20; i++) {
        snprintf(record, sizeof(record), "r%d", i);
        fixture_append(f, record, i % 10 == 9 ? 0 : 2);
    }
    assert_int_equal(claim(f, 3, 100, 0, &batch, &operations), 2);
    assert_int_equal(operations[0].priority, 0);
    assert_int_equal(operations[1].priority, 0);
    assert_in_range(claim(f, 3, 100, 0, &batch, &operations), 1, 18);
    assert_int_equal(operations[0].priority, 2);
}

static void test_callers_and_arguments(void **state)
{
    struct store_fixture *f = *state;
    struct store_call call = CALL(SYNC_PAUSED, I(1));
    assert_int_equal(fixture_run(f, CALLER_SYNC, &call, 1), ERROR_NOT_ALLOWED);
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NONE);
    call = CALL(SYNC_PAUSED, T("x"));
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_PROTOCOL);
    call = CALL(SYNC_PAUSED, I(1), I(1));
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_PROTOCOL);
    call.statement = STATEMENT_COUNT;
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_PROTOCOL);
}

static void test_lock(void **state)
{
    struct store_fixture *f = *state;
    struct store_writer *second = NULL;
    char pid[24];
    assert_int_equal(store_writer_open(&second, f->dir, "host-1", &f->error),
                     -1);
    assert_int_equal(f->error.code, ERROR_TRY_AGAIN);
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    assert_non_null(strstr(f->error.text, pid));
    assert_null(second);
    fixture_close(f);
    assert_int_equal(store_writer_open(&second, f->dir, "host-2", &f->error),
                     -1);
    assert_int_equal(f->error.code, ERROR_CONFIG);
    assert_non_null(strstr(f->error.text, "host-1"));
    fixture_open(f);
}

static void test_tokens(void **state)
{
    struct store_fixture *f = *state;
    struct store_call call = append_call("tasks", "r", 2, "{}", 77);
    fixture_run(f, CALLER_CLI, &call, 1);
    int64_t id = f->answer.results[0].changed;
    fixture_append(f, "other", 2);
    fixture_run(f, CALLER_CLI, &call, 1);
    assert_int_equal(f->answer.results[0].changed, id);
    fixture_close(f);
    fixture_open(f);
    fixture_run(f, CALLER_CLI, &call, 1);
    assert_int_equal(f->answer.results[0].changed, id);
    assert_int_equal(store_writer_totals(f->writer).pending, 2);
    /* What was rolled back is not remembered. */
    call = append_call("tasks", "r", 2, "{}", 78);
    assert_int_equal(store_writer_begin(f->writer, &f->error), 0);
    fixture_request(f, CALLER_CLI, &call, 1);
    store_writer_rollback(f->writer);
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NONE);
    assert_int_equal(store_writer_totals(f->writer).pending, 3);
}

/* Who leaves everybody answered is not asked again; who left before that, or
 * an earlier writer's clients, may. */
static void test_tokens_of_who_told_all(void **state)
{
    struct store_fixture *f = *state;
    struct store_call call = append_call("tasks", "r", 2, "{}", 77);
    fixture_run(f, CALLER_CLI, &call, 1);
    int64_t id = f->answer.results[0].changed;
    store_writer_told(f->writer, clock_wall_ms() - 1000);
    fixture_close(f);
    fixture_open(f);
    fixture_run(f, CALLER_CLI, &call, 1);
    assert_int_equal(f->answer.results[0].changed, id);
    store_writer_told(f->writer, 0);
    fixture_close(f);
    fixture_open(f);
    fixture_run(f, CALLER_CLI, &call, 1);
    assert_int_equal(f->answer.results[0].changed, id);
}

static void test_tokens_of_a_new_store(void **state)
{
    struct store_fixture *f = *state;
    struct store_call call = append_call("tasks", "r", 2, "{}", 77);
    fixture_run(f, CALLER_CLI, &call, 1);
    int64_t id = f->answer.results[0].changed;
    store_writer_told(f->writer, 0);
    fixture_close(f);
    fixture_open(f);
    fixture_run(f, CALLER_CLI, &call, 1);
    assert_int_not_equal(f->answer.results[0].changed, id);
}

/* The file stays, and who opens it reads next to nothing of it. */
static void test_handing_over(void **state)
{
    struct store_fixture *f = *state;
    struct wal_damage wal;
    struct stat file;
    char path[4200];
    snprintf(path, sizeof(path), "%s/tidemill.db-wal", f->dir);
    for (int i = 0; i < 200; i++)
        fixture_append(f, "r", 2);
    store_writer_hand_over(f->writer);
    fixture_close(f);
    assert_int_equal(stat(path, &file), 0);
    assert_true(file.st_size > 256 << 10);
    assert_int_equal(wal_inspect(path, &wal, &f->error), 0);
    assert_in_range(wal.good_frames, 1, 10);
    assert_false(wal_is_damaged(&wal));
    fixture_open(f);
    assert_int_equal(store_writer_totals(f->writer).pending, 200);
    fixture_append(f, "r", 2);
    fixture_close(f); /* now it is small */
    fixture_open(f);
    assert_int_equal(store_writer_totals(f->writer).pending, 201);
}

static void test_topics(void **state)
{
    struct store_fixture *f = *state;
    fixture_append(f, "r", 2);
    assert_int_equal(store_writer_topics(f->writer), TOPIC_OUTBOX);
    fixture_append(f, "r", 0);
    assert_int_equal(store_writer_topics(f->writer),
                     TOPIC_OUTBOX | TOPIC_URGENT);
}

static void test_priorities(void **state)
{
    struct store_fixture *f = *state;
    struct outbox_batch *batch;
    struct outbox_operation *operations;
    fixture_append(f, "a", 3);
    fixture_append(f, "b", 2);
    fixture_append(f, "c", 1);
    int64_t low = fixture_append(f, "d", 3);
    int64_t urgent = fixture_append(f, "d", 0);
    size_t count = claim(f, 0, 100, 0, &batch, &operations);
    assert_int_equal(count, 2);
    assert_int_equal(operations[0].id, low);
    assert_int_equal(operations[1].id, urgent);
    assert_int_equal(settle(f, batch, 2), ERROR_NONE);
    assert_int_equal(settle(f, batch, 2), ERROR_NOT_ALLOWED);
    assert_int_equal(claim(f, 3, 100, 0, &batch, &operations), 3);
    assert_int_equal(settle(f, batch, 3), ERROR_NONE);
    assert_int_equal(claim(f, 3, 100, 0, &batch, &operations), 0);
}

static void test_settlement_is_whole(void **state)
{
    struct store_fixture *f = *state;
    struct outbox_batch *batch;
    struct outbox_operation *operations;
    fixture_append(f, "a", 2);
    claim(f, 3, 100, 0, &batch, &operations);
    struct store_call calls[2] = {
        CALL(BATCH_REJECT, I(batch->batch_id), I(operations[0].key), T("23505"),
             T("no"), I(0), I(0)),
        CALL(BATCH_SETTLE, I(batch->batch_id), I(0), I(1), I(0), I(1), I(1),
             I(2), T("request"))};
    assert_int_equal(fixture_run(f, CALLER_SYNC, calls, 1), ERROR_DATA);
    assert_int_equal(store_writer_totals(f->writer).dead, 0);
    struct store_call wrong = calls[0];
    wrong.arguments[1] = I(12345);
    assert_int_equal(fixture_run(f, CALLER_SYNC, &wrong, 1), ERROR_DATA);
    assert_int_equal(fixture_run(f, CALLER_SYNC, calls, 2), ERROR_NONE);
    assert_int_equal(store_writer_totals(f->writer).dead, 1);
    assert_int_equal(store_writer_totals(f->writer).pending, 0);
    sqlite3_stmt *row;
    sqlite3_prepare_v2(store_reader_db(f->reader),
                       "SELECT q.status, q.error_message, d.sqlstate FROM "
                       "sync_queue q JOIN sync_dead d USING (id)",
                       -1, &row, NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_string_equal(sqlite3_column_text(row, 0), "dead");
    assert_string_equal(sqlite3_column_text(row, 1), "no");
    assert_string_equal(sqlite3_column_text(row, 2), "23505");
    sqlite3_finalize(row);
}

/* An operation that is held behind a refused one was in flight when later
 * ones of its record were raised.  They wait for it, so it is as important as
 * they are, or a small claim would only ever see them. */
static void test_held_before_raised_ones(void **state)
{
    struct store_fixture *f = *state;
    struct outbox_batch *batch;
    struct outbox_operation *operations;
    fixture_append(f, "a", 2);
    fixture_append(f, "a", 2);
    assert_int_equal(claim(f, 3, 100, 0, &batch, &operations), 2);
    int64_t second = operations[1].key;
    struct store_call calls[3] = {
        CALL(BATCH_REJECT, I(batch->batch_id), I(operations[0].key), T("23505"),
             T("no"), I(0), I(0)),
        CALL(BATCH_HOLD, I(batch->batch_id), I(second)),
        CALL(BATCH_SETTLE, I(batch->batch_id), I(0), I(1), I(0), I(1), I(1),
             I(2), T("request"))};
    fixture_append(f, "a", 2);
    fixture_append(f, "a", 0);
    assert_int_equal(fixture_run(f, CALLER_SYNC, calls, 3), ERROR_NONE);
    for (int left = 3; left > 0; left--) {
        assert_int_equal(claim(f, 3, 1, 0, &batch, &operations), 1);
        if (left == 3)
            assert_int_equal(operations[0].key, second);
        struct store_call done[2] = {
            CALL(BATCH_COUNT, I(batch->batch_id), T("tasks"),
                 I(operations[0].key >> 61), I(1)),
            CALL(BATCH_SETTLE, I(batch->batch_id), I(0), I(1), I(1), I(1), I(1),
                 I(2), T("request"))};
        assert_int_equal(fixture_run(f, CALLER_SYNC, done, 2), ERROR_NONE);
    }
    assert_int_equal(store_writer_totals(f->writer).pending, 0);
}

/* A large backlog of less important operations, most of it behind stored
 * filters: the urgent one takes exactly its record's along, also after the
 * store was opened anew. */
static void test_carry_over_backlog(void **state)
{
    struct store_fixture *f = *state;
    char name[24];
    int64_t ids[3];
    size_t found = 0;
    for (int i = 0; i < 150000; i++) {
        if (i % 1000 == 0)
            assert_int_equal(store_writer_begin(f->writer, &f->error), 0);
        bool mine = i == 10 || i == 90000 || i == 149990;
        snprintf(name, sizeof(name), "r%d", mine ? 7 : i + 1000);
        struct store_call call = append_call("tasks", name, 2 + i % 2, "{}", 0);
        assert_int_equal(fixture_request(f, CALLER_CLI, &call, 1), ERROR_NONE);
        if (mine)
            ids[found++] = f->answer.results[0].changed;
        if (i % 1000 == 999) {
            assert_int_equal(store_writer_commit(f->writer, &f->error), 0);
            arena_reset(&f->arena);
        }
        if (i == 120000) {
            assert_int_equal(store_writer_commit(f->writer, &f->error), 0);
            fixture_close(f);
            fixture_open(f);
            assert_int_equal(store_writer_begin(f->writer, &f->error), 0);
        }
    }
    int64_t urgent = fixture_append(f, "r7", 0);
    struct outbox_batch *batch;
    struct outbox_operation *operations;
    assert_int_equal(claim(f, 0, 100, 0, &batch, &operations), 4);
    for (int i = 0; i < 3; i++)
        assert_int_equal(operations[i].id, ids[i]);
    assert_int_equal(operations[3].id, urgent);
}

/* No batch takes more than half of the lanes while more is there. */
static void test_lanes_are_left(void **state)
{
    struct store_fixture *f = *state;
    struct outbox_batch *batch;
    struct outbox_operation *operations;
    char name[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        fixture_append(f, name, 2);
    }
    uint32_t lanes = 0;
    size_t count = claim(f, 3, 900, 0, &batch, &operations);
    assert_true(count > 0 && count < 900);
    for (size_t i = 0; i < batch->range_count; i++)
        lanes |= 1u << (batch->ranges[i].stripe & 63);
    assert_true(__builtin_popcount(lanes) <= 8);
    assert_true(claim(f, 3, 900, 0, &batch, &operations) > 0);
}

static struct source_row source_row(int64_t id, const char *table,
                                    const char *data, const char *priority)
{
    return (struct source_row){.id = id,
                               .operation = "INSERT",
                               .operation_size = 6,
                               .table_name = table,
                               .table_name_size = strlen(table),
                               .record_id = "r",
                               .record_id_size = 1,
                               .data = data,
                               .data_size = strlen(data),
                               .priority = priority,
                               .priority_size = strlen(priority),
                               .created_ms = 1};
}

static void test_sources(void **state)
{
    struct store_fixture *f = *state;
    struct source_row good = source_row(3, "tasks", "{}", "high");
    struct source_row bad = source_row(4, "tasks", "{broken", "high");
    int64_t cursor;
    char identity[128];
    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_writer_begin(f->writer, &f->error), 0);
        assert_int_equal(
            store_writer_source_append(f->writer, "ccm", &good, 1, &f->error),
            0);
        assert_int_equal(
            store_writer_source_append(f->writer, "ccm", &bad, 1, &f->error),
            0);
        assert_int_equal(
            store_writer_source_move(f->writer, "ccm", 4, "file", &f->error),
            0);
        if (round == 0)
            store_writer_rollback(f->writer);
        else
            assert_int_equal(store_writer_commit(f->writer, &f->error), 0);
        store_writer_source_cursor(f->writer, "ccm", &cursor, identity,
                                   &f->error);
        assert_int_equal(cursor, round == 0 ? 0 : 4);
    }
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(store_writer_begin(f->writer, &f->error), 0);
    assert_int_equal(
        store_writer_source_append(f->writer, "ccm", &good, 1, &f->error), 0);
    assert_int_equal(store_writer_commit(f->writer, &f->error), 0);
    assert_int_equal(store_writer_totals(f->writer).pending, 1);
    assert_int_equal(store_writer_totals(f->writer).dead, 1);
    struct store_call retry = CALL(DEAD_RETRY, I(2));
    assert_int_equal(fixture_run(f, CALLER_CLI, &retry, 1), ERROR_DATA);
    store_writer_source_cursor(f->writer, "ccm", &cursor, identity, &f->error);
    assert_string_equal(identity, "file");
}

static void test_filter(void **state)
{
    (void)state;
    struct record_filter *filter = malloc(sizeof(*filter));
    unsigned wrong = 0;
    char name[24];
    record_filter_clear(filter);
    for (int i = 0; i < 2 * RECORD_FILTER_RECORDS; i++) {
        snprintf(name, sizeof(name), "record-%d", i);
        uint64_t hash = text_hash(TEXT_HASH_START, name, strlen(name));
        if (i < RECORD_FILTER_RECORDS) {
            record_filter_add(filter, hash);
            assert_true(record_filter_may_have(filter, hash));
        } else {
            wrong += record_filter_may_have(filter, hash);
        }
    }
    assert_true(wrong < 5);
    free(filter);
}

static void test_recent_tokens(void **state)
{
    (void)state;
    struct recent_tokens *tokens = recent_tokens_new(100);
    int64_t key;
    for (int64_t i = 1; i <= 1000; i++) {
        recent_tokens_add(tokens, i * 7919, i);
        for (int64_t k = i > 99 ? i - 99 : 1; k <= i; k++) {
            assert_true(recent_tokens_find(tokens, k * 7919, &key));
            assert_int_equal(key, k);
        }
    }
    assert_false(recent_tokens_find(tokens, 7919, &key));
    recent_tokens_free(&tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_low_ones_do_not_starve),
        STORE_TEST(test_urgent_ones_go_alone),
        STORE_TEST(test_bad_operations),
        STORE_TEST(test_callers_and_arguments),
        STORE_TEST(test_lock),
        STORE_TEST(test_tokens),
        STORE_TEST(test_tokens_of_who_told_all),
        STORE_TEST(test_tokens_of_a_new_store),
        STORE_TEST(test_handing_over),
        STORE_TEST(test_topics),
        STORE_TEST(test_priorities),
        STORE_TEST(test_settlement_is_whole),
        STORE_TEST(test_held_before_raised_ones),
        STORE_TEST(test_carry_over_backlog),
        STORE_TEST(test_lanes_are_left),
        STORE_TEST(test_sources),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_recent_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
