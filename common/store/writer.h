/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer: the only code that opens the local store for writing.  It is
 * the store process's, and the command's while the daemon is down; a lock on
 * <state_dir>/tidemill.lock, held for life, keeps it single.
 */
#ifndef TIDEMILL_STORE_WRITER_H
#define TIDEMILL_STORE_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/store/lock.h"
#include "common/store/reader.h"
#include "common/store/wire.h"


/* Bounds of what is accepted; beyond them ERROR_DATA. */
#define OUTBOX_TABLE_NAME_MAX 128      /* bytes; [A-Za-z_][A-Za-z0-9_.$-]* */
#define OUTBOX_RECORD_ID_MAX  512      /* bytes of UTF-8, no control chars */
#define OUTBOX_DATA_MAX       (4 << 20) /* bytes of JSON */

struct store_writer;
struct store_call;

/* Would OUTBOX_APPEND take these arguments?  ERROR_DATA with the remedy when
 * not: a command can then name the line, and send nothing. */
int outbox_call_check(const struct store_call *call, struct error *error);

/* Takes the lock (ERROR_TRY_AGAIN when another process holds it), opens or
 * makes the store in state_dir, applies migrations, takes over what the
 * spool holds, refuses a store newer than this binary (ERROR_CONFIG).  system_id is remembered; a store of
 * another system_id is refused with the remedy. */
int store_writer_open(struct store_writer **writer, const char *state_dir,
                      const char *system_id, struct error *error);
void store_writer_close(struct store_writer **writer);

/* Promises that this process itself is the only one that asks, so that its
 * end leaves nobody without an answer: the next writer need not expect
 * requests again.  For commands, right after opening.  Unless it has asked
 * another writer before, no request of its own can be a repeated one. */
void store_writer_private(struct store_writer *writer, bool asked_before);

/* Says, right before closing, that all were answered: the last one who did not
 * take an answer left at that time (wall clock; 0: nobody did).  The next
 * writer then need not look back for requests that come again. */
void store_writer_told(struct store_writer *writer, int64_t untold_ms);

/* Begins the WAL anew, as far as readers let it, for a next writer that follows
 * at once: closing then does not give its space back, which costs this one as
 * much time as to take it again costs that one. */
void store_writer_hand_over(struct store_writer *writer);

/* Takes over what the spool holds (spool.h), as one group; opening did so,
 * unless store_writer_spool_waits, for example on a full disk. */
int store_writer_replay(struct store_writer *writer, struct error *error);
bool store_writer_spool_waits(const struct store_writer *writer);

/* Which tables' operations stay here as detail (aggregates.h), from the
 * configuration; a store that was never told folds hook events.  What a
 * declaration that is gone still has to report is reported.  In a group of
 * its own. */
struct sync_aggregate;
int store_writer_aggregates(struct store_writer *writer,
                            const struct sync_aggregate *declared,
                            size_t count, int64_t interval_ms,
                            int64_t news_max, struct error *error);

/* When DETAILS_FOLD has something to do (wall clock), looking at the detail
 * that came since; 0: nothing waits. */
int64_t store_writer_fold_due_ms(struct store_writer *writer);

/* A group: begin, run requests, commit; then, and only then, the answers
 * may be sent.  On a failed commit nothing of the group is stored. */
int store_writer_begin(struct store_writer *writer, struct error *error);
int store_writer_commit(struct store_writer *writer, struct error *error);
void store_writer_rollback(struct store_writer *writer);

/* Runs one request in a savepoint for a caller (a CALLER_* bit).  A refused
 * request leaves no trace and does not hurt the group.  The answer's memory
 * is the arena's. */
void store_writer_run(struct store_writer *writer, uint32_t caller,
                      const struct store_request *request,
                      struct arena *arena, struct store_answer *answer);

/* The topics that the last committed group touched. */
uint32_t store_writer_topics(const struct store_writer *writer);

/* Whether jobs wait that could be claimed, as of the last group; looked up
 * by store_writer_look_for_jobs, for a queue that nobody has asked yet. */
bool store_writer_jobs_wait(const struct store_writer *writer);
int store_writer_look_for_jobs(struct store_writer *writer, int64_t now_ms,
                               struct error *error);

/* Bytes of the WAL that are not in the database yet, and all that it has
 * since it was last begun anew. */
int64_t store_writer_wal_bytes(const struct store_writer *writer);
int64_t store_writer_wal_length(const struct store_writer *writer);

/* Carries the WAL to the database as far as readers let it; the next commit
 * begins it anew when that was all of it and no reader is there.  The other
 * two wait for readers up to wait_ms: then the next commit does begin anew,
 * or the WAL's space is given back.  That readers stayed is no error: ask
 * for the length.  Within a group they do nothing. */
int store_writer_checkpoint(struct store_writer *writer, struct error *error);
int store_writer_restart_wal(struct store_writer *writer, unsigned wait_ms,
                             struct error *error);
int store_writer_empty_wal(struct store_writer *writer, unsigned wait_ms,
                           struct error *error);

/* Takes space of the disk for a WAL of so many bytes; false when there is
 * not enough.  It stays until the WAL is emptied. */
bool store_writer_wal_room(struct store_writer *writer, int64_t bytes);

struct store_totals {
    int64_t pending; /* not settled, in flight and waiting ones included */
    int64_t pending_by[OUTBOX_PRIORITIES];
    int64_t dead;
    int64_t parked; /* in conflict, or behind one that is */
};
struct store_totals store_writer_totals(const struct store_writer *writer);

/* Sources, for the store process: rows copied and the cursor moved in the
 * current group.  See workers/store/sources. */
struct source_row {
    int64_t id; /* in the source's own sync_queue */
    const char *operation, *table_name, *record_id, *data, *priority;
    size_t operation_size, table_name_size, record_id_size, data_size,
        priority_size;          /* a NULL text has size 0 */
    int64_t created_ms;
};

/* Where a source was left: its highest id copied, and the identity of the
 * file it was read from ("" when it was never read). */
int store_writer_source_cursor(struct store_writer *writer, const char *source,
                               int64_t *cursor, char identity[128],
                               struct error *error);
/* Appends rows, by ascending ids, but those up to the cursor (exactly once).
 * A row that the outbox would refuse becomes a dead operation with the reason,
 * so that it is neither lost nor in the way.  -1: the group is spoilt. */
int store_writer_source_append(struct store_writer *writer, const char *source,
                               const struct source_row *rows, size_t count,
                               struct error *error);
int store_writer_source_move(struct store_writer *writer, const char *source,
                             int64_t cursor, const char *identity,
                             struct error *error);
/* Remembers in the current group why a source is not read, for `tidemill
 * doctor`; "" when it is read again. */
int store_writer_source_error(struct store_writer *writer, const char *source,
                              const char *words, struct error *error);

#endif
