/* SPDX-License-Identifier: Apache-2.0
 *
 * The lock of the local store, <state_dir>/tidemill.lock: who holds it is
 * the only process that writes the store, or its spool.
 *
 * The file, of LOCK_FILE_BYTES always, so that it is never truncated (it
 * needs no space of a full disk, and for a file that was truncated ext4
 * starts to write when it is closed), says
 *
 *   pid      of the holder
 *   repeats  until when (wall clock, ms) requests may come that an earlier
 *            writer committed without having answered; 0 while a writer is
 *            open, so that its crash counts as one
 *   seal     which store a writer found to be good, and with which schema:
 *            what makes it safe to acknowledge without opening it
 */
#ifndef TIDEMILL_STORE_LOCK_H
#define TIDEMILL_STORE_LOCK_H

#include <stdint.h>

#include "common/base/error.h"

#define STORE_FILE_NAME "tidemill.db"
#define STORE_LOCK_NAME "tidemill.lock"
#define LOCK_FILE_BYTES 64
#define LOCK_SEAL_SIZE  24 /* with its NUL */

struct store_lock {
    int fd; /* -1: not held */
    int64_t repeats_until_ms; /* as the last holder left it; 0: it crashed */
    char seal[LOCK_SEAL_SIZE]; /* "": none */
};

/* Takes the lock and writes our pid.  ERROR_TRY_AGAIN, with the holder's
 * pid, when another process has it. */
int store_lock_take(struct store_lock *lock, const char *state_dir,
                    struct error *error);

/* Writes all three. */
int store_lock_write(const struct store_lock *lock, int64_t repeats_until_ms,
                     const char *seal);

void store_lock_leave(struct store_lock *lock);

/* The seal of the store in this state_dir as its file stands now, with this
 * binary's schema, of this system; "" when there is none.  Whoever else
 * writes the file, or puts another in its place, breaks the seal. */
void store_seal_make(char seal[LOCK_SEAL_SIZE], const char *state_dir,
                     const char *system_id);

#endif
