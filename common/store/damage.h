/* SPDX-License-Identifier: Apache-2.0
 *
 * Suspicion of damage.  Whoever meets damage in the local store while it is
 * in use, its writer or any reader, leaves a mark beside it; the store role
 * looks for the mark, and for damage that SQLite would pass over, and mends
 * (workers/store/quarantine.h).
 */
#ifndef TIDEMILL_STORE_DAMAGE_H
#define TIDEMILL_STORE_DAMAGE_H

#include <stdbool.h>

#include "common/base/error.h"

#define DAMAGE_MARK_NAME "tidemill.damaged"
#define DAMAGE_REMEDY                                                          \
    "; the daemon mends its store by itself, or says why not; without it run " \
    "'tidemill store repair'"

/* Leaves the mark beside the store with this path, as far as this process
 * may. */
void damage_mark(const char *store_path);
bool damage_is_marked(const char *state_dir);
void damage_unmark(const char *state_dir);

/* -1 and ERROR_DAMAGED when opening the store would drop transactions of its
 * WAL that were acknowledged (common/store/wal_check.h). */
int damage_check_wal(const char *state_dir, struct error *error);

#endif
