# SPDX-License-Identifier: Apache-2.0
"""Connections to the centre: the budget, pressure, poolers, names."""
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import time

import psycopg2
import pytest

from harness import PgBouncer, Postgres, Proxy, binaries, wait_for
from test_kill import PgsqlCentre
from test_sync import enqueue_many, settled, start, state


def pool(daemon):
    return daemon.json("sync", "status")["pool"]


def attempts(daemon):
    return daemon.json("sync", "status")["attempts"]


def connections(database):
    """Sessions of Tidemill at the server."""
    return database.query(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
        "'tidemill' AND datname = current_database()")[0][0]


def session_started(database):
    rows = database.query(
        "SELECT backend_start FROM pg_stat_activity WHERE application_name = "
        "'tidemill' AND datname = current_database()")
    return {str(row[0]) for row in rows}


def there(database, table="t"):
    """Records of a table at the centre."""
    return database.query("SELECT count(*) FROM tidemill.synced_records "
                          "WHERE table_name = %s", table)[0][0]


def updates(records, steps, first=0):
    """Each record gets 0, 1, 2 ... in this order, in a field of its own."""
    return "\n".join(json.dumps(
        {"operation": "UPDATE", "table": "t", "record_id": f"r{r}",
         "data": {"n": s, f"f{s}": 1}})
        for s in range(first, first + steps) for r in range(records))


def check_whole(database, records, steps):
    """Nothing is lost, and each record went forward with each application:
    nothing came twice or late.  Needs count_applications."""
    centre = PgsqlCentre(database)
    rows = centre.rows("t")
    assert len(rows) == records
    for data in rows.values():
        assert data["n"] == steps - 1 and len(data) == steps + 1
    last = {}
    for record, data in centre.applications("t"):
        assert data["n"] > last.get(record, -1), f"{record} went back"
        last[record] = data["n"]


@contextlib.contextmanager
def crowd(database, count):
    """Holds so many connections to a server."""
    held = []
    try:
        for _ in range(count):
            held.append(psycopg2.connect(database.conninfo))
        yield
    finally:
        for connection in held:
            connection.close()


# --- the life of a connection ---


def test_idle_connections_are_closed_but_for_the_least(daemon, postgres):
    daemon.configure(postgres.config(
        sync={"max_workers": 3, "batch": {"min": 10, "max": 10}},
        database={"pool": {"min": 1, "idle_timeout": "500ms"}}))
    start(daemon)
    enqueue_many(daemon, 2000)
    daemon.run("sync", "drain")
    assert connections(postgres) > 1, "the drain used one worker only"
    wait_for(lambda: connections(postgres) == 1, 10, "idle ones to close")
    time.sleep(1)
    assert connections(postgres) == 1 and pool(daemon)["open"] == 1
    assert pool(daemon)["in_use"] == 0


def test_the_least_are_open_from_the_start(daemon, postgres):
    daemon.configure(postgres.config(
        sync={"max_workers": 3},
        database={"pool": {"min": 2, "idle_timeout": "200ms",
                           "health_check_interval": "200ms"}}))
    start(daemon)
    wait_for(lambda: connections(postgres) == 2, 10, "both")
    lost = session_started(postgres)
    postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                   "WHERE application_name = 'tidemill' "
                   "AND datname = current_database()")
    wait_for(lambda: len(session_started(postgres) - lost) == 2, 10,
             "both again")
    assert "tidemill_sync_connections 2" in daemon.run("metrics").stdout


def test_none_stays_open_when_none_has_to(daemon, postgres):
    daemon.configure(postgres.config(
        database={"pool": {"min": 0, "idle_timeout": "300ms"}}))
    start(daemon)
    wait_for(lambda: connections(postgres) == 0, 10, "the last to close")
    assert state(daemon) == "online"
    daemon.run("enqueue", "t", "r1", "{}")
    daemon.run("sync", "now")
    assert there(postgres) == 1


def test_a_connection_has_a_lifetime(daemon, postgres):
    daemon.configure(postgres.config(
        database={"pool": {"max_lifetime": "1s",
                           "health_check_interval": "200ms"}}))
    start(daemon)
    first = session_started(postgres)
    assert len(first) == 1
    wait_for(lambda: session_started(postgres) - first, 10, "a new one")
    wait_for(lambda: not session_started(postgres) & first, 5,
             "the old one to go")
    assert state(daemon) == "online"


def test_health_check_notices_a_dead_server(daemon, own_postgres):
    database = own_postgres.create_database()
    daemon.configure(database.config(
        database={"pool": {"health_check_interval": "300ms"}}))
    start(daemon)
    own_postgres.stop(signal.SIGKILL)
    wait_for(lambda: state(daemon) == "offline", 10, "it to be noticed")
    own_postgres.start()
    wait_for(lambda: state(daemon) == "online", 30, "it to be back")


def test_more_workers_than_connections(daemon, postgres):
    """Workers take turns; never more connections than the budget."""
    most = []
    daemon.configure(postgres.config(
        sync={"max_workers": 4, "batch": {"min": 20, "max": 20},
              "connection_pool_check_enabled": False},
        database={"pool": {"max": 2}}))
    start(daemon)
    PgsqlCentre(postgres).count_applications()
    daemon.run("sync", "pause")
    daemon.run("enqueue", "--batch", "-", input=updates(300, 20))
    daemon.run("sync", "resume")
    drain = subprocess.Popen([binaries() / "tidemill", "-c",
                              daemon.config_path, "sync", "drain"])
    killed = 0
    while drain.poll() is None:
        most.append(connections(postgres))
        if len(most) % 10 == 5 and killed < 5:
            # A dead worker's token comes back with its successor.
            daemon.kill_worker("sync", slot=killed % 4)
            killed += 1
    assert drain.returncode == 0
    # A killed client's backend may outlive it for a moment.
    assert sorted(most)[len(most) * 8 // 10] <= 2
    assert max(most) <= 2 + killed
    check_whole(postgres, 300, 20)
    assert pool(daemon)["open"] <= 2


def test_waiting_for_a_connection_is_bounded(daemon, postgres):
    """With one token, and it kept in use, the second worker gives up, in
    words of its own."""
    daemon.configure(postgres.config(
        sync={"max_workers": 2, "connection_pool_check_enabled": False,
              "batch": {"min": 1, "max": 10}},
        database={"pool": {"max": 1, "acquire_timeout": "300ms"},
                  "statement_timeout": "20s"}))
    start(daemon)
    blocker = postgres.connect()
    blocker.autocommit = False
    blocker.cursor().execute("LOCK TABLE tidemill.ledger IN EXCLUSIVE MODE")
    enqueue_many(daemon, 200)
    daemon.run("enqueue", "t", "u", "--priority", "urgent", "{}")
    wait_for(lambda: attempts(daemon)["pool_busy"] > 0, 20, "BUSY")
    assert "none of this host's 1 connections" in daemon.log_text()
    blocker.rollback()
    blocker.close()
    daemon.run("sync", "drain")
    assert there(postgres) == 201


# --- pressure ---


@pytest.fixture
def small_server():
    """A server that is soon full: 20 connections, none of them reserved but
    one."""
    server = Postgres({"max_connections": 20,
                       "superuser_reserved_connections": 1})
    server.start()
    yield server
    server.cleanup()


def plain_user(server, database):
    """A role that the reserved connection is not for."""
    database.query("CREATE ROLE plain LOGIN")
    database.query(f"GRANT CREATE ON DATABASE {database.name} TO plain")
    return (f"host=127.0.0.1 port={server.port} user=plain "
            f"dbname={database.name}")


def test_near_capacity_all_but_urgent_wait(daemon, small_server):
    database = small_server.create_database()
    daemon.configure(database.config(
        database={"pool": {"health_check_interval": "200ms"}}))
    start(daemon)
    with crowd(database, 16):
        wait_for(lambda: (pool(daemon)["server"] or {}).get(
            "connections", 0) >= 16, 15, "the crowd to be counted")
        enqueue_many(daemon, 100)
        wait_for(lambda: pool(daemon)["deferring"], 10, "a deferral")
        daemon.run("enqueue", "t", "now", "--priority", "urgent", "{}")
        wait_for(lambda: database.query(
            "SELECT 1 FROM tidemill.synced_records "
            "WHERE record_id = 'now'"), 5, "the urgent one")
        wait_for(lambda: daemon.pending() == 100, 5, "its settlement")
        assert state(daemon) == "online"
        late = daemon.run("sync", "now", check=False)
        assert late.returncode == 75
        assert "pool near capacity" in late.stderr
        wait_for(lambda: attempts(daemon)["pool_deferred_syncs"] >= 3, 20,
                 "more tries")
    line = next(json.loads(text) for text in daemon.log_text().splitlines()
                if '"pool near capacity"' in text)
    assert line["pool_usage"] > 0.8 and line["threshold"] == 0.8
    assert line["checkedout"] >= 16 and line["pool_size"] == 19
    settled(daemon)
    after = attempts(daemon)
    assert after["failed_syncs"] == 0 and 0 < after["pool_deferral_rate"] < 100
    # Each worker says it once.
    assert daemon.log_text().count('"pool near capacity"') <= \
        len(daemon.workers("sync")), "the log is flooded"


def test_pressure_during_a_drain(daemon, small_server):
    """The line fills up while a drain is under way: the drain waits, too, and
    is finished when there is room again."""
    database = small_server.create_database()
    daemon.configure(database.config(
        sync={"max_workers": 1, "batch": {"min": 20, "max": 20}}))
    start(daemon)
    PgsqlCentre(database).count_applications()
    database.query("""
        CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END $$;
        CREATE TRIGGER slow BEFORE INSERT ON tidemill.synced_records
          FOR EACH STATEMENT EXECUTE FUNCTION public.slow()""")
    daemon.run("sync", "pause")
    daemon.run("enqueue", "--batch", "-", input=updates(1000, 1))
    daemon.run("sync", "resume")
    drain = subprocess.Popen([binaries() / "tidemill", "-c",
                              daemon.config_path, "sync", "drain"])
    wait_for(lambda: there(database) > 0, 20, "the drain to be under way")
    with crowd(database, 16):
        wait_for(lambda: pool(daemon)["deferring"], 20, "the drain to wait")
        left = daemon.pending()
        assert left > 100 and drain.poll() is None
    database.query("DROP TRIGGER slow ON tidemill.synced_records")
    assert drain.wait(30) == 0
    check_whole(database, 1000, 1)


def test_pressure_can_be_switched_off(daemon, small_server):
    database = small_server.create_database()
    daemon.configure(database.config(
        sync={"connection_pool_check_enabled": False}))
    start(daemon)
    with crowd(database, 16):
        enqueue_many(daemon, 100)
        settled(daemon)
    assert attempts(daemon)["pool_deferred_syncs"] == 0
    assert pool(daemon)["server"] is None


def test_a_full_server_is_busy_not_offline(daemon, small_server):
    database = small_server.create_database()
    daemon.configure(database.config(database={
        "conninfo": plain_user(small_server, database)}))
    with crowd(database, 19):
        start(daemon, expected="busy")
        status = daemon.json("sync", "status")
        assert "no connection free" in status["last_error"]
        assert "53300" not in status["last_error"]
        drain = daemon.run("sync", "drain", check=False)
        assert drain.returncode == 75 and "no connection free" in drain.stderr
        assert attempts(daemon)["pool_busy"] > 0
        enqueue_many(daemon, 100)
    settled(daemon)
    wait_for(lambda: state(daemon) == "online", 10, "online")
    small_server.stop(signal.SIGKILL)
    daemon.run("enqueue", "t", "x", "--priority", "urgent", "{}")
    wait_for(lambda: state(daemon) == "offline", 20, "offline")
    assert "cannot be reached" in daemon.json("sync", "status")["last_error"]


def test_refused_for_lack_of_rights(daemon, small_server):
    database = small_server.create_database()
    database.query("CREATE ROLE nobody_much LOGIN")
    daemon.configure(database.config(database={
        "conninfo": f"host=127.0.0.1 port={small_server.port} "
                    f"user=nobody_much dbname={database.name}"}))
    daemon.start()
    wait_for(lambda: attempts(daemon)["authorization_failures"] > 0, 10,
             "42501 to be counted")
    assert attempts(daemon)["pool_busy"] == 0


# --- a pooler in between ---


@pytest.fixture
def bouncer(own_postgres):
    bouncer = PgBouncer(own_postgres, default_pool_size=4, max_client_conn=50)
    bouncer.start()
    yield bouncer
    bouncer.cleanup()


class Ahead:
    """How many batches at most were on their way at once through a proxy."""

    def __init__(self, proxy):
        self.sent, self.answered, self.most = b"", b"", 0
        proxy.on_client, proxy.on_server = self.on_client, self.on_server

    def count(self):
        return (self.sent.count(b"tidemill.apply_batch(")
                - self.answered.count(b"applied"))

    def on_client(self, data, _):
        self.sent += data
        self.most = max(self.most, self.count())

    def on_server(self, data, _):
        self.answered += data


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
def test_nothing_is_sent_ahead_through_a_pooler(daemon, bouncer, pooled):
    server = bouncer.server
    database = server.create_database()
    with contextlib.closing(Proxy(bouncer.port if pooled else server.port,
                                  delay=0.01)) as proxy:
        daemon.configure(database.config(
            sync={"max_workers": 1, "batch": {"min": 20, "max": 20}},
            database={"conninfo": f"host=127.0.0.1 port={proxy.port} "
                                  f"user=postgres dbname={database.name}"}))
        start(daemon)
        ahead = Ahead(proxy)
        enqueue_many(daemon, 2000)
        daemon.run("sync", "drain")
        assert there(database) == 2000
        assert (ahead.most == 1) == pooled


def message(kind, *parts):
    body = b"".join(parts)
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def transaction(*statements):
    """They are answered when the last one is done."""
    return b"".join(
        message(b"P", b"\0", sql.encode(), b"\0\0\0")
        + message(b"B", bytes(8)) + message(b"D", b"P\0")
        + message(b"E", bytes(5)) for sql in statements) + message(b"S")


def leave_answers(bouncer, database, count):
    """A client that asks ahead and leaves with its first answer: its pooler
    gives the server, with the other answers, to the next one."""
    with socket.create_connection(("127.0.0.1", bouncer.port)) as s:
        s.sendall(message(
            b"", (196608).to_bytes(4, "big"),
            f"user\0postgres\0database\0{database.name}\0\0".encode()))
        stream = s.makefile("rb")

        def until_ready():
            while True:
                kind = stream.read(1)
                size = int.from_bytes(stream.read(4), "big")
                stream.read(size - 4)
                if kind == b"Z":
                    return
        until_ready()
        s.sendall(transaction("SELECT 1") + count * transaction(
            "SELECT pg_sleep(0.02)", "SELECT 'applied'"))
        until_ready()


def test_answers_of_others_count_for_nothing(daemon, own_postgres):
    """PgBouncer 1.18 hands a server on with what it has yet to say."""
    bouncer = PgBouncer(own_postgres, default_pool_size=1, max_client_conn=50)
    bouncer.start()
    try:
        database = own_postgres.create_database()
        daemon.configure(database.config(
            sync={"max_workers": 1, "retry": {"base": "20ms", "max": "100ms"}},
            database={"conninfo": bouncer.conninfo(database)}))
        start(daemon)
        for n in range(3):
            leave_answers(bouncer, database, 20)
            daemon.run("enqueue", "--priority", "urgent", "t", f"r{n}", "{}")
            settled(daemon)
            assert there(database) == n + 1
    finally:
        bouncer.cleanup()


def test_through_a_pooler_with_kills_and_its_restart(daemon, bouncer):
    """PgBouncer in transaction mode: workers are killed, then it is."""
    database = bouncer.server.create_database()
    daemon.configure(database.config(
        sync={"max_workers": 3, "batch": {"min": 20, "max": 20},
              "retry": {"base": "20ms", "max": "300ms"}},
        database={"conninfo": bouncer.conninfo(database)}))
    start(daemon)
    PgsqlCentre(database).count_applications()
    daemon.run("sync", "pause")
    daemon.run("enqueue", "--batch", "-", input=updates(3000, 10))
    daemon.run("sync", "resume")
    end = time.monotonic() + 60
    chance, restarts, kills = random.Random(1), 0, 0
    seen = 0
    while daemon.pending() > 0:
        assert time.monotonic() < end
        drain = subprocess.Popen(
            [binaries() / "tidemill", "-c", daemon.config_path, "sync",
             "drain"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: there(database) > seen or drain.poll() is not None,
                 20, "the drain to be under way")
        for _ in range(2):
            if kills < 8:
                daemon.kill_worker("sync", chance.randrange(3))
                kills += 1
        seen = there(database)
        if restarts < 3 and seen > 0:
            bouncer.stop()
            assert not bouncer.accepts()
            bouncer.start()
            restarts += 1
        drain.wait(60)
    assert restarts >= 1 and kills >= 2
    check_whole(database, 3000, 10)


def test_a_full_pooler_is_busy(daemon, own_postgres):
    """Its words are its own: no more clients, or none of its connections
    free in time."""
    bouncer = PgBouncer(own_postgres, max_client_conn=1, default_pool_size=1)
    database = own_postgres.create_database()
    bouncer.start()
    other = psycopg2.connect(bouncer.conninfo(database))
    try:
        daemon.configure(database.config(
            database={"conninfo": bouncer.conninfo(database)}))
        start(daemon, expected="busy")
        assert "no more connections allowed" in \
            daemon.json("sync", "status")["last_error"]
        other.close()
        wait_for(lambda: state(daemon) == "online", 20, "room")
    finally:
        other.close()
        bouncer.cleanup()


def test_a_pooler_whose_connections_are_taken_is_busy(daemon, own_postgres):
    bouncer = PgBouncer(own_postgres, default_pool_size=1,
                        query_wait_timeout=1)
    database = own_postgres.create_database()
    bouncer.start()
    other = psycopg2.connect(bouncer.conninfo(database))
    try:
        other.cursor().execute("SELECT 1")  # in a transaction: keeps it
        daemon.configure(database.config(
            database={"conninfo": bouncer.conninfo(database)}))
        start(daemon, expected="busy")
        assert "query_wait_timeout" in \
            daemon.json("sync", "status")["last_error"]
        other.rollback()
        wait_for(lambda: state(daemon) == "online", 20, "room")
    finally:
        other.close()
        bouncer.cleanup()


def test_a_pooler_without_its_server_is_offline(daemon, own_postgres):
    bouncer = PgBouncer(own_postgres)
    database = own_postgres.create_database()
    bouncer.start()
    own_postgres.stop()
    try:
        daemon.configure(database.config(
            database={"conninfo": bouncer.conninfo(database),
                      "connect_timeout": "1s"}))
        daemon.start()
        wait_for(lambda: state(daemon) not in ("unknown",), 20, "a state")
        assert state(daemon) == "offline"
        own_postgres.start()
        wait_for(lambda: state(daemon) == "online", 20, "the server")
    finally:
        bouncer.cleanup()


# --- names ---


@contextlib.contextmanager
def private_dns(folder, hosts="", servers="nameserver 127.0.0.1\n"):
    """What to put before a command so that it sees these two files."""
    for name, text in (("hosts", hosts), ("resolv", servers)):
        (folder / name).write_text(text)
    script = folder / "dns"
    script.write_text(
        "#!/bin/sh\n"
        f"mount --bind {folder}/hosts /etc/hosts &&\n"
        f"mount --bind {folder}/resolv /etc/resolv.conf &&\n"
        'exec "$@"\n')
    script.chmod(0o755)
    yield ["unshare", "--mount", script]


def can_unshare():
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "--mount", "true"], capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(
    not can_unshare(), reason="mount namespaces need root")


@needs_namespaces
def test_a_name_from_hosts(daemon, folder, postgres):
    server = postgres.server
    daemon.configure(postgres.config(database={
        "conninfo": f"host=centre.test port={server.port} user=postgres "
                    f"dbname={postgres.name}"}))
    # Nobody listens on the first address: the next one of the name is tried.
    with private_dns(folder, "127.0.0.9 centre.test\n"
                             "127.0.0.1 centre.test\n") as wrap:
        daemon.start(wrap=wrap)
        wait_for(lambda: state(daemon) == "online", 20, "online")


@needs_namespaces
def test_a_dead_name_server_does_not_stop_the_heart(daemon, folder, postgres):
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.77", 53))  # takes questions, never answers
    daemon.configure(postgres.config(
        supervisor={"heartbeat_timeout": "2s"},
        database={"connect_timeout": "3s",
                  "conninfo": f"host=centre.test,127.0.0.1 "
                              f"port=1,{postgres.server.port} user=postgres "
                              f"dbname={postgres.name}"}))
    try:
        with private_dns(folder, "127.0.0.1 localhost\n",
                         "nameserver 127.0.0.77\n") as wrap:
            daemon.start(wrap=wrap)
            pids = {w["pid"] for w in daemon.workers("sync")}
            oldest = 0
            end = time.monotonic() + 8
            while state(daemon) != "online" and time.monotonic() < end:
                oldest = max([oldest] + [w["heartbeat_seconds"]
                                         for w in daemon.workers("sync")])
                time.sleep(0.05)
            assert state(daemon) == "online", "the next host was not tried"
            assert oldest < 1.9, "the worker slept in the resolver"
            assert {w["pid"] for w in daemon.workers("sync")} == pids
    finally:
        silent.close()
