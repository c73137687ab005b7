/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pressure.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/log.h"
#include "common/config/config.h"
#include "common/shm/metrics.h"
#include "workers/sync/backoff.h"

void pressure_init(struct pressure *pressure, const struct config *config,
                   struct budget *budget, struct sync_view *view,
                   unsigned holder, uint64_t *random)
{
    *pressure = (struct pressure){.config = config,
                                  .budget = budget,
                                  .view = view,
                                  .holder = holder,
                                  .random = random};
    atomic_store(&view->deferred, 0);
    atomic_store(&budget->size, config->database_pool_max);
    atomic_store(&budget->threshold_millionths,
                 config->sync_pool_check
                     ? (int64_t)(config->sync_pool_threshold * 1e6)
                     : 0);
}

static void pressure_over(struct pressure *pressure)
{
    if (pressure->deferrals == 0)
        return;
    pressure->deferrals = 0;
    pressure->retry_at_ms = 0;
    atomic_store(&pressure->view->deferred, 0);
    log_event(LOG_INFO_LEVEL, "pool has room again",
              LOG_REAL("pool_usage", pressure->usage.usage),
              LOG_REAL("threshold", pressure->config->sync_pool_threshold));
}

enum pressure_word pressure_look(struct pressure *pressure, uint64_t now_ms)
{
    const struct config *config = pressure->config;
    if (!config->sync_pool_check)
        return PRESSURE_NONE;
    if (now_ms < pressure->retry_at_ms)
        return PRESSURE_WAIT;
    bool by_server = pressure->deferrals > 0 && pressure->usage.by_server;
    if (by_server && !pressure->asked &&
        !budget_sample_is_fresh(pressure->budget, now_ms, PRESSURE_ASK_MS))
        return PRESSURE_ASK;
    budget_usage(pressure->budget, pressure->holder, config->database_pool_max,
                 now_ms, &pressure->usage);
    if (pressure->usage.usage > config->sync_pool_threshold)
        return PRESSURE_NEAR;
    pressure_over(pressure);
    return PRESSURE_NONE;
}

void pressure_asked(struct pressure *pressure)
{
    pressure->asked = true;
}

char *pressure_words(const struct pressure *pressure, char *text)
{
    const struct budget_usage *usage = &pressure->usage;
    snprintf(text, PRESSURE_WORDS_SIZE,
             "pool near capacity: %" PRId64 " of %s %" PRId64
             " connections are in use (threshold %g); all but urgent "
             "operations wait",
             usage->in_use, usage->by_server ? "the server's" : "this host's",
             usage->size, pressure->config->sync_pool_threshold);
    return text;
}

void pressure_defer(struct pressure *pressure, uint64_t now_ms)
{
    const struct budget_usage *usage = &pressure->usage;
    const struct config *config = pressure->config;
    pressure->asked = false;
    pressure->deferrals++;
    pressure->retry_at_ms =
        now_ms + (uint64_t)backoff_delay_ms(
                     config->sync_retry_base_ms, config->sync_retry_max_ms,
                     pressure->deferrals, jitter_next(pressure->random));
    atomic_store(&pressure->view->deferred, 1);
    metric_add(METRIC_SYNC_DEFERRALS, 1);
    if (pressure->logged_ms != 0 &&
        now_ms < pressure->logged_ms + PRESSURE_LOG_MS)
        return;
    pressure->logged_ms = now_ms;
    log_event(LOG_WARNING_LEVEL, "pool near capacity",
              LOG_REAL("pool_usage", usage->usage),
              LOG_REAL("threshold", config->sync_pool_threshold),
              LOG_INT("checkedout", usage->in_use),
              LOG_INT("pool_size", usage->size),
              LOG_TEXT("pool", usage->by_server ? "server" : "host"));
}
