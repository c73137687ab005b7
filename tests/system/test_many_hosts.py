# SPDX-License-Identifier: Apache-2.0
"""Twenty hosts, one centre, a pooler in between."""
import collections
import concurrent.futures
import datetime
import json
import threading
import time

import pytest

from harness import Daemon, PgBouncer, Postgres, wait_for
from test_connections import updates
from test_sync import state

HOSTS = 20
POOL_SIZE = 5
RECORDS, STEPS = 40, 10
RETRY_MAX_MS = 3000


@pytest.fixture
def bouncer():
    server = Postgres({"max_connections": 40})
    server.start()
    bouncer = PgBouncer(server, default_pool_size=POOL_SIZE,
                        max_client_conn=2 * HOSTS, query_wait_timeout=2)
    bouncer.start()
    yield bouncer
    bouncer.cleanup()
    server.cleanup()


@pytest.fixture
def hosts(folder, bouncer):
    database = bouncer.server.create_database()
    config = {
        "generation": {"enabled": False}, "monitoring": {"enabled": False},
        "sync": {"sink": "pgsql", "max_workers": 1,
                 "retry": {"base": "100ms", "max": f"{RETRY_MAX_MS}ms"}},
        "database": {"conninfo": bouncer.conninfo(database),
                     "connect_timeout": "2s"}}
    daemons = [Daemon(folder, config, name=f"h{n}") for n in range(HOSTS)]
    with concurrent.futures.ThreadPoolExecutor(HOSTS) as pool:
        try:
            # One makes the schema, the others find it.
            daemons[0].start()
            wait_for(lambda: state(daemons[0]) == "online", 20, "the first")
            list(pool.map(lambda d: d.start(), daemons[1:]))
            yield daemons, database
        finally:
            list(pool.map(lambda d: d.cleanup(), daemons))


class Watch(threading.Thread):
    """Counts the sessions of the database, all the time."""

    def __init__(self, database):
        super().__init__(daemon=True)
        self.database = database
        self.most = 0
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.05):
            try:
                count = self.database.query(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = "
                    "current_database() AND pid <> pg_backend_pid()")
                self.most = max(self.most, count[0][0])
            except Exception:  # the server is away
                pass


def reconnected_ms(daemon, since):
    """When the line of this daemon came back, after `since`."""
    for text in daemon.log_text().splitlines():
        if '"the line to the centre changed"' in text:
            line = json.loads(text)
            when = datetime.datetime.fromisoformat(
                line["time"].replace("Z", "+00:00")).timestamp()
            if line["to"] == "draining" and when > since:
                return 1000 * (when - since)
    return None


def show_histogram(times, step_ms=250):
    """Prints it, and returns the largest share of a step."""
    bins = collections.Counter(int(t // step_ms) for t in times)
    for n in range(max(bins) + 1):
        print(f"{n * step_ms:6} ms  {'#' * bins[n]}")
    return max(bins.values())


def everyone(pool, hosts, action):
    return list(pool.map(action, hosts))


def test_twenty_hosts_survive_their_centre(hosts, bouncer):
    daemons, database = hosts
    watch = Watch(database)
    watch.start()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        everyone(pool, daemons, lambda d: d.run(
            "enqueue", "--batch", "-", input=updates(RECORDS, STEPS)))
        wait_for(lambda: all(d.pending() == 0 for d in daemons), 40,
                 "everyone to be done", step=0.5)
        bouncer.server.crash()
        everyone(pool, daemons, lambda d: d.run(
            "enqueue", "--batch", "-",
            input=updates(RECORDS, STEPS, first=STEPS)))
        # PgBouncer keeps who waits in it for query_wait_timeout, as if it
        # were only busy, before it lets others know that the server is away.
        wait_for(lambda: all(state(d) in ("offline", "busy")
                             for d in daemons), 20, "everyone to notice",
                 step=0.5)
        time.sleep(2 * RETRY_MAX_MS / 1000)  # the delays have grown
        since = time.time()
        bouncer.server.start()
        accepts = time.time()
        wait_for(lambda: all(d.pending() == 0 for d in daemons), 40,
                 "everyone to be done again", step=0.5)
    watch.over.set()
    watch.join()
    times = [reconnected_ms(d, since) for d in daemons]
    assert None not in times
    print(f"\nreconnected after the server was started (it accepted after "
          f"{1000 * (accepts - since):.0f} ms):")
    most = show_histogram(times)
    assert most <= HOSTS * 2 / 3, "a herd"
    assert max(times) < 4 * RETRY_MAX_MS + 4000
    assert watch.most <= POOL_SIZE, "more sessions than the pooler may have"
    assert all(d.json("sync", "status")["pool"]["open"] <= 1 for d in daemons)
    rows = database.query("SELECT system_id, record_id, data FROM "
                          "tidemill.synced_records WHERE table_name = 't'")
    assert len(rows) == HOSTS * RECORDS
    for _, _, data in rows:
        assert data["n"] == 2 * STEPS - 1 and len(data) == 2 * STEPS + 1
