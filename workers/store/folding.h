/* SPDX-License-Identifier: Apache-2.0
 *
 * Folds detail into summaries when it is time (common/store/aggregates.h),
 * in steps of a few milliseconds between the groups.
 */
#ifndef TIDEMILL_STORE_FOLDING_H
#define TIDEMILL_STORE_FOLDING_H

#include "common/base/error.h"
#include "workers/store/group_commit.h"

struct folding;

/* `wake` asks for a turn in a group. */
struct folding *folding_new(struct event_base *base,
                            struct store_writer *writer,
                            void (*wake)(void *self), void *self,
                            struct error *error);
void folding_free(struct folding **folding);

/* After each group: has detail come that must go at once, and when is the
 * next time? */
void folding_look(struct folding *folding);

struct group_member folding_member(struct folding *folding);

#endif
