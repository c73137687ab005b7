# SPDX-License-Identifier: Apache-2.0
"""Weeks of traffic in fast motion: what is old goes, the store stays flat,
and nothing goes that somebody still waits for."""
import contextlib
import datetime
import json
import re
import sqlite3
import threading
import time

from harness import wait_for

FAST = {"retention": {"synced": "400ms", "events": "400ms", "metrics": "1s",
                      "jobs": "1s", "summaries": "2s"},
        "sync": {"intervals": {"default": "100ms"},
                 "interval_selection": "default",
                 "thresholds": {"max_pending_operations": 10},
                 "aggregate_interval": "200ms"}}


def counts(daemon):
    with contextlib.closing(daemon.store()) as db:
        return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("outbox", "sync_batches", "sync_batch_ranges",
                              "sync_batch_singles", "hook_events",
                              "outbox_exceptions")}


def pages(daemon):
    with contextlib.closing(daemon.store()) as db:
        return db.execute("PRAGMA page_count").fetchone()[0]


def lines(round_, count=400):
    return "\n".join(json.dumps(
        {"table": "hook_events" if n % 2 else f"t{n % 7}",
         "record_id": f"r{round_}-{n}",
         "priority": ["low", "normal", "high", "urgent"][n % 4],
         "data": {"session_id": f"s{round_ % 5}", "hook_type": "PostToolUse",
                  "text": "x" * 300}}) for n in range(count))


def test_the_store_stays_flat(daemon):
    daemon.configure(FAST)
    daemon.start()
    sizes = []
    began = time.monotonic()
    round_ = 0
    while time.monotonic() - began < 8:
        daemon.run("enqueue", "--batch", "-", input=lines(round_))
        round_ += 1
        time.sleep(0.02)
        if round_ % 10 == 0:
            sizes.append(pages(daemon))
    daemon.run("sync", "drain", timeout=60)
    # Once half of the time is over it has seen all that it will hold.
    half = sizes[len(sizes) // 2:]
    assert max(half) <= 1.5 * half[0], sizes
    assert round_ * 400 > 20 * 400
    wait_for(lambda: counts(daemon)["outbox"] < 100 and
             counts(daemon)["sync_batches"] < 20 and
             counts(daemon)["hook_events"] == 0, timeout=20,
             what="all that is old to go")
    assert counts(daemon)["outbox_exceptions"] == 0
    deleted = daemon.json("metrics")["tidemill_retention_deleted_total"]
    assert deleted > round_ * 300
    with contextlib.closing(daemon.store()) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_what_waits_is_kept(daemon):
    """Pending, refused and dead operations, through kills of the store."""
    daemon.configure(FAST)
    daemon.configure({"sync": {"max_retries": 0, "tables": {
        "typed": {"target": "typed"}}}})
    with contextlib.closing(sqlite3.connect(daemon.centre_path)) as db:
        db.execute("CREATE TABLE typed (system_id TEXT, id TEXT, n INTEGER "
                   "CHECK (n > 0), PRIMARY KEY (system_id, id))")
    daemon.start()
    for n in range(30):
        daemon.run("enqueue", "typed", f"k{n}",
                   json.dumps({"n": 1 if n % 3 else -1}))
        if n % 10 == 0:
            daemon.kill_worker("store")
    wait_for(lambda: daemon.json("sync", "status")["dead"] == 10
             and daemon.pending() == 0, what="dead and synced operations")
    daemon.run("sync", "pause")
    for n in range(20):
        daemon.run("enqueue", "other", f"k{n}", "{}")
    wait_for(lambda: counts(daemon)["outbox"] == 30, what="the synced to go")
    daemon.kill_worker("store")
    time.sleep(1)  # some passes more
    status = daemon.json("sync", "status")
    assert status["dead"] == 10 and status["pending"] == 20
    assert counts(daemon)["outbox"] == 30
    daemon.run("sync", "resume")
    daemon.run("sync", "drain", timeout=60)
    with contextlib.closing(daemon.centre()) as db:
        assert db.execute("SELECT count(*) FROM synced_records WHERE "
                          "table_name = 'other'").fetchone()[0] == 20
        assert db.execute("SELECT count(*) FROM typed").fetchone()[0] == 20
    daemon.configure({"retention": {"dead": "200ms"}})
    daemon.run("reload")
    wait_for(lambda: daemon.json("sync", "status")["dead"] == 0,
             what="the dead to go too")


def old_ones(daemon):
    with contextlib.closing(daemon.store()) as db:
        return db.execute("SELECT count(*) FROM outbox WHERE table_name <> "
                          "'late'").fetchone()[0]


def test_producers_while_much_goes(daemon):
    """A backlog of old rows is deleted while others wait for their answer."""
    daemon.configure({**FAST, "retention": {"synced": "2s"}})
    daemon.start()
    for round_ in range(20):
        daemon.run("enqueue", "--batch", "-", input=lines(round_, 2000))
    daemon.run("sync", "drain", timeout=60)
    took = []

    def produce():
        while not over.is_set():
            began = time.monotonic()
            daemon.run("enqueue", "late", "r", "{}")
            took.append(time.monotonic() - began)
    over = threading.Event()
    threads = [threading.Thread(target=produce) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: old_ones(daemon) == 0, what="the old ones to go")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(took) > 10 and sorted(took)[len(took) // 2] < 5


def test_health_by_day(daemon):
    daemon.start()
    for n in range(5):
        daemon.run("enqueue", "t", f"r{n}", "{}")
        daemon.run("sync", "now")
    report = daemon.json("sync", "health")["days"]
    assert len(report) == 7
    today = report[0]
    assert today["day"] in {
        str((datetime.datetime.now(datetime.timezone.utc)
             - datetime.timedelta(minutes=m)).date()) for m in (0, 5)}
    assert today["operations"] == 5 and today["errors"] == 0
    assert today["passes"] >= 5 and today["success_rate"] == 1.0
    assert today["p95_duration_ms"] >= 0 and today["deferrals"] == 0
    assert report[6]["passes"] == 0 and report[6]["success_rate"] is None
    text = daemon.run("sync", "health").stdout.splitlines()
    assert len(text) == 8 and all(len(re.sub("\x1b[^m]*m", "", line)) <= 80
                                  for line in text)
    with contextlib.closing(daemon.store()) as db:
        rows = db.execute("SELECT count(*), sum(operations_synced) FROM "
                          "sync_metrics").fetchone()
    assert tuple(rows) == (today["passes"], 5)
