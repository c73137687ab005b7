-- SPDX-License-Identifier: Apache-2.0
-- Jobs of this host that were leased from the central queue, and what became
-- of their ends there.
CREATE TABLE central_jobs (
  job_id     INTEGER PRIMARY KEY,   -- in generation_jobs
  central_id INTEGER NOT NULL,      -- in tidemill.job_queue at the centre
  attempt    INTEGER NOT NULL,      -- there, from 1
  token      INTEGER NOT NULL,      -- of the lease
  report     TEXT                   -- reported; refused or lost, when the lease
                                    -- was; NULL: the lease is held
);
CREATE INDEX central_jobs_held ON central_jobs (job_id) WHERE report IS NULL;
