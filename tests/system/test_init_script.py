# SPDX-License-Identifier: Apache-2.0
"""The init script with the real daemon; tests/checks/init_script has the
whole table of exit codes."""
import os
import pwd
import subprocess

import pytest

from harness import alive, binaries, wait_for


@pytest.fixture
def script(daemon, folder):
    daemon.configure({"gateway": {"control_mode": "0660"}})
    defaults = folder / "defaults"
    defaults.write_text(
        f"DAEMON={binaries()}/tidemilld\n"
        f"CONFIG={daemon.config_path}\n"
        f"DAEMON_USER={pwd.getpwuid(os.getuid()).pw_name}\n")

    def run(action, want):
        result = subprocess.run(
            [binaries() / "conf" / "tidemill.init", action],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=60,
            env={**os.environ, "TIDEMILL_DEFAULTS": str(defaults)})
        assert result.returncode == want, result.stdout.decode()
        return result.stdout.decode()

    yield run
    run("stop", 0)


def pid_of(daemon):
    return int(daemon.pidfile.read_text())


def test_life(script, daemon):
    script("status", 3)
    script("start", 0)
    first = pid_of(daemon)
    # What has been started is ready at once.
    daemon.run("status")
    script("status", 0)
    script("start", 0)
    script("reload", 0)
    assert pid_of(daemon) == first
    script("restart", 0)
    second = pid_of(daemon)
    assert second != first and not alive(first)
    daemon.run("status")
    script("stop", 0)
    assert not alive(second)
    script("status", 3)


def test_killed_daemon(script, daemon):
    script("start", 0)
    pid = pid_of(daemon)
    os.kill(pid, 9)
    wait_for(lambda: not alive(pid), what="the master is dead")
    script("status", 1)
    script("start", 0)
    script("status", 0)


def test_bad_configuration(script, daemon):
    script("start", 0)
    pid = pid_of(daemon)
    good = daemon.config_path.read_text()
    daemon.config_path.write_text("snyc: {}\n")
    # restart and reload leave the daemon alone.
    assert "did you mean \"sync\"?" in script("restart", 6)
    assert alive(pid)
    daemon.config_path.write_text(good)
    script("restart", 0)


def test_upgrade(script, daemon):
    script("upgrade", 7)
    script("start", 0)
    first = pid_of(daemon)
    script("upgrade", 0)
    assert pid_of(daemon) != first and not alive(first)
    script("status", 0)
    daemon.run("status")
