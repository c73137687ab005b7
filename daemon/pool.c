/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/pool.h"

#include "common/config/config.h"

#define BACKOFF_FIRST_MS 100u
#define BACKOFF_MOST_MS  10000u

unsigned pool_size(const struct config *config, enum role role)
{
    switch (role) {
    case ROLE_STORE:
    case ROLE_GATEWAY:
        return 1;
    case ROLE_MONITOR:
        return config->monitoring_enabled ? 1 : 0;
    case ROLE_GENERATION:
        return config->generation_enabled
                   ? (unsigned)config->generation_max_workers
                   : 0;
    case ROLE_SYNC:
        return config->sync_enabled ? (unsigned)config->sync_max_workers : 0;
    case ROLE_COUNT:
    default:
        return 0;
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
