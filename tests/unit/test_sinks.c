/* SPDX-License-Identifier: Apache-2.0
 *
 * Both sinks against one table of cases: what lands, how often, in which
 * order, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/log.h"
#include "tests/unit/sink_fixture.h"
#include "tests/unit/test_sinks.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

static struct cluster cluster;
static int cluster_status;

/* The value of a field of record `id` in table t. */
static const char *field(struct fixture *f, const char *id, const char *name)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT data->>'%s' FROM synced_records WHERE system_id = $"
             " AND record_id = '%s'",
             name, id);
    return fixture_sql(f, sql);
}

static const char *is_deleted(struct fixture *f, const char *id)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT CASE WHEN deleted THEN 'yes' ELSE 'no' END FROM "
             "synced_records WHERE system_id = $ AND record_id = '%s'",
             id);
    return fixture_sql(f, sql);
}

static const char *rows(struct fixture *f)
{
    return fixture_sql(
        f, "SELECT count(*) FROM synced_records WHERE system_id = $");
}

static void case_semantics(struct fixture *f)
{
    struct outbox_operation first[] = {INS("t", "a", "{\"x\":1,\"y\":2}"),
                                       UPD("t", "b", "{\"x\":5}"),
                                       DEL("t", "c"), INS("t", "d", "[1,2]")};
    assert_int_equal(fixture_apply(f, 1, first, 4), SINK_APPLIED);
    assert_int_equal(f->refusal_count, 0);
    assert_string_equal(field(f, "a", "y"), "2");
    assert_string_equal(field(f, "b", "x"), "5");
    assert_string_equal(is_deleted(f, "c"), "yes");
    struct outbox_operation second[] = {
        UPD("t", "a", "{\"y\":3,\"z\":null}"), INS("t", "b", "{\"q\":1}"),
        UPD("t", "c", "{\"new\":1}"), UPD("t", "d", "{\"o\":1}")};
    assert_int_equal(fixture_apply(f, 2, second, 4), SINK_APPLIED);
    assert_string_equal(field(f, "a", "x"), "1");
    assert_string_equal(field(f, "a", "y"), "3");
    assert_string_equal(field(f, "b", "x"), "");
    assert_string_equal(field(f, "b", "q"), "1");
    assert_string_equal(is_deleted(f, "c"), "no");
    assert_string_equal(field(f, "d", "o"), "1");
    struct outbox_operation third[] = {DEL("t", "a")};
    assert_int_equal(fixture_apply(f, 3, third, 1), SINK_APPLIED);
    assert_string_equal(is_deleted(f, "a"), "yes");
    assert_string_equal(field(f, "a", "x"), "");
    struct outbox_operation fourth[] = {INS("t", "a", "{\"w\":1}")};
    assert_int_equal(fixture_apply(f, 4, fourth, 1), SINK_APPLIED);
    assert_string_equal(is_deleted(f, "a"), "no");
    assert_string_equal(rows(f), "4");
}

static void case_order(struct fixture *f)
{
    struct outbox_operation list[] = {INS("t", "a", "{\"x\":1}"),
                                      INS("u", "a", "{\"x\":9}"),
                                      UPD("t", "a", "{\"y\":2}"),
                                      UPD("t", "b", "{\"x\":1}"),
                                      DEL("t", "a"),
                                      UPD("t", "a", "{\"z\":3}"),
                                      UPD("t", "b", "{\"x\":2}"),
                                      UPD("t", "c", "[1]"),
                                      UPD("t", "c", "{\"k\":\"last\"}"),
                                      INS("t", "e", "{\"x\":1}"),
                                      DEL("t", "e")};
    assert_int_equal(fixture_apply(f, 1, list, COUNT(list)), SINK_APPLIED);
    assert_string_equal(fixture_sql(f,
                                    "SELECT count(*) FROM synced_records "
                                    "WHERE system_id=$ AND record_id='a' "
                                    "AND table_name='t' AND "
                                    "data->>'x' IS NULL AND data->>'y' IS "
                                    "NULL AND CAST(data->>'z' AS text) = '3'"),
                        "1");
    assert_string_equal(field(f, "b", "x"), "2");
    assert_string_equal(field(f, "c", "k"), "last");
    assert_string_equal(is_deleted(f, "e"), "yes");
    assert_string_equal(rows(f), "5");
}

static void case_hot_record(struct fixture *f)
{
    enum { N = 5000 };
    struct outbox_operation *list = calloc(N, sizeof *list);
    char(*data)[64] = calloc(N, sizeof *data);
    assert_non_null(list);
    assert_non_null(data);
    for (int i = 0; i < N; i++) {
        snprintf(data[i], sizeof *data, "{\"last\":%d,\"k%d\":%d}", i, i % 50,
                 i);
        list[i] = UPD("t", "hot", data[i]);
    }
    assert_int_equal(fixture_apply(f, 1, list, N), SINK_APPLIED);
    assert_string_equal(field(f, "hot", "last"), "4999");
    assert_string_equal(field(f, "hot", "k7"), "4957");
    free(data);
    free(list);
}

static void case_many(struct fixture *f)
{
    enum { N = 5000 };
    struct outbox_operation *list = calloc(N, sizeof *list);
    char(*ids)[16] = calloc(N, sizeof *ids);
    assert_non_null(list);
    assert_non_null(ids);
    for (int i = 0; i < N; i++) {
        snprintf(ids[i], sizeof *ids, "r%d", i);
        list[i] =
            INS("t", ids[i], i % 500 ? "{\"x\":1}" : "{\"x\":\"\\u0000\"}");
    }
    assert_int_equal(fixture_apply(f, 1, list, N), SINK_APPLIED);
    assert_int_equal(f->refusal_count, 10);
    assert_string_equal(rows(f), "4990");
    free(ids);
    free(list);
}

static void case_repeated(struct fixture *f)
{
    struct outbox_operation list[] = {INS("t", "a", "{\"x\":1}"),
                                      INS("t", "b", "{\"x\":\"\\u0000\"}"),
                                      UPD("t", "b", "{\"x\":1}")};
    struct outbox_operation other[] = {INS("t", "a", "{\"x\":2}")};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fixture_apply(f, 7, list, 3),
                         i ? SINK_REPEATED : SINK_APPLIED);
        assert_int_equal(f->refusal_count, 2);
        assert_int_equal(f->refusals[0].key, 2);
        assert_false(f->refusals[0].held);
        assert_string_equal(f->refusals[0].sqlstate, "22P05");
        assert_non_null(strstr(f->messages[0], "Unicode"));
        assert_int_equal(f->refusals[1].key, 3);
        assert_true(f->refusals[1].held);
        assert_string_equal(f->refusals[1].sqlstate, "");
        assert_string_equal(f->messages[1], SINK_HELD_WORDS);
        assert_string_equal(field(f, "a", "x"), i ? "2" : "1");
        if (i == 0)
            assert_int_equal(fixture_apply(f, 8, other, 1), SINK_APPLIED);
        if (i == 1)
            fixture_again(f);
    }
    assert_string_equal(
        fixture_sql(f, "SELECT count(*) FROM ledger WHERE system_id = $"), "2");
}

static void case_poison(struct fixture *f)
{
    static const struct {
        const char *data, *sqlstate;
    } bad[] = {
        {"{\"x\":\"a\\u0000b\"}", "22P05"},
        {"{\"\\u0000\":1}", "22P05"},
        {"{\"x\":\"\\ud800\"}", "22P02"},
        {"{\"x\":\"\\udc00\"}", "22P02"},
        {"{\"x\":\"\\ud83dx\"}", "22P02"},
        {"{\"x\":1e200000}", "22003"},
        {"{\"x\":-1.5E-20000}", "22003"},
        {"{\"x\":\"\xff\"}", "22021"},
        {NULL, "22004"},
        {"{\"x\":", "22P02"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct outbox_operation list[] = {INS("t", "before", "{\"x\":1}"),
                                          UPD("t", "p", "{\"ok\":1}"),
                                          UPD("t", "p", bad[i].data),
                                          UPD("t", "p", "{\"after\":1}"),
                                          DEL("t", "p"),
                                          INS("t", "after", "{\"x\":2}")};
        struct outbox_operation alone[] = {INS("t", "q", bad[i].data)};
        assert_int_equal(fixture_apply(f, (int64_t)i * 2 + 1, list, 6),
                         SINK_APPLIED);
        assert_int_equal(f->refusal_count, 3);
        for (size_t n = 0; n < 3; n++) {
            assert_int_equal(f->refusals[n].key, n + 3);
            assert_int_equal(f->refusals[n].held, n > 0);
        }
        assert_string_equal(f->refusals[0].sqlstate, bad[i].sqlstate);
        assert_string_equal(field(f, "p", "ok"), "1");
        assert_string_equal(field(f, "after", "x"), "2");
        assert_int_equal(fixture_apply(f, (int64_t)i * 2 + 2, alone, 1),
                         SINK_APPLIED);
        assert_int_equal(f->refusal_count, 1);
        assert_string_equal(f->refusals[0].sqlstate, bad[i].sqlstate);
    }
    assert_string_equal(rows(f), "3");
}

static void case_fine_values(struct fixture *f)
{
    static const char *const fine[] = {
        "{\"x\":\"\\ud83d\\ude00 \xf0\x9f\x98\x80\"}",
        "{\"x\":\"\\\\u0000 \\\\ud800\"}",
        "{\"x\":1e1000,\"y\":0e999999,\"z\":123456789012345678901234567890}",
        "{\"\":\"\"}",
        "\"\"",
        "null",
        "[]",
        " { } ",
        "{\"a\":{\"b\":[1,2,{\"c\":null}]}}"};
    struct outbox_operation list[COUNT(fine) + 2];
    char ids[COUNT(fine)][8];
    for (size_t i = 0; i < COUNT(fine); i++) {
        snprintf(ids[i], sizeof ids[i], "r%zu", i);
        list[i] = INS("t", ids[i], fine[i]);
    }
    list[COUNT(fine)] = INS("", "", "{\"x\":\"empty\"}");
    list[COUNT(fine) + 1] =
        INS("t\xc3\xa9", "it's \"\\ {,} NULL \xe2\x82\xac", "{}");
    assert_int_equal(fixture_apply(f, 1, list, COUNT(list)), SINK_APPLIED);
    assert_int_equal(f->refusal_count, 0);
    assert_string_equal(field(f, "r0", "x"),
                        "\xf0\x9f\x98\x80 \xf0\x9f\x98\x80");
    assert_string_equal(field(f, "r1", "x"), "\\u0000 \\ud800");
    assert_string_equal(field(f, "", "x"), "empty");
    assert_string_equal(
        fixture_sql(f, "SELECT count(*) FROM synced_records WHERE system_id=$ "
                       "AND record_id = 'it''s \"\\ {,} NULL \xe2\x82\xac'"),
        "1");
}

static void case_large(struct fixture *f)
{
    size_t size = 4u << 20;
    char *data = malloc(size + 32);
    assert_non_null(data);
    memcpy(data, "{\"x\":\"", 6);
    memset(data + 6, 'w', size);
    memcpy(data + 6 + size, "\"}", 3);
    struct outbox_operation list[] = {INS("t", "large", data),
                                      UPD("t", "large", "{\"y\":1}"),
                                      INS("t", "large2", data)};
    assert_int_equal(fixture_apply(f, 1, list, 3), SINK_APPLIED);
    assert_string_equal(fixture_sql(f, "SELECT length(data->>'x') FROM "
                                       "synced_records WHERE system_id = $ "
                                       "AND record_id = 'large'"),
                        "4194304");
    assert_string_equal(field(f, "large", "y"), "1");
    free(data);
}

static void make_typed_tables(struct fixture *f)
{
    fixture_sql(f, "CREATE TABLE typed_people (system_id text, id integer,"
                   " name text NOT NULL, age integer CHECK (age > 0),"
                   " note text DEFAULT 'none', deleted boolean DEFAULT false,"
                   " UNIQUE (system_id, id));"
                   "CREATE TABLE typed_gone (system_id text,"
                   " \"the \"\"key\" text, v integer,"
                   " UNIQUE (system_id, \"the \"\"key\"))");
}

static void case_typed(struct fixture *f)
{
    static struct sync_table tables[] = {
        {.name = "people", .target = "typed_people", .key = "id"},
        {.name = "gone", .target = "typed_gone", .key = "the \"key"}};
    f->config.tables = tables;
    f->config.table_count = 2;
    fixture_again(f);
    make_typed_tables(f);
    struct outbox_operation first[] = {
        INS("people", "1", "{\"name\":\"Ada\",\"age\":36,\"other\":1}"),
        INS("people", "2", "{\"name\":\"Bob\",\"note\":\"n\"}"),
        INS("people", "3", "{\"name\":\"Eve\",\"age\":-1}"),
        UPD("people", "3", "{\"age\":5}"),
        INS("people", "4", "{\"age\":7}"),
        INS("people", "5", "[1]"),
        INS("gone", "g", "{\"v\":1}"),
        INS("gone", "h", "{\"v\":2}"),
        INS("plain", "p", "{\"v\":3}")};
    assert_int_equal(fixture_apply(f, 1, first, COUNT(first)), SINK_APPLIED);
    assert_string_equal(fixture_sql(f, "SELECT count(*) FROM typed_gone"), "2");
    /* 3 folds to a good row: what was between is nobody's business. */
    assert_int_equal(f->refusal_count, 3 - 1);
    assert_string_equal(
        fixture_sql(f, "SELECT count(*) FROM typed_people WHERE id IN (1,2,3)"),
        "3");
    struct outbox_operation second[] = {UPD("people", "1", "{\"age\":37}"),
                                        INS("people", "2", "{\"name\":\"B\"}"),
                                        DEL("people", "3"), DEL("gone", "g"),
                                        UPD("gone", "h", "{\"v\":9}")};
    assert_int_equal(fixture_apply(f, 2, second, COUNT(second)), SINK_APPLIED);
    assert_int_equal(f->refusal_count, 0);
    assert_string_equal(
        fixture_sql(f, "SELECT name || age || note FROM typed_people "
                       "WHERE id = 1"),
        "Ada37none");
    assert_string_equal(
        fixture_sql(f, "SELECT name || note FROM typed_people WHERE id = 2"),
        "Bnone");
    assert_string_equal(
        fixture_sql(f, "SELECT count(*) FROM typed_people WHERE deleted"), "1");
    assert_string_equal(fixture_sql(f, "SELECT max(v) FROM typed_gone"), "9");
    struct outbox_operation third[] = {
        UPD("people", "3", "{\"name\":\"new\"}")};
    assert_int_equal(fixture_apply(f, 3, third, 1), SINK_APPLIED);
    assert_string_equal(
        fixture_sql(f, "SELECT coalesce(age, 0) FROM typed_people WHERE id = 3 "
                       "AND NOT deleted"),
        "0");
    fixture_sql(f, "DROP TABLE typed_people; DROP TABLE typed_gone");
    assert_int_equal(fixture_apply(f, 4, third, 1), SINK_TRANSIENT);
    assert_int_equal(f->error.code, ERROR_CONFIG);
    assert_non_null(strstr(f->error.text, "typed_people"));
    assert_string_equal(fixture_sql(f, "SELECT count(*) FROM ledger WHERE "
                                       "system_id = $ AND batch_id = 4"),
                        "0");
}

static void case_exactly_once(struct fixture *f)
{
    if (f->pgsql)
        fixture_sql(f,
                    "CREATE TABLE counts (n integer);"
                    "CREATE FUNCTION count_change() RETURNS trigger LANGUAGE "
                    "plpgsql AS $$ BEGIN INSERT INTO public.counts VALUES (1); "
                    "RETURN NULL; END $$;"
                    "CREATE TRIGGER counting AFTER INSERT OR UPDATE ON "
                    "tidemill.synced_records FOR EACH ROW EXECUTE FUNCTION "
                    "count_change()");
    else
        fixture_sql(f,
                    "CREATE TABLE counts (n integer);"
                    "CREATE TRIGGER counting_i AFTER INSERT ON synced_records "
                    "BEGIN INSERT INTO counts VALUES (1); END;"
                    "CREATE TRIGGER counting_u AFTER UPDATE ON synced_records "
                    "BEGIN INSERT INTO counts VALUES (1); END");
    struct outbox_operation list[] = {INS("t", "a", "{\"x\":1}"),
                                      UPD("t", "a", "{\"x\":2}"),
                                      INS("t", "b", "{\"x\":\"\\u0000\"}"),
                                      INS("t", "c", "{}"), DEL("t", "d")};
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_apply(f, 1, list, COUNT(list)),
                         i ? SINK_REPEATED : SINK_APPLIED);
    assert_string_equal(fixture_sql(f, "SELECT count(*) FROM counts"), "3");
    if (f->pgsql)
        fixture_sql(f, "DROP TRIGGER counting ON tidemill.synced_records;"
                       "DROP FUNCTION count_change; DROP TABLE counts");
}

static void case_close_under_way(struct fixture *f)
{
    struct outbox_operation list[] = {INS("t", "a", "{\"x\":1}")};
    fixture_begin(f, 1, list, 1);
    fixture_again(f);
    fixture_begin(f, 2, list, 1);
    assert_int_equal(fixture_wait(f), SINK_APPLIED);
    assert_int_equal(fixture_probe(f), SINK_APPLIED);
}

static void case_long_key(struct fixture *f)
{
    char id[20001];
    uint32_t seed = 7;
    for (size_t i = 0; i < sizeof id - 1; i++) {
        seed = seed * 1664525u + 1013904223u;
        id[i] = (char)('!' + (seed >> 24) % 90);
    }
    id[sizeof id - 1] = '\0';
    struct outbox_operation list[] = {INS("t", id, "{}"),
                                      INS("t", "a", "{\"x\":1}")};
    assert_int_equal(fixture_apply(f, 1, list, 2), SINK_APPLIED);
    /* A key that PostgreSQL's index cannot hold; SQLite's can. */
    assert_int_equal(f->refusal_count, f->pgsql ? 1 : 0);
    if (f->pgsql)
        assert_string_equal(f->refusals[0].sqlstate, "54000");
    assert_string_equal(field(f, "a", "x"), "1");
}

/* Somebody else writes at the centre: we wait, and lose nothing. */
static void case_locked(struct fixture *f)
{
    struct outbox_operation list[] = {INS("t", "a", "{\"x\":1}")};
    fixture_sql(f, f->pgsql ? "BEGIN; LOCK TABLE tidemill.synced_records"
                            : "BEGIN IMMEDIATE");
    fixture_begin(f, 1, list, 1);
    for (int i = 0; i < 20; i++)
        event_base_loop(f->base, EVLOOP_NONBLOCK);
    assert_false(f->done);
    fixture_sql(f, "COMMIT");
    assert_int_equal(fixture_wait(f), SINK_APPLIED);
    assert_string_equal(field(f, "a", "x"), "1");
}

/* The centre's disk takes no more: nothing of the batch is there, and it
 * lands once there is room again. */
static void case_no_room(struct fixture *f)
{
    if (f->pgsql)
        return; /* 53100 is among the SQLSTATEs of the server's cases */
    size_t size = 1u << 20;
    char *data = malloc(size);
    assert_non_null(data);
    memset(data, ' ', size);
    memcpy(data, "{}", 3);
    data[2] = ' ';
    data[size - 1] = '\0';
    struct outbox_operation list[] = {INS("t", "a", "{\"x\":1}"),
                                      INS("t", "b", data)};
    struct rlimit limit, small = {.rlim_cur = 200000};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small.rlim_max = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(fixture_apply(f, 1, list, 2), SINK_TRANSIENT);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_non_null(strstr(f->error.text, "sqlite centre"));
    assert_string_equal(rows(f), "0");
    assert_int_equal(fixture_apply(f, 1, list, 2), SINK_APPLIED);
    assert_string_equal(rows(f), "2");
    free(data);
}

/* Two senders of one batch, as after a worker's death. */
static void case_two_senders(struct fixture *f)
{
    struct outbox_operation list[] = {INS("t", "a", "{\"x\":1}"),
                                      UPD("t", "b", "{\"y\":1}")};
    struct fixture second = *f;
    second.sink = NULL;
    fixture_again(&second);
    for (int i = 0; i < 20; i++) {
        fixture_begin(f, i, list, 2);
        enum sink_outcome other = fixture_apply_beside(&second, f);
        fixture_wait(f);
        assert_int_equal(f->outcome + other, SINK_APPLIED + SINK_REPEATED);
    }
    second.methods->close(second.sink);
}

static const struct {
    const char *name;
    void (*run)(struct fixture *f);
} cases[] = {
    {"semantics", case_semantics},
    {"order", case_order},
    {"hot_record", case_hot_record},
    {"many", case_many},
    {"repeated", case_repeated},
    {"poison", case_poison},
    {"fine_values", case_fine_values},
    {"large", case_large},
    {"typed", case_typed},
    {"exactly_once", case_exactly_once},
    {"close_under_way", case_close_under_way},
    {"long_key", case_long_key},
    {"locked", case_locked},
    {"two_senders", case_two_senders},
    {"no_room", case_no_room},
};

static void run_case(void **state)
{
    size_t n = (size_t)*state;
    struct fixture f;
    if (n >= COUNT(cases) && cluster_status > 0)
        skip();
    assert_true(n < COUNT(cases) || cluster_status == 0);
    fixture_open(&f, n < COUNT(cases) ? &sink_sqlite : &sink_pgsql, &cluster,
                 cases[n % COUNT(cases)].name);
    cases[n % COUNT(cases)].run(&f);
    fixture_close(&f);
}

static void run_server_case(void **state)
{
    const struct server_case *server = *state;
    struct fixture f;
    if (cluster_status > 0)
        skip();
    assert_int_equal(cluster_status, 0);
    fixture_open(&f, &sink_pgsql, &cluster, server->name);
    server->run(&f);
    fixture_close(&f);
}

int main(void)
{
    struct CMUnitTest tests[2 * COUNT(cases) + SERVER_CASES_MAX];
    char names[2 * COUNT(cases)][64];
    size_t count = 0;
    memset(tests, 0, sizeof tests);
    for (size_t i = 0; i < 2 * COUNT(cases); i++, count++) {
        snprintf(names[i], sizeof names[i], "%s.%s",
                 i < COUNT(cases) ? "sqlite" : "pgsql",
                 cases[i % COUNT(cases)].name);
        tests[count].name = names[i];
        tests[count].test_func = run_case;
        tests[count].initial_state = (void *)i;
    }
    for (size_t i = 0; i < server_case_count; i++, count++) {
        tests[count].name = server_cases[i].name;
        tests[count].test_func = run_server_case;
        tests[count].initial_state = (void *)(size_t)&server_cases[i];
    }
    for (size_t i = 0; i < several_case_count; i++, count++) {
        tests[count].name = several_cases[i].name;
        tests[count].test_func = run_server_case;
        tests[count].initial_state = (void *)(size_t)&several_cases[i];
    }
    log_set_level(LOG_WARNING_LEVEL);
    cluster_status = cluster_make(&cluster);
    if (cluster_status > 0)
        fprintf(stderr, "PostgreSQL is not installed: the pgsql sink is "
                        "skipped\n");
    int failed = _cmocka_run_group_tests("sinks", tests, count, NULL, NULL);
    if (cluster_status <= 0)
        cluster_remove(&cluster);
    return failed;
}
