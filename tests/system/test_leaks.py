# SPDX-License-Identifier: Apache-2.0
"""No descriptor, memory or process leaks over a long day's work."""
import json
import os
import pathlib
import subprocess

import pytest

from harness import SOURCE, binaries, wait_for

pytestmark = pytest.mark.slow

OPERATIONS = 100_000
JOBS = 5_000


def reading(daemon):
    """{title: (descriptors, resident KiB)} of every process."""
    found = {}
    for pid in [daemon.pid, *daemon.descendants()]:
        title = pathlib.Path(f"/proc/{pid}/cmdline").read_text()
        title = title.split("\0")[0].replace("tidemilld: ", "").split()[0]
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        rss = int(status.split("VmRSS:")[1].split()[0])
        found[title] = (len(os.listdir(f"/proc/{pid}/fd")), rss)
    return found


def work(daemon, operations, jobs, tag):
    lines = "\n".join(json.dumps(
        {"table": "t", "record_id": f"{tag}-{n % (operations // 2)}",
         "operation": "UPDATE", "data": {"n": n, "text": "x" * 100}})
        for n in range(operations))
    daemon.run("enqueue", "--batch", "-", input=lines, timeout=120)
    subprocess.run([binaries() / "tests/bench/bench_jobs", daemon.config_path,
                    str(jobs)], check=True, stdout=subprocess.DEVNULL,
                   timeout=120)
    daemon.run("sync", "drain", timeout=240)
    assert daemon.pending() == 0


def test_nothing_leaks(daemon):
    if not (binaries() / "tests/bench/bench_jobs").exists():
        pytest.skip("bench programs are not built (make check builds them)")
    daemon.start()
    work(daemon, OPERATIONS, JOBS, "warm")  # caches fill up to their bounds
    before = reading(daemon)
    work(daemon, OPERATIONS, JOBS, "a")
    after = reading(daemon)
    print(f"\n{'process':<16} {'descriptors':>14} {'resident KiB':>18}")
    for title in before:
        print(f"{title:<16} {before[title][0]:>6} -> {after[title][0]:<5} "
              f"{before[title][1]:>8} -> {after[title][1]:<8}")
    assert before.keys() == after.keys(), "processes came or went"
    for title, (descriptors, rss) in after.items():
        assert descriptors <= before[title][0] + 1, title
        # 40 bytes lost with each operation would be more than this.
        assert rss <= before[title][1] + 4096, title


def test_killed_workers_leave_nothing_open(daemon):
    daemon.start()
    before = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    # Few for each slot: crashes in a row wait longer and longer.
    for n in range(10):
        old = daemon.kill_worker("generation", n % 2)
        wait_for(lambda: [w for w in daemon.workers("generation")
                          if w["slot"] == n % 2 and w["pid"] not in (0, old)
                          and w["state"] == "idle"], 10, "a successor")
    assert len(os.listdir(f"/proc/{daemon.pid}/fd")) == before
    assert len(daemon.descendants()) == 7
