/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the writer share.  The state in memory is a copy of
 * small tables, so that no statement has to search for it:
 *
 * - struct outbox_state: plain, saved and restored whole around a request
 *   and a group;
 * - pending counts by table: an undo log;
 * - batches in flight: read again after a rollback.
 */
#ifndef TIDEMILL_STORE_WRITER_INTERNAL_H
#define TIDEMILL_STORE_WRITER_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/text.h"
#include "common/store/aggregates.h"
#include "common/store/lock.h"
#include "common/store/reader.h"
#include "common/store/recent_tokens.h"
#include "common/store/record_filter.h"
#include "common/store/writer.h"
#include "common/store/writer_sql.h"

struct sqlite3;

#define OUTBOX_TABLES_MAX      10000
#define OUTBOX_BATCHES_A_SLOT  10
#define OUTBOX_STRIPES         (OUTBOX_PRIORITIES * OUTBOX_LANES)

/* Tokens of operations: kept of the last ones (more than a request holds);
 * after opening, rows of a stripe looked back at (beside as many as the
 * request has calls), for so long.  Only what the last group before the
 * opening committed can be asked for again. */
#define TOKENS_RECENT    65536
#define TOKENS_OLD        262144
#define TOKENS_LOOKBACK   2000
#define TOKENS_REPEAT_MS  600000

#define SOURCES_MAX            1000
#define JSON_ARGUMENT_MAX      (4 << 20)
#define TEXT_ARGUMENT_MAX      (64 << 10)

enum exception_state {
    EXCEPTION_READY,     /* delivered by its key, in the next batch */
    EXCEPTION_RETRY,     /* refused: not before its time */
    EXCEPTION_HELD,      /* behind an earlier one of its record */
    EXCEPTION_IN_FLIGHT, /* a single of a batch */
    EXCEPTION_DEAD,
    EXCEPTION_SETTLED, /* delivered before its stripe's cursor: skip it */
    EXCEPTION_CONFLICT, /* a person decides on it, or on one before it of
                           its record; not pending */
    EXCEPTION_STATES
};

/* The stripe's index in memory; on disk and on the wire it is key >> 55. */
static inline unsigned stripe_index(unsigned priority, unsigned lane)
{
    return priority * OUTBOX_LANES + lane;
}

static inline int64_t stripe_key(unsigned index, int64_t id)
{
    uint64_t priority = index / OUTBOX_LANES;
    uint64_t lane = index % OUTBOX_LANES;
    return (int64_t)(priority << 61 | lane << OUTBOX_ID_BITS | (uint64_t)id);
}

static inline int64_t stripe_number(unsigned index)
{
    return stripe_key(index, 0) >> OUTBOX_ID_BITS;
}

static inline int64_t key_id(int64_t key)
{
    return key & ((INT64_C(1) << OUTBOX_ID_BITS) - 1);
}

static inline unsigned key_priority(int64_t key)
{
    return (unsigned)((uint64_t)key >> 61);
}

static inline unsigned key_lane(int64_t key)
{
    return (unsigned)((uint64_t)key >> OUTBOX_ID_BITS & 63);
}

/* -1 when the number names no stripe. */
int stripe_index_of(int64_t number);

#define OUTBOX_ID_MAX ((INT64_C(1) << OUTBOX_ID_BITS) - 1)

struct outbox_state {
    int64_t epoch;
    int64_t next_id;
    int64_t tail[OUTBOX_STRIPES];    /* last id appended; 0 none */
    int64_t settled[OUTBOX_STRIPES]; /* up to here at the centre */
    int64_t claimed[OUTBOX_STRIPES]; /* up to here in flight */
    int64_t told[OUTBOX_STRIPES];    /* the end of the last range that the
                                        centre has had */
    int64_t head[OUTBOX_STRIPES];    /* no unclaimed row is before this;
                                        0: outbox_heads_find it */
    int64_t states[OUTBOX_LANES][EXCEPTION_STATES];
    uint32_t dirty_lanes; /* states to be written */
    int64_t pending;
    int64_t pending_by[OUTBOX_PRIORITIES];
};

struct batch {
    int64_t batch_id; /* 0: a free place */
    int64_t epoch;
    int64_t slot;
    int64_t spawn;
    int64_t operations;
    uint32_t lanes; /* bits */
};

struct table_count {
    char *name;
    size_t name_size;
    uint64_t hash;
    int64_t pending[OUTBOX_PRIORITIES];
    uint8_t dirty; /* bits of priorities to be written */
    uint32_t detail; /* 1 + index of the aggregate that keeps its operations
                        here; 0: they go to the outbox */
};

struct count_change {
    uint32_t table;
    uint32_t priority;
    int64_t delta;
};

struct table_counts {
    struct table_count *tables;
    uint32_t *slots; /* open addressing: index + 1 */
    uint32_t count;
    struct count_change *changes; /* of this group, for undoing */
    size_t change_count, change_capacity;
    uint32_t *dirty;
    uint32_t dirty_count;
};

struct source_state {
    char *name;
    int64_t number;
    int64_t cursor;
    char identity[128];
    char error[ERROR_TEXT_MAX]; /* "" when it is read */
    bool dirty;
};

/* A part of a lane whose records are known to a filter. */
struct filter_segment {
    int64_t first_id, last_id;
    struct record_filter *filter; /* NULL: on disk only */
};

struct lane_filters {
    struct record_filter *current; /* of ids >= current_first */
    int64_t current_first;
    unsigned current_count;
    bool loaded; /* segments below are those on disk */
    struct filter_segment *segments;
    size_t count, capacity;
};

/* What the request under way has touched. */
struct request_state {
    bool savepoint;
    size_t call_count;
    struct outbox_state saved; /* valid when savepoint */
    size_t saved_changes;
    uint32_t saved_topics;
    bool batches_touched;
    int64_t settling; /* the batch of a settlement not yet ended; 0 none */
    bool sent;        /* it says what only the centre can have said */
    uint64_t *releases; /* records whose held operations may go on */
    size_t release_count, release_capacity;
};

struct store_writer {
    struct sqlite3 *db;
    char *state_dir;
    char *path;
    struct store_lock lock;
    char *system_id;  /* NULL until the store is known to be good */
    bool spool_waits; /* something in it was not taken over yet */
    struct sqlite3_stmt *statements[SQL_COUNT];

    bool in_group;
    bool group_lost; /* SQLite rolled back by itself */
    struct error lost_error;
    uint32_t topics;           /* of this group */
    uint32_t committed_topics; /* of the last committed one */
    bool jobs_claimed;         /* in this group */
    bool jobs_wait;            /* that could be claimed, as far as is known */
    bool no_edges;             /* no job waits for another: known */
    struct outbox_state group_saved;
    bool group_batches_touched;
    bool filters_touched; /* written in this group, and maybe undone */

    struct request_state request;
    struct outbox_state state;
    struct batch batches[OUTBOX_LANES];
    unsigned claims; /* made so far */
    struct table_counts counts;
    struct aggregates aggregates;
    struct source_state *sources;
    size_t source_count;
    bool sources_loaded;
    bool sources_touched;
    struct lane_filters filters[OUTBOX_LANES];
    size_t filters_cached;
    struct recent_tokens *tokens;         /* NULL: none yet */
    struct recent_tokens *old_tokens;     /* committed before this writer was
                                             opened; only while repeats */
    bool repeats;                         /* may come of those */
    int64_t tokens_until_ms;              /* wall clock: until then */
    bool is_private;                      /* leaves nobody without answer */
    bool has_told;                        /* likewise, but for who left at */
    int64_t untold_ms;                    /* that time; 0: nobody */
    bool is_asked_once;                   /* no token can come again */
    struct gathered_rows *gathered;       /* NULL: none yet */
    bool gathers;                         /* rows are gathered there */
    uint32_t tokens_depth[OUTBOX_STRIPES]; /* rows looked back at */
    uint32_t job_tokens_depth;             /* of jobs */

    int wal_pages;
    int wal_checkpointed;
    int page_size;
};

/* A statement's implementation: 0, or -1 with error; it fills result. */
struct statement_call {
    struct store_writer *writer;
    const struct value *arguments;
    unsigned argument_count;
    struct arena *arena;
    struct store_result *result;
    struct error *error;
};

typedef int (*statement_run)(struct statement_call *call);

/* Opens the request's savepoint if it is not open: before the second change
 * that belongs together. */
int writer_protect(struct store_writer *writer, struct error *error);

/* writer_run.c: whether the statements would take these arguments, as far
 * as can be said without the store. */
int request_check(const struct store_request *request, uint32_t caller,
                  struct error *error);

/* details.c */
int hook_record_check(const struct value *arguments, struct error *error);

/* outbox_state.c */
int outbox_state_load(struct store_writer *writer, struct error *error);
/* Makes the heads of a lane's stripes known. */
int outbox_heads_find(struct store_writer *writer, unsigned lane,
                      struct error *error);
int outbox_state_write(struct store_writer *writer, struct error *error);
int outbox_cursor_write(struct store_writer *writer, unsigned stripe,
                        struct error *error);
/* One exception of a lane went from one state to another; -1 stands for
 * "was none" and "is none". */
void outbox_state_move(struct store_writer *writer, unsigned lane, int from,
                       int to, int64_t count);

/* table_counts.c */
int table_counts_load(struct store_writer *writer, struct error *error);
void table_counts_deinit(struct table_counts *counts);
/* The table's index, made when new; -1 and ERROR_DATA when there are too
 * many. hash is text_hash of the name with its NUL. */
int64_t table_counts_find(struct store_writer *writer, const char *name,
                          size_t size, uint64_t hash, struct error *error);
int table_counts_add(struct store_writer *writer, uint32_t table,
                     unsigned priority, int64_t delta, struct error *error);
void table_counts_undo(struct store_writer *writer, size_t to);
/* The aggregates changed. */
void table_counts_mark_detail(struct store_writer *writer);
int table_counts_write(struct store_writer *writer, struct error *error);

/* outbox_check.c */
struct outbox_append {
    const char *operation, *table_name, *record_id, *data;
    size_t operation_size, table_name_size, record_id_size, data_size;
    enum operation_kind kind;
    unsigned priority;
    int64_t created_ms;
    int64_t token;
    int64_t source; /* 0: none */
    int64_t source_id;
    uint64_t table_hash;
    uint64_t record_hash;
};
/* Checks all and fills kind and hashes. */
int outbox_append_check(struct outbox_append *append, struct error *error);
/* From the arguments of OUTBOX_APPEND, unchecked. */
void outbox_append_take(struct outbox_append *append,
                        const struct value *arguments);
int outbox_priority_parse(const char *text, size_t size, unsigned *priority);
uint64_t outbox_record_hash(const char *table, size_t table_size,
                            const char *record_id, size_t record_id_size);
static inline unsigned outbox_lane(uint64_t record_hash)
{
    return (unsigned)(record_hash % OUTBOX_LANES);
}

/* outbox_append.c */
int outbox_append(struct store_writer *writer,
                  const struct outbox_append *append, int64_t *id,
                  struct error *error);
/* Stores the row alone, at the end of its stripe. */
int outbox_insert(struct store_writer *writer,
                  const struct outbox_append *append, int64_t *key,
                  struct error *error);

/* Keeps what the outbox refuses as a dead operation, with the reason. */
int outbox_append_dead(struct store_writer *writer,
                       const struct outbox_append *append,
                       const struct error *reason, struct error *error);
/* The tokens that can still be asked for again are there to be searched. */
int outbox_tokens_ready(struct store_writer *writer, struct error *error);

/* outbox_rows.c: between _begin and _end rows are gathered, with texts that
 * stay the caller's, and inserted together. */
int gathered_begin(struct store_writer *writer, struct error *error);
int gathered_end(struct store_writer *writer, struct error *error);
int gathered_add(struct store_writer *writer,
                 const struct outbox_append *append, unsigned stripe,
                 int64_t key, struct error *error);
/* Inserts what was gathered so far. */
int gathered_insert(struct store_writer *writer, struct error *error);
/* The group goes back: what was gathered is nowhere. */
void gathered_forget(struct store_writer *writer);
/* Makes the table that the statement reads known; SQLite's code. */
int gathered_offer(struct store_writer *writer);

/* outbox_order.c */
enum carry {
    CARRY_NONE,  /* the new operation goes to its range */
    CARRY_READY, /* it becomes an exception, ready */
    CARRY_HELD,  /* it becomes an exception, held */
};
/* Makes the pending operations of the record go before the new one: they
 * become ready with its priority.  When they are more than CARRY_MAX the
 * new one gets the priority of the least important of them instead, and so
 * stays behind them. */
#define CARRY_MAX 4096
int outbox_carry(struct store_writer *writer,
                 struct outbox_append *append, uint32_t table,
                 enum carry *carry, struct error *error);

/* outbox_filters.c */
int lane_filters_add(struct store_writer *writer, unsigned lane, int64_t id,
                     uint64_t record_hash, struct error *error);
/* Calls visit for each run of ids in [from, to] of the lane that may hold
 * the record. */
typedef int (*filter_visit)(struct store_writer *writer, int64_t first,
                            int64_t last, void *self, struct error *error);
int lane_filters_visit(struct store_writer *writer, unsigned lane,
                       int64_t from, uint64_t record_hash, filter_visit visit,
                       void *self, struct error *error);
/* After a rollback: ids are given again, stored segments may be gone. */
void lane_filters_restore(struct store_writer *writer);
void lane_filters_forget(struct store_writer *writer);

/* outbox_exceptions.c */
struct exception {
    int64_t key;
    uint64_t record_hash;
    enum exception_state state;
    unsigned priority;
    int64_t retry_count;
    int64_t not_before_ms;
    struct value sqlstate, message;
};
/* One that is held behind a parked one of its record is parked as well. */
int exception_insert(struct store_writer *writer,
                     const struct exception *exception, struct error *error);
/* Is an earlier operation of the record waiting outside its line? */
int record_blocked(struct store_writer *writer, uint64_t record_hash,
                   int64_t id, bool *blocked, struct error *error);
/* Earlier ones of the record get at least this priority. */
int record_raise(struct store_writer *writer, uint64_t record_hash, int64_t id,
                 unsigned priority, struct error *error);
/* Later ready ones of the record wait. */
int record_hold(struct store_writer *writer, unsigned lane,
                uint64_t record_hash, int64_t id, struct error *error);
/* Does the operation stand outside its line, in whatever state? */
int exception_exists(struct store_writer *writer, int64_t key, bool *exists,
                     struct error *error);
/* When no earlier one is left, its held ones become ready. */
int record_release(struct store_writer *writer, unsigned lane,
                   uint64_t record_hash, struct error *error);

/* outbox_conflicts.c */
/* Does a parked operation of the record stand before this id? */
int record_parked(struct store_writer *writer, unsigned lane,
                  uint64_t record_hash, int64_t id, bool *parked,
                  struct error *error);
/* *state becomes EXCEPTION_CONFLICT for one that is to be held behind such a
 * one, and it is pending no more. */
int exception_park_held(struct store_writer *writer,
                        const struct exception *exception,
                        enum exception_state *state, struct error *error);
/* Counts an operation as pending, or as not pending any more. */
int outbox_count_key(struct store_writer *writer, int64_t key, int64_t delta,
                     struct error *error);
int run_batch_conflict(struct statement_call *call);
int run_conflict_resolve(struct statement_call *call);

/* outbox_dead.c: a dead operation and its row go for good. */
int outbox_drop_dead(struct store_writer *writer, int64_t key,
                     struct error *error);

/* outbox_settle.c */
/* One operation of a batch that was not applied. */
struct refused {
    int64_t key;
    uint64_t record_hash;
    int64_t retry_count;
    bool is_single;
    const char *table; /* in the arena */
    size_t table_size;
};
/* The batch in flight that a settlement speaks of; all of one request must
 * speak of the same. */
struct batch *settling_batch(struct statement_call *call);
/* Checks that the batch holds the key, and reads what is needed of it. */
int refused_read(struct statement_call *call, const struct batch *batch,
                 int64_t key, struct refused *refused);
/* Moves a refused operation out of its line, to the exception's state. */
int refused_put_aside(struct statement_call *call, const struct refused *refused,
              const struct exception *exception);
/* An exception in state `from` is done with: forgotten when its cursor has
 * passed it, else marked so that its range leaves it out. */
int exception_settle(struct store_writer *writer, int64_t key,
                     enum exception_state from, struct error *error);
/* Removes the marks of what was delivered before the cursor came by. */
int outbox_unmark(struct store_writer *writer, unsigned stripe, int64_t after,
                  int64_t last, struct error *error);

/* outbox_batch.c */
int batches_load(struct store_writer *writer, struct error *error);
struct batch *batch_find(struct store_writer *writer, int64_t batch_id);
uint32_t batches_lanes(const struct store_writer *writer);
int batch_rows(struct statement_call *call, const struct batch **batches,
               size_t count);

/* Statements, by file. */
int run_outbox_append(struct statement_call *call);
int run_batch_claim(struct statement_call *call);
/* A spawn number so far beyond the last one is of a worker that came since
 * then; others are older, since each life of the daemon counts from a random
 * start. */
#define SPAWNS_LATER 4096

int run_batch_adopt(struct statement_call *call);
int run_epoch_begin(struct statement_call *call);
int run_batch_count(struct statement_call *call);
int run_batch_reject(struct statement_call *call);
int run_batch_hold(struct statement_call *call);
int run_batch_settle(struct statement_call *call);
int run_dead_retry(struct statement_call *call);
int run_dead_drop(struct statement_call *call);
int run_sync_metric(struct statement_call *call);
int run_sync_paused(struct statement_call *call);
int run_hook_record(struct statement_call *call);
int run_job_submit(struct statement_call *call);
int run_job_claim(struct statement_call *call);
int run_job_unclaim(struct statement_call *call);
int run_job_adopt(struct statement_call *call);
int run_job_finish(struct statement_call *call);
int run_job_cancel(struct statement_call *call);
int run_job_retry(struct statement_call *call);
int run_central_submit(struct statement_call *call);
int run_central_reported(struct statement_call *call);
int run_central_hand_back(struct statement_call *call);

/* job_graph.c: jobs that wait for others.  Edges go from older to younger
 * jobs only, so there are no cycles. */
#define JOB_AFTER_MAX 64 /* predecessors of one job */
/* Checks a list of predecessors (NULL: none); *waits: how many are not over.
 * A job that is gone is refused unless `gone_is_done`. */
int job_after_check(struct statement_call *call, const struct value *list,
                    bool gone_is_done, int64_t *waits);
int job_after_insert(struct statement_call *call, int64_t id,
                     const struct value *list);
/* A job is over: who waits for it goes on, or is cancelled with all that
 * wait for that. */
int job_over(struct statement_call *call, int64_t id, const char *state,
             int64_t now_ms);
/* The end of a job, for the centre. */
int job_record(struct statement_call *call, int64_t id,
               const struct value *json, int64_t now_ms);
/* One that no worker reports. */
int job_record_end(struct statement_call *call, int64_t id, int64_t attempt,
                   const char *state, const struct value *why, int64_t now_ms);
int run_details_fold(struct statement_call *call);
int run_expire(struct statement_call *call);
int run_files_record(struct statement_call *call);
int run_mixins_record(struct statement_call *call);
int run_feedback_record(struct statement_call *call);
int run_templates_record(struct statement_call *call);
int run_sample_record(struct statement_call *call);

/* figures.c */
int run_figures_report(struct statement_call *call);

/* sources_state.c */
void sources_forget(struct store_writer *writer);
int sources_write(struct store_writer *writer, struct error *error);

/* ERROR_DATA, with `what` in the text, unless the value is JSON. */
int argument_is_json(const char *what, const struct value *value,
                     struct error *error);

/* Rows of a result, filled one by one. */
struct value *result_row(struct statement_call *call, size_t *capacity);
int result_out_of_memory(struct error *error);

#endif
