# SPDX-License-Identifier: Apache-2.0
"""respawn: SIGKILL of a worker until its successor has said READY, against
fork, _exit and wait of a small process, and against nginx: SIGKILL of its only
worker until a request is answered, less what a request takes anyway.
Measured: p50 1.5 ms, 15 of fork, _exit and wait and 0.96 of nginx; p99 1.9 ms,
0.85 of nginx's. Half a millisecond is the death (the kernel gives the memory
back before it tells), a quarter the master (burial, a line of the log, pipes,
fork), the rest the start. The p99 was 1.7 to 1.8 of nginx's as long as each
worker opened the store, when it had found no job, to look for jobs that are to
be tried later: 80 page faults of 180, half of its memory, and to be given back
at its death. Now the store says with its answer whether there are any."""
import json
import os
import pathlib
import select
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

import common
from harness import Daemon
from nginx import Nginx, children

COUNT = 200
SLOTS = 16
# A worker that was ready for so long does not die in a row of crashes.
STABLE = 1.05
PAUSE = STABLE / SLOTS  # between two kills, of either: caches go cold


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def fork_us():
    line = subprocess.run([common.BUILD / "tests/bench/bench_fork", "2000"],
                          check=True, stdout=subprocess.PIPE, text=True)
    return float(line.stdout.split()[0])


class Lines:
    """What a daemon logs, as it comes: its output is a pipe with a name."""

    def __init__(self, path):
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.rest = b""

    def close(self):
        os.close(self.fd)

    def read(self, seconds):
        """The lines that are there, waiting so long for the first."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return []
        *lines, self.rest = (self.rest + os.read(self.fd, 65536)).split(b"\n")
        return [json.loads(line[line.index(b"{"):]) for line in lines
                if b"{" in line]

    def until(self, seconds):
        """Those that come in this time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            yield from self.read(left)


def ready(line):
    """The generation worker that became ready, and its pid."""
    if line["message"] == "worker is ready" and "generation[" in line["worker"]:
        return {line["worker"]: line["worker_pid"]}
    return {}


def kill_and_wait(lines, pids, name):
    began = time.monotonic()
    os.kill(pids.pop(name), signal.SIGKILL)
    while name not in pids:
        if time.monotonic() > began + 30:
            raise TimeoutError(f"no successor of {name}")
        for line in lines.read(10):
            pids.update(ready(line))
    return (time.monotonic() - began) * 1e3


def respawns_ms(folder, number, count=COUNT):
    daemon = Daemon(folder, {
        "sync": {"enabled": False}, "supervisor": {"crash_limit": 1000},
        "generation": {"min_workers": SLOTS, "max_workers": SLOTS}},
        name=f"r{number}")
    lines = Lines(daemon.output)
    took, pids = [], {}
    try:
        daemon.start()
        for line in lines.until(STABLE):
            pids.update(ready(line))
        for n in range(count):
            took.append(kill_and_wait(lines, pids, f"generation[{n % SLOTS}]"))
            for line in lines.until(PAUSE):
                pids.update(ready(line))
    finally:
        daemon.stop()
        lines.close()
    return took


def nginx_ms(folder, count=COUNT):
    took = []
    with Nginx(folder, 1) as nginx:
        for _ in range(count):
            plain = min(nginx.ask() for _ in range(3))
            worker = children(nginx.process.pid)[0]
            began = time.monotonic()
            os.kill(worker, signal.SIGKILL)
            while True:
                try:
                    nginx.ask()
                    break
                except OSError:  # the dead one had accepted it
                    continue
            took.append((time.monotonic() - began - plain) * 1e3)
            time.sleep(PAUSE)
    return took


def run(rounds):
    result = common.Result("respawn", "SIGKILL of a worker to its successor")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    try:
        for number in range(rounds):
            result.add("fork, _exit, wait", "ms", fork_us() / 1e3)
            theirs = nginx_ms(folder)
            ours = respawns_ms(folder, number)
            for name, took in (("nginx", theirs), ("tidemilld", ours)):
                result.add(f"{name}, p50", "ms", statistics.median(took))
                result.add(f"{name}, p99", "ms", percentile(took, 0.99))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("p50 / fork, _exit, wait", "tidemilld, p50",
                 "fork, _exit, wait", at_most=20)
    result.ratio("p50 / nginx", "tidemilld, p50", "nginx, p50", at_most=1)
    result.ratio("p99 / nginx", "tidemilld, p99", "nginx, p99")
    return result


if __name__ == "__main__":
    common.main(run)
