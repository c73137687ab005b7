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
    deleted    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (table_name, record_id)
);
COMMENT ON TABLE tidemill.shared_records IS
    'Records of tables with a rule for conflicts; without data: deleted, or in a typed target.';
COMMENT ON COLUMN tidemill.shared_records.stamp IS
    'What newer means: the version, or the time of the change in milliseconds since 1970; never goes back.';
COMMENT ON COLUMN tidemill.shared_records.system_id IS 'Who wrote it last.';

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

-- The shared ones of the units, in the order of their keys, so that two
-- hosts at once wait for each other and never in a circle.  A unit whose
-- first operation meets no conflict applies whole: the others then meet
-- their own row.  One that does is taken apart.
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
    winners tidemill.unit[] := '{}';
    u tidemill.unit;
    target tidemill.target;
    there tidemill.shared_records;
    mine bigint;
    outcome text;
    centre jsonb;
    part record;
BEGIN
    FOR u IN
        SELECT x.* FROM unnest(units) AS x
        WHERE x.typed > 0 AND (targets[x.typed]).rule > 0
        ORDER BY x.table_name COLLATE "C", x.record_id COLLATE "C"
    LOOP
        target := targets[u.typed];
        mine := CASE WHEN target.timed THEN least(u.stamp, latest)
                     ELSE u.stamp END;
        LOOP
            SELECT * INTO there FROM tidemill.shared_records AS s
            WHERE s.table_name = u.table_name AND s.record_id = u.record_id
            FOR UPDATE;
            EXIT WHEN FOUND;
            INSERT INTO tidemill.shared_records
                (table_name, record_id, data, stamp, system_id, deleted)
            VALUES (u.table_name, u.record_id,
                CASE WHEN u.kind < 3 AND target.name = ''
                     THEN u.data::jsonb END,
                mine, system, u.kind = 3)
            ON CONFLICT DO NOTHING;
            EXIT WHEN FOUND;
        END LOOP;
        IF there.system_id IS NOT NULL THEN
            IF there.system_id <> system AND there.stamp > u.seen THEN
                IF u.count > 1 THEN
                    told := told || tidemill.apply_each(system, u, ops,
                                                          targets);
                    CONTINUE;
                END IF;
                -- What cannot be JSON is refused, not lost.
                PERFORM u.data::jsonb;
                outcome := tidemill.conflict_outcome(target.rule, mine,
                    system, there.stamp, there.system_id);
                centre := CASE WHEN there.deleted THEN NULL
                               WHEN target.name = '' THEN there.data
                               ELSE tidemill.typed_row(target, u.record_id)
                               END;
                room := room - coalesce(length(centre::text), 0);
                told := told || to_jsonb((outcome, ops[u.first].key, '', '',
                    target.rule, mine, there.stamp, there.system_id,
                    there.deleted, CASE WHEN room >= 0 THEN centre END,
                    NOT target.timed)::tidemill.told);
                CONTINUE WHEN outcome <> 'won';
            END IF;
            UPDATE tidemill.shared_records AS s
            SET data = CASE
                    WHEN u.kind = 3 OR target.name <> '' THEN NULL
                    WHEN u.kind = 2 AND jsonb_typeof(s.data) = 'object'
                        THEN s.data || u.data::jsonb
                    ELSE u.data::jsonb END,
                stamp = greatest(s.stamp, mine), system_id = system,
                updated_at = now(), deleted = u.kind = 3
            WHERE s.table_name = u.table_name AND s.record_id = u.record_id;
        END IF;
        IF target.name <> '' THEN
            winners := array_append(winners, u);
        END IF;
    END LOOP;
    FOR part IN
        SELECT w.typed, w.kind, array_agg(w.record_id) AS records,
               array_agg(w.data) AS data
        FROM unnest(winners) AS w GROUP BY w.typed, w.kind
    LOOP
        PERFORM tidemill.apply_typed(system, (targets[part.typed]).name,
            (targets[part.typed]).key, part.kind, part.records, part.data,
            true);
    END LOOP;
    RETURN told;
END $$;

-- As apply_batch, with units of shared tables behind the folded ones.
CREATE FUNCTION tidemill.apply_batch_shared(
    system text, batch_epoch bigint, batch bigint, operation_count integer,
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
    IF NOT tidemill.enter_batch(system, batch_epoch, batch, operation_count)
    THEN
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
