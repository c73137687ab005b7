-- SPDX-License-Identifier: Apache-2.0
-- What the phases of a job used: in its result stands, beside phases, usage:
-- {phase: [peak MB, percent of a processor or null]}.
DROP VIEW generation_performance_metrics;
CREATE VIEW generation_performance_metrics AS
SELECT j.id || '-' || p.key AS id,
       coalesce(j.result ->> '$.correlation_id', j.id || '') AS session_id,
       j.result ->> '$.node_type' AS node_type, p.key AS phase,
       p.value AS duration_ms,
       j.result ->> ('$.usage.' || p.key || '[0]') AS memory_usage_mb,
       j.result ->> ('$.usage.' || p.key || '[1]') AS cpu_percent,
       j.result ->> '$.cache_hit' AS cache_hit,
       j.result ->> '$.workers' > 1 AS parallel_execution,
       j.result ->> '$.workers' AS worker_count,
       json_object('job', j.id, 'attempt', j.attempt) AS metadata,
       j.finished_ms AS created_at
  FROM generation_jobs j, json_each(j.result, '$.phases') p
 WHERE j.state = 'done' AND p.type = 'integer' AND p.value >= 0
   AND p.key IN ('prd_analysis', 'template_load', 'code_gen', 'validation',
                 'persistence', 'total');
