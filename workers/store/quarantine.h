/* SPDX-License-Identifier: Apache-2.0
 *
 * A damaged local store is mended by the store role before it serves: what
 * can be read goes into a new store, the damaged one is kept beside it
 * (common/store/salvage.h), and what was lost is logged and counted.  When
 * mending would be no help, it is left to a person, with the reason.
 */
#ifndef TIDEMILL_STORE_QUARANTINE_H
#define TIDEMILL_STORE_QUARANTINE_H

#include <stdint.h>

#include "common/base/error.h"

#define QUARANTINE_PAUSE_S 600 /* between two repairs */

/* Does what the mark asks for (common/store/damage.h): checks the store and
 * mends it when something is wrong.  Before the store is opened. */
int quarantine_look(const char *state_dir, uint64_t most_ms,
                    struct error *error);

/* Mends a store that could not be opened for damage.  -1 and why not: it is
 * larger than what can be read within about `most_ms`, the disk has no room
 * for another, nothing in it can be read, or it was mended just now. */
int quarantine_mend(const char *state_dir, uint64_t most_ms,
                    struct error *error);

#endif
