# SPDX-License-Identifier: Apache-2.0
"""Random operations from several hosts against a model of what must be.

A few daemons share one PostgreSQL.  Thousands of random steps: operations on
few records, kills of any process, cut lines, partitions, a crash of the
server, jumps of the clock, pressure on its connections, reloads, pauses.  At the end everything is mended
and drained, and the centre, each host's outbox and the model must agree.

The seed is printed; TIDEMILL_SEED replays a run as far as the machine's own
timing lets it, TIDEMILL_STEPS makes it longer or shorter, and
TIDEMILL_WITHOUT (names of actions, separated by commas) leaves out what does
not matter to a failure: that is how one is made smaller.
"""
import collections
import contextlib
import json
import os
import pathlib
import random
import subprocess
import signal
import time

import psycopg2
import pytest

from harness import Daemon, Postgres, Proxy, sanitized, wait_for
from test_kill import Killer

STEPS = int(os.environ.get("TIDEMILL_STEPS", "1500"))
WITHOUT = set(os.environ.get("TIDEMILL_WITHOUT", "").split(","))
FAKETIME = pathlib.Path(
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")

pytestmark = pytest.mark.slow

TABLES = ["orders", "notes"]
RECORDS = 5
DELETED = object()


class Host:
    """A daemon, its way to the centre, and what it was promised."""

    strangers = []  # connections of others, for all hosts

    def __init__(self, folder, number, server, database, chance):
        self.chance = chance
        self.proxy = Proxy(server.port)
        self.clock = folder / f"clock{number}"
        self.clock.write_text("+0\n")
        self.daemon = Daemon(folder, {
            "sync": {"sink": "pgsql", "intervals": {"default": "150ms"},
                     "thresholds": {"max_pending_operations": 20},
                     "batch": {"min": 5, "max": 50}, "max_per_pass": 60,
                     "max_retries": 1},
            "database": {"conninfo": (
                f"host=127.0.0.1 port={self.proxy.port} user=postgres "
                f"dbname={database.name} sslmode=disable "
                "gssencmode=disable")},
            "generation": {"enabled": False},
            # The clock jumps by days, and all rows are counted at the end.
            "retention": {"synced": "3650d"},
            "supervisor": {"crash_limit": 1000}}, name=f"h{number}")
        self.killer = Killer(self.daemon, chance)
        # The killer starts a master that it killed.
        start = self.daemon.start
        self.daemon.start = lambda: start(env=self.environment())
        self.rows = {}       # (table, record): data, or DELETED
        self.sent = 0        # operations accepted, by their numbers
        self.poison = 0      # of these, refused by the centre for good
        self.paused = False
        self.database = database

    def environment(self):
        if sanitized() or not FAKETIME.exists() or "clock" in WITHOUT:
            return {}
        return {"LD_PRELOAD": str(FAKETIME), "DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_TIMESTAMP_FILE": str(self.clock),
                "FAKETIME_NO_CACHE": "1"}

    @property
    def name(self):
        return self.daemon.config["system"]["id"]

    def operation(self, number):
        chance = self.chance
        kind = chance.choices(["INSERT", "UPDATE", "DELETE", "poison"],
                              [4, 10, 2, 0.3])[0]
        line = {"operation": "UPDATE" if kind == "poison" else kind,
                "table": chance.choice(TABLES),
                "record_id": f"r{chance.randrange(RECORDS)}",
                "priority": chance.choices(
                    ["low", "normal", "high", "urgent"], [3, 6, 2, 1])[0]}
        if kind == "poison":
            line["data"] = {"n": number, "text": "\0"}
        elif kind != "DELETE":
            line["data"] = {"n": number, f"f{chance.randrange(4)}": number}
        return line

    def apply(self, line):
        key = line["table"], line["record_id"]
        data = line.get("data")
        if data is not None and "text" in data:
            self.poison += 1
        elif line["operation"] == "DELETE":
            self.rows[key] = DELETED
        elif line["operation"] == "INSERT":
            self.rows[key] = data
        else:
            before = self.rows.get(key, DELETED)
            self.rows[key] = {**(before if before is not DELETED else {}),
                              **data}

    def stored(self):
        with contextlib.closing(self.daemon.store()) as db:
            return db.execute("SELECT count(*) FROM sync_queue "
                              "WHERE table_name <> 'first'").fetchone()[0]

    # --- the actions ---

    def enqueue(self):
        lines = [self.operation(self.sent + i)
                 for i in range(self.chance.randint(1, 12))]
        result = self.daemon.run(
            "enqueue", "--batch", "-", "--atomic", check=False,
            input="\n".join(map(json.dumps, lines)))
        assert result.returncode in (0, 75), result.stderr
        # Not acknowledged: all of it may be there, or nothing.
        if result.returncode == 0 or self.stored() > self.sent:
            for line in lines:
                self.apply(line)
            self.sent += len(lines)

    def kill(self):
        self.killer.kill_one()

    def cut(self):
        self.proxy.cut()

    def partition(self):
        self.proxy.refuse = not self.proxy.refuse
        if self.proxy.refuse:
            self.proxy.cut()

    def jump(self):
        self.clock.write_text(self.chance.choice(
            ["+0", "+2", "-2", "+3600", "-3600", "+10d", "-10d"]) + "\n")

    def reload(self):
        self.daemon.configure({"sync": {"batch": {
            "max": self.chance.choice([20, 50, 500])}}})
        with contextlib.suppress(ProcessLookupError):
            self.daemon.signal(signal.SIGHUP)

    def restart(self):
        self.daemon.stop()
        self.daemon.start()

    def pause(self):
        self.paused = not self.paused
        self.daemon.run("sync", "pause" if self.paused else "resume",
                        check=False)

    def press(self):
        """Strangers take most of the server's connections, or go again."""
        if self.strangers:
            for connection in self.strangers:
                connection.close()
            self.strangers.clear()
            return
        with contextlib.suppress(psycopg2.OperationalError):
            for _ in range(24):
                self.strangers.append(self.database.connect())

    def sync(self):
        with contextlib.suppress(Exception):
            self.daemon.run("sync", "now", check=False, timeout=0.05)

    def mend(self):
        self.proxy.refuse = False
        self.strangers and self.press()
        self.daemon.run("sync", "resume")

    def drained(self):
        try:
            self.daemon.run("sync", "drain", check=False, timeout=60)
        except subprocess.TimeoutExpired:
            self.explain()
        return self.daemon.pending() == 0

    def explain(self):
        """A stall is rare: this is all that can be known of it later."""
        print(f"{self.name} stalls:",
              self.daemon.run("sync", "status", check=False).stdout,
              self.daemon.run("status", check=False).stdout,
              self.daemon.log_text()[-20000:], sep="\n")


ACTIONS = {Host.enqueue: 60, Host.kill: 8, Host.cut: 5, Host.partition: 2,
           Host.jump: 2, Host.reload: 1, Host.restart: 0.5, Host.pause: 1,
           Host.sync: 2, Host.press: 1}


def check_host(host, database):
    rows = {(t, r): DELETED if deleted else data
            for t, r, data, deleted in database.query(
                "SELECT table_name, record_id, data, deleted "
                "FROM tidemill.synced_records WHERE system_id = %s "
                "AND table_name <> 'first'", host.name)}
    assert rows == host.rows, f"{host.name}: the centre has other rows"
    last = collections.defaultdict(int)
    for table, record, data in database.query(
            "SELECT table_name, record_id, data FROM public.audit "
            "WHERE system_id = %s AND data IS NOT NULL ORDER BY n",
            host.name):
        assert data["n"] >= last[table, record], "applied out of order"
        last[table, record] = data["n"] + 1
    with contextlib.closing(host.daemon.store()) as db:
        states = dict(db.execute(
            "SELECT status, count(*) FROM sync_queue "
            "WHERE table_name <> 'first' GROUP BY status").fetchall())
    assert states.get("dead", 0) == host.poison
    assert states.get("synced", 0) == host.sent - host.poison
    assert sum(states.values()) == host.sent


def install_audit(database):
    database.query("""
        CREATE TABLE public.audit (n bigserial PRIMARY KEY, system_id text,
          table_name text, record_id text, data jsonb);
        CREATE FUNCTION public.audit() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN
          INSERT INTO public.audit (system_id, table_name, record_id, data)
          VALUES (NEW.system_id, NEW.table_name, NEW.record_id, NEW.data);
          RETURN NEW; END $$;
        CREATE TRIGGER audit AFTER INSERT OR UPDATE
          ON tidemill.synced_records FOR EACH ROW
          EXECUTE FUNCTION public.audit();
    """)


@pytest.fixture
def small_postgres():
    """Room for few connections: pressure is real."""
    server = Postgres({"max_connections": 30})
    server.start()
    yield server
    server.cleanup()


@pytest.fixture
def hosts(folder, small_postgres):
    seed = int(os.environ.get("TIDEMILL_SEED", random.randrange(1 << 31)))
    print(f"seed {seed}, {STEPS} steps")
    database = small_postgres.create_database()
    chance = random.Random(seed)
    hosts = [Host(folder, n, small_postgres, database, chance)
             for n in range(3)]
    yield hosts, database, chance
    Host.strangers.clear()
    for host in hosts:
        host.daemon.cleanup()
        host.proxy.close()


def test_random_operations_from_several_hosts(hosts, small_postgres):
    hosts, database, chance = hosts
    for host in hosts:
        host.daemon.start()
        host.daemon.run("enqueue", "first", "1", "{}")
        host.daemon.run("sync", "now")
    install_audit(database)
    taken = collections.Counter()
    actions = [a for a in ACTIONS if a.__name__ not in WITHOUT]
    weights = [ACTIONS[a] for a in actions]
    started = time.monotonic()
    for step in range(STEPS):
        if step % (STEPS // 3 + 1) == STEPS // 4 and "server" not in WITHOUT:
            Host.strangers.clear()
            small_postgres.stop(signal.SIGQUIT)
            small_postgres.start()
            taken["server"] += 1
        action = chance.choices(actions, weights)[0]
        action(chance.choice(hosts))
        taken[action.__name__] += 1
    print(f"{dict(taken)} in {time.monotonic() - started:.1f} s")
    for host in hosts:
        host.mend()
    for host in hosts:
        wait_for(host.drained, 120, f"the drain of {host.name}")
    for host in hosts:
        check_host(host, database)
    print(f"{sum(h.sent for h in hosts)} operations, "
          f"{sum(h.poison for h in hosts)} poisoned, "
          f"{dict(sum((h.killer.killed for h in hosts), collections.Counter()))} killed")
