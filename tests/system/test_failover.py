# SPDX-License-Identifier: Apache-2.0
"""Two PostgreSQL servers, the second one follows the first and takes over."""
import subprocess
import threading
import time

import pytest

from harness import Database, Postgres, Standby, binaries, wait_for
from test_connections import check_whole, there, updates
from test_kill import PgsqlCentre
from test_sync import state

OPTIONS = {"fsync": "off", "wal_keep_size": "64MB"}


@pytest.fixture
def pair():
    """A primary, and a standby that has all it commits."""
    primary = Postgres(OPTIONS)
    standby = None
    try:
        primary.start()
        standby = Standby(primary, OPTIONS)
        standby.start()
        yield primary, standby
    finally:
        if standby is not None:
            standby.cleanup()
        primary.cleanup()


def synchronous(primary):
    """From now on nothing is committed before the standby has it."""
    admin = Database(primary, "postgres")
    admin.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
    admin.query("SELECT pg_reload_conf()")
    wait_for(lambda: admin.query(
        "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"), 20,
        "synchronous replication")


def both(primary, standby, database):
    return (f"host=127.0.0.1,127.0.0.1 port={primary.port},{standby.port} "
            f"user=postgres dbname={database.name}")


def at(server, database):
    return Database(server, database.name)


def is_at(server, database):
    """What is committed is flushed on the standby, and visible a moment
    later."""
    return Database(server, "postgres").query(
        "SELECT 1 FROM pg_database WHERE datname = %s", database.name)


def applications(database):
    """Changes of records at the centre (count_applications)."""
    return database.query("SELECT count(*) FROM public.audit")[0][0]


def test_takeover_during_a_drain(daemon, pair):
    primary, standby = pair
    database = primary.create_database()
    daemon.configure({"sync": {"sink": "pgsql", "batch": {"max": 100},
                               "retry": {"base": "20ms", "max": "200ms"}},
                      "database": {"conninfo": both(primary, standby,
                                                    database),
                                   "connect_timeout": "2s"}})
    synchronous(primary)
    daemon.start()
    wait_for(lambda: state(daemon) == "online", 20, "online")
    PgsqlCentre(database).count_applications()
    daemon.run("sync", "pause")
    daemon.run("enqueue", "--batch", "-", input=updates(1000, 20))
    daemon.run("sync", "resume")
    drain = subprocess.Popen([binaries() / "tidemill", "-c",
                              daemon.config_path, "sync", "drain"])
    wait_for(lambda: applications(database) > 500, 30,
             "the drain to be under way", step=0.001)
    before = applications(database)
    primary.crash()
    drain.wait(60)
    assert daemon.pending() > 0, "it was over before the crash"
    # A standby takes no writes: nothing goes there before it is promoted.
    assert standby.accepts()
    standby.promote()
    survivor = at(standby, database)
    assert applications(survivor) >= before, \
        "synchronous replication lost what was committed"
    wait_for(lambda: state(daemon) in ("draining", "online"), 30, "the line")
    daemon.run("sync", "drain")
    check_whole(survivor, 1000, 20)
    assert daemon.json("sync", "status")["dead"] == 0


def test_switchover_and_back_while_operations_go_on(daemon, pair):
    """An orderly takeover: the first server is shut down, the second takes
    over, with urgent operations all the time."""
    primary, standby = pair
    database = primary.create_database()
    daemon.configure({"sync": {"sink": "pgsql",
                               "retry": {"base": "20ms", "max": "200ms"}},
                      "database": {"conninfo": both(primary, standby,
                                                    database)}})
    synchronous(primary)
    daemon.start()
    wait_for(lambda: state(daemon) == "online", 20, "online")
    PgsqlCentre(database).count_applications()
    accepted, over = [], threading.Event()

    def produce():
        while not over.is_set():
            name = f"u{len(accepted)}"
            daemon.run("enqueue", "t", name, "--priority", "urgent",
                       '{"a": 1}')
            accepted.append(name)
    producer = threading.Thread(target=produce)
    producer.start()
    try:
        wait_for(lambda: len(accepted) > 30, 20, "operations")
        primary.stop()
        wait_for(lambda: state(daemon) == "offline", 20, "offline")
        standby.promote()
        more = len(accepted) + 30
        wait_for(lambda: len(accepted) > more, 20, "operations")
        survivor = at(standby, database)
        wait_for(lambda: there(survivor) > 0 and
                 state(daemon) in ("online", "draining"), 20, "the line")
    finally:
        over.set()
        producer.join()
    daemon.run("sync", "drain")
    assert set(PgsqlCentre(survivor).rows("t")) == set(accepted)
    assert applications(survivor) == len(accepted)


def test_a_standby_alone_is_not_written(daemon, pair):
    """Read-write is wanted: with only standbys there it is offline, in words
    that say so."""
    primary, standby = pair
    synchronous(primary)
    database = primary.create_database()
    daemon.configure({"sync": {"sink": "pgsql"},
                      "database": {"conninfo": both(primary, standby,
                                                    database)}})
    wait_for(lambda: is_at(standby, database), 10,
             "the database on the standby")
    primary.crash()
    daemon.start()
    wait_for(lambda: state(daemon) == "offline", 20, "offline")
    words = daemon.json("sync", "status")["last_error"]
    assert "session is read-only" in words


def test_an_asynchronous_takeover_goes_on(daemon, pair):
    """What the promoted standby had not got is lost at the centre, as its
    operator chose; nothing else is, and the host goes on."""
    primary, standby = pair
    database = primary.create_database()
    daemon.configure({"sync": {"sink": "pgsql",
                               "retry": {"base": "20ms", "max": "200ms"}},
                      "database": {"conninfo": both(primary, standby,
                                                    database)}})

    def carry(*names):
        for name in names:
            daemon.run("enqueue", "t", name, "{}")
        daemon.run("sync", "drain")

    daemon.start()
    wait_for(lambda: state(daemon) == "online", 20, "online")
    carry("a", "b")
    wait_for(lambda: Database(primary, "postgres").query(
        "SELECT 1 FROM pg_stat_replication "
        "WHERE replay_lsn >= pg_current_wal_lsn()"), 10,
        "both on the standby")
    standby.stop()
    carry("lost")
    primary.crash()
    standby.start()
    standby.promote()
    daemon.run("enqueue", "t", "c", "--priority", "urgent", "{}")
    survivor = at(standby, database)
    wait_for(lambda: there(survivor) == 3, 20, "the line")
    carry("a", "d")
    assert set(PgsqlCentre(survivor).rows("t")) == {"a", "b", "c", "d"}
    assert daemon.json("sync", "status")["dead"] == 0
