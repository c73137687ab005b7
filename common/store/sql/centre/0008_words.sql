-- SPDX-License-Identifier: Apache-2.0
-- What people and their tools say to the centre: jobs of the queue with the
-- rights of a submitter, outcomes of mixins, feedback on patterns; and what
-- the phases of jobs used.

-- Who submitted a job; NULL before this was kept.
ALTER TABLE tidemill.job_queue ADD COLUMN submitted_by text;
ALTER TABLE tidemill.job_queue ALTER COLUMN submitted_by
    SET DEFAULT session_user;

-- With the owner's rights, so that who may call these needs no rights on
-- the table, where a job could be made leased, or done.
ALTER FUNCTION tidemill.enqueue_job(
    text, jsonb, integer, interval, integer, text, timestamptz)
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION tidemill.cancel_job(bigint)
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION tidemill.enqueue_job(
    text, jsonb, integer, interval, integer, text, timestamptz),
    tidemill.cancel_job(bigint) FROM PUBLIC;

-- Without the specifications, in which there may be secrets.
CREATE VIEW tidemill.jobs AS
SELECT q.id, q.kind, q.state,
       (ARRAY['urgent', 'high', 'normal', 'low'])[q.priority + 1] AS priority,
       q.attempt, q.max_attempts, q.key, q.host,
       coalesce(q.spec ->> 'contract', q.spec -> 'argv' ->> 0) AS what,
       coalesce(q.error, q.result ->> 'error') AS error,
       q.submitted_by, q.created_at, q.not_before, q.leased_at, q.lease_until,
       q.finished_at, q.result
  FROM tidemill.job_queue AS q;
COMMENT ON VIEW tidemill.jobs IS
    'The central queue: what was submitted, where it runs, what became of it.';

-- What a phase used is usage: {phase: [peak MB, percent of a processor]}.
CREATE OR REPLACE VIEW tidemill.generation_performance_metrics AS
SELECT r.system_id,
       md5(concat_ws('/', r.system_id, r.record_id, p.key))::uuid AS id,
       md5(concat_ws('/', r.system_id,
                     coalesce(r.data ->> 'correlation_id', r.record_id)))::uuid
           AS session_id,
       (r.data ->> 'node_type')::varchar(50) AS node_type,
       p.key AS phase,
       p.value::integer AS duration_ms,
       u.peak_mb::integer AS memory_usage_mb,
       u.percent::numeric(5, 2) AS cpu_percent,
       (r.data ->> 'cache_hit')::boolean AS cache_hit,
       (r.data ->> 'workers')::integer > 1 AS parallel_execution,
       (r.data ->> 'workers')::integer AS worker_count,
       jsonb_build_object('job', r.record_id, 'contract', r.data -> 'contract')
           AS metadata,
       (r.data ->> 'finished_at')::timestamptz AS created_at
  FROM tidemill.synced_records AS r,
       jsonb_each(CASE jsonb_typeof(r.data -> 'phases')
                  WHEN 'object' THEN r.data -> 'phases' ELSE '{}' END) AS p,
       LATERAL (SELECT r.data -> 'usage' -> p.key AS used) AS s,
       LATERAL (
           SELECT CASE jsonb_typeof(used -> 0)
                  WHEN 'number' THEN least((used ->> 0)::numeric,
                                      2147483647) END AS peak_mb,
                  CASE jsonb_typeof(used -> 1)
                  WHEN 'number' THEN least((used ->> 1)::numeric, 999.99)
                  END AS percent
       ) AS u
 WHERE r.table_name = 'generation_jobs' AND r.data ->> 'state' = 'done'
   AND p.key IN ('prd_analysis', 'template_load', 'code_gen', 'validation',
                 'persistence', 'total')
   AND jsonb_typeof(p.value) = 'number' AND p.value >= '0';

-- Outcomes that tools told, beside those that jobs have shown.
CREATE TABLE tidemill.mixin_outcomes (
    mixin_a            varchar(100) NOT NULL,
    mixin_b            varchar(100) NOT NULL,
    node_type          varchar(50) NOT NULL CHECK (node_type IN
                       ('EFFECT', 'COMPUTE', 'REDUCER', 'ORCHESTRATOR')),
    success_count      bigint NOT NULL,
    failure_count      bigint NOT NULL,
    conflict_reason    text,
    resolution_pattern text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT mixin_outcomes_pkey PRIMARY KEY (mixin_a, mixin_b, node_type),
    CHECK (mixin_a COLLATE "C" < mixin_b COLLATE "C")
);

-- Two mixins, in either order, were tried together once more; an earlier
-- reason or resolution stays where none is told.  The id in the matrix.
CREATE FUNCTION tidemill.update_mixin_compatibility(
    a text, b text, node_type text, success boolean,
    reason text DEFAULT NULL, resolution text DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    one text := least(a COLLATE "C", b COLLATE "C");
    other text := greatest(a COLLATE "C", b COLLATE "C");
BEGIN
    INSERT INTO tidemill.mixin_outcomes AS o
        (mixin_a, mixin_b, node_type, success_count, failure_count,
         conflict_reason, resolution_pattern)
    VALUES (one, other, update_mixin_compatibility.node_type,
            success::integer, (NOT success)::integer, reason, resolution)
    ON CONFLICT ON CONSTRAINT mixin_outcomes_pkey DO UPDATE
    SET success_count = o.success_count + excluded.success_count,
        failure_count = o.failure_count + excluded.failure_count,
        conflict_reason = coalesce(excluded.conflict_reason,
                                   o.conflict_reason),
        resolution_pattern = coalesce(excluded.resolution_pattern,
                                      o.resolution_pattern),
        updated_at = now();
    RETURN md5(concat_ws('/', one, other,
                         update_mixin_compatibility.node_type))::uuid;
END $$;

CREATE OR REPLACE VIEW tidemill.mixin_compatibility_matrix AS
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
), outcomes AS (
    SELECT mixin_a, mixin_b, node_type,
           count(*) FILTER (WHERE good) AS good,
           count(*) FILTER (WHERE NOT good) AS bad,
           (array_agg(why ORDER BY at DESC) FILTER (WHERE NOT good))[1] AS why,
           NULL::text AS resolution, min(at) AS first, max(at) AS last
      FROM tried
     GROUP BY mixin_a, mixin_b, node_type
    UNION ALL
    SELECT mixin_a, mixin_b, node_type, success_count, failure_count,
           conflict_reason, resolution_pattern, created_at, updated_at
      FROM tidemill.mixin_outcomes
)
SELECT md5(concat_ws('/', mixin_a, mixin_b, node_type))::uuid AS id,
       mixin_a::varchar(100) AS mixin_a, mixin_b::varchar(100) AS mixin_b,
       node_type::varchar(50) AS node_type,
       round(sum(good) / sum(good + bad), 4) AS compatibility_score,
       sum(good)::bigint AS success_count, sum(bad)::bigint AS failure_count,
       max(last) AS last_tested_at,
       (array_agg(why ORDER BY last DESC) FILTER (WHERE why IS NOT NULL))[1]
           AS conflict_reason,
       max(resolution) AS resolution_pattern,
       min(first) AS created_at, max(last) AS updated_at
  FROM outcomes
 GROUP BY mixin_a, mixin_b, node_type;

-- Feedback that tools told, beside that of the hosts.
CREATE TABLE tidemill.told_feedback (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id          uuid NOT NULL,
    pattern_name        varchar(100) NOT NULL,
    detected_confidence numeric(5, 4)
                        CHECK (detected_confidence BETWEEN 0 AND 1),
    actual_pattern      varchar(100),
    feedback_type       text NOT NULL CHECK (feedback_type IN
                        ('correct', 'incorrect', 'partial', 'adjusted')),
    user_provided       boolean NOT NULL,
    contract_json       jsonb,
    learning_weight     numeric(5, 4) NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now()
);

-- The id in the log.  A person's word weighs 1, a program's 0.5.
CREATE FUNCTION tidemill.record_pattern_feedback(
    session uuid, pattern text, confidence numeric, actual text, type text,
    user_provided boolean DEFAULT false, contract jsonb DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    made uuid;
BEGIN
    INSERT INTO tidemill.told_feedback
        (session_id, pattern_name, detected_confidence, actual_pattern,
         feedback_type, user_provided, contract_json, learning_weight)
    VALUES (session, pattern, confidence, actual, type,
            record_pattern_feedback.user_provided, contract,
            CASE WHEN record_pattern_feedback.user_provided THEN 1.0
                 ELSE 0.5 END)
    RETURNING id INTO made;
    RETURN made;
END $$;

CREATE OR REPLACE VIEW tidemill.pattern_feedback_log AS
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
 WHERE r.table_name = 'tidemill_feedback'
UNION ALL
SELECT 'centre' COLLATE "C", t.id, t.session_id, t.pattern_name,
       t.detected_confidence, t.actual_pattern, t.feedback_type,
       t.user_provided, t.contract_json, '{}', '{}', '{}', t.learning_weight,
       t.created_at
  FROM tidemill.told_feedback AS t;
