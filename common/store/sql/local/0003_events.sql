-- SPDX-License-Identifier: Apache-2.0
-- What agents tell (hook events), what is folded into summaries, and
-- samples of the daemon's metrics.
CREATE TABLE hook_events (
  id             INTEGER PRIMARY KEY,  -- ascending; never used again
  event_id       TEXT NOT NULL UNIQUE,
  session_id     TEXT,
  task_id        TEXT,
  hook_type      TEXT NOT NULL,
  hook_timestamp INTEGER NOT NULL,     -- wall clock, milliseconds
  tool_name      TEXT,
  file_path      TEXT,
  success        INTEGER,              -- 0, 1 or not said
  priority       INTEGER NOT NULL,
  event_data     TEXT NOT NULL
);

-- Operations of the other tables with an aggregate: detail, which stays.
CREATE TABLE sync_details (
  key         INTEGER PRIMARY KEY,  -- aggregates.number << 48 | id, ascending
  operation   INTEGER NOT NULL,
  priority    INTEGER NOT NULL,
  created_ms  INTEGER NOT NULL,
  token       INTEGER NOT NULL,
  source      INTEGER,              -- source_cursors.number
  source_id   INTEGER,
  record_id   TEXT NOT NULL,
  record_data TEXT
);

-- How far each table's detail is folded.
CREATE TABLE aggregates (
  number      INTEGER PRIMARY KEY,
  table_name  TEXT NOT NULL UNIQUE,
  active      INTEGER NOT NULL,   -- 0: operations go as they are
  first_id    INTEGER NOT NULL,   -- detail up to here belongs to no summary
  folded_id   INTEGER NOT NULL,
  definition  TEXT NOT NULL       -- JSON (common/config/aggregate.h)
);

-- The running values of each summary.
CREATE TABLE aggregate_groups (
  id         INTEGER PRIMARY KEY,
  number     INTEGER NOT NULL,           -- aggregates.number
  record_id  TEXT NOT NULL,              -- of the summary
  reported   INTEGER NOT NULL DEFAULT 0, -- 1: the outbox has had it
  news       INTEGER NOT NULL,           -- details since it was last reported
  due_ms     INTEGER,                    -- when to report; NULL: no news
  priority   INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  state      TEXT NOT NULL,              -- JSON
  UNIQUE (number, record_id)
);
CREATE INDEX aggregate_groups_due ON aggregate_groups (due_ms)
  WHERE due_ms IS NOT NULL;

CREATE TABLE metric_samples (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  timestamp INTEGER NOT NULL,  -- wall clock, milliseconds
  metrics   TEXT NOT NULL
);
