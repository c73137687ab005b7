# SPDX-License-Identifier: Apache-2.0
"""The quickstart agrees with itself, with both centres, and can fail."""
import os
import subprocess
import sys

import pytest

from harness import SOURCE, alive, binaries, wait_for

pytestmark = pytest.mark.slow


def quickstart(folder, *args):
    return subprocess.run(
        [sys.executable, SOURCE / "scripts/quickstart.py", *args,
         folder / "q"], capture_output=True, text=True, timeout=240,
        env={**os.environ, "TIDEMILL_BUILD": str(binaries())})


def test_with_the_embedded_centre(folder):
    done = quickstart(folder)
    assert done.returncode == 0, done.stderr
    for word in ("accepted", "synced", "speed-up", "peak memory",
                 "All agreed."):
        assert word in done.stdout
    assert not (folder / "q/run/tidemilld.pid").exists(), "stopped"


def test_with_postgresql_and_kept_running(folder, postgres):
    done = quickstart(folder, "--keep", "--pgsql", postgres.conninfo)
    assert done.returncode == 0, done.stderr
    assert "All agreed." in done.stdout
    pid = int((folder / "q/run/tidemilld.pid").read_text().split()[0])
    assert alive(pid)
    count = postgres.query("SELECT count(*) FROM tidemill.synced_records")
    assert count[0][0] >= 10000  # the rest are in the summaries
    os.kill(pid, 15)
    wait_for(lambda: not alive(pid), 30, "the daemon to leave")


def test_a_folder_in_use_is_refused(folder):
    (folder / "q").mkdir()
    (folder / "q/mine").write_text("precious")
    done = quickstart(folder)
    assert done.returncode == 1
    assert "not empty" in done.stderr
    assert (folder / "q/mine").read_text() == "precious"
