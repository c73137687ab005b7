-- SPDX-License-Identifier: Apache-2.0
-- The careful way to apply a batch of which something is refused for good:
-- bisection in subtransactions.  A unit that is refused is taken apart into
-- its operations, which are applied one by one up to the refused one.
--
-- What there is to tell of operations is gathered as a list of JSON objects
-- with the names of tidemill.told: a subtransaction that fails takes its
-- part of it back.

CREATE TYPE tidemill.unit AS (
    kind       integer,  -- 1 set, 2 merge, 3 gone
    typed      integer,  -- which target; 0: synced_records
    table_name text,
    record_id  text,
    data       text,
    first      integer,  -- its operations
    count      integer,
    stamp      bigint,   -- of shared ones: see apply_shared
    seen       bigint
);

CREATE TYPE tidemill.operation AS (
    key   bigint,
    kind  integer,
    data  text,
    stamp bigint,
    seen  bigint
);

CREATE TYPE tidemill.target AS (
    name  text,     -- '': shared_records
    key   text,
    rule  integer,  -- 0: not shared
    timed boolean   -- stamps are times
);

CREATE FUNCTION tidemill.make_units(
    kinds integer[], typed integer[], tables text[], records text[],
    data text[], counts integer[], stamps bigint[], seens bigint[])
RETURNS tidemill.unit[] LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(array_agg((u.k, u.y, u.t, u.i, u.d, u.s - u.c + 1, u.c,
                               u.v, u.w)::tidemill.unit ORDER BY u.n), '{}')
    FROM (SELECT v.*, (sum(v.c) OVER (ORDER BY v.n))::integer AS s
          FROM unnest(kinds, typed, tables, records, data, counts, stamps,
                      seens)
               WITH ORDINALITY AS v (k, y, t, i, d, c, v, w, n)) AS u
$$;

CREATE FUNCTION tidemill.make_operations(
    keys bigint[], kinds integer[], data text[], stamps bigint[],
    seens bigint[])
RETURNS tidemill.operation[] LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(array_agg((u.k, u.o, u.d, u.v, u.w)::tidemill.operation
                              ORDER BY u.n), '{}')
    FROM unnest(keys, kinds, data, stamps, seens)
         WITH ORDINALITY AS u (k, o, d, v, w, n)
$$;

CREATE FUNCTION tidemill.make_targets(
    names text[], keys text[], rules integer[], timed integer[])
RETURNS tidemill.target[] LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(array_agg((u.t, u.k, u.r, u.m = 1)::tidemill.target
                              ORDER BY u.n), '{}')
    FROM unnest(names, keys, rules, timed)
         WITH ORDINALITY AS u (t, k, r, m, n)
$$;

-- What no later attempt can change (the client has the same list).
CREATE FUNCTION tidemill.is_refusal(code text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT left(code, 2) IN ('21', '22', '23', '44', '54', 'P0')
$$;

CREATE FUNCTION tidemill.apply_units(
    system text, units tidemill.unit[], ops tidemill.operation[],
    targets tidemill.target[]) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    part record;
    told jsonb := '[]';
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
        FROM unnest(units) AS u
        WHERE u.typed > 0 AND (targets[u.typed]).rule = 0
        GROUP BY u.typed, u.kind ORDER BY u.typed, u.kind
    LOOP
        PERFORM tidemill.apply_typed(system, (targets[part.typed]).name,
            (targets[part.typed]).key, part.kind, part.records, part.data,
            false);
    END LOOP;
    IF EXISTS (SELECT FROM unnest(targets) AS t WHERE t.rule > 0) THEN
        told := tidemill.apply_shared(system, units, ops, targets);
    END IF;
    SET CONSTRAINTS ALL IMMEDIATE;
    RETURN told;
END $$;

CREATE FUNCTION tidemill.apply_each(
    system text, unit tidemill.unit, ops tidemill.operation[],
    targets tidemill.target[]) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    told jsonb := '[]';
    part jsonb;
    stuck boolean := false;
    step tidemill.unit := unit;
BEGIN
    step.count := 1;
    FOR i IN unit.first .. unit.first + unit.count - 1 LOOP
        IF stuck THEN
            told := told || jsonb_build_object(
                'outcome', 'held', 'operation_key', ops[i].key, 'code', '',
                'words', 'an earlier operation of this record was refused');
            CONTINUE;
        END IF;
        step.kind := ops[i].kind;
        step.data := ops[i].data;
        step.stamp := ops[i].stamp;
        step.seen := ops[i].seen;
        step.first := i;
        BEGIN
            part := tidemill.apply_units(system, ARRAY[step], ops, targets);
            told := told || part;
            stuck := part -> 0 ->> 'outcome' = 'parked';
        EXCEPTION WHEN OTHERS THEN
            IF NOT tidemill.is_refusal(SQLSTATE) THEN
                RAISE;
            END IF;
            told := told || jsonb_build_object(
                'outcome', 'refused', 'operation_key', ops[i].key,
                'code', SQLSTATE, 'words', left(SQLERRM, 1000));
            stuck := true;
        END;
    END LOOP;
    RETURN told;
END $$;

CREATE FUNCTION tidemill.apply_range(
    system text, units tidemill.unit[], lower_end integer, upper_end integer,
    ops tidemill.operation[], targets tidemill.target[]) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    middle integer := (lower_end + upper_end) / 2;
BEGIN
    IF lower_end > upper_end THEN
        RETURN '[]';
    ELSIF lower_end = upper_end AND units[lower_end].count = 1 THEN
        RETURN tidemill.apply_each(system, units[lower_end], ops, targets);
    END IF;
    BEGIN
        RETURN tidemill.apply_units(system, units[lower_end:upper_end], ops,
                                    targets);
    EXCEPTION WHEN OTHERS THEN
        IF NOT tidemill.is_refusal(SQLSTATE) THEN
            RAISE;
        END IF;
    END;
    IF lower_end = upper_end THEN
        RETURN tidemill.apply_each(system, units[lower_end], ops, targets);
    END IF;
    RETURN tidemill.apply_range(system, units, lower_end, middle, ops, targets)
        || tidemill.apply_range(system, units, middle + 1, upper_end, ops,
                                targets);
END $$;

-- Keeps what was found with the batch, so that who asks again is told the
-- same; an empty list is nothing to keep.
CREATE FUNCTION tidemill.leave_batch(
    system text, batch_epoch bigint, batch bigint, told jsonb)
RETURNS SETOF tidemill.told LANGUAGE plpgsql AS $$
BEGIN
    IF told <> '[]' THEN
        UPDATE tidemill.ledger AS l SET refusals = told
        WHERE l.system_id = system AND l.epoch = batch_epoch
          AND l.batch_id = batch;
    END IF;
    RETURN QUERY SELECT * FROM tidemill.past_result(system, batch_epoch,
                                                    batch, 'applied');
END $$;

-- The first plain_count units may be tried together, the others are taken
-- apart at once.  The refused_ arrays are what the client could not even
-- send (text that is no UTF-8), and what is held behind it.
CREATE FUNCTION tidemill.apply_carefully(
    system text, batch_epoch bigint, batch bigint, operation_count integer,
    batch_line bigint[],
    plain_count integer, unit_kinds integer[], unit_typed integer[],
    unit_tables text[], unit_records text[], unit_data text[],
    unit_counts integer[], unit_stamps bigint[], unit_seens bigint[],
    op_keys bigint[], op_kinds integer[], op_data text[],
    op_stamps bigint[], op_seens bigint[],
    target_names text[], target_keys text[], target_rules integer[],
    target_timed integer[],
    refused_keys bigint[], refused_codes text[], refused_words text[])
RETURNS SETOF tidemill.told LANGUAGE plpgsql AS $$
DECLARE
    told jsonb;
    units tidemill.unit[];
    ops tidemill.operation[];
    targets tidemill.target[];
BEGIN
    IF NOT tidemill.enter_batch(system, batch_epoch, batch, operation_count,
                                batch_line) THEN
        RETURN QUERY SELECT * FROM tidemill.past_result(system, batch_epoch,
                                                        batch, 'repeated');
        RETURN;
    END IF;
    units := tidemill.make_units(unit_kinds, unit_typed, unit_tables,
        unit_records, unit_data, unit_counts, unit_stamps, unit_seens);
    ops := tidemill.make_operations(op_keys, op_kinds, op_data, op_stamps,
        op_seens);
    targets := tidemill.make_targets(target_names, target_keys, target_rules,
        target_timed);
    SELECT coalesce(jsonb_agg(jsonb_build_object(
               'outcome', CASE r.c WHEN '' THEN 'held' ELSE 'refused' END,
               'operation_key', r.k, 'code', r.c, 'words', r.w)), '[]')
    INTO told
    FROM unnest(refused_keys, refused_codes, refused_words) AS r (k, c, w);
    told := told || tidemill.apply_range(system, units, 1, plain_count,
        ops, targets);
    FOR i IN plain_count + 1 .. cardinality(units) LOOP
        told := told || tidemill.apply_each(system, units[i], ops, targets);
    END LOOP;
    RETURN QUERY SELECT * FROM tidemill.leave_batch(system, batch_epoch,
                                                    batch, told);
END $$;
