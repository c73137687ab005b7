# SPDX-License-Identifier: Apache-2.0
"""Several hosts share the jobs of one PostgreSQL (generation.source)."""
import contextlib
import hashlib
import json
import os
import signal

import pytest

from harness import SOURCE, Daemon, PgBouncer, Proxy, wait_for
from test_roles import as_role, conninfo_as, run_script


@pytest.fixture
def make_host(folder, postgres):
    """Makes hosts that share the queue; stops all at the end."""
    with contextlib.ExitStack() as stack:
        def make(name, conninfo=None, **central):
            daemon = Daemon(folder, {
                "generation": {
                    "source": "central",
                    "central": {"lease": "60s", "poll": "50ms",
                                **central}},
                "database": {"conninfo": conninfo or postgres.conninfo},
                "monitoring": {"enabled": False},
                "sync": {"max_workers": 1},
            }, name=name)
            stack.callback(daemon.cleanup)
            return daemon
        yield make


@pytest.fixture
def line(postgres, postgres_server):
    """A proxy before the server, with its conninfo."""
    proxy = Proxy(postgres_server.port)
    proxy.conninfo = postgres.conninfo.replace(
        f"port={postgres_server.port}", f"port={proxy.port}")
    yield proxy
    proxy.close()


def until_ready(postgres):
    """The first host has made the schema."""
    wait_for(lambda: postgres.query(
        "SELECT to_regclass('tidemill.job_queue') IS NOT NULL")[0][0],
        what="the queue's schema")


def submit(postgres, argv, **over):
    names = "".join(f", {name} => %s" for name in over)
    spec = json.dumps({"argv": argv, "directory": "/tmp"})
    return postgres.query(
        f"SELECT tidemill.enqueue_job('command', %s::jsonb{names})", spec,
        *over.values())[0][0]


def row(postgres, job):
    """state, attempt, host, result, error"""
    return postgres.query("SELECT state, attempt, host, result, error FROM "
                          "tidemill.job_queue WHERE id = %s", job)[0]


def wait_state(postgres, job, state):
    return wait_for(lambda: (lambda r: r if r[0] == state else None)(
        row(postgres, job)), what=f"job {job} to be {state}")


def counts(postgres):
    return dict(postgres.query(
        "SELECT state, count(*) FROM tidemill.job_queue GROUP BY 1"))


def local(daemon, central):
    """The jobs of this host that came from a central job."""
    return [j for j in daemon.json("jobs", "list", "--limit", 1000)
            if j["central_job"] == central]


def marked(folder):
    path = folder / "marks"
    return path.read_text().split() if path.exists() else []


def marker(folder, word, before=""):
    """A command that appends its word to one file."""
    return ["/bin/sh", "-c", f"{before} echo {word} >> {folder}/marks"]


def held(folder, word):
    """Begins, and marks the word when the file "go" is there."""
    return marker(folder, word, (
        f"echo begun >> {folder}/marks;"
        f"while ! test -e {folder}/go; do sleep 0.02; done;"))


def begin_held(postgres, folder, word):
    job = submit(postgres, held(folder, word))
    wait_for(lambda: marked(folder) == ["begun"], what="the job to run")
    return job, folder / "go"


def kill_host(daemon):
    """SIGKILL to all of its processes at once, as when power fails."""
    pids = [daemon.pid, *daemon.descendants()]
    for pid in pids:  # so that none acts on the death of another
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    for pid in {*pids, *daemon.descendants()}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    daemon.process.wait(60)


def test_two_hosts_share_jobs(make_host, postgres, folder):
    """Each of 200 jobs runs once, on one of two hosts."""
    hosts = [make_host("one").start(), make_host("two").start()]
    until_ready(postgres)
    postgres.query(
        "SELECT tidemill.enqueue_job('command', jsonb_build_object('argv', "
        "jsonb_build_array('/bin/sh', '-c', format('sleep 0.02; echo job%%s >> %%s', n, "
        "%s)), 'directory', '/tmp'), n %% 4) FROM generate_series(0, 199) n",
        f"{folder}/marks")
    wait_for(lambda: counts(postgres) == {"done": 200}, what="all jobs")
    assert sorted(marked(folder)) == sorted(f"job{n}" for n in range(200))
    shares = dict(postgres.query(
        "SELECT host, count(*) FROM tidemill.job_queue WHERE attempt = 1 "
        "GROUP BY 1"))
    print(shares)
    assert sorted(shares) == ["host-one", "host-two"]
    assert sum(shares.values()) == 200
    # Its result is there, and its host knows where it came from.
    state, _, host, result, error = row(postgres, 1)
    assert (state, result["state"], result["exit_code"], error) == (
        "done", "done", 0, None)
    job, = local(next(h for h in hosts if f"host-{h.name}" == host), 1)
    daemon = next(h for h in hosts if f"host-{h.name}" == host)
    wait_for(lambda: daemon.json("jobs", "show", job["id"])["central"]
             == {"job": 1, "attempt": 1, "report": "reported"},
             what="the report to be noted")
    shown = daemon.run("jobs", "show", job["id"]).stdout
    assert "central job 1, attempt 1, reported" in shown
    assert "central:1" in daemon.run("jobs", "list", "--limit",
                                     "1000").stdout


def test_killed_feeders_lose_and_repeat_nothing(make_host, postgres, folder):
    """The worker that leases and reports is killed again and again."""
    daemon = make_host("one", lease="10s", max_jobs=8).start()
    until_ready(postgres)
    jobs = [submit(postgres, marker(folder, f"job{n}", "sleep 0.02;"))
            for n in range(40)]
    for done in (2, 8, 14, 20):
        wait_for(lambda: counts(postgres).get("done", 0) >= done,
                 what=f"{done} jobs")
        daemon.kill_worker("sync")
    wait_for(lambda: counts(postgres) == {"done": len(jobs)}, what="all jobs")
    assert sorted(marked(folder)) == sorted(f"job{n}" for n in range(40))


def test_a_dead_host_costs_its_jobs_a_lease(make_host, postgres, folder):
    """What a killed host held runs elsewhere; nothing is lost."""
    dead = make_host("dead", lease="2s", max_jobs=4).start()
    until_ready(postgres)
    jobs = [submit(postgres, marker(folder, f"job{n}", "sleep 0.2;"))
            for n in range(12)]
    wait_for(lambda: counts(postgres).get("done", 0) >= 2
             and counts(postgres).get("leased", 0) >= 3, what="the middle")
    kill_host(dead)
    held = postgres.query("SELECT id FROM tidemill.job_queue WHERE state = "
                          "'leased'")
    assert held
    heir = make_host("heir").start()
    wait_for(lambda: counts(postgres) == {"done": len(jobs)},
             what="the heir to do what is left")
    for job, in held:
        state, attempt, host, _, _ = row(postgres, job)
        assert state == "done" and attempt >= 2 and host == "host-heir"
    # Each ran; only what the dead host held may have run twice.
    ran = marked(folder)
    assert set(ran) == {f"job{n}" for n in range(12)}
    assert len(ran) <= 12 + len(held)
    assert heir.process.poll() is None


def test_a_slow_job_keeps_its_lease(make_host, postgres, folder):
    """Heartbeats go on while it runs for longer than its lease."""
    hosts = [make_host(name, lease="3s").start() for name in ("one", "two")]
    until_ready(postgres)
    job = submit(postgres, marker(folder, "slow", "sleep 3.4;"))
    wait_state(postgres, job, "done")
    assert row(postgres, job)[1] == 1
    assert marked(folder) == ["slow"]
    assert sum(len(local(h, job)) for h in hosts) == 1


def test_the_line_is_cut_while_jobs_run(make_host, postgres, folder, line):
    """Held jobs are finished and told later; local ones go on."""
    daemon = make_host("one", conninfo=line.conninfo).start()
    until_ready(postgres)
    job, go = begin_held(postgres, folder, "held")
    line.refuse = True
    line.cut()
    go.touch()
    wait_for(lambda: [j["state"] for j in local(daemon, job)] == ["done"],
             what="the job to end without the centre")
    assert daemon.run("run", "--", "/bin/echo", "local").stdout == "local\n"
    assert row(postgres, job)[0] == "leased"
    line.refuse = False
    wait_state(postgres, job, "done")
    assert row(postgres, job)[1] == 1
    assert marked(folder) == ["begun", "held"]


def test_a_stale_result_is_refused(make_host, postgres, folder, line):
    """A host that was away for longer than its lease changes nothing."""
    stale = make_host("stale", conninfo=line.conninfo, lease="1s").start()
    until_ready(postgres)
    job, go = begin_held(postgres, folder, "ran")
    line.refuse = True
    line.cut()
    make_host("fresh").start()
    wait_for(lambda: row(postgres, job)[2] == "host-fresh",
             what="the lease to be lost")
    go.touch()
    wait_state(postgres, job, "done")
    wait_for(lambda: local(stale, job)[0]["state"] == "done",
             what="the stale host's run to end")
    line.refuse = False
    wait_for(lambda: stale.json("jobs", "show", local(stale, job)[0]["id"])
             ["central"]["report"] == "refused", what="the refusal")
    assert row(postgres, job)[2] == "host-fresh"
    assert "refused, for its lease was lost" in stale.log_text()


def test_a_clean_stop_hands_back(make_host, postgres, postgres_server,
                                 folder):
    """What has not begun runs elsewhere while the host still stops, what
    runs is waited for, and what cannot be is handed back as an attempt.  All
    of it through a pooler."""
    bouncer = PgBouncer(postgres_server).start()
    try:
        conninfo = bouncer.conninfo(postgres)
        one = make_host("one", conninfo, lease="1h", max_jobs=7)
        one.configure({"supervisor": {"shutdown_timeout": "8s"}})
        one.start()
        until_ready(postgres)
        go, again = folder / "go", folder / "again"
        waits = submit(postgres, held(folder, "waited"))
        endless = submit(postgres, marker(folder, "twice", (
            f"echo begun >> {folder}/marks;"
            f"test -e {again} || {{ touch {again}; sleep 1000; }};")))
        wait_for(lambda: len(marked(folder)) == 2, what="both to run")
        rest = [submit(postgres, marker(folder, f"job{n}")) for n in range(5)]
        wait_for(lambda: counts(postgres) == {"leased": 7}, what="the leases")
        # A worker that is replaced hands nothing back.
        old = one.workers("sync")[0]["pid"]
        one.configure({"generation": {"central": {"poll": "60ms"}}})
        one.run("reload")
        wait_for(lambda: [w["pid"] for w in one.workers("sync")
                          if w["state"] == "idle"] not in ([], [old]),
                 what="the successor")
        assert counts(postgres) == {"leased": 7}
        one.process.terminate()
        two = make_host("two", conninfo).start()
        wait_for(lambda: counts(postgres).get("done") == 5, what="the rest")
        assert {row(postgres, job)[:3] for job in rest} == {
            ("done", 1, "host-two")}
        assert one.process.poll() is None
        go.touch()
        wait_state(postgres, waits, "done")
        assert row(postgres, waits)[1:3] == (1, "host-one")
        wait_state(postgres, endless, "done")
        assert row(postgres, endless)[1:3] == (2, "host-two")
        assert one.process.wait(60) == 0
        assert sorted(marked(folder)) == sorted(
            ["begun"] * 3 + ["waited", "twice", *(f"job{n}" for n in range(5))])
        assert "handed back to the central queue" in one.log_text()
        assert [[j["state"] for j in local(one, job)] for job in rest] == [
            ["cancelled"]] * 5
        shown = one.run("jobs", "show", local(one, rest[0])[0]["id"]).stdout
        assert f"central job {rest[0]}, attempt 1, returned" in shown
        two.stop()
        # A pooler and a host that leaves: nothing is left behind there.
        assert counts(postgres) == {"done": 7}
    finally:
        bouncer.cleanup()


def test_an_upgrade_goes_on_with_what_is_held(make_host, postgres, folder):
    """A job that waits for another try is no lease handed back."""
    host = make_host("one").start()
    until_ready(postgres)
    go = folder / "go"
    job = submit(postgres, marker(folder, "ran", (
        f"test -e {go} || {{ echo begun >> {folder}/marks; exit 111; }};")))
    wait_for(lambda: marked(folder) and
             [j["state"] for j in local(host, job)] == ["queued"],
             what="the first try to be over")
    host.run("upgrade")
    host.follow()
    go.touch()
    wait_state(postgres, job, "done")
    assert row(postgres, job)[1] == 1 and marked(folder)[-1] == "ran"
    assert len(local(host, job)) == 1


def test_a_host_that_leaves_the_queue(make_host, postgres, folder):
    """With another source it hands back, and finishes what runs."""
    host = make_host("one", lease="1h").start()
    until_ready(postgres)
    go = folder / "go"
    runs = [submit(postgres, held(folder, "ran")) for _ in range(2)]
    wait_for(lambda: marked(folder) == ["begun"] * 2, what="both to run")
    rest = [submit(postgres, ["/bin/true"]) for _ in range(3)]
    wait_for(lambda: counts(postgres) == {"leased": 5}, what="the leases")
    host.configure({"generation": {"source": "local"}})
    host.run("reload")
    wait_for(lambda: counts(postgres) == {"leased": 2, "queued": 3},
             what="the others to be handed back")
    go.touch()
    wait_for(lambda: counts(postgres) == {"done": 2, "queued": 3},
             what="the ends of what ran")
    assert {row(postgres, job)[:2] for job in runs} == {("done", 1)}
    assert {row(postgres, job)[:2] for job in rest} == {("queued", 0)}


def test_retries_poison_and_cancel(make_host, postgres, folder):
    """What may go well elsewhere is tried again, up to its attempts; what
    fails for good is not; what is cancelled at the centre is ended here."""
    daemon = make_host("one", lease="4s")
    daemon.configure({"generation": {"max_retries": 0}})
    daemon.start()
    until_ready(postgres)
    passing = submit(postgres, ["/bin/sh", "-c", "exit 111"], max_attempts=2)
    hopeless = submit(postgres, ["/bin/sh", "-c", "exit 100"], max_attempts=5)
    endless = submit(postgres, marker(folder, "ended",
                                      f"echo begun >> {folder}/marks;"
                                      "sleep 1000;"))
    assert row(postgres, wait_state(postgres, hopeless, "failed") and hopeless
               )[1] == 1
    wait_for(lambda: marked(folder) == ["begun"], what="the endless one")
    assert postgres.query("SELECT tidemill.cancel_job(%s)", endless) == [(
        True,)]
    wait_for(lambda: local(daemon, endless)[0]["state"] == "cancelled",
             what="the cancelled job to be ended")
    assert row(postgres, wait_state(postgres, passing, "failed") and passing
               )[1] == 2
    assert row(postgres, endless)[0] == "cancelled"
    assert marked(folder) == ["begun"]


def test_roles(make_host, postgres, folder):
    """A host with the writer's rights shares the queue, and a role that may
    only submit does so, with what the command prints, and sees no more."""
    import psycopg2
    contract = SOURCE / "tests/fixtures/contracts/billing_object_store.yaml"
    run_script(postgres)
    owner = make_host("owner", conninfo_as(postgres, "tidemill_owner"),
                      poll="1h").start()
    until_ready(postgres)
    owner.stop()
    run_script(postgres)
    (folder / "out").mkdir()
    word = "it's \\ \"so\""
    sql = owner.run("generate", "--sql", "--output", folder / "out",
                    contract).stdout
    sql += owner.run("run", "--sql", "--key", word, "--priority", "high",
                     "--timeout", "10s", "--", "/bin/sh", "-c",
                     'printf %s "$0" > ' + f"{folder}/said", word).stdout
    assert "template_dir" not in sql
    jobs = [as_role(postgres, "tidemill_submitter", statement)[0][0]
            for statement in sql.splitlines()]
    assert postgres.query("SELECT priority, timeout_ms, key, submitted_by "
                          "FROM tidemill.job_queue WHERE id = %s", jobs[1]) \
        == [(1, 10000, word, "tidemill_submitter")]
    make_host("one", conninfo_as(postgres, "tidemill_writer")).start()
    result = wait_state(postgres, jobs[0], "done")[3]
    assert result["written"] > 5
    assert list((folder / "out").iterdir())
    wait_state(postgres, jobs[1], "done")
    assert (folder / "said").read_text() == word
    listed = as_role(postgres, "tidemill_submitter", (
        "SELECT id, state, priority, what, submitted_by, attempt, "
        "result ->> 'exit_code' FROM tidemill.jobs ORDER BY id"))
    assert listed == [
        (jobs[0], "done", "normal", str(contract), "tidemill_submitter", 1,
         None),
        (jobs[1], "done", "high", "/bin/sh", "tidemill_submitter", 1, "0")]
    assert as_role(postgres, "tidemill_submitter",
                   "SELECT tidemill.cancel_job(1)") == [(False,)]
    for role, statement in [
            ("tidemill_submitter", "SELECT spec FROM tidemill.job_queue"),
            ("tidemill_submitter", "INSERT INTO tidemill.job_queue (kind, "
             "spec, state) VALUES ('noop', '{}', 'done')"),
            ("tidemill_submitter",
             "SELECT tidemill.lease_jobs('me', 1, 1, 1000)"),
            ("tidemill_submitter", "SELECT * FROM tidemill.synced_records"),
            ("tidemill_reader",
             "SELECT tidemill.enqueue_job('noop', '{}')")]:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            as_role(postgres, role, statement)
    assert owner.run("run", "--sql", "--after", "1", "--", "/bin/true",
                     check=False).returncode == 64


def test_submitting(make_host, postgres):
    """Keys are taken once, and what nobody could run is refused."""
    import psycopg2
    make_host("one", poll="1h").start()
    until_ready(postgres)
    one = submit(postgres, ["/bin/true"], key="k", priority=0,
                 not_before="2999-01-01")
    assert submit(postgres, ["/bin/true"], key="k") == one
    with pytest.raises(psycopg2.errors.UniqueViolation):
        submit(postgres, ["/bin/false"], key="k")
    with pytest.raises(psycopg2.errors.CheckViolation):
        postgres.query("SELECT tidemill.enqueue_job('magic', '{}')")
    with pytest.raises(psycopg2.errors.CheckViolation):
        submit(postgres, ["/bin/true"], priority=9)
    assert row(postgres, one)[:2] == ("queued", 0)


def make_centre(postgres, version):
    """The schema as hosts of an earlier version have left it."""
    postgres.query(
        "CREATE SCHEMA tidemill; CREATE TABLE tidemill.schema_migrations ("
        "version integer PRIMARY KEY, description text NOT NULL, applied_at "
        "timestamptz NOT NULL DEFAULT now(), checksum text NOT NULL)")
    folder = SOURCE / "common/store/sql/centre"
    for n, path in enumerate(sorted(folder.glob("*.sql"))[:version], 1):
        postgres.query(path.read_text())
        postgres.query(
            "INSERT INTO tidemill.schema_migrations (version, description, "
            "checksum) VALUES (%s, %s, %s)", n,
            path.stem[5:].replace("_", " "),
            hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_centre_of_before_is_migrated(make_host, postgres, folder):
    """By the first host that comes, with what is in it; and a host of before
    a migration is told what to do, and leases nothing."""
    make_centre(postgres, 7)
    job = submit(postgres, marker(folder, "ran"), key="k")
    postgres.query(
        "INSERT INTO tidemill.synced_records (system_id, table_name, "
        "record_id, data) VALUES ('h', 'generation_jobs', '1', %s)",
        json.dumps({"state": "done", "phases": {"total": 5}, "workers": 1,
                    "mixins": ["Caching", "Retry"], "mixins_tried": True,
                    "node_type": "EFFECT"}))
    matrix = ("SELECT mixin_a, success_count FROM "
              "tidemill.mixin_compatibility_matrix")
    before = postgres.query(matrix)
    one = make_host("one").start()
    wait_state(postgres, job, "done")
    assert postgres.query("SELECT max(version) FROM "
                          "tidemill.schema_migrations")[0][0] >= 8
    assert postgres.query("SELECT key, submitted_by FROM tidemill.jobs") == [
        ("k", None)]
    assert before == [("Caching", 1)] == postgres.query(matrix)
    assert postgres.query(
        "SELECT phase, duration_ms, memory_usage_mb FROM "
        "tidemill.generation_performance_metrics WHERE system_id = 'h'") == [
            ("total", 5, None)]
    one.stop()
    postgres.query("INSERT INTO tidemill.schema_migrations VALUES "
                   "(99, 'future', now(), 'x')")
    late = submit(postgres, marker(folder, "late"))
    old = make_host("old").start()
    wait_for(lambda: "upgrade tidemill here" in old.log_text(),
             what="the old host to be told")
    assert row(postgres, late)[0] == "queued" and marked(folder) == ["ran"]
