-- SPDX-License-Identifier: Apache-2.0
-- One call applies one batch.  The client has folded the operations of each
-- record into one unit: 1 set, 2 merge (always an object), 3 gone.

CREATE FUNCTION tidemill.apply_records(
    system text,
    set_tables text[], set_records text[], set_data text[],
    merge_tables text[], merge_records text[], merge_data text[],
    gone_tables text[], gone_records text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(set_records) > 0 THEN
        INSERT INTO tidemill.synced_records AS r
            (system_id, table_name, record_id, data)
        SELECT system, u.t, u.i, u.d::jsonb
        FROM unnest(set_tables, set_records, set_data) AS u (t, i, d)
        ON CONFLICT (system_id, table_name, record_id) DO UPDATE
        SET data = excluded.data, updated_at = now(), deleted = false;
    END IF;
    IF cardinality(merge_records) > 0 THEN
        INSERT INTO tidemill.synced_records AS r
            (system_id, table_name, record_id, data)
        SELECT system, u.t, u.i, u.d::jsonb
        FROM unnest(merge_tables, merge_records, merge_data) AS u (t, i, d)
        ON CONFLICT (system_id, table_name, record_id) DO UPDATE
        SET data = CASE WHEN jsonb_typeof(r.data) = 'object'
                        THEN r.data || excluded.data ELSE excluded.data END,
            updated_at = now(), deleted = false;
    END IF;
    IF cardinality(gone_records) > 0 THEN
        INSERT INTO tidemill.synced_records AS r
            (system_id, table_name, record_id, deleted)
        SELECT system, u.t, u.i, true
        FROM unnest(gone_tables, gone_records) AS u (t, i)
        ON CONFLICT (system_id, table_name, record_id) DO UPDATE
        SET data = NULL, updated_at = now(), deleted = true;
    END IF;
END $$;

-- Units of one kind for one typed target.  A shared one has one row a key,
-- and system_id names the last writer.  Rows with the same JSON names go
-- together, so that columns that the JSON does not name get their defaults
-- (set) or keep their values (merge).
CREATE FUNCTION tidemill.apply_typed(
    system text, target text, key text, kind integer,
    records text[], data text[], shared boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    name text := (SELECT string_agg(quote_ident(p), '.' ORDER BY n)
                  FROM unnest(string_to_array(target, '.'))
                       WITH ORDINALITY AS parts (p, n));
    relation regclass := to_regclass(name);
    key_type text;
    has_deleted boolean;
    ours text := CASE WHEN shared THEN '' ELSE 't.system_id = $1 AND ' END;
    batch record;
    columns text;
    sources text;
    replacements text;
    settings text;
BEGIN
    IF relation IS NULL THEN
        RAISE undefined_table USING MESSAGE = format(
            'typed target %s of sync.tables does not exist; '
            'create it or take it out of the configuration', target);
    END IF;
    SELECT format_type(atttypid, atttypmod) INTO key_type FROM pg_attribute
        WHERE attrelid = relation AND attname = key
          AND attnum > 0 AND NOT attisdropped;
    IF key_type IS NULL THEN
        RAISE undefined_column USING MESSAGE = format(
            'typed target %s has no column %s, the key that sync.tables names',
            target, key);
    END IF;
    has_deleted := EXISTS (SELECT FROM pg_attribute
        WHERE attrelid = relation AND attname = 'deleted'
          AND atttypid = 'boolean'::regtype AND NOT attisdropped);

    IF kind = 3 THEN
        EXECUTE format(CASE WHEN has_deleted THEN
                'UPDATE %s AS t SET deleted = true, system_id = $1'
            ELSE 'DELETE FROM %s AS t' END
            || ' WHERE ' || ours || 't.%I = ANY ($2::%s[])',
            relation, key, key_type) USING system, records;
        RETURN;
    END IF;
    IF kind = 2 AND has_deleted THEN
        -- A merge into a tombstone starts from nothing.
        EXECUTE format('DELETE FROM %s AS t WHERE ' || ours
            || 't.deleted AND t.%I = ANY ($2::%s[])',
            relation, key, key_type) USING system, records;
    END IF;
    FOR batch IN
        SELECT v.names, array_agg(v.i) AS records, array_agg(v.j) AS data
        FROM (SELECT u.i, u.d::jsonb AS j,
                     ARRAY(SELECT jsonb_object_keys(u.d::jsonb)) AS names
              FROM unnest(apply_typed.records, apply_typed.data)
                   AS u (i, d)) AS v
        GROUP BY v.names
    LOOP
        SELECT coalesce(string_agg(format(', %I', attname), ''), ''),
               coalesce(string_agg(format(', (p.r).%I', attname), ''), ''),
               string_agg(format('%1$I = (p.r).%1$I', attname), ', ')
        INTO columns, sources, replacements
        FROM pg_attribute
        WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
          AND attgenerated = '' AND attidentity <> 'a'
          AND attname = ANY (batch.names)
          AND attname NOT IN ('system_id', key);
        SELECT string_agg(
            format('%I = ', a.attname)
                || CASE WHEN a.attname = ANY (batch.names)
                        THEN format('excluded.%I', a.attname)
                        ELSE 'DEFAULT' END, ', ')
        INTO settings
        FROM pg_attribute AS a
        LEFT JOIN pg_attrdef AS d
            ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attgenerated = '' AND a.attidentity = ''
          AND a.attname NOT IN ('system_id', key)
          AND (a.attname = ANY (batch.names)
               OR (kind = 1 AND coalesce(pg_get_expr(d.adbin, d.adrelid), '')
                                NOT LIKE 'nextval(%'));
        IF shared THEN
            replacements := concat_ws(', ', 'system_id = $1', replacements);
            settings := concat_ws(', ', 'system_id = excluded.system_id',
                                  settings);
        END IF;
        -- A merge changes the rows that are there and inserts the others:
        -- ON CONFLICT alone would check NOT NULL on a part of a row.
        EXECUTE format('WITH p AS (SELECT u.i::%s AS k,'
            ' jsonb_populate_record(NULL::%s, u.d) AS r'
            ' FROM unnest($2, $3) AS u (i, d)), changed AS (',
            key_type, relation)
            || CASE WHEN kind = 1 THEN 'SELECT NULL AS k WHERE false'
               ELSE format('UPDATE %s AS t SET %s FROM p WHERE '
                   || ours || 't.%I = p.k RETURNING p.k',
                   relation,
                   coalesce(replacements, 'system_id = t.system_id'), key)
               END
            || format(') INSERT INTO %s AS t (system_id, %I%s)'
            ' SELECT $1, p.k%s FROM p'
            ' WHERE p.k NOT IN (SELECT c.k::%s FROM changed AS c)'
            ' ON CONFLICT (%s%I) DO %s',
            relation, key, columns, sources, key_type,
            CASE WHEN shared THEN '' ELSE 'system_id, ' END, key,
            coalesce('UPDATE SET ' || settings, 'NOTHING'))
        USING system, batch.records, batch.data;
    END LOOP;
END $$;

-- A row of the answer.  The first one says "applied" or "repeated"; each
-- other tells of an operation: "refused" (code, words), "held" behind one
-- that was, or "won", "lost" or "parked" in a conflict, and with what.
CREATE TYPE tidemill.told AS (
    outcome        text,
    operation_key  bigint,
    code           text,
    words          text,
    rule           integer,
    local_stamp    bigint,
    centre_stamp   bigint,
    centre_system  text,
    centre_deleted boolean,
    centre_data    jsonb,
    versioned      boolean  -- stamps are versions
);

-- What the ledger holds of a batch.
CREATE FUNCTION tidemill.past_result(
    system text, batch_epoch bigint, batch bigint, first_word text)
RETURNS SETOF tidemill.told LANGUAGE sql STABLE AS $$
    SELECT first_word, NULL::bigint, NULL::text, NULL::text, NULL::integer,
           NULL::bigint, NULL::bigint, NULL::text, NULL::boolean, NULL::jsonb,
           NULL::boolean
    UNION ALL
    SELECT x.* FROM tidemill.ledger AS l,
        jsonb_populate_recordset(NULL::tidemill.told,
                                 coalesce(l.refusals, '[]')) AS x
    WHERE l.system_id = system AND l.epoch = batch_epoch
      AND l.batch_id = batch
$$;

-- The row of the ledger goes first: it makes a second sender of the same
-- batch wait for us and then do nothing.  What is committed must stay: a
-- server that does not wait for its log is made to.
CREATE FUNCTION tidemill.enter_batch(
    system text, batch_epoch bigint, batch bigint, operation_count integer,
    batch_line bigint[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    entered boolean;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF NOT tidemill.admit_batch(system, batch_epoch, batch, batch_line) THEN
        RETURN false;
    END IF;
    INSERT INTO tidemill.ledger (system_id, epoch, batch_id, operations, line)
    VALUES (system, batch_epoch, batch, operation_count, batch_line)
    ON CONFLICT DO NOTHING;
    entered := FOUND;
    IF entered AND batch % 16 = 0 AND batch_line[1] > 0 THEN
        PERFORM tidemill.fold_batches(system, batch_epoch, batch_line[1], 64);
    END IF;
    RETURN entered;
END $$;

-- The folded units of tables that one host writes alone.
CREATE FUNCTION tidemill.apply_folded(
    system text,
    set_tables text[], set_records text[], set_data text[],
    merge_tables text[], merge_records text[], merge_data text[],
    gone_tables text[], gone_records text[],
    typed_targets text[], typed_keys text[], typed_kinds integer[],
    typed_counts integer[], typed_records text[], typed_data text[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first integer := 1;
    last integer;
BEGIN
    PERFORM tidemill.apply_records(system,
        set_tables, set_records, set_data,
        merge_tables, merge_records, merge_data, gone_tables, gone_records);
    FOR i IN 1 .. cardinality(typed_targets) LOOP
        last := first + typed_counts[i] - 1;
        PERFORM tidemill.apply_typed(system, typed_targets[i], typed_keys[i],
            typed_kinds[i], typed_records[first:last],
            typed_data[first:last], false);
        first := last + 1;
    END LOOP;
END $$;

CREATE FUNCTION tidemill.apply_batch(
    system text, batch_epoch bigint, batch bigint, operation_count integer,
    batch_line bigint[],
    set_tables text[], set_records text[], set_data text[],
    merge_tables text[], merge_records text[], merge_data text[],
    gone_tables text[], gone_records text[],
    typed_targets text[], typed_keys text[], typed_kinds integer[],
    typed_counts integer[], typed_records text[], typed_data text[])
RETURNS SETOF tidemill.told LANGUAGE plpgsql AS $$
DECLARE
    answer tidemill.told;
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
    answer.outcome := 'applied';
    RETURN NEXT answer;
END $$;
