# SPDX-License-Identifier: Apache-2.0
"""Damage of the local store: bytes flipped, files cut, a header gone."""
import collections
import contextlib
import json
import random
import shutil
import sqlite3

import pytest

from harness import Daemon, wait_for
from test_kill import SqliteCentre

SYNCED = 300
PENDING = 600


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store with operations that are synced, pending and dead, and its
    centre, to be damaged in copies."""
    folder = tmp_path_factory.mktemp("stored")
    daemon = Daemon(folder)
    centre = SqliteCentre(daemon)
    daemon.start()
    wait_for(lambda: daemon.json("sync", "status")["state"] == "online", 20)
    centre.count_applications()
    enqueue(daemon, "s", SYNCED)
    daemon.run("sync", "drain", timeout=30)
    daemon.run("sync", "pause")
    enqueue(daemon, "p", PENDING)
    daemon.kill()  # leaves a WAL
    return daemon


def enqueue(daemon, prefix, count):
    daemon.run("enqueue", "--batch", "-", input="\n".join(
        json.dumps({"table": "t", "record_id": f"{prefix}{n}",
                    "data": {"n": n, "text": "x" * 300},
                    "priority": ("low", "normal", "high")[n % 3]})
        for n in range(count)))


def copy_of(stored, folder):
    daemon = Daemon(folder)
    shutil.copytree(stored.state, daemon.state, dirs_exist_ok=True)
    daemon.configure({"system": stored.config["system"]})
    return daemon


def checkpoint(daemon):
    with contextlib.closing(sqlite3.connect(daemon.store_path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def flip(path, offset, rng):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ (1 + rng.randrange(255))]))


def repair(daemon):
    result = json.loads(
        daemon.run("--json", "store", "repair", "--apply").stdout)
    assert result["applied"]
    return result


def applied(daemon):
    return collections.Counter(
        r for r, _ in SqliteCentre(daemon).applications("t"))


def drained(daemon):
    """Starts the daemon, which must neither hang nor loop."""
    daemon.start()
    daemon.run("sync", "resume")
    daemon.run("sync", "drain", timeout=30)
    assert daemon.run("store", "check").returncode == 0
    daemon.stop()
    return applied(daemon)


def is_lost(result, key):
    return any(row["table"] == "outbox" and row["after"] < key < row["before"]
               for row in result["lost"])


def damage(daemon, kind, rng):
    size = daemon.store_path.stat().st_size
    pages = size // 4096
    if kind == "header":
        with open(daemon.store_path, "r+b") as file:
            file.write(rng.randbytes(20))
    elif kind == "truncated":
        with open(daemon.store_path, "r+b") as file:
            file.truncate(rng.randrange(pages // 2, pages) * 4096)
    elif kind == "zeroed":
        with open(daemon.store_path, "r+b") as file:
            for page in rng.sample(range(2, pages), 2):
                file.seek(page * 4096)
                file.write(bytes(4096))
    else:
        for _ in range(5):
            page = rng.randrange(1, pages)
            for offset in range(page * 4096, page * 4096 + 12):
                flip(daemon.store_path, offset, rng)


@pytest.mark.parametrize("kind", ["header", "truncated", "zeroed", "flipped"])
@pytest.mark.parametrize("seed", range(4))
def test_what_can_be_read_arrives_once(stored, folder, kind, seed):
    rng = random.Random(f"{kind}{seed}")
    daemon = copy_of(stored, folder)
    checkpoint(daemon)
    with contextlib.closing(daemon.store()) as db:
        keys = dict(tuple(row) for row in db.execute(
            "SELECT record_id, key FROM outbox WHERE record_id LIKE 'p%'"))
    damage(daemon, kind, rng)
    plan = json.loads(daemon.run("--json", "store", "repair").stdout)
    assert not plan["applied"]
    result = repair(daemon)
    assert result["lost"] == plan["lost"]
    assert list(daemon.state.glob("tidemill.db.damaged-*"))
    print(len(result["lost"]), "gaps")
    counts = drained(daemon)
    assert {r for r, n in counts.items() if n > 1} == set()
    for record, key in keys.items():
        assert (record in counts) != is_lost(result, key), record
    if kind == "header":
        assert not result["lost"]


def test_a_damaged_store_says_what_to_do(stored, folder):
    daemon = copy_of(stored, folder)
    checkpoint(daemon)
    with open(daemon.store_path, "r+b") as file:
        file.seek(0)
        file.write(bytes(4096))
    result = daemon.run("store", "check", check=False)
    assert result.returncode != 0
    result = daemon.run("sync", "status", check=False)
    assert "tidemill store repair" in result.stdout + result.stderr
    daemon.start(wait=False)
    wait_for(lambda: "tidemill restore" in daemon.log_text(),
             what="the remedy in the log")
    daemon.stop()


def mended(daemon):
    """The daemon has mended its store by itself, and drains it."""
    daemon.run("sync", "resume")
    wait_for(lambda: daemon.json("metrics")["tidemill_store_repairs_total"]
             == 1, what="the repair")
    daemon.run("sync", "resume")  # the new store knows no pause
    wait_for(lambda: daemon.json("sync", "status")["pending"] == 0,
             what="the rest to be drained")
    assert list(daemon.state.glob("tidemill.db.damaged-*"))
    assert "what could be read of it is in a new one" in daemon.log_text()
    assert daemon.run("store", "check").returncode == 0
    assert "tidemill.db.damaged-* (1)" in daemon.run("doctor",
                                                     check=False).stdout
    daemon.stop()
    counts = applied(daemon)
    assert {r for r, n in counts.items() if n > 1} == set()
    return counts


@pytest.mark.parametrize("kind", ["truncated", "zeroed", "flipped"])
def test_the_daemon_mends_its_store(stored, folder, kind):
    daemon = copy_of(stored, folder)
    checkpoint(daemon)
    damage(daemon, kind, random.Random(kind))
    daemon.start()
    assert len(mended(daemon)) >= SYNCED


def test_damage_of_the_wal_is_no_silent_loss(stored, folder):
    """SQLite alone would drop what stands behind the damage."""
    daemon = copy_of(stored, folder)
    wal = daemon.state / "tidemill.db-wal"
    rng = random.Random(7)
    assert wal.stat().st_size > 40 * 4120
    flip(wal, 32 + 2 * 4120 + 10, rng)
    assert daemon.run("enqueue", "t", "late", "{}",
                      check=False).returncode == 74
    daemon.start()
    assert len(mended(daemon)) >= SYNCED + PENDING - 20


def test_damage_while_it_runs(stored, folder):
    """Pages that turn bad under the daemon are found by who reads them."""
    daemon = copy_of(stored, folder)
    checkpoint(daemon)
    with contextlib.closing(daemon.store()) as db:
        pages = [row[0] for row in db.execute(
            "SELECT DISTINCT pageno FROM dbstat WHERE name = 'outbox' AND "
            "pagetype = 'leaf'")]
    daemon.start()
    with open(daemon.store_path, "r+b") as file:
        for page in pages[len(pages) // 2:][:3]:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 4096)
    assert len(mended(daemon)) > SYNCED + PENDING // 2


def test_torn_wal_is_normal(stored, folder):
    daemon = copy_of(stored, folder)
    wal = daemon.state / "tidemill.db-wal"
    with open(wal, "r+b") as file:
        file.truncate(wal.stat().st_size - 1000)
    counts = drained(daemon)
    assert {r for r, n in counts.items() if n > 1} == set()


def test_export_can_be_enqueued(stored, folder):
    daemon = copy_of(stored, folder)
    lines = daemon.run("store", "export").stdout
    assert len(lines.splitlines()) == PENDING
    other = Daemon(folder, name="o")
    report = other.json("enqueue", "--batch", "-", input=lines)
    assert report == {"accepted": PENDING, "refused": 0}


def test_backup_and_restore(stored, folder):
    daemon = copy_of(stored, folder)
    daemon.start()
    daemon.run("backup", folder / "b.db")
    daemon.run("sync", "resume")
    daemon.run("sync", "drain", timeout=30)
    assert daemon.run("restore", folder / "b.db", check=False).returncode == 75
    daemon.stop()
    daemon.run("restore", folder / "b.db")
    counts = drained(daemon)
    assert len(counts) == SYNCED + PENDING
    assert set(counts.values()) == {1}
