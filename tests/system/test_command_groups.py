# SPDX-License-Identifier: Apache-2.0
"""Command jobs in control groups, where this machine has a tree of its own
for them; what is said where there is none; and as another user than root."""
import os
import pathlib
import uuid

import pytest
from harness import Daemon, alive, wait_for
from test_command_jobs import BOMB, ESCAPE, Marked, await_state

# Kills its worker and its guardian at once, and has left both before.
MURDER = """
import os, signal, sys, time
guardian = os.getppid()
with open(f"/proc/{guardian}/stat") as file:
    worker = int(file.read().rsplit(")", 1)[1].split()[1])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.3)
        os.kill(worker, signal.SIGSTOP)
        os.kill(guardian, signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
"""


def unified():
    for line in open("/proc/self/mountinfo"):
        if " - cgroup2 " in line:
            return pathlib.Path(line.split()[4])
    return None


@pytest.fixture
def group():
    """A control group that is ours, made empty at the end."""
    root = unified()
    path = root / f"tm-{uuid.uuid4().hex}" if root else None
    try:
        path.mkdir()
        if not (path / "cgroup.kill").exists():
            raise OSError
    except (AttributeError, OSError):
        pytest.skip("no control groups (v2) can be made here")
    yield path
    (path / "cgroup.kill").write_text("1")
    for below in sorted(path.rglob("*"), reverse=True):
        if below.is_dir():
            wait_for(lambda b=below: not (b / "cgroup.procs").read_text())
            below.rmdir()
    path.rmdir()


def config(**command):
    return {"supervisor": {"kill_grace": "200ms"},
            "generation": {"command": command}}


@pytest.mark.parametrize("program", [ESCAPE, BOMB], ids=["escape", "bomb"])
def test_in_a_group(folder, group, program):
    daemon = Daemon(folder, config(cgroup=str(group))).start()
    try:
        assert daemon.json("status")["commands"]["mechanism"] == \
            "control group"
        marked = Marked(daemon)
        job = marked.start(program, "--timeout", "1s")
        wait_for(marked.alive)
        groups = {pathlib.Path(f"/proc/{pid}/cgroup").read_text().split(
            "0::")[1].strip() for pid in marked.alive()}
        assert len(groups) == 1 and f"/{group.name}/" in groups.pop()
        await_state(daemon, job, "failed")
        assert marked.alive() == []
        assert daemon.run("run", "--", "echo", "next").stdout == "next\n"
        assert "No such file" in daemon.run("run", "--", "/no/program",
                                            check=False).stderr
    finally:
        daemon.stop()


def test_who_kills_worker_and_guardian_is_killed(folder, group):
    daemon = Daemon(folder, {**config(cgroup=str(group)),
                             "sync": {"enabled": False}}).start()
    daemon.configure({"generation": {"max_retries": 0}})
    daemon.run("reload")
    try:
        marked = Marked(daemon)
        marked.start(MURDER)
        wait_for(marked.alive)
        before = {w["pid"] for w in daemon.workers("generation")}
        wait_for(lambda: {w["pid"] for w in daemon.workers("generation")} -
                 before, what="a successor")
        marked.await_dead()
    finally:
        daemon.stop()


def test_a_delegated_group_is_found(folder, group):
    """As systemd does it: marked, and the daemon started within it."""
    os.setxattr(group, "trusted.delegate", b"1")
    daemon = Daemon(folder, config())
    daemon.start(wrap=["sh", "-c",
                       f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"])
    try:
        commands = daemon.json("status")["commands"]
        assert commands["group"] == f"{group}/commands"
        assert str(daemon.pid) in (group / "tidemilld/cgroup.procs"
                                   ).read_text().split()
        assert "control group" in daemon.run("status").stdout
        assert daemon.run("run", "--", "sh", "-c", "cat /proc/self/cgroup"
                          ).stdout.count(f"{group.name}/commands/") == 1
    finally:
        daemon.stop()


def test_none_is_said(folder):
    daemon = Daemon(folder, config(cgroup="none")).start()
    try:
        assert daemon.json("status")["commands"] == {
            "mechanism": "subreaper and /proc", "group": None,
            "note": "generation.command.cgroup is none"}
        assert "subreaper and /proc" in daemon.run("status").stdout
    finally:
        daemon.stop()


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_as_another_user(folder):
    """The daemon gives up root; its jobs do what they did as root."""
    os.chmod(folder, 0o755)
    daemon = Daemon(folder, {**config(cgroup="none"),
                             "system": {"user": "nobody"}})
    for path in (daemon.state, daemon.runtime, daemon.logs):
        os.chown(path, 65534, 65534)
    daemon.start(wait=False)  # it may not write to the socket of root's test
    wait_for(lambda: daemon.run("status", check=False).returncode == 0)
    try:
        marked = Marked(daemon)
        assert daemon.run("run", "--directory", "/", "--", "id", "-un"
                          ).stdout == "nobody\n"
        job = marked.start(BOMB, "--directory", "/", "--timeout", "1s",
                           "--limit", "processes=500")
        wait_for(marked.alive)
        await_state(daemon, job, "failed")
        assert marked.alive() == []
        # without end, but for the limit
        fork = ("import os\nwhile True:\n    try:\n        os.fork()\n"
                "    except OSError:\n        pass\n")
        job = marked.start(fork, "--directory", "/", "--timeout", "1s",
                           "--limit", "processes=60")
        wait_for(lambda: len(marked.alive()) > 20)
        await_state(daemon, job, "failed")
        assert marked.alive() == []
        job = marked.start(ESCAPE, "--directory", "/")
        wait_for(marked.alive)
        pid = daemon.pid
        daemon.kill()
        wait_for(lambda: not alive(pid))
        marked.await_dead()
    finally:
        daemon.cleanup()
