-- SPDX-License-Identifier: Apache-2.0
-- What the centre knows of the stores that send to it, so that the ledger
-- need not keep every batch, and a store that was put back from a backup can
-- be told what of it is here already.
--
-- line (of a batch, common to all sinks; see workers/sync/sink.h):
-- {settled, store_id, host, ranges, singles, key..., key..., key...}: up to
-- which batch_id all are settled at the host, who it is, how many keys of
-- range ends and of singles follow, these, and the keys within its ranges
-- that it left out.

CREATE TABLE tidemill.stores (
    system_id     text COLLATE "C" NOT NULL,
    epoch         bigint NOT NULL,
    store_id      bigint NOT NULL,  -- of the local store, for its life
    host          bigint NOT NULL,  -- which machine and folder it is in
    settled_batch bigint NOT NULL DEFAULT 0,
    marks         bigint[] NOT NULL DEFAULT '{}',
    seen_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (system_id, epoch)
);
COMMENT ON TABLE tidemill.stores IS
    'One row for each store and epoch. Batches up to settled_batch are never '
    'sent again and not in the ledger any more; marks has for each stripe '
    '(key >> 55) the key up to which those batches carried it.';

CREATE TABLE tidemill.out_of_line (
    system_id text COLLATE "C" NOT NULL,
    epoch     bigint NOT NULL,
    key       bigint NOT NULL,
    applied   boolean NOT NULL,
    PRIMARY KEY (system_id, epoch, key)
);
CREATE INDEX out_of_line_applied ON tidemill.out_of_line
    (system_id, epoch, key) WHERE applied;
COMMENT ON TABLE tidemill.out_of_line IS
    'Operations that stores.marks says wrong of: below the mark and not '
    'applied, or above it and applied.';

CREATE FUNCTION tidemill.merge_marks(a bigint[], b bigint[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(array_agg(m.key), '{}')
    FROM (SELECT max(k) AS key FROM unnest(a || b) AS k GROUP BY k >> 55) AS m
$$;

CREATE FUNCTION tidemill.mark_of(marks bigint[], key bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(max(m), 0) FROM unnest(marks) AS m
    WHERE m >> 55 = key >> 55
$$;

-- One batch's operations that left their line, after the marks were moved.
CREATE FUNCTION tidemill.fold_exceptions(
    system text, batch_epoch bigint, marks bigint[],
    singles bigint[], left_out bigint[], refused bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tidemill.out_of_line
    SELECT system, batch_epoch, k, false FROM unnest(left_out) AS k
    ON CONFLICT DO NOTHING;
    DELETE FROM tidemill.out_of_line AS o
    WHERE o.system_id = system AND o.epoch = batch_epoch
      AND o.key = ANY (singles) AND o.key <> ALL (refused);
    INSERT INTO tidemill.out_of_line
    SELECT system, batch_epoch, k, true FROM unnest(singles) AS k
    WHERE k > tidemill.mark_of(marks, k) AND k <> ALL (refused)
    ON CONFLICT (system_id, epoch, key) DO UPDATE SET applied = true;
    INSERT INTO tidemill.out_of_line
    SELECT system, batch_epoch, k, false FROM unnest(refused) AS k
    WHERE k <= tidemill.mark_of(marks, k)
    ON CONFLICT (system_id, epoch, key) DO UPDATE SET applied = false;
END $$;

-- Takes the oldest `most` batches up to up_to out of the ledger, into
-- stores and out_of_line.  When another batch is at it there is nothing to
-- do.
CREATE FUNCTION tidemill.fold_batches(
    system text, batch_epoch bigint, up_to bigint, most integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    store tidemill.stores;
    entry record;
    singles_at integer;
    rest_at integer;
    refused bigint[];
    folded integer := 0;
BEGIN
    SELECT * INTO store FROM tidemill.stores AS s
    WHERE s.system_id = system AND s.epoch = batch_epoch
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOR entry IN
        SELECT l.batch_id, l.line, l.refusals FROM tidemill.ledger AS l
        WHERE l.system_id = system AND l.epoch = batch_epoch
          AND l.batch_id <= up_to
        ORDER BY l.batch_id LIMIT most
    LOOP
        folded := folded + 1;
        store.settled_batch := greatest(store.settled_batch, entry.batch_id);
        CONTINUE WHEN coalesce(cardinality(entry.line), 0) < 5;
        singles_at := 6 + entry.line[4];
        rest_at := singles_at + entry.line[5];
        store.marks := tidemill.merge_marks(store.marks,
                                            entry.line[6:singles_at - 1]);
        refused := ARRAY(SELECT (x ->> 'operation_key')::bigint FROM
            jsonb_array_elements(coalesce(entry.refusals, '[]')) AS x
            WHERE x ->> 'outcome' IN ('refused', 'held', 'parked'));
        IF cardinality(entry.line) >= singles_at OR cardinality(refused) > 0
        THEN
            PERFORM tidemill.fold_exceptions(system, batch_epoch, store.marks,
                entry.line[singles_at:rest_at - 1], entry.line[rest_at:],
                refused);
        END IF;
    END LOOP;
    DELETE FROM tidemill.ledger AS l
    WHERE l.system_id = system AND l.epoch = batch_epoch
      AND l.batch_id <= store.settled_batch;
    DELETE FROM tidemill.out_of_line AS o
    WHERE o.system_id = system AND o.epoch = batch_epoch AND o.applied
      AND o.key <= tidemill.mark_of(store.marks, o.key);
    IF folded < most THEN
        store.settled_batch := greatest(store.settled_batch, up_to);
    END IF;
    UPDATE tidemill.stores AS s
    SET settled_batch = store.settled_batch, marks = store.marks,
        seen_at = now()
    WHERE s.system_id = system AND s.epoch = batch_epoch;
END $$;

-- May this batch be entered?  False: it was applied and settled long ago.
-- From a store whose epoch is over nothing is taken (see begin_epoch).
CREATE FUNCTION tidemill.admit_batch(
    system text, batch_epoch bigint, batch bigint, line bigint[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    settled bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(system, 8388346));
    SELECT s.settled_batch INTO settled FROM tidemill.stores AS s
    WHERE s.system_id = system AND s.epoch = batch_epoch;
    IF NOT FOUND THEN
        IF EXISTS (SELECT FROM tidemill.stores AS s
                   WHERE s.system_id = system AND s.epoch > batch_epoch) THEN
            RAISE SQLSTATE 'TM001' USING MESSAGE = format(
                'epoch %s of system.id %s is over', batch_epoch, system);
        END IF;
        INSERT INTO tidemill.stores (system_id, epoch, store_id, host)
        VALUES (system, batch_epoch, coalesce(line[2], 0),
                coalesce(line[3], 0))
        ON CONFLICT DO NOTHING;
    ELSIF batch <= settled THEN
        RETURN false;
    END IF;
    RETURN true;
END $$;

-- What a store is shown at its first contact; no row: nothing is known of
-- this system.  highest is the highest batch of its own epoch, NULL when
-- that is not known here.
CREATE FUNCTION tidemill.contact(
    system text, own_epoch bigint, own_host bigint)
RETURNS TABLE (newest_epoch bigint, store_id bigint, host bigint,
               idle_ms bigint, highest bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    SELECT s.epoch, s.store_id, s.host,
           (extract(epoch FROM now() - s.seen_at) * 1000)::bigint
    INTO newest_epoch, store_id, host, idle_ms
    FROM tidemill.stores AS s WHERE s.system_id = system
    ORDER BY s.epoch DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT greatest(s.settled_batch, (
               SELECT max(l.batch_id) FROM tidemill.ledger AS l
               WHERE l.system_id = system AND l.epoch = own_epoch))
    INTO highest FROM tidemill.stores AS s
    WHERE s.system_id = system AND s.epoch = own_epoch;
    UPDATE tidemill.stores AS s SET seen_at = now()
    WHERE s.system_id = system AND s.epoch = own_epoch AND s.host = own_host;
    RETURN NEXT;
END $$;

-- A store that went back in time begins a new epoch, the newest of its
-- system: its earlier ones are over.  kind 0: the epoch; 1: a mark; 2: below
-- its mark and not applied; 3: above its mark and applied.
CREATE FUNCTION tidemill.begin_epoch(
    system text, own_store bigint, own_epoch bigint, own_host bigint)
RETURNS TABLE (kind integer, value bigint)
LANGUAGE plpgsql AS $$
DECLARE
    old tidemill.stores;
    next bigint;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(system, 8388346));
    SELECT greatest(max(s.epoch), own_epoch) + 1 INTO next
    FROM tidemill.stores AS s WHERE s.system_id = system;
    SELECT s.epoch INTO old.epoch FROM tidemill.stores AS s
    WHERE s.system_id = system AND s.store_id = own_store
    ORDER BY s.epoch DESC LIMIT 1
    FOR UPDATE;  -- fold_batches would pass by a row that is in use
    PERFORM tidemill.fold_batches(system, old.epoch, 9223372036854775807,
                                  2147483647);
    SELECT * INTO old FROM tidemill.stores AS s
    WHERE s.system_id = system AND s.epoch = old.epoch;
    DELETE FROM tidemill.stores AS s
    WHERE s.system_id = system AND s.store_id = own_store;
    INSERT INTO tidemill.stores (system_id, epoch, store_id, host, marks)
    VALUES (system, next, own_store, own_host, coalesce(old.marks, '{}'));
    UPDATE tidemill.out_of_line AS o SET epoch = next
    WHERE o.system_id = system AND o.epoch = old.epoch;
    RETURN QUERY
        SELECT 0, next
        UNION ALL SELECT 1, m FROM unnest(old.marks) AS m
        UNION ALL SELECT CASE WHEN o.applied THEN 3 ELSE 2 END, o.key
        FROM tidemill.out_of_line AS o
        WHERE o.system_id = system AND o.epoch = next;
END $$;
