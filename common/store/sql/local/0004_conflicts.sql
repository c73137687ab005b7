-- SPDX-License-Identifier: Apache-2.0
-- Operations whose record stood at the centre otherwise than they knew.  A
-- stamp is a version, or a time in milliseconds (workers/sync/stamp.h).
CREATE TABLE sync_conflicts (
  id             INTEGER PRIMARY KEY,
  key            INTEGER NOT NULL,   -- of the operation in the outbox
  table_name     TEXT NOT NULL,
  record_id      TEXT NOT NULL,
  operation      INTEGER NOT NULL,   -- as in outbox
  rule           TEXT NOT NULL,
  outcome        TEXT NOT NULL,      -- won, lost, parked
  versioned      INTEGER NOT NULL,   -- stamps are versions
  local_stamp    INTEGER NOT NULL,
  centre_stamp   INTEGER NOT NULL,
  local_data     TEXT,
  centre_data    TEXT,               -- NULL: deleted, or too large to send
  centre_system  TEXT NOT NULL,
  centre_deleted INTEGER NOT NULL,
  detected_ms    INTEGER NOT NULL,
  resolved_ms    INTEGER,            -- NULL: a person must decide
  resolution     TEXT,               -- rule, local, centre
  resolved_by    TEXT
);
CREATE INDEX sync_conflicts_open ON sync_conflicts (key)
  WHERE resolved_ms IS NULL;

-- For applications: rows of the centre that stood against one of this host.
CREATE TABLE centre_records (
  table_name  TEXT NOT NULL,
  record_id   TEXT NOT NULL,
  data        JSON,                  -- NULL when deleted
  updated_at  TIMESTAMP,             -- NULL when the table has versions
  version     INTEGER,
  deleted     INTEGER NOT NULL,
  system_id   TEXT NOT NULL,         -- who wrote it
  received_ms INTEGER NOT NULL,
  PRIMARY KEY (table_name, record_id)
) WITHOUT ROWID;
