-- SPDX-License-Identifier: Apache-2.0
-- What is learned from what was generated.  Times are the wall clock's, in
-- milliseconds.
CREATE TABLE mixin_compatibility_matrix (
  id                  INTEGER PRIMARY KEY,
  mixin_a             TEXT NOT NULL CHECK (length(mixin_a) <= 100),
  mixin_b             TEXT NOT NULL CHECK (length(mixin_b) <= 100),
  node_type           TEXT NOT NULL CHECK (node_type IN
                        ('EFFECT', 'COMPUTE', 'REDUCER', 'ORCHESTRATOR')),
  compatibility_score REAL CHECK (compatibility_score BETWEEN 0 AND 1),
  success_count       INTEGER NOT NULL DEFAULT 0,
  failure_count       INTEGER NOT NULL DEFAULT 0,
  last_tested_at      INTEGER,
  conflict_reason     TEXT,
  resolution_pattern  TEXT,
  created_at          INTEGER NOT NULL,
  updated_at          INTEGER NOT NULL,
  UNIQUE (mixin_a, mixin_b, node_type)  -- mixin_a before mixin_b
);

CREATE TABLE pattern_feedback_log (
  id                   INTEGER PRIMARY KEY,
  session_id           TEXT NOT NULL,
  pattern_name         TEXT NOT NULL CHECK (length(pattern_name) <= 100),
  detected_confidence  REAL CHECK (detected_confidence BETWEEN 0 AND 1),
  actual_pattern       TEXT CHECK (length(actual_pattern) <= 100),
  feedback_type        TEXT NOT NULL CHECK (feedback_type IN
                         ('correct', 'incorrect', 'partial', 'adjusted')),
  user_provided        INTEGER NOT NULL DEFAULT 0,
  contract_json        TEXT,
  capabilities_matched TEXT NOT NULL DEFAULT '[]', -- JSON, as those below
  false_positives      TEXT NOT NULL DEFAULT '[]',
  false_negatives      TEXT NOT NULL DEFAULT '[]',
  learning_weight      REAL NOT NULL DEFAULT 1.0
                       CHECK (learning_weight BETWEEN 0 AND 1),
  created_at           INTEGER NOT NULL
);

CREATE VIEW pattern_feedback_analysis AS
SELECT pattern_name, feedback_type, count(*) AS feedback_count,
       round(avg(detected_confidence), 3) AS avg_confidence,
       sum(user_provided) AS user_provided_count,
       round(avg(learning_weight), 3) AS avg_learning_weight
  FROM pattern_feedback_log GROUP BY pattern_name, feedback_type
 ORDER BY pattern_name, feedback_count DESC;
