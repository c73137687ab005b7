/* SPDX-License-Identifier: Apache-2.0
 *
 * Every named statement that the store runs, once.  A request is a list of
 * (statement, arguments) that runs atomically; no SQL travels.
 *
 * X(name, callers, arguments, words)
 *
 * callers    who may run it: bits of enum role, and CLI for commands
 * arguments  one letter each: i integer, t text, b bytes; a capital one may
 *            be NULL.  The store checks count and types before it runs.
 *
 * Times are wall-clock milliseconds unless said.  Priorities are 0 urgent,
 * 1 high, 2 normal, 3 low.  What a statement answers stands in its words
 * ("-> columns").
 */
#ifndef TIDEMILL_STORE_STATEMENTS_H
#define TIDEMILL_STORE_STATEMENTS_H

#include <stdint.h>

#include "common/ipc/worker_contract.h"

#define CALLER_STORE      (1u << ROLE_STORE)
#define CALLER_GATEWAY    (1u << ROLE_GATEWAY)
#define CALLER_MONITOR    (1u << ROLE_MONITOR)
#define CALLER_GENERATION (1u << ROLE_GENERATION)
#define CALLER_SYNC       (1u << ROLE_SYNC)
#define CALLER_CLI        (1u << ROLE_COUNT)
#define CALLER_ANY        (CALLER_CLI | ((1u << ROLE_COUNT) - 1u))

/* clang-format off */
#define STATEMENT_LIST(X) \
X(OUTBOX_APPEND, CALLER_ANY, "tttTiIi", \
  "operation, table, record id, data or NULL, priority, created or NULL, token -> id. " \
  "A token other than 0 that a recent row of the record's lane has already is answered with that row's id.") \
X(BATCH_CLAIM, CALLER_SYNC, "iiiii", \
  "slot, spawn, most operations, least important priority, now -> batch_id, kind, a, b, c, d; no rows: nothing to claim. " \
  "kind 0: a=epoch b=operations c=batch up to which all are settled; kind 1 (range): a=stripe b=after id c=last id d=the last id there that the centre has had in a range; kind 2 (single): a=key b=0 c=0") \
X(BATCH_ADOPT, CALLER_SYNC, "iiii", \
  "slot, spawn, pool size, the last spawn when the pool had that size -> the rows of BATCH_CLAIM for each batch in flight " \
  "of this slot, its own among them; slot 0 takes also those of slots beyond the pool, but for workers that came later") \
X(EPOCH_BEGIN, CALLER_SYNC, "ibbb", \
  "epoch, marks, missing, ahead (64-bit keys in host order): what the centre has of this store, which went back in " \
  "time, is settled; the rest goes on under the new epoch, with ids above all that the centre knows") \
X(BATCH_COUNT, CALLER_SYNC, "itii", \
  "batch, table, priority, operations settled: part of a settlement") \
X(BATCH_REJECT, CALLER_SYNC, "iittii", \
  "batch, key, sqlstate, message, most retries, not before: the sink refused this operation; part of a settlement") \
X(BATCH_HOLD, CALLER_SYNC, "ii", \
  "batch, key: not applied because an earlier one of its record was refused; part of a settlement") \
X(BATCH_CONFLICT, CALLER_SYNC, "iittiiitiTi", \
  "batch, key, outcome won|lost|parked, rule, stamps are versions 0/1, local stamp, centre stamp, centre's system, " \
  "deleted there 0/1, centre's data or NULL, now: the record stood otherwise at the centre; part of a settlement, before its holds") \
X(BATCH_SETTLE, CALLER_SYNC, "iiiiiiit", \
  "batch, slot, spawn, operations applied, bytes, started, finished, trigger: ends the batch, advances its cursors") \
X(SYNC_METRIC, CALLER_SYNC, "iiitiTiiiT", \
  "time, operations synced, duration ms, trigger, success 0/1, error or NULL, batch size, bytes, times that a pass was " \
  "put off since the last row, figures of its events or NULL (common/store/figures.h): a row of sync_metrics, and of its day") \
X(FIGURES_REPORT, CALLER_MONITOR, "i", \
  "now: figures of events and templates that the centre has not had are appended; answers how many operations") \
X(SYNC_PAUSED, CALLER_GATEWAY | CALLER_CLI, "i", \
  "1 paused, 0 not: remembered over restarts") \
X(DEAD_RETRY, CALLER_CLI, "i", \
  "operation id: a dead operation is tried again; answers 1 row changed, or 0 when it is not dead") \
X(DEAD_DROP, CALLER_CLI, "i", \
  "operation id: a dead operation is dropped for good, as above") \
X(CONFLICT_RESOLVE, CALLER_CLI, "itti", \
  "conflict id, keep local|centre, who, now: a parked conflict is decided; answers 1 row changed, or 0 when none of that id waits") \
X(HOOK_RECORD, CALLER_CLI, "ttTTtiTTIi", \
  "event id, hook type, session id, tool name, event as JSON, time, file path, task id, success 0/1, priority: " \
  "kept as detail, or, when hook events are not folded, sent as it is; an event id that is there already is not taken again") \
X(DETAILS_FOLD, CALLER_ANY, "i", \
  "1 all, 0 a step of what is due: detail is folded and summaries with news are appended; answers how many -> 1 when more is left") \
X(EXPIRE, CALLER_STORE, "iiii", \
  "enum expiry, older than (wall clock), where from, most rows: a step of retention; answers rows deleted -> where to " \
  "go on, 0 when this walk is over") \
X(JOB_SUBMIT, CALLER_CLI | CALLER_GATEWAY, "titiiiTT", \
  "kind, priority, spec as JSON, timeout ms (0: default), now, token (0: none), JSON list of jobs that must be done before " \
  "or NULL, key or NULL -> id; a token that is there already answers its id: a lost answer may be asked for again; so does a " \
  "key, for as long as its job is kept, and is refused when the job is another") \
X(JOB_CLAIM, CALLER_GENERATION, "iiii", \
  "slot, spawn, most jobs, now -> id, kind, spec, attempt (from 1), timeout_ms; fewer than asked for when their " \
  "specs are past 8 MiB or the queue runs short; changed is one more than the rows when others could be claimed, -1 when others can be later") \
X(JOB_UNCLAIM, CALLER_GENERATION, "iit", \
  "slot, spawn, ids as JSON: jobs that it holds and has not begun go back to the queue; answers how many") \
X(JOB_ADOPT, CALLER_GENERATION, "iiiiitii", \
  "slot, spawn, pool size, job the predecessor died on (0 none), most retries, why, now, the last spawn when the pool had " \
  "that size: its other jobs go back to the queue, that one is tried again or fails, which is appended for the centre too; " \
  "slot 0 takes also those of slots beyond the pool, but for workers that came later -> id, outcome") \
X(JOB_FINISH, CALLER_GENERATION, "iiittTTii", \
  "id, slot, spawn, outcome done|retry|failed|cancelled, result as JSON, error or NULL, output or NULL, duration ms, now; " \
  "for retry the store adds the back-off; else the result is appended for the centre. Refused when the job is not this worker's") \
X(JOB_CANCEL, CALLER_CLI | CALLER_GATEWAY, "ii", \
  "id, now -> changed 1: it was waiting or queued and is cancelled, with those that wait for it; 2: it runs, and its worker " \
  "is told. Refused when it is over") \
X(JOB_RETRY, CALLER_CLI | CALLER_GATEWAY, "i", \
  "id: a job that failed or was cancelled goes back to the queue with all its attempts, behind those before it; refused when " \
  "one of these failed") \
X(CENTRAL_SUBMIT, CALLER_SYNC, "titiiiii", \
  "kind, priority, spec as JSON, timeout ms (0: default), now, central id, attempt there, token of the lease -> id: a leased " \
  "job of the central queue becomes a job here, with the key central:ID:ATTEMPT; again is harmless") \
X(CENTRAL_REPORTED, CALLER_SYNC, "iti", \
  "id, reported|refused|lost, now: what became of its end at the centre. A job that is not over when its lease was lost is cancelled") \
X(CENTRAL_HAND_BACK, CALLER_SYNC, "ii", \
  "1 when no worker is left, else 0; now: this host stops. Leased jobs that have not begun are cancelled here, their leases returned and " \
  "their keys free; those that had begun, and that wait to be tried again or that no worker is left for, have failed here. Not those " \
  "for which others wait. Answers how many leases were returned") \
X(FILES_RECORD, CALLER_GENERATION, "itttti", \
  "job, files as JSON [[path, sha256, size], ...], template set, template hash, contract, now: the files that a job wrote or found unchanged") \
X(MIXINS_RECORD, CALLER_GENERATION | CALLER_CLI, "ttiTTi", \
  "node type, mixins as JSON [name, ...], success 0/1, why not or NULL, what helps or NULL, now: each pair of them was tried once more") \
X(TEMPLATES_RECORD, CALLER_GENERATION, "ti", \
  "templates as JSON [[name, type, key, path, sha256, size, load ms or null, hits, misses], ...], now: template_cache_metadata, " \
  "where hits and misses are added") \
X(FEEDBACK_RECORD, CALLER_CLI, "ttITtiTti", \
  "session, pattern, its confidence in ten-thousandths or NULL, the actual pattern or NULL, correct|incorrect|partial|adjusted, " \
  "by a person 0/1, contract as JSON or NULL, operations that matched as JSON, now -> id; the newest 10,000 are kept") \
X(SAMPLE_RECORD, CALLER_MONITOR, "iti", \
  "time, metrics as JSON, points kept: a sample of the metrics, the oldest beyond the bound are deleted")
/* clang-format on */

enum statement {
#define X(name, callers, arguments, words) STATEMENT_##name,
    STATEMENT_LIST(X)
#undef X
        STATEMENT_COUNT
};

const char *statement_name(enum statement statement);
const char *statement_arguments(enum statement statement);
uint32_t statement_callers(enum statement statement);

#endif
