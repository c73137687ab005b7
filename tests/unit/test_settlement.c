/* SPDX-License-Identifier: Apache-2.0
 *
 * From what a sink tells of conflicts to what the store keeps of them.
 */
#include "tests/unit/store_fixture.h"

#include <sqlite3.h>

#include "workers/sync/batch.h"

#define SPAWN 7

struct settling {
    struct store_fixture f;
    struct batch batch;
    struct batch_terms terms;
    uint64_t random;
    char text[256];
};

static void append(struct settling *s, const char *record, const char *data)
{
    struct store_call call = append_call("notes", record, 2, data, 0);
    assert_int_equal(fixture_run(&s->f, CALLER_CLI, &call, 1), ERROR_NONE);
}

/* Claims all there is and reads it, as if it had been sent. */
static void claim(struct settling *s)
{
    struct store_call call =
        CALL(BATCH_CLAIM, I(0), I(SPAWN), I(100), I(3), I(1000));
    struct outbox_batch *parsed;
    size_t count;
    assert_int_equal(fixture_run(&s->f, CALLER_SYNC, &call, 1), ERROR_NONE);
    assert_int_equal(outbox_batches_parse(s->f.answer.results, &s->f.arena,
                                          &parsed, &count, &s->f.error),
                     0);
    assert_int_equal(count, 1);
    batch_free(&s->batch);
    batch_init(&s->batch, BATCH_MEMORY_MAX);
    assert_int_equal(batch_take(&s->batch, parsed, 0, &s->f.error), 0);
    assert_int_equal(batch_read(&s->batch, s->f.reader, &s->f.error), 0);
    batch_sent(&s->batch);
}

/* Closes the batch with the result and runs what came of it. */
static void close_with(struct settling *s, const struct sink_result *result)
{
    if (batch_close(&s->batch, result, &s->terms, &s->f.error) != 0)
        fail_msg("%s", s->f.error.text);
    if (fixture_run(&s->f, CALLER_SYNC, s->batch.settlement,
                    s->batch.settlement_count) != ERROR_NONE)
        fail_msg("%s", s->f.answer.text);
}

static const char *value(struct settling *s, const char *sql)
{
    sqlite3_stmt *row;
    s->text[0] = '\0';
    assert_int_equal(
        sqlite3_prepare_v2(store_reader_db(s->f.reader), sql, -1, &row, NULL),
        SQLITE_OK);
    if (sqlite3_step(row) == SQLITE_ROW)
        snprintf(s->text, sizeof(s->text), "%s",
                 (const char *)sqlite3_column_text(row, 0));
    sqlite3_finalize(row);
    return s->text;
}

static int set_up(void **state)
{
    struct settling *s = calloc(1, sizeof(*s));
    fixture_init(&s->f);
    s->terms = (struct batch_terms){.spawn = SPAWN,
                                    .trigger = TRIGGER_REQUEST,
                                    .max_retries = 5,
                                    .retry_base_ms = 10,
                                    .retry_max_ms = 10,
                                    .random = &s->random};
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct settling *s = *state;
    batch_free(&s->batch);
    fixture_deinit(&s->f);
    free(s);
    return 0;
}

static struct sink_conflict conflict(const struct settling *s, size_t index,
                                     enum conflict_outcome outcome,
                                     const char *data)
{
    return (struct sink_conflict){.key = s->batch.operations[index].key,
                                  .outcome = outcome,
                                  .rule = CONFLICT_MANUAL,
                                  .stamp = 5,
                                  .centre_stamp = 7,
                                  .centre_system = "other",
                                  .centre_deleted = data == NULL,
                                  .centre_data = data,
                                  .centre_data_size =
                                      data != NULL ? strlen(data) : 0};
}

static void outcomes(void **state)
{
    struct settling *s = *state;
    append(s, "won", "{\"a\":1}");
    append(s, "lost", "{\"a\":2}");
    append(s, "gone", "{\"a\":3}");
    append(s, "parked", "{\"a\":4}");
    append(s, "parked", "{\"a\":5}");
    append(s, "plain", "{\"a\":6}");
    claim(s);
    const struct sink_conflict conflicts[] = {
        conflict(s, 3, CONFLICT_PARKED, "{\"b\":4}"),
        conflict(s, 0, CONFLICT_WON, "{\"b\":1}"),
        conflict(s, 1, CONFLICT_LOST, "{\"b\":2}"),
        conflict(s, 2, CONFLICT_LOST, NULL)};
    const struct sink_refusal held = {.key = s->batch.operations[4].key,
                                      .held = true,
                                      .message = SINK_HELD_WORDS};
    close_with(s, &(struct sink_result){.outcome = SINK_APPLIED,
                                        .refusals = &held,
                                        .refusal_count = 1,
                                        .conflicts = conflicts,
                                        .conflict_count = 4});
    assert_int_equal(s->batch.applied, 4);
    assert_int_equal(s->batch.conflicts[CONFLICT_LOST], 2);
    assert_int_equal(store_writer_totals(s->f.writer).pending, 0);
    assert_int_equal(store_writer_totals(s->f.writer).parked, 2);
    assert_string_equal(
        value(s, "SELECT group_concat(outcome || record_id || "
                 "coalesce(resolution, '?'), ' ') FROM (SELECT * FROM "
                 "sync_conflicts ORDER BY id)"),
        "parkedparked? wonwonrule lostlostrule lostgonerule");
    assert_string_equal(
        value(s, "SELECT local_data || centre_data || centre_system FROM "
                 "sync_conflicts WHERE record_id = 'parked'"),
        "{\"a\":4}{\"b\":4}other");
    /* What did not stand came back. */
    assert_string_equal(
        value(s, "SELECT group_concat(record_id || deleted || updated_at, ' ') "
                 "FROM (SELECT * FROM centre_records ORDER BY record_id)"),
        "gone11970-01-01T00:00:00.007Z lost01970-01-01T00:00:00.007Z");
    assert_string_equal(
        value(s, "SELECT group_concat(status, ' ') FROM (SELECT status FROM "
                 "sync_queue ORDER BY id)"),
        "synced synced synced conflict conflict synced");
}

/* Data that does not fit into the request stays at the centre. */
static void large_data(void **state)
{
    struct settling *s = *state;
    size_t size = (size_t)3 << 20;
    char *data = calloc(1, size + (2u << 20) + 1);
    assert_non_null(data);
    memset(data, '7', size);
    for (int i = 0; i < 4; i++)
        append(s, (char[]){(char)('a' + i), '\0'}, "{}");
    claim(s);
    struct sink_conflict conflicts[4];
    for (size_t i = 0; i < 4; i++)
        conflicts[i] = conflict(s, i, CONFLICT_LOST, data);
    memset(data + size, '7', 2u << 20);
    conflicts[0].centre_data_size = size + (2u << 20);
    close_with(s, &(struct sink_result){.outcome = SINK_REPEATED,
                                        .conflicts = conflicts,
                                        .conflict_count = 4});
    assert_string_equal(
        value(s, "SELECT group_concat(coalesce(length(centre_data), 0), ' ') "
                 "FROM (SELECT * FROM sync_conflicts ORDER BY id)"),
        "0 3145728 3145728 0");
    assert_string_equal(value(s, "SELECT count(*) FROM centre_records"), "2");
    free(data);
}

/* An older row does not come back over a newer one. */
static void newest_stays(void **state)
{
    struct settling *s = *state;
    for (int i = 0; i < 2; i++) {
        append(s, "r", "{}");
        claim(s);
        struct sink_conflict lost =
            conflict(s, 0, CONFLICT_LOST, i ? "{\"n\":1}" : "{\"n\":0}");
        lost.centre_stamp = i ? 100 : 200;
        close_with(s, &(struct sink_result){.outcome = SINK_APPLIED,
                                            .conflicts = &lost,
                                            .conflict_count = 1});
    }
    assert_string_equal(value(s, "SELECT data FROM centre_records"),
                        "{\"n\":0}");
}

static void nonsense(void **state)
{
    struct settling *s = *state;
    append(s, "r", "{}");
    claim(s);
    struct sink_conflict lost = conflict(s, 0, CONFLICT_LOST, "{}");
    struct sink_conflict twice[] = {lost, lost};
    struct sink_result result = {
        .outcome = SINK_APPLIED, .conflicts = twice, .conflict_count = 2};
    assert_int_equal(batch_close(&s->batch, &result, &s->terms, &s->f.error),
                     -1);
    twice[0].key = 1;
    result.conflict_count = 1;
    assert_int_equal(batch_close(&s->batch, &result, &s->terms, &s->f.error),
                     -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(outcomes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_data, set_up, tear_down),
        cmocka_unit_test_setup_teardown(newest_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nonsense, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
