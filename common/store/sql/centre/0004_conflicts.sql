-- SPDX-License-Identifier: Apache-2.0
-- Tables that several hosts write: one row a record, whoever wrote it, so
-- system_id cannot be part of its key.  A distributed PostgreSQL shards
-- shared_records by record_id, and a shared typed target by its key column.

CREATE TABLE tidemill.shared_records (
    table_name text COLLATE "C" NOT NULL,
    record_id  text COLLATE "C" NOT NULL,
    data       jsonb,
    stamp      bigint NOT NULL,
    system_id  text COLLATE "C" NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    change     smallint NOT NULL,
    seen       bigint NOT NULL,
    deleted    boolean NOT NULL GENERATED ALWAYS AS (change = 3) STORED,
    PRIMARY KEY (table_name, record_id)
);
COMMENT ON TABLE tidemill.shared_records IS
    'Records of tables with a rule for conflicts; without data: deleted, or in a typed target.';
COMMENT ON COLUMN tidemill.shared_records.stamp IS
    'What newer means: the version, or the time of the change in milliseconds since 1970; never goes back.';
COMMENT ON COLUMN tidemill.shared_records.system_id IS 'Who wrote it last.';
COMMENT ON COLUMN tidemill.shared_records.change IS
    'What the last change did: 1 set it, 2 merged into it, 3 deleted it.';
COMMENT ON COLUMN tidemill.shared_records.seen IS
    'Up to which stamp the last change knew the record.';

-- What the record is after a change of it.
CREATE FUNCTION tidemill.changed_data(
    change integer, before jsonb, now_data jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN change = 2 AND jsonb_typeof(before) = 'object'
                THEN before || now_data ELSE now_data END
$$;

-- A record of a typed target as it is now.
CREATE FUNCTION tidemill.typed_row(target tidemill.target, record text)
RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    row_data jsonb;
BEGIN
    EXECUTE format('SELECT to_jsonb(t) - ''system_id'' FROM %s AS t'
            ' WHERE t.%I::text = $1',
            (SELECT string_agg(quote_ident(p), '.' ORDER BY n)
             FROM unnest(string_to_array(target.name, '.'))
                  WITH ORDINALITY AS parts (p, n)), target.key)
        INTO row_data USING record;
    RETURN row_data;
END $$;

-- Whose change stands when the centre's row is one that the change had not
-- seen.  The rules are those of the client's enum conflict_rule.
CREATE FUNCTION tidemill.conflict_outcome(
    rule integer, stamp bigint, system text, centre_stamp bigint,
    centre_system text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE rule
        WHEN 1 THEN CASE WHEN (stamp, system COLLATE "C")
                              > (centre_stamp, centre_system COLLATE "C")
                         THEN 'won' ELSE 'lost' END
        WHEN 2 THEN 'won'
        WHEN 3 THEN 'lost'
        ELSE 'parked' END
$$;

-- The units whose rows another host wrote: they were not changed.  An index
-- is asked for each, also by a plan made while the table was small.
CREATE FUNCTION tidemill.opposed_units(
    system text, units tidemill.unit[], targets tidemill.target[])
RETURNS tidemill.unit[] LANGUAGE sql STABLE
SET enable_seqscan = off AS $$
    SELECT array_agg(x::tidemill.unit) FROM unnest(units) AS x
    WHERE x.typed > 0 AND (targets[x.typed]).rule > 0
      AND system <> (SELECT r.system_id FROM tidemill.shared_records AS r
                     WHERE r.table_name = x.table_name
                       AND r.record_id = x.record_id)
$$;

-- The changes that meet no conflict; returns the units that do, their rows
-- locked.  In the order of their keys, so that two hosts at once wait for
-- each other and not in a circle.
CREATE FUNCTION tidemill.apply_unopposed(
    system text, units tidemill.unit[], targets tidemill.target[],
    latest bigint) RETURNS tidemill.unit[]
LANGUAGE plpgsql AS $$
DECLARE
    expected bigint := (SELECT count(*) FROM unnest(units) AS x
                        WHERE x.typed > 0 AND (targets[x.typed]).rule > 0);
    applied bigint;
BEGIN
    INSERT INTO tidemill.shared_records AS r
        (table_name, record_id, data, stamp, system_id, change, seen)
    SELECT x.table_name, x.record_id,
        CASE WHEN x.kind < 3 AND t.name = '' THEN x.data::jsonb END,
        CASE WHEN t.timed THEN least(x.stamp, latest) ELSE x.stamp END,
        system, x.kind, x.seen
    FROM unnest(units) AS x
    JOIN unnest(targets) WITH ORDINALITY AS t (name, key, rule, timed, n)
        ON t.n = x.typed
    WHERE t.rule > 0
    ORDER BY x.table_name COLLATE "C", x.record_id COLLATE "C"
    ON CONFLICT (table_name, record_id) DO UPDATE
    SET data = tidemill.changed_data(excluded.change, r.data, excluded.data),
        stamp = greatest(r.stamp, excluded.stamp),
        system_id = excluded.system_id, updated_at = now(),
        change = excluded.change, seen = excluded.seen
    WHERE r.system_id = excluded.system_id OR r.stamp <= excluded.seen;
    GET DIAGNOSTICS applied = ROW_COUNT;
    RETURN CASE WHEN applied < expected
                THEN tidemill.opposed_units(system, units, targets) END;
END $$;

-- The shared ones of the units.  A unit whose first operation meets no
-- conflict applies whole: the others then meet their own row.  One that does
-- is taken apart.
--
-- Of the centre's rows 8 MB at most go back with one batch, larger data
-- stays here: the conflict tells of it without.
CREATE FUNCTION tidemill.apply_shared(
    system text, units tidemill.unit[], ops tidemill.operation[],
    targets tidemill.target[]) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    latest bigint := (extract(epoch FROM clock_timestamp()) * 1000)::bigint
                     + 60000;
    room integer := 8388608;
    told jsonb := '[]';
    opposed tidemill.unit[] := tidemill.apply_unopposed(system, units,
                                                        targets, latest);
    won tidemill.unit[] := '{}';
    u tidemill.unit;
    target tidemill.target;
    there tidemill.shared_records;
    mine bigint;
    outcome text;
    centre jsonb;
    part record;
BEGIN
    FOREACH u IN ARRAY coalesce(opposed, '{}') LOOP
        IF u.count > 1 THEN
            told := told || tidemill.apply_each(system, u, ops, targets);
            CONTINUE;
        END IF;
        -- What cannot be JSON is refused, not lost.
        PERFORM u.data::jsonb;
        target := targets[u.typed];
        mine := CASE WHEN target.timed THEN least(u.stamp, latest)
                     ELSE u.stamp END;
        SELECT * INTO there FROM tidemill.shared_records AS s
        WHERE s.table_name = u.table_name AND s.record_id = u.record_id;
        outcome := tidemill.conflict_outcome(target.rule, mine, system,
            there.stamp, there.system_id);
        centre := CASE WHEN there.deleted THEN NULL
                       WHEN target.name = '' THEN there.data
                       ELSE tidemill.typed_row(target, u.record_id) END;
        room := room - coalesce(length(centre::text), 0);
        told := told || to_jsonb((outcome, ops[u.first].key, '', '',
            target.rule, mine, there.stamp, there.system_id, there.deleted,
            CASE WHEN room >= 0 THEN centre END, NOT target.timed
            )::tidemill.told);
        CONTINUE WHEN outcome <> 'won';
        UPDATE tidemill.shared_records AS s
        SET data = tidemill.changed_data(u.kind, s.data,
                CASE WHEN u.kind < 3 AND target.name = ''
                     THEN u.data::jsonb END),
            stamp = greatest(s.stamp, mine), system_id = system,
            updated_at = now(), change = u.kind, seen = u.seen
        WHERE s.table_name = u.table_name AND s.record_id = u.record_id;
        won := array_append(won, u);
    END LOOP;
    IF EXISTS (SELECT FROM unnest(targets) AS t
               WHERE t.rule > 0 AND t.name <> '') THEN
        FOR part IN
            SELECT w.typed, w.kind, array_agg(w.record_id) AS records,
                   array_agg(w.data) AS data
            FROM (SELECT x.* FROM unnest(units) AS x
                  WHERE NOT EXISTS (SELECT FROM unnest(opposed) AS o
                                    WHERE o.table_name = x.table_name
                                      AND o.record_id = x.record_id)
                  UNION ALL SELECT x.* FROM unnest(won) AS x) AS w
            WHERE w.typed > 0 AND (targets[w.typed]).rule > 0
              AND (targets[w.typed]).name <> ''
            GROUP BY w.typed, w.kind
        LOOP
            PERFORM tidemill.apply_typed(system, (targets[part.typed]).name,
                (targets[part.typed]).key, part.kind, part.records, part.data,
                true);
        END LOOP;
    END IF;
    RETURN told;
END $$;

-- As apply_batch, with units of shared tables behind the folded ones.
CREATE FUNCTION tidemill.apply_batch_shared(
    system text, batch_epoch bigint, batch bigint, operation_count integer,
    batch_line bigint[],
    set_tables text[], set_records text[], set_data text[],
    merge_tables text[], merge_records text[], merge_data text[],
    gone_tables text[], gone_records text[],
    typed_targets text[], typed_keys text[], typed_kinds integer[],
    typed_counts integer[], typed_records text[], typed_data text[],
    unit_kinds integer[], unit_typed integer[],
    unit_tables text[], unit_records text[], unit_data text[],
    unit_counts integer[], unit_stamps bigint[], unit_seens bigint[],
    op_keys bigint[], op_kinds integer[], op_data text[],
    op_stamps bigint[], op_seens bigint[],
    target_names text[], target_keys text[], target_rules integer[],
    target_timed integer[])
RETURNS SETOF tidemill.told LANGUAGE plpgsql AS $$
BEGIN
    IF NOT tidemill.enter_batch(system, batch_epoch, batch, operation_count,
                                batch_line) THEN
        RETURN QUERY SELECT * FROM tidemill.past_result(system, batch_epoch,
                                                        batch, 'repeated');
        RETURN;
    END IF;
    PERFORM tidemill.apply_folded(system,
        set_tables, set_records, set_data,
        merge_tables, merge_records, merge_data, gone_tables, gone_records,
        typed_targets, typed_keys, typed_kinds, typed_counts, typed_records,
        typed_data);
    RETURN QUERY SELECT * FROM tidemill.leave_batch(system, batch_epoch, batch,
        tidemill.apply_shared(system,
            tidemill.make_units(unit_kinds, unit_typed, unit_tables,
                unit_records, unit_data, unit_counts, unit_stamps,
                unit_seens),
            tidemill.make_operations(op_keys, op_kinds, op_data, op_stamps,
                op_seens),
            tidemill.make_targets(target_names, target_keys, target_rules,
                target_timed)));
END $$;
