-- SPDX-License-Identifier: Apache-2.0
-- Generation: jobs, the files that they made, and how long it took.
CREATE TABLE generation_jobs (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  kind          TEXT NOT NULL,
  priority      INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
  state         TEXT NOT NULL DEFAULT 'queued'
                -- IN would build a table of the words for every row written
                CHECK (state = 'queued' OR state = 'claimed' OR state = 'done' OR
                       state = 'failed' OR state = 'waiting' OR
                       state = 'cancelled'),
  attempt       INTEGER NOT NULL DEFAULT 0,   -- the first one is 1
  timeout_ms    INTEGER NOT NULL DEFAULT 0,   -- 0: generation.worker_timeout
  not_before_ms INTEGER NOT NULL DEFAULT 0,
  slot          INTEGER,
  spawn         INTEGER,
  cancel        INTEGER NOT NULL DEFAULT 0,   -- 1: asked for while it ran
  token         INTEGER NOT NULL DEFAULT 0,   -- the submitter's; 0: none
  waits         INTEGER NOT NULL DEFAULT 0,   -- jobs before it that are not over
  after_jobs    TEXT,                         -- JSON: [id, ...], all before it
  key           TEXT,                         -- the submitter's; NULL: none
  created_ms    INTEGER NOT NULL,
  claimed_ms    INTEGER,
  finished_ms   INTEGER,
  duration_ms   INTEGER,
  error         TEXT,
  spec          TEXT,  -- NULL: a long one, in generation_specs
  result        TEXT,
  output        TEXT
);
CREATE INDEX generation_jobs_queued ON generation_jobs (priority, id)
  WHERE state = 'queued';
CREATE INDEX generation_jobs_claimed ON generation_jobs (slot)
  WHERE state = 'claimed';

CREATE UNIQUE INDEX generation_jobs_key ON generation_jobs (key)
  WHERE key IS NOT NULL;

-- Until the predecessor is over; a job is always younger than those before it.
CREATE TABLE generation_edges (
  predecessor INTEGER NOT NULL,
  dependent   INTEGER NOT NULL,
  PRIMARY KEY (predecessor, dependent)
) WITHOUT ROWID;

-- Apart, so that a job's row stays small while its state changes.
CREATE TABLE generation_specs (
  job_id INTEGER PRIMARY KEY,
  spec   TEXT NOT NULL
);

-- One row a job, not one a file: a job writes twenty.
CREATE TABLE generated_manifests (
  job_id        INTEGER PRIMARY KEY,
  template_set  TEXT NOT NULL,
  template_hash TEXT NOT NULL,
  contract      TEXT NOT NULL,
  created_ms    INTEGER NOT NULL,
  files         TEXT NOT NULL  -- JSON: [[path, sha256, size], ...]
);

CREATE VIEW generated_files AS
SELECT m.job_id, json_extract(f.value, '$[0]') AS path,
       json_extract(f.value, '$[1]') AS sha256,
       json_extract(f.value, '$[2]') AS size_bytes,
       m.template_set, m.template_hash, m.contract, m.created_ms
  FROM generated_manifests m, json_each(m.files) f;

-- A job's result tells its phases: prd_analysis, template_load, code_gen,
-- validation, persistence, total.  All jobs of one command are a session.
CREATE VIEW generation_performance_metrics AS
SELECT j.id || '-' || p.key AS id,
       coalesce(j.result ->> '$.correlation_id', j.id || '') AS session_id,
       j.result ->> '$.node_type' AS node_type, p.key AS phase,
       p.value AS duration_ms, NULL AS memory_usage_mb, NULL AS cpu_percent,
       j.result ->> '$.cache_hit' AS cache_hit,
       j.result ->> '$.workers' > 1 AS parallel_execution,
       j.result ->> '$.workers' AS worker_count,
       json_object('job', j.id, 'attempt', j.attempt) AS metadata,
       j.finished_ms AS created_at
  FROM generation_jobs j, json_each(j.result, '$.phases') p
 WHERE j.state = 'done' AND p.type = 'integer' AND p.value >= 0
   AND p.key IN ('prd_analysis', 'template_load', 'code_gen', 'validation',
                 'persistence', 'total');

-- Percentiles are interpolated as PostgreSQL's percentile_cont does.
CREATE VIEW performance_metrics_summary AS
WITH ranked AS (
  SELECT *, row_number() OVER (PARTITION BY phase ORDER BY duration_ms) - 1 AS place,
         count(*) OVER (PARTITION BY phase) - 1 AS last_place
    FROM generation_performance_metrics
)
SELECT phase, count(*) AS execution_count,
       round(avg(duration_ms), 2) AS avg_duration_ms,
       round(sum(duration_ms * max(0.0, 1.0 - abs(place - 0.95 * last_place))), 2)
         AS p95_duration_ms,
       round(sum(duration_ms * max(0.0, 1.0 - abs(place - 0.99 * last_place))), 2)
         AS p99_duration_ms,
       sum(cache_hit) AS cache_hits,
       sum(parallel_execution) AS parallel_executions,
       round(avg(worker_count), 1) AS avg_workers
  FROM ranked GROUP BY phase;

-- Templates by their use; the rows that were not used for longest go first.
CREATE TABLE template_cache_metadata (
  template_name    TEXT PRIMARY KEY,
  template_type    TEXT NOT NULL
                   CHECK (template_type IN ('node', 'contract', 'subcontract', 'mixin', 'test')),
  cache_key        TEXT NOT NULL,
  file_path        TEXT NOT NULL,
  file_hash        TEXT NOT NULL,  -- SHA-256
  size_bytes       INTEGER,
  load_time_ms     REAL,           -- the last time that it was compiled
  last_accessed_at INTEGER,        -- wall clock, milliseconds, as the next two
  access_count     INTEGER NOT NULL DEFAULT 0 CHECK (access_count >= 0),
  cache_hits       INTEGER NOT NULL DEFAULT 0 CHECK (cache_hits >= 0),
  cache_misses     INTEGER NOT NULL DEFAULT 0 CHECK (cache_misses >= 0),
  created_at       INTEGER NOT NULL,
  updated_at       INTEGER NOT NULL
) WITHOUT ROWID;

CREATE VIEW template_cache_efficiency AS
SELECT template_type, count(*) AS template_count,
       round(avg(cache_hits), 1) AS avg_cache_hits,
       round(avg(cache_misses), 1) AS avg_cache_misses,
       round(1.0 * sum(cache_hits) / nullif(sum(cache_hits + cache_misses), 0), 3)
         AS hit_rate,
       round(avg(load_time_ms), 2) AS avg_load_time_ms,
       round(sum(size_bytes) / 1048576.0, 2) AS total_size_mb
  FROM template_cache_metadata GROUP BY template_type;
