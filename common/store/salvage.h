/* SPDX-License-Identifier: Apache-2.0
 *
 * A damaged local store: what of it can still be read goes into a new one.
 *
 * Every table with row ids is read around what cannot be read: after an
 * error the next readable row is searched for by leaps and then by halves,
 * so a damaged page costs its own rows.  What the rows say in sum (counters,
 * filters) is made anew; what was in flight is claimable again; and the new
 * store begins a new epoch, in which the centre tells what it has (see
 * outbox_epoch.c).  A byte that was flipped within a text and leaves it valid
 * cannot be noticed: SQLite's pages have no checksums.
 */
#ifndef TIDEMILL_STORE_SALVAGE_H
#define TIDEMILL_STORE_SALVAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct salvage {
    /* Rows of `table` with row ids in (after, before) cannot be read; INT64_MAX:
     * to the end. */
    void (*lost)(void *self, const char *table, int64_t after, int64_t before);
    void *self;
    int64_t rows;    /* read */
    int64_t gaps;    /* that `lost` was called for */
    int64_t pending; /* operations in the new store */
};

/* Is anything wrong with the file?  *problems counts; the first words of
 * them go to `tell`. */
int store_check(const char *state_dir, int64_t *problems,
                void (*tell)(void *self, const char *words), void *self,
                struct error *error);

/* Makes the new store; with `apply` it takes the old one's place, which is
 * kept as tidemill.db.damaged-<number> (*kept).  The daemon must be down:
 * takes the store's lock. */
int store_repair(const char *state_dir, bool apply, struct salvage *salvage,
                 char kept[64], struct error *error);

#endif
