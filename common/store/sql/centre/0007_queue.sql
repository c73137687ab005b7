-- SPDX-License-Identifier: Apache-2.0
-- Jobs that any number of hosts share (generation.source: central).  A host
-- leases a job under a token; every change of a leased job names job and
-- token, and meets only a row that is in the state leased: so a host whose
-- lease was lost changes nothing.

CREATE TABLE tidemill.job_queue (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN ('render', 'command', 'noop')),
    spec         jsonb NOT NULL CHECK (jsonb_typeof(spec) = 'object'
                                       AND octet_length(spec::text) <= 1048576),
    priority     smallint NOT NULL DEFAULT 2 CHECK (priority BETWEEN 0 AND 3),
    timeout_ms   bigint NOT NULL DEFAULT 0 CHECK (timeout_ms >= 0),
    max_attempts integer NOT NULL DEFAULT 3
                 CHECK (max_attempts BETWEEN 1 AND 100),
    key          text UNIQUE CHECK (octet_length(key) BETWEEN 1 AND 1000),
    state        text NOT NULL DEFAULT 'queued'
                 CHECK (state IN ('queued', 'leased', 'done', 'failed',
                                  'cancelled')),
    attempt      integer NOT NULL DEFAULT 0,
    not_before   timestamptz NOT NULL DEFAULT now(),
    host         text,         -- that has or had it last
    lease_token  bigint,       -- of that host, unless it lost the lease
    lease_until  timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    leased_at    timestamptz,
    finished_at  timestamptz,
    result       json,         -- as the host told it, of the last attempt
    error        text          -- what the centre has to say
);
CREATE INDEX job_queue_queued ON tidemill.job_queue (priority, id)
    WHERE state = 'queued';
CREATE INDEX job_queue_leased ON tidemill.job_queue (lease_until)
    WHERE state = 'leased';
COMMENT ON TABLE tidemill.job_queue IS
    'Jobs that hosts with generation.source: central share. Submit with '
    'tidemill.enqueue_job, cancel with tidemill.cancel_job, let go of what is '
    'over with tidemill.prune_jobs.';

-- A job's id.  A key that is there already is answered with that job's id,
-- and refused when that is another job.
CREATE FUNCTION tidemill.enqueue_job(
    kind text, spec jsonb, priority integer DEFAULT 2,
    timeout interval DEFAULT NULL, max_attempts integer DEFAULT 3,
    key text DEFAULT NULL, not_before timestamptz DEFAULT now())
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
    have tidemill.job_queue;
BEGIN
    INSERT INTO tidemill.job_queue AS q
        (kind, spec, priority, timeout_ms, max_attempts, key, not_before)
    VALUES (enqueue_job.kind, enqueue_job.spec, enqueue_job.priority,
            coalesce(extract(epoch FROM timeout) * 1000, 0),
            enqueue_job.max_attempts, enqueue_job.key,
            enqueue_job.not_before)
    ON CONFLICT ON CONSTRAINT job_queue_key_key DO NOTHING
    RETURNING q.id INTO made;
    IF made IS NOT NULL THEN
        RETURN made;
    END IF;
    SELECT * INTO STRICT have FROM tidemill.job_queue AS q
    WHERE q.key = enqueue_job.key;
    IF have.kind <> enqueue_job.kind OR have.spec <> enqueue_job.spec THEN
        RAISE EXCEPTION 'the key % is that of job %, which is another; give '
            'another key', enqueue_job.key, have.id
            USING ERRCODE = 'unique_violation';
    END IF;
    RETURN have.id;
END $$;

-- Was it waiting or leased?  Its host is told with its next heartbeat.
CREATE FUNCTION tidemill.cancel_job(job bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tidemill.job_queue AS q
    SET state = 'cancelled', lease_token = NULL, lease_until = NULL,
        finished_at = now(), error = 'cancelled'
    WHERE q.id = job AND q.state IN ('queued', 'leased');
    RETURN FOUND;
END $$;

-- How many jobs that were over for so long were let go; for the owner.
CREATE FUNCTION tidemill.prune_jobs(older interval) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    gone bigint;
BEGIN
    DELETE FROM tidemill.job_queue AS q
    WHERE q.state IN ('done', 'failed', 'cancelled')
      AND q.finished_at < now() - older;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

-- 1, 2, 4 ... 60 seconds behind the n-th attempt.
CREATE FUNCTION tidemill.attempt_wait(attempt integer) RETURNS interval
LANGUAGE sql IMMUTABLE AS $$
    SELECT least(60, 2 ^ least(attempt - 1, 6)) * interval '1 second'
$$;

-- Leases that ran out: the job goes back to the queue, or fails when that
-- was its last attempt, so that one which brings down every host ends.
CREATE FUNCTION tidemill.expire_leases() RETURNS void
LANGUAGE sql AS $$
    WITH over AS (
        SELECT id FROM tidemill.job_queue
        WHERE state = 'leased' AND lease_until < now()
        ORDER BY lease_until LIMIT 1000 FOR UPDATE SKIP LOCKED)
    UPDATE tidemill.job_queue AS q
    SET state = CASE WHEN q.attempt < q.max_attempts THEN 'queued'
                     ELSE 'failed' END,
        finished_at = CASE WHEN q.attempt < q.max_attempts THEN NULL
                           ELSE now() END,
        lease_token = NULL, lease_until = NULL,
        error = format('host %s was not heard of for its lease, at attempt '
                       '%s of %s', q.host, q.attempt, q.max_attempts)
    FROM over WHERE q.id = over.id AND q.state = 'leased'
      AND q.lease_until < now()
$$;

CREATE FUNCTION tidemill.lease_jobs(
    host text, token bigint, most bigint, lease_ms bigint)
RETURNS TABLE (id bigint, attempt integer, kind text, spec text,
               priority integer, timeout_ms bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tidemill.expire_leases();
    RETURN QUERY
    WITH picked AS (
        SELECT p.id FROM tidemill.job_queue AS p
        WHERE p.state = 'queued' AND p.not_before <= now()
        ORDER BY p.priority, p.id LIMIT most FOR UPDATE SKIP LOCKED),
    leased AS (
        UPDATE tidemill.job_queue AS q
        SET state = 'leased', attempt = q.attempt + 1,
            host = lease_jobs.host, lease_token = token, leased_at = now(),
            lease_until = now() + lease_ms * interval '1 millisecond'
        FROM picked WHERE q.id = picked.id AND q.state = 'queued'
        RETURNING q.*)
    SELECT l.id, l.attempt, l.kind, l.spec::text, l.priority::integer,
           l.timeout_ms
    FROM leased AS l ORDER BY l.priority, l.id;
END $$;

-- A heartbeat: all of these leases begin anew.  Returns the jobs whose
-- lease is lost.
CREATE FUNCTION tidemill.renew_leases(
    ids bigint[], tokens bigint[], lease_ms bigint) RETURNS SETOF bigint
LANGUAGE sql AS $$
    WITH held AS (
        SELECT * FROM unnest(ids, tokens) AS h (id, token)),
    renewed AS (
        UPDATE tidemill.job_queue AS q
        SET lease_until = now() + lease_ms * interval '1 millisecond'
        FROM held WHERE q.id = held.id AND q.lease_token = held.token
          AND q.state = 'leased'
        RETURNING q.id)
    SELECT held.id FROM held
    WHERE held.id NOT IN (SELECT renewed.id FROM renewed)
$$;

-- Leases of this host that it does not know of, because an answer was lost
-- or its store went back in time: they go back, and did not count.
CREATE FUNCTION tidemill.give_back_leases(
    holder text, ids bigint[], tokens bigint[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    given bigint;
BEGIN
    UPDATE tidemill.job_queue AS q
    SET state = 'queued', attempt = q.attempt - 1, lease_token = NULL,
        lease_until = NULL
    WHERE q.host = holder AND q.state = 'leased'
      AND NOT EXISTS (SELECT 1 FROM unnest(ids, tokens) AS h (id, token)
                      WHERE h.id = q.id AND h.token = q.lease_token);
    GET DIAGNOSTICS given = ROW_COUNT;
    RETURN given;
END $$;

-- The end of a leased job: done, failed, cancelled, or retry for one that
-- may go well elsewhere.  recorded; repeated, when this lease ended before;
-- refused, when it was lost.
CREATE FUNCTION tidemill.finish_job(
    job bigint, token bigint, outcome text, told text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tidemill.job_queue AS q
    SET state = CASE WHEN outcome <> 'retry' THEN outcome
                     WHEN q.attempt < q.max_attempts THEN 'queued'
                     ELSE 'failed' END,
        not_before = CASE WHEN outcome = 'retry'
                          THEN now() + tidemill.attempt_wait(q.attempt)
                          ELSE q.not_before END,
        finished_at = CASE WHEN outcome = 'retry'
                            AND q.attempt < q.max_attempts THEN NULL
                           ELSE now() END,
        lease_until = NULL, result = told::json, error = NULL
    WHERE q.id = job AND q.lease_token = token AND q.state = 'leased';
    IF FOUND THEN
        RETURN 'recorded';
    END IF;
    PERFORM 1 FROM tidemill.job_queue AS q
    WHERE q.id = job AND q.lease_token = token;
    RETURN CASE WHEN FOUND THEN 'repeated' ELSE 'refused' END;
END $$;
