/* SPDX-License-Identifier: Apache-2.0
 *
 * The one command that a worker runs at a time, from its job to its report.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_COMMAND_SLOT_H
#define TIDEMILL_WORKERS_GENERATION_COMMAND_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "workers/generation/command_job.h"
#include "workers/generation/report.h"

struct command_slot;
struct event_base;

/* Where its commands run. */
struct command_place {
    int group_fd; /* job_group.h; -1: none */
    int lock_fd;  /* command_lock.h; -1: none */
    unsigned slot;
};

/* The place's descriptors are taken over.  `over` takes the report (NULL
 * without memory) while the job is still there; `gone` follows, from the
 * loop, when another one can be run. */
struct command_slot *command_slot_new(struct event_base *base,
                                      const struct reporter *reporter,
                                      const struct command_defaults *defaults,
                                      const struct command_place *place,
                                      void (*over)(void *self,
                                                   struct report *report),
                                      void (*gone)(void *self), void *self);

/* From the loop, soon: starts what the first command needs.  When that fails
 * the command will tell. */
void command_slot_prepare(struct command_slot *slot);

/* Kills what runs. */
void command_slot_free(struct command_slot **slot);

/* Takes over the job and its block.  One that cannot be started is over from
 * within this call. */
void command_slot_run(struct command_slot *slot, const struct job *job,
                      uint64_t timeout_ms, uint64_t grace_ms);

bool command_slot_busy(const struct command_slot *slot);

/* While it is busy. */
const struct job *command_slot_job(const struct command_slot *slot);
void command_slot_cancel(struct command_slot *slot);

#endif
