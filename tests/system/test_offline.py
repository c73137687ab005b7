# SPDX-License-Identifier: Apache-2.0
"""`tidemill test offline`: the exercise itself, exercised."""
import json
import signal
import subprocess
import time

import pytest

from harness import binaries, wait_for
from test_sync import centre, enqueue_many, start, state  # noqa: F401


def exercise(daemon, *args, **kwargs):
    return subprocess.Popen(
        [binaries() / "tidemill", "--json", "-c", daemon.config_path, "test",
         "offline", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, **kwargs)


def test_exercise_passes(daemon, centre):
    start(daemon)
    run = exercise(daemon, "--duration", "2s", "--rate", "200")
    wait_for(lambda: state(daemon) == "cut", 5, "the line to be cut")
    assert "is cut by" in wait_for(
        lambda: daemon.json("sync", "status")["last_error"], 5, "words")
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, out + err
    report = json.loads(out)
    assert report["passed"]
    # An endpoint cannot be asked what it holds.
    asked = centre.sink != "http"
    assert bool(report["verified"]) == asked
    assert report["accepted_offline"] == 408  # whole records of 8
    assert report["held_back"] == report["accepted_offline"]
    assert report["accepted_offline"] % 8 == 0
    assert not asked or report["missing"] == report["wrong"] == 0
    assert report["offline_seconds"] == 2
    assert report["urgent"] >= 1
    assert 0 < report["urgent_first_seconds"] < 10, report
    assert report["urgent_most_seconds"] < 10, report
    assert state(daemon) != "cut"
    daemon.run("sync", "drain")  # the records are deleted again
    wait_for(lambda: state(daemon) == "online", 10, "online")


def test_exercise_in_words(daemon, centre):
    start(daemon)
    done = daemon.run("test", "offline", "--duration", "300ms", "--keep")
    if centre.sink == "http":
        assert "the sink acknowledged" in done.stdout
    else:
        assert "passed" in done.stdout
        assert "each operation once" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    rows = centre.rows("tidemill_probe")
    whole = [set(row) for row in rows.values()]
    assert len(whole) >= 2
    assert all(keys == {"run", "step", "s4", "s5", "s6", "s7"}
               for keys in whole)


def test_what_the_host_does_meanwhile_waits(daemon, centre):
    """The line is cut for real: others' operations stay, too, and nothing
    of them is lost or doubled."""
    start(daemon)
    run = exercise(daemon, "--duration", "1500ms")
    wait_for(lambda: state(daemon) == "cut", 5, "the line to be cut")
    enqueue_many(daemon, 300)
    late = daemon.run("sync", "now", check=False)
    assert late.returncode == 75 and "is cut by" in late.stderr
    assert daemon.pending() >= 300
    daemon.kill_worker("sync", 0)  # a successor must not get through either
    wait_for(lambda: daemon.workers("sync")[0]["pid"], 5, "the successor")
    time.sleep(0.3)
    assert daemon.pending() >= 300
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, out + err
    daemon.run("sync", "drain")
    assert len(centre.rows("t")) == 300


def test_a_killed_exercise_leaves_nothing_cut(daemon):
    start(daemon)
    run = exercise(daemon, "--duration", "1h")
    wait_for(lambda: state(daemon) == "cut", 5, "the line to be cut")
    run.kill()
    run.wait()
    started = time.monotonic()
    wait_for(lambda: state(daemon) == "online" and daemon.pending() == 0, 25,
             "the line to return by itself")
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_exercise_returns_the_line_at_once(daemon, sig):
    start(daemon)
    run = exercise(daemon, "--duration", "1h")
    wait_for(lambda: state(daemon) == "cut", 5, "the line to be cut")
    run.send_signal(sig)
    out, err = run.communicate(timeout=5)
    assert run.returncode == 1 and "the line is back" in err
    assert state(daemon) != "cut"
    wait_for(lambda: daemon.pending() == 0, 10, "the rest to be sent")


def test_a_batch_under_way_is_cut(daemon, postgres):
    """What is at the centre when the line is cut is sent again, once."""
    daemon.configure(postgres.config())
    start(daemon)
    blocker = postgres.connect()
    blocker.autocommit = False
    blocker.cursor().execute("LOCK TABLE tidemill.ledger IN EXCLUSIVE MODE")
    enqueue_many(daemon, 200)
    wait_for(lambda: daemon.workers("sync")[0]["state"] == "busy", 10,
             "a batch at the centre")
    # Before the lock is gone nothing of a batch can be there.
    run = subprocess.Popen(
        [binaries() / "tidemill", "-c", daemon.config_path, "test", "offline",
         "--duration", "1s"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True)
    time.sleep(0.2)
    blocker.rollback()
    blocker.close()
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, out + err
    daemon.run("sync", "drain")
    assert postgres.query(
        "SELECT count(*), count(DISTINCT record_id) "
        "FROM tidemill.synced_records WHERE table_name = 't'")[0] == (200, 200)


def test_it_refuses_what_makes_no_sense(daemon):
    assert daemon.run("test", "offline", "--duration", "1s",
                      check=False).returncode == 69
    daemon.start()
    for args in ([], ["--duration", "x"], ["--duration", "8d"],
                 ["--duration", "1s", "--rate", "0"],
                 ["--duration", "1s", "more"]):
        assert daemon.run("test", "offline", *args,
                          check=False).returncode == 64
    daemon.run("sync", "pause")
    paused = daemon.run("test", "offline", "--duration", "1s", check=False)
    assert paused.returncode == 75 and "paused" in paused.stderr


def test_what_went_wrong_is_found(daemon, postgres):
    """The verdict comes from the centre, not from what we think we sent."""
    daemon.configure(postgres.config())
    start(daemon)
    postgres.query("""
        CREATE FUNCTION public.lose() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF NEW.record_id LIKE '%-1' THEN NEW.data := NEW.data - 's6';
          ELSIF NEW.record_id LIKE '%-2' THEN RETURN NULL; END IF;
          RETURN NEW;
        END $$;
        CREATE TRIGGER lose BEFORE INSERT OR UPDATE ON tidemill.synced_records
          FOR EACH ROW EXECUTE FUNCTION public.lose();
    """)
    done = daemon.run("--json", "test", "offline", "--duration", "500ms",
                      "--rate", "100", check=False)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    # The urgent records end in a number, too.
    assert not report["passed"] and 1 <= report["missing"] <= 2
    assert 1 <= report["wrong"] <= 2
    done = daemon.run("test", "offline", "--duration", "500ms", "--rate",
                      "100", check=False)
    assert done.returncode == 1 and "failed" in done.stdout
