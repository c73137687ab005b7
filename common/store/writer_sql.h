/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer's SQL: each statement once, prepared when it is first used and
 * kept.
 */
#ifndef TIDEMILL_STORE_WRITER_SQL_H
#define TIDEMILL_STORE_WRITER_SQL_H

#include <stddef.h>

#include "common/base/error.h"
#include "common/store/wire.h"

struct sqlite3_stmt;
struct store_writer;

/* States of outbox_exceptions as they stand in the SQL below: 0 ready,
 * 1 retry, 2 held, 3 in flight, 4 dead, 5 settled, 6 in conflict or behind
 * one that is.  The literal conditions
 * `state NOT IN (4, 5)`, `state = 0` and `state = 1` are those of partial indexes. */
/* clang-format off */
#define SQL_LIST(X) \
X(BEGIN, "BEGIN IMMEDIATE") \
X(COMMIT, "COMMIT") \
X(ROLLBACK, "ROLLBACK") \
X(SAVEPOINT, "SAVEPOINT request") \
X(RELEASE, "RELEASE request") \
X(ROLLBACK_TO, "ROLLBACK TO request") \
X(META_READ, "SELECT value FROM store_meta WHERE name = ?1") \
X(META_WRITE, "INSERT INTO store_meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value") \
X(OUTBOX_INSERT, "INSERT INTO outbox (key, operation, created_ms, token, source, source_id, table_name, record_id, " \
  "record_data) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)") \
X(OUTBOX_INSERT_GATHERED, "INSERT OR FAIL INTO outbox (key, operation, created_ms, token, source, source_id, table_name, " \
  "record_id, record_data) SELECT * FROM gathered_rows") \
X(OUTBOX_TAIL, "SELECT key FROM outbox WHERE key <= ?1 ORDER BY key DESC LIMIT 1") \
X(OUTBOX_HEAD, "SELECT key FROM outbox WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT 1") \
X(OUTBOX_NTH, "SELECT key FROM outbox WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT 1 OFFSET ?3") \
X(OUTBOX_COUNT, "SELECT count(*) FROM outbox WHERE key > ?1 AND key <= ?2") \
X(OUTBOX_RECORDS_0, "SELECT key, table_name, record_id FROM outbox WHERE key > ?1 AND key <= ?2 ORDER BY key") \
X(OUTBOX_RECORDS_1, "SELECT key, table_name, record_id FROM outbox WHERE key > ?1 AND key <= ?2 ORDER BY key") \
X(OUTBOX_RECORDS_2, "SELECT key, table_name, record_id FROM outbox WHERE key > ?1 AND key <= ?2 ORDER BY key") \
X(OUTBOX_RECORDS_3, "SELECT key, table_name, record_id FROM outbox WHERE key > ?1 AND key <= ?2 ORDER BY key") \
X(OUTBOX_RECORD, "SELECT table_name, record_id, operation FROM outbox WHERE key = ?1") \
X(OUTBOX_ROW, "SELECT operation, table_name, record_id, record_data FROM outbox WHERE key = ?1") \
X(OUTBOX_TOKEN, "SELECT token FROM outbox WHERE key = ?1") \
X(OUTBOX_TOKENS, "SELECT key, token FROM outbox WHERE key > ?1 AND key <= ?2 ORDER BY key DESC LIMIT ?3") \
X(OUTBOX_DELETE, "DELETE FROM outbox WHERE key = ?1") \
X(CURSORS_READ, "SELECT stripe, settled_id, claimed_id, told_id FROM outbox_cursors") \
X(CURSOR_WRITE, "INSERT INTO outbox_cursors VALUES (?1,?2,?3,?4) ON CONFLICT DO UPDATE SET " \
  "settled_id = excluded.settled_id, claimed_id = excluded.claimed_id, told_id = excluded.told_id") \
X(COUNTS_READ, "SELECT table_name, priority, pending FROM outbox_counts") \
X(COUNT_WRITE, "INSERT INTO outbox_counts VALUES (?1,?2,?3) ON CONFLICT DO UPDATE SET pending = excluded.pending") \
X(STATES_READ, "SELECT lane, state, operations FROM outbox_states") \
X(STATE_WRITE, "INSERT INTO outbox_states VALUES (?1,?2,?3) ON CONFLICT DO UPDATE SET operations = excluded.operations") \
X(FILTERS_READ, "SELECT key, last_id FROM outbox_filters WHERE key > ?1 AND key <= ?2 ORDER BY key") \
X(FILTER_READ, "SELECT filter FROM outbox_filters WHERE key = ?1") \
X(FILTER_WRITE, "INSERT OR REPLACE INTO outbox_filters VALUES (?1,?2,?3)") \
X(FILTERS_DELETE, "DELETE FROM outbox_filters WHERE key > ?1 AND key <= ?2 AND last_id < ?3") \
X(EXCEPTION_INSERT, "INSERT INTO outbox_exceptions (key, id, lane, record_hash, state, priority, retry_count, " \
  "not_before_ms, sqlstate, error_message, since_ms) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)") \
X(EXCEPTION_READ, "SELECT state, record_hash, retry_count, batch_id FROM outbox_exceptions WHERE key = ?1") \
X(EXCEPTION_STATE, "UPDATE outbox_exceptions SET state = ?2, batch_id = ?3 WHERE key = ?1") \
X(EXCEPTION_REJECT, "UPDATE outbox_exceptions SET state = ?2, batch_id = NULL, retry_count = ?3, not_before_ms = ?4, " \
  "sqlstate = ?5, error_message = ?6, since_ms = ?7 WHERE key = ?1") \
X(EXCEPTION_DELETE, "DELETE FROM outbox_exceptions WHERE key = ?1") \
X(EXCEPTION_REVIVE, "UPDATE outbox_exceptions SET state = ?2, retry_count = 0, batch_id = NULL, not_before_ms = 0 WHERE key = ?1") \
X(EXCEPTIONS_COUNT, "SELECT count(*) FROM outbox_exceptions WHERE key > ?1 AND key <= ?2") \
X(EXCEPTIONS_READY, "SELECT key, id, record_hash FROM outbox_exceptions WHERE state = 0 AND lane = ?1 AND priority <= ?2 " \
  "ORDER BY priority, id LIMIT ?3") \
X(EXCEPTIONS_READY_FIRST, "SELECT priority FROM outbox_exceptions WHERE state = 0 AND lane = ?1 ORDER BY priority LIMIT 1") \
X(EXCEPTIONS_DUE, "SELECT key, lane FROM outbox_exceptions WHERE state = 1 AND not_before_ms <= ?1 ORDER BY not_before_ms LIMIT 1000") \
X(EXCEPTIONS_UNMARK, "DELETE FROM outbox_exceptions WHERE key > ?1 AND key <= ?2 AND state = 5") \
X(RECORD_BLOCKED, "SELECT 1 FROM outbox_exceptions WHERE state NOT IN (4, 5) AND record_hash = ?1 AND id < ?2 AND state <> 3 LIMIT 1") \
X(RECORD_NEWEST, "SELECT id, state FROM outbox_exceptions WHERE state NOT IN (4, 5) AND record_hash = ?1 ORDER BY id DESC LIMIT 1") \
X(RECORD_OLDEST, "SELECT id, state FROM outbox_exceptions WHERE state NOT IN (4, 5) AND record_hash = ?1 ORDER BY id LIMIT 1") \
X(RECORD_WAITS, "SELECT 1 FROM outbox_exceptions WHERE state NOT IN (4, 5) AND record_hash = ?1 AND state IN (1, 2, 6) LIMIT 1") \
X(RECORD_URGENCY, "SELECT min(priority) FROM outbox_exceptions WHERE state NOT IN (4, 5) AND record_hash = ?1 AND id > ?2") \
X(RECORD_RAISE, "UPDATE outbox_exceptions SET priority = ?3 WHERE state NOT IN (4, 5) AND record_hash = ?1 AND id < ?2 AND priority > ?3") \
X(RECORD_HOLD, "UPDATE outbox_exceptions SET state = 2 WHERE state NOT IN (4, 5) AND record_hash = ?1 AND id > ?2 AND state = 0") \
X(RECORD_RELEASE, "UPDATE outbox_exceptions SET state = 0 WHERE state NOT IN (4, 5) AND record_hash = ?1 AND state = 2") \
X(RECORD_PARKED, "SELECT 1 FROM outbox_exceptions WHERE state NOT IN (4, 5) AND record_hash = ?1 AND id < ?2 AND state = 6 LIMIT 1") \
X(RECORD_BEHIND, "SELECT x.key, x.state, EXISTS (SELECT 1 FROM sync_conflicts c WHERE c.key = x.key AND c.resolved_ms IS NULL) " \
  "FROM outbox_exceptions x WHERE state NOT IN (4, 5) AND record_hash = ?1 AND x.id > ?2 AND state IN (0, 1, 2, 6) " \
  "ORDER BY x.id LIMIT ?3") \
X(EXCEPTION_KEEP, "UPDATE outbox_exceptions SET state = ?3, retry_count = 0, batch_id = NULL, not_before_ms = 0, " \
  "resolved_over = ?2 WHERE key = ?1") \
X(CONFLICT_INSERT, "INSERT INTO sync_conflicts (key, table_name, record_id, operation, local_data, outcome, rule, " \
  "versioned, local_stamp, centre_stamp, centre_system, centre_deleted, centre_data, detected_ms, resolved_ms, resolution) " \
  "SELECT key, table_name, record_id, operation, record_data, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, " \
  "CASE WHEN ?2 <> 'parked' THEN ?10 END, CASE WHEN ?2 <> 'parked' THEN 'rule' END FROM outbox WHERE key = ?1") \
X(CONFLICT_READ, "SELECT key, centre_stamp FROM sync_conflicts WHERE id = ?1 AND resolved_ms IS NULL") \
X(CONFLICT_RESOLVE, "UPDATE sync_conflicts SET resolved_ms = ?2, resolution = ?3, resolved_by = ?4 WHERE id = ?1") \
X(CENTRE_RECORD, "INSERT INTO centre_records SELECT table_name, record_id, centre_data, " \
  "CASE WHEN NOT versioned THEN strftime('%Y-%m-%dT%H:%M:%fZ', centre_stamp / 1000.0, 'unixepoch') END, " \
  "CASE WHEN versioned THEN centre_stamp END, centre_deleted, centre_system, ?2 FROM sync_conflicts " \
  "WHERE id = ?1 AND (centre_deleted OR centre_data IS NOT NULL) ON CONFLICT DO UPDATE SET data = excluded.data, " \
  "updated_at = excluded.updated_at, version = excluded.version, deleted = excluded.deleted, " \
  "system_id = excluded.system_id, received_ms = excluded.received_ms " \
  "WHERE coalesce(excluded.version, excluded.updated_at) >= coalesce(version, updated_at)") \
X(BATCH_INSERT, "INSERT INTO sync_batches (epoch, slot, spawn, operations, claimed_ms) VALUES (?1,?2,?3,?4,?5)") \
X(BATCH_RANGE_INSERT, "INSERT INTO sync_batch_ranges VALUES (?1,?2,?3,?4)") \
X(BATCH_SINGLE_INSERT, "INSERT INTO sync_batch_singles VALUES (?1,?2)") \
X(BATCHES_READ, "SELECT batch_id, epoch, slot, spawn, operations FROM sync_batches WHERE finished_ms IS NULL ORDER BY batch_id") \
X(BATCH_AT, "SELECT batch_id FROM sync_batch_ranges WHERE stripe = ?1 AND last_id = ?2") \
X(BATCH_SIZE, "UPDATE sync_batches SET operations = ?2 WHERE batch_id = ?1") \
X(BATCH_DELETE, "DELETE FROM sync_batches WHERE batch_id = ?1") \
X(BATCH_SINGLES, "SELECT s.key, x.state, x.record_hash, x.lane FROM sync_batch_singles s " \
  "LEFT JOIN outbox_exceptions x ON x.key = s.key WHERE s.batch_id = ?1 ORDER BY s.key") \
X(BATCH_OWNER, "UPDATE sync_batches SET slot = ?2, spawn = ?3 WHERE batch_id = ?1") \
X(EXCEPTIONS_ALL, "SELECT key, state, record_hash FROM outbox_exceptions WHERE key > ?1 ORDER BY key LIMIT ?2") \
X(BATCHES_EPOCH, "UPDATE sync_batches SET epoch = ?1 WHERE finished_ms IS NULL") \
X(BATCH_SINGLE_DROP, "DELETE FROM sync_batch_singles WHERE key = ?1 AND batch_id IN " \
  "(SELECT batch_id FROM sync_batches WHERE finished_ms IS NULL)") \
X(BATCH_FINISHED, "SELECT finished_ms FROM sync_batches WHERE batch_id = ?1") \
X(BATCH_FINISH, "UPDATE sync_batches SET applied = ?2, refused = ?3, bytes = ?4, started_ms = ?5, finished_ms = ?6, " \
  "trigger_type = ?7, slot = ?8, spawn = ?9 WHERE batch_id = ?1") \
X(METRIC_INSERT, "INSERT INTO sync_metrics (timestamp, operations_synced, duration_ms, trigger_type, success, " \
  "error_message, batch_size, bytes, deferrals, figures) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)") \
X(FIGURES_END, "SELECT max(id) FROM (SELECT id FROM sync_metrics WHERE id > ?1 ORDER BY id LIMIT ?2)") \
X(FIGURES_TEMPLATES, "SELECT json_group_object(template_name, json_object('template_type', template_type, 'cache_key', cache_key, " \
  "'file_path', file_path, 'file_hash', file_hash, 'size_bytes', size_bytes, 'load_time_ms', load_time_ms, " \
  "'last_accessed_at', last_accessed_at, 'access_count', access_count, 'cache_hits', cache_hits, 'cache_misses', cache_misses, " \
  "'created_at', created_at, 'updated_at', updated_at)), count(*), max(last_accessed_at) FROM (SELECT * FROM " \
  "template_cache_metadata WHERE last_accessed_at > ?1 ORDER BY last_accessed_at LIMIT ?2)") \
X(FIGURES_FEEDBACK, "SELECT json_object('rows', json_group_array(json_object('id', id, 'session_id', session_id, 'pattern_name', " \
  "pattern_name, 'detected_confidence', detected_confidence, 'actual_pattern', actual_pattern, 'feedback_type', feedback_type, " \
  "'user_provided', user_provided, 'contract_json', iif(length(contract_json) <= 20000, json(contract_json), NULL), " \
  "'capabilities_matched', json(capabilities_matched), 'false_positives', json(false_positives), 'false_negatives', " \
  "json(false_negatives), 'learning_weight', learning_weight, 'created_at', created_at))), count(*), max(id) FROM " \
  "(SELECT * FROM pattern_feedback_log WHERE id > ?1 ORDER BY id LIMIT ?2)") \
X(FIGURES_LAST, "SELECT max(id) FROM sync_metrics") \
X(FIGURES_READ, "SELECT json_object('rows', json_group_array(json_array(m.timestamp, f.value ->> 0, coalesce(n.source, 'local'), " \
  "f.value ->> 2, f.value ->> 3, f.value ->> 4, f.value ->> 5, f.value ->> 6, f.value ->> 7, f.value ->> 8, f.value ->> 9))), count(*) " \
  "FROM sync_metrics m, json_each(m.figures) f LEFT JOIN source_cursors n ON n.number = f.value ->> 1 WHERE m.id > ?1 AND m.id <= ?2") \
X(SOURCES_READ, "SELECT number, source, cursor, identity, error FROM source_cursors") \
X(SOURCE_WRITE, "INSERT INTO source_cursors VALUES (?1,?2,?3,?4,?5,?6) ON CONFLICT DO UPDATE SET " \
  "error = excluded.error, cursor = excluded.cursor, identity = excluded.identity, updated_ms = excluded.updated_ms") \
X(HOOK_INSERT, "INSERT OR IGNORE INTO hook_events (id, event_id, hook_type, session_id, tool_name, event_data, " \
  "hook_timestamp, file_path, task_id, success, priority) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)") \
X(HOOK_LAST, "SELECT max(id) FROM hook_events") \
X(DETAIL_INSERT, "INSERT INTO sync_details VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)") \
X(DETAIL_LAST, "SELECT max(key) FROM sync_details WHERE key > ?1 AND key <= ?2") \
X(DETAIL_TOKEN, "SELECT token FROM sync_details WHERE key = ?1") \
X(DETAIL_TOKENS, "SELECT key, token FROM sync_details WHERE key > ?1 AND key <= ?2 ORDER BY key DESC LIMIT ?3") \
X(AGGREGATES_READ, "SELECT number, table_name, active, first_id, folded_id, definition FROM aggregates ORDER BY number") \
X(AGGREGATE_WRITE, "INSERT INTO aggregates (number, table_name, active, first_id, folded_id, definition) " \
  "VALUES (?1,?2,?3,?4,?5,?6) ON CONFLICT DO UPDATE SET active = excluded.active, first_id = excluded.first_id, " \
  "folded_id = excluded.folded_id, definition = excluded.definition") \
X(AGGREGATE_FOLDED, "UPDATE aggregates SET folded_id = ?2 WHERE number = ?1") \
X(GROUPS_FORGET, "DELETE FROM aggregate_groups WHERE number = ?1") \
X(GROUPS_NEXT, "SELECT min(due_ms) FROM aggregate_groups WHERE due_ms IS NOT NULL") \
X(GROUP_REPORTED, "UPDATE aggregate_groups SET reported = 1, news = 0, due_ms = NULL, priority = 3 WHERE id = ?1") \
X(RANGE_FIRST, "SELECT r.last_id, r.after_id FROM sync_batch_ranges r LEFT JOIN sync_batches b ON b.batch_id = r.batch_id " \
  "WHERE r.stripe = ?1 AND (b.batch_id IS NULL OR b.finished_ms < ?2) AND r.last_id = (SELECT min(last_id) FROM " \
  "sync_batch_ranges WHERE stripe = ?1)") \
X(RANGE_DELETE, "DELETE FROM sync_batch_ranges WHERE stripe = ?1 AND last_id = ?2") \
X(RANGE_CUT, "UPDATE sync_batch_ranges SET after_id = ?3 WHERE stripe = ?1 AND last_id = ?2") \
X(SYNCED_WALK, "SELECT key, length(record_data) FROM outbox WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT ?3") \
X(SYNCED_DELETE, "DELETE FROM outbox WHERE key > ?1 AND key <= ?2 AND NOT EXISTS (SELECT 1 FROM outbox_exceptions x " \
  "WHERE x.key = outbox.key) AND NOT EXISTS (SELECT 1 FROM sync_batch_singles s JOIN sync_batches b ON b.batch_id = " \
  "s.batch_id WHERE s.key = outbox.key AND (b.finished_ms IS NULL OR b.finished_ms >= ?3))") \
X(BATCHES_WALK, "SELECT batch_id, finished_ms < ?3, claimed_ms >= ?3, 0 FROM sync_batches WHERE batch_id > ?1 ORDER BY " \
  "batch_id LIMIT ?2") \
X(SINGLES_WALK, "SELECT key FROM sync_batch_singles WHERE batch_id = ?1 LIMIT ?2") \
X(SINGLE_DELETE, "DELETE FROM sync_batch_singles WHERE batch_id = ?1 AND key = ?2") \
X(SINGLE_SYNCED_DELETE, "DELETE FROM outbox WHERE key = ?1 AND NOT EXISTS (SELECT 1 FROM outbox_exceptions WHERE key = " \
  "?1) AND NOT EXISTS (SELECT 1 FROM sync_batch_singles WHERE key = ?1)") \
X(DEAD_WALK, "SELECT key, state = 4 AND since_ms < ?3, 0, 0 FROM outbox_exceptions WHERE key > ?1 ORDER BY key LIMIT ?2") \
X(CONFLICTS_WALK, "SELECT id, resolved_ms < ?3, detected_ms >= ?3, length(local_data) + length(centre_data) FROM " \
  "sync_conflicts WHERE id > ?1 ORDER BY id LIMIT ?2") \
X(CONFLICT_EXPIRE, "DELETE FROM sync_conflicts WHERE id = ?1") \
X(EVENTS_WALK, "SELECT id, hook_timestamp < ?3, 0, length(event_data) FROM hook_events WHERE id > ?1 AND id <= ?4 ORDER " \
  "BY id LIMIT ?2") \
X(EVENT_EXPIRE, "DELETE FROM hook_events WHERE id = ?1") \
X(DETAILS_WALK, "SELECT key, created_ms < ?3, 0, length(record_data) FROM sync_details WHERE key > ?1 AND key <= ?4 ORDER " \
  "BY key LIMIT ?2") \
X(DETAIL_EXPIRE, "DELETE FROM sync_details WHERE key = ?1") \
X(GROUPS_WALK, "SELECT id, due_ms IS NULL AND updated_ms < ?3, 0, length(state) FROM aggregate_groups WHERE id > ?1 ORDER " \
  "BY id LIMIT ?2") \
X(GROUP_EXPIRE, "DELETE FROM aggregate_groups WHERE id = ?1") \
X(METRICS_WALK, "SELECT id, timestamp < ?3, 0, 0 FROM sync_metrics WHERE id > ?1 ORDER BY id LIMIT ?2") \
X(METRIC_EXPIRE, "DELETE FROM sync_metrics WHERE id = ?1") \
X(DAYS_WALK, "SELECT day, (day + 1) * 86400000 <= ?3, 0, 0 FROM sync_days WHERE day > ?1 ORDER BY day LIMIT ?2") \
X(DAY_EXPIRE, "DELETE FROM sync_days WHERE day = ?1") \
X(JOBS_WALK, "SELECT id, state NOT IN ('waiting', 'queued', 'claimed') AND finished_ms < ?3, created_ms >= ?3, length(spec) + " \
  "length(result) + length(output) FROM generation_jobs WHERE id > ?1 ORDER BY id LIMIT ?2") \
X(JOB_EXPIRE, "DELETE FROM generation_jobs WHERE id = ?1") \
X(SPEC_EXPIRE, "DELETE FROM generation_specs WHERE job_id = ?1") \
X(MANIFEST_EXPIRE, "DELETE FROM generated_manifests WHERE job_id = ?1") \
X(CENTRAL_EXPIRE, "DELETE FROM central_jobs WHERE job_id = ?1") \
X(CENTRAL_INSERT, "INSERT INTO central_jobs (job_id, central_id, attempt, token) VALUES (?1,?2,?3,?4) ON CONFLICT DO UPDATE SET " \
  "token = excluded.token, report = NULL WHERE token <> excluded.token") \
X(CENTRAL_REPORT, "UPDATE central_jobs SET report = ?2 WHERE job_id = ?1 AND report IS NULL") \
X(CENTRAL_STOP, "UPDATE generation_jobs SET state = iif(attempt = 0 OR cancel, 'cancelled', 'failed'), key = iif(attempt = 0, NULL, key), " \
  "error = CASE WHEN cancel THEN 'cancelled' WHEN attempt = 0 THEN 'handed back to the central queue, which this host leaves' " \
  "ELSE coalesce(error || '; ', '') || 'this host stopped' END, finished_ms = ?2 WHERE state IN ('queued', iif(?1, 'claimed', 'queued')) AND id IN (SELECT job_id FROM central_jobs WHERE report IS NULL) " \
  "AND NOT EXISTS (SELECT 1 FROM generation_edges e WHERE e.predecessor = generation_jobs.id)") \
X(CENTRAL_RETURN, "UPDATE central_jobs SET report = 'returned' WHERE report IS NULL AND EXISTS (SELECT 1 FROM generation_jobs j " \
  "WHERE j.id = job_id AND j.state = 'cancelled' AND j.key IS NULL)") \
X(PAGES, "SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count") \
X(PAGES_GIVE_BACK, "PRAGMA incremental_vacuum(128)") \
X(DAY_ADD, "INSERT INTO sync_days (day, passes, failures, operations, bytes, duration_ms, deferrals) VALUES (?1,1,?2,?3,?4,?5,?6) " \
  "ON CONFLICT DO UPDATE SET passes = passes + 1, failures = failures + excluded.failures, operations = operations + " \
  "excluded.operations, bytes = bytes + excluded.bytes, duration_ms = duration_ms + excluded.duration_ms, deferrals = " \
  "deferrals + excluded.deferrals") \
X(DAY_DURATION, "UPDATE sync_days SET durations = json_set(durations, '$.\"' || ?2 || '\"', " \
  "coalesce(json_extract(durations, '$.\"' || ?2 || '\"'), 0) + 1) WHERE day = ?1") \
X(FILES_INSERT, "INSERT OR REPLACE INTO generated_manifests (job_id, files, template_set, template_hash, contract, " \
  "created_ms) VALUES (?1,?2,?3,?4,?5,?6)") \
X(FEEDBACK_INSERT, "INSERT INTO pattern_feedback_log (session_id, pattern_name, detected_confidence, actual_pattern, " \
  "feedback_type, user_provided, contract_json, capabilities_matched, false_positives, false_negatives, learning_weight, " \
  "created_at) VALUES (?1, ?2, ?3 / 10000.0, ?4, ?5, ?6, ?7, ?8, iif(?5 = 'incorrect', json_array(?2), '[]'), " \
  "iif(?4 <> ?2, json_array(?4), '[]'), iif(?6, 1.0, 0.5), ?9)") \
X(FEEDBACK_DELETE, "DELETE FROM pattern_feedback_log WHERE id <= ?1") \
X(MIXINS_COUNT, "INSERT INTO mixin_compatibility_matrix (mixin_a, mixin_b, node_type, compatibility_score, success_count, " \
  "failure_count, last_tested_at, conflict_reason, resolution_pattern, created_at, updated_at) " \
  "SELECT a.value, b.value, ?1, ?3, ?3, 1 - ?3, ?6, ?4, ?5, ?6, ?6 FROM json_each(?2) a, json_each(?2) b WHERE a.value < b.value " \
  "ON CONFLICT (mixin_a, mixin_b, node_type) DO UPDATE SET success_count = success_count + excluded.success_count, " \
  "failure_count = failure_count + excluded.failure_count, compatibility_score = round((success_count + " \
  "excluded.success_count) * 1.0 / (success_count + failure_count + 1), 4), last_tested_at = excluded.last_tested_at, " \
  "conflict_reason = coalesce(excluded.conflict_reason, conflict_reason), resolution_pattern = " \
  "coalesce(excluded.resolution_pattern, resolution_pattern), updated_at = excluded.updated_at") \
X(TEMPLATES_ADD, "INSERT INTO template_cache_metadata SELECT t.value ->> 0, t.value ->> 1, t.value ->> 2, t.value ->> 3, " \
  "t.value ->> 4, t.value ->> 5, t.value ->> 6, ?2, (t.value ->> 7) + (t.value ->> 8), t.value ->> 7, t.value ->> 8, ?2, ?2 " \
  "FROM json_each(?1) t WHERE true ON CONFLICT DO UPDATE SET template_type = excluded.template_type, " \
  "cache_key = excluded.cache_key, file_path = excluded.file_path, file_hash = excluded.file_hash, " \
  "size_bytes = excluded.size_bytes, load_time_ms = coalesce(excluded.load_time_ms, load_time_ms), " \
  "last_accessed_at = excluded.last_accessed_at, access_count = access_count + excluded.access_count, " \
  "cache_hits = cache_hits + excluded.cache_hits, cache_misses = cache_misses + excluded.cache_misses, " \
  "updated_at = CASE WHEN file_hash = excluded.file_hash THEN updated_at ELSE excluded.updated_at END") \
X(TEMPLATES_BOUND, "DELETE FROM template_cache_metadata WHERE (SELECT count(*) FROM template_cache_metadata) > ?1 AND " \
  "template_name NOT IN (SELECT template_name FROM template_cache_metadata ORDER BY last_accessed_at DESC LIMIT ?1)") \
X(SAMPLE_INSERT, "INSERT INTO metric_samples (timestamp, metrics) VALUES (?1,?2)") \
X(SAMPLES_DELETE, "DELETE FROM metric_samples WHERE id <= ?1") \
X(JOB_INSERT, "INSERT INTO generation_jobs (kind, priority, spec, timeout_ms, created_ms, token, after_jobs, key, waits, state) " \
  "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9, iif(?9 > 0, 'waiting', 'queued'))") \
X(JOB_BY_KEY, "SELECT id, CASE WHEN kind <> ?2 THEN 'kind' WHEN json_remove(coalesce(spec, (SELECT s.spec FROM " \
  "generation_specs s WHERE s.job_id = generation_jobs.id)), '$.correlation_id', '$.prd_analysis', '$.node') <> " \
  "json_remove(?3, '$.correlation_id', '$.prd_analysis', '$.node') " \
  "THEN 'specification' WHEN timeout_ms <> ?4 THEN 'timeout' WHEN priority <> ?5 THEN 'priority' WHEN after_jobs IS NOT ?6 " \
  "THEN 'jobs before it' END FROM generation_jobs WHERE key = ?1") \
X(JOB_AFTER, "SELECT DISTINCT a.value, j.state FROM json_each(?1) a LEFT JOIN generation_jobs j ON j.id = a.value") \
X(EDGES_INSERT, "INSERT OR IGNORE INTO generation_edges SELECT id, ?1 FROM generation_jobs WHERE id IN (SELECT value FROM " \
  "json_each(?2)) AND state IN ('waiting', 'queued', 'claimed')") \
X(EDGES_ANY, "SELECT 1 FROM generation_edges LIMIT 1") \
X(EDGES_FROM, "SELECT dependent FROM generation_edges WHERE predecessor = ?1") \
X(EDGES_RELEASE, "UPDATE generation_jobs SET waits = waits - 1, state = iif(waits = 1, 'queued', state) WHERE state = 'waiting' " \
  "AND id IN (SELECT dependent FROM generation_edges WHERE predecessor = ?1)") \
X(EDGES_DELETE, "DELETE FROM generation_edges WHERE predecessor = ?1") \
X(JOB_DROP, "UPDATE generation_jobs SET state = 'cancelled', error = ?2, finished_ms = ?3 WHERE id = ?1 AND state = 'waiting'") \
X(JOB_TOKEN, "SELECT token FROM generation_jobs WHERE id = ?1") \
X(JOB_TOKENS, "SELECT id, token FROM generation_jobs ORDER BY id DESC LIMIT ?1") \
X(JOB_SPEC_INSERT, "INSERT INTO generation_specs VALUES (?1,?2)") \
X(JOBS_QUEUED, "SELECT id, kind, coalesce(spec, (SELECT s.spec FROM generation_specs s WHERE s.job_id = generation_jobs.id)), " \
  "attempt + 1, timeout_ms FROM generation_jobs WHERE state = 'queued' " \
  "AND (not_before_ms <= ?2 OR not_before_ms > ?2 + 60000) ORDER BY priority, id LIMIT ?1") \
X(JOBS_QUEUED_COUNT, "SELECT count(*) FROM (SELECT 1 FROM generation_jobs INDEXED BY generation_jobs_queued WHERE state = 'queued' LIMIT ?1)") \
X(JOBS_TAKE, "UPDATE generation_jobs SET state = 'claimed', attempt = attempt + 1, slot = ?3, spawn = ?4, claimed_ms = ?5 " \
  "WHERE id BETWEEN ?1 AND ?2") \
X(JOBS_UNCLAIM, "UPDATE generation_jobs SET state = 'queued', slot = NULL, spawn = NULL, claimed_ms = NULL, attempt = attempt - 1 " \
  "WHERE state = 'claimed' AND slot = ?1 AND spawn = ?2 AND id IN (SELECT value FROM json_each(?3))") \
X(JOB_READ, "SELECT state, slot, spawn, attempt, cancel, after_jobs FROM generation_jobs WHERE id = ?1") \
X(JOBS_ABANDONED, "SELECT id, attempt, cancel FROM generation_jobs WHERE state = 'claimed' AND (slot = ?1 AND spawn <> ?2 " \
  "OR ?1 = 0 AND slot >= ?3 AND spawn NOT BETWEEN ?4 + 1 AND ?4 + ?5)") \
X(JOB_END, "UPDATE generation_jobs SET state = ?2, result = ?3, error = ?4, output = ?5, duration_ms = ?6, finished_ms = ?7 WHERE id = ?1 " \
  "AND state = 'claimed' AND slot = ?8 AND spawn = ?9") \
X(JOB_FAIL, "UPDATE generation_jobs SET state = 'failed', error = ?2, finished_ms = ?3 WHERE id = ?1") \
X(JOB_CANCEL, "UPDATE generation_jobs SET state = 'cancelled', error = 'cancelled', finished_ms = ?2 WHERE id = ?1") \
X(JOB_MARK_CANCEL, "UPDATE generation_jobs SET cancel = 1 WHERE id = ?1") \
X(JOB_RETRY, "UPDATE generation_jobs SET state = iif(?2 > 0, 'waiting', 'queued'), waits = ?2, attempt = 0, cancel = 0, not_before_ms = 0, slot = NULL, spawn = NULL, " \
  "claimed_ms = NULL, finished_ms = NULL, duration_ms = NULL, error = NULL, result = NULL, output = NULL WHERE id = ?1") \
X(JOB_REQUEUE, "UPDATE generation_jobs SET state = 'queued', slot = NULL, spawn = NULL, claimed_ms = NULL, attempt = ?2, " \
  "not_before_ms = ?3, error = COALESCE(?4, error), output = COALESCE(?5, output) WHERE id = ?1")
/* clang-format on */

enum sql {
#define X(name, text) SQL_##name,
    SQL_LIST(X)
#undef X
        SQL_COUNT
};

/* A statement ready to be bound and stepped; NULL and an error otherwise. */
struct sqlite3_stmt *sql_get(struct store_writer *writer, enum sql sql,
                             struct error *error);

/* Binds the values from the first parameter on; texts are not copied. */
struct sqlite3_stmt *sql_query_values(struct store_writer *writer,
                                      enum sql sql, struct error *error,
                                      const struct value *values,
                                      size_t count);

/* 1: a row; 0: no more (the statement is reset); -1: an error (the same).
 * Who leaves earlier calls sqlite3_reset. */
int sql_step(struct store_writer *writer, struct sqlite3_stmt *statement,
             struct error *error);

/* Runs a statement to its end. */
int sql_run_values(struct store_writer *writer, enum sql sql,
                   struct error *error, const struct value *values,
                   size_t count);

#define SQL_VALUES(...)                                                        \
    (const struct value[]){__VA_ARGS__},                                       \
        sizeof((const struct value[]){__VA_ARGS__}) / sizeof(struct value)
#define SQL_QUERY(writer, sql, error, ...)                                     \
    sql_query_values((writer), (sql), (error), SQL_VALUES(__VA_ARGS__))
#define SQL_RUN(writer, sql, error, ...)                                       \
    sql_run_values((writer), (sql), (error), SQL_VALUES(__VA_ARGS__))

/* What a result code of SQLite, extended or not, means to our callers. */
enum error_code sql_error_code(int sqlite_code);

/* Fills error from the connection's last failure; when SQLite gave the whole
 * transaction up, the group is lost, and says so from now on.  Returns -1. */
int sql_failed(struct store_writer *writer, struct error *error);

/* Closes all statements. */
void sql_finalize(struct store_writer *writer);

#endif
