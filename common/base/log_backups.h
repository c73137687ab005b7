/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of rotated log files, "PATH-20260131T235959.123Z": they are
 * compressed ("...Z.gz"), and the oldest go when there are too many.
 *
 * A file is touched only when nobody has it open for writing, which the
 * kernel says (a lease, fcntl(2)); where a file system has no leases, when it
 * was not written for LOG_BACKUP_CALM_S.  Each step can be interrupted at any
 * instruction and is taken up by the next call: a compressed file that is
 * whole and on disk takes the original's place, by its name, and then gets its
 * own.  So every line is in one file at any time.
 */
#ifndef TIDEMILL_BASE_LOG_BACKUPS_H
#define TIDEMILL_BASE_LOG_BACKUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

#define LOG_BACKUP_CALM_S 60

struct log_backups {
    const char *path;         /* of the log file */
    uint64_t count;           /* most files kept */
    uint64_t total_bytes_max; /* of them together; 0: no bound */
    bool compress;
};

/* Is there an old file at all? */
bool log_backups_exist(const char *path);

/* Deletes and compresses.  Sets *waiting when files are left because someone
 * may still write to them: try again soon.  One at a time. */
int log_backups_tidy(const struct log_backups *backups, bool *waiting,
                     struct error *error);

#endif
