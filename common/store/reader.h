/* SPDX-License-Identifier: Apache-2.0
 *
 * Read-only connections to the local store.  They never write, never
 * checkpoint, and keep no transaction open between calls.
 */
#ifndef TIDEMILL_STORE_READER_H
#define TIDEMILL_STORE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/priority.h"

struct sqlite3;
struct store_reader;

/* ERROR_NO_INPUT when there is no store yet. */
int store_reader_open(struct store_reader **reader, const char *state_dir,
                      struct error *error);
void store_reader_close(struct store_reader **reader);

/* The connection, for a reading statement of the caller's own. */
struct sqlite3 *store_reader_db(struct store_reader *reader);

/* How the outbox is clustered: key = priority << 61 | lane << 55 | id;
 * stripe = key >> 55.  The lane of a record is
 * text_hash(text_hash(START, table_name + NUL), record_id) % OUTBOX_LANES. */
#define OUTBOX_LANES      16
#define OUTBOX_PRIORITIES PRIORITY_COUNT
#define OUTBOX_ID_BITS    55

enum operation_kind { OPERATION_INSERT = 1, OPERATION_UPDATE, OPERATION_DELETE };

struct outbox_operation {
    int64_t key;
    int64_t id;
    enum operation_kind kind;
    unsigned priority;
    unsigned retry_count;
    int64_t created_ms;
    int64_t source;        /* source_cursors.number; 0: none */
    bool resolved;         /* it was in conflict, and a person has kept it */
    int64_t resolved_over; /* over the centre's row with this stamp */
    const char *table_name, *record_id, *data; /* data NULL for DELETE */
    size_t table_name_size, record_id_size, data_size;
};

/* A batch as BATCH_CLAIM and BATCH_ADOPT describe it. */
struct outbox_range {
    unsigned stripe;
    int64_t after_id; /* exclusive */
    int64_t last_id;  /* inclusive */
    int64_t told_id;  /* the end of the last range there that was sent */
};

struct outbox_batch {
    int64_t batch_id;
    int64_t epoch;
    int64_t settled; /* all batches up to this are */
    size_t operation_estimate;
    struct outbox_range *ranges;
    size_t range_count;
    int64_t *singles; /* keys */
    size_t single_count;
};

struct store_result;

/* Reads the rows of BATCH_CLAIM or BATCH_ADOPT; *batches and *count, all in
 * the arena. */
int outbox_batches_parse(const struct store_result *result,
                         struct arena *arena, struct outbox_batch **batches,
                         size_t *count, struct error *error);

/* All operations of a batch in the order of their ids: those of its ranges
 * but for the ones that left the line (outbox_exceptions), and its singles.
 * The answer is the same however often it is asked while the batch is in
 * flight.  Memory is the arena's. */
int outbox_batch_read(struct store_reader *reader,
                      const struct outbox_batch *batch, struct arena *arena,
                      struct outbox_operation **operations, size_t *count,
                      struct error *error);

/* Tables with a threshold of their own. */
#define OUTBOX_KIND_LIST(X)                                                    \
    X(TASKS, "tasks")                                                          \
    X(ERRORS, "errors")                                                        \
    X(CONTEXTS, "contexts")

enum outbox_kind {
#define X(name, table) KIND_##name,
    OUTBOX_KIND_LIST(X)
#undef X
        OUTBOX_KINDS
};

/* The keys that the centre must not take for applied when it has had these
 * ranges: what is outside its line since the last range that was sent. */
int outbox_batch_left_out(struct store_reader *reader,
                          const struct outbox_batch *batch,
                          struct arena *arena, int64_t **keys, size_t *count,
                          struct error *error);

/* Which store this is, for the centre to recognise it. */
struct store_identity {
    int64_t store_id;
    int64_t epoch;
    int64_t last_batch;    /* that was ever claimed */
    int64_t applied_batch; /* the last that is settled and had something
                              applied, of this epoch; 0: none */
    bool restored;         /* by `tidemill restore`: a new epoch must begin */
};
int store_identity_read(struct store_reader *reader,
                        struct store_identity *identity, struct error *error);

/* Pending operations by the counters (never by a scan). */
struct outbox_pending {
    int64_t total;
    int64_t by_kind[OUTBOX_KINDS];
    int64_t by_priority[OUTBOX_PRIORITIES];
    int64_t in_flight; /* of them, in batches that are not settled */
    int64_t waiting;   /* of them, refused and waiting to be tried again, or
                          held behind such a one */
    int64_t dead;
    int64_t next_retry_ms; /* wall clock of the earliest such one; 0 none */
};
int outbox_pending_read(struct store_reader *reader,
                        struct outbox_pending *pending, struct error *error);

#endif
