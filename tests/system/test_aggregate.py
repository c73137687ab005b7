# SPDX-License-Identifier: Apache-2.0
"""Detail stays on the host; its summaries at the centre equal a recount."""
import contextlib
import json
import random
import signal
import sqlite3
import time

import pytest

from harness import wait_for

PURCHASES = {
    "into": "totals", "group_by": ["customer"], "at_once": "final = true",
    "fields": {"total": "count", "spent": "sum amount",
               "tools": "distinct tool", "refused": "count_if ok = false"}}


def options(**over):
    return {"sync": {"tables": {"purchases": {"aggregate": PURCHASES}},
                     "aggregate_interval": "300ms", **over}}


@pytest.fixture(params=["sqlite", "pgsql"])
def centre(request, daemon):
    """Reads the generic table of either sink: {record id: data}."""
    if request.param == "sqlite":
        def read(table):
            with contextlib.closing(sqlite3.connect(daemon.centre_path)) as db:
                return {r: json.loads(d) for r, d in db.execute(
                    "SELECT record_id, data FROM synced_records WHERE "
                    "table_name = ?", (table,))}
        return read
    database = request.getfixturevalue("postgres")
    daemon.configure(database.config())
    return lambda table: dict(database.query(
        "SELECT record_id, data FROM tidemill.synced_records WHERE "
        "table_name = %s", table))


def detail(daemon):
    """The detail of `purchases` that the host keeps, counted anew."""
    counted = {}
    with contextlib.closing(daemon.store()) as db:
        for data, in db.execute("SELECT record_data FROM sync_details"):
            one = json.loads(data)
            told = counted.setdefault(one["customer"], {
                "customer": one["customer"], "total": 0, "spent": 0,
                "tools": set(), "refused": 0})
            told["total"] += 1
            told["spent"] += one["amount"]
            told["tools"].add(one["tool"])
            told["refused"] += not one["ok"]
    return counted


def as_sets(rows):
    return {r: {**d, "tools": set(d["tools"])} for r, d in rows.items()}


def purchase(chance, n):
    return {"table": "purchases", "record_id": f"p{n}", "data": {
        "customer": f"c{chance.randrange(9)}", "ok": chance.random() < 0.8,
        "amount": chance.randrange(100), "tool": f"t{chance.randrange(5)}",
        "final": chance.random() < 0.05}}


def test_exactly_once_under_kills(daemon, centre):
    daemon.configure(options(aggregate_events=40, intervals={
        "default": "200ms"}, interval_selection="default"))
    daemon.start()
    chance = random.Random(7)
    acknowledged = set()
    for n in range(60):
        lines = [purchase(chance, n * 20 + i) for i in range(20)]
        result = daemon.run("enqueue", "--batch", "-", "--atomic",
                            input="\n".join(map(json.dumps, lines)))
        assert result.returncode == 0
        acknowledged.update(line["record_id"] for line in lines)
        if n % 3 == 0:
            daemon.kill_worker("store")
        elif n % 3 == 1:
            daemon.kill_worker("sync", chance.randrange(2))
        if n == 40:
            daemon.kill()
            daemon.start()
    daemon.run("sync", "drain", timeout=60)
    with contextlib.closing(daemon.store()) as db:
        kept = [r for r, in db.execute("SELECT record_id FROM sync_details")]
        assert sorted(kept) == sorted(acknowledged), "once each"
        assert db.execute("SELECT count(*) FROM sync_queue WHERE table_name "
                          "= 'purchases'").fetchone()[0] == 0
    assert as_sets(centre("totals")) == detail(daemon)
    assert centre("purchases") == {}


def test_a_source_is_folded_too(daemon, folder):
    path = folder / "app.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript("""
            PRAGMA journal_mode = WAL;
            CREATE TABLE sync_queue (
              id INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT NOT NULL,
              table_name TEXT NOT NULL, record_id TEXT NOT NULL,
              record_data JSON, priority TEXT NOT NULL DEFAULT 'normal',
              created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
              synced_at TIMESTAMP, retry_count INTEGER NOT NULL DEFAULT 0,
              error_message TEXT)""")
        chance = random.Random(3)
        db.executemany(
            "INSERT INTO sync_queue (operation, table_name, record_id, "
            "record_data) VALUES ('INSERT', 'purchases', ?, ?)",
            [(f"p{n}", json.dumps(purchase(chance, n)["data"]))
             for n in range(500)])
        db.commit()
    daemon.configure(options())
    daemon.configure({"sources": [{"name": "app", "path": str(path)}]})
    daemon.start()

    def copied():
        with contextlib.closing(daemon.store()) as db:
            return db.execute("SELECT count(*) FROM sync_details"
                              ).fetchone()[0] == 500
    wait_for(copied, what="the source's rows")
    daemon.kill_worker("store")
    daemon.run("sync", "drain", timeout=60)
    with contextlib.closing(daemon.centre()) as db:
        rows = {r: json.loads(d) for r, d in db.execute(
            "SELECT record_id, data FROM synced_records")}
    assert as_sets(rows) == detail(daemon)


def test_late_events_and_a_restart(daemon, centre):
    def hook(**event):
        daemon.run("hook", input=json.dumps({"session_id": "s", **event}))

    daemon.start()
    hook(hook_event_name="PostToolUse", tool_name="Bash")
    hook(hook_event_name="Stop")

    def told(total):
        daemon.run("sync", "now", check=False)
        row = centre("task_summaries").get("s")
        return row is not None and row["total_events"] == total
    # The end of a session is in the outbox by itself, long before a minute.
    wait_for(lambda: daemon.pending() == 1 or told(2), what="a summary")
    wait_for(lambda: told(2), what="the summary at the centre")
    daemon.stop()
    hook(hook_event_name="PostToolUseFailure", tool_name="Edit")
    daemon.start()
    daemon.run("sync", "drain", timeout=60)
    row = centre("task_summaries")["s"]
    assert row["total_events"] == 3 and row["errors"] == 1
    assert row["tools_used"] == ["Bash", "Edit"]


def test_interval(daemon):
    """Without an end, news goes when the interval is over."""
    daemon.configure(options(enabled=False))
    daemon.start()
    began = time.monotonic()
    daemon.run("enqueue", "purchases", "p", '{"customer": "c"}')
    wait_for(lambda: daemon.pending() == 1, what="a summary by itself")
    assert time.monotonic() - began > 0.2


def session_events(chance, session):
    """A coding agent's session: prompts, each with uses of tools."""
    tools = ["Bash", "Edit", "Write", "Read", "Grep"]
    yield {"hook_event_name": "SessionStart", "source": "startup"}
    for _ in range(chance.randrange(3, 9)):
        yield {"hook_event_name": "UserPromptSubmit", "prompt": "go on"}
        for _ in range(chance.randrange(10, 60)):
            tool = chance.choice(tools)
            use = {"tool_name": tool, "tool_input": {
                "file_path": f"/src/file{chance.randrange(60)}.c"}}
            yield {"hook_event_name": "PreToolUse", **use}
            failed = chance.random() < 0.04
            yield {"hook_event_name": "PostToolUseFailure" if failed
                   else "PostToolUse", **use}
        yield {"hook_event_name": "Stop"}
    yield {"hook_event_name": "SessionEnd", "reason": "exit"}


def test_reduction(daemon):
    """20,000 events of sessions, four at a time, as agents send them."""
    daemon.configure({"sync": {"intervals": {"default": "500ms"},
                               "interval_selection": "default"}})
    daemon.start()
    chance = random.Random(5)
    running, events, sessions = {}, [], 0
    while len(events) < 20000 or running:
        while len(running) < 4 and len(events) < 20000:
            running[f"session-{sessions}"] = session_events(chance, sessions)
            sessions += 1
        name = chance.choice(list(running))
        event = next(running[name], None)
        if event is None:
            del running[name]
            continue
        events.append({"table": "hook_events",
                       "record_id": f"e{len(events)}",
                       "data": {"session_id": name, **event}})
    for at in range(0, len(events), 250):
        daemon.run("enqueue", "--batch", "-",
                   input="\n".join(map(json.dumps, events[at:at + 250])))
    daemon.run("sync", "drain", timeout=60)
    with contextlib.closing(daemon.centre()) as db:
        rows = db.execute("SELECT data FROM synced_records WHERE table_name "
                          "= 'task_summaries'").fetchall()
    with contextlib.closing(daemon.store()) as db:
        carried = db.execute("SELECT sum(applied) FROM sync_batches"
                             ).fetchone()[0]
    assert sum(json.loads(d)["total_events"] for d, in rows) == len(events)
    assert len(rows) == sessions
    print(f"{len(events)} hook events -> {len(rows)} rows at the "
          f"centre, factor {len(events) / len(rows):.0f}; {carried} "
          f"operations carried, factor {len(events) / carried:.0f}")
    assert len(events) / len(rows) > 100 and len(events) / carried > 10
