/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention: passes over what the configuration lets go, in small steps
 * (common/store/expiry.h).  While requests come a step rides with their
 * group and deletes at most a little more than they add, so that it never
 * holds them up and yet is never outrun; in idle moments steps are larger.
 */
#ifndef TIDEMILL_STORE_RETENTION_H
#define TIDEMILL_STORE_RETENTION_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/store/expiry.h"
#include "workers/store/group_commit.h"

struct config;
struct retention;

/* Pure policy: rows for the next step, when so many requests wait in the
 * group, which add so many rows. */
unsigned retention_step_rows(unsigned requests, unsigned added);

/* How long between two passes, by the shortest time that is kept; 0: there
 * is nothing to let go. */
int64_t retention_pause_ms(const int64_t keep_ms[EXPIRY_COUNT]);

/* `wake` asks for a turn in a group; `load` tells what waits in the open
 * one. */
struct retention_setup {
    struct event_base *base;
    const struct config *config;
    void (*wake)(void *self);
    void (*load)(void *self, unsigned *requests, unsigned *added);
    void *self;
};

struct retention *retention_new(const struct retention_setup *setup,
                                struct error *error);
void retention_free(struct retention **retention);

struct group_member retention_member(struct retention *retention);

#endif
