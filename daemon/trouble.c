/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/trouble.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "daemon/channel.h"
#include "daemon/deadlines.h"
#include "daemon/master.h"
#include "daemon/rotation.h"

#define RETRY_LEAST_MS 100u
#define RETRY_MOST_MS  2000u

static const struct {
    const char *begins;
    const char *ends;
} words[TROUBLE_COUNT] = {
#define X(name, begins, ends) [TROUBLE_##name] = {begins, ends},
    TROUBLE_LIST(X)
#undef X
};

static int write_pidfile(struct master *master, struct error *error)
{
    return pidfile_write(&master->pidfile, error);
}

static int tell_manager(struct master *master, struct error *error)
{
    return notify_again(&master->notify, error);
}

/* What is tried again here, and how: 0 or -1. */
typedef int (*retry_function)(struct master *master, struct error *error);

static const retry_function retries[TROUBLE_COUNT] = {
    [TROUBLE_REPLACE] = slots_replace_again,
    [TROUBLE_SEND] = channel_send_again,
    [TROUBLE_LOG] = rotation_open_again,
    [TROUBLE_LOG_HELPER] = rotation_help_again,
    [TROUBLE_PIDFILE] = write_pidfile,
    [TROUBLE_NOTIFY] = tell_manager,
};

static uint64_t delay_ms(unsigned tries)
{
    uint64_t delay = RETRY_LEAST_MS;
    while (tries-- > 0 && delay < RETRY_MOST_MS)
        delay *= 2;
    return delay < RETRY_MOST_MS ? delay : RETRY_MOST_MS;
}

void trouble_note(struct master *master, enum trouble_kind kind,
                  const struct error *error)
{
    struct trouble *trouble = &master->troubles[kind];
    metric_add(METRIC_MASTER_FAILURES, 1);
    if (trouble->failures++ == 0)
        log_event(LOG_ERROR_LEVEL, words[kind].begins,
                  LOG_TEXT("error", error->text));
    if (retries[kind] == NULL || trouble->retry_ms != 0)
        return;
    trouble->retry_ms = clock_monotonic_ms() + delay_ms(trouble->retries++);
    deadlines_arm(master);
}

void trouble_over(struct master *master, enum trouble_kind kind)
{
    struct trouble *trouble = &master->troubles[kind];
    if (trouble->failures == 0)
        return;
    log_event(LOG_NOTICE_LEVEL, words[kind].ends,
              LOG_UINT("failures", trouble->failures));
    *trouble = (struct trouble){0};
}

uint64_t trouble_due_ms(const struct master *master)
{
    uint64_t due_ms = UINT64_MAX;
    for (unsigned i = 0; i < TROUBLE_COUNT; i++)
        if (master->troubles[i].retry_ms != 0 &&
            master->troubles[i].retry_ms < due_ms)
            due_ms = master->troubles[i].retry_ms;
    return due_ms;
}

void trouble_check(struct master *master)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct error error;
    for (unsigned i = 0; i < TROUBLE_COUNT; i++) {
        struct trouble *trouble = &master->troubles[i];
        if (trouble->retry_ms == 0 || trouble->retry_ms > now_ms)
            continue;
        trouble->retry_ms = 0;
        if (retries[i](master, &error) == 0)
            trouble_over(master, (enum trouble_kind)i);
        else
            trouble_note(master, (enum trouble_kind)i, &error);
    }
}
