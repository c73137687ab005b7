/* SPDX-License-Identifier: Apache-2.0
 *
 * The connection budget, and what came of the attempts to sync.
 */
#include "common/base/clock.h"
#include "workers/gateway/commands.h"

static json_t *total_json(struct mapping *mapping, enum metric metric)
{
    return json_integer((json_int_t)metrics_total(&mapping->metrics, metric));
}

static json_t *percent_json(int64_t part, int64_t whole)
{
    return json_real(whole > 0 ? 100.0 * (double)part / (double)whole : 0);
}

json_t *sync_attempts_json(struct mapping *mapping)
{
    struct metrics *metrics = &mapping->metrics;
    int64_t deferred = metrics_total(metrics, METRIC_SYNC_DEFERRALS);
    int64_t total = metrics_total(metrics, METRIC_SYNC_PASSES) + deferred;
    int64_t successes = metrics_total(metrics, METRIC_SYNC_SUCCESSES);
    return json_pack(
        "{s:I,s:I,s:o,s:I,s:o,s:o,s:o,s:o}", "total_attempts",
        (json_int_t)total, "successful_syncs", (json_int_t)successes,
        "failed_syncs", total_json(mapping, METRIC_SYNC_FAILURES),
        "pool_deferred_syncs", (json_int_t)deferred, "pool_busy",
        total_json(mapping, METRIC_SYNC_BUSY), "authorization_failures",
        total_json(mapping, METRIC_SYNC_UNAUTHORIZED), "success_rate",
        percent_json(successes, total), "pool_deferral_rate",
        percent_json(deferred, total));
}

static json_t *server_json(const struct budget *budget)
{
    int64_t limit = atomic_load(&budget->server_limit);
    if (limit == 0)
        return json_null();
    return json_pack(
        "{s:I,s:I,s:f}", "connections",
        (json_int_t)atomic_load(&budget->server_connections), "limit",
        (json_int_t)limit, "sampled_seconds_ago",
        (double)(clock_monotonic_ms() - atomic_load(&budget->sampled_ms)) /
            1000.0);
}

json_t *sync_pool_json(struct mapping *mapping)
{
    struct budget *budget = &mapping->budget;
    struct budget_usage usage;
    bool deferring = false;
    int64_t size = atomic_load(&budget->size);
    double threshold = (double)atomic_load(&budget->threshold_millionths) / 1e6;
    budget_usage(budget, SLOTS_MAX, size, clock_monotonic_ms(), &usage);
    for (unsigned i = 0; i < SYNC_SLOTS_MAX; i++)
        deferring =
            deferring || atomic_load(&mapping->sync.views[i].deferred) != 0;
    return json_pack("{s:i,s:i,s:I,s:f,s:f,s:b,s:o}", "in_use",
                     (int)budget_in_use(budget, SLOTS_MAX), "open",
                     (int)budget_held(budget), "max", (json_int_t)size, "usage",
                     usage.usage, "threshold", threshold, "deferring",
                     (int)deferring, "server", server_json(budget));
}
