# SPDX-License-Identifier: Apache-2.0
"""Tidemill's main job, end to end, below one folder (see scripts/quickstart).

Starts the daemon, feeds it from several producers at once, generates code
with one worker and with all, carries everything to the centre, and compares
outbox and centre row by row, and every generated file with its manifest.
"""
import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import random
import sqlite3
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("TIDEMILL_BUILD", ROOT / "build"))
SYSTEM_ID = "quickstart"
CONTRACTS = 240     # over the four node types
HOOK_EVENTS = 9000  # as NDJSON
HOOK_COMMANDS = 200  # each its own `tidemill hook`
TASKS = 3000        # inserted, updated twice, some deleted
SOURCE_ROWS = 6000  # in another program's own file
URGENT = 40

# The other program: it knows nothing of Tidemill but the form of an outbox.
APPLICATION = r"""
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode=WAL")
db.executescript('''
CREATE TABLE sync_queue (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  operation TEXT NOT NULL CHECK (operation IN ('INSERT','UPDATE','DELETE')),
  table_name TEXT NOT NULL, record_id TEXT NOT NULL, record_data JSON,
  priority TEXT NOT NULL DEFAULT 'normal',
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  synced_at TIMESTAMP, retry_count INTEGER NOT NULL DEFAULT 0,
  error_message TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, amount INTEGER);
''')
for first in range(0, int(sys.argv[2]), 50):
    with db:  # its own change and the outbox row in one transaction
        for n in range(first, first + 50):
            db.execute("INSERT INTO orders VALUES (?, ?)", (n, n * 7 % 100))
            db.execute("INSERT INTO sync_queue (operation, table_name,"
                       " record_id, record_data) VALUES ('INSERT', 'orders',"
                       " ?, ?)", (str(n), json.dumps({"amount": n * 7 % 100,
                                                      "currency": "EUR"})))
"""


class Failure(Exception):
    """Something did not agree."""


class Progress:
    """A bar on standard error when that is a terminal."""

    def __init__(self):
        self.shown = sys.stderr.isatty()

    def show(self, what, done, total):
        if self.shown:
            filled = 30 * done // max(total, 1)
            sys.stderr.write(f"\r{what:<12} [{'#' * filled:<30}] "
                             f"{done}/{total}\033[K")
            sys.stderr.flush()

    def clear(self):
        if self.shown:
            sys.stderr.write("\r\033[K")

    def say(self, text):
        self.clear()
        print(text, flush=True)


class Memory(threading.Thread):
    """The peak of the daemon's proportional memory, sampled."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak_kib, self.over = pid, 0, threading.Event()

    def tree(self):
        pids, queue = [], [self.pid]
        while queue:
            pid = queue.pop()
            pids.append(pid)
            with contextlib.suppress(OSError):
                path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
                queue += map(int, path.read_text().split())
        return pids

    def run(self):
        while not self.over.wait(0.1):
            total = 0
            for pid in self.tree():
                with contextlib.suppress(OSError, ValueError):
                    text = pathlib.Path(
                        f"/proc/{pid}/smaps_rollup").read_text()
                    total += int(text.split("\nPss:")[1].split()[0])
            self.peak_kib = max(self.peak_kib, total)


class Quickstart:
    def __init__(self, folder, conninfo, keep):
        self.folder = folder
        self.conninfo = conninfo
        self.keep = keep
        self.config = folder / "tidemill.yaml"
        self.progress = Progress()
        self.figures = []
        self.outputs = []  # folders of generated code
        self.workers = max(2, min(os.cpu_count() or 2, 8))

    def configure(self, generation_workers):
        sink = {"sink": "sqlite",
                "sqlite": {"path": str(self.folder / "centre.db")}}
        database = {}
        if self.conninfo:
            sink = {"sink": "pgsql"}
            database = {"conninfo": self.conninfo}
        options = {
            "system": {"id": SYSTEM_ID},
            "paths": {"state_dir": str(self.folder / "state"),
                      "runtime_dir": str(self.folder / "run"),
                      "log_dir": str(self.folder / "log"),
                      "template_dir": str(ROOT / "conf" / "templates")},
            # All from the start: one worker is compared with all of them.
            "generation": {"min_workers": generation_workers,
                           "max_workers": generation_workers},
            "sync": {**sink, "poll_interval": "200ms"},
            "sources": [{"name": "shop",
                         "path": str(self.folder / "shop" / "shop.db")}],
        }
        if database:
            options["database"] = database
        # JSON is YAML; a person's file would be YAML's own form.
        self.config.write_text(json.dumps(options, indent=2) + "\n")
        self.config.chmod(0o600)

    def tidemill(self, *args, input=None, check=True):
        result = subprocess.run(
            [BUILD / "tidemill", "-c", self.config, *map(str, args)],
            input=input, capture_output=True, text=True)
        if check and result.returncode != 0:
            raise Failure(f"tidemill {' '.join(map(str, args))[:100]} exited "
                          f"with {result.returncode}: {result.stderr}")
        return result

    def report(self, *args):
        return json.loads(self.tidemill("--json", *args).stdout)

    def start(self):
        for name in ("state", "run", "log", "shop"):
            (self.folder / name).mkdir()
        self.configure(1)
        result = subprocess.run([BUILD / "tidemilld", "-c", self.config],
                                capture_output=True, text=True)
        if result.returncode != 0:
            raise Failure("tidemilld did not start: " + result.stderr)
        self.pid = int((self.folder / "run/tidemilld.pid").read_text())
        self.memory = Memory(self.pid)
        self.memory.start()
        self.progress.say(f"The daemon runs, pid {self.pid}; its whole state "
                          f"is below {self.folder}")

    # --- producers -------------------------------------------------------

    def hook_event(self, random_, n):
        tool = random_.choice(["Bash", "Edit", "Write", "Read"])
        given = {"Bash": {"command": f"make -C module{n % 17} check"},
                 "Edit": {"file_path": f"/src/module{n % 17}/file{n % 91}.c",
                          "old_string": "a", "new_string": "b"},
                 "Write": {"file_path": f"/src/new{n % 53}.py",
                           "content": "print('ü')\n"},
                 "Read": {"file_path": f"/src/module{n % 17}/README.md"}}
        return {"session_id": f"session-{n % 12}", "cwd": "/src",
                "hook_event_name": random_.choice(["PreToolUse",
                                                   "PostToolUse"]),
                "tool_name": tool, "tool_input": given[tool]}

    def produce_hooks(self):
        random_ = random.Random(1)
        lines = (json.dumps({"table": "hook_events", "record_id": f"e{n}",
                             "priority": "low",
                             "data": self.hook_event(random_, n)})
                 for n in range(HOOK_EVENTS))
        self.tidemill("enqueue", "--batch", "-", input="\n".join(lines))
        return HOOK_EVENTS

    def produce_tasks(self):
        random_ = random.Random(2)
        lines, count = [], 0
        for n in range(TASKS):
            steps = [("INSERT", {"title": f"task {n}", "status": "created",
                                 "estimate": 1.50}),
                     ("UPDATE", {"status": "executing", "agent": n % 5}),
                     ("UPDATE", {"status": "complete"})]
            if n % 10 == 9:
                steps.append(("DELETE", None))
            for operation, data in steps:
                lines.append(json.dumps(
                    {"operation": operation, "table": "tasks",
                     "record_id": f"task-{n}", "data": data,
                     "priority": random_.choice(["normal", "high"])}))
                count += 1
        self.tidemill("enqueue", "--batch", "-", input="\n".join(lines))
        return count

    def produce_hook_commands(self):
        random_ = random.Random(3)
        for n in range(HOOK_COMMANDS):
            self.tidemill("hook",
                          input=json.dumps(self.hook_event(random_, n)))
        return HOOK_COMMANDS

    def produce_source(self):
        subprocess.run([sys.executable, "-c", APPLICATION,
                        str(self.folder / "shop" / "shop.db"),
                        str(SOURCE_ROWS)], check=True)
        return SOURCE_ROWS

    def produce_urgent(self):
        for n in range(URGENT):
            self.tidemill("enqueue", "alarms", f"alarm-{n}", "--priority",
                          "urgent", json.dumps({"level": n % 3}))
        return URGENT

    def feed(self):
        counts, errors = {}, []

        def run(producer):
            try:
                counts[producer.__name__] = producer()
            except Exception as error:  # told by the main thread
                errors.append(error)

        producers = [self.produce_hooks, self.produce_tasks,
                     self.produce_hook_commands, self.produce_source,
                     self.produce_urgent]
        threads = [threading.Thread(target=run, args=(p,)) for p in producers]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        expected = (HOOK_EVENTS + TASKS * 3 + TASKS // 10 + HOOK_COMMANDS
                    + SOURCE_ROWS + URGENT)
        while not errors:
            accepted = self.accepted()
            self.progress.show("accept", accepted, expected)
            if accepted >= expected:
                break
            if time.monotonic() - started > 120:
                raise Failure(f"only {accepted} of {expected} were accepted")
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        seconds = time.monotonic() - started
        self.operations = sum(counts.values())
        self.figures.append(("accepted", f"{self.operations} operations from "
                             f"{len(producers)} producers, "
                             f"{self.operations / seconds:,.0f}/s"))

    def store(self):
        db = sqlite3.connect(f"file:{self.folder}/state/tidemill.db?mode=ro",
                             uri=True, timeout=10)
        return db

    def accepted(self):
        with contextlib.closing(self.store()) as db:
            return db.execute(
                "SELECT (SELECT count(*) FROM outbox WHERE table_name NOT IN "
                "('generation_jobs', 'task_summaries')) + (SELECT count(*) "
                "FROM hook_events)").fetchone()[0]

    # --- generation ------------------------------------------------------

    def make_contracts(self):
        folder = self.folder / "contracts"
        subprocess.run([sys.executable,
                        ROOT / "tests/fixtures/make_contracts.py",
                        "--count", str(CONTRACTS), folder], check=True,
                       stdout=subprocess.DEVNULL)
        self.contracts = sorted(folder.iterdir())

    def generate(self, name):
        self.progress.show(name, 0, len(self.contracts))
        report = self.report("generate", "--output", self.folder / name,
                             *self.contracts)
        if report["failed"] or report["jobs"] != len(self.contracts):
            raise Failure(f"jobs failed: {report}")
        return report

    def use_workers(self, count):
        self.configure(count)
        self.tidemill("reload")
        for _ in range(200):
            workers = self.report("status")["workers"]
            ready = [w for w in workers if w["role"] == "generation"
                     and w["state"] == "idle"]
            if len(ready) == count:
                return
            time.sleep(0.02)
        raise Failure("the workers of the new configuration did not come")

    def generate_all(self):
        self.make_contracts()
        reports = {1: [], self.workers: []}
        # In turns, each into a folder of its own: the disk may be busy with
        # what came before.
        for turn in ("", "-again"):
            for count, name in ((1, "code-one-worker"), (self.workers, "code")):
                self.use_workers(count)
                self.outputs.append(name + turn)
                reports[count].append(self.generate(name + turn))
        jobs = sum(r["jobs"] for rs in reports.values() for r in rs)
        one, many = (min(r["seconds"] for r in reports[n])
                     for n in (1, self.workers))
        written = reports[self.workers][0]["written"]
        self.figures += [
            ("jobs", f"{jobs} done, 0 failed"),
            ("files", f"{written} written with {self.workers} workers, "
             f"{written / many:,.0f}/s"),
            ("speed-up", f"{one / many:.2f} over one worker ({one:.2f} s -> "
             f"{many:.2f} s, the better of two runs each)")]

    def check_files(self):
        """Every file is as its manifest says, and no other file is there."""
        checked = 0
        for name in self.outputs:
            top = self.folder / name
            listed = set()
            for manifest in (top / ".tidemill").rglob("*.json"):
                for file in json.loads(manifest.read_text())["files"]:
                    path = top / file["path"]
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    if digest != file["sha256"]:
                        raise Failure(f"{path} differs from its manifest")
                    listed.add(path)
            found = {p for p in top.rglob("*") if p.is_file()
                     and ".tidemill" not in p.relative_to(top).parts}
            if found != listed:
                raise Failure(f"not in a manifest: {sorted(found ^ listed)}")
            checked += len(listed)
        return checked

    # --- sync ------------------------------------------------------------

    def drain(self):
        pending = self.report("sync", "status")["pending"]
        started = time.monotonic()
        process = subprocess.Popen(
            [BUILD / "tidemill", "-c", self.config, "sync", "drain"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None:
            left = self.report("sync", "status")["pending"]
            self.progress.show("sync", pending - left, pending)
            time.sleep(0.05)
        seconds = time.monotonic() - started
        if process.returncode != 0:
            raise Failure("sync drain: " + process.stderr.read())
        status = self.report("sync", "status")
        if status["pending"] or status["dead"]:
            raise Failure(f"not all was carried: {status}")
        with contextlib.closing(self.store()) as db:
            synced = db.execute("SELECT sum(applied) FROM sync_batches"
                                ).fetchone()[0]
        self.figures += [
            ("synced", f"{synced} operations; the last {pending} in "
             f"{seconds:.2f} s"),
            ("pending", f"{status['pending']}, dead {status['dead']}")]

    def expected_rows(self):
        """What the outbox says that the centre must hold."""
        rows = {}
        with contextlib.closing(self.store()) as db:
            for operation, table, record, data in db.execute(
                    "SELECT operation, table_name, record_id, record_data "
                    "FROM sync_queue ORDER BY id"):
                key, value = (table, record), json.loads(data or "null")
                if operation == "INSERT":
                    rows[key] = value
                elif operation == "UPDATE":
                    rows[key] = {**(rows.get(key) or {}), **value}
                else:
                    rows[key] = None
        return rows

    def centre_rows(self):
        query = ("SELECT table_name, record_id, data, deleted FROM {} "
                 "WHERE system_id = '" + SYSTEM_ID + "'")
        if self.conninfo:
            import psycopg2
            with contextlib.closing(psycopg2.connect(self.conninfo)) as db:
                cursor = db.cursor()
                cursor.execute(query.format("tidemill.synced_records"))
                found = cursor.fetchall()
        else:
            with contextlib.closing(sqlite3.connect(
                    self.folder / "centre.db")) as db:
                found = db.execute(query.format("synced_records")).fetchall()
        return {(table, record): None if deleted else
                (json.loads(data) if isinstance(data, str) else data)
                for table, record, data, deleted in found}

    def check_summaries(self, found):
        """The centre's summaries are those of a recount of the detail."""
        with contextlib.closing(self.store()) as db:
            recount = {session: counts for session, *counts in db.execute(
                "SELECT session_id, count(*), sum(tool_name = 'Bash' AND "
                "hook_type = 'PostToolUse'), count(DISTINCT CASE WHEN "
                "hook_type = 'PostToolUse' AND tool_name IN ('Edit', 'Write') "
                "THEN file_path END), (max(hook_timestamp) - "
                "min(hook_timestamp)) / 1000.0 FROM hook_events GROUP BY 1")}
        told = {record: [data["total_events"], data["commands_run"],
                         min(len(data["files_modified"]), 100),
                         data["duration_seconds"]]
                for (table, record), data in found.items()
                if table == "task_summaries"}
        for session, counts in recount.items():
            counts[2] = min(counts[2], 100)  # as many as are listed
            if told.get(session) != counts:
                raise Failure(f"the summary of {session} says "
                              f"{told.get(session)}, its events {counts}")
        events = sum(counts[0] for counts in recount.values())
        self.figures.append(("folded", f"{events} hook events into "
                             f"{len(told)} summaries, "
                             f"1 for {events / len(told):,.0f}"))

    def compare(self):
        expected, found = self.expected_rows(), self.centre_rows()
        wrong = [key for key in expected.keys() | found.keys()
                 if key not in expected or key not in found
                 or expected[key] != found[key]]
        if wrong:
            raise Failure(f"{len(wrong)} rows differ between outbox and "
                          f"centre, such as {sorted(wrong)[:3]}")
        self.check_summaries(found)
        files = self.check_files()
        self.figures.append(("agreed", f"{len(expected)} records at outbox "
                             f"and centre, {files} files with manifests"))

    def stop(self):
        """TERM by the pidfile's pid; waits until it is gone."""
        with contextlib.suppress(AttributeError, ProcessLookupError):
            os.kill(self.pid, 15)
            for _ in range(600):
                os.kill(self.pid, 0)
                time.sleep(0.05)

    def table(self):
        self.memory.over.set()
        self.memory.join()
        self.figures.append(("peak memory",
                             f"{self.memory.peak_kib / 1024:.1f} MiB, all "
                             "processes together (PSS)"))
        self.progress.clear()
        print()
        for name, value in self.figures:
            print(f"  {name:<12} {value}")

    def run(self):
        self.start()
        self.feed()
        self.drain()
        self.generate_all()
        self.tidemill("sync", "drain")  # the jobs' results
        self.compare()
        self.table()

    def where_next(self):
        command = f"{BUILD / 'tidemill'} -c {self.config}"
        print("\nWhere to look next:")
        print(f"  {self.folder}/code            the generated code")
        if not self.conninfo:
            print(f"  {self.folder}/centre.db       the centre, an SQLite "
                  "file")
        print(f"  {self.folder}/log/tidemill.log")
        if self.keep:
            print(f"  {command} status\n  {command} sync status\n"
                  f"  kill {self.pid}   stops the daemon")
        else:
            print(f"  {BUILD / 'tidemilld'} -f -c {self.config}   runs it "
                  "again")
        print("  man -l man/tidemill.1, README.md")


def choose_folder(wanted):
    if wanted is not None:
        folder = pathlib.Path(wanted).absolute()
        if folder.exists() and any(folder.iterdir()):
            sys.exit(f"quickstart: {folder} is there already and not empty; "
                     "name a new folder")
    else:
        number = 1
        while pathlib.Path(f"tidemill-quickstart-{number}").exists():
            number += 1
        folder = pathlib.Path(f"tidemill-quickstart-{number}").absolute()
    if len(str(folder)) > 85:
        sys.exit(f"quickstart: {folder} is too long for a Unix socket below "
                 "it; name a folder with a shorter path")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main():
    parser = argparse.ArgumentParser(prog="quickstart")
    parser.add_argument("--keep", action="store_true",
                        help="leave the daemon running")
    parser.add_argument("--pgsql", metavar="CONNINFO",
                        help="carry to this PostgreSQL")
    parser.add_argument("folder", nargs="?", metavar="DIR")
    args = parser.parse_args()
    quickstart = Quickstart(choose_folder(args.folder), args.pgsql, args.keep)
    status = 0
    try:
        quickstart.run()
        print("\nAll agreed.")
    except (Failure, OSError, subprocess.SubprocessError) as error:
        quickstart.progress.clear()
        print(f"quickstart: {error}", file=sys.stderr)
        log = quickstart.folder / "log" / "tidemill.log"
        if log.exists():
            tail = log.read_text(errors="replace").splitlines()[-10:]
            print(f"The end of {log}:", *tail, sep="\n  ", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    if not (args.keep and status == 0):
        quickstart.stop()
    if status == 0:
        quickstart.where_next()
    sys.exit(status)


if __name__ == "__main__":
    main()
