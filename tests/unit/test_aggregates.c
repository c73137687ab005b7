/* SPDX-License-Identifier: Apache-2.0
 *
 * Detail is folded into summaries exactly once: what the outbox says of a
 * group last is what a recount of its detail gives.
 */
#include <sqlite3.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/config/aggregate.h"
#include "tests/unit/store_fixture.h"

static const char purchases[] =
    "{\"into\":\"totals\",\"group_by\":[\"customer\",\"where.shop|shop\"],"
    "\"at_once\":\"final = true\",\"fields\":{\"total\":\"count\","
    "\"spent\":\"sum amount\",\"first\":\"min at\",\"last\":\"max at\","
    "\"tools\":\"distinct tool limit 3\",\"seconds\":\"span at\","
    "\"failed\":\"count_if ok = false or code >= 500 and code != 503\","
    "\"late\":\"sum amount if tool = b|'c d'\"}}";

#define HOOKS                                                                  \
    {                                                                          \
        "hook_events", aggregate_built_in, "task_summaries"                    \
    }

static const struct sync_aggregate both[] = {
    HOOKS, {"purchases", purchases, "totals"}};
static const struct sync_aggregate hooks_only[] = {HOOKS};

static void declare(struct store_fixture *f, const struct sync_aggregate *list,
                    size_t count, int64_t interval_ms, int64_t news)
{
    if (store_writer_aggregates(f->writer, list, count, interval_ms, news,
                                &f->error) != 0)
        fail_msg("declare: %s", f->error.text);
}

static struct store_call hook_call(const char *id, const char *type,
                                   const char *session, const char *tool,
                                   const char *file, int64_t time_ms,
                                   int success)
{
    return CALL(HOOK_RECORD, T(id), T(type), T(session), T(tool), T("{}"),
                I(time_ms), T(file), N, success < 0 ? N : I(success), I(2));
}

static void append(struct store_fixture *f, const char *record,
                   const char *data)
{
    struct store_call call = append_call("purchases", record, 2, data, 0);
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NONE);
}

static int64_t fold(struct store_fixture *f, int all)
{
    struct store_call call = CALL(DETAILS_FOLD, I(all));
    assert_int_equal(fixture_run(f, CALLER_CLI, &call, 1), ERROR_NONE);
    return f->answer.results[0].changed;
}

static const char *value(struct store_fixture *f, const char *sql)
{
    static char text[8192];
    sqlite3_stmt *row;
    sqlite3 *db = store_reader_db(f->reader);
    if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    int step = sqlite3_step(row);
    const char *is = (const char *)sqlite3_column_text(row, 0);
    snprintf(text, sizeof(text), "%s",
             step != SQLITE_ROW ? "none"
             : is == NULL       ? "null"
                                : is);
    sqlite3_finalize(row);
    return text;
}

/* The last thing that the outbox says of a summary. */
static const char *summary(struct store_fixture *f, const char *table,
                           const char *record)
{
    char sql[300];
    snprintf(sql, sizeof(sql),
             "SELECT record_data FROM sync_queue WHERE table_name='%s' AND "
             "record_id='%s' ORDER BY id DESC LIMIT 1",
             table, record);
    return value(f, sql);
}

static void test_expressions(void **state)
{
    struct store_fixture *f = *state;
    declare(f, both, 2, 60000, 1000);
    append(f, "1",
           "{\"customer\":\"ann\",\"amount\":2,\"shop\":\"x\","
           "\"at\":\"2026-01-01T00:00:10Z\",\"tool\":\"b\","
           "\"ok\":true,\"code\":200}");
    append(f, "2",
           "{\"customer\":\"ann\",\"amount\":0.5,"
           "\"where\":{\"shop\":\"x\"},"
           "\"at\":\"2026-01-01T00:00:00.500Z\",\"tool\":\"a\","
           "\"ok\":false}");
    append(f, "3", "{\"customer\":\"bob\",\"amount\":\"two\",\"code\":503}");
    assert_int_equal(fold(f, 0), 0); /* not yet its time */
    assert_string_equal(summary(f, "totals", "ann/x"), "none");
    assert_int_equal(fold(f, 1), 2);
    append(f, "4",
           "{\"customer\":\"ann\",\"amount\":7,\"shop\":\"x\","
           "\"tool\":\"c d\",\"code\":504}");
    assert_int_equal(fold(f, 1), 1);
    assert_int_equal(fold(f, 1), 0);
    assert_string_equal(
        summary(f, "totals", "ann/x"),
        "{\"customer\":\"ann\",\"shop\":\"x\",\"total\":3,\"spent\":9.5,"
        "\"first\":\"2026-01-01T00:00:00.500Z\","
        "\"last\":\"2026-01-01T00:00:10Z\",\"tools\":[\"b\",\"a\",\"c d\"],"
        "\"seconds\":9.5,\"failed\":2,\"late\":9}");
    assert_string_equal(
        summary(f, "totals", "bob"),
        "{\"customer\":\"bob\",\"shop\":null,\"total\":1,\"spent\":0,"
        "\"first\":null,\"last\":null,\"tools\":[],\"seconds\":null,"
        "\"failed\":0,\"late\":0}");
    assert_string_equal(value(f,
                              "SELECT group_concat(operation) FROM sync_queue "
                              "WHERE record_id = 'ann/x'"),
                        "INSERT,UPDATE");
    assert_string_equal(
        value(f, "SELECT count(*) FROM sync_queue WHERE table_name = "
                 "'purchases'"),
        "0");
}

/* What an agent or an application writes can be anything; it never stops
 * the folding. */
static void test_odd_detail(void **state)
{
    struct store_fixture *f = *state;
    static const char *const odd[] = {
        "[]",
        "3",
        "\"text\"",
        "null",
        "{}",
        "{\"customer\":\"nul\\u0000byte\",\"tool\":\"\\ud800\"}",
        "{\"customer\":\"a/b%c\\n\",\"amount\":1e999,\"tool\":1e999}",
        "{\"customer\":{\"deep\":[1]},\"amount\":-9223372036854775808}",
        "{\"customer\":\"m\",\"amount\":9223372036854775807,\"at\":1e400}",
        "{\"customer\":\"m\",\"amount\":9223372036854775807,\"at\":5}",
        "{\"customer\":\"-\",\"at\":\"not a time\"}",
        "{\"customer\":true,\"at\":1767225600123}"};
    declare(f, both, 2, 60000, 1000);
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        char record[16];
        snprintf(record, sizeof(record), "r%zu", i);
        append(f, record, odd[i]);
        fold(f, 1);
    }
    char longest[1200];
    memset(longest, 'x', sizeof(longest));
    snprintf(longest, 14, "{\"customer\":\"");
    longest[13] = 'x';
    memcpy(longest + 1190, "\"}", 3);
    append(f, "long", longest);
    fold(f, 1);
    assert_string_equal(
        value(f, "SELECT sum(json_extract(record_data,'$.total')) FROM "
                 "(SELECT record_data, max(id) FROM sync_queue WHERE "
                 "table_name = 'totals' GROUP BY record_id)"),
        "13");
    assert_string_equal(
        value(f, "SELECT count(*) FROM sync_queue WHERE status = 'dead'"), "0");
    assert_string_equal(value(f, "SELECT group_concat(record_id) FROM (SELECT "
                                 "DISTINCT record_id FROM sync_queue WHERE "
                                 "length(record_id) < 20 ORDER BY 1)"),
                        "%2D,-,1,a%2Fb%25c%0A,m,nul,{\"deep\":[1]}");
    assert_string_equal(value(f, "SELECT max(length(record_id)) <= 512 FROM "
                                 "sync_queue"),
                        "1");
}

static void test_when(void **state)
{
    struct store_fixture *f = *state;
    declare(f, both, 2, 60000, 5);
    int64_t now = clock_wall_ms();
    append(f, "1", "{\"customer\":\"ann\"}");
    int64_t due = store_writer_fold_due_ms(f->writer);
    assert_true(due >= now + 60000 && due <= clock_wall_ms() + 60000);
    append(f, "2", "{\"customer\":\"bob\",\"final\":true}");
    assert_int_equal(store_writer_fold_due_ms(f->writer), 1);
    assert_int_equal(fold(f, 0), 1); /* bob's: what ends goes at once */
    assert_string_equal(summary(f, "totals", "ann"), "none");
    assert_int_equal(store_writer_fold_due_ms(f->writer), due);
    for (int i = 3; i < 7; i++) { /* ann's fifth news */
        append(f, "n", "{\"customer\":\"ann\"}");
        append(f, "n", "{\"customer\":\"bob\"}");
    }
    assert_int_equal(store_writer_fold_due_ms(f->writer), 1);
    fold(f, 0);
    assert_string_equal(value(f, "SELECT json_extract(record_data,'$.total') "
                                 "FROM sync_queue WHERE record_id='ann'"),
                        "5");
    struct store_call urgent =
        append_call("purchases", "u", 0, "{\"customer\":\"eve\"}", 0);
    fixture_run(f, CALLER_CLI, &urgent, 1);
    assert_int_equal(store_writer_fold_due_ms(f->writer), 1);
    fold(f, 0);
    assert_string_equal(value(f, "SELECT priority FROM sync_queue WHERE "
                                 "record_id='eve'"),
                        "urgent");
}

static void test_hook_events(void **state)
{
    struct store_fixture *f = *state;
    struct store_call calls[] = {
        hook_call("e1", "PreToolUse", "s", "Bash", NULL, 1000, -1),
        hook_call("e2", "PostToolUse", "s", "Bash", NULL, 2000, 1),
        hook_call("e3", "PostToolUse", "s", "Edit", "/a.c", 3000, 0),
        hook_call("e3", "PostToolUse", "s", "Edit", "/a.c", 3000, 0),
        hook_call("e4", "Stop", "s", NULL, NULL, 61500, -1)};
    for (int i = 0; i < 5; i++)
        fixture_run(f, CALLER_CLI, &calls[i], 1);
    assert_int_equal(store_writer_fold_due_ms(f->writer), 1);
    assert_int_equal(fold(f, 0), 1);
    assert_string_equal(
        summary(f, "task_summaries", "s"),
        "{\"session_id\":\"s\",\"task_id\":null,\"total_events\":4,"
        "\"tools_used\":[\"Bash\",\"Edit\"],\"files_modified\":[\"/a.c\"],"
        "\"commands_run\":1,\"errors\":1,\"duration_seconds\":60.5}");
    /* One that an application sends as an operation, late. */
    struct store_call late = append_call(
        "hook_events", "e5", 2,
        "{\"hook_type\":\"PostToolUseFailure\",\"session_id\":\"s\","
        "\"tool_name\":\"Bash\",\"created_at\":\"1970-01-01 00:00:00.500\"}",
        7);
    fixture_run(f, CALLER_CLI, &late, 1);
    fixture_run(f, CALLER_CLI, &late, 1);
    fold(f, 1);
    assert_string_equal(
        summary(f, "task_summaries", "s"),
        "{\"session_id\":\"s\",\"task_id\":null,\"total_events\":5,"
        "\"tools_used\":[\"Bash\",\"Edit\"],\"files_modified\":[\"/a.c\"],"
        "\"commands_run\":2,\"errors\":2,\"duration_seconds\":61}");
    assert_string_equal(value(f, "SELECT count(*) FROM hook_events"), "5");
}

/* Switched off, on, and declared anew. */
static void test_declarations(void **state)
{
    struct store_fixture *f = *state;
    static const struct sync_aggregate other[] = {
        HOOKS,
        {"purchases",
         "{\"into\":\"counts\",\"group_by\":\"shop\",\"fields\":{\"n\":"
         "\"count\"}}",
         "counts"}};
    declare(f, both, 2, 60000, 1000);
    append(f, "1", "{\"customer\":\"ann\",\"shop\":\"x\"}");
    declare(f, hooks_only, 1, 60000, 1000); /* what was detail is reported */
    assert_string_equal(value(f, "SELECT json_extract(record_data,'$.total') "
                                 "FROM sync_queue WHERE table_name='totals'"),
                        "1");
    append(f, "2", "{\"customer\":\"ann\",\"shop\":\"x\"}");
    assert_string_equal(value(f, "SELECT record_id FROM sync_queue WHERE "
                                 "table_name='purchases'"),
                        "2");
    declare(f, both, 2, 60000, 1000);
    append(f, "3", "{\"customer\":\"ann\",\"shop\":\"x\"}");
    fold(f, 1);
    assert_string_equal(value(f, "SELECT json_extract(record_data,'$.total') "
                                 "FROM sync_queue WHERE table_name='totals' "
                                 "ORDER BY id DESC LIMIT 1"),
                        "2");
    declare(f, other, 2, 60000, 1000); /* all kept since it was on again */
    append(f, "4", "{\"shop\":\"x\"}");
    fold(f, 1);
    assert_string_equal(summary(f, "counts", "x"), "{\"shop\":\"x\",\"n\":2}");
    declare(f, NULL, 0, 60000, 1000);
    struct store_call hook = hook_call("e9", "Stop", "s", NULL, NULL, 1000, -1);
    fixture_run(f, CALLER_CLI, &hook, 1);
    fixture_run(f, CALLER_CLI, &hook, 1);
    assert_string_equal(
        value(f, "SELECT count(*) || ' ' || json_extract(record_data, "
                 "'$.hook_type') FROM sync_queue WHERE table_name = "
                 "'hook_events'"),
        "1 Stop");
}

/* Repeated requests, refused ones, groups that are rolled back, and stores
 * that end without a word: the summaries stay those of a recount. */
static void test_exactly_once(void **state)
{
    struct store_fixture *f = *state;
    unsigned seed = 20260131;
    declare(f, both, 2, 60000, 20);
    for (int round = 0; round < 1500; round++) {
        char data[200];
        char record[20];
        seed = seed * 1664525u + 1013904223u;
        unsigned dice = seed >> 16;
        snprintf(record, sizeof(record), "r%d", round);
        snprintf(data, sizeof(data),
                 "{\"customer\":\"c%u\",\"amount\":%u,\"tool\":\"t%u\","
                 "\"final\":%s}",
                 dice % 7, dice % 100, dice % 2,
                 dice % 13 == 0 ? "true" : "false");
        struct store_call call =
            append_call("purchases", record, 2, data, round + 1);
        struct store_call pair[] = {
            call, CALL(DETAILS_FOLD, I(1)),
            append_call("purchases", "bad", 2, "no json", 0)};
        if (store_writer_begin(f->writer, &f->error) != 0)
            fail_msg("%s", f->error.text);
        if (dice % 5 == 0) /* refused: no trace of it */
            assert_int_not_equal(fixture_request(f, CALLER_CLI, pair, 3), 0);
        fixture_request(f, CALLER_CLI, &call, 1);
        if (dice % 3 == 0)
            fixture_request(f, CALLER_CLI, &pair[1], 1);
        if (dice % 4 == 0) {
            store_writer_rollback(f->writer);
            fixture_run(f, CALLER_CLI, &call, 1);
        } else if (store_writer_commit(f->writer, &f->error) != 0) {
            fail_msg("%s", f->error.text);
        }
        if (store_writer_fold_due_ms(f->writer) == 1)
            fold(f, 0);
        if (dice % 50 == 0) {
            fixture_close(f);
            fixture_open(f);
            fixture_run(f, CALLER_CLI, &call, 1); /* its answer was lost */
        }
    }
    fold(f, 1);
    assert_string_equal(value(f, "SELECT count(*) FROM sync_details"), "1500");
    assert_string_equal(
        value(f,
              "SELECT count(*) FROM (SELECT json_extract(d.record_data,"
              "'$.customer') c, count(*) n, sum(json_extract(d.record_data,"
              "'$.amount')) s FROM sync_details d GROUP BY 1) JOIN (SELECT "
              "record_id, json_extract(record_data,'$.total') t, json_extract("
              "record_data,'$.spent') p, max(id) FROM sync_queue WHERE "
              "table_name='totals' GROUP BY 1) ON record_id = c AND t = n AND "
              "p = s"),
        "7");
}

static int open_store(void **state)
{
    static struct store_fixture fixture;
    *state = &fixture;
    fixture_init(&fixture);
    return 0;
}

static int end_store(void **state)
{
    fixture_deinit(*state);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_store, end_store)
    const struct CMUnitTest tests[] = {
        TEST(test_expressions),  TEST(test_odd_detail),
        TEST(test_when),         TEST(test_hook_events),
        TEST(test_declarations), TEST(test_exactly_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
