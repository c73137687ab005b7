/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's leave to claim jobs, as memory allows (admission_rule.h): asked
 * for each claim, and its place counts until it rests.
 */
#ifndef TIDEMILL_GENERATION_ADMISSION_H
#define TIDEMILL_GENERATION_ADMISSION_H

#include <stdbool.h>

#include "common/base/error.h"
#include "common/ipc/worker_contract.h"

struct admission;
struct event_base;

/* `again` is called when it may be worth while to ask again. */
struct admission *admission_new(struct event_base *base,
                                const struct worker *worker,
                                void (*again)(void *self), void *self,
                                struct error *error);
void admission_free(struct admission **admission);

/* May it claim?  If not, `again` follows. */
bool admission_ask(struct admission *admission);

/* What it claimed; without a command it needs no more memory than it has. */
void admission_claimed(struct admission *admission, bool has_command);

/* It has no work any more. */
void admission_rest(struct admission *admission);

/* A command begins, or is over: its processes are measured meanwhile. */
void admission_command(struct admission *admission, bool begins);

#endif
