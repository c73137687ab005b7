# SPDX-License-Identifier: Apache-2.0
"""A store that goes back in time, and one whose ledger is kept short."""
import collections
import contextlib
import json
import pathlib
import random
import re
import shutil
import sqlite3

import pytest

from harness import Daemon, wait_for
from test_kill import PgsqlCentre, SqliteCentre

PRIORITIES = ("low", "normal", "high", "urgent")


@pytest.fixture(params=["sqlite", "pgsql"])
def centre(daemon, request):
    if request.param == "sqlite":
        centre = SqliteCentre(daemon)
    else:
        centre = PgsqlCentre(request.getfixturevalue("postgres"))
    daemon.configure(centre.options())
    return centre


def enqueue(daemon, prefix, count, rng, poison=0.0):
    lines = []
    for n in range(count):
        data = {"n": n}
        if rng.random() < poison:
            data["x"] = "a\0b"
        lines.append(json.dumps(
            {"table": f"t{rng.randrange(3)}", "record_id": f"{prefix}{n}",
             "data": data, "priority": rng.choice(PRIORITIES)}))
    report = daemon.json("enqueue", "--batch", "-", input="\n".join(lines))
    assert report == {"accepted": count, "refused": 0}


def start(daemon):
    daemon.start()
    wait_for(lambda: daemon.json("sync", "status")["state"] == "online", 20,
             "the centre")


def drain(daemon):
    daemon.run("sync", "drain", timeout=20)


def backup(daemon, to):
    """What a file copy of a quiet store, or a snapshot, gives."""
    with contextlib.closing(sqlite3.connect(
            f"file:{daemon.store_path}?mode=ro", uri=True)) as db:
        pathlib.Path(to).unlink(missing_ok=True)
        db.execute("VACUUM INTO ?", (str(to),))


def put_back(daemon, copy):
    for suffix in ("-wal", "-shm"):
        pathlib.Path(str(daemon.store_path) + suffix).unlink(missing_ok=True)
    shutil.copyfile(copy, daemon.store_path)


def times_applied(centre):
    return collections.Counter(
        record for n in range(3)
        for record, _ in centre.applications(f"t{n}"))


def ledger_rows(centre):
    if isinstance(centre, PgsqlCentre):
        return centre.database.query(
            "SELECT count(*) FROM tidemill.ledger")[0][0]
    with contextlib.closing(sqlite3.connect(centre.path)) as db:
        return db.execute("SELECT count(*) FROM ledger").fetchone()[0]


def meta(daemon, name):
    with contextlib.closing(daemon.store()) as db:
        row = db.execute("SELECT value FROM store_meta WHERE name = ?",
                         (name,)).fetchone()
        return row and row[0]


def wait_epoch(daemon, before):
    wait_for(lambda: meta(daemon, "epoch") != before, 30, "a new epoch")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_restored_store_neither_loses_nor_repeats(daemon, centre, seed):
    rng = random.Random(seed)
    copy = daemon.folder / "copy.db"
    daemon.configure({"sync": {"max_retries": 1, "max_workers": 2,
                               "retry": {"base": "50ms", "max": "100ms"},
                               "batch": {"min": 5, "max": 50}}})
    start(daemon)
    centre.count_applications()
    enqueue(daemon, "a", 200, rng, poison=0.05)
    drain(daemon)
    daemon.run("sync", "pause")
    enqueue(daemon, "b", 300, rng, poison=0.05)
    if seed != 1:
        daemon.run("sync", "resume")
        wait_for(lambda: daemon.pending() < 250, 20, "some batches")
    backup(daemon, copy)
    daemon.run("sync", "resume")
    enqueue(daemon, "c", 200, rng, poison=0.05)
    drain(daemon)
    epoch = meta(daemon, "epoch")
    if seed == 3:
        daemon.kill()
    else:
        daemon.stop()
    put_back(daemon, copy)
    daemon.start()
    daemon.run("sync", "resume")
    wait_epoch(daemon, epoch)
    enqueue(daemon, "d", 100, rng)
    drain(daemon)
    counts = times_applied(centre)
    assert {r for r, n in counts.items() if n > 1} == set()
    dead = {d["record_id"] for d in daemon.json("sync", "dead",
                                                "--limit", "1000")}
    gone = [f"{p}{n}" for p, m in (("a", 200), ("b", 300), ("d", 100))
            for n in range(m) if f"{p}{n}" not in counts]
    assert set(gone) <= dead
    assert not dead & set(counts)
    assert meta(daemon, "epoch") > epoch
    status = daemon.json("sync", "status")
    assert status["pending"] == 0 and status["in_flight"] == 0


def test_restored_twice_from_the_same_backup(daemon, centre):
    rng = random.Random(7)
    copy = daemon.folder / "copy.db"
    start(daemon)
    centre.count_applications()
    daemon.run("sync", "pause")
    enqueue(daemon, "a", 300, rng)
    backup(daemon, copy)
    for turn in range(3):
        daemon.run("sync", "resume")
        enqueue(daemon, f"x{turn}", 20, rng)
        drain(daemon)
        daemon.stop()
        put_back(daemon, copy)
        first = meta(daemon, "epoch")
        daemon.start()
        daemon.run("sync", "resume")
        wait_epoch(daemon, first)
        wait_for(lambda: daemon.pending() == 0, 20, "nothing to pend")
    counts = times_applied(centre)
    assert set(counts.values()) == {1}
    assert len(counts) == 360


def test_ledger_stays_short(daemon, centre):
    rng = random.Random(3)
    daemon.configure({"sync": {"batch": {"min": 1, "max": 5}}})
    daemon.start()
    for n in range(3):
        enqueue(daemon, f"l{n}-", 500, rng)
        drain(daemon)
    with contextlib.closing(daemon.store()) as db:
        batches = db.execute("SELECT count(*) FROM sync_batches").fetchone()[0]
    assert batches > 200
    assert 0 < ledger_rows(centre) < 100


def test_centre_that_went_back_is_told(daemon):
    rng = random.Random(5)
    daemon.configure({"sync": {"sink": "sqlite"}})
    start(daemon)
    enqueue(daemon, "a", 20, rng)
    drain(daemon)
    copy = daemon.folder / "centre.db"
    shutil.copyfile(daemon.centre_path, copy)
    enqueue(daemon, "b", 30, rng)
    drain(daemon)
    daemon.stop()
    shutil.copyfile(copy, daemon.centre_path)
    daemon.start()
    said = wait_for(lambda: re.search(
        r"the centre has lost batches .*?--after-batch (\d+)",
        daemon.log_text()), 20, "the loss in the log")
    lines = daemon.run("store", "export", "--after-batch", said[1]).stdout
    assert sorted(json.loads(line)["record_id"]
                  for line in lines.splitlines()) == sorted(
                      f"b{n}" for n in range(30))
    daemon.run("enqueue", "--batch", "-", input=lines)
    drain(daemon)
    records = {r for n in range(3)
               for r in SqliteCentre(daemon).rows(f"t{n}")}
    assert len(records) == 50


def test_two_hosts_with_one_system_id(daemon, folder):
    rng = random.Random(6)
    daemon.configure({"sync": {"sink": "sqlite"}})
    start(daemon)
    enqueue(daemon, "a", 20, rng)
    drain(daemon)
    other = Daemon(folder, name="o")
    other.configure({"system": daemon.config["system"],
                     "sync": {"sink": "sqlite", "sqlite": {
                         "path": str(daemon.centre_path)}}})
    try:
        start(other)
        enqueue(other, "b", 20, rng)
        drain(other)
        daemon.run("sync", "now", check=False)
        wait_for(lambda: "the same system.id" in json.dumps(
            daemon.json("sync", "status")), 20, "the error")
    finally:
        other.cleanup()
