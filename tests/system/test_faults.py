# SPDX-License-Identifier: Apache-2.0
"""Bad surroundings: full disks, second daemons, other programs' mistakes."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest

from harness import Daemon, binaries, wait_for


@pytest.fixture
def small_disk(folder):
    """A file system of 4 MB."""
    place = folder / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs",
                           place], capture_output=True)
    if done.returncode != 0:
        pytest.skip("may not mount a file system here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_full_disk_is_told_and_survived(folder, small_disk):
    daemon = Daemon(folder, {"paths": {"state_dir": str(small_disk)},
                             "sync": {"enabled": False}}, name="s")
    daemon.state = small_disk
    daemon.start()
    try:
        accepted, refusal = [], None
        for n in range(200):
            lines = [json.dumps({"table": "t", "record_id": f"{n}-{i}",
                                 "data": {"x": "y" * 2000}})
                     for i in range(50)]
            result = daemon.run("enqueue", "--batch", "-", "--atomic",
                                input="\n".join(lines), check=False)
            if result.returncode != 0:
                refusal = result
                break
            accepted += [f"{n}-{i}" for i in range(50)]
        assert refusal is not None and refusal.returncode == 75
        assert "space" in refusal.stderr or "full" in refusal.stderr
        assert all(w["state"] in ("idle", "busy") for w in daemon.workers())
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk],
                       check=True)
        wait_for(lambda: daemon.run("enqueue", "t", "later", "{}",
                                    check=False).returncode == 0, 20,
                 "the store to accept again")
        daemon.configure({"sync": {"enabled": True, "sqlite": {
            "path": str(folder / "centre.db")}}})
        daemon.run("reload")
        daemon.run("sync", "drain", timeout=120)
        with contextlib.closing(sqlite3.connect(folder / "centre.db")) as db:
            found = {r for r, in db.execute(
                "SELECT record_id FROM synced_records")}
        assert found == {*accepted, "later"}
    finally:
        daemon.cleanup()


def eat(place):
    """A file of somebody else takes every byte that is left."""
    with open(place / "other", "ab", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass


def enqueue_until_full(daemon, most=200):
    accepted = []
    for n in range(most):
        ids = [f"{len(accepted)}-{n}-{i}" for i in range(50)]
        lines = [json.dumps({"table": "t", "record_id": i,
                             "data": {"x": "y" * 2000}}) for i in ids]
        result = daemon.run("enqueue", "--batch", "-", "--atomic",
                            input="\n".join(lines), check=False)
        if result.returncode != 0:
            assert result.returncode == 75, result.stderr
            return accepted
        accepted += ids
    raise AssertionError("the disk was never full")


def test_accepted_is_delivered_while_the_disk_is_full(folder, small_disk):
    daemon = Daemon(folder, {"paths": {"state_dir": str(small_disk)},
                             "sync": {"enabled": False}}, name="s")
    daemon.state = small_disk
    daemon.start()
    try:
        accepted = enqueue_until_full(daemon)
        assert accepted
        eat(small_disk)
        accepted += enqueue_until_full(daemon)
        eat(small_disk)
        daemon.configure({"sync": {"enabled": True, "sqlite": {
            "path": str(folder / "centre.db")}}})
        daemon.run("reload")
        daemon.run("sync", "drain", timeout=60)
        refused = daemon.run("enqueue", "t", "new", "{}", check=False)
        assert refused.returncode == 75 and "free" in refused.stderr
        with contextlib.closing(sqlite3.connect(folder / "centre.db")) as db:
            found = [r for r, in db.execute(
                "SELECT record_id FROM synced_records")]
        assert sorted(found) == sorted(accepted)
        (small_disk / "other").unlink()
        wait_for(lambda: daemon.run("enqueue", "t", "later", "{}",
                                    check=False).returncode == 0, 20,
                 "the store to accept again")
        daemon.run("sync", "drain", timeout=60)
    finally:
        daemon.cleanup()


def test_start_on_a_full_disk(folder, small_disk):
    daemon = Daemon(folder, {"paths": {"state_dir": str(small_disk)},
                             "sync": {"enabled": False}}, name="s")
    daemon.state = small_disk
    try:
        eat(small_disk)
        daemon.start(wait=False)
        assert daemon.process.wait(20) == 75
        assert "No space left on device" in daemon.log_text()
        (small_disk / "other").unlink()
        daemon.start()
        daemon.run("enqueue", "t", "a", "{}")
        daemon.stop()
        eat(small_disk)
        # The store is there: what it holds can be worked on.
        daemon.configure({"sync": {"enabled": True, "sqlite": {
            "path": str(folder / "centre.db")}}})
        daemon.start()
        daemon.run("sync", "drain", timeout=60)
    finally:
        daemon.cleanup()


def test_hooks_on_a_full_disk(folder, small_disk):
    """Refused while there is no room; what was spooled before is kept until
    there is, and taken over by itself."""
    daemon = Daemon(folder, {"paths": {"state_dir": str(small_disk)},
                             "sync": {"enabled": False}}, name="s")
    daemon.state = small_disk
    event = json.dumps({"hook_event_name": "Stop", "note": "x" * 3000})
    daemon.run("migrate")
    daemon.run("hook", input=event)
    ballast = small_disk / "ballast"
    with open(ballast, "wb", buffering=0) as out:
        with contextlib.suppress(OSError):
            while True:
                out.write(b"x" * 4096)
    refusals = [daemon.run("hook", input=event, check=False)
                for _ in range(3)]
    assert refusals[-1].returncode == 75, refusals[-1]
    assert "No space" in refusals[-1].stderr
    accepted = 1 + sum(r.returncode == 0 for r in refusals)
    ballast.unlink()
    daemon.run("hook", input=event)
    daemon.json("sync", "status")
    with contextlib.closing(daemon.store()) as db:
        assert db.execute("SELECT count(*) FROM hook_events"
                          ).fetchone()[0] == accepted + 1


def test_log_on_a_full_disk_costs_lines_only(folder, small_disk):
    daemon = Daemon(folder, {"sync": {"enabled": False}}, name="s")
    daemon.output = small_disk / "log"
    daemon.start()
    try:
        eat(small_disk)
        for n in range(3):
            daemon.run("reload")
            daemon.run("enqueue", "t", f"r{n}", "{}")
        assert all(w["state"] in ("idle", "busy") for w in daemon.workers())
        (small_disk / "other").unlink()
        before = len(daemon.log_text())
        daemon.run("reload")
        wait_for(lambda: "is applied" in daemon.log_text()[before:], 10,
                 "the log to go on")
    finally:
        daemon.cleanup()


def source_file(path, rows=()):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("""CREATE TABLE IF NOT EXISTS sync_queue (
            id INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT NOT NULL,
            table_name TEXT NOT NULL, record_id TEXT NOT NULL,
            record_data JSON, priority TEXT NOT NULL DEFAULT 'normal',
            created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
            synced_at TIMESTAMP, retry_count INTEGER NOT NULL DEFAULT 0,
            error_message TEXT)""")
        db.executemany("INSERT INTO sync_queue (operation, table_name, "
                       "record_id, record_data) VALUES ('INSERT', 'app', ?, "
                       "?)", [(r, json.dumps({"id": r})) for r in rows])
        db.commit()


@pytest.fixture
def with_source(daemon):
    path = daemon.folder / "app.db"
    daemon.configure({"sync": {"enabled": False, "poll_interval": "50ms"},
                      "sources": [{"name": "app", "path": str(path)}]})
    return daemon, path


def copied(daemon):
    with contextlib.closing(daemon.store()) as db:
        return [r[0] for r in db.execute(
            "SELECT record_id FROM sync_queue WHERE source = 'app' "
            "ORDER BY source_id")]


def finding(daemon):
    """What `doctor` says of the source."""
    texts = [f["text"] for f in json.loads(
        daemon.run("--json", "doctor", check=False).stdout)
        if f["subject"] == "source" and f["verdict"] == "bad"]
    return texts[0] if texts else ""


def test_source_is_copied_once_and_never_written(with_source):
    daemon, path = with_source
    source_file(path, [f"a{n}" for n in range(1200)])
    before = path.read_bytes()
    daemon.start()
    wait_for(lambda: len(copied(daemon)) == 1200, 15, "the rows")
    assert path.read_bytes() == before
    daemon.kill_worker("store")
    source_file(path, ["late"])
    wait_for(lambda: copied(daemon)[-1] == "late", 10, "the new row")
    daemon.stop()
    daemon.start()
    source_file(path, ["later"])
    wait_for(lambda: copied(daemon)[-1] == "later", 10, "the newest row")
    assert len(copied(daemon)) == 1202


def test_source_that_comes_later(with_source):
    daemon, path = with_source
    daemon.start()
    source_file(path, ["a"])
    wait_for(lambda: copied(daemon) == ["a"], 10, "the row")


def test_source_that_is_locked(with_source):
    daemon, path = with_source
    source_file(path, ["a"])
    with contextlib.closing(sqlite3.connect(path)) as holder:
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        daemon.start()
        daemon.run("enqueue", "t", "1", "{}")
        holder.rollback()
    wait_for(lambda: copied(daemon) == ["a"], 10, "the row")


def test_source_of_another_form(with_source):
    daemon, path = with_source
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE sync_queue (id INTEGER PRIMARY KEY, x TEXT)")
        db.commit()
    daemon.start()
    wait_for(lambda: "operation" in finding(daemon), 10, "the finding")
    daemon.run("enqueue", "t", "1", "{}")


def test_source_that_is_damaged(with_source):
    daemon, path = with_source
    path.write_bytes(b"this is no database" * 1000)
    daemon.start()
    wait_for(lambda: finding(daemon), 10, "the finding")
    daemon.run("enqueue", "t", "1", "{}")


def test_source_that_was_replaced(with_source):
    """Another file at the path: stopped and told, never skipped or doubled."""
    daemon, path = with_source
    source_file(path, [f"a{n}" for n in range(10)])
    daemon.start()
    wait_for(lambda: len(copied(daemon)) == 10, 10, "the rows")
    other = path.with_name("other.db")
    source_file(other, ["b0", "b1"])
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")
    os.rename(other, path)
    wait_for(lambda: finding(daemon), 10, "the finding")
    assert "app" in finding(daemon)
    assert len(copied(daemon)) == 10


def test_source_rows_that_the_outbox_refuses(with_source):
    daemon, path = with_source
    source_file(path, ["a"])
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO sync_queue (operation, table_name, "
                   "record_id, record_data) VALUES ('UPSERT', 'app', 'bad', "
                   "'{}')")
        db.execute("INSERT INTO sync_queue (operation, table_name, "
                   "record_id, record_data) VALUES ('INSERT', 'app', 'worse',"
                   " '{broken')")
        db.commit()
    source_file(path, ["b"])
    daemon.start()
    wait_for(lambda: len(copied(daemon)) == 4, 10, "all rows")
    dead = daemon.json("sync", "dead")
    assert sorted(d["record_id"] for d in dead) == ["bad", "worse"]
    assert all(d["error_message"] for d in dead)


def test_store_of_another_host(daemon):
    daemon.run("enqueue", "t", "1", "{}")
    daemon.configure({"system": {"id": "somebody-else"}})
    result = daemon.run("enqueue", "t", "2", "{}", check=False)
    assert result.returncode == 78
    assert "host-d" in result.stderr and "somebody-else" in result.stderr


def test_urgent_operation_arrives_at_once(daemon):
    daemon.start()
    daemon.run("enqueue", "t", "first", "{}")
    daemon.run("sync", "now")
    started = time.monotonic()
    daemon.run("enqueue", "alarms", "1", "{}", "--priority", "urgent")
    wait_for(lambda: daemon.pending() == 0, 5, "the urgent operation")
    print(f"urgent: {(time.monotonic() - started) * 1000:.0f} ms, two "
          "commands included")
