# SPDX-License-Identifier: Apache-2.0
"""The shipped unit under a real systemd.

A systemd of the test's own is process 1 of its own namespaces (processes,
mounts, cgroups); there the daemon is installed with its unit and its user.
What it sees of this machine's files is read-only, so that nothing it does on
its own (it empties /tmp when it starts, for one) is felt outside; and it
dies with the test.
"""
import contextlib
import json
import os
import re
import shutil
import subprocess
import threading

import pytest

from harness import SOURCE, binaries, sanitized, wait_for

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("systemctl")
    or not shutil.which("nsenter") or sanitized(),
    reason="needs root, systemd, and a daemon as it is shipped")

CONFIG = "/usr/local/etc/tidemill/tidemill.yaml"

# $1 what this test configures, $2 the build, $3 the source.
INSTALL = """
set -e
mount --make-rprivate /
for place in /run /var/lib /var/log /usr/local/sbin /usr/local/bin \
        /usr/local/etc /mnt; do
    mount -t tmpfs tmpfs $place
done
cp -a /etc/. /mnt && mount --move /mnt /etc
rm -rf /etc/systemd/system/* /etc/systemd/system.conf.d
cp "$2/tidemilld" /usr/local/sbin
cp "$2/tidemill" /usr/local/bin
mkdir -p /usr/local/etc/tidemill /etc/systemd/system/tidemill.service.d
cp "$1/tidemill.yaml" /usr/local/etc/tidemill
cp "$1/tidemill.service" /etc/systemd/system
cp "$1/test.conf" /etc/systemd/system/tidemill.service.d
printf '[Unit]\\nDescription=nothing but us\\n' >/etc/systemd/system/only.target
systemd-sysusers "$3/conf/tidemill.sysusers"
while umount /sys/fs/cgroup/* 2>/dev/null; do :; done
umount /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var/tmp
mount -o remount,bind,ro /
if touch /not-read-only 2>/dev/null; then exit 1; fi
exec env -i PATH="$PATH" container=test /lib/systemd/systemd --system \
    --unit=only.target --log-target=console --log-level=info
"""


class Systemd:
    def __init__(self, folder):
        self.log = open(folder / "systemd.out", "wb")
        self.process = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", "--mount",
             "--mount-proc", "--uts", "--ipc", "--cgroup", "bash", "-c",
             INSTALL, "install", str(folder), str(binaries()), str(SOURCE)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.pid = None

    def started(self):
        """It runs; or it never will."""
        if self.process.poll() is not None:
            return True
        with contextlib.suppress(OSError, IndexError):
            task = f"/proc/{self.process.pid}/task/{self.process.pid}"
            with open(f"{task}/children") as file:
                self.pid = int(file.read().split()[0])
            with open(f"/proc/{self.pid}/comm") as file:
                return (file.read().strip() == "systemd" and self.ctl(
                    "is-system-running", check=False).stdout.strip()
                    in ("running", "degraded"))
        return False

    def run(self, *args, check=True, **kwargs):
        result = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-C",
             *map(str, args)], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=120, **kwargs)
        assert not check or result.returncode == 0, result.stderr
        return result

    def ctl(self, *args, check=True):
        return self.run("systemctl", *args, check=check)

    def show(self, name):
        return self.ctl("show", "-p", name, "--value",
                        "tidemill").stdout.strip()

    def tidemill(self, *args, check=True, **kwargs):
        return self.run("/usr/local/bin/tidemill", "-c", CONFIG, *args,
                        check=check, **kwargs)

    def status(self):
        return json.loads(self.tidemill("--json", "status").stdout)

    def main_pid(self):
        """As seen in the namespace."""
        return int(self.show("MainPID"))

    def replaced(self, pid, why):
        """Waits for another main process that is ready; its pid."""
        return wait_for(lambda: (now := self.main_pid()) not in (0, pid)
                        and self.show("SubState") == "running" and now,
                        what=f"another main process after {why}")

    def signal(self, name, pid):
        self.run("kill", f"-{name}", pid)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def systemd(folder):
    (folder / "tidemill.yaml").write_text(json.dumps({
        "system": {"id": "host-systemd"}, "sync": {"enabled": False}}))
    (folder / "test.conf").write_text(
        # No early services of the machine: only what we install.
        "[Unit]\nDefaultDependencies=no\n[Service]\nWatchdogSec=2\n")
    unit = (binaries() / "conf" / "tidemill.service").read_text()
    unit = re.sub(r"=/\S*/(s?bin)/(tidemilld?) ", r"=/usr/local/\1/\2 ",
                  unit)
    unit = re.sub(r"-c \S+\.yaml", f"-c {CONFIG}", unit)
    (folder / "tidemill.service").write_text(unit)
    systemd = Systemd(folder)
    try:
        with contextlib.suppress(AssertionError):
            wait_for(systemd.started, what="systemd")
        if systemd.process.poll() is not None or not systemd.started():
            pytest.skip("no systemd in namespaces here: "
                        + (folder / "systemd.out").read_text()[-300:])
        yield systemd
    finally:
        systemd.end()


def capabilities(systemd, pid):
    text = systemd.run("cat", f"/proc/{pid}/status").stdout
    return {name: int(value, 16) for name, value in re.findall(
        r"^(Cap(?:Inh|Prm|Eff|Amb)):\s+(\w+)$", text, re.M)}


def test_life_under_systemd(systemd):
    systemd.ctl("start", "tidemill")
    assert systemd.show("ActiveState") == "active"
    first = systemd.main_pid()
    status = systemd.status()
    assert status["pid"] == first
    assert "running" in systemd.show("StatusText")
    for pid in [first, *(w["pid"] for w in status["workers"])]:
        assert set(capabilities(systemd, pid).values()) == {0}
        assert systemd.run("stat", "-c", "%U",
                           f"/proc/{pid}").stdout.strip() == "tidemill"

    # A reload waits for the outcome, and fails with it.
    systemd.ctl("reload", "tidemill")
    assert systemd.status()["configuration"]["epoch"] == 2
    good = systemd.run("cat", CONFIG).stdout
    systemd.run("sh", "-c", f"echo 'snyc: 1' >{CONFIG}")
    assert systemd.ctl("reload", "tidemill", check=False).returncode != 0
    assert systemd.main_pid() == first
    systemd.run("tee", CONFIG, input=good)
    systemd.ctl("reload", "tidemill")

    # After an upgrade the new master is the main process.
    systemd.tidemill("upgrade")
    second = systemd.main_pid()
    assert second != first and systemd.status()["pid"] == second
    assert systemd.show("ActiveState") == "active"
    assert systemd.show("NRestarts") == "0"
    systemd.tidemill("enqueue", "t", "r", "{}")

    # A stop that was asked for leaves nothing.
    systemd.ctl("stop", "tidemill")
    assert systemd.show("ActiveState") == "inactive"
    assert systemd.show("Result") == "success"
    assert "tidemill" not in systemd.run("ls", "/run").stdout.split()
    assert systemd.tidemill("status", check=False).returncode != 0
    systemd.tidemill("enqueue", "t", "without", "{}")


def test_nobody_is_refused_while_it_is_restarted(systemd):
    def sockets():
        return systemd.run("stat", "-c", "%i", "/run/tidemill/store.sock",
                           "/run/tidemill/control.sock").stdout

    systemd.ctl("start", "tidemill")
    kept = sockets()
    over = threading.Event()
    failed, done = [], []

    def client(number):
        while not over.is_set():
            result = systemd.tidemill("enqueue", "t", f"r{number}", "{}",
                                      check=False)
            (done if result.returncode == 0 else failed).append(
                result.stderr)

    clients = [threading.Thread(target=client, args=(n,)) for n in range(2)]
    for one in clients:
        one.start()
    try:
        pid = systemd.main_pid()
        for how in ("a restart", "a crash"):
            before = len(done)
            if how == "a restart":
                systemd.ctl("restart", "tidemill")
            else:
                systemd.signal("KILL", pid)
            pid = systemd.replaced(pid, how)
            wait_for(lambda: len(done) > before + 4, what="clients go on")
            assert sockets() == kept
    finally:
        over.set()
        for one in clients:
            one.join()
    assert failed == []
    pending = json.loads(systemd.tidemill(
        "--json", "sync", "status").stdout)["pending"]
    assert pending == len(done)
    # What is kept is of no use when its name is gone.
    systemd.run("rm", "/run/tidemill/store.sock")
    systemd.ctl("restart", "tidemill")
    systemd.tidemill("enqueue", "t", "r", "{}")
    assert systemd.status()["pid"] == systemd.main_pid()


def test_watchdog(systemd):
    systemd.ctl("start", "tidemill")
    first = systemd.main_pid()
    stamp = systemd.show("WatchdogTimestampMonotonic")
    wait_for(lambda: systemd.show("WatchdogTimestampMonotonic") != stamp,
             what="the watchdog is fed")
    systemd.signal("STOP", first)
    second = systemd.replaced(first, "a master that does nothing")
    assert int(systemd.show("NRestarts")) >= 1
    # The successor of an upgrade feeds it, too.
    systemd.tidemill("upgrade")
    third = systemd.main_pid()
    assert third != second
    stamp = systemd.show("WatchdogTimestampMonotonic")
    wait_for(lambda: systemd.show("WatchdogTimestampMonotonic") != stamp,
             what="the watchdog is fed by the new master")
    assert systemd.main_pid() == third
    systemd.tidemill("enqueue", "t", "r", "{}")
