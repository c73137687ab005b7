/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/pool.h"

#include "common/config/config.h"

#define BACKOFF_FIRST_MS 100u
#define BACKOFF_MOST_MS  10000u

static void set_bounds(struct pool_bounds *bounds, bool enabled, int64_t least,
                       int64_t most, int64_t idle_ms)
{
    *bounds = (struct pool_bounds){.least = enabled ? (unsigned)least : 0,
                                   .most = enabled ? (unsigned)most : 0,
                                   .idle_ms = (uint64_t)idle_ms};
}

void pool_bounds(const struct config *config, enum role role,
                 struct pool_bounds *bounds)
{
    switch (role) {
    case ROLE_STORE:
    case ROLE_GATEWAY:
        set_bounds(bounds, true, 1, 1, 0);
        break;
    case ROLE_MONITOR:
        set_bounds(bounds, config->monitoring_enabled, 1, 1, 0);
        break;
    case ROLE_GENERATION:
        set_bounds(bounds, config->generation_enabled,
                   config->generation_min_workers,
                   config->generation_max_workers, config->generation_idle_ms);
        break;
    case ROLE_SYNC:
        set_bounds(bounds, config->sync_enabled, config->sync_min_workers,
                   config->sync_max_workers, config->sync_idle_ms);
        break;
    case ROLE_COUNT:
    default:
        set_bounds(bounds, false, 0, 0, 0);
        break;
    }
}

uint64_t pool_backoff_ms(unsigned crashes)
{
    if (crashes <= 1)
        return 0;
    unsigned doublings = crashes - 2;
    if (doublings > 10)
        return BACKOFF_MOST_MS;
    uint64_t delay = (uint64_t)BACKOFF_FIRST_MS << doublings;
    return delay < BACKOFF_MOST_MS ? delay : BACKOFF_MOST_MS;
}

bool pool_is_crash(const struct ending *ending)
{
    if (ending->death == DEATH_DRAIN_TIMEOUT)
        return false;
    if (ending->death == DEATH_EXITED &&
        ending->detail == WORKER_EXIT_UNSETTLED)
        return false;
    if (ending->death == DEATH_LEFT)
        return !ending->asked && ending->ready_ms < POOL_STABLE_MS;
    return true;
}

/* Exits that say "not at once": the first of them waits already. */
static bool wants_backoff(const struct ending *ending)
{
    if (ending->death != DEATH_EXITED)
        return false;
    switch (ending->detail) {
#define X(name, value, respawn, words)                                         \
    case value:                                                                \
        return (respawn) != 1;
        WORKER_EXIT_LIST(X)
#undef X
    default:
        return false;
    }
}

unsigned pool_crashes_after(unsigned crashes, const struct ending *ending)
{
    if (ending->finished > 0 || ending->ready_ms >= POOL_STABLE_MS)
        crashes = 0;
    if (!pool_is_crash(ending))
        return crashes;
    if (wants_backoff(ending) && crashes == 0)
        return 2;
    return crashes + 1;
}

void pool_note_crash(struct crash_record *record, uint64_t now_ms)
{
    record->at_ms[record->next] = now_ms;
    record->next = (record->next + 1) % CRASHES_KEPT;
    if (record->count < CRASHES_KEPT)
        record->count++;
}

uint64_t pool_degraded_until_ms(const struct crash_record *record,
                                unsigned limit, uint64_t window_ms,
                                uint64_t now_ms)
{
    if (limit == 0 || record->count < limit)
        return 0;
    /* the limit-th latest crash decides */
    unsigned at = (record->next + CRASHES_KEPT - limit) % CRASHES_KEPT;
    uint64_t until_ms = record->at_ms[at] + window_ms;
    return until_ms > now_ms ? until_ms : 0;
}
