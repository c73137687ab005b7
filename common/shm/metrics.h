/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics: declared once in the list below.  Every slot writes its own,
 * without locks; readers add up.  When a slot's worker dies its counters and
 * histograms stay in place for the successor to go on from, so totals never
 * go back; its gauges are set to zero.
 */
#ifndef TIDEMILL_SHM_METRICS_H
#define TIDEMILL_SHM_METRICS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "common/base/log.h"
#include "common/ipc/worker_contract.h"
#include "common/shm/cell.h"
#include "common/shm/histogram.h"

/* kind, name in code, name outside (base units), unit, meaning */
#define METRIC_LIST(X)                                                         \
    X(COUNTER, OUTBOX_ACCEPTED, "tidemill_outbox_accepted_total",              \
      "operations",                                                            \
      "Operations accepted into the outbox.")                                  \
    X(COUNTER, SUMMARIES_REPORTED, "tidemill_summaries_reported_total",        \
      "summaries",                                                             \
      "Summaries with news that went to the outbox.")                          \
    X(COUNTER, RETENTION_DELETED, "tidemill_retention_deleted_total", "rows",  \
      "Rows that retention deleted from the local store.")                     \
    X(COUNTER, STORE_COMMITS, "tidemill_store_commits_total", "transactions",  \
      "Transactions committed by the store.")                                  \
    X(COUNTER, STORE_REQUESTS, "tidemill_store_requests_total", "requests",    \
      "Requests that the store answered.")                                     \
    X(COUNTER, STORE_REFUSED, "tidemill_store_refused_total", "requests",      \
      "Requests that the store refused.")                                      \
    X(COUNTER, STORE_REPAIRS, "tidemill_store_repairs_total", "repairs",       \
      "Damaged local stores that were mended.")                                \
    X(COUNTER, STORE_GAPS, "tidemill_store_gaps_total", "runs of rows",        \
      "Runs of rows that were lost with damaged local stores.")                \
    X(HISTOGRAM, STORE_COMMIT_SECONDS, "tidemill_store_commit_seconds",        \
      "seconds",                                                               \
      "Time of a group commit.")                                               \
    X(GAUGE, OUTBOX_PENDING, "tidemill_outbox_pending", "operations",          \
      "Operations not yet settled.")                                           \
    X(GAUGE, OUTBOX_DEAD, "tidemill_outbox_dead", "operations",                \
      "Operations that the centre refused for good.")                          \
    X(GAUGE, OUTBOX_PARKED, "tidemill_outbox_parked", "operations",            \
      "Operations that wait for a person: in conflict, or behind one.")        \
    X(COUNTER, SOURCE_ROWS, "tidemill_source_rows_total", "operations",        \
      "Operations copied from sources.")                                       \
    X(COUNTER, SOURCE_ERRORS, "tidemill_source_errors_total", "attempts",      \
      "Failed attempts to read a source.")                                     \
    X(COUNTER, SYNC_PASSES, "tidemill_sync_passes_total", "passes",            \
      "Passes of sync.")                                                       \
    X(COUNTER, SYNC_FAILURES, "tidemill_sync_failures_total", "passes",        \
      "Passes of sync that failed.")                                           \
    X(COUNTER, SYNC_OPERATIONS, "tidemill_sync_operations_total",              \
      "operations",                                                            \
      "Operations settled at the centre.")                                     \
    X(COUNTER, SYNC_BYTES, "tidemill_sync_bytes_total", "bytes",               \
      "Bytes of record data sent to the centre.")                              \
    X(COUNTER, SYNC_REJECTED, "tidemill_sync_rejected_total", "refusals",      \
      "Operations that the centre refused, each time counted.")                \
    X(COUNTER, SYNC_CONFLICTS_WON, "tidemill_sync_conflicts_won_total",        \
      "conflicts",                                                             \
      "Conflicts in which this host's change stood.")                          \
    X(COUNTER, SYNC_CONFLICTS_LOST, "tidemill_sync_conflicts_lost_total",      \
      "conflicts",                                                             \
      "Conflicts in which the centre's row stood.")                            \
    X(COUNTER, SYNC_CONFLICTS_PARKED, "tidemill_sync_conflicts_parked_total",  \
      "conflicts",                                                             \
      "Conflicts that were left to a person.")                                 \
    X(COUNTER, SYNC_REPEATED, "tidemill_sync_repeated_batches_total",          \
      "batches",                                                               \
      "Batches sent again and found in the ledger.")                           \
    X(GAUGE, SYNC_STALLED, "tidemill_sync_stalled", "0 or 1",                  \
      "1 while operations pend and no attempt is made for too long.")          \
    X(GAUGE, SYNC_CONNECTIONS, "tidemill_sync_connections", "connections",     \
      "Connections to the centre that are open.")                              \
    X(COUNTER, SYNC_CONNECTS, "tidemill_sync_connects_total", "connections",   \
      "Connections opened to the centre.")                                     \
    X(COUNTER, SYNC_SUCCESSES, "tidemill_sync_successes_total", "passes",      \
      "Passes of sync that went well.")                                        \
    X(COUNTER, SYNC_DEFERRALS, "tidemill_sync_deferrals_total", "passes",      \
      "Passes of sync put off because a connection pool was near capacity.")   \
    X(COUNTER, SYNC_BUSY, "tidemill_sync_busy_total", "attempts",              \
      "Attempts for which there was no connection free.")                      \
    X(COUNTER, SYNC_UNAUTHORIZED, "tidemill_sync_unauthorized_total",          \
      "attempts",                                                              \
      "Attempts that the centre refused for lack of rights.")                  \
    X(HISTOGRAM, SYNC_BATCH_SECONDS, "tidemill_sync_batch_seconds", "seconds", \
      "Time of a batch at the centre.")                                        \
    X(COUNTER, JOBS_DONE, "tidemill_jobs_done_total", "jobs",                  \
      "Jobs done.")                                                            \
    X(COUNTER, JOBS_FAILED, "tidemill_jobs_failed_total", "jobs",              \
      "Jobs failed for good.")                                                 \
    X(COUNTER, JOBS_RETRIED, "tidemill_jobs_retried_total", "attempts",        \
      "Attempts of jobs that are made again.")                                 \
    X(COUNTER, CENTRAL_LEASED, "tidemill_central_jobs_leased_total", "jobs",   \
      "Jobs leased from the central queue.")                                   \
    X(COUNTER, CENTRAL_REPORTED, "tidemill_central_jobs_reported_total",       \
      "jobs",                                                                  \
      "Ends of jobs that the central queue has taken.")                        \
    X(COUNTER, CENTRAL_LOST, "tidemill_central_jobs_lost_total", "jobs",       \
      "Jobs whose lease was lost, or whose end was refused for that.")         \
    X(HISTOGRAM, JOB_SECONDS, "tidemill_job_seconds", "seconds",               \
      "Time of a job.")                                                        \
    X(COUNTER, FILES_WRITTEN, "tidemill_files_written_total", "files",         \
      "Generated files written.")                                              \
    X(COUNTER, FILES_UNCHANGED, "tidemill_files_unchanged_total", "files",     \
      "Generated files that were already as they should be.")                  \
    X(COUNTER, TEMPLATE_HITS, "tidemill_template_cache_hits_total", "uses",    \
      "Uses of templates that were compiled before.")                          \
    X(COUNTER, TEMPLATE_MISSES, "tidemill_template_cache_misses_total",        \
      "uses",                                                                  \
      "Uses of templates that had to be compiled.")                            \
    X(COUNTER, TEMPLATE_EVICTIONS, "tidemill_template_cache_evictions_total",  \
      "templates",                                                             \
      "Templates that left the cache for others.")                             \
    X(COUNTER, TEMPLATE_INVALIDATIONS, "tidemill_template_cache_invalidations_total",\
      "templates",                                                             \
      "Templates removed because they changed, were too old, or on command.")  \
    X(COUNTER, TEMPLATE_REFUSALS, "tidemill_template_cache_refusals_total",    \
      "templates",                                                             \
      "Templates for which the cache had no room.")                            \
    X(COUNTER, TEMPLATE_RECOVERIES, "tidemill_template_cache_recoveries_total",\
      "shards",                                                                \
      "Shards of the cache that were emptied after a process died there.")     \
    X(GAUGE, TEMPLATE_ITEMS, "tidemill_template_cache_templates", "templates", \
      "Templates in the cache.")                                               \
    X(GAUGE, TEMPLATE_BYTES, "tidemill_template_cache_bytes", "bytes",         \
      "Bytes that they take.")                                                 \
    X(HISTOGRAM, TEMPLATE_LOAD_SECONDS, "tidemill_template_load_seconds",      \
      "seconds",                                                               \
      "Time to read and compile a template.")                                  \
    X(HISTOGRAM, TEMPLATE_REUSE_SECONDS, "tidemill_template_reuse_seconds",    \
      "seconds",                                                               \
      "Time to find a compiled template and see that it is current.")          \
    X(COUNTER, CONTROL_COMMANDS, "tidemill_control_commands_total",            \
      "commands",                                                              \
      "Commands answered on the control socket.")                              \
    X(COUNTER, LOG_LOST, "tidemill_log_lines_lost_total", "lines",             \
      "Log lines that could not be written.")                                  \
    X(COUNTER, LOG_REPEATED, "tidemill_log_lines_repeated_total", "lines",     \
      "Log lines left out because they repeated others.")                      \
    X(COUNTER, LOG_ROTATIONS, "tidemill_log_rotations_total", "rotations",     \
      "Times that the log file was moved away and begun anew.")                \
    X(COUNTER, LOG_ROTATIONS_FAILED, "tidemill_log_rotations_failed_total",    \
      "rotations",                                                             \
      "Rotations of the log that failed; it goes on in the old file.")         \
    X(COUNTER, WORKER_RESTARTS, "tidemill_worker_restarts_total", "workers",   \
      "Workers that were started in the place of one that ended.")             \
    X(COUNTER, MASTER_FAILURES, "tidemill_master_failures_total", "refusals",  \
      "What the system refused the master: processes, descriptors, memory, "   \
      "space; it tries again.")                                                \
    X(COUNTER, POOL_GROWTHS, "tidemill_pool_growths_total", "growths",         \
      "Times that a pool got more workers because work waited.")               \
    X(COUNTER, POOL_SHRINKS, "tidemill_pool_shrinks_total", "shrinks",         \
      "Times that a pool gave up an idle worker.")                             \
    X(GAUGE, WORKERS_HELD, "tidemill_generation_workers_held", "workers",      \
      "Generation workers that claim no job because memory is short.")         \
    X(COUNTER, HOLDS, "tidemill_generation_holds_total", "times",              \
      "Times that a generation worker began to wait for memory.")              \
    X(GAUGE, COMMAND_BYTES, "tidemill_generation_command_bytes", "bytes",      \
      "Resident memory of running commands, with generation.memory_limit.")    \
    X(COUNTER, MONITOR_SAMPLES, "tidemill_monitor_samples_total", "samples",   \
      "Samples of the metrics taken.")

enum metric {
#define X(kind, name, outside, unit, meaning) METRIC_##name,
    METRIC_LIST(X)
#undef X
        METRIC_COUNT
};

enum metric_kind { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE, METRIC_KIND_HISTOGRAM };

enum histogram_index {
#define METRIC_X_COUNTER(name)
#define METRIC_X_GAUGE(name)
#define METRIC_X_HISTOGRAM(name) HISTOGRAM_##name,
#define X(kind, name, outside, unit, meaning) METRIC_X_##kind(name)
    METRIC_LIST(X)
#undef X
        HISTOGRAM_COUNT
};

struct slot_metrics {
    alignas(128) _Atomic uint64_t values[METRIC_COUNT]; /* gauges as int64 */
    struct histogram histograms[HISTOGRAM_COUNT];
};

#define METRICS_MASTER SLOTS_MAX
#define METRICS_SLOTS  (SLOTS_MAX + 1)

struct metrics {
    /* 1: it was written to; nobody looks at the others, so that they cost
     * no memory */
    _Atomic uint8_t used[METRICS_SLOTS];
    struct slot_metrics slots[METRICS_SLOTS];
};

/* From now on this process writes to that slot: an index of the scoreboard,
 * or METRICS_MASTER.  Until then, and with NULL, what is written goes
 * nowhere. */
void metrics_use(struct metrics *metrics, unsigned slot);

/* Where metrics_use says; here so that a count is an increment, no call. */
extern struct slot_metrics *metrics_own;

static inline void metric_add(enum metric metric, uint64_t value)
{
    cell_add(&metrics_own->values[metric], value);
}

/* The hook of the log (struct log_hooks). */
void metric_count_log(enum log_count what, uint64_t number);

void metric_set(enum metric metric, int64_t value);
/* Sets a gauge of what all processes share, in the master's place. */
void metrics_set_shared(struct metrics *metrics, enum metric metric,
                        int64_t value);
void metric_record_us(enum metric metric, uint64_t microseconds);

/* The master's, when a slot's worker died: its gauges become zero. */
void metrics_forget_gauges(struct metrics *metrics, unsigned slot);

/* Totals over all slots. */
int64_t metrics_total(const struct metrics *metrics, enum metric metric);
void metrics_total_histogram(const struct metrics *metrics, enum metric metric,
                             struct histogram_totals *totals);

const char *metric_outside_name(enum metric metric);
const char *metric_unit(enum metric metric);
const char *metric_meaning(enum metric metric);
enum metric_kind metric_kind_of(enum metric metric);

#endif
