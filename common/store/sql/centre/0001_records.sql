-- SPDX-License-Identifier: Apache-2.0
-- What every host's operations become at the centre.  Keys compare as bytes
-- (COLLATE "C"): no locale's rules in the index, and system_id comes first,
-- so that a distributed PostgreSQL can shard by it.

CREATE TABLE tidemill.ledger (
    system_id  text COLLATE "C" NOT NULL,
    epoch      bigint NOT NULL,
    batch_id   bigint NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    operations integer NOT NULL,
    refusals   jsonb,
    line       bigint[],  -- what it carried: 0005_stores.sql
    PRIMARY KEY (system_id, epoch, batch_id)
);
COMMENT ON TABLE tidemill.ledger IS
    'Batches that were applied and may be sent again: one named here, or '
    'below stores.settled_batch, is never applied again.';

CREATE TABLE tidemill.synced_records (
    system_id  text COLLATE "C" NOT NULL,
    table_name text COLLATE "C" NOT NULL,
    record_id  text COLLATE "C" NOT NULL,
    data       jsonb,
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (system_id, table_name, record_id)
);
COMMENT ON TABLE tidemill.synced_records IS
    'Records of tables without a typed target; deleted ones stay, without data.';
