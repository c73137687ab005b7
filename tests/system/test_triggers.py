# SPDX-License-Identifier: Apache-2.0
"""When a pass starts, with the defaults that an operator meets."""
import contextlib
import json
import sqlite3
import subprocess
import time

import pytest

from harness import binaries, wait_for
from test_kill import SqliteCentre
from test_sync import enqueue_many, start


@pytest.fixture
def centre(daemon):
    """The defaults of a workstation: half an hour between passes."""
    centre = SqliteCentre(daemon)
    daemon.configure(centre.options())
    start(daemon)
    return centre


def put(daemon, table, count, first=0):
    for n in range(first, first + count):
        daemon.run("enqueue", table, f"{table}{n}", json.dumps({"n": n}))


def arrived(centre, table):
    with contextlib.suppress(sqlite3.OperationalError):
        return len(centre.rows(table))
    return 0


def test_five_tasks_start_a_pass(daemon, centre):
    put(daemon, "tasks", 4)
    status = wait_for(lambda: (s := daemon.json("sync", "status"))[
        "threshold"]["pending"] == 4 and s, 5, "the four to be seen")
    assert status["threshold"] == {"of": "tasks", "pending": 4, "limit": 5}
    assert status["pending"] == 4 and status["band"] == "normal"
    put(daemon, "tasks", 1, first=4)
    wait_for(lambda: arrived(centre, "tasks") == 5, 10, "the five tasks")


@pytest.mark.parametrize("table", ["errors", "contexts"])
def test_one_error_or_context_is_enough(daemon, centre, table):
    put(daemon, "others", 3)
    put(daemon, table, 1)
    wait_for(lambda: arrived(centre, table) == 1, 10, f"one of {table}")
    # What pends goes along.
    wait_for(lambda: arrived(centre, "others") == 3, 10, "the others")


def test_three_errors_without_immediate_ones(daemon):
    daemon.configure({"sync": {"event_driven": {"immediate_on_error": False}}})
    centre = SqliteCentre(daemon)
    start(daemon)
    put(daemon, "errors", 2)
    wait_for(lambda: daemon.json("sync", "status")["threshold"]["pending"]
             == 2, 5, "the two to be seen")
    assert arrived(centre, "errors") == 0
    put(daemon, "errors", 1, first=2)
    wait_for(lambda: arrived(centre, "errors") == 3, 10, "the errors")


def test_modes_are_presets(daemon):
    def effective(*overrides):
        out = subprocess.run(
            [binaries() / "tidemilld", "-T", "-c", daemon.config_path,
             *overrides], capture_output=True, text=True, check=True).stdout
        return {line.strip() for line in out.splitlines()}

    lines = effective("-o", "sync.mode=aggressive", "-o",
                      "sync.thresholds.max_pending_tasks=7")
    assert "max_pending_operations: 10  # sync.mode" in lines
    assert "max_pending_tasks: 7  # command line" in lines
    lines = effective("-o", "sync.mode=conservative")
    assert "immediate_on_error: false  # sync.mode" in lines
    assert "max_pending_operations: 50  # default" in effective()


def test_urgent_row_of_a_source_within_a_second(daemon, folder):
    path = folder / "app.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript("""
            PRAGMA journal_mode = WAL;
            CREATE TABLE sync_queue (
              id INTEGER PRIMARY KEY AUTOINCREMENT,
              operation TEXT NOT NULL, table_name TEXT NOT NULL,
              record_id TEXT NOT NULL, record_data JSON,
              priority TEXT NOT NULL DEFAULT 'normal',
              created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
              synced_at TIMESTAMP, retry_count INTEGER NOT NULL DEFAULT 0,
              error_message TEXT);
        """)
        daemon.configure({"sources": [{"name": "app", "path": str(path)}]})
        centre = SqliteCentre(daemon)
        start(daemon)
        took = []
        for n in range(5):
            db.execute(
                "INSERT INTO sync_queue (operation, table_name, record_id, "
                "record_data, priority) VALUES ('INSERT', 'alarms', ?, '{}', "
                "'urgent')", (f"a{n}",))
            db.commit()
            began = time.monotonic()
            wait_for(lambda: arrived(centre, "alarms") == n + 1, 10,
                     "the alarm", step=0.002)
            took.append(time.monotonic() - began)
    print("urgent rows of a source arrived after",
          ", ".join(f"{t * 1000:.0f} ms" for t in took))
    assert sorted(took)[2] < 5


def test_urgent_during_a_drain(daemon, postgres):
    daemon.configure(postgres.config())
    daemon.run("sync", "pause")
    start(daemon, "paused")
    enqueue_many(daemon, 60000)
    daemon.run("sync", "resume")
    wait_for(lambda: daemon.pending() < 58000, 20, "the drain to begin",
             step=0.001)
    daemon.run("enqueue", "alarms", "a", "{}", "--priority", "urgent")
    began = time.monotonic()
    wait_for(lambda: postgres.query(
        "SELECT count(*) FROM tidemill.synced_records "
        "WHERE table_name = 'alarms'") == [(1,)], 10, "the alarm", step=0.002)
    print(f"after {(time.monotonic() - began) * 1000:.0f} ms, "
          f"{daemon.pending()} still pending")
    assert time.monotonic() - began < 30
