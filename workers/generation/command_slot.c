/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/command_slot.h"

#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "workers/generation/guardian.h"
#include "workers/generation/job_run.h"

struct command_slot {
    struct event_base *base;
    const struct reporter *reporter;
    const struct command_defaults *defaults;
    void (*over)(void *self, struct report *report);
    void (*gone)(void *self);
    void *self;
    struct event *gone_event;
    struct event *prepare_event;
    struct guardian guardian;    /* of one command after the other */
    struct command_job *command; /* NULL: none, or it could not be started */
    struct job job;
    uint64_t since_ns;
    bool busy;
};

static void on_over(void *self, const struct command_outcome *outcome,
                    const struct error *error)
{
    struct command_slot *slot = self;
    uint64_t spent_ns = clock_monotonic_ns() - slot->since_ns;
    slot->over(slot->self, job_report_command(slot->reporter, &slot->job,
                                              outcome, error, spent_ns / 1000));
    event_active(slot->gone_event, EV_TIMEOUT, 0);
}

/* Apart, since on_over is called from within what is freed here. */
static void on_gone(evutil_socket_t fd, short what, void *self)
{
    struct command_slot *slot = self;
    (void)fd, (void)what;
    command_job_free(&slot->command);
    free(slot->job.kind);
    slot->job = (struct job){.id = 0};
    slot->busy = false;
    slot->gone(slot->self);
}

static void on_prepare(evutil_socket_t fd, short what, void *self)
{
    struct command_slot *slot = self;
    struct error error;
    (void)fd, (void)what;
    if (!slot->busy)
        guardian_start(&slot->guardian, &error);
}

void command_slot_prepare(struct command_slot *slot)
{
    event_active(slot->prepare_event, EV_TIMEOUT, 0);
}

struct command_slot *
command_slot_new(struct event_base *base, const struct reporter *reporter,
                 const struct command_defaults *defaults,
                 const struct command_place *place,
                 void (*over)(void *self, struct report *report),
                 void (*gone)(void *self), void *self)
{
    struct command_slot *slot = calloc(1, sizeof(*slot));
    if (slot == NULL)
        return NULL;
    *slot = (struct command_slot){.base = base,
                                  .reporter = reporter,
                                  .defaults = defaults,
                                  .guardian = {.group_fd = place->group_fd,
                                               .lock_fd = place->lock_fd,
                                               .slot = place->slot},
                                  .over = over,
                                  .gone = gone,
                                  .self = self};
    slot->gone_event = event_new(base, -1, 0, on_gone, slot);
    slot->prepare_event = event_new(base, -1, 0, on_prepare, slot);
    if (slot->gone_event == NULL || slot->prepare_event == NULL)
        command_slot_free(&slot);
    return slot;
}

void command_slot_free(struct command_slot **slot)
{
    struct command_slot *old = *slot;
    *slot = NULL;
    if (old == NULL)
        return;
    command_job_free(&old->command);
    guardian_close(&old->guardian);
    if (old->guardian.group_fd >= 0)
        close(old->guardian.group_fd);
    if (old->guardian.lock_fd >= 0)
        close(old->guardian.lock_fd);
    free(old->job.kind);
    if (old->gone_event != NULL)
        event_free(old->gone_event);
    if (old->prepare_event != NULL)
        event_free(old->prepare_event);
    free(old);
}

void command_slot_run(struct command_slot *slot, const struct job *job,
                      uint64_t timeout_ms, uint64_t grace_ms)
{
    const struct command_outcome none = {.exit_code = -1};
    struct error error;
    slot->job = *job;
    slot->busy = true;
    slot->since_ns = clock_monotonic_ns();
    slot->command = command_job_start(slot->base, &slot->guardian,
                                      slot->defaults, &slot->job, timeout_ms,
                                      grace_ms, on_over, slot, &error);
    if (slot->command == NULL)
        on_over(slot, &none, &error);
}

bool command_slot_busy(const struct command_slot *slot)
{
    return slot->busy;
}

const struct job *command_slot_job(const struct command_slot *slot)
{
    return &slot->job;
}

void command_slot_cancel(struct command_slot *slot)
{
    if (slot->command != NULL)
        command_job_cancel(slot->command);
}
