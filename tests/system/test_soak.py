# SPDX-License-Identifier: Apache-2.0
"""A day in the life, in a hurry: clients of all kinds, a reload every second,
logs moved away and opened again, workers killed, two upgrades, pools that
breathe.  No command may fail, nothing may be lost or done twice, nothing may
grow.

TIDEMILL_SOAK sets the seconds (15), TIDEMILL_SEED another run."""
import copy
import os
import pathlib
import random
import signal
import subprocess
import threading
import time

import pytest

from harness import Adopted, alive, binaries, sanitized, wait_for
from load import Load
from readings import name_of, reading, show

SECONDS = float(os.environ.get("TIDEMILL_SOAK", "15"))
# The store's caches fill up to their bounds: 20 MB of tokens, its pages.
# Workers are replaced by reloads and kills; what they have at the moment
# depends on what they do.  The master, which lives through all, is the one
# that could leak.
GROWTH_KIB = {"store": 40960, "master": 1024}
ROLES = {"store", "gateway", "monitor", "generation", "sync"}

pytestmark = pytest.mark.slow


def holders(folder):
    """pids of the processes that have a file below the folder open."""
    found = set()
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if any(os.readlink(fd).startswith(f"{folder}/")
                   for fd in (entry / "fd").iterdir()):
                found.add(int(entry.name))
        except OSError:
            continue
    return found


class Operator:
    """What is done to the daemon, each thing in a thread of its own."""

    def __init__(self, daemon, chance):
        self.daemon, self.chance = daemon, chance
        self.over = threading.Event()
        self.readable = threading.Lock()  # the configuration is a good one
        self.counts = {"reloads": 0, "refused": 0, "reopened": 0, "killed": 0,
                       "upgrades": 0}
        self.failures = []
        self.threads = []

    def start(self, action, period):
        def run():
            while not self.over.wait(period()) and not self.failures:
                try:
                    action()
                except Exception as error:  # for the main thread to tell
                    self.failures.append(f"{action.__name__}: {error}")
        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(150)
            assert not thread.is_alive()
        assert not self.failures, self.failures

    def reload(self):
        number = self.counts["reloads"]
        self.counts["reloads"] += 1
        if number % 5 == 4:  # not while a new master reads it
            with self.readable:
                self.reload_with(number, True)
                self.daemon.configure({"sync": {"mode": "adaptive"}})
        else:
            self.reload_with(number, False)

    def reload_with(self, number, bad):
        self.daemon.configure({
            "sync": {"max_retries": 4 + number % 2,
                     "mode": "wild" if bad else "adaptive"},
            "logging": {"level": "info" if number % 7 else "notice"},
            "generation": {"max_workers": 2 + number % 3 // 2}})
        done = self.daemon.run("reload", check=False)
        assert done.returncode == (78 if bad else 0), done
        self.counts["refused"] += bad

    def reopen(self):
        log = self.daemon.logs / "tidemill.log"
        moved = self.daemon.logs / f"moved-{self.counts['reopened']}"
        log.rename(moved)
        self.daemon.run("reopen-logs")
        wait_for(log.exists, what="the new log")
        self.counts["reopened"] += 1

    def kill(self):
        workers = [pid for pid in self.daemon.descendants()
                   if name_of(pid).split("[")[0] in ROLES]
        if workers:
            os.kill(self.chance.choice(workers), signal.SIGKILL)
            self.counts["killed"] += 1

    def upgrade(self):
        old = self.daemon.pid
        with self.readable:
            self.daemon.run("upgrade")
        self.daemon.follow()
        assert self.daemon.pid != old
        self.counts["upgrades"] += 1


def test_soak(daemon, folder):
    seed = int(os.environ.get("TIDEMILL_SEED", time.time()))
    print(f"\nTIDEMILL_SEED={seed} TIDEMILL_SOAK={SECONDS:g}")
    chance = random.Random(seed)
    daemon.configure({
        "supervisor": {"crash_limit": 1000, "hello_timeout": "60s"},
        "generation": {"max_retries": 20, "min_workers": 1,
                       "idle_timeout": "1s"},
        "sync": {"intervals": {"default": "1s"}, "min_workers": 1,
                 "idle_timeout": "1s"},
        "logging": {"rotation": {"max_bytes": "1MB", "backup_count": 5}}})
    subprocess.run([binaries() / "tidemilld", "-c", daemon.config_path],
                   check=True, timeout=120)
    daemon.process = Adopted(daemon.named_pid())
    clients = copy.copy(daemon)  # they read a configuration that stays
    clients.config_path = folder / "clients.yaml"
    clients.configure({})
    load = Load(clients, folder).start(enqueue=2, hook=1, generate=1, status=1,
                                      metrics=1, sync=1)
    load.wait_for_each(5)
    first = wait_for(lambda: whole(daemon), what="all processes")
    operator = Operator(daemon, chance)
    operator.start(operator.reload, lambda: 1)
    operator.start(operator.reopen, lambda: 3)
    operator.start(operator.kill, lambda: chance.uniform(0.1, 1.2))
    end = time.monotonic() + SECONDS
    for part in (1, 2, 3):
        pause = end - SECONDS * (3 - part) / 3 - time.monotonic()
        while pause > 0 and not load.failures and not operator.failures:
            time.sleep(min(pause, 0.2))  # the soak itself
            pause = end - SECONDS * (3 - part) / 3 - time.monotonic()
        load.check()
        if part < 3:
            operator.upgrade()
    operator.stop()
    load.wait_for_each(2)
    load.settle()
    daemon.configure({"generation": {"max_workers": 2}})
    daemon.run("reload")
    try:
        wait_for(lambda: whole(daemon, first), what="what was there first")
    finally:
        show(first, reading(daemon))
    print(operator.counts, dict(load.counts), breaths(daemon))
    assert operator.counts["upgrades"] == 2
    master = daemon.pid
    os.kill(master, signal.SIGTERM)
    wait_for(lambda: not alive(master), what="the end")
    wait_for(lambda: not holders(folder) - {os.getpid()},
             what="everybody to let go")


def breaths(daemon):
    """Of the last master: the others took their counts along."""
    metrics = daemon.json("metrics")
    return {name: metrics[f"tidemill_pool_{name}_total"]
            for name in ("growths", "shrinks")}


def whole(daemon, first=None):
    """A reading of all processes; None when one is missing, and in the end
    when a pool is larger than its least or a process holds more than at
    first."""
    now = reading(daemon)
    names = {"master", "store", "gateway", "monitor", "generation[0]",
             "sync[0]"}
    more = {"generation[1]", "sync[1]"}
    if set(now) != names and (first or set(now) - more != names):
        return None
    for name in names & set(first or {}):
        before = first[name]
        if now[name][0] > before[0] + 2:
            return None
        if sanitized():  # which keep what was freed
            continue
        if now[name][1] > before[1] + 16 or \
                now[name][2] > before[2] + GROWTH_KIB.get(name, 8192):
            return None
    return now
