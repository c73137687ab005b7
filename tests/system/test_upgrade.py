# SPDX-License-Identifier: Apache-2.0
"""The upgrade by USR2: sockets and pidfile change hands, nobody notices, and
what fails leaves the old master serving."""
import contextlib
import fcntl
import os
import re
import shutil
import signal
import sqlite3
import subprocess

import pytest

from harness import NotifySocket, alive, binaries, wait_for
from load import Load


class Program:
    """What stands under the name that the daemon was started by."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "tidemilld"
        self.use(binaries() / "tidemilld")

    def use(self, target):
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.path.symlink_to(target)

    def script(self, text):
        """Another program there; $PROGRAM is the real one."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.path.write_text(
            f"#!/bin/sh\nPROGRAM={binaries()}/tidemilld\n{text}\n")
        self.path.chmod(0o755)


@pytest.fixture
def program(folder):
    return Program(folder)


def upgrade(daemon):
    """Returns the new master's pid."""
    answer = daemon.json("upgrade")
    assert answer["old_pid"] == daemon.pid
    assert daemon.follow() == 0
    assert daemon.pid == answer["pid"]
    return answer["pid"]


def records(daemon):
    with contextlib.closing(daemon.centre()) as centre:
        return {row[0] for row in centre.execute(
            "SELECT record_id FROM synced_records")}


def inodes(daemon):
    return [path.stat().st_ino for path in
            (daemon.pidfile, daemon.control_socket,
             daemon.runtime / "store.sock")]


def test_two_in_a_row(daemon, program, folder):
    """Another program, the same sockets, the same pidfile; the service
    manager is told who the main process is."""
    daemon.configure({"sync": {"max_workers": 1},
                      "generation": {"min_workers": 1}})
    daemon.start(program=program.path, args=("-o", "generation.max_workers=1"))
    first = daemon.pid
    before = inodes(daemon)
    newer = folder / "newer"
    shutil.copy(binaries() / "tidemilld", newer)
    notify = NotifySocket(daemon.runtime / "notify.sock")
    daemon.run("sync", "pause")
    program.use(newer)
    second = upgrade(daemon)
    assert os.readlink(f"/proc/{second}/exe") == str(newer)
    assert notify.wait(f"MAINPID={second}", 10), notify.seen
    assert notify.wait("READY=1", 10), notify.seen
    assert daemon.json("sync", "status")["state"] == "paused"
    third = upgrade(daemon)
    assert notify.wait(f"MAINPID={third}", 10), notify.seen
    notify.close()
    assert inodes(daemon) == before
    assert len({first, second, third}) == 3
    assert not alive(first) and not alive(second)
    assert len(daemon.workers("generation")) == 1  # -o holds
    daemon.run("enqueue", "t", "r", "{}")
    # a connection to what the first master bound is answered by the third
    daemon.stop()
    assert not daemon.pidfile.exists()
    assert not daemon.control_socket.exists()
    assert not (daemon.runtime / "store.sock").exists()
    assert "Sanitizer" not in daemon.log_text()


def test_the_daemon_in_the_background(daemon, program):
    """By the signal, in the mode of the init script."""
    done = subprocess.run([program.path, "-c", daemon.config_path],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    first = daemon.named_pid()
    os.kill(first, signal.SIGUSR2)
    wait_for(lambda: not alive(first), what="the old master to leave")
    second = daemon.named_pid()
    assert alive(second) and second != first
    assert os.readlink(f"/proc/{second}/cwd") == "/"
    assert daemon.json("status")["pid"] == second
    os.kill(second, signal.SIGTERM)
    wait_for(lambda: not alive(second), what="the new master to leave")


def not_executable(program, daemon, folder):
    program.path.unlink()
    program.path.write_text("no program")
    program.path.chmod(0o644)
    return 71, "Permission denied"


def exits(program, daemon, folder):
    program.script("exit 3")
    return 70, "exited with 3"


def crashes(program, daemon, folder):
    program.script("kill -SEGV $$")
    return 70, "killed by signal 11"


def hangs(program, daemon, folder):
    program.script("exec sleep 1000")
    return 70, "not prepared in time"


def bad_configuration(program, daemon, folder):
    program.script('exec "$PROGRAM" "$@" -o sync.mode=wild')
    return 78, "sync.mode"


def elsewhere(program, daemon, folder):
    (folder / "other").mkdir()
    program.script(
        f'exec "$PROGRAM" "$@" -o paths.runtime_dir={folder}/other')
    return 78, "by a restart only"


def newer_store(program, daemon, folder):
    """The new master's store cannot be opened: it is told when the old
    workers have left already."""
    other = folder / "other"
    other.mkdir()
    daemon.run("-o", f"paths.state_dir={other}", "migrate")
    with contextlib.closing(sqlite3.connect(other / "tidemill.db")) as db:
        with db:
            db.execute("INSERT INTO schema_migrations(version, description, "
                       "applied_at, checksum) VALUES (9999, 'x', 0, 'x')")
    program.script(f'exec "$PROGRAM" "$@" -o paths.state_dir={other}')
    return 78, "newer"


def never_ready(program, daemon, folder):
    other = folder / "other"
    other.mkdir()
    lock = os.open(other / "tidemill.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    program.script(f'exec "$PROGRAM" "$@" -o paths.state_dir={other}')
    return 70, "hello"


def wait_at_most(daemon, time):
    daemon.configure({"supervisor": {"hello_timeout": time}})
    daemon.run("reload")


@pytest.mark.parametrize("fault", [
    not_executable, exits, crashes, hangs, bad_configuration, elsewhere,
    newer_store, never_ready], ids=lambda fault: fault.__name__)
def test_what_fails_leaves_the_old_one(daemon, program, folder, fault):
    daemon.start(program=program.path)
    daemon.run("enqueue", "t", "before", "{}")
    want, words = fault(program, daemon, folder)
    if fault in (hangs, never_ready):
        wait_at_most(daemon, "1s")
    done = daemon.run("upgrade", check=False)
    assert words in done.stderr and done.returncode == want, done
    status = daemon.json("status")
    assert status["pid"] == daemon.pid and daemon.process.poll() is None
    assert daemon.named_pid() == daemon.pid
    assert status["upgrade"]["phase"] == "none"
    assert words in status["upgrade"]["error"]
    assert status["upgrade"]["exit_status"] == want
    assert words in daemon.run("status").stdout
    # all serve again, and the next upgrade goes well
    daemon.run("enqueue", "t", "after", "{}")
    daemon.run("sync", "drain")
    program.use(binaries() / "tidemilld")
    wait_at_most(daemon, "60s")
    upgrade(daemon)
    assert daemon.json("status")["upgrade"]["error"] is None
    assert records(daemon) == {"before", "after"}


def test_nobody_notices(daemon, program, folder):
    """Clients of all kinds through two upgrades and one that fails."""
    daemon.start(program=program.path)
    load = Load(daemon, folder).start(enqueue=2, hook=1, generate=1, status=1,
                                      sync=1)
    for _ in range(2):
        load.wait_for_each(2)
        upgrade(daemon)
    load.wait_for_each(2)
    newer_store(program, daemon, folder)
    assert daemon.run("upgrade", check=False).returncode == 78
    load.wait_for_each(2)
    load.settle()


def new_master(daemon):
    """Its pid, as soon as it is started."""
    def look():
        return re.findall(r'is started.*"new_pid":(\d+)', daemon.log_text())
    return int(wait_for(look, what="the new master", step=0.0005)[-1])


def at_once(daemon):
    return True


def prepared(daemon):
    return "the new master is prepared" in daemon.log_text()


def left(daemon):
    return "the workers have left" in daemon.log_text()


@pytest.mark.parametrize("moment", [at_once, prepared, left],
                         ids=lambda moment: moment.__name__)
def test_the_old_master_dies(daemon, program, moment):
    """The new one goes on by itself."""
    daemon.start(program=program.path)
    daemon.run("enqueue", "t", "before", "{}")
    daemon.signal(signal.SIGUSR2)
    new = new_master(daemon)
    wait_for(lambda: moment(daemon), what=moment.__name__, step=0.0005)
    daemon.process.kill()
    daemon.process.wait(60)
    wait_for(lambda: daemon.named_pid() == new, what="the new one's pid")
    daemon.follow()
    serves(daemon, new)


@pytest.mark.parametrize("moment", [at_once, prepared, left],
                         ids=lambda moment: moment.__name__)
def test_the_new_master_dies(daemon, program, moment):
    """The old one goes on as it was."""
    daemon.start(program=program.path)
    daemon.run("enqueue", "t", "before", "{}")
    daemon.signal(signal.SIGUSR2)
    new = new_master(daemon)
    wait_for(lambda: moment(daemon), what=moment.__name__, step=0.0005)
    # stopped it cannot leave between our look and the kill
    daemon.signal(signal.SIGSTOP)
    if "handed over" in daemon.log_text():
        daemon.signal(signal.SIGCONT)  # we came late: this is the end
        daemon.follow()
        serves(daemon, new)
        return
    os.kill(new, signal.SIGKILL)
    daemon.signal(signal.SIGCONT)
    wait_for(lambda: "the upgrade has failed" in daemon.log_text(),
             what="the failure to be told")
    serves(daemon, daemon.pid)


def serves(daemon, pid):
    """The daemon is that process, everything accepted is there, and the next
    upgrade goes well."""
    assert daemon.json("status")["pid"] == pid == daemon.named_pid()
    daemon.run("enqueue", "t", "after", "{}")
    daemon.run("sync", "drain")
    assert records(daemon) == {"before", "after"}
    upgrade(daemon)


def test_a_reload_in_the_middle_is_done_afterwards(daemon, program):
    """By the new master, or by the old one when the upgrade fails."""
    daemon.start(program=program.path)
    daemon.signal(signal.SIGUSR2)
    new_master(daemon)
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: daemon.process.poll() is not None, what="the hand-over")
    daemon.follow()
    wait_for(lambda: daemon.json("status")["configuration"]["epoch"] == 2,
             what="the reload")

    program.script("exec sleep 1000")
    wait_at_most(daemon, "1s")
    epoch = daemon.json("status")["configuration"]["epoch"]
    daemon.signal(signal.SIGUSR2)
    wait_for(lambda: daemon.json("status")["upgrade"]["phase"] == "preparing",
             what="the upgrade to begin")
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: daemon.json("status")["configuration"]["epoch"] > epoch,
             what="the reload")
    assert daemon.json("status")["upgrade"]["failures"] == 1


@pytest.mark.parametrize("moment", [at_once, prepared, left],
                         ids=lambda moment: moment.__name__)
def test_a_stop_in_the_middle_stops_both(daemon, program, moment):
    daemon.start(program=program.path)
    daemon.signal(signal.SIGUSR2)
    new = new_master(daemon)
    wait_for(lambda: moment(daemon), what=moment.__name__, step=0.0005)
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(60) == 0
    if "handed over" in daemon.log_text():  # we came late: this is the end
        os.kill(new, signal.SIGTERM)
    wait_for(lambda: not alive(new), what="the new master's end")
    assert not daemon.pidfile.exists()
    assert not daemon.control_socket.exists()
