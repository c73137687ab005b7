# SPDX-License-Identifier: Apache-2.0
"""System calls of the master that fail: for a while, and one after the other.
It goes on with what it has, says so once, counts it, and is whole again by
itself; nothing is lost."""
import contextlib
import gzip
import itertools
import json
import os
import signal

import pytest

from failing_calls import AIM_AT_NEXT, FOR_EVER, FailingCalls
from harness import DetachedDaemon, alive, wait_for
from readings import name_of

pytestmark = pytest.mark.slow  # the library comes before the sanitizers'

NAMES = {"store", "gateway", "monitor", "generation[0]", "generation[1]",
         "sync[0]", "sync[1]"}
VICTIMS = itertools.cycle(["generation[0]", "sync[0]", "monitor",
                           "generation[1]", "sync[1]"])

# A call that is interrupted is made again, so it must succeed some time.
FOR_A_WHILE = [
    ("fork", "EAGAIN"), ("fork", "ENOMEM"),
    ("pipe", "EMFILE"), ("pipe", "ENFILE"),
    ("malloc", "ENOMEM"),
    ("open", "EMFILE"), ("open", "ENOMEM"), ("open", "ENOSPC"),
    ("open", "EINTR"),
    ("read", "EINTR"), ("read", "EAGAIN"), ("read", "ENOMEM"),
    ("write", "ENOSPC"), ("write", "EAGAIN"), ("write", "ENOMEM"),
    ("write", "EINTR"),
    ("epoll_ctl", "ENOMEM"), ("epoll_ctl", "ENOSPC"),
    ("epoll_wait", "EINTR"),
    ("stat", "ENOMEM"), ("rename", "ENOSPC"), ("waitpid", "EINTR"),
]
TIMES = {"EINTR": 30}

# What a worker's death and a reload need, each call once.
IN_TURN = [("fork", "EAGAIN", 8), ("pipe", "EMFILE", 16),
           ("epoll_ctl", "ENOSPC", 8), ("malloc", "ENOMEM", 40),
           ("write", "ENOSPC", 6)]

# What the upgrade needs: of the old master, and of the new one.
UPGRADE = [("socketpair", "EMFILE", "old"), ("fork", "EAGAIN", "old"),
           ("malloc", "ENOMEM", "old"), ("epoll_ctl", "ENOMEM", "old"),
           ("send", "ENOMEM", "old"),
           ("open", "EMFILE", "new"), ("mmap", "ENOMEM", "new"),
           ("epoll_ctl", "ENOMEM", "new")]


def lines(daemon):
    """Of the log, in all its files."""
    for path in daemon.logs.iterdir():
        if path.suffix == ".part":
            continue
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt") as file:
            yield from map(json.loads, file)


class Stirred:
    """A daemon whose master has much to do, and what must be there in the
    end."""

    def __init__(self, folder):
        self.daemon = DetachedDaemon(folder, {
            "supervisor": {"crash_limit": 1000, "hello_timeout": "5s"},
            "logging": {"rotation": {"max_bytes": 2000, "backup_count": 1000}}})
        self.calls = FailingCalls(folder)
        self.daemon.start(env=self.calls.environment())
        self.calls.aim(self.daemon.pid)
        self.sent = 0
        self.jobs = 0

    def pids(self):
        names = {name_of(pid): pid for pid in self.daemon.descendants()}
        return {name: pid for name, pid in names.items() if name in NAMES}

    def stir(self):
        """A worker dies, a reload replaces all, logs are opened again; an
        operation and a job come in."""
        number = self.sent
        self.sent += 1
        self.daemon.configure({"logging": {
            "format": "text" if number % 2 else "json"}})
        victim = self.pids().get(next(VICTIMS))
        if victim:
            os.kill(victim, signal.SIGKILL)
        self.daemon.signal(signal.SIGHUP)
        self.daemon.signal(signal.SIGUSR1)
        self.daemon.run("enqueue", "t", f"r{number}", '{"n": 1}')

    def whole(self):
        assert alive(self.daemon.pid), \
            "the master ended:\n" + self.daemon.log_text()[-4000:]
        return set(self.pids()) == NAMES and all(
            w["state"] in ("idle", "busy") for w in self.daemon.workers())

    def heal(self, call, name):
        """It fails no more: soon all is as ever."""
        self.calls.stop(call)
        wait_for(self.whole, what=f"all workers after {call}: {name}")
        self.daemon.run("reload")
        self.daemon.run("run", "--", "true")
        self.jobs += 1

    def check(self):
        """Nothing is lost, nothing held."""
        self.daemon.run("sync", "drain")
        with contextlib.closing(self.daemon.centre()) as centre:
            count = centre.execute(
                "SELECT count(*) FROM synced_records WHERE "
                "table_name = 't'").fetchone()[0]
        assert count == self.sent
        with contextlib.closing(self.daemon.store()) as store:
            jobs = dict(store.execute(
                "SELECT state, count(*) FROM generation_jobs GROUP BY state"))
        assert jobs == {"done": self.jobs}
        return self.daemon.json("metrics")


@pytest.fixture
def stirred(folder):
    stirred = Stirred(folder)
    yield stirred
    stirred.calls.aim(0)
    stirred.daemon.cleanup()


def test_for_a_while(stirred):
    calls = stirred.calls
    for call, name in FOR_A_WHILE:
        calls.fail(call, name, times=TIMES.get(name, FOR_EVER))
        stirred.stir()
        wait_for(lambda: calls.failed(call) or
                 stirred.daemon.signal(signal.SIGHUP), step=0.02,
                 what=f"{call} to fail: {name}")
        stirred.heal(call, name)
    assert stirred.check()["tidemill_master_failures_total"] > 0


def test_one_after_the_other(stirred):
    calls = stirred.calls
    for call, name, count in IN_TURN:
        for number in range(count):
            calls.fail(call, name, after=number, times=1)
            stirred.stir()
        stirred.heal(call, name)
    stirred.check()


def test_upgrade(stirred):
    """It fails, and the old master goes on; or it goes well all the same."""
    daemon, calls = stirred.daemon, stirred.calls
    for call, name, whose in UPGRADE:
        calls.aim(daemon.pid if whose == "old" else AIM_AT_NEXT)
        calls.fail(call, name)
        failed = daemon.run("upgrade", check=False)
        assert calls.failed(call) and failed.returncode != 0, (call, failed)
        calls.aim(0)
        stirred.heal(call, name)
    # the new master's workers start as soon as they can
    calls.aim(AIM_AT_NEXT)
    calls.fail("fork", "EAGAIN", times=3)
    daemon.run("upgrade")
    daemon.follow()
    assert calls.failed("fork") == 3
    calls.aim(0)
    stirred.heal("fork", "EAGAIN")
    stirred.check()


def test_it_is_said_once(stirred):
    daemon, calls = stirred.daemon, stirred.calls
    calls.fail("fork", "EAGAIN")
    for name in ("generation[0]", "generation[1]", "sync[0]"):
        os.kill(stirred.pids()[name], signal.SIGKILL)
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: calls.failed("fork") > 6, what="attempts")
    stirred.heal("fork", "EAGAIN")
    said = [line["message"] for line in lines(daemon)]
    assert said.count("workers cannot be started, trying again") == 1
    assert said.count("workers can be started again") == 1
    assert daemon.json("metrics")["tidemill_master_failures_total"] > 6
