-- SPDX-License-Identifier: Apache-2.0
-- The careful way to apply a batch of which something is refused for good:
-- bisection in subtransactions.  A unit that is refused is taken apart into
-- its operations, which are applied one by one up to the refused one.

CREATE TYPE tidemill.unit AS (
    kind       integer,  -- 1 set, 2 merge, 3 gone
    typed      integer,  -- which typed target; 0: synced_records
    table_name text,
    record_id  text,
    data       text,
    first      integer,  -- its operations
    count      integer
);

-- What no later attempt can change (the client has the same list).
CREATE FUNCTION tidemill.is_refusal(code text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT left(code, 2) IN ('21', '22', '23', '44', '54', 'P0')
$$;

CREATE FUNCTION tidemill.apply_units(
    system text, units tidemill.unit[],
    targets text[], target_keys text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    part record;
BEGIN
    -- Deferred constraints must speak here, not at the commit.
    SET CONSTRAINTS ALL DEFERRED;
    PERFORM tidemill.apply_records(system,
        array_agg(u.table_name) FILTER (WHERE u.kind = 1),
        array_agg(u.record_id) FILTER (WHERE u.kind = 1),
        array_agg(u.data) FILTER (WHERE u.kind = 1),
        array_agg(u.table_name) FILTER (WHERE u.kind = 2),
        array_agg(u.record_id) FILTER (WHERE u.kind = 2),
        array_agg(u.data) FILTER (WHERE u.kind = 2),
        array_agg(u.table_name) FILTER (WHERE u.kind = 3),
        array_agg(u.record_id) FILTER (WHERE u.kind = 3))
    FROM unnest(units) AS u WHERE u.typed = 0;
    FOR part IN
        SELECT u.typed, u.kind, array_agg(u.record_id) AS records,
               array_agg(u.data) AS data
        FROM unnest(units) AS u WHERE u.typed > 0
        GROUP BY u.typed, u.kind ORDER BY u.typed, u.kind
    LOOP
        PERFORM tidemill.apply_typed(system, targets[part.typed],
            target_keys[part.typed], part.kind, part.records, part.data);
    END LOOP;
    SET CONSTRAINTS ALL IMMEDIATE;
END $$;

CREATE FUNCTION tidemill.apply_each(
    system text, unit tidemill.unit, op_keys bigint[], op_kinds integer[],
    op_data text[], targets text[], target_keys text[]) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    refusals jsonb := '[]';
    step tidemill.unit := unit;
BEGIN
    FOR i IN unit.first .. unit.first + unit.count - 1 LOOP
        IF refusals <> '[]' THEN
            refusals := refusals || jsonb_build_object(
                'key', op_keys[i], 'held', true, 'code', '',
                'words', 'an earlier operation of this record was refused');
            CONTINUE;
        END IF;
        step.kind := op_kinds[i];
        step.data := op_data[i];
        BEGIN
            PERFORM tidemill.apply_units(system, ARRAY[step], targets,
                                         target_keys);
        EXCEPTION WHEN OTHERS THEN
            IF NOT tidemill.is_refusal(SQLSTATE) THEN
                RAISE;
            END IF;
            refusals := refusals || jsonb_build_object(
                'key', op_keys[i], 'held', false, 'code', SQLSTATE,
                'words', left(SQLERRM, 1000));
        END;
    END LOOP;
    RETURN refusals;
END $$;

CREATE FUNCTION tidemill.apply_range(
    system text, units tidemill.unit[], lower_end integer, upper_end integer,
    op_keys bigint[], op_kinds integer[], op_data text[],
    targets text[], target_keys text[]) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    middle integer := (lower_end + upper_end) / 2;
BEGIN
    IF lower_end > upper_end THEN
        RETURN '[]';
    ELSIF lower_end = upper_end AND units[lower_end].count = 1 THEN
        RETURN tidemill.apply_each(system, units[lower_end], op_keys,
            op_kinds, op_data, targets, target_keys);
    END IF;
    BEGIN
        PERFORM tidemill.apply_units(system, units[lower_end:upper_end],
                                     targets, target_keys);
        RETURN '[]';
    EXCEPTION WHEN OTHERS THEN
        IF NOT tidemill.is_refusal(SQLSTATE) THEN
            RAISE;
        END IF;
    END;
    IF lower_end = upper_end THEN
        RETURN tidemill.apply_each(system, units[lower_end], op_keys,
            op_kinds, op_data, targets, target_keys);
    END IF;
    RETURN tidemill.apply_range(system, units, lower_end, middle, op_keys,
               op_kinds, op_data, targets, target_keys)
        || tidemill.apply_range(system, units, middle + 1, upper_end, op_keys,
               op_kinds, op_data, targets, target_keys);
END $$;

-- The first plain_count units may be tried together, the others are taken
-- apart at once.  The refused_ arrays are what the client could not even
-- send (text that is no UTF-8), and what is held behind it.
CREATE FUNCTION tidemill.apply_carefully(
    system text, batch_epoch bigint, batch bigint, operation_count integer,
    plain_count integer, unit_kinds integer[], unit_typed integer[],
    unit_tables text[], unit_records text[], unit_data text[],
    unit_counts integer[],
    op_keys bigint[], op_kinds integer[], op_data text[],
    targets text[], target_keys text[],
    refused_keys bigint[], refused_codes text[], refused_words text[])
RETURNS TABLE (outcome text, operation_key bigint, is_held boolean,
               code text, words text)
LANGUAGE plpgsql AS $$
DECLARE
    found jsonb;
    units tidemill.unit[];
BEGIN
    IF NOT tidemill.enter_batch(system, batch_epoch, batch, operation_count)
    THEN
        RETURN QUERY SELECT * FROM tidemill.past_result(system, batch_epoch,
                                                        batch);
        RETURN;
    END IF;
    SELECT array_agg((u.k, u.y, u.t, u.i, u.d, u.s - u.c + 1, u.c)::tidemill.unit
                     ORDER BY u.n)
    INTO units
    FROM (SELECT v.*, (sum(v.c) OVER (ORDER BY v.n))::integer AS s
          FROM unnest(unit_kinds, unit_typed, unit_tables, unit_records,
                      unit_data, unit_counts)
               WITH ORDINALITY AS v (k, y, t, i, d, c, n)) AS u;
    SELECT coalesce(jsonb_agg(jsonb_build_object('key', r.k,
               'held', r.c = '', 'code', r.c, 'words', r.w)), '[]')
    INTO found
    FROM unnest(refused_keys, refused_codes, refused_words) AS r (k, c, w);
    found := found || tidemill.apply_range(system, units, 1, plain_count,
        op_keys, op_kinds, op_data, targets, target_keys);
    FOR i IN plain_count + 1 .. coalesce(cardinality(units), 0) LOOP
        found := found || tidemill.apply_each(system, units[i], op_keys,
            op_kinds, op_data, targets, target_keys);
    END LOOP;
    IF found <> '[]' THEN
        UPDATE tidemill.ledger AS l SET refusals = found
        WHERE l.system_id = system AND l.epoch = batch_epoch
          AND l.batch_id = batch;
    END IF;
    RETURN QUERY
        SELECT CASE p.outcome WHEN 'repeated' THEN 'applied'
                    ELSE p.outcome END,
               p.operation_key, p.is_held, p.code, p.words
        FROM tidemill.past_result(system, batch_epoch, batch) AS p;
END $$;
