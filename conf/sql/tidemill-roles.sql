-- SPDX-License-Identifier: Apache-2.0
-- Four roles at the centre, each with no more rights than it needs.
--
--   tidemill_owner   makes and migrates the schema; not for every day
--   tidemill_writer  what the daemons connect as
--   tidemill_reader  what people and reports connect as
--   tidemill_submitter  who submits jobs to the central queue, and so decides
--                    what the hosts run that share it
--
-- Run it as a superuser in the central database, before the first host
-- connects and again behind each migration; it may be run any number of
-- times:
--
--   psql -d central -f tidemill-roles.sql
--
-- Then let one host connect as tidemill_owner (it makes the schema), run the
-- script again, and give all hosts database.user: tidemill_writer.  Set the
-- passwords with \password; the script sets none.

DO $$
BEGIN
    IF to_regrole('tidemill_owner') IS NULL THEN
        CREATE ROLE tidemill_owner LOGIN NOINHERIT;
    END IF;
    IF to_regrole('tidemill_writer') IS NULL THEN
        CREATE ROLE tidemill_writer LOGIN NOINHERIT;
    END IF;
    IF to_regrole('tidemill_reader') IS NULL THEN
        CREATE ROLE tidemill_reader LOGIN NOINHERIT;
    END IF;
    IF to_regrole('tidemill_submitter') IS NULL THEN
        CREATE ROLE tidemill_submitter LOGIN NOINHERIT;
    END IF;
END $$;

CREATE SCHEMA IF NOT EXISTS tidemill AUTHORIZATION tidemill_owner;
REVOKE ALL ON SCHEMA tidemill FROM PUBLIC;
GRANT USAGE ON SCHEMA tidemill
    TO tidemill_writer, tidemill_reader, tidemill_submitter;

DO $$
BEGIN
    IF to_regclass('tidemill.ledger') IS NULL THEN
        RAISE NOTICE 'the schema is empty yet: let a host connect as '
            'tidemill_owner, then run this script again';
        RETURN;
    END IF;
    REVOKE ALL ON ALL TABLES IN SCHEMA tidemill FROM PUBLIC;
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tidemill FROM PUBLIC;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidemill TO tidemill_writer;
    -- What it must be able to prove, and nothing else:
    GRANT SELECT ON tidemill.schema_migrations TO tidemill_writer;
    -- The ledger is pruned by those who write it.
    GRANT SELECT, INSERT, UPDATE, DELETE
        ON tidemill.ledger, tidemill.stores, tidemill.out_of_line
        TO tidemill_writer;
    -- Records are never deleted: they become tombstones.
    GRANT SELECT, INSERT, UPDATE
        ON tidemill.synced_records, tidemill.shared_records
        TO tidemill_writer;
    -- Jobs are leased and ended; what is over the owner lets go
    -- (prune_jobs).
    IF to_regclass('tidemill.job_queue') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE ON tidemill.job_queue
            TO tidemill_writer;
    END IF;
    GRANT SELECT ON ALL TABLES IN SCHEMA tidemill TO tidemill_reader;
    -- A view's functions are called with the rights of who reads it.
    IF to_regproc('tidemill.texts_of') IS NOT NULL THEN
        GRANT EXECUTE ON FUNCTION tidemill.texts_of TO tidemill_reader;
    END IF;
    IF to_regclass('tidemill.jobs') IS NOT NULL THEN
        -- These functions act with the owner's rights; nothing is needed,
        -- and nothing given, on the table behind them.
        GRANT EXECUTE ON FUNCTION tidemill.enqueue_job, tidemill.cancel_job
            TO tidemill_submitter;
        GRANT SELECT ON tidemill.jobs TO tidemill_submitter;
        -- What tools tell of mixins and patterns.
        GRANT SELECT, INSERT, UPDATE
            ON tidemill.mixin_outcomes, tidemill.told_feedback
            TO tidemill_writer;
    END IF;
END $$;

-- A typed target of sync.tables needs, for tidemill_writer: USAGE on its
-- schema, SELECT, INSERT, UPDATE on it, and DELETE when it has no column
-- "deleted".
