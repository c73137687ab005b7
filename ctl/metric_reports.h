/* SPDX-License-Identifier: Apache-2.0
 *
 * The reports of `tidemill metrics --report`, as queries on the local store:
 * the tables and views that the centre has under the same names
 * (common/store/sql/centre/).  They are no views of the store, because each
 * costs every process that opens it the time to parse it.
 *
 * X(name, query, what it is).  ?1 is how many rows are shown at most.
 */
#ifndef TIDEMILL_CTL_METRIC_REPORTS_H
#define TIDEMILL_CTL_METRIC_REPORTS_H

#include <stdint.h>

#include "ctl/command.h"

/* clang-format off */

#define REPORT_TIME(column) \
  "strftime('%Y-%m-%dT%H:%M:%fZ', " column " / 1000.0, 'unixepoch') AS " column

/* Lists of common/store/figures.h, a row each. */
#define REPORT_EVENTS \
  "WITH events AS (SELECT m.id || '-' || f.key AS id, f.value ->> 0 AS event_type, " \
  "coalesce((SELECT n.source FROM source_cursors n WHERE n.number = f.value ->> 1), 'local') AS event_source, " \
  "CAST(round((f.value ->> 6) / 1000.0 / (f.value ->> 5)) AS INTEGER) AS processing_duration_ms, " \
  "CAST(round(1.0 * (f.value ->> 7) / (f.value ->> 5)) AS INTEGER) AS queue_wait_time_ms, " \
  "f.value ->> 2 AS success, f.value ->> 3 AS error_type, f.value ->> 4 AS error_message, " \
  "f.value ->> 8 AS retry_count, f.value ->> 9 AS batch_size, " \
  "strftime('%Y-%m-%dT%H:%M:%fZ', m.timestamp / 1000.0, 'unixepoch') AS created_at, " \
  "f.value ->> 5 AS events, (f.value ->> 6) / 1000.0 AS total_processing_ms, f.value ->> 7 AS total_wait_ms " \
  "FROM sync_metrics m, json_each(m.figures) f) "

/* The percentile is percentile_cont of all events, of which a row stands for
 * many: place 0.95 (n - 1), between two places in proportion. */
#define REPORT_EVENT_HEALTH REPORT_EVENTS \
  ", ranked AS (SELECT *, total_processing_ms / events AS latency, " \
  "sum(events) OVER (PARTITION BY event_type, event_source ORDER BY total_processing_ms / events, id " \
  "ROWS UNBOUNDED PRECEDING) AS upto, " \
  "95 * (sum(events) OVER (PARTITION BY event_type, event_source) - 1) AS place FROM events) " \
  "SELECT event_type, event_source, sum(events) AS total_events, " \
  "sum(success * events) AS success_count, sum((1 - success) * events) AS failure_count, " \
  "round(1.0 * sum(success * events) / sum(events), 3) AS success_rate, " \
  "round(sum(total_processing_ms) / sum(events), 2) AS avg_duration_ms, " \
  "round(1.0 * sum(total_wait_ms) / sum(events), 2) AS avg_wait_ms, " \
  "round(1.0 * sum(retry_count) / sum(events), 1) AS avg_retries, " \
  "round(min(latency) FILTER (WHERE upto > place / 100) * (1 - max(place) % 100 / 100.0) + " \
  "coalesce(min(latency) FILTER (WHERE upto > place / 100 + 1), 0) * (max(place) % 100 / 100.0), 2) AS p95_latency_ms " \
  "FROM ranked GROUP BY event_type, event_source ORDER BY total_events DESC, event_type, event_source LIMIT ?1"

#define METRIC_REPORT_LIST(X) \
X("event_processing_metrics", REPORT_EVENTS "SELECT * FROM events ORDER BY created_at DESC, id LIMIT ?1", \
  "the event pipeline, a row for each pass, event type, source and outcome") \
X("event_processing_health", REPORT_EVENT_HEALTH, \
  "the same added up by event type and source") \
X("generation_performance_metrics", "SELECT id, session_id, node_type, phase, duration_ms, memory_usage_mb, cpu_percent, " \
  "cache_hit, parallel_execution, worker_count, metadata, " REPORT_TIME("created_at") " FROM generation_performance_metrics ORDER BY created_at DESC, id LIMIT ?1", \
  "the phases of each job") \
X("performance_metrics_summary", "SELECT * FROM performance_metrics_summary LIMIT ?1", \
  "the same added up by phase") \
X("template_cache_metadata", "SELECT template_name, template_type, cache_key, file_path, file_hash, size_bytes, load_time_ms, " \
  REPORT_TIME("last_accessed_at") ", access_count, cache_hits, cache_misses, " REPORT_TIME("created_at") ", " \
  REPORT_TIME("updated_at") " FROM template_cache_metadata ORDER BY access_count DESC, template_name LIMIT ?1", \
  "templates and their use") \
X("template_cache_efficiency", "SELECT *, (SELECT round(1.0 * sum(cache_hits) / nullif(sum(cache_hits + cache_misses), 0), 3) " \
  "FROM template_cache_metadata) AS overall_hit_rate FROM template_cache_efficiency LIMIT ?1", \
  "the same added up by type") \
X("mixin_compatibility_matrix", "SELECT id, mixin_a, mixin_b, node_type, compatibility_score, success_count, failure_count, " \
  REPORT_TIME("last_tested_at") ", conflict_reason, resolution_pattern, " REPORT_TIME("created_at") ", " \
  REPORT_TIME("updated_at") " FROM mixin_compatibility_matrix ORDER BY compatibility_score, mixin_a, mixin_b LIMIT ?1", \
  "how mixins went together, the worst first") \
X("mixin_compatibility_summary", "SELECT node_type, count(*) AS total_combinations, round(avg(compatibility_score), 3) " \
  "AS avg_compatibility, sum(success_count) AS total_successes, sum(failure_count) AS total_failures, " \
  "round(1.0 * sum(success_count) / nullif(sum(success_count + failure_count), 0), 3) AS success_rate, " \
  "round(avg(compatibility_score), 3) AS compatibility_score, sum(failure_count) AS failure_count " \
  "FROM mixin_compatibility_matrix GROUP BY node_type LIMIT ?1", \
  "the same added up by node type") \
X("pattern_feedback_log", "SELECT id, session_id, pattern_name, detected_confidence, actual_pattern, feedback_type, user_provided, " \
  "contract_json, capabilities_matched, false_positives, false_negatives, learning_weight, " REPORT_TIME("created_at") \
  " FROM pattern_feedback_log l ORDER BY l.id DESC LIMIT ?1", \
  "what was said of patterns that were found") \
X("pattern_feedback_analysis", "SELECT a.*, (SELECT round(1.0 * sum(l.feedback_type = 'correct') / " \
  "nullif(sum(l.feedback_type IN ('correct', 'incorrect')), 0), 3) FROM pattern_feedback_log l " \
  "WHERE l.pattern_name = a.pattern_name) AS precision, (SELECT sum(json_array_length(l.false_positives)) " \
  "FROM pattern_feedback_log l WHERE l.pattern_name = a.pattern_name AND l.feedback_type = a.feedback_type) " \
  "AS false_positive_count FROM pattern_feedback_analysis a LIMIT ?1", \
  "the same added up by pattern and kind of feedback")
/* clang-format on */

/* Shows one, or with the name "list" what there is; an exit status. */
int metric_report_show(const struct command_context *context, const char *name,
                       int64_t most_rows);

#endif
