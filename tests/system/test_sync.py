# SPDX-License-Identifier: Apache-2.0
"""Outbox to centre, end to end: triggers, an absent centre, cuts, poison."""
import contextlib
import itertools
import json
import os
import random
import signal
import time

import pytest

from harness import Daemon, Proxy, wait_for
from test_kill import PgsqlCentre, make_centre


@pytest.fixture(params=["sqlite", "pgsql", "http"])
def centre(daemon, request):
    """The centre of a daemon that is not started yet, for each sink."""
    centre = make_centre(request.param, daemon, request)
    daemon.configure(centre.options())
    return centre


def lines(count, table="t", prefix="r", priority="normal"):
    return "\n".join(json.dumps(
        {"table": table, "record_id": f"{prefix}{n}", "data": {"n": n},
         "priority": priority}) for n in range(count))


def enqueue_many(daemon, count, **kwargs):
    report = daemon.json("enqueue", "--batch", "-",
                         input=lines(count, **kwargs))
    assert report == {"accepted": count, "refused": 0}


def state(daemon):
    return daemon.json("sync", "status")["state"]


def start(daemon, expected="online"):
    daemon.start()
    wait_for(lambda: state(daemon) == expected, 20, f"sync to be {expected}")


def settled(daemon, timeout=30):
    wait_for(lambda: daemon.pending() == 0, timeout, "nothing to pend")


def metrics(daemon):
    with contextlib.closing(daemon.store()) as db:
        return [dict(r) for r in db.execute(
            "SELECT * FROM sync_metrics ORDER BY id")]


def applied(centre, table="t"):
    return [record for record, _ in centre.applications(table)]


# --- triggers ---


def test_threshold(daemon, centre):
    start(daemon)
    centre.count_applications()
    enqueue_many(daemon, 49)
    assert daemon.json("sync", "status")["pending"] == 49
    assert centre.rows("t") == {}
    daemon.run("enqueue", "t", "r49", '{"n": 49}')
    settled(daemon)
    assert centre.rows("t") == {f"r{n}": {"n": n} for n in range(50)}
    assert sorted(applied(centre)) == sorted(f"r{n}" for n in range(50))
    rows = metrics(daemon)
    assert sum(r["operations_synced"] for r in rows) == 50
    assert {r["trigger_type"] for r in rows} == {"threshold"}
    assert all(r["success"] == 1 and r["bytes"] > 0 for r in rows)


def test_urgent_within_milliseconds(daemon, centre):
    start(daemon)
    daemon.run("enqueue", "t", "waits", "{}", "--priority", "high")
    times = []
    for n in range(10):
        daemon.run("enqueue", "t", f"u{n}", f'{{"n": {n}}}', "--priority",
                   "urgent")
        begin = time.monotonic()
        wait_for(lambda: f"u{n}" in centre.rows("t"), 5, "the urgent one",
                 step=0.001)
        times.append(time.monotonic() - begin)
    times.sort()
    print(f"urgent at the centre after its acceptance was told: median "
          f"{times[5] * 1000:.1f} ms, worst {times[-1] * 1000:.1f} ms")
    assert times[5] < 0.25
    assert "urgent" in {r["trigger_type"] for r in metrics(daemon)}


def test_urgent_can_be_switched_off(daemon):
    daemon.configure({"sync": {"event_driven": {"enable_urgent": False}}})
    start(daemon)
    daemon.run("enqueue", "t", "u", "{}", "--priority", "urgent")
    time.sleep(0.3)
    assert daemon.pending() == 1


def test_periodic(daemon, centre):
    daemon.configure({"sync": {"intervals": {"default": "700ms"}}})
    start(daemon)
    enqueue_many(daemon, 3)
    settled(daemon, 10)
    assert len(centre.rows("t")) == 3
    assert {r["trigger_type"] for r in metrics(daemon)} == {"periodic"}


def test_interval_by_kind_of_host(daemon):
    daemon.configure({"system": {"type": "production_server"}, "sync":
                      {"intervals": {"high_priority_system": "100s"}}})
    start(daemon)
    daemon.run("enqueue", "t", "1", "{}")  # nothing pending: twice as long
    status = wait_for(lambda: (s := daemon.json("sync", "status"))[
        "band"] == "normal" and s, 5, "a plan")
    import datetime
    at = datetime.datetime.fromisoformat(
        status["next_sync"].replace("Z", "+00:00")).timestamp()
    assert 90 < at - time.time() <= 105
    assert status["next_trigger"] == "periodic"


def test_sync_now_carries_the_trickle(daemon, centre):
    start(daemon)
    enqueue_many(daemon, 7)
    daemon.run("sync", "now")
    assert len(centre.rows("t")) == 7
    assert daemon.pending() == 0
    assert metrics(daemon)[-1]["trigger_type"] == "request"
    daemon.run("sync", "now")


def test_backlog_of_a_daemon_that_was_down(daemon, centre):
    enqueue_many(daemon, 5)
    start(daemon)
    settled(daemon)
    assert len(centre.rows("t")) == 5


def test_a_drain_uses_all_workers(daemon, centre):
    daemon.configure({"sync": {"batch": {"max": 200}}})
    daemon.run("sync", "pause")
    daemon.start()
    # Enough to outlast a worker that a busy machine wakes late.
    enqueue_many(daemon, 40000)
    daemon.run("sync", "resume")
    daemon.run("sync", "drain")
    assert daemon.pending() == 0
    assert len(centre.rows("t")) == 40000
    with contextlib.closing(daemon.store()) as db:
        slots = {r[0] for r in db.execute("SELECT slot FROM sync_batches")}
    assert slots == {0, 1}


def test_operations_of_a_record_in_their_order(daemon, centre):
    start(daemon)
    operations = []
    for n in range(300):
        record = f"r{n % 7}"
        operations.append({"operation": "UPDATE", "table": "t",
                           "record_id": record, "data": {"last": n,
                                                         f"k{n % 3}": n},
                           "priority": ["low", "normal", "high",
                                        "urgent"][n % 4]})
    for part in range(0, 300, 30):
        daemon.run("enqueue", "--batch", "-", input="\n".join(
            map(json.dumps, operations[part:part + 30])))
    daemon.run("sync", "drain")
    wanted = {}
    for operation in operations:
        wanted.setdefault(operation["record_id"], {}).update(
            operation["data"])
    assert centre.rows("t") == wanted


def test_typed_target(daemon, postgres):
    daemon.configure(postgres.config(sync={"tables": {
        "tasks": {"target": "tasks", "key": "id"}}}))
    postgres.query("CREATE TABLE tasks (system_id text, id text, title text, "
                   "n int, PRIMARY KEY (system_id, id))")
    start(daemon)
    daemon.run("enqueue", "tasks", "a", '{"title": "first", "n": 1}')
    daemon.run("enqueue", "tasks", "a", "--operation", "UPDATE", '{"n": 2}')
    daemon.run("enqueue", "tasks", "b", '{"title": "second"}')
    daemon.run("enqueue", "tasks", "b", "--operation", "DELETE")
    daemon.run("sync", "drain")
    assert postgres.query("SELECT id, title, n FROM tasks") == [
        ("a", "first", 2)]


# --- pause, drain ---


def test_pause_holds_even_urgent_ones_and_survives_a_restart(daemon, centre):
    start(daemon)
    daemon.run("sync", "pause")
    daemon.run("enqueue", "t", "u", "{}", "--priority", "urgent")
    enqueue_many(daemon, 60)
    assert daemon.json("sync", "status")["state"] == "paused"
    assert daemon.run("sync", "now", check=False).returncode == 75
    daemon.stop()
    start(daemon, "paused")
    time.sleep(0.3)
    assert daemon.pending() == 61
    assert centre.rows("t") == {}
    daemon.run("sync", "resume")
    settled(daemon)
    assert len(centre.rows("t")) == 61


def test_drain_is_75_when_the_centre_is_away(daemon, own_postgres):
    database = own_postgres.create_database()
    daemon.configure(database.config())
    start(daemon)
    own_postgres.stop()
    enqueue_many(daemon, 10)
    begin = time.monotonic()
    result = daemon.run("sync", "drain", check=False)
    assert result.returncode == 75, result.stderr
    assert "cannot be reached" in result.stderr
    assert time.monotonic() - begin < 60
    assert daemon.run("sync", "now", check=False).returncode == 75
    assert daemon.pending() == 10
    own_postgres.start()
    # At once, not when the back-off is over.
    daemon.run("sync", "drain")
    assert len(PgsqlCentre(database).rows("t")) == 10


# --- a centre that goes away ---


def test_offline_and_back(daemon, own_postgres):
    database = own_postgres.create_database()
    daemon.configure(database.config())
    start(daemon)
    centre = PgsqlCentre(database)
    centre.count_applications()
    own_postgres.stop()
    enqueue_many(daemon, 300, priority="urgent")
    wait_for(lambda: state(daemon) == "offline", 10, "offline")
    status = daemon.json("sync", "status")
    assert status["pending"] == 300
    assert "cannot be reached" in status["last_error"]
    assert status["next_trigger"] == "reconnect"
    # Local work goes on at its own pace.
    begin = time.monotonic()
    daemon.run("enqueue", "t", "while-away", "{}")
    assert time.monotonic() - begin < 10
    own_postgres.start()
    settled(daemon, 20)
    assert len(centre.rows("t")) == 301
    assert len(applied(centre)) == 301
    wait_for(lambda: state(daemon) == "online", 5, "online")
    assert "reconnect" in {r["trigger_type"] for r in metrics(daemon)}
    assert daemon.json("sync", "status")["last_error"] is None
    changes = [json.loads(line) for line in daemon.log_text().splitlines()
               if "the line to the centre changed" in line]
    told = [(c["from"], c["to"]) for c in changes if c.get("slot") == 0]
    assert told == [("unknown", "online"), ("online", "offline"),
                    ("offline", "draining"), ("draining", "online")]


def test_away_from_the_start(daemon, own_postgres):
    database = own_postgres.create_database()
    daemon.configure(database.config())
    own_postgres.stop()
    start(daemon, "offline")
    enqueue_many(daemon, 120)
    own_postgres.start()
    settled(daemon, 20)
    assert len(PgsqlCentre(database).rows("t")) == 120


def test_crash_of_the_server(daemon, own_postgres):
    database = own_postgres.create_database()
    daemon.configure(database.config())
    start(daemon)
    centre = PgsqlCentre(database)
    centre.count_applications()
    enqueue_many(daemon, 20000)
    wait_for(lambda: daemon.pending() < 19000, 30, "the drain to begin",
             step=0.001)
    own_postgres.stop(signal.SIGQUIT)
    own_postgres.start()
    settled(daemon, 60)
    assert len(applied(centre)) == 20000
    assert len(set(applied(centre))) == 20000


# --- cuts ---


READY = b"Z\0\0\0\5I"  # the server is ready: what was asked is committed


class Cuts:
    """Cuts connections in the middle of their work, so often in all."""

    def __init__(self, proxy, most):
        self.proxy = proxy
        self.most = most
        self.done = 0
        self.carrying = set()  # connections with a batch on its way

    def cut(self):
        self.done += 1
        return False

    def before_the_commit(self):
        def check(data, number):
            if self.done < self.most and b'{"n": ' in data:
                return self.cut()
            return True
        self.proxy.on_client = check

    def before_the_answer(self):
        def on_client(data, number):
            if b'{"n": ' in data:
                self.carrying.add(number)
            return True

        answers = itertools.count(1)

        def on_server(data, number):
            if number not in self.carrying or READY not in data:
                return True
            self.carrying.discard(number)
            # Every other one: a batch that is repeated gets through.
            if self.done < self.most and next(answers) % 2:
                return self.cut()
            return True
        self.proxy.on_client, self.proxy.on_server = on_client, on_server

    def at_random(self, probability):
        chance = random.Random(int(os.environ.get("TIDEMILL_SEED", "1")))

        def check(data, number):
            if self.done < self.most and chance.random() < probability:
                return self.cut()
            return True
        self.proxy.on_client = self.proxy.on_server = check


@pytest.fixture
def cut_line(folder, postgres_server, postgres):
    """A daemon whose way to the centre leads through a proxy."""
    proxy = Proxy(postgres_server.port)
    daemon = Daemon(folder, postgres.config(database={
        "conninfo": f"host=127.0.0.1 port={proxy.port} user=postgres "
                    f"dbname={postgres.name} sslmode=disable "
                    "gssencmode=disable"}))
    # Many cuts in a row must not make the pauses longer than the test.
    daemon.configure({"sync": {"retry": {"base": "100ms", "max": "2s"},
                               "batch": {"min": 20, "max": 100}}})
    yield daemon, PgsqlCentre(postgres), proxy
    daemon.cleanup()
    proxy.close()


def carry_through_cuts(cut_line, install, wanted):
    daemon, centre, proxy = cut_line
    start(daemon)
    centre.count_applications()
    cuts = Cuts(proxy, 2 * wanted)
    install(cuts)
    for part in range(10):
        enqueue_many(daemon, 300, prefix=f"p{part}-")
    counters = [{"operation": "UPDATE", "table": "counters",
                 "record_id": f"c{n % 5}", "data": {"n": n}}
                for n in range(500)]
    daemon.run("enqueue", "--batch", "-",
               input="\n".join(map(json.dumps, counters)))
    settled(daemon, 60)
    assert cuts.done >= wanted, "too few cuts to show anything"
    once = applied(centre)
    assert len(once) == 3000
    assert len(set(once)) == 3000
    seen = {}
    for record, data in centre.applications("counters"):
        assert data["n"] > seen.get(record, -1), "out of order"
        seen[record] = data["n"]
    assert seen == {f"c{n}": 495 + n for n in range(5)}
    repeated = daemon.json("metrics")["tidemill_sync_repeated_batches_total"]
    print(f"{cuts.done} cuts, {proxy.connections} connections, "
          f"{repeated} batches repeated")
    return repeated


def test_cut_before_the_commit(cut_line):
    carry_through_cuts(cut_line, Cuts.before_the_commit, 10)


def test_cut_after_the_commit_before_the_answer(cut_line):
    assert carry_through_cuts(cut_line, Cuts.before_the_answer, 10) >= 5


def test_cut_at_random_bytes(cut_line):
    carry_through_cuts(cut_line, lambda cuts: cuts.at_random(0.1), 10)


# --- poison ---


def test_poison_is_set_aside_and_delays_nothing(daemon, postgres):
    daemon.configure(postgres.config(sync={"max_retries": 2}))
    start(daemon)
    centre = PgsqlCentre(postgres)
    enqueue_many(daemon, 30, prefix="a")
    daemon.run("enqueue", "t", "bad", '{"text": "\\u0000"}')
    daemon.run("enqueue", "t", "bad", "--operation", "UPDATE", '{"n": 1}')
    enqueue_many(daemon, 30, prefix="b")
    wait_for(lambda: daemon.json("sync", "status")["dead"] == 1, 20,
             "the poison to be dead")
    settled(daemon)
    rows = centre.rows("t")
    assert len(rows) == 61
    assert rows["bad"] == {"n": 1}
    dead = daemon.json("sync", "dead")
    assert len(dead) == 1
    assert dead[0]["record_id"] == "bad"
    assert dead[0]["retry_count"] == 3
    assert "Unicode" in dead[0]["error_message"]
    # Tried again, it dies again; dropped, it is gone.
    identity = dead[0]["id"]
    daemon.run("sync", "retry", identity)
    wait_for(lambda: daemon.json("sync", "status")["dead"] == 1, 20,
             "the poison to be dead again")
    daemon.run("sync", "drop", identity)
    assert daemon.json("sync", "dead") == []
    assert daemon.pending() == 0


def test_many_poisoned_ones_among_many(daemon, postgres):
    daemon.configure(postgres.config(sync={"max_retries": 0}))
    daemon.run("sync", "pause")
    daemon.start()
    operations = [{"table": "t", "record_id": f"r{n}",
                   "data": {"text": "\u0000" if n % 37 == 0 else "fine"}}
                  for n in range(1000)]
    daemon.run("enqueue", "--batch", "-",
               input="\n".join(map(json.dumps, operations)))
    daemon.run("sync", "resume")
    settled(daemon, 60)
    assert len(PgsqlCentre(postgres).rows("t")) == 1000 - 28
    assert daemon.json("sync", "status")["dead"] == 28


# --- workers and the store come and go ---


def test_killed_workers_and_store_lose_nothing(daemon, centre):
    daemon.configure({"sync": {"batch": {"max": 100}}})
    start(daemon)
    centre.count_applications()
    for step in range(8):
        enqueue_many(daemon, 500, prefix=f"s{step}-")
        daemon.kill_worker("sync", step % 2)
        if step % 3 == 0:
            daemon.kill_worker("store")
    wait_for(lambda: daemon.run("sync", "drain", check=False).returncode == 0,
             60, "the drain")
    assert len(applied(centre)) == 4000
    assert len(set(applied(centre))) == 4000


def test_large_records_are_carried_in_small_batches(daemon, centre):
    start(daemon)
    enqueue_many(daemon, 60)
    settled(daemon)
    big = "x" * 1500000
    daemon.run("sync", "pause")
    operations = [{"table": "big", "record_id": f"r{n}", "data": {"x": big}}
                  for n in range(60)]
    for part in range(0, 60, 10):
        daemon.run("enqueue", "--batch", "-", input="\n".join(
            map(json.dumps, operations[part:part + 10])))
    daemon.run("sync", "resume")
    daemon.run("sync", "drain", timeout=120)
    assert len(centre.rows("big")) == 60


def test_an_idle_worker_sleeps(daemon):
    start(daemon)
    pid = daemon.workers("sync")[0]["pid"]

    def wakes():
        with open(f"/proc/{pid}/status") as file:
            return sum(int(line.split()[1]) for line in file
                       if "ctxt_switches" in line)
    time.sleep(1)
    before = wakes()
    time.sleep(2)
    assert wakes() - before <= 4
