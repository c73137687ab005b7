/* SPDX-License-Identifier: Apache-2.0
 *
 * An application's SQLite file with an outbox, read and never touched: no
 * byte of it, of its -wal or of its -shm is written or created, no lock but
 * a reader's is taken, no read lasts longer than a few milliseconds.
 *
 * A file in WAL mode has three faces:
 *   with its -shm   read through it, mapped read-only
 *   without both    nobody has it open: read as it stands, and what was read
 *                   counts only if the file was the same before and after
 *   -wal alone      its application must recover it first: a plain error
 */
#ifndef TIDEMILL_STORE_SOURCE_FILE_H
#define TIDEMILL_STORE_SOURCE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/config/config.h"
#include "common/store/writer.h"

#define SOURCE_ROWS_MAX     2000      /* in one read: some 5 ms with its commit */
#define SOURCE_BYTES_MAX    (4u << 20) /* of one read; one row may be past it */
#define SOURCE_IDENTITY_MAX 128

enum source_verdict {
    SOURCE_OK,
    SOURCE_MISSING,  /* there is no file yet */
    SOURCE_BUSY,     /* locked, or just changing: try again soon */
    SOURCE_REPLACED, /* not the file that was read before: stop */
    SOURCE_FAILED    /* damaged, of another form, not readable, ... */
};

struct source_file;

struct source_file *source_file_new(const struct sync_source *source);
void source_file_free(struct source_file **file);

/* True when there may be something new since the last read; opens nothing.
 * A file that was idle for a while is closed here, so that its application
 * can clean up behind it. */
bool source_file_changed(struct source_file *file);

struct source_batch {
    struct source_row rows[SOURCE_ROWS_MAX]; /* texts in the arena */
    size_t count;
    size_t bytes; /* of their texts */
    bool more; /* the read was cut by a bound */
    char identity[SOURCE_IDENTITY_MAX]; /* to keep with the last row's id */
};

/* Reads the rows behind the cursor in one short read, after it has made
 * sure that the file is the one that cursor and identity (both as
 * store_writer_source_move kept them) belong to.  batch->identity is that of
 * the last row read, or of the cursor when there is none. */
enum source_verdict source_file_read(struct source_file *file, int64_t cursor,
                                     const char *identity, struct arena *arena,
                                     struct source_batch *batch,
                                     struct error *error);

#endif
