/* SPDX-License-Identifier: Apache-2.0
 *
 * Conflicts at both sinks: what is one, who wins, what comes back, and that
 * a batch that is sent again is told the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/unit/sink_fixture.h"
#include "workers/sync/fold.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

static struct cluster cluster;
static int cluster_status;
static int64_t next_batch = 1;

#define RULE(rule)                                                             \
    .conflict = CONFLICT_##rule, .target = "", .key = "id",                    \
    .updated_at = "updated_at", .version = "", .base = ""

static struct sync_table tables[] = {
    {.name = "last", RULE(LAST_WRITE_WINS)},
    {.name = "local", RULE(LOCAL_WINS)},
    {.name = "centre", RULE(CENTRE_WINS)},
    {.name = "manual", RULE(MANUAL)},
    {.name = "versioned",
     .conflict = CONFLICT_LAST_WRITE_WINS,
     .target = "",
     .key = "id",
     .updated_at = "updated_at",
     .version = "v",
     .base = "base"},
    {.name = "typed",
     .conflict = CONFLICT_LAST_WRITE_WINS,
     .target = "shared_people",
     .key = "id",
     .updated_at = "updated_at",
     .version = "",
     .base = ""},
    {.name = "own", .target = "own_people", .key = "id"},
};

static struct outbox_operation at(int64_t created_ms,
                                  struct outbox_operation operation)
{
    operation.created_ms = created_ms;
    return operation;
}

/* One batch of a host. */
static enum sink_outcome apply(struct fixture *f, const char *host,
                               const struct outbox_operation *operations,
                               size_t count)
{
    f->config.system_id = host;
    fixture_again(f);
    return fixture_apply(f, next_batch++, operations, count);
}

/* One operation of a host; what came of it. */
static const char *put(struct fixture *f, const char *host,
                       struct outbox_operation operation)
{
    if (apply(f, host, &operation, 1) != SINK_APPLIED)
        fail_msg("%s", f->error.text);
    assert_true(f->refusal_count + f->conflict_count <= 1);
    if (f->refusal_count)
        return "refused";
    if (!f->conflict_count)
        return "plain";
    assert_int_equal(f->conflicts[0].key, 1);
    return conflict_outcome_name(f->conflicts[0].outcome);
}

/* A record's value of x at the centre; "gone" for a tombstone. */
static const char *x_of(struct fixture *f, const char *table, const char *id)
{
    char sql[300];
    snprintf(sql, sizeof sql,
             "SELECT CASE WHEN deleted THEN 'gone' ELSE CAST(data->>'x' AS "
             "text) END FROM shared_records WHERE table_name = '%s' AND "
             "record_id = '%s'",
             table, id);
    return fixture_sql(f, sql);
}

static void expect_centre(struct fixture *f, size_t i, const char *host,
                          int64_t stamp, const char *data)
{
    assert_string_equal(f->centre_systems[i], host);
    assert_int_equal(f->conflicts[i].centre_stamp, stamp);
    assert_non_null(strstr(f->centre_data[i], data));
}

static void case_last_write_wins(struct fixture *f)
{
    assert_string_equal(put(f, "a", at(100, INS("last", "r", "{\"x\":1}"))),
                        "plain");
    /* newer, another host: that is no conflict */
    assert_string_equal(put(f, "b", at(200, INS("last", "r", "{\"x\":2}"))),
                        "plain");
    assert_string_equal(put(f, "a", at(150, INS("last", "r", "{\"x\":3}"))),
                        "lost");
    expect_centre(f, 0, "b", 200, "2");
    assert_int_equal(f->conflicts[0].stamp, 150);
    assert_int_equal(f->conflicts[0].rule, CONFLICT_LAST_WRITE_WINS);
    assert_false(f->conflicts[0].centre_deleted);
    assert_string_equal(x_of(f, "last", "r"), "2");
    /* its own row is no conflict, though the clock went back; and the row's
     * stamp does not */
    assert_string_equal(put(f, "b", at(120, UPD("last", "r", "{\"x\":4}"))),
                        "plain");
    assert_string_equal(put(f, "a", at(199, UPD("last", "r", "{\"x\":5}"))),
                        "lost");
    assert_string_equal(put(f, "a", at(201, UPD("last", "r", "{\"y\":5}"))),
                        "plain");
    assert_string_equal(x_of(f, "last", "r"), "4");
}

static void case_tie(struct fixture *f)
{
    put(f, "a", at(100, INS("last", "t1", "{\"x\":1}")));
    assert_string_equal(put(f, "b", at(100, INS("last", "t1", "{\"x\":2}"))),
                        "won");
    expect_centre(f, 0, "a", 100, "1");
    put(f, "b", at(100, INS("last", "t2", "{\"x\":2}")));
    assert_string_equal(put(f, "a", at(100, INS("last", "t2", "{\"x\":1}"))),
                        "lost");
    assert_string_equal(x_of(f, "last", "t1"), "2");
    assert_string_equal(x_of(f, "last", "t2"), "2");
}

static void case_local_and_centre(struct fixture *f)
{
    put(f, "a", at(200, INS("local", "r", "{\"x\":1}")));
    assert_string_equal(put(f, "b", at(100, INS("local", "r", "{\"x\":2}"))),
                        "won");
    expect_centre(f, 0, "a", 200, "1");
    assert_string_equal(x_of(f, "local", "r"), "2");
    put(f, "a", at(100, INS("centre", "r", "{\"x\":1}")));
    assert_string_equal(put(f, "b", at(100, INS("centre", "r", "{\"x\":2}"))),
                        "lost");
    assert_string_equal(put(f, "b", at(101, INS("centre", "r", "{\"x\":2}"))),
                        "plain");
}

static void case_delete_against_edit(struct fixture *f)
{
    put(f, "a", at(100, INS("last", "d", "{\"x\":1}")));
    put(f, "b", at(200, UPD("last", "d", "{\"x\":2}")));
    assert_string_equal(put(f, "a", at(150, DEL("last", "d"))), "lost");
    expect_centre(f, 0, "b", 200, "2");
    assert_string_equal(x_of(f, "last", "d"), "2");
    assert_string_equal(put(f, "a", at(250, DEL("last", "d"))), "plain");
    assert_string_equal(x_of(f, "last", "d"), "gone");
    assert_string_equal(put(f, "b", at(220, UPD("last", "d", "{\"x\":3}"))),
                        "lost");
    assert_true(f->conflicts[0].centre_deleted);
    assert_null(f->conflicts[0].centre_data);
    assert_string_equal(f->centre_systems[0], "a");
    assert_string_equal(x_of(f, "last", "d"), "gone");
    assert_string_equal(put(f, "b", at(300, UPD("last", "d", "{\"x\":4}"))),
                        "plain");
    assert_string_equal(x_of(f, "last", "d"), "4");
    /* a tombstone of what never was */
    assert_string_equal(put(f, "a", at(100, DEL("last", "e"))), "plain");
    assert_string_equal(put(f, "b", at(50, INS("last", "e", "{}"))), "lost");
}

static void case_manual(struct fixture *f)
{
    put(f, "a", at(200, INS("manual", "r", "{\"x\":1}")));
    struct outbox_operation list[] = {
        at(100, UPD("manual", "other", "{\"x\":7}")),
        at(100, UPD("manual", "r", "{\"x\":2}")),
        at(300, UPD("manual", "r", "{\"x\":3}")),
        at(400, DEL("manual", "r")),
    };
    assert_int_equal(apply(f, "b", list, COUNT(list)), SINK_APPLIED);
    assert_int_equal(f->conflict_count, 1);
    assert_int_equal(f->conflicts[0].key, 2);
    assert_int_equal(f->conflicts[0].outcome, CONFLICT_PARKED);
    assert_int_equal(f->refusal_count, 2);
    assert_true(f->refusals[0].held && f->refusals[1].held);
    assert_int_equal(f->refusals[0].key + f->refusals[1].key, 3 + 4);
    assert_string_equal(x_of(f, "manual", "r"), "1");
    assert_string_equal(x_of(f, "manual", "other"), "7");
    /* a person keeps the local one, over what was seen */
    struct outbox_operation kept = list[1];
    kept.resolved = true;
    kept.resolved_over = f->conflicts[0].centre_stamp;
    put(f, "a", at(210, UPD("manual", "r", "{\"x\":4}")));
    assert_string_equal(put(f, "b", kept), "parked");
    kept.resolved_over = f->conflicts[0].centre_stamp;
    assert_string_equal(put(f, "b", kept), "plain");
    assert_string_equal(x_of(f, "manual", "r"), "2");
    assert_string_equal(put(f, "a", at(210, UPD("manual", "r", "{}"))),
                        "parked");
}

static void case_version(struct fixture *f)
{
    put(f, "a", at(900, INS("versioned", "r", "{\"v\":1,\"x\":1}")));
    assert_string_equal(
        put(f, "b", at(100, UPD("versioned", "r", "{\"v\":2,\"x\":2}"))),
        "plain");
    assert_string_equal(
        put(f, "a", at(950, UPD("versioned", "r", "{\"v\":2,\"x\":3}"))),
        "lost");
    expect_centre(f, 0, "b", 2, "2");
    /* nobody said which: older than all that others wrote */
    assert_string_equal(put(f, "a", at(950, DEL("versioned", "r"))), "lost");
    assert_string_equal(
        put(f, "a", at(950, UPD("versioned", "r", "{\"x\":3}"))), "lost");
    assert_string_equal(
        put(f, "a", at(950, UPD("versioned", "r", "{\"v\":\"7\"}"))), "lost");
    assert_string_equal(put(f, "b", at(1, DEL("versioned", "r"))), "plain");
    assert_string_equal(x_of(f, "versioned", "r"), "gone");
    assert_string_equal(
        put(f, "a", at(1, UPD("versioned", "r", "{\"v\":3,\"x\":5}"))),
        "plain");
}

static void case_base(struct fixture *f)
{
    put(f, "a", INS("versioned", "b", "{\"v\":5,\"x\":1}"));
    /* made upon 3, so it had not seen 5; it wins all the same, being newer,
     * and says over what */
    assert_string_equal(
        put(f, "b", UPD("versioned", "b", "{\"v\":6,\"base\":3,\"x\":2}")),
        "won");
    expect_centre(f, 0, "a", 5, "1");
    assert_string_equal(
        put(f, "a", UPD("versioned", "b", "{\"v\":6,\"base\":6,\"x\":3}")),
        "plain");
    assert_string_equal(x_of(f, "versioned", "b"), "3");
}

static void case_times(struct fixture *f)
{
    put(f, "a",
        at(5, INS("last", "w", "{\"updated_at\":\"2026-01-01T00:00:01Z\"}")));
    assert_string_equal(
        put(f, "b", INS("last", "w", "{\"updated_at\":1767225600.5}")), "lost");
    assert_int_equal(f->conflicts[0].stamp, INT64_C(1767225600500));
    assert_int_equal(f->conflicts[0].centre_stamp, INT64_C(1767225601000));
    assert_string_equal(
        put(f, "b", INS("last", "w", "{\"updated_at\":1767225601500}")),
        "plain");
    assert_string_equal(
        put(f, "a",
            INS("last", "w",
                "{\"updated_at\":\"2026-01-01 02:00:01.4+02:00\"}")),
        "lost");
    /* no time that is understood: when it was recorded */
    assert_string_equal(
        put(f, "a", at(7, INS("last", "w", "{\"updated_at\":\"now\"}"))),
        "lost");
    assert_int_equal(f->conflicts[0].stamp, 7);
}

/* A clock that is a year ahead wins for a minute, not for a year. */
static void case_future(struct fixture *f)
{
    int64_t now = clock_wall_ms();
    put(f, "a", at(now + INT64_C(31536000000), INS("last", "f", "{}")));
    assert_string_equal(put(f, "b", at(now, INS("last", "f", "{}"))), "lost");
    int64_t ahead = f->conflicts[0].centre_stamp - now;
    assert_in_range(ahead, STAMP_AHEAD_MAX_MS, STAMP_AHEAD_MAX_MS + 30000);
    assert_string_not_equal(
        put(f, "b", at(now + INT64_C(63072000000), INS("last", "f", "{}"))),
        "lost");
}

/* Several operations of one record: those before the first that wins are
 * lost, those behind it stand. */
static void case_folded(struct fixture *f)
{
    struct outbox_operation list[] = {
        at(100, INS("last", "g", "{\"x\":1}")),
        at(200, UPD("last", "g", "{\"y\":2}")),
        at(300, UPD("last", "g", "{\"z\":3}")),
        at(50, UPD("last", "g", "{\"w\":4}")),
        at(100, INS("last", "h", "{\"x\":1}")),
        at(120, UPD("last", "h", "{\"x\":2}")),
    };
    put(f, "b", at(250, INS("last", "g", "{\"x\":9}")));
    put(f, "b", at(90, INS("last", "h", "{\"q\":9}")));
    assert_int_equal(apply(f, "a", list, COUNT(list)), SINK_APPLIED);
    assert_int_equal(f->refusal_count, 0);
    assert_int_equal(f->conflict_count, 2);
    assert_int_equal(f->conflicts[0].key, 1);
    assert_int_equal(f->conflicts[1].key, 2);
    assert_int_equal(f->conflicts[1].outcome, CONFLICT_LOST);
    assert_string_equal(x_of(f, "last", "g"), "9");
    assert_string_equal(
        fixture_sql(f, "SELECT count(*) FROM shared_records WHERE record_id = "
                       "'g' AND stamp = 300 AND data->>'y' IS NULL AND "
                       "CAST(data->>'z' AS text) = '3' AND "
                       "CAST(data->>'w' AS text) = '4'"),
        "1");
    assert_string_equal(x_of(f, "last", "h"), "2");
}

static void case_repeated(struct fixture *f)
{
    struct outbox_operation list[] = {
        at(100, INS("last", "p", "{\"x\":1}")),
        at(100, INS("last", "q", "{\"x\":\"\\u0000\"}")),
        at(100, INS("manual", "p", "{\"x\":2}")),
        at(300, UPD("manual", "p", "{\"x\":3}")),
        at(300, INS("local", "p", "{\"x\":3}")),
        at(300, INS("plain", "p", "{\"x\":3}")),
    };
    put(f, "b", at(200, INS("last", "p", "{\"x\":\"\xc3\xa9 \\\"\"}")));
    put(f, "b", at(200, INS("manual", "p", "{\"x\":2}")));
    put(f, "b", at(400, INS("local", "p", "[1]")));
    for (int i = 0; i < 3; i++) {
        if (i == 2)
            put(f, "c", at(900, INS("last", "p", "{\"x\":0}")));
        f->config.system_id = "a";
        fixture_again(f);
        assert_int_equal(fixture_apply(f, 77, list, COUNT(list)),
                         i ? SINK_REPEATED : SINK_APPLIED);
        assert_int_equal(f->refusal_count, 2);
        assert_int_equal(f->conflict_count, 3);
        for (size_t n = 0; n < 3; n++)
            switch (f->conflicts[n].key) {
            case 1:
                assert_int_equal(f->conflicts[n].outcome, CONFLICT_LOST);
                expect_centre(f, n, "b", 200, "\xc3\xa9 \\\"");
                break;
            case 3:
                assert_int_equal(f->conflicts[n].outcome, CONFLICT_PARKED);
                assert_int_equal(f->conflicts[n].rule, CONFLICT_MANUAL);
                break;
            default:
                assert_int_equal(f->conflicts[n].key, 5);
                assert_int_equal(f->conflicts[n].outcome, CONFLICT_WON);
                expect_centre(f, n, "b", 400, "[1]");
            }
    }
}

static void case_typed(struct fixture *f)
{
    fixture_sql(f, "CREATE TABLE shared_people (id integer PRIMARY KEY,"
                   " system_id text, name text NOT NULL,"
                   " age integer CHECK (age > 0));"
                   "CREATE TABLE own_people (system_id text, id integer, "
                   "name text, UNIQUE (system_id, id))");
    struct outbox_operation list[] = {
        at(100, INS("typed", "1", "{\"name\":\"Ada\",\"age\":36}")),
        at(100, INS("typed", "2", "{\"name\":\"Bob\"}")),
        at(110, UPD("typed", "2", "{\"age\":5}")),
        at(100, INS("own", "1", "{\"name\":\"mine\"}")),
        at(100, INS("plain", "1", "{\"name\":\"plain\"}")),
    };
    assert_int_equal(apply(f, "a", list, COUNT(list)), SINK_APPLIED);
    assert_int_equal(f->refusal_count + f->conflict_count, 0);
    assert_string_equal(
        put(f, "b", at(90, UPD("typed", "1", "{\"name\":\"Eve\"}"))), "lost");
    assert_string_equal(f->centre_systems[0], "a");
    assert_non_null(strstr(f->centre_data[0], "Ada"));
    assert_null(strstr(f->centre_data[0], "system_id"));
    assert_string_equal(
        put(f, "b", at(200, UPD("typed", "1", "{\"name\":\"Eve\"}"))), "plain");
    assert_string_equal(fixture_sql(f, "SELECT name || age || system_id FROM "
                                       "shared_people WHERE id = 1"),
                        "Eve36b");
    assert_string_equal(put(f, "a", at(300, UPD("typed", "1", "{\"age\":-1}"))),
                        "refused");
    /* what was refused left no trace in the stamps either */
    assert_string_equal(put(f, "c", at(250, UPD("typed", "1", "{\"age\":40}"))),
                        "plain");
    assert_string_equal(put(f, "a", at(240, DEL("typed", "1"))), "lost");
    assert_string_equal(put(f, "a", at(400, DEL("typed", "1"))), "plain");
    assert_string_equal(
        put(f, "b", at(390, UPD("typed", "1", "{\"name\":\"x\"}"))), "lost");
    assert_true(f->conflicts[0].centre_deleted);
    assert_string_equal(fixture_sql(f, "SELECT count(*) FROM shared_people"),
                        "1");
    fixture_sql(f, "DROP TABLE shared_people; DROP TABLE own_people");
}

/* What is refused beside a conflict, and by the careful way. */
static void case_poison(struct fixture *f)
{
    put(f, "b", at(200, INS("last", "k1", "{\"x\":1}")));
    struct outbox_operation list[] = {
        at(100, UPD("last", "k1", "{\"x\":2}")),
        at(150, UPD("last", "k1", "{\"x\":\"\\u0000\"}")),
        at(300, UPD("last", "k1", "{\"x\":3}")),
        at(300, UPD("last", "k2", "{\"x\":4}")),
        at(300, UPD("last", "k3", "{\"x\":\"\xff\"}")),
        at(300, INS("plain", "k", "{\"x\":4}")),
    };
    assert_int_equal(apply(f, "a", list, COUNT(list)), SINK_APPLIED);
    assert_int_equal(f->conflict_count, 1);
    assert_int_equal(f->conflicts[0].key, 1);
    assert_int_equal(f->refusal_count, 3);
    assert_string_equal(x_of(f, "last", "k1"), "1");
    assert_string_equal(x_of(f, "last", "k2"), "4");
}

/* The end is the highest (time, host), in whatever order they come. */
static void case_any_order(struct fixture *f)
{
    uint32_t seed = 42;
    for (int round = 0; round < 40; round++) {
        char id[16], data[8][32], want[16] = "";
        const char *const hosts[] = {"a", "b", "c"};
        int64_t best = -1;
        const char *best_host = "";
        snprintf(id, sizeof id, "o%d", round);
        for (size_t i = 0; i < 8; i++) {
            seed = seed * 1664525u + 1013904223u;
            const char *host = hosts[(seed >> 20) % 3];
            int64_t time = (seed >> 10) % 4;
            bool gone = (seed >> 24) % 4 == 0;
            snprintf(data[i], sizeof data[i], "{\"x\":\"%zu\"}", i);
            put(f, host,
                at(time, gone ? DEL("last", id) : INS("last", id, data[i])));
            /* of one host the later operation stands, whatever its time */
            if (time > best || (time == best && strcmp(host, best_host) >= 0) ||
                strcmp(host, best_host) == 0) {
                best = time > best ? time : best;
                best_host = host;
                if (gone)
                    snprintf(want, sizeof want, "gone");
                else
                    snprintf(want, sizeof want, "%zu", i);
            }
        }
        assert_string_equal(x_of(f, "last", id), want);
    }
}

static const struct {
    const char *name;
    void (*run)(struct fixture *f);
} cases[] = {
    {"last_write_wins", case_last_write_wins},
    {"tie", case_tie},
    {"local_and_centre", case_local_and_centre},
    {"delete_against_edit", case_delete_against_edit},
    {"manual", case_manual},
    {"version", case_version},
    {"base", case_base},
    {"times", case_times},
    {"future", case_future},
    {"folded", case_folded},
    {"repeated", case_repeated},
    {"typed", case_typed},
    {"poison", case_poison},
    {"any_order", case_any_order},
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
    f.config.tables = tables;
    f.config.table_count = COUNT(tables);
    cases[n % COUNT(cases)].run(&f);
    fixture_close(&f);
}

int main(void)
{
    struct CMUnitTest tests[2 * COUNT(cases)];
    char names[2 * COUNT(cases)][64];
    memset(tests, 0, sizeof tests);
    for (size_t i = 0; i < COUNT(tests); i++) {
        snprintf(names[i], sizeof names[i], "%s.%s",
                 i < COUNT(cases) ? "sqlite" : "pgsql",
                 cases[i % COUNT(cases)].name);
        tests[i].name = names[i];
        tests[i].test_func = run_case;
        tests[i].initial_state = (void *)i;
    }
    log_set_level(LOG_WARNING_LEVEL);
    cluster_status = cluster_make(&cluster);
    if (cluster_status > 0)
        fprintf(stderr, "PostgreSQL is not installed: the pgsql sink is "
                        "skipped\n");
    int failed =
        _cmocka_run_group_tests("conflicts", tests, COUNT(tests), NULL, NULL);
    if (cluster_status <= 0)
        cluster_remove(&cluster);
    return failed;
}
