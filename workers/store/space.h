/* SPDX-License-Identifier: Apache-2.0
 *
 * Space on the store's file system.  A reserve, a file with real blocks
 * beside the store and as much room in the WAL, is kept for finishing what
 * was accepted.  A full disk makes the store short of space: new operations
 * are refused, the reserve is given up so that claims and settlements go on,
 * and the WAL is carried to the database, where there is always room for it.
 * The shortage ends by itself once there is twice the space that the reserve
 * takes.
 */
#ifndef TIDEMILL_STORE_SPACE_H
#define TIDEMILL_STORE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

#define SPACE_FILE_NAME "tidemill.reserve"

struct event_base;
struct space;
struct store_request;
struct store_writer;

struct space_options {
    struct event_base *base;
    struct store_writer *writer;
    const char *state_dir;
    void (*recovered)(void *self); /* from the loop; may be NULL */
    void *self;
};

/* Makes the reserve or takes over the one that is there.  Without room for
 * it the store starts short of space. */
struct space *space_new(const struct space_options *options,
                        struct error *error);
/* The reserve stays on the disk, for the next store. */
void space_free(struct space **space);

/* Removes the reserve of state_dir, for opening a store on a full disk.
 * True when that made space. */
bool space_give_up(const char *state_dir);

/* After a group that met a full disk, rolled back. */
void space_met_full(struct space *space);

/* Free on the file system, without the reserve. */
int64_t space_free_bytes(const struct space *space);

bool space_is_short(const struct space *space);

/* ERROR_FULL when space is short and the request would add what was not
 * accepted yet: appends, hook events and jobs of others than the workers
 * that finish work (caller is a CALLER_* bit), samples of metrics. */
int space_admit(const struct space *space, uint32_t caller,
                const struct store_request *request, struct error *error);

#endif
