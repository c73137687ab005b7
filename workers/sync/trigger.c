/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/trigger.h"

#include "common/config/config.h"

void trigger_rules_init(struct trigger_rules *rules,
                        const struct config *config, unsigned slot)
{
    int64_t interval_ms = config->sync_interval_default_ms;
    if (config->sync_interval_selection == INTERVAL_AUTO) {
        if (config->system_type == SYSTEM_PRODUCTION)
            interval_ms = config->sync_interval_high_ms;
        else if (config->system_type == SYSTEM_BACKUP)
            interval_ms = config->sync_interval_low_ms;
    }
    *rules = (struct trigger_rules){
        .slot = slot,
        .workers = (unsigned)config->sync_max_workers,
        .interval_ms = interval_ms,
        .threshold_operations = config->sync_threshold_operations,
        .thresholds = {[KIND_TASKS] = config->sync_threshold_tasks,
                       [KIND_ERRORS] = config->sync_threshold_errors,
                       [KIND_CONTEXTS] = config->sync_threshold_contexts},
        .urgent = config->sync_enable_urgent,
        .immediate_on_error = config->sync_immediate_on_error,
        .adaptive = config->sync_mode == MODE_ADAPTIVE,
        .batch_min = config->sync_batch_min,
        /* batch.max below batch.min means batch.min. */
        .batch_max = config->sync_batch_max > config->sync_batch_min
                         ? config->sync_batch_max
                         : config->sync_batch_min,
        .max_per_pass = config->sync_max_per_pass,
    };
}

int64_t trigger_claimable(const struct outbox_pending *pending, int64_t now_ms)
{
    int64_t claimable = pending->total - pending->in_flight - pending->waiting;
    if (claimable < 0)
        claimable = 0;
    /* How many of the waiting ones are due is not counted; one is enough to
     * start a claim, which takes all that are. */
    if (claimable == 0 && pending->next_retry_ms != 0 &&
        pending->next_retry_ms <= now_ms)
        claimable = 1;
    return claimable;
}

static void plan_next(struct trigger_plan *plan, enum trigger trigger,
                      int64_t at_ms)
{
    if (at_ms != 0 && (plan->next_ms == 0 || at_ms < plan->next_ms)) {
        plan->next = trigger;
        plan->next_ms = at_ms;
    }
}

static void plan_start(struct trigger_plan *plan, enum trigger trigger)
{
    if (plan->trigger == TRIGGER_NONE)
        plan->trigger = trigger;
}

static bool retry_due(const struct trigger_facts *facts)
{
    return facts->next_retry_ms != 0 && facts->next_retry_ms <= facts->now_ms;
}

/* Some of what pends of a kind may not be claimable, for it waits to be
 * tried again: while something else is, it goes the sooner for that. */
static bool threshold_reached(const struct trigger_rules *rules,
                              const struct trigger_facts *facts)
{
    if (facts->claimable >= rules->threshold_operations ||
        (rules->immediate_on_error && facts->by_kind[KIND_ERRORS] > 0))
        return true;
    for (int i = 0; i < OUTBOX_KINDS; i++)
        if (rules->thresholds[i] > 0 &&
            facts->by_kind[i] >= rules->thresholds[i])
            return true;
    return false;
}

/* The triggers in the order of their importance: the first that holds names
 * the pass. */
static void decide_first_slot(const struct trigger_rules *rules,
                              const struct trigger_facts *facts, bool blocked,
                              struct trigger_plan *plan)
{
    bool some = facts->claimable > 0;
    if (facts->request || (facts->drain_wanted && some && !blocked))
        plan_start(plan, TRIGGER_REQUEST);
    if (facts->reconnected && some && !blocked)
        plan_start(plan, TRIGGER_RECONNECT);
    if (rules->urgent && facts->urgent_since_ms != 0 &&
        facts->urgent_pending > 0 && some && !blocked)
        plan_start(plan, TRIGGER_URGENT);
    if (some && !blocked && threshold_reached(rules, facts))
        plan_start(plan, TRIGGER_THRESHOLD);
    if (facts->periodic_due_ms <= facts->now_ms ||
        (retry_due(facts) && !blocked))
        plan_start(plan, TRIGGER_PERIODIC);
    plan_next(plan, TRIGGER_PERIODIC, facts->periodic_due_ms);
    if (!retry_due(facts))
        plan_next(plan, TRIGGER_PERIODIC, facts->next_retry_ms);
}

bool trigger_wants_another(const struct trigger_rules *rules, int64_t claimable,
                           bool drain, unsigned workers)
{
    if (drain && claimable > workers * rules->batch_min)
        return true;
    return claimable > workers * rules->batch_max &&
           claimable >= rules->threshold_operations;
}

static void decide_higher_slot(const struct trigger_rules *rules,
                               const struct trigger_facts *facts, bool blocked,
                               struct trigger_plan *plan)
{
    bool some = facts->claimable > 0;
    bool enough = facts->claimable > rules->slot * rules->batch_min;
    if (facts->drain_wanted && enough && !blocked)
        plan_start(plan, TRIGGER_REQUEST);
    if (facts->reconnected && enough && !blocked)
        plan_start(plan, TRIGGER_RECONNECT);
    if (facts->claimable > rules->slot * rules->batch_max &&
        facts->claimable >= rules->threshold_operations && !blocked) {
        plan_start(plan, TRIGGER_THRESHOLD);
        plan->drain = true;
    }
    if (plan->trigger != TRIGGER_NONE || !rules->urgent || !some ||
        facts->urgent_since_ms == 0 || facts->urgent_pending == 0)
        return;
    int64_t grace_ms =
        facts->yields ? 0 : (int64_t)TRIGGER_URGENT_GRACE_MS * rules->slot;
    int64_t grace_over_ms = facts->urgent_since_ms + grace_ms;
    if (grace_over_ms > facts->now_ms) {
        plan_next(plan, TRIGGER_URGENT, grace_over_ms);
    } else if (facts->first_in_pass) {
        plan->trigger = TRIGGER_URGENT;
        plan->least_important = 0;
    }
}

static void defer_all_but_urgent(const struct trigger_rules *rules,
                                 const struct trigger_facts *facts,
                                 struct trigger_plan *plan)
{
    if (rules->urgent && facts->urgent_pending > 0 && facts->claimable > 0) {
        plan->trigger = TRIGGER_URGENT;
        plan->least_important = 0;
        return;
    }
    plan->deferred = plan->trigger;
    plan->trigger = TRIGGER_NONE;
}

void trigger_decide(const struct trigger_rules *rules,
                    const struct trigger_facts *facts,
                    struct trigger_plan *plan)
{
    *plan = (struct trigger_plan){.trigger = TRIGGER_NONE,
                                  .least_important = OUTBOX_PRIORITIES - 1,
                                  .next = TRIGGER_NONE};
    if (facts->paused)
        return;
    bool blocked = facts->blocked_until_ms > facts->now_ms;
    if (rules->slot == 0)
        decide_first_slot(rules, facts, blocked, plan);
    else
        decide_higher_slot(rules, facts, blocked, plan);
    if (!blocked && facts->claimable > 0)
        plan_start(plan, facts->unfinished);
    if (blocked && facts->claimable > 0)
        plan_next(plan, TRIGGER_THRESHOLD, facts->blocked_until_ms);
    if (facts->near_capacity && plan->trigger != TRIGGER_NONE)
        defer_all_but_urgent(rules, facts, plan);
    if (facts->reconnected || facts->drain_wanted ||
        facts->claimable > TRIGGER_DRAIN_FACTOR * rules->max_per_pass)
        plan->drain = true;
}

/* What a record costs beside its data. */
#define RECORD_OVERHEAD_BYTES 256

int64_t trigger_record_bytes(int64_t known_bytes, int64_t batch_bytes,
                             int64_t batch_operations)
{
    if (batch_operations <= 0)
        return known_bytes;
    int64_t average = batch_bytes / batch_operations + RECORD_OVERHEAD_BYTES;
    int64_t slow = (3 * known_bytes + average) / 4;
    return average > slow ? average : slow;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t trigger_claim_size(const struct trigger_rules *rules,
                           const struct trigger_progress *progress)
{
    int64_t claimable = progress->claimable;
    if (claimable <= 0)
        return 0;
    /* Half of what made it join: not in and out at one limit. */
    if (rules->slot > 0 && !progress->drain_wanted && progress->claimed > 0 &&
        claimable <= rules->slot * rules->batch_max / 2)
        return 0;
    /* Nothing is gained by claiming a few ahead: they go with the next. */
    if (progress->ahead && claimable < rules->batch_min)
        return 0;
    int64_t most = smaller(progress->batch_limit, rules->batch_max);
    int64_t size = smaller(claimable / (2 * rules->workers), most);
    /* The last of a drain are not cut into ever smaller batches, each of
     * which costs a round trip. */
    if (progress->drain && size < most / 2)
        size = smaller(claimable, most / 2);
    if (size < rules->batch_min)
        size = rules->batch_min;
    if (!progress->drain)
        size = smaller(size, rules->max_per_pass - progress->claimed);
    if (progress->record_bytes == 0)
        size = smaller(size, rules->batch_min);
    else if (size > TRIGGER_BATCH_BYTES / progress->record_bytes)
        size = TRIGGER_BATCH_BYTES / progress->record_bytes + 1;
    return size > 0 ? size : 0;
}

struct trigger_nearest trigger_nearest(const struct trigger_rules *rules,
                                       const struct trigger_facts *facts)
{
    struct trigger_nearest nearest = {.kind = OUTBOX_KINDS,
                                      .pending = facts->claimable,
                                      .threshold = rules->threshold_operations};
    for (unsigned i = 0; i < OUTBOX_KINDS; i++) {
        int64_t threshold = i == KIND_ERRORS && rules->immediate_on_error
                                ? 1
                                : rules->thresholds[i];
        if (facts->by_kind[i] * nearest.threshold > nearest.pending * threshold)
            nearest = (struct trigger_nearest){i, facts->by_kind[i], threshold};
    }
    return nearest;
}
