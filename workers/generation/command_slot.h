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

/* The group (job_group.h; -1: none) is taken over.  `over` takes the report
 * (NULL without memory) while the job is still there; `gone` follows, from
 * the loop, when another one can be run. */
struct command_slot *command_slot_new(struct event_base *base,
                                      const struct reporter *reporter,
                                      const struct command_defaults *defaults,
                                      int group_fd,
                                      void (*over)(void *self,
                                                   struct report *report),
                                      void (*gone)(void *self), void *self);

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
