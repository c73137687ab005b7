# SPDX-License-Identifier: Apache-2.0
"""Several hosts write the same records: who wins, what comes back, and what
a person decides."""
import contextlib
import json
import random
import sqlite3
import threading
import time

import pytest

from harness import Daemon, Proxy, wait_for
from test_sync import READY

TABLES = {"last": {"conflict": "last_write_wins"},
          "notes": {"conflict": "manual"},
          "versions": {"conflict": "manual", "version": "v"}}
T0 = 1767225600000  # 2026-01-01


class SharedFile:
    """One sqlite centre of several hosts."""

    def __init__(self, folder):
        self.path = folder / "shared.db"

    def options(self):
        return {"sync": {"sink": "sqlite",
                         "sqlite": {"path": str(self.path)}}}

    def rows(self, table):
        with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as db:
            return {r: (None if gone else json.loads(data), stamp, system)
                    for r, data, stamp, system, gone in db.execute(
                        "SELECT record_id, data, stamp, system_id, deleted "
                        "FROM shared_records WHERE table_name = ?", (table,))}


class SharedServer:
    def __init__(self, database):
        self.database = database

    def options(self):
        return self.database.config()

    def rows(self, table):
        return {r: (None if gone else data, stamp, system)
                for r, data, stamp, system, gone in self.database.query(
                    "SELECT record_id, data, stamp, system_id, deleted FROM "
                    "tidemill.shared_records WHERE table_name = %s", table)}


@pytest.fixture(params=["sqlite", "pgsql"])
def centre(folder, request):
    if request.param == "sqlite":
        return SharedFile(folder)
    return SharedServer(request.getfixturevalue("postgres"))


@pytest.fixture
def hosts(folder, centre):
    """Three daemons with one centre, not started."""
    made = []
    for name in "abc":
        daemon = Daemon(folder, centre.options(), name=name)
        daemon.configure({"sync": {"tables": TABLES},
                          "generation": {"enabled": False}})
        made.append(daemon)
    yield made
    for daemon in made:
        daemon.cleanup()


def put(daemon, table, record, at=None, operation="INSERT", **data):
    if at is not None:
        data["updated_at"] = at
    arguments = [] if operation == "DELETE" else [json.dumps(data)]
    daemon.run("enqueue", table, record, "--operation", operation, *arguments)


def sync(daemon):
    daemon.run("sync", "drain")


def conflicts(daemon, *words):
    return daemon.json("sync", "conflicts", *words)


def statuses(daemon, record):
    with contextlib.closing(daemon.store()) as db:
        return [r[0] for r in db.execute(
            "SELECT status FROM sync_queue WHERE record_id = ? ORDER BY id",
            (record,))]


def centre_record(daemon, table, record):
    with contextlib.closing(daemon.store()) as db:
        row = db.execute("SELECT * FROM centre_records WHERE table_name = ? "
                         "AND record_id = ?", (table, record)).fetchone()
        return dict(row) if row else None


def test_the_newer_row_comes_back(hosts, centre):
    a, b, _ = hosts
    a.start(), b.start()
    put(a, "last", "r", T0 + 2000, x="newer")
    sync(a)
    put(b, "last", "r", T0 + 1000, x="older")
    sync(b)
    assert centre.rows("last")["r"][0]["x"] == "newer"
    assert conflicts(b) == []
    row, = conflicts(b, "--all")
    assert row["outcome"] == "lost" and row["rule"] == "last_write_wins"
    assert row["local_data"]["x"] == "older"
    assert row["centre_data"]["x"] == "newer"
    assert row["centre_system"] == "host-a"
    assert row["centre_time"] == "2026-01-01T00:00:02.000Z"
    assert row["resolution"] == "rule" and row["resolved"]
    back = centre_record(b, "last", "r")
    assert json.loads(back["data"])["x"] == "newer"
    assert back["updated_at"] == "2026-01-01T00:00:02.000Z"
    assert back["version"] is None and back["system_id"] == "host-a"
    assert statuses(b, "r") == ["synced"]
    assert "tidemill_sync_conflicts_lost_total 1" in b.run("metrics").stdout
    # A tombstone comes back too.
    put(a, "last", "d", T0, x=1)
    sync(a)
    put(b, "last", "d", T0 + 1000, x=2)
    sync(b)
    put(a, "last", "d", operation="DELETE")  # now: newer than all of these
    sync(a)
    put(b, "last", "d", T0 + 3000, "UPDATE", x=3)
    sync(b)
    assert centre.rows("last")["d"][0] is None
    assert centre_record(b, "last", "d")["deleted"] == 1
    # A delete that is older than the edit loses.
    put(b, "last", "e", int(time.time() * 1000) + 40000, x=1)
    sync(b)
    put(a, "last", "e", operation="DELETE")
    sync(a)
    assert centre.rows("last")["e"][0]["x"] == 1
    assert json.loads(centre_record(a, "last", "e")["data"])["x"] == 1


def test_a_person_decides(hosts, centre):
    a, b, _ = hosts
    a.start(), b.start()
    for record in ("mine", "theirs"):
        put(a, "notes", record, T0 + 9000, x="a")
    sync(a)
    for record in ("mine", "theirs"):
        put(b, "notes", record, T0, x="b")
        put(b, "notes", record, T0 + 99000, "UPDATE", later=1)
    put(b, "notes", "other", T0, x="other")
    sync(b)  # waits for no person
    assert centre.rows("notes")["other"][0]["x"] == "other"
    assert centre.rows("notes")["mine"][0]["x"] == "a"
    put(b, "notes", "mine", T0 + 99500, "UPDATE", last=1)
    b.run("enqueue", "notes", "theirs", "--operation", "UPDATE",
          "--priority", "urgent", '{"urgent": 1}')
    sync(b)
    status = b.json("sync", "status")
    assert status["conflicts"] == 2 and status["pending"] == 0
    assert statuses(b, "mine") == ["conflict"] * 3
    assert statuses(b, "theirs") == ["conflict"] * 3
    assert "conflicts      2" in b.run("sync", "status").stdout
    mine, theirs = conflicts(b)
    assert (mine["record_id"], theirs["record_id"]) == ("mine", "theirs")
    text = b.run("sync", "conflicts").stdout
    print(text)
    for words in ('"x":"a"', '"x":"b"', "by host-a", "manual",
                  f"sync resolve {mine['id']} --keep local"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 80
    # The centre moves on before the decision: a new conflict.
    put(a, "notes", "mine", T0 + 9500, x="a2")
    sync(a)
    result = b.run("sync", "resolve", mine["id"], "--keep", "local")
    assert "1 of 1 resolved" in result.stdout
    again = wait_for(lambda: [c for c in conflicts(b)
                              if c["record_id"] == "mine"], 10, "a new one")
    assert again[0]["id"] != mine["id"]
    assert again[0]["centre_data"]["x"] == "a2"
    assert statuses(b, "mine") == ["conflict"] * 3
    # This time it stands, and what waited behind it goes on.
    b.run("sync", "resolve", again[0]["id"], "--keep", "local")
    sync(b)
    data = centre.rows("notes")["mine"][0]
    assert (data["x"], data["later"], data["last"]) == ("b", 1, 1)
    assert statuses(b, "mine") == ["synced"] * 3
    # The other is given up with the daemon down; what is behind it meets
    # the centre's row, newer than it by the clock, and stands.
    b.stop()
    b.run("sync", "resolve", "--all", "--keep", "centre")
    assert conflicts(b) == []
    assert centre_record(b, "notes", "theirs")["system_id"] == "host-a"
    b.start()
    sync(b)
    data = centre.rows("notes")["theirs"][0]
    assert (data["x"], data["later"], data["urgent"]) == ("a", 1, 1)
    gone = b.run("sync", "resolve", mine["id"], "--keep", "local",
                 check=False)
    assert gone.returncode == 1 and "no conflict that waits" in gone.stderr
    assert [c["resolution"] for c in conflicts(b, "--all")] == [
        "local", "centre", "local"]


def test_versions(hosts, centre):
    a, b, _ = hosts
    a.start(), b.start()
    put(a, "versions", "r", v=1, x="a1")
    sync(a)
    put(b, "versions", "r", v=2, x="b2")
    sync(b)
    put(a, "versions", "r", v=2, x="a2")
    sync(a)
    row, = conflicts(a)
    assert (row["local_version"], row["centre_version"]) == (2, 2)
    assert row["local_time"] is None
    assert "written by host-b, version 2" in a.run("sync",
                                                   "conflicts").stdout
    a.run("sync", "resolve", row["id"], "--keep", "local")
    sync(a)
    assert centre.rows("versions")["r"][0]["x"] == "a2"
    assert centre.rows("versions")["r"][1] == 3


def test_usage(daemon):
    for words in (["sync", "resolve", "1"], ["sync", "resolve"],
                  ["sync", "resolve", "x", "--keep", "local"],
                  ["sync", "resolve", "1", "--keep", "both"],
                  ["sync", "resolve", "1", "--all", "--keep", "local"],
                  ["sync", "conflicts", "x"],
                  ["sync", "conflicts", "--limit", "0"]):
        assert daemon.run(*words, check=False).returncode == 64, words


def test_cut_after_the_commit(folder, postgres_server, postgres):
    """The batch is at the centre, its answer is lost: sent again, it is told
    the same, though the row has changed since."""
    proxy = Proxy(postgres_server.port)
    a = Daemon(folder, postgres.config(), name="a")
    b = Daemon(folder, postgres.config(database={
        "conninfo": f"host=127.0.0.1 port={proxy.port} user=postgres "
                    f"dbname={postgres.name} sslmode=disable "
                    "gssencmode=disable"}), name="b")
    for daemon in (a, b):
        daemon.configure({"sync": {"tables": TABLES}})
        daemon.start()
    centre = SharedServer(postgres)
    put(a, "last", "r", T0 + 5000, x="a")
    put(a, "notes", "r", T0 + 5000, x="a")
    sync(a)
    put(b, "last", "warm", T0)
    sync(b)
    cut = threading.Event()
    carrying = set()

    def on_client(data, number):
        if b'"x": "b"' in data:
            carrying.add(number)
        return True

    def on_server(data, number):
        if number in carrying and READY in data and not cut.is_set():
            cut.set()
            proxy.refuse = True
            return False
        return True
    proxy.on_client, proxy.on_server = on_client, on_server
    put(b, "last", "r", T0, x="b")
    put(b, "notes", "r", T0, x="b")
    b.run("sync", "now", check=False)
    wait_for(cut.is_set, 10, "the cut")
    wait_for(lambda: postgres.query(
        "SELECT count(*) FROM tidemill.ledger WHERE refusals IS NOT NULL")
        == [(1,)], 10, "the commit")
    assert conflicts(b, "--all") == []
    put(a, "last", "r", T0 + 9000, x="later")
    put(a, "notes", "r", operation="DELETE")
    sync(a)
    proxy.refuse = False
    wait_for(lambda: len(conflicts(b, "--all")) == 2, 20, "the conflicts")
    found = {c["table_name"]: c for c in conflicts(b, "--all")}
    assert found["last"]["outcome"] == "lost"
    assert found["last"]["centre_data"]["x"] == "a"
    assert found["notes"]["outcome"] == "parked"
    assert found["notes"]["centre_data"]["x"] == "a"
    assert centre.rows("last")["r"][0]["x"] == "later"
    assert b.json("metrics")["tidemill_sync_repeated_batches_total"] == 1
    for daemon in (a, b):
        daemon.cleanup()
    proxy.close()


def test_all_rules_at_once(folder, postgres):
    """Three hosts drain changes of the same records under every rule, some of
    which the centre refuses: no drain hangs, a typed row is there exactly
    when its record is not deleted, and a person can decide all the rest."""
    postgres.query("CREATE TABLE people (id text PRIMARY KEY, system_id text, "
                   "n integer CHECK (n <> 13), updated_at bigint)")
    tables = {"last": {"conflict": "last_write_wins"},
              "typed": {"target": "public.people",
                        "conflict": "last_write_wins"},
              "local": {"conflict": "local_wins"},
              "notes": {"conflict": "manual"}}
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    hosts = []
    try:
        for name in "abc":
            daemon = Daemon(folder, postgres.config(), name=name)
            hosts.append(daemon)
            daemon.configure({"sync": {"tables": tables, "max_workers": 2,
                                       "max_retries": 1}})
            daemon.run("enqueue", "--batch", "-", input="\n".join(
                json.dumps(random_change(chance)) for _ in range(1500)))
        for daemon in hosts:
            daemon.start()
        drains = [threading.Thread(target=sync, args=(daemon,))
                  for daemon in hosts]
        for drain in drains:
            drain.start()
        for drain in drains:
            drain.join()
        for daemon in hosts:
            wait_for(lambda: daemon.pending() == 0, 30, "nothing to pend")
            while conflicts(daemon):
                daemon.run("sync", "resolve", "--all", "--keep",
                           chance.choice(["local", "centre"]))
                sync(daemon)
            with contextlib.closing(daemon.store()) as db:
                left = db.execute("SELECT DISTINCT status FROM sync_queue "
                                  "WHERE table_name <> 'typed'").fetchall()
            assert [row[0] for row in left] == ["synced"]
    finally:
        for daemon in hosts:
            daemon.cleanup()
    assert postgres.query(
        "SELECT count(*) FROM tidemill.shared_records AS s "
        "FULL JOIN people AS p ON p.id = s.record_id "
        "WHERE s.table_name = 'typed' AND (s.deleted = (p.id IS NOT NULL) "
        "OR s.system_id <> p.system_id)") == [(0,)]


def random_change(chance):
    change = {"table": chance.choice(["last", "typed", "local", "notes",
                                      "plain"]),
              "record_id": f"r{chance.randrange(200)}",
              "operation": chance.choice(["INSERT", "UPDATE", "UPDATE",
                                          "DELETE"])}
    if change["operation"] != "DELETE":
        change["data"] = {"n": chance.randrange(100),
                          "updated_at": T0 + chance.randrange(1000)}
    return change


class Writer(threading.Thread):
    """One host's changes of the shared records, at random times of its own;
    remembers them in the order in which they were accepted."""

    def __init__(self, daemon, seed, records, count):
        super().__init__(daemon=True)
        self.target = daemon
        self.random = random.Random(seed)
        self.records = records
        self.left = count
        self.accepted = []
        self.error = None

    def run(self):
        try:
            while self.left > 0:
                self.step()
        except Exception as error:
            self.error = error

    def step(self):
        lines = []
        for _ in range(min(self.left, self.random.randint(1, 30))):
            record = f"r{self.random.randrange(self.records)}"
            at = T0 + self.random.randrange(2000)
            number = len(self.accepted) + len(lines)
            data = {"updated_at": at, "from": self.target.name, "n": number}
            lines.append({"table": "last", "record_id": record,
                          "operation": "INSERT", "data": data,
                          "priority": self.random.choice(
                              ["low", "normal", "high", "urgent"])})
        text = "\n".join(map(json.dumps, lines))
        while self.target.run("enqueue", "--batch", "-", "--atomic",
                              input=text, check=False).returncode != 0:
            time.sleep(0.02)
        self.accepted += lines
        self.left -= len(lines)


def best_of(writers):
    """Who has the last word on each record: of one host the later change
    stands with the highest of its times so far, and between hosts the
    highest (time, host)."""
    best = {}
    for writer in writers:
        own = {}
        for line in writer.accepted:
            record, at = line["record_id"], line["data"]["updated_at"]
            own[record] = (max(at, own.get(record, (0,))[0]), line["data"])
        for record, (at, data) in own.items():
            word = (at, f"host-{writer.target.name}", data)
            best.setdefault(record, []).append(word)
    return best


def test_hosts_at_once_with_kills(hosts, centre):
    """A store or sync worker of each host is killed again and again while all
    write the same records.  Nobody's change is lost silently: the centre's
    row is somebody's, a change that does not stand is told to its host, and
    no host knows of a newer row than the centre has."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    for daemon in hosts:
        daemon.configure({"sync": {"thresholds":
                                   {"max_pending_operations": 5}}})
        daemon.start()
    writers = [Writer(daemon, chance.random(), 12, 3000) for daemon in hosts]
    for writer in writers:
        writer.start()
    kills = 0
    while any(writer.is_alive() for writer in writers):
        daemon = chance.choice(hosts)
        kills += 1
        daemon.kill_worker(chance.choice(["sync", "sync", "store"]))
        time.sleep(chance.random() * 0.1)
    assert not [writer.error for writer in writers if writer.error]
    for daemon in hosts:
        wait_for(lambda: daemon.run("sync", "drain", check=False)
                 .returncode == 0, 60, "the drain")
    rows = centre.rows("last")
    words = best_of(writers)
    assert sorted(rows) == sorted(words)
    for record, (data, stamp, system) in rows.items():
        at, host, _ = max((w for w in words[record]), key=lambda w: w[:2])
        assert (stamp, system) == (at, host), record
    told = 0
    for daemon, writer in zip(hosts, writers):
        assert {s for n in range(12) for s in statuses(daemon, f"r{n}")} \
            == {"synced"}
        with contextlib.closing(daemon.store()) as db:
            found = db.execute(
                "SELECT * FROM sync_conflicts ORDER BY id").fetchall()
            back = {r["record_id"]: r for r in db.execute(
                "SELECT * FROM centre_records")}
        assert len({row["key"] for row in found}) == len(found)
        told += len(found)
        for row in found:
            assert row["centre_system"] != f"host-{daemon.name}"
            newer = (row["centre_stamp"], row["centre_system"]) > (
                row["local_stamp"], f"host-{daemon.name}")
            assert row["outcome"] == ("lost" if newer else "won")
        for record, row in back.items():
            data, stamp, system = rows[record]
            assert json.loads(row["data"])["updated_at"] <= stamp
    print(f"{kills} kills, {told} conflicts")
    assert told > 0 and kills > 3
