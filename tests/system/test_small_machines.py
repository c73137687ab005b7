# SPDX-License-Identifier: Apache-2.0
"""Machines that have less: few open files, no pressure stall information, no
control groups.  The daemon works there and says what is missing."""
import contextlib
import resource
import subprocess

import pytest

from harness import Daemon, binaries

FILES = 48


def work(daemon):
    """A record to the centre, a job, workers that die."""
    daemon.run("enqueue", "t", "r", '{"n": 1}')
    daemon.run("sync", "drain")
    with contextlib.closing(daemon.centre()) as centre:
        assert centre.execute("SELECT count(*) FROM synced_records WHERE "
                              "table_name = 't'").fetchone()[0] == 1
    assert daemon.run("run", "--", "echo", "works").returncode == 0
    daemon.kill_worker("generation")
    daemon.kill_worker("store")
    daemon.run("reload")
    assert daemon.run("run", "--", "true").returncode == 0


def said(daemon):
    return {finding["text"] for finding in
            daemon.json("doctor", check=False)
            if finding["verdict"] != "good"}


def test_few_open_files(daemon):
    daemon.start(wrap=["prlimit", f"--nofile={FILES}:{FILES}"])
    work(daemon)
    assert f"at most {FILES} open files are allowed" in daemon.log_text()
    assert any(f"the daemon may have at most {FILES} open files" in text
               for text in said(daemon))
    assert daemon.stop() == 0


def test_a_low_limit_that_can_be_raised(daemon):
    daemon.start(wrap=["prlimit", f"--nofile={FILES}:4096"])
    assert resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE) == (512, 4096)
    assert "open files are allowed" not in daemon.log_text()
    assert daemon.stop() == 0


@pytest.fixture
def bare(tmp_path):
    """A command that runs another without /proc/pressure and /sys/fs/cgroup."""
    script = tmp_path / "bare"
    script.write_text("""#!/bin/sh
        set -e
        for place in /proc/pressure /sys/fs/cgroup; do
            [ ! -d $place ] || mount -t tmpfs -o ro none $place
        done
        exec "$@"
    """)
    script.chmod(0o755)
    wrap = ["unshare", "--mount", str(script)]
    done = subprocess.run([*wrap, "true"], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"may not hide parts of /proc here: {done.stderr}")
    return wrap


def test_no_pressure_and_no_control_groups(folder, bare):
    daemon = Daemon(folder)
    try:
        daemon.start(wrap=bare)
        work(daemon)
        # the doctor looks at the machine that it sees
        done = subprocess.run(
            [*bare, binaries() / "tidemill", "-c", daemon.config_path,
             "doctor"], capture_output=True, text=True)
        assert "no /proc/pressure/memory" in done.stdout
        assert "no cgroup v2" in done.stdout
        assert daemon.stop() == 0
    finally:
        daemon.cleanup()
