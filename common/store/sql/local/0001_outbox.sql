-- SPDX-License-Identifier: Apache-2.0
-- The outbox: an append-only log with cursors.
--
-- key = priority << 61 | lane << 55 | id (common/store/reader.h), so that the
-- table is clustered by (priority, lane, id) and needs no index.  token
-- stands before the wide columns: a look for it never reads them.
CREATE TABLE outbox (
  key         INTEGER PRIMARY KEY,
  operation   INTEGER NOT NULL,  -- 1 INSERT, 2 UPDATE, 3 DELETE; 0 unknown (dead)
  created_ms  INTEGER NOT NULL,
  token       INTEGER NOT NULL DEFAULT 0,
  source      INTEGER,           -- source_cursors.number
  source_id   INTEGER,
  table_name  TEXT NOT NULL,
  record_id   TEXT NOT NULL,
  record_data TEXT
);

-- Up to settled_id a stripe (key >> 55) is at the centre, but for what
-- stands in outbox_exceptions; up to claimed_id it is in flight.
CREATE TABLE outbox_cursors (
  stripe     INTEGER PRIMARY KEY,
  settled_id INTEGER NOT NULL,
  claimed_id INTEGER NOT NULL,
  told_id    INTEGER NOT NULL DEFAULT 0  -- the centre has had a range up to here
);

-- Operations that left the line of their stripe.
CREATE TABLE outbox_exceptions (
  key           INTEGER PRIMARY KEY,
  id            INTEGER NOT NULL,
  lane          INTEGER NOT NULL,
  record_hash   INTEGER NOT NULL,
  state         INTEGER NOT NULL,  -- 0 ready, 1 retry, 2 held, 3 in flight,
                                   -- 4 dead, 5 settled (a skip mark),
                                   -- 6 in conflict, or behind one that is
  priority      INTEGER NOT NULL,  -- that it is delivered with
  retry_count   INTEGER NOT NULL DEFAULT 0,
  not_before_ms INTEGER NOT NULL DEFAULT 0,
  sqlstate      TEXT,
  error_message TEXT,
  since_ms      INTEGER NOT NULL DEFAULT 0,
  batch_id      INTEGER,
  resolved_over INTEGER            -- stamp of the centre's row that a person
                                   -- has kept this one over
);
CREATE INDEX outbox_exceptions_record ON outbox_exceptions (record_hash, id)
  WHERE state NOT IN (4, 5);
CREATE INDEX outbox_exceptions_ready ON outbox_exceptions (lane, priority, id)
  WHERE state = 0;
CREATE INDEX outbox_exceptions_retry ON outbox_exceptions (not_before_ms)
  WHERE state = 1;

-- Counters, so that nobody has to scan: pending operations (in flight and
-- waiting ones included, dead ones not), and exceptions by lane and state.
CREATE TABLE outbox_counts (
  table_name TEXT NOT NULL,
  priority   INTEGER NOT NULL,
  pending    INTEGER NOT NULL,
  PRIMARY KEY (table_name, priority)
) WITHOUT ROWID;

CREATE TABLE outbox_states (
  lane       INTEGER NOT NULL,
  state      INTEGER NOT NULL,
  operations INTEGER NOT NULL,
  PRIMARY KEY (lane, state)
) WITHOUT ROWID;

-- Which records a run of ids of one lane may hold (common/store/record_filter.h).
CREATE TABLE outbox_filters (
  key     INTEGER PRIMARY KEY,  -- lane << 55 | first id
  last_id INTEGER NOT NULL,
  filter  BLOB NOT NULL
);

CREATE TABLE sync_batches (
  batch_id     INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again
  epoch        INTEGER NOT NULL,
  slot         INTEGER NOT NULL,
  spawn        INTEGER NOT NULL,
  operations   INTEGER NOT NULL,
  claimed_ms   INTEGER NOT NULL,
  applied      INTEGER,
  refused      INTEGER,
  bytes        INTEGER,
  started_ms   INTEGER,
  finished_ms  INTEGER,            -- NULL: in flight
  trigger_type TEXT
);
CREATE INDEX sync_batches_in_flight ON sync_batches (batch_id)
  WHERE finished_ms IS NULL;

CREATE TABLE sync_batch_ranges (
  stripe   INTEGER NOT NULL,
  last_id  INTEGER NOT NULL,  -- inclusive
  after_id INTEGER NOT NULL,  -- exclusive
  batch_id INTEGER NOT NULL,
  PRIMARY KEY (stripe, last_id)
) WITHOUT ROWID;

CREATE TABLE sync_batch_singles (
  batch_id INTEGER NOT NULL,
  key      INTEGER NOT NULL,
  PRIMARY KEY (batch_id, key)
) WITHOUT ROWID;
CREATE INDEX sync_batch_singles_key ON sync_batch_singles (key, batch_id);

CREATE TABLE sync_metrics (
  id                INTEGER PRIMARY KEY,
  timestamp         INTEGER NOT NULL,  -- wall clock, milliseconds
  operations_synced INTEGER NOT NULL,
  duration_ms       INTEGER NOT NULL,
  trigger_type      TEXT NOT NULL,
  success           INTEGER NOT NULL,
  error_message     TEXT,
  batch_size        INTEGER NOT NULL,
  bytes             INTEGER NOT NULL,
  deferrals         INTEGER NOT NULL,  -- put off before it, under pressure
  figures           TEXT               -- of its events: common/store/figures.h
);
CREATE INDEX sync_metrics_timestamp ON sync_metrics (timestamp);

-- The same by day (UTC), kept as passes end, so that a week is seven rows.
CREATE TABLE sync_days (
  day         INTEGER PRIMARY KEY,  -- since 1970-01-01
  passes      INTEGER NOT NULL,
  failures    INTEGER NOT NULL,
  operations  INTEGER NOT NULL,
  bytes       INTEGER NOT NULL,
  deferrals   INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL,     -- of all passes together
  durations   TEXT NOT NULL DEFAULT '{}' -- JSON: {most ms of a class: passes}
);

-- How far each source's own outbox was copied.
CREATE TABLE source_cursors (
  number     INTEGER PRIMARY KEY,
  source     TEXT NOT NULL UNIQUE,
  cursor     INTEGER NOT NULL,
  identity   TEXT NOT NULL DEFAULT '',
  updated_ms INTEGER NOT NULL,
  error      TEXT NOT NULL DEFAULT '' -- why it is not read; '' when it is
);

CREATE TABLE store_meta (
  name  TEXT PRIMARY KEY,
  value NOT NULL
) WITHOUT ROWID;

-- For people and their queries; the columns are a public contract.
CREATE VIEW sync_queue AS
SELECT q.id, q.operation, q.table_name, q.record_id, q.record_data, q.priority,
       strftime('%Y-%m-%dT%H:%M:%fZ', q.created_ms / 1000.0, 'unixepoch') AS created_at,
       CASE WHEN q.status = 'synced' THEN
         (SELECT strftime('%Y-%m-%dT%H:%M:%fZ', b.finished_ms / 1000.0, 'unixepoch')
            FROM sync_batches b WHERE b.batch_id = q.batch_id) END AS synced_at,
       q.retry_count, q.error_message, q.status, q.batch_id, q.source, q.source_id
  FROM (
    SELECT o.key & 36028797018963967 AS id,
           CASE o.operation WHEN 1 THEN 'INSERT' WHEN 2 THEN 'UPDATE'
             WHEN 3 THEN 'DELETE' ELSE 'UNKNOWN' END AS operation,
           o.table_name, o.record_id, o.record_data, o.created_ms,
           CASE o.key >> 61 WHEN 0 THEN 'urgent' WHEN 1 THEN 'high'
             WHEN 2 THEN 'normal' ELSE 'low' END AS priority,
           COALESCE(x.retry_count, 0) AS retry_count, x.error_message,
           CASE
             WHEN x.state IN (0, 1, 2) THEN 'pending'
             WHEN x.state = 3 THEN 'in_flight'
             WHEN x.state = 4 THEN 'dead'
             WHEN x.state = 5 THEN 'synced'
             WHEN x.state = 6 THEN 'conflict'
             WHEN (o.key & 36028797018963967) <= c.settled_id THEN 'synced'
             WHEN (o.key & 36028797018963967) <= c.claimed_id THEN 'in_flight'
             ELSE 'pending' END AS status,
           CASE WHEN x.state IN (0, 1, 2) THEN NULL ELSE COALESCE(
             (SELECT max(s.batch_id) FROM sync_batch_singles s WHERE s.key = o.key),
             (SELECT r.batch_id FROM sync_batch_ranges r
               WHERE r.stripe = o.key >> 55
                 AND r.last_id >= (o.key & 36028797018963967)
                 AND r.after_id < (o.key & 36028797018963967)
               ORDER BY r.last_id LIMIT 1)) END AS batch_id,
           (SELECT n.source FROM source_cursors n WHERE n.number = o.source) AS source,
           o.source_id
      FROM outbox o
      LEFT JOIN outbox_cursors c ON c.stripe = o.key >> 55
      LEFT JOIN outbox_exceptions x ON x.key = o.key) q;

CREATE VIEW sync_dead AS
SELECT x.id,
       CASE o.operation WHEN 1 THEN 'INSERT' WHEN 2 THEN 'UPDATE'
         WHEN 3 THEN 'DELETE' ELSE 'UNKNOWN' END AS operation,
       o.table_name, o.record_id, o.record_data,
       CASE o.key >> 61 WHEN 0 THEN 'urgent' WHEN 1 THEN 'high'
         WHEN 2 THEN 'normal' ELSE 'low' END AS priority,
       x.retry_count, x.sqlstate, x.error_message,
       strftime('%Y-%m-%dT%H:%M:%fZ', x.since_ms / 1000.0, 'unixepoch') AS dead_since
  FROM outbox_exceptions x JOIN outbox o ON o.key = x.key
 WHERE x.state = 4;
