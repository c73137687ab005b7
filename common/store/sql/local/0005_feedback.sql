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
