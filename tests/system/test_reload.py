# SPDX-License-Identifier: Apache-2.0
"""`tidemill reload`: its outcome, and what a hundred of them leave behind."""
import os
import subprocess

import pytest

from harness import alive, binaries, wait_for
from readings import reading, show


def settled(daemon, names, first=None):
    """Until exactly these processes are there, and the master holds no more
    open than at first.  Workers come and go, with what they have open at the
    moment: theirs is looked at below."""
    def look():
        now = reading(daemon)
        if sorted(now) != names or \
                first and now["master"][0] > first["master"][0]:
            return None
        return now
    try:
        return wait_for(look, what=f"the processes {names}")
    finally:
        show(first or {}, reading(daemon))


def test_the_outcome(daemon):
    daemon.start()
    daemon.configure({"sync": {"max_retries": 9}})
    assert "epoch 2" in daemon.run("reload").stdout

    daemon.configure({"sync": {"max_retries": "many"}, "snyc": {}})
    refused = daemon.run("reload", check=False)
    assert refused.returncode == 78
    assert "max_retries" in refused.stderr and "snyc" in refused.stderr
    status = daemon.json("status")["configuration"]
    assert status["reload_failed"] and status["epoch"] == 2
    assert len(status["errors"]) == 2
    del daemon.config["snyc"]

    # what needs a restart is told with both values, until it is taken back
    other = daemon.folder / "elsewhere"
    daemon.configure({"sync": {"max_retries": 5},
                      "paths": {"state_dir": str(other)}})
    words = f'paths.state_dir: "{daemon.state}" -> "{other}"'
    assert words in daemon.run("reload").stdout
    status = daemon.json("status")["configuration"]
    assert status["pending_restart"] == [words]
    assert not status["reload_failed"] and status["errors"] == []
    assert words in daemon.run("status").stdout
    daemon.configure({"paths": {"state_dir": str(daemon.state)}})
    assert words not in daemon.run("reload").stdout
    assert not daemon.json("status")["configuration"]["pending_restart"]
    assert not other.exists()


def test_a_hundred_leave_nothing_behind(daemon):
    """Good and bad ones mixed: no old process, descriptor or mapping."""
    daemon.configure({"supervisor": {"crash_limit": 1000}})
    daemon.start()
    good = dict(daemon.config)

    def round_of(number):
        daemon.config = dict(good)
        if number % 4 == 3:
            daemon.configure({"sync": {"max_worker": 2}})
            assert daemon.run("reload", check=False).returncode == 78
            return
        daemon.configure({  # all roles, some roles, and the pools
            "logging": {"format": "text" if number % 8 == 1 else "json"},
            "sync": {"max_retries": 3 + number % 2},
            "generation": {"max_workers": 2 + (number % 3 == 0)}})
        daemon.run("reload")

    for number in range(12):
        round_of(number)
    names = sorted(["master", "store", "gateway", "monitor", "generation[0]",
                    "generation[1]", "generation[2]", "sync[0]", "sync[1]"])
    round_of(0)
    first = settled(daemon, names)
    for number in range(100):
        round_of(number)
    round_of(0)
    last = settled(daemon, names, first)
    for name in names:
        assert last[name][0] <= first[name][0] + 10, name
        assert last[name][1] <= first[name][1] + 10, name
    assert last["master"][2] <= first["master"][2] + 1024
    assert not daemon.json("status")["degraded"]


def test_a_rehearsal_of_death(daemon):
    """`tidemill test kill`."""
    daemon.start()
    told = daemon.json("test", "kill", "--role", "generation", "--count", 5)
    assert len(told["kills"]) == 5
    for kill in told["kills"]:
        assert kill["role"] == "generation"
        assert kill["successor"] != kill["pid"] and not alive(kill["pid"])
    assert told["most_seconds"] == max(k["seconds"] for k in told["kills"])
    for role in ("gateway", "store"):
        kill = daemon.json("test", "kill", "--role", role)["kills"][0]
        assert daemon.workers(role)[0]["pid"] == kill["successor"]
    assert "was killed" in daemon.run("test", "kill").stdout
    done = daemon.run("test", "kill", "--role", "master", check=False)
    assert done.returncode == 64


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_who_may(daemon):
    """Reading is for all whom the socket lets in, changing for root and the
    daemon's user."""
    daemon.configure({"gateway": {"control_mode": "0666"}})
    daemon.start()

    def as_nobody(*words):
        return subprocess.run(
            ["setpriv", "--reuid", "65534", "--regid", "65534",
             "--clear-groups", "--", binaries() / "tidemill", "-c",
             daemon.config_path, *words],
            capture_output=True, text=True, timeout=60)

    assert as_nobody("status").returncode == 0
    before = daemon.workers()
    for words in (("test", "kill"), ("upgrade",), ("reload",)):
        done = as_nobody(*words)
        assert done.returncode == 77, done
    assert [w["spawn"] for w in daemon.workers()] == [
        w["spawn"] for w in before]
    assert daemon.json("status")["configuration"]["epoch"] == 1


def test_a_stop_right_after(daemon):
    """The store, which is being replaced, is there until the others have
    left: nobody waits for its answer until the time is up."""
    daemon.configure({"supervisor": {"shutdown_timeout": "1h"}})
    daemon.start()
    for form in ("text", "json", "text"):  # replaces everybody
        daemon.configure({"logging": {"format": form}})
        daemon.run("reload")
    assert daemon.stop() == 0
