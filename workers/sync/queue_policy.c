/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/queue_policy.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool wants_jobs(const struct queue_facts *facts, int64_t room)
{
    if (room <= 0)
        return false;
    return facts->now_ms >= facts->look_at_ms ||
           (facts->more && room >= (facts->most + 3) / 4);
}

static int64_t rest_ms(const struct queue_facts *facts, int64_t room)
{
    int64_t until_ms = facts->now_ms + 3600000;
    if (facts->held > 0)
        until_ms = least(until_ms, facts->renew_at_ms);
    if (room > 0)
        until_ms = least(until_ms, facts->look_at_ms);
    return until_ms > facts->now_ms ? until_ms - facts->now_ms : 1;
}

static enum queue_step step_of_leaver(const struct queue_facts *facts)
{
    if (facts->unbegun > 0 || (facts->workers_gone && facts->begun > 0))
        return QUEUE_HAND_BACK;
    if (facts->handed_back)
        return QUEUE_GIVE_BACK;
    if (facts->held == 0)
        return QUEUE_LEAVE;
    if (!facts->reconciled)
        return QUEUE_GIVE_BACK;
    if (facts->begun > 0 && facts->now_ms >= facts->renew_at_ms)
        return QUEUE_RENEW;
    if (facts->over > 0)
        return QUEUE_REPORT;
    return facts->begun > 0 ? QUEUE_REST : QUEUE_LEAVE;
}

void queue_plan_make(const struct queue_facts *facts, struct queue_plan *plan)
{
    int64_t room = facts->most - facts->held;
    *plan = (struct queue_plan){.step = QUEUE_REST};
    if (facts->leaving) {
        plan->step = step_of_leaver(facts);
        plan->wait_ms = QUEUE_LEAVING_LOOK_MS;
    } else if (!facts->reconciled) {
        plan->step = QUEUE_GIVE_BACK;
    } else if (facts->held > facts->over &&
               facts->now_ms >= facts->renew_at_ms) {
        plan->step = QUEUE_RENEW;
    } else if (facts->over > 0) {
        plan->step = QUEUE_REPORT;
    } else if (wants_jobs(facts, room)) {
        plan->step = QUEUE_LEASE;
        plan->count = least(room, QUEUE_LEASES_MOST);
    } else {
        plan->wait_ms = rest_ms(facts, room);
    }
}

int64_t queue_heartbeat_ms(int64_t lease_ms)
{
    return lease_ms / 4;
}

int64_t queue_retry_most_ms(int64_t retry_max_ms, int64_t lease_ms)
{
    int64_t most_ms = least(retry_max_ms, lease_ms / 8);
    return most_ms > 0 ? most_ms : 1;
}
