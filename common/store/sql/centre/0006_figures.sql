-- SPDX-License-Identifier: Apache-2.0
-- What the hosts recorded of themselves, as tables and views of the names
-- that tools look for.  It comes as ordinary records: results of jobs, and
-- the tables of common/store/figures.h.  A row of event_processing_metrics
-- stands for `events` events of one pass; durations and waits are theirs on
-- average, retries all of theirs.

CREATE INDEX synced_records_figures ON tidemill.synced_records (table_name)
    WHERE table_name IN ('generation_jobs', 'tidemill_events',
                         'tidemill_templates', 'tidemill_feedback');

CREATE VIEW tidemill.event_processing_metrics AS
SELECT r.system_id,
       md5(concat_ws('/', r.system_id, r.record_id, e.n))::uuid AS id,
       (e.v ->> 1)::varchar(100) AS event_type,
       (e.v ->> 2)::varchar(100) AS event_source,
       least(round((e.v ->> 7)::numeric / 1000 / (e.v ->> 6)::numeric),
             2147483647)::integer AS processing_duration_ms,
       least(round((e.v ->> 8)::numeric / (e.v ->> 6)::numeric),
             2147483647)::integer AS queue_wait_time_ms,
       e.v ->> 3 = '1' AS success,
       (e.v ->> 4)::varchar(100) AS error_type,
       e.v ->> 5 AS error_message,
       (e.v ->> 9)::integer AS retry_count,
       (e.v ->> 10)::integer AS batch_size,
       to_timestamp((e.v ->> 0)::numeric / 1000) AS created_at,
       (e.v ->> 6)::bigint AS events,
       (e.v ->> 7)::numeric / 1000 AS total_processing_ms,
       (e.v ->> 8)::bigint AS total_wait_ms
  FROM tidemill.synced_records AS r,
       jsonb_array_elements(CASE jsonb_typeof(r.data -> 'rows')
                            WHEN 'array' THEN r.data -> 'rows' ELSE '[]' END)
           WITH ORDINALITY AS e (v, n)
 WHERE r.table_name = 'tidemill_events';

-- The percentile is percentile_cont of all events, of which a row stands for
-- many: place 0.95 (n - 1), between two places in proportion.
CREATE VIEW tidemill.event_processing_health AS
WITH ranked AS (
    SELECT m.*, m.total_processing_ms / m.events AS latency,
           sum(m.events) OVER (
               PARTITION BY m.event_type, m.event_source
               ORDER BY m.total_processing_ms / m.events, m.id
               ROWS UNBOUNDED PRECEDING) AS upto,
           95 * (sum(m.events) OVER (
               PARTITION BY m.event_type, m.event_source) - 1) AS place
      FROM tidemill.event_processing_metrics AS m
)
SELECT event_type, event_source, sum(events)::bigint AS total_events,
       coalesce(sum(events) FILTER (WHERE success), 0)::bigint
           AS success_count,
       coalesce(sum(events) FILTER (WHERE NOT success), 0)::bigint
           AS failure_count,
       round(coalesce(sum(events) FILTER (WHERE success), 0) / sum(events), 3)
           AS success_rate,
       round(sum(total_processing_ms) / sum(events), 2) AS avg_duration_ms,
       round(sum(total_wait_ms) / sum(events), 2) AS avg_wait_ms,
       round(sum(retry_count) / sum(events), 1) AS avg_retries,
       round(min(latency) FILTER (WHERE upto > div(place, 100))
                 * (1 - mod(max(place), 100) / 100)
             + coalesce(min(latency)
                            FILTER (WHERE upto > div(place, 100) + 1), 0)
                 * mod(max(place), 100) / 100, 2) AS p95_latency_ms
  FROM ranked
 GROUP BY event_type, event_source
 ORDER BY total_events DESC, event_type, event_source;

CREATE VIEW tidemill.generation_performance_metrics AS
SELECT r.system_id,
       md5(concat_ws('/', r.system_id, r.record_id, p.key))::uuid AS id,
       md5(concat_ws('/', r.system_id,
                     coalesce(r.data ->> 'correlation_id', r.record_id)))::uuid
           AS session_id,
       (r.data ->> 'node_type')::varchar(50) AS node_type,
       p.key AS phase,
       p.value::integer AS duration_ms,
       NULL::integer AS memory_usage_mb,
       NULL::numeric(5, 2) AS cpu_percent,
       (r.data ->> 'cache_hit')::boolean AS cache_hit,
       (r.data ->> 'workers')::integer > 1 AS parallel_execution,
       (r.data ->> 'workers')::integer AS worker_count,
       jsonb_build_object('job', r.record_id, 'contract', r.data -> 'contract')
           AS metadata,
       (r.data ->> 'finished_at')::timestamptz AS created_at
  FROM tidemill.synced_records AS r,
       jsonb_each(CASE jsonb_typeof(r.data -> 'phases')
                  WHEN 'object' THEN r.data -> 'phases' ELSE '{}' END) AS p
 WHERE r.table_name = 'generation_jobs' AND r.data ->> 'state' = 'done'
   AND p.key IN ('prd_analysis', 'template_load', 'code_gen', 'validation',
                 'persistence', 'total')
   AND jsonb_typeof(p.value) = 'number' AND p.value >= '0';

CREATE VIEW tidemill.performance_metrics_summary AS
SELECT phase, count(*) AS execution_count,
       round(avg(duration_ms), 2) AS avg_duration_ms,
       round(percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms)::numeric,
             2) AS p95_duration_ms,
       round(percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms)::numeric,
             2) AS p99_duration_ms,
       count(*) FILTER (WHERE cache_hit) AS cache_hits,
       count(*) FILTER (WHERE parallel_execution) AS parallel_executions,
       round(avg(worker_count), 1) AS avg_workers
  FROM tidemill.generation_performance_metrics
 GROUP BY phase;

CREATE VIEW tidemill.template_cache_metadata AS
SELECT r.system_id,
       md5(concat_ws('/', r.system_id, t.key))::uuid AS id,
       t.key::varchar(200) AS template_name,
       t.value ->> 'template_type' AS template_type,
       (t.value ->> 'cache_key')::varchar(500) AS cache_key,
       t.value ->> 'file_path' AS file_path,
       (t.value ->> 'file_hash')::varchar(64) AS file_hash,
       (t.value ->> 'size_bytes')::integer AS size_bytes,
       round((t.value ->> 'load_time_ms')::numeric)::integer AS load_time_ms,
       to_timestamp((t.value ->> 'last_accessed_at')::numeric / 1000)
           AS last_accessed_at,
       (t.value ->> 'access_count')::bigint AS access_count,
       (t.value ->> 'cache_hits')::bigint AS cache_hits,
       (t.value ->> 'cache_misses')::bigint AS cache_misses,
       to_timestamp((t.value ->> 'created_at')::numeric / 1000) AS created_at,
       to_timestamp((t.value ->> 'updated_at')::numeric / 1000) AS updated_at,
       (t.value ->> 'load_time_ms')::numeric AS exact_load_time_ms
  FROM tidemill.synced_records AS r,
       jsonb_each(CASE jsonb_typeof(r.data)
                  WHEN 'object' THEN r.data ELSE '{}' END) AS t
 WHERE r.table_name = 'tidemill_templates';

CREATE VIEW tidemill.template_cache_efficiency AS
SELECT template_type, count(*) AS template_count,
       round(avg(cache_hits), 1) AS avg_cache_hits,
       round(avg(cache_misses), 1) AS avg_cache_misses,
       round(sum(cache_hits) / nullif(sum(cache_hits + cache_misses), 0), 3)
           AS hit_rate,
       round(avg(exact_load_time_ms), 2) AS avg_load_time_ms,
       round(sum(size_bytes) / 1048576.0, 2) AS total_size_mb,
       round(sum(sum(cache_hits)) OVER ()
             / nullif(sum(sum(cache_hits + cache_misses)) OVER (), 0), 3)
           AS overall_hit_rate
  FROM tidemill.template_cache_metadata
 GROUP BY template_type;

-- Of all hosts together, from the jobs that show how their mixins go
-- together.
CREATE VIEW tidemill.mixin_compatibility_matrix AS
WITH tried AS (
    SELECT a.m AS mixin_a, b.m AS mixin_b, r.data ->> 'node_type' AS node_type,
           r.data ->> 'state' = 'done' AS good, r.data ->> 'error' AS why,
           (r.data ->> 'finished_at')::timestamptz AS at
      FROM tidemill.synced_records AS r,
           jsonb_array_elements_text(
               CASE jsonb_typeof(r.data -> 'mixins')
               WHEN 'array' THEN r.data -> 'mixins' ELSE '[]' END) AS a (m),
           jsonb_array_elements_text(
               CASE jsonb_typeof(r.data -> 'mixins')
               WHEN 'array' THEN r.data -> 'mixins' ELSE '[]' END) AS b (m)
     WHERE r.table_name = 'generation_jobs'
       AND r.data ->> 'mixins_tried' = 'true'
       AND a.m COLLATE "C" < b.m COLLATE "C"
)
SELECT md5(concat_ws('/', mixin_a, mixin_b, node_type))::uuid AS id,
       mixin_a::varchar(100) AS mixin_a, mixin_b::varchar(100) AS mixin_b,
       node_type::varchar(50) AS node_type,
       round(count(*) FILTER (WHERE good)::numeric / count(*), 4)
           AS compatibility_score,
       count(*) FILTER (WHERE good) AS success_count,
       count(*) FILTER (WHERE NOT good) AS failure_count,
       max(at) AS last_tested_at,
       (array_agg(why ORDER BY at DESC) FILTER (WHERE NOT good))[1]
           AS conflict_reason,
       NULL::text AS resolution_pattern,
       min(at) AS created_at, max(at) AS updated_at
  FROM tried
 GROUP BY mixin_a, mixin_b, node_type;

CREATE VIEW tidemill.mixin_compatibility_summary AS
SELECT node_type, count(*) AS total_combinations,
       round(avg(compatibility_score), 3) AS avg_compatibility,
       sum(success_count) AS total_successes,
       sum(failure_count) AS total_failures,
       round(sum(success_count) / nullif(sum(success_count + failure_count), 0),
             3) AS success_rate,
       round(avg(compatibility_score), 3) AS compatibility_score,
       sum(failure_count) AS failure_count
  FROM tidemill.mixin_compatibility_matrix
 GROUP BY node_type;

CREATE FUNCTION tidemill.texts_of(list jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY(SELECT jsonb_array_elements_text(
        CASE jsonb_typeof(list) WHEN 'array' THEN list ELSE '[]' END))
$$;

CREATE VIEW tidemill.pattern_feedback_log AS
SELECT r.system_id,
       md5(concat_ws('/', r.system_id, r.record_id, f.v ->> 'id'))::uuid AS id,
       md5(concat_ws('/', r.system_id, f.v ->> 'session_id'))::uuid
           AS session_id,
       (f.v ->> 'pattern_name')::varchar(100) AS pattern_name,
       (f.v ->> 'detected_confidence')::numeric(5, 4) AS detected_confidence,
       (f.v ->> 'actual_pattern')::varchar(100) AS actual_pattern,
       f.v ->> 'feedback_type' AS feedback_type,
       f.v ->> 'user_provided' = '1' AS user_provided,
       nullif(f.v -> 'contract_json', 'null') AS contract_json,
       tidemill.texts_of(f.v -> 'capabilities_matched')
           AS capabilities_matched,
       tidemill.texts_of(f.v -> 'false_positives') AS false_positives,
       tidemill.texts_of(f.v -> 'false_negatives') AS false_negatives,
       (f.v ->> 'learning_weight')::numeric(5, 4) AS learning_weight,
       to_timestamp((f.v ->> 'created_at')::numeric / 1000) AS created_at
  FROM tidemill.synced_records AS r,
       jsonb_array_elements(CASE jsonb_typeof(r.data -> 'rows')
                            WHEN 'array' THEN r.data -> 'rows' ELSE '[]' END)
           AS f (v)
 WHERE r.table_name = 'tidemill_feedback';

-- precision is the pattern's: correct of correct and incorrect.
CREATE VIEW tidemill.pattern_feedback_analysis AS
SELECT pattern_name, feedback_type, count(*) AS feedback_count,
       round(avg(detected_confidence), 3) AS avg_confidence,
       count(*) FILTER (WHERE user_provided) AS user_provided_count,
       round(avg(learning_weight), 3) AS avg_learning_weight,
       round(sum(count(*) FILTER (WHERE feedback_type = 'correct'))
                 OVER (PARTITION BY pattern_name)
             / nullif(sum(count(*) FILTER (
                   WHERE feedback_type IN ('correct', 'incorrect')))
                 OVER (PARTITION BY pattern_name), 0), 3) AS precision,
       sum(cardinality(false_positives)) AS false_positive_count
  FROM tidemill.pattern_feedback_log
 GROUP BY pattern_name, feedback_type
 ORDER BY pattern_name, feedback_count DESC;
