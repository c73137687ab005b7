# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at random instants: nothing acknowledged is lost or done twice.

While operations are enqueued, code is generated and the outbox is drained,
random processes of the daemon are killed, the master itself included.  The
seed is printed; TIDEMILL_SEED and TIDEMILL_KILLS set another run.
"""
import collections
import contextlib
import hashlib
import json
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from harness import SOURCE, alive, binaries, wait_for
from http_centre import HttpCentre

KILLS = int(os.environ.get("TIDEMILL_KILLS", "200"))

pytestmark = pytest.mark.slow


class SqliteCentre:
    """The embedded sink, with a trigger that counts applications."""

    sink = "sqlite"

    def __init__(self, daemon):
        self.path = daemon.centre_path

    def options(self):
        return {"sync": {"sink": "sqlite"}}

    def count_applications(self):
        with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as db:
            db.executescript("""
                CREATE TABLE audit (n INTEGER PRIMARY KEY AUTOINCREMENT,
                  table_name TEXT, record_id TEXT, data TEXT);
                CREATE TRIGGER audit_i AFTER INSERT ON synced_records BEGIN
                  INSERT INTO audit (table_name, record_id, data)
                  VALUES (NEW.table_name, NEW.record_id, NEW.data); END;
                CREATE TRIGGER audit_u AFTER UPDATE ON synced_records BEGIN
                  INSERT INTO audit (table_name, record_id, data)
                  VALUES (NEW.table_name, NEW.record_id, NEW.data); END;
            """)

    def rows(self, table):
        with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as db:
            return {r: json.loads(d) for r, d in db.execute(
                "SELECT record_id, data FROM synced_records "
                "WHERE table_name = ?", (table,))}

    def applications(self, table):
        with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as db:
            return [(r, json.loads(d)) for r, d in db.execute(
                "SELECT record_id, data FROM audit WHERE table_name = ? "
                "ORDER BY n", (table,))]


class PgsqlCentre:
    sink = "pgsql"

    def __init__(self, database):
        self.database = database

    def options(self):
        return self.database.config()

    def count_applications(self):
        self.database.query("""
            CREATE TABLE public.audit (n bigserial PRIMARY KEY,
              table_name text, record_id text, data jsonb);
            CREATE FUNCTION public.audit() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN
              INSERT INTO public.audit (table_name, record_id, data)
              VALUES (NEW.table_name, NEW.record_id, NEW.data);
              RETURN NEW; END $$;
            CREATE TRIGGER audit AFTER INSERT OR UPDATE
              ON tidemill.synced_records FOR EACH ROW
              EXECUTE FUNCTION public.audit();
        """)

    def rows(self, table):
        return dict(self.database.query(
            "SELECT record_id, data FROM tidemill.synced_records "
            "WHERE table_name = %s", table))

    def applications(self, table):
        return self.database.query(
            "SELECT record_id, data FROM public.audit WHERE table_name = %s "
            "ORDER BY n", table)


def make_centre(sink, daemon, request):
    """The centre of a daemon that is not started yet."""
    if sink == "sqlite":
        return SqliteCentre(daemon)
    if sink == "pgsql":
        return PgsqlCentre(request.getfixturevalue("postgres"))
    centre = HttpCentre()
    request.addfinalizer(centre.close)
    return centre


class Producer(threading.Thread):
    """Enqueues until told to stop; remembers what was acknowledged."""

    def __init__(self, daemon, number):
        super().__init__(daemon=True)
        self.target = daemon
        self.number = number
        self.over = threading.Event()
        self.singles = {}       # record id: acknowledged?
        self.counters = collections.defaultdict(list)  # record: acked values
        self.unsure = set()     # records with an unacknowledged operation
        self.refusals = []

    def enqueue(self, lines):
        result = self.target.run(
            "enqueue", "--batch", "-", "--atomic", check=False,
            input="\n".join(map(json.dumps, lines)))
        if result.returncode not in (0, 75):
            self.refusals.append((result.returncode, result.stderr))
        return result.returncode == 0

    def run(self):
        step = 0
        priorities = ["low", "normal", "high", "urgent"]
        chance = random.Random(self.number)
        while not self.over.is_set():
            step += 1
            ids = [f"s{self.number}-{step}-{i}" for i in range(10)]
            good = self.enqueue([
                {"table": "singles", "record_id": r, "data": {"id": r},
                 "priority": chance.choice(priorities)} for r in ids])
            for record in ids:
                self.singles[record] = good
            record = f"c{self.number}-{step % 5}"
            if record in self.unsure:
                continue
            if self.enqueue([{"operation": "UPDATE", "table": "counters",
                              "record_id": record, "priority":
                              chance.choice(priorities),
                              "data": {"n": step, f"seen_{step}": 1}}]):
                self.counters[record].append(step)
            else:
                self.unsure.add(record)


class Generator(threading.Thread):
    """Runs `tidemill generate` again and again into folders of its own."""

    def __init__(self, daemon, folder):
        super().__init__(daemon=True)
        self.target, self.folder = daemon, folder
        self.over = threading.Event()
        self.done = []
        self.failures = []
        contracts = folder / "contracts"
        subprocess.run([sys.executable,
                        SOURCE / "tests/fixtures/make_contracts.py",
                        "--count", "12", contracts], check=True,
                       stdout=subprocess.DEVNULL)
        self.contracts = sorted(contracts.iterdir())

    def run(self):
        number = 0
        while not self.over.is_set():
            number += 1
            output = self.folder / f"code{number}"
            result = self.target.run("--json", "generate", "--output", output,
                                     *self.contracts, check=False,
                                     timeout=120)
            if result.returncode == 0:
                self.done.append((output, json.loads(result.stdout)))
            elif result.returncode not in (69, 75):
                self.failures.append((result.returncode, result.stdout,
                                      result.stderr))


class Application(threading.Thread):
    """Writes an outbox table of its own, which the daemon tails."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = path
        self.over = threading.Event()
        self.count = 0
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.executescript("""
                PRAGMA journal_mode = WAL;
                CREATE TABLE sync_queue (
                  id INTEGER PRIMARY KEY AUTOINCREMENT,
                  operation TEXT NOT NULL, table_name TEXT NOT NULL,
                  record_id TEXT NOT NULL, record_data JSON,
                  priority TEXT NOT NULL DEFAULT 'normal',
                  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
                  synced_at TIMESTAMP,
                  retry_count INTEGER NOT NULL DEFAULT 0,
                  error_message TEXT);
            """)

    def run(self):
        with contextlib.closing(sqlite3.connect(self.path, timeout=60)) as db:
            while not self.over.wait(0.002):
                with db:
                    for _ in range(5):
                        self.count += 1
                        self.put(db, self.count)

    @staticmethod
    def put(db, n):
        for operation, table, record, data in [
                ("INSERT", "source_singles", f"r{n}", {"n": n}),
                ("UPDATE", "source_counters", f"c{n % 7}",
                 {"n": n, f"seen_{n}": 1})]:
            db.execute("INSERT INTO sync_queue (operation, table_name, "
                       "record_id, record_data) VALUES (?, ?, ?, ?)",
                       (operation, table, record, json.dumps(data)))

    def copied(self, daemon):
        with contextlib.closing(daemon.store()) as db:
            rows, distinct, last = db.execute(
                "SELECT count(*), count(DISTINCT source_id), max(source_id) "
                "FROM sync_queue WHERE source IS NOT NULL").fetchone()
        assert rows == distinct, "a row of the source was copied twice"
        return rows == 2 * self.count == last


class Killer:
    """Chooses a process by its title, and kills it."""

    def __init__(self, daemon, chance):
        self.daemon, self.chance = daemon, chance
        self.killed = collections.Counter()

    def candidates(self):
        found = [("master", self.daemon.pid)]
        for pid in self.daemon.descendants():
            with contextlib.suppress(OSError):
                title = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                title = title.replace(b"\0", b" ").decode(errors="replace")
                if title.startswith("tidemilld: "):
                    role = title.split(": ", 1)[1].split()[0].split("[")[0]
                    # One just forked has its master's title still.
                    found.append(("newborn" if role == "master" else role,
                                  pid))
        return found

    def kill_one(self):
        found = self.candidates()
        # The master seldom: then everything dies with it.
        workers = [c for c in found if c[0] != "master"]
        role, pid = self.chance.choice(
            found if not workers or self.chance.random() < 0.2 else workers)
        children = self.daemon.descendants()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.killed[role] += 1
        if role == "master":
            self.daemon.process.wait(10)
            wait_for(lambda: not any(map(alive, children)), 15,
                     "workers to leave after their master")
            self.daemon.start()


def check_singles(producers, centre):
    rows = centre.rows("singles")
    counts = collections.Counter(r for r, _ in centre.applications("singles"))
    acknowledged = {r for p in producers for r, good in p.singles.items()
                    if good}
    maybe = {r for p in producers for r in p.singles}
    assert not acknowledged - rows.keys(), "acknowledged and lost"
    assert not rows.keys() - maybe, "never sent"
    assert not [r for r, n in counts.items() if n != 1], "applied twice"
    return len(acknowledged)


def check_counters(producers, centre):
    rows = centre.rows("counters")
    for producer in producers:
        for record, steps in producer.counters.items():
            data = rows[record]
            missing = [s for s in steps if f"seen_{s}" not in data]
            assert not missing, (record, missing)
            if record not in producer.unsure:
                assert data["n"] == steps[-1], record
                assert len(data) == len(steps) + 1, "applied what was not sent"
    last = collections.defaultdict(int)
    for record, data in centre.applications("counters"):
        assert data["n"] > last[record], f"{record} went back in order"
        last[record] = data["n"]


def check_source(application, centre):
    singles = centre.applications("source_singles")
    assert sorted(d["n"] for _, d in singles) == list(
        range(1, application.count + 1)), "a row of the source"
    rows = centre.rows("source_counters")
    for c in range(7):
        steps = [n for n in range(1, application.count + 1) if n % 7 == c]
        assert rows[f"c{c}"] == {
            "n": steps[-1], **{f"seen_{n}": 1 for n in steps}}
    last = collections.defaultdict(int)
    for record, data in centre.applications("source_counters"):
        assert data["n"] > last[record], f"{record} went back in order"
        last[record] = data["n"]
    return 2 * application.count


def check_jobs(generator, daemon, centre):
    jobs = set()
    for output, report in generator.done:
        for row in report["results"]:
            assert row["state"] == "done", row
            jobs.add(row["id"])
        files = 0
        for manifest in (output / ".tidemill").rglob("*.json"):
            for file in json.loads(manifest.read_text())["files"]:
                data = (output / file["path"]).read_bytes()
                assert hashlib.sha256(data).hexdigest() == file["sha256"]
                files += 1
        found = [p for p in output.rglob("*") if p.is_file()
                 and ".tidemill" not in p.relative_to(output).parts]
        assert len(found) == files, "a file that no manifest knows"
    counts = collections.Counter(
        r for r, _ in centre.applications("generation_jobs"))
    assert not [r for r, n in counts.items() if n != 1], "recorded twice"
    with contextlib.closing(daemon.store()) as db:
        over = {r[0] for r in db.execute(
            "SELECT id FROM generation_jobs WHERE state = 'done'")}
        left = db.execute("SELECT count(*) FROM generation_jobs WHERE state "
                          "IN ('queued', 'claimed')").fetchone()[0]
    assert jobs <= over
    assert left == 0, "a job was forgotten"
    assert len(counts) == len(over), "a result that the centre lacks"
    return len(over)


def drained(daemon):
    result = daemon.run("sync", "drain", check=False, timeout=60)
    return result.returncode == 0 and daemon.pending() == 0


@pytest.mark.parametrize("sink", ["sqlite", "pgsql", "http"])
def test_kill_everything_everywhere(daemon, folder, sink, request):
    seed = int(os.environ.get("TIDEMILL_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}, {KILLS} kills, sink {sink}")
    chance = random.Random(seed)
    centre = make_centre(sink, daemon, request)
    daemon.configure(centre.options())
    daemon.configure({"sync": {"intervals": {"default": "200ms"},
                               "batch": {"min": 20, "max": 200}},
                      # The same job may well be hit more than three times.
                      "generation": {"max_retries": 20},
                      "sources": [{"name": "app",
                                   "path": str(folder / "app.db")}],
                      "supervisor": {"crash_limit": 1000}})
    application = Application(folder / "app.db")
    daemon.start()
    daemon.run("enqueue", "first", "1", "{}")
    daemon.run("sync", "now")
    centre.count_applications()
    producers = [Producer(daemon, n) for n in range(3)]
    generator = Generator(daemon, folder)
    killer = Killer(daemon, chance)
    for thread in [*producers, generator, application]:
        thread.start()
    started = time.monotonic()
    for _ in range(KILLS):
        # Not a wait for anything: the instants of the kills are random.
        time.sleep(chance.uniform(0.001, 0.12))
        killer.kill_one()
    for thread in [*producers, generator, application]:
        thread.over.set()
    for thread in [*producers, generator, application]:
        thread.join(150)
        assert not thread.is_alive()
    with contextlib.closing(daemon.store()) as db:
        wait_for(lambda: db.execute(
            "SELECT count(*) FROM generation_jobs WHERE state IN "
            "('queued', 'claimed')").fetchone()[0] == 0, 30, "jobs to end")
    wait_for(lambda: application.copied(daemon), 60, "the source's rows")
    wait_for(lambda: drained(daemon), 60, "the drain")
    print(f"{dict(killer.killed)} in {time.monotonic() - started:.1f} s")
    assert not [p.refusals for p in producers if p.refusals]
    assert not generator.failures
    acknowledged = check_singles(producers, centre)
    check_counters(producers, centre)
    copied = check_source(application, centre)
    jobs = check_jobs(generator, daemon, centre)
    print(f"{acknowledged} operations acknowledged, {copied} copied from a "
          f"source, {jobs} jobs done")
    assert acknowledged > 100
    assert daemon.stop() == 0


def test_a_claim_whose_answer_was_lost_strands_no_job(daemon, folder):
    """Only the store dies: its workers live on and must find their claims."""
    daemon.configure({"sync": {"enabled": False},
                      "supervisor": {"crash_limit": 1000}})
    daemon.start()
    chance = random.Random(5)
    generator = Generator(daemon, folder)
    generator.start()
    for n in range(30):
        # One finished piece of work, so that its crashes are not in a row.
        daemon.run("enqueue", "t", n, "{}")
        time.sleep(chance.uniform(0.001, 0.05))  # a random instant
        daemon.kill_worker("store")
    generator.over.set()
    generator.join(150)
    assert not generator.is_alive()
    with contextlib.closing(daemon.store()) as db:
        wait_for(lambda: db.execute(
            "SELECT count(*) FROM generation_jobs WHERE state IN "
            "('queued', 'claimed')").fetchone()[0] == 0, 30, "jobs to end")
    assert not generator.failures
