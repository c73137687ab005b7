-- SPDX-License-Identifier: Apache-2.0
-- What agents tell (hook events), and samples of the daemon's metrics.
CREATE TABLE hook_events (
  id             INTEGER PRIMARY KEY,
  event_id       TEXT NOT NULL UNIQUE,
  session_id     TEXT,
  hook_type      TEXT NOT NULL,
  hook_timestamp INTEGER NOT NULL,  -- wall clock, milliseconds
  tool_name      TEXT,
  file_path      TEXT,
  event_data     TEXT NOT NULL
);

CREATE TABLE metric_samples (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  timestamp INTEGER NOT NULL,  -- wall clock, milliseconds
  metrics   TEXT NOT NULL
);
