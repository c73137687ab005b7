-- SPDX-License-Identifier: Apache-2.0
-- The other end of the http sink in a PostgreSQL database behind PostgREST
-- (or Supabase): a function that takes a batch, tidemill-sync(7), "THE HTTP
-- SINK".  Records go to tidemill.synced_records, as from hosts that connect
-- themselves.
--
-- Run it as the schema's owner, behind a host's first connection or on an
-- empty database; it may be run any number of times:
--
--   psql -d central -f tidemill-http.sql
--
-- Then let the role of the web API call it, and let PostgREST serve the schema
-- (db-schemas = "tidemill"):
--
--   GRANT USAGE ON SCHEMA tidemill TO hosts;
--   GRANT EXECUTE ON FUNCTION tidemill.apply_http(jsonb) TO hosts;
--
-- A host posts to https://api.example.org/rpc/apply_http.  When its token has
-- a claim "system_id", it can write as no other system.

CREATE SCHEMA IF NOT EXISTS tidemill;

CREATE TABLE IF NOT EXISTS tidemill.synced_records (
    system_id  text COLLATE "C" NOT NULL,
    table_name text COLLATE "C" NOT NULL,
    record_id  text COLLATE "C" NOT NULL,
    data       jsonb,
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (system_id, table_name, record_id)
);

-- Parts of batches that were taken, with their answers.
CREATE TABLE IF NOT EXISTS tidemill.http_parts (
    system_id text COLLATE "C" NOT NULL,
    epoch     bigint NOT NULL,
    batch_id  bigint NOT NULL,
    key       text COLLATE "C" NOT NULL,
    answer    jsonb,
    taken_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (system_id, epoch, batch_id, key)
);

-- One operation.  UPDATE merges objects; a record that is gone stays as a
-- tombstone.
CREATE OR REPLACE FUNCTION tidemill.http_apply(system text, operation jsonb)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO tidemill.synced_records AS r
        (system_id, table_name, record_id, data, deleted)
    VALUES (system, operation->>'table', operation->>'record_id',
            CASE WHEN operation->>'operation' <> 'DELETE'
                 THEN operation->'data' END,
            operation->>'operation' = 'DELETE')
    ON CONFLICT (system_id, table_name, record_id) DO UPDATE
    SET data = CASE
            WHEN operation->>'operation' = 'UPDATE'
                 AND jsonb_typeof(r.data) = 'object'
                 AND jsonb_typeof(excluded.data) = 'object'
            THEN r.data || excluded.data ELSE excluded.data END,
        updated_at = now(), deleted = excluded.deleted
$$;

-- Each by itself: what is refused for good is told, and what follows it in
-- its record is held.  What may pass (a deadlock, no space) fails the whole.
CREATE OR REPLACE FUNCTION tidemill.http_apply_each(
    system text, operations jsonb, OUT refused jsonb, OUT held jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    operation jsonb;
    record_key jsonb;
    bad jsonb[] := '{}';
BEGIN
    refused := '[]';
    held := '[]';
    FOR operation IN SELECT o FROM jsonb_array_elements(operations) AS o LOOP
        record_key := jsonb_build_array(operation->'table',
                                        operation->'record_id');
        IF record_key = ANY (bad) THEN
            held := held || (operation->'id');
            CONTINUE;
        END IF;
        BEGIN
            PERFORM tidemill.http_apply(system, operation);
        EXCEPTION
            WHEN data_exception OR integrity_constraint_violation
                 OR raise_exception THEN
                bad := bad || record_key;
                refused := refused || jsonb_build_object(
                    'id', operation->'id', 'code', SQLSTATE,
                    'message', SQLERRM);
        END;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION tidemill.apply_http(jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, tidemill AS $$
DECLARE
    system text := $1->>'system_id';
    headers json := nullif(current_setting('request.headers', true), '');
    claims json := nullif(current_setting('request.jwt.claims', true), '');
    part text := coalesce(headers->>'idempotency-key', format('%s:%s:%s',
        system, $1->>'epoch', $1->>'batch_id'));
    settled bigint := headers->>'tidemill-settled';
    result jsonb;
    refused jsonb;
    held jsonb;
BEGIN
    IF claims->>'system_id' <> system THEN
        RAISE insufficient_privilege USING MESSAGE = format(
            'this token is for %s, not for %s', claims->>'system_id', system);
    END IF;
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    -- First, so that a second sender of the same part waits for us.
    INSERT INTO tidemill.http_parts (system_id, epoch, batch_id, key)
    VALUES (system, ($1->>'epoch')::bigint, ($1->>'batch_id')::bigint, part)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT p.answer INTO result FROM tidemill.http_parts AS p
        WHERE p.system_id = system AND p.epoch = ($1->>'epoch')::bigint
          AND p.batch_id = ($1->>'batch_id')::bigint AND p.key = part;
        RETURN result || '{"status": "repeated"}';
    END IF;
    BEGIN
        PERFORM tidemill.http_apply(system, o)
        FROM jsonb_array_elements($1->'operations') WITH ORDINALITY AS x (o, n)
        ORDER BY n;
        result := '{"status": "applied"}';
    EXCEPTION
        WHEN data_exception OR integrity_constraint_violation
             OR raise_exception THEN
            SELECT * INTO refused, held
            FROM tidemill.http_apply_each(system, $1->'operations');
            result := jsonb_build_object('status', 'applied',
                                         'refused', refused, 'held', held);
    END;
    UPDATE tidemill.http_parts AS p SET answer = result
    WHERE p.system_id = system AND p.epoch = ($1->>'epoch')::bigint
      AND p.batch_id = ($1->>'batch_id')::bigint AND p.key = part;
    -- Those will never be sent again.
    DELETE FROM tidemill.http_parts AS p
    WHERE p.system_id = system
      AND (p.epoch = ($1->>'epoch')::bigint AND p.batch_id <= settled
           OR p.epoch < ($1->>'epoch')::bigint
              AND p.taken_at < now() - interval '7 days');
    RETURN result;
END $$;

REVOKE ALL ON FUNCTION tidemill.apply_http(jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION tidemill.http_apply(text, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION tidemill.http_apply_each(text, jsonb) FROM PUBLIC;
