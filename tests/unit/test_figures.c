/* SPDX-License-Identifier: Apache-2.0
 *
 * Figures of the events of a pass.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/store/statements.h"
#include "workers/sync/figures.h"

#define MANY 100

static struct outbox_operation operation(int64_t id, const char *table)
{
    return (struct outbox_operation){.key = id,
                                     .id = id,
                                     .created_ms = 1000,
                                     .table_name = table,
                                     .table_name_size = strlen(table)};
}

static struct batch batch_of(struct outbox_operation *operations, size_t count)
{
    return (struct batch){.operations = operations,
                          .count = count,
                          .started_wall_ms = 1030,
                          .took_ns = 2000000,
                          .sends = 1};
}

static void test_adds_up(void **state)
{
    struct outbox_operation operations[] = {
        operation(1, "a"), operation(2, "tidemill_events"), operation(3, "b"),
        operation(4, "a"), operation(5, "a")};
    struct batch batch = batch_of(operations, 5);
    const bool left[] = {false, false, false, false, true};
    struct store_call reject = {
        .statement = STATEMENT_BATCH_REJECT,
        .argument_count = 4,
        .arguments = {value_integer(1), value_integer(5), value_text("22P05"),
                      value_text("no \"such\" thing")}};
    struct figures figures = {0};
    (void)state;
    batch.left = left;
    batch.settlement = &reject;
    batch.settlement_count = 1;
    operations[2].source = 7;
    operations[3].created_ms = 9000; /* later than now */
    operations[4].retry_count = 2;
    batch.sends = 2;
    figures_add(&figures, &batch);
    assert_string_equal(
        figures_take(&figures),
        "[[\"a\",null,1,null,null,2,4000,30,2,5],"
        "[\"b\",7,1,null,null,1,2000,30,1,5],"
        "[\"a\",null,0,\"22P05\",\"no \\\"such\\\" thing\",1,2000,30,3,5]]");
    assert_null(figures_take(&figures));
    figures_deinit(&figures);
}

/* However many tables there are, nothing is lost and nothing grows. */
static void test_is_bounded(void **state)
{
    char names[MANY][120];
    struct outbox_operation operations[MANY];
    struct batch batch = batch_of(operations, MANY);
    struct figures figures = {0};
    int64_t events = 0;
    (void)state;
    for (int i = 0; i < MANY; i++) {
        /* 99 bytes and a letter of two, of which none is cut. */
        snprintf(names[i], sizeof(names[i]), "%099d\xc3\xa9", i);
        operations[i] = operation(i, names[i]);
    }
    figures_add(&figures, &batch);
    figures_add(&figures, &batch);
    assert_true(figures.count <= FIGURES_ROWS_MAX);
    for (unsigned i = 0; i < figures.count; i++)
        events += figures.rows[i].events;
    assert_int_equal(events, 2 * MANY);
    assert_int_equal(figures.rows[0].type_size, 99);
    assert_string_equal(figures.rows[figures.count - 1].type, "(others)");
    assert_non_null(figures_take(&figures));
    figures_deinit(&figures);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adds_up),
        cmocka_unit_test(test_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
