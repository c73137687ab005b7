/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/config/config.h"
#include "workers/sync/trigger.h"

#define NOW 1000000

static struct trigger_rules rules_of(unsigned slot)
{
    return (struct trigger_rules){
        .slot = slot,
        .workers = 2,
        .interval_ms = 1800000,
        .threshold_operations = 50,
        .thresholds =
            {[KIND_TASKS] = 5, [KIND_ERRORS] = 3, [KIND_CONTEXTS] = 1},
        .urgent = true,
        .batch_min = 50,
        .batch_max = 1000,
        .max_per_pass = 500};
}

static struct trigger_facts quiet(void)
{
    return (struct trigger_facts){.now_ms = NOW,
                                  .periodic_due_ms = NOW + 60000};
}

static struct trigger_plan plan_for(unsigned slot, struct trigger_facts facts)
{
    struct trigger_rules rules = rules_of(slot);
    struct trigger_plan plan;
    trigger_decide(&rules, &facts, &plan);
    return plan;
}

static void near_capacity_only_urgent_ones_go(void **state)
{
    (void)state;
    struct trigger_facts facts = quiet();
    facts.claimable = 5000;
    facts.near_capacity = true;
    struct trigger_plan plan = plan_for(0, facts);
    assert_int_equal(plan.trigger, TRIGGER_NONE);
    assert_int_equal(plan.deferred, TRIGGER_THRESHOLD);
    facts.urgent_pending = 1;
    plan = plan_for(0, facts);
    assert_int_equal(plan.trigger, TRIGGER_URGENT);
    assert_int_equal(plan.least_important, 0);
    assert_int_equal(plan.deferred, TRIGGER_NONE);
    facts.claimable = facts.urgent_pending = 0;
    plan = plan_for(0, facts);
    assert_int_equal(plan.deferred, TRIGGER_NONE);
}

static void nothing_pends(void **state)
{
    (void)state;
    struct trigger_plan plan = plan_for(0, quiet());
    assert_int_equal(plan.trigger, TRIGGER_NONE);
    assert_int_equal(plan.next, TRIGGER_PERIODIC);
    assert_int_equal(plan.next_ms, NOW + 60000);
    plan = plan_for(1, quiet());
    assert_int_equal(plan.trigger, TRIGGER_NONE);
    assert_int_equal(plan.next_ms, 0);
}

static void threshold(void **state)
{
    (void)state;
    struct trigger_facts facts = quiet();
    facts.claimable = 49;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_NONE);
    facts.claimable = 50;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_THRESHOLD);
    assert_false(plan_for(0, facts).drain);
    assert_int_equal(plan_for(0, facts).least_important, 3);
    assert_int_equal(plan_for(1, facts).trigger, TRIGGER_NONE);
}

static void thresholds_of_tables(void **state)
{
    (void)state;
    struct trigger_facts facts = quiet();
    struct trigger_rules rules = rules_of(0);
    struct trigger_plan plan;
    facts.claimable = 4;
    facts.by_kind[KIND_TASKS] = 4;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_NONE);
    facts.by_kind[KIND_TASKS] = 5;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_THRESHOLD);
    facts.claimable = 0; /* in flight, or waiting to be tried again */
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_NONE);
    facts = quiet();
    facts.claimable = facts.by_kind[KIND_CONTEXTS] = 1;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_THRESHOLD);
    facts = quiet();
    facts.claimable = facts.by_kind[KIND_ERRORS] = 1;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_NONE);
    rules.immediate_on_error = true;
    trigger_decide(&rules, &facts, &plan);
    assert_int_equal(plan.trigger, TRIGGER_THRESHOLD);
}

static void the_nearest_threshold(void **state)
{
    (void)state;
    struct trigger_facts facts = quiet();
    struct trigger_rules rules = rules_of(0);
    facts.claimable = 37;
    struct trigger_nearest nearest = trigger_nearest(&rules, &facts);
    assert_int_equal(nearest.kind, OUTBOX_KINDS);
    assert_int_equal(nearest.pending, 37);
    assert_int_equal(nearest.threshold, 50);
    facts.by_kind[KIND_TASKS] = 4;
    nearest = trigger_nearest(&rules, &facts);
    assert_int_equal(nearest.kind, KIND_TASKS);
    assert_int_equal(nearest.pending, 4);
    assert_int_equal(nearest.threshold, 5);
}

static void periodic(void **state)
{
    (void)state;
    struct trigger_facts facts = quiet();
    facts.periodic_due_ms = NOW;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_PERIODIC);
    assert_int_equal(plan_for(1, facts).trigger, TRIGGER_NONE);
}

static void urgent_at_once(void **state)
{
    (void)state;
    struct trigger_facts facts = quiet();
    facts.claimable = 1;
    facts.urgent_pending = 1;
    facts.urgent_since_ms = NOW;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_URGENT);
    /* Taken by another already. */
    facts.claimable = 0;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_NONE);
    facts.claimable = 1;
    struct trigger_rules rules = rules_of(0);
    struct trigger_plan plan;
    rules.urgent = false;
    trigger_decide(&rules, &facts, &plan);
    assert_int_equal(plan.trigger, TRIGGER_NONE);
}

static void urgent_past_a_busy_slot(void **state)
{
    (void)state;
    struct trigger_facts facts = quiet();
    facts.claimable = 1;
    facts.urgent_pending = 1;
    facts.urgent_since_ms = NOW;
    facts.first_in_pass = true;
    struct trigger_plan plan = plan_for(1, facts);
    assert_int_equal(plan.trigger, TRIGGER_NONE);
    assert_int_equal(plan.next_ms, NOW + TRIGGER_URGENT_GRACE_MS);
    facts.now_ms = NOW + TRIGGER_URGENT_GRACE_MS;
    plan = plan_for(1, facts);
    assert_int_equal(plan.trigger, TRIGGER_URGENT);
    assert_int_equal(plan.least_important, 0);
    facts.first_in_pass = false;
    assert_int_equal(plan_for(1, facts).trigger, TRIGGER_NONE);
}

static void higher_slots_join(void **state)
{
    (void)state;
    struct trigger_facts facts = quiet();
    facts.claimable = 1000;
    assert_int_equal(plan_for(1, facts).trigger, TRIGGER_NONE);
    facts.claimable = 1001;
    assert_int_equal(plan_for(1, facts).trigger, TRIGGER_THRESHOLD);
    assert_int_equal(plan_for(2, facts).trigger, TRIGGER_NONE);
    facts.claimable = 100;
    facts.drain_wanted = true;
    assert_int_equal(plan_for(1, facts).trigger, TRIGGER_REQUEST);
    assert_int_equal(plan_for(2, facts).trigger, TRIGGER_NONE);
    facts.claimable = 101;
    assert_int_equal(plan_for(2, facts).trigger, TRIGGER_REQUEST);
    assert_true(plan_for(2, facts).drain);
}

static void a_drain_has_no_cap(void **state)
{
    (void)state;
    struct trigger_facts facts = quiet();
    facts.claimable = 2000;
    assert_false(plan_for(0, facts).drain);
    facts.claimable = 2001;
    assert_true(plan_for(0, facts).drain);
    facts.claimable = 1;
    facts.reconnected = true;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_RECONNECT);
    assert_true(plan_for(0, facts).drain);
}

static void requests_come_first(void **state)
{
    (void)state;
    struct trigger_facts facts = quiet();
    facts.request = true;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_REQUEST);
    facts.claimable = 60;
    facts.reconnected = true;
    facts.urgent_since_ms = NOW;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_REQUEST);
    facts.paused = true;
    struct trigger_plan plan = plan_for(0, facts);
    assert_int_equal(plan.trigger, TRIGGER_NONE);
    assert_int_equal(plan.next_ms, 0);
}

static void refused_ones_come_again(void **state)
{
    (void)state;
    struct trigger_facts facts = quiet();
    facts.next_retry_ms = NOW + 500;
    struct trigger_plan plan = plan_for(0, facts);
    assert_int_equal(plan.trigger, TRIGGER_NONE);
    assert_int_equal(plan.next_ms, NOW + 500);
    facts.now_ms = NOW + 500;
    facts.claimable = 1;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_PERIODIC);
}

static void blocked_claims_wait(void **state)
{
    (void)state;
    struct trigger_facts facts = quiet();
    facts.claimable = 5000;
    facts.blocked_until_ms = NOW + 1000;
    struct trigger_plan plan = plan_for(0, facts);
    assert_int_equal(plan.trigger, TRIGGER_NONE);
    assert_int_equal(plan.next_ms, NOW + 1000);
    assert_int_equal(plan_for(1, facts).trigger, TRIGGER_NONE);
    facts.now_ms = NOW + 1000;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_THRESHOLD);
    /* A pass that they ended goes on below the threshold, too. */
    facts.claimable = 10;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_NONE);
    facts.unfinished = TRIGGER_REQUEST;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_REQUEST);
    facts.now_ms = NOW;
    assert_int_equal(plan_for(0, facts).trigger, TRIGGER_NONE);
}

static void counts_what_can_be_claimed(void **state)
{
    (void)state;
    struct outbox_pending pending = {
        .total = 100, .in_flight = 30, .waiting = 20};
    assert_int_equal(trigger_claimable(&pending, NOW), 50);
    pending.in_flight = 90;
    assert_int_equal(trigger_claimable(&pending, NOW), 0);
    pending.next_retry_ms = NOW + 1;
    assert_int_equal(trigger_claimable(&pending, NOW), 0);
    pending.next_retry_ms = NOW;
    assert_int_equal(trigger_claimable(&pending, NOW), 1);
}

static int64_t size_for(unsigned slot, struct trigger_progress progress)
{
    struct trigger_rules rules = rules_of(slot);
    if (progress.batch_limit == 0)
        progress.batch_limit = rules.batch_max;
    return trigger_claim_size(&rules, &progress);
}

static void batches_grow_with_the_backlog(void **state)
{
    (void)state;
    struct trigger_progress progress = {.record_bytes = 500, .drain = true};
    assert_int_equal(size_for(0, progress), 0);
    progress.claimable = 1;
    assert_int_equal(size_for(0, progress), 50);
    progress.claimable = 2000;
    assert_int_equal(size_for(0, progress), 500);
    progress.claimable = 1000000;
    assert_int_equal(size_for(0, progress), 1000);
    /* The first one of a worker feels its way. */
    progress.record_bytes = 0;
    assert_int_equal(size_for(0, progress), 50);
    /* Large records go in small batches. */
    progress.record_bytes = 4 << 20;
    assert_int_equal(size_for(0, progress), 5);
    progress.record_bytes = INT64_C(1) << 40;
    assert_int_equal(size_for(0, progress), 1);
}

static void the_trickle_is_capped(void **state)
{
    (void)state;
    struct trigger_progress progress = {.claimable = 1800, .record_bytes = 500};
    assert_int_equal(size_for(0, progress), 450);
    progress.claimed = 450;
    assert_int_equal(size_for(0, progress), 50);
    progress.claimed = 500;
    assert_int_equal(size_for(0, progress), 0);
    progress.claimed = 600;
    assert_int_equal(size_for(0, progress), 0);
    progress.drain = true; /* half a batch at the least */
    assert_int_equal(size_for(0, progress), 500);
    progress.claimable = 300;
    assert_int_equal(size_for(0, progress), 300);
}

static void few_are_not_claimed_ahead(void **state)
{
    (void)state;
    struct trigger_progress progress = {
        .claimable = 49, .record_bytes = 500, .ahead = true};
    assert_int_equal(size_for(0, progress), 0);
    progress.claimable = 50;
    assert_int_equal(size_for(0, progress), 50);
}

static void higher_slots_leave(void **state)
{
    (void)state;
    struct trigger_progress progress = {
        .claimable = 501, .record_bytes = 500, .claimed = 1, .drain = true};
    assert_true(size_for(1, progress) > 0);
    progress.claimable = 500;
    assert_int_equal(size_for(1, progress), 0);
    progress.drain_wanted = true;
    assert_true(size_for(1, progress) > 0);
}

static void record_sizes_rise_fast_and_fall_slowly(void **state)
{
    (void)state;
    int64_t bytes = trigger_record_bytes(0, 10000, 100);
    assert_int_equal(bytes, 100 + 256);
    bytes = trigger_record_bytes(bytes, 1000000, 1);
    assert_int_equal(bytes, 1000256);
    int64_t later = trigger_record_bytes(bytes, 10000, 100);
    assert_in_range(later, 750000, 751000);
    assert_int_equal(trigger_record_bytes(later, 0, 0), later);
}

static void intervals_by_kind_of_host(void **state)
{
    (void)state;
    struct config config = {.sync_interval_default_ms = 1800000,
                            .sync_interval_high_ms = 300000,
                            .sync_interval_low_ms = 3600000,
                            .sync_max_workers = 2,
                            .sync_batch_min = 500,
                            .sync_batch_max = 100,
                            .system_type = SYSTEM_PRODUCTION};
    struct trigger_rules rules;
    trigger_rules_init(&rules, &config, 0);
    assert_int_equal(rules.interval_ms, 300000);
    assert_int_equal(rules.batch_max, 500);
    config.system_type = SYSTEM_BACKUP;
    trigger_rules_init(&rules, &config, 0);
    assert_int_equal(rules.interval_ms, 3600000);
    config.sync_interval_selection = INTERVAL_DEFAULT;
    trigger_rules_init(&rules, &config, 0);
    assert_int_equal(rules.interval_ms, 1800000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_pends),
        cmocka_unit_test(near_capacity_only_urgent_ones_go),
        cmocka_unit_test(threshold),
        cmocka_unit_test(thresholds_of_tables),
        cmocka_unit_test(the_nearest_threshold),
        cmocka_unit_test(periodic),
        cmocka_unit_test(urgent_at_once),
        cmocka_unit_test(urgent_past_a_busy_slot),
        cmocka_unit_test(higher_slots_join),
        cmocka_unit_test(a_drain_has_no_cap),
        cmocka_unit_test(requests_come_first),
        cmocka_unit_test(refused_ones_come_again),
        cmocka_unit_test(blocked_claims_wait),
        cmocka_unit_test(counts_what_can_be_claimed),
        cmocka_unit_test(batches_grow_with_the_backlog),
        cmocka_unit_test(the_trickle_is_capped),
        cmocka_unit_test(few_are_not_claimed_ahead),
        cmocka_unit_test(higher_slots_leave),
        cmocka_unit_test(record_sizes_rise_fast_and_fall_slowly),
        cmocka_unit_test(intervals_by_kind_of_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
