/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a source file: source_open.c opens it and checks its form,
 * source_file.c reads it.
 */
#ifndef TIDEMILL_STORE_SOURCE_INTERNAL_H
#define TIDEMILL_STORE_SOURCE_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "workers/store/source_file.h"

#define SOURCE_READ_MOST_MS 200 /* then a read is broken off */

/* What stat(2) says of a file; a missing one is all zero. */
struct face {
    dev_t device;
    ino_t inode;
    off_t size;
    int64_t changed_ns;
};

struct signature {
    struct face database;
    struct face wal;
};

struct source_file {
    const struct sync_source *source;
    sqlite3 *db;
    sqlite3_stmt *version_statement;
    sqlite3_stmt *row_statement;
    sqlite3_stmt *rows_statement;
    bool has_sequence; /* a table sqlite_sequence */
    bool immutable;    /* read as it stands; closed after each read */
    ino_t inode;
    int64_t version; /* PRAGMA data_version as of the last read */
    bool version_known;
    struct signature seen; /* while closed: as of the last read */
    bool seen_known;
    uint64_t changed_ms;  /* monotonic, when something new was last seen */
    uint64_t deadline_ms; /* of the read under way */
};

/* Of path and suffix. */
struct face source_face(const char *path, const char *suffix);

/* Opens the file read-only, in the way its face asks for, and checks the
 * form of its sync_queue; what was opened stays for source_close also when
 * it failed. */
enum source_verdict source_open(struct source_file *file, struct error *error);
void source_close(struct source_file *file);

/* The verdict and the words for what the connection's last call met. */
enum source_verdict source_failed(struct source_file *file, const char *what,
                                  struct error *error);

#endif
