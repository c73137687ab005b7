/* SPDX-License-Identifier: Apache-2.0
 *
 * Several batches under way on one connection.
 */
#include "tests/unit/test_sinks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/sink_fixture.h"

#define EACH 20 /* operations of a batch */

/* One batch under way, and its answer. */
struct several {
    struct outbox_operation operations[EACH];
    char records[EACH][16];
    struct sink_batch batch;
    bool done;
    enum sink_outcome outcome;
    size_t refusals;
    uint64_t apply_ns;
    struct error error;
};

static void on_answer(void *self, const struct sink_result *result)
{
    struct several *one = self;
    assert_false(one->done);
    one->done = true;
    one->outcome = result->outcome;
    one->refusals = result->refusal_count;
    one->apply_ns = result->apply_ns;
    one->error = result->error;
}

static void make_batch(struct several *one, int64_t batch_id)
{
    memset(one, 0, sizeof *one);
    for (int i = 0; i < EACH; i++) {
        snprintf(one->records[i], sizeof one->records[i], "%d-%d",
                 (int)batch_id, i);
        one->operations[i] = INS("t", one->records[i], "{\"x\":1}");
        one->operations[i].key = one->operations[i].id = i + 1;
    }
    one->batch = (struct sink_batch){.epoch = 1,
                                     .batch_id = batch_id,
                                     .operations = one->operations,
                                     .count = EACH};
}

static void send_all(struct fixture *f, struct several *list)
{
    for (int i = 0; i < SINK_DEPTH_MAX; i++) {
        list[i].done = false;
        f->methods->apply(f->sink, &list[i].batch, on_answer, &list[i]);
    }
}

static void await_all(struct fixture *f, struct several *list)
{
    for (int i = 0; i < SINK_DEPTH_MAX; i++)
        while (!list[i].done)
            event_base_loop(f->base, EVLOOP_ONCE);
}

static void make_all(struct several *list, int64_t first_id)
{
    for (int i = 0; i < SINK_DEPTH_MAX; i++)
        make_batch(&list[i], first_id + i);
}

static void assert_records(struct fixture *f, int count)
{
    char text[24];
    snprintf(text, sizeof text, "%d", count);
    assert_string_equal(fixture_sql(f, "SELECT count(*) FROM synced_records "
                                       "WHERE system_id = $ AND NOT deleted"),
                        text);
}

static void case_several(struct fixture *f)
{
    static struct several list[SINK_DEPTH_MAX];
    make_all(list, 1);
    list[2].operations[3].data = "{\"\\u0000\":1}"; /* bisected */
    list[2].operations[3].data_size = strlen(list[2].operations[3].data);
    for (int round = 0; round < 2; round++) {
        send_all(f, list);
        await_all(f, list);
        for (int i = 0; i < SINK_DEPTH_MAX; i++) {
            assert_int_equal(list[i].outcome,
                             round == 0 ? SINK_APPLIED : SINK_REPEATED);
            assert_int_equal(list[i].refusals, i == 2);
        }
        assert_records(f, SINK_DEPTH_MAX * EACH - 1);
    }
    assert_true(list[7].apply_ns > 0);
    assert_in_range(f->methods->depth(f->sink), 1, SINK_DEPTH_MAX);
}

/* One fails by itself; those behind it are applied all the same. */
static void case_several_one_fails(struct fixture *f)
{
    static struct several list[SINK_DEPTH_MAX];
    make_all(list, 1);
    fixture_sql(f, "CREATE OR REPLACE FUNCTION failing() RETURNS trigger "
                   "LANGUAGE plpgsql AS $$ BEGIN IF NEW.record_id = '3-5' "
                   "THEN RAISE 'on purpose' USING ERRCODE = '40001'; END IF; "
                   "RETURN NEW; END $$;"
                   "CREATE OR REPLACE TRIGGER failing BEFORE INSERT ON "
                   "tidemill.synced_records FOR EACH ROW EXECUTE FUNCTION "
                   "failing()");
    send_all(f, list);
    await_all(f, list);
    for (int i = 0; i < SINK_DEPTH_MAX; i++)
        assert_int_equal(list[i].outcome,
                         i == 2 ? SINK_TRANSIENT : SINK_APPLIED);
    fixture_sql(f, "DROP TRIGGER failing ON tidemill.synced_records");
    assert_records(f, (SINK_DEPTH_MAX - 1) * EACH);
    send_all(f, list);
    await_all(f, list);
    for (int i = 0; i < SINK_DEPTH_MAX; i++)
        assert_int_equal(list[i].outcome,
                         i == 2 ? SINK_APPLIED : SINK_REPEATED);
    assert_records(f, SINK_DEPTH_MAX * EACH);
}

/* The connection is cut while the fourth waits: three are applied, nothing
 * is known of any whose answer was not read, and all are sent again. */
static void case_several_cut(struct fixture *f)
{
    static struct several list[SINK_DEPTH_MAX];
    make_all(list, 1);
    fixture_sql(f, "BEGIN; INSERT INTO tidemill.synced_records (system_id, "
                   "table_name, record_id) VALUES ($, 't', '4-0')");
    send_all(f, list);
    while (strcmp(fixture_sql(f, "SELECT count(*) FROM pg_stat_activity WHERE "
                                 "application_name = 'test_sinks' AND "
                                 "wait_event_type = 'Lock'"),
                  "1") != 0)
        event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    fixture_sql(f, "SELECT count(pg_terminate_backend(pid)) FROM "
                   "pg_stat_activity WHERE application_name = 'test_sinks'");
    await_all(f, list);
    fixture_sql(f, "ROLLBACK");
    assert_records(f, 3 * EACH);
    for (int i = 0; i < SINK_DEPTH_MAX; i++) {
        assert_int_equal(list[i].outcome, i < 3 ? SINK_APPLIED : SINK_DOWN);
        assert_true(i < 3 || list[i].error.text[0] != '\0');
    }
    assert_int_equal(f->methods->depth(f->sink), 1);
    assert_int_equal(fixture_probe(f), SINK_APPLIED);
    send_all(f, list);
    await_all(f, list);
    for (int i = 0; i < SINK_DEPTH_MAX; i++)
        assert_int_equal(list[i].outcome, i < 3 ? SINK_REPEATED : SINK_APPLIED);
    assert_records(f, SINK_DEPTH_MAX * EACH);
}

/* Ended in the middle: nobody is called back, and the next life finds out
 * what was applied. */
static void case_several_rest(struct fixture *f)
{
    static struct several list[SINK_DEPTH_MAX];
    make_all(list, 1);
    send_all(f, list);
    while (!list[1].done)
        event_base_loop(f->base, EVLOOP_ONCE);
    f->methods->rest(f->sink);
    for (int i = 0; i < SINK_DEPTH_MAX; i++)
        list[i].done = true; /* a call would be a second one */
    assert_int_equal(fixture_probe(f), SINK_APPLIED);
    send_all(f, list);
    await_all(f, list);
    for (int i = 0; i < SINK_DEPTH_MAX; i++)
        assert_true(list[i].outcome == SINK_APPLIED ||
                    list[i].outcome == SINK_REPEATED);
    assert_records(f, SINK_DEPTH_MAX * EACH);
}

/* Two clients of PgBouncer share one connection to the server; each Sync
 * may hand it to the other. */
static void case_several_pgbouncer(struct fixture *f)
{
    static struct several mine[SINK_DEPTH_MAX], others[SINK_DEPTH_MAX];
    struct fixture second = *f;
    pid_t pid = pgbouncer_before(f);
    second.config.database_conninfo = f->conninfo;
    second.sink = NULL;
    fixture_again(&second);
    if (fixture_probe(&second) != SINK_APPLIED)
        fail_msg("%s", second.error.text);
    for (int round = 0; round < 50; round++) {
        make_all(mine, 1 + 100 * round);
        make_all(others, 51 + 100 * round);
        mine[3].operations[3].data = "{\"\\u0000\":1}";
        mine[3].operations[3].data_size = strlen("{\"\\u0000\":1}");
        send_all(f, mine);
        send_all(&second, others);
        await_all(f, mine);
        await_all(&second, others);
        for (int i = 0; i < SINK_DEPTH_MAX; i++) {
            assert_int_equal(mine[i].outcome, SINK_APPLIED);
            assert_int_equal(mine[i].refusals, i == 3);
            assert_int_equal(others[i].outcome, SINK_APPLIED);
            assert_int_equal(others[i].refusals, 0);
        }
    }
    assert_records(f, 50 * (2 * SINK_DEPTH_MAX * EACH - 1));
    second.methods->close(second.sink);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

const struct server_case several_cases[] = {
    {"several", case_several},
    {"several_one_fails", case_several_one_fails},
    {"several_cut", case_several_cut},
    {"several_rest", case_several_rest},
    {"several_pgbouncer", case_several_pgbouncer},
};
const size_t several_case_count = sizeof several_cases / sizeof *several_cases;
