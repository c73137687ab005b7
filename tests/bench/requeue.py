# SPDX-License-Identifier: Apache-2.0
"""requeue: SIGKILL of a worker that runs a command until the command runs
again, against `respawn` of the same number of workers.
Measured: 2.4 to 2.5 ms and 1.4 to 1.7 ms, ratio 1.5 to 1.8. What comes after
READY is in a row: one durable commit that takes the job back and claims it
anew (0.4 ms), the command to the guardian (0.2 ms, as two processors have
three processes to run), vfork and execve of the job until it has opened its
pipe (0.6 ms). The old command's end, and the fork of the new guardian, are
beside it.
Before, 6.4 ms, the guardian searched /proc twice before it killed, the
successor opened the store to look for a cancel that could not be, giving back
and claiming were two commits, and the guardian was forked last."""
import os
import pathlib
import select
import shutil
import signal
import statistics
import tempfile
import time

import common
from harness import Daemon
from nginx import children
from readings import name_of
from respawn import PAUSE, percentile, respawns_ms

COUNT = 100


class Runs:
    """The pipe into which the job says that it runs."""

    def __init__(self, path):
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def wait(self):
        if not select.select([self.fd], [], [], 60)[0]:
            raise TimeoutError("the job does not run")
        os.read(self.fd, 1)
        return time.monotonic()


def measure(folder, number):
    """Milliseconds until the job ran again, of each kill."""
    daemon = Daemon(folder, {
        "sync": {"enabled": False}, "supervisor": {"crash_limit": 1000},
        "generation": {"max_workers": 1}}, name=f"q{number}")
    runs, found = Runs(folder / f"runs{number}"), []
    job = [common.BUILD / "tests/bench/bench_rerun", folder / f"runs{number}",
           folder / "mark"]
    try:
        daemon.start()
        for _ in range(COUNT):
            time.sleep(PAUSE)  # the last job's end: this kill is no crash
            daemon.run("run", "--detach", "--", *job)
            runs.wait()
            worker = next(pid for pid in children(daemon.pid)
                          if name_of(pid) == "generation[0]")
            began = time.monotonic()
            os.kill(worker, signal.SIGKILL)
            found.append((runs.wait() - began) * 1e3)
    finally:
        daemon.stop()
        os.close(runs.fd)
    return found


def run(rounds):
    result = common.Result("requeue", "SIGKILL of a worker to its job again")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    try:
        for number in range(rounds):
            alone = respawns_ms(folder, number, COUNT)
            again = measure(folder, number)
            for name, took in (("respawn", alone), ("the job again", again)):
                result.add(f"{name}, p50", "ms", statistics.median(took))
                result.add(f"{name}, p99", "ms", percentile(took, 0.99))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("p50 / respawn", "the job again, p50", "respawn, p50",
                 at_most=3)
    return result


if __name__ == "__main__":
    common.main(run)
