/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is who after a restore, a copied host and a centre from a backup.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "workers/sync/lineage.h"

#define HOST     7
#define ANOTHER  8
#define LONG_AGO ((int64_t)LINEAGE_ALIVE_MS)

/* A store that has claimed batches up to 10 of epoch 3, of which 9 were
 * applied. */
static struct store_identity store_at(int64_t last_batch)
{
    return (struct store_identity){.store_id = 1,
                                   .epoch = 3,
                                   .last_batch = last_batch,
                                   .applied_batch = last_batch - 1};
}

static struct sink_contact centre_at(int64_t epoch, int64_t highest)
{
    return (struct sink_contact){
        .known = true,
        .newest = {.epoch = epoch, .host = HOST},
        .idle_ms = LONG_AGO,
        .highest = highest};
}

static enum lineage_finding compare(int64_t last_batch,
                                    const struct sink_contact *contact)
{
    struct store_identity identity = store_at(last_batch);
    return lineage_compare(&identity, &identity, HOST, contact);
}

static void a_store_and_its_centre(void **state)
{
    (void)state;
    for (int64_t highest = 9; highest <= 10; highest++) {
        struct sink_contact contact = centre_at(3, highest);
        assert_int_equal(compare(10, &contact), LINEAGE_SAME);
    }
}

static void a_new_store_and_a_centre_that_knows_none(void **state)
{
    struct store_identity new = {.store_id = 1, .epoch = 1};
    struct sink_contact contact = {.highest = -1};
    (void)state;
    assert_int_equal(lineage_compare(&new, &new, HOST, &contact),
                     LINEAGE_SAME);
}

static void a_store_from_a_backup(void **state)
{
    struct sink_contact contact = centre_at(3, 11);
    (void)state;
    assert_int_equal(compare(10, &contact), LINEAGE_BEHIND);
    contact = centre_at(4, -1);
    assert_int_equal(compare(10, &contact), LINEAGE_BEHIND);
}

/* `tidemill restore` says so itself; a centre that never saw the host does
 * not need a new epoch. */
static void a_store_that_was_restored(void **state)
{
    struct store_identity restored = store_at(10);
    struct sink_contact contact = centre_at(3, 10);
    (void)state;
    restored.restored = true;
    assert_int_equal(lineage_compare(&restored, &restored, HOST, &contact),
                     LINEAGE_BEHIND);
    contact = (struct sink_contact){.highest = -1};
    restored.applied_batch = 0;
    assert_int_equal(lineage_compare(&restored, &restored, HOST, &contact),
                     LINEAGE_SAME);
}

/* The same system.id on two hosts: whoever is behind waits while the other
 * lives, and goes on when it is silent. */
static void another_host_with_the_same_name(void **state)
{
    struct sink_contact contact = centre_at(3, 11);
    (void)state;
    contact.newest.host = ANOTHER;
    contact.idle_ms = LONG_AGO - 1;
    assert_int_equal(compare(10, &contact), LINEAGE_OTHER);
    contact.idle_ms = LONG_AGO;
    assert_int_equal(compare(10, &contact), LINEAGE_BEHIND);
    contact = centre_at(4, -1);
    contact.newest.host = ANOTHER;
    contact.idle_ms = 0;
    assert_int_equal(compare(10, &contact), LINEAGE_OTHER);
}

static void a_centre_from_a_backup(void **state)
{
    struct sink_contact contact = centre_at(3, 8);
    (void)state;
    assert_int_equal(compare(10, &contact), LINEAGE_CENTRE_LOST);
    contact = (struct sink_contact){.highest = -1};
    assert_int_equal(compare(10, &contact), LINEAGE_CENTRE_LOST);
}

/* A batch that was claimed and applied between the two readings is no sign
 * of anything. */
static void what_happens_between_the_readings(void **state)
{
    struct store_identity before = store_at(10);
    struct store_identity after = store_at(12);
    struct sink_contact contact = centre_at(3, 11);
    (void)state;
    assert_int_equal(lineage_compare(&before, &after, HOST, &contact),
                     LINEAGE_SAME);
    contact.highest = 9;
    assert_int_equal(lineage_compare(&before, &after, HOST, &contact),
                     LINEAGE_SAME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_and_its_centre),
        cmocka_unit_test(a_new_store_and_a_centre_that_knows_none),
        cmocka_unit_test(a_store_from_a_backup),
        cmocka_unit_test(a_store_that_was_restored),
        cmocka_unit_test(another_host_with_the_same_name),
        cmocka_unit_test(a_centre_from_a_backup),
        cmocka_unit_test(what_happens_between_the_readings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
