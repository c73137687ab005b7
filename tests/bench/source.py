# SPDX-License-Identifier: Apache-2.0
"""source: rows from an application's file into the outbox, against
`INSERT ... SELECT` of the same rows between two SQLite files.

Rows are inserted together in the order of their keys by one statement, and
a group takes reads of 2,000 rows up to 8,000 while nobody waits: 0.52 (0.37
with a statement a row and a group a read).  Where the time goes (perf, share
of the store's): SQLite 47 %, for the most part inserting, where the tail of
each of 64 stripes lies in the midst of one B-tree and its leaf is balanced
with its neighbours every few rows; the kernel 26 % (writing and syncing WAL
and checkpoints); checks, order and copies 19 %, of which the filters of
records 7 and JSON 5.  The copy puts its rows behind each other, whole, and
checks nothing."""
import contextlib
import pathlib
import shutil
import sqlite3
import tempfile
import time

import common
import workload
from harness import Daemon, wait_for

ROWS = 200_000
QUEUE = """CREATE TABLE sync_queue (
  id INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT NOT NULL,
  table_name TEXT NOT NULL, record_id TEXT NOT NULL, record_data JSON,
  priority TEXT NOT NULL DEFAULT 'normal',
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  synced_at TIMESTAMP, retry_count INTEGER NOT NULL DEFAULT 0,
  error_message TEXT)"""


def make_source(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(QUEUE)
        db.executemany(
            "INSERT INTO sync_queue (operation, table_name, record_id, "
            "record_data, priority) VALUES ('INSERT', 'events', ?, ?, ?)",
            ((record, data, workload.PRIORITIES[n % 4])
             for n, (record, data) in enumerate(workload.records(ROWS))))
        db.commit()


def copy_seconds(source, target):
    """The limit: SQLite alone, durable, in one transaction."""
    with contextlib.closing(sqlite3.connect(target)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(QUEUE)
        db.execute("ATTACH ? AS source", (str(source),))
        began = time.monotonic()
        db.execute("INSERT INTO sync_queue SELECT * FROM source.sync_queue")
        db.commit()
        return time.monotonic() - began


def tail_seconds(folder, source):
    """From the first row in the outbox to the last."""
    daemon = Daemon(folder, {"sync": {"enabled": False}, "sources": [
        {"name": "app", "path": str(source)}]})
    daemon.start()
    try:
        with contextlib.closing(daemon.store()) as db:
            def pending():
                return db.execute("SELECT coalesce(max(cursor), 0) FROM source_cursors"
                                  ).fetchone()[0]
            first = wait_for(pending, what="the first rows", step=0.0002)
            began = time.monotonic()
            wait_for(lambda: pending() >= ROWS, timeout=120,
                     what="all rows", step=0.002)
            return (time.monotonic() - began) * ROWS / (ROWS - first)
    finally:
        daemon.stop()


def run(rounds):
    result = common.Result(
        "source", f"{ROWS:,} rows from an application's file into the outbox")
    for _ in range(rounds):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
        try:
            make_source(folder / "app.db")
            result.add("INSERT ... SELECT", "rows/s", ROWS / copy_seconds(
                folder / "app.db", folder / "copy.db"))
            result.add("tidemill", "rows/s", ROWS / tail_seconds(
                folder, folder / "app.db"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    result.ratio("ours / INSERT ... SELECT", "tidemill", "INSERT ... SELECT",
                 at_least=0.5)
    return result


if __name__ == "__main__":
    common.main(run)
