/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage within a WAL.  SQLite ends reading a WAL at the first frame whose
 * checksum is wrong and takes it for the torn end of a transaction that was
 * never committed.  When whole transactions stand behind that frame, they
 * were acknowledged, and would be dropped without a word.
 *
 * The format: https://www.sqlite.org/fileformat2.html#walformat
 */
#ifndef TIDEMILL_STORE_WAL_CHECK_H
#define TIDEMILL_STORE_WAL_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct wal_damage {
    uint32_t good_frames; /* before the first bad one */
    uint32_t bad_frame;   /* its number from 1; 0: the header or none is bad */
    uint32_t frames_lost; /* from the bad one on, of the same WAL */
    uint32_t commits_lost; /* that end behind the bad frame */
    bool header_bad;       /* nothing of it would be read */
};

/* Reads the WAL at `path` as SQLite would, and what stands behind.  No file,
 * or an empty one, is good.  -1 when it cannot be read. */
int wal_inspect(const char *path, struct wal_damage *damage,
                struct error *error);

/* Acknowledged transactions would be lost?  One commit behind a bad frame may
 * as well be the last one, torn by a power failure before it was
 * acknowledged. */
bool wal_is_damaged(const struct wal_damage *damage);

/* Makes every checksum good again, so that the frames behind a bad one are
 * read; what is wrong in that one's page stays wrong.  For a copy. */
int wal_mend(const char *path, struct error *error);

#endif
