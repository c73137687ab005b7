# SPDX-License-Identifier: Apache-2.0
"""generate: 2,000 contracts by two workers against one, and once more.

On a memory file system: what a new file costs on this machine's disk varies
tenfold within a run. There only the processor counts, and the store (36 to 39
us a job) and the command (5 us) share the two processors with the workers (460
us a job, 2 % more with two than with one); 10 us a job nothing is done, at the
beginning and at the end: that bounds the speed-up to about 1.78. Where it was
lost: SQLite made a table of the words of a CHECK (state IN ...) for each row
(5 us a job); each result was sent and checked twice; the command asked how far
the jobs are with a statement prepared anew each time (10 us a job); the store
took in 200 jobs at once while workers waited for the next ones (2 % of the
time); the last jobs were not shared (2 %).

A job of which nothing changed costs its worker 60 us, two thirds of them the
kernel's for a look at each of some 20 files and 6 folders, and the store 34 us,
which records it as any other job.  With the command that is 100 us, so two
processors can do no more than one in 50 us, and one that writes takes them 250:
5 would need that both are always busy.  They are at 85 %: what is lost, a
worker waits for its next jobs while the store commits what both have done,
though claims grow to 256 so that half of one lasts longer than a commit."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import common
from harness import Daemon

COUNT = 2000


def seconds(daemon, contracts, output, keep=False):
    report = daemon.json("generate", "--output", output, *contracts,
                         timeout=300)
    assert report["failed"] == 0 and report["jobs"] == COUNT
    if not keep:
        shutil.rmtree(output)
    return report["seconds"]


def run(rounds):
    result = common.Result(
        "generate", f"{COUNT} contracts to files, on a memory file system")
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir=place))
    subprocess.run([sys.executable,
                    common.ROOT / "tests/fixtures/make_contracts.py",
                    "--count", str(COUNT), folder / "contracts"], check=True,
                   stdout=subprocess.DEVNULL)
    contracts = sorted((folder / "contracts").iterdir())
    daemons = {n: Daemon(folder, {"generation": {"max_workers": n},
                                  "sync": {"enabled": False}}, name=f"w{n}")
               for n in (1, 2)}
    try:
        for daemon in daemons.values():
            daemon.start()
            seconds(daemon, contracts, folder / "warm")
        for number in range(2 * rounds):
            for n, daemon in daemons.items():
                result.add(f"{n} worker{'s' * (n > 1)}", "jobs/s",
                           COUNT / seconds(daemon, contracts,
                                           folder / f"code{number}", n == 2))
            result.add("2 workers, nothing to write", "jobs/s",
                       COUNT / seconds(daemons[2], contracts,
                                       folder / f"code{number}"))
    finally:
        for daemon in daemons.values():
            daemon.stop()
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("speed-up", "2 workers", "1 worker", at_least=1.8)
    result.ratio("nothing to write", "2 workers, nothing to write",
                 "2 workers", at_least=5)
    return result


if __name__ == "__main__":
    common.main(run)
