# SPDX-License-Identifier: Apache-2.0
"""generate: 400 contracts by two workers against one.

On the disk, as it is used, and on a memory file system, where only the
processor counts: there the store (some 50 us a job) and the command share
the two processors with the workers (430 us a job), which bounds the speed-up
to about 1.75."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import common
from harness import Daemon

COUNT = 400


def seconds(daemon, contracts, output):
    report = daemon.json("generate", "--output", output, *contracts,
                         timeout=300)
    assert report["failed"] == 0 and report["jobs"] == COUNT
    shutil.rmtree(output)
    return report["seconds"]


def measure(result, place, label, rounds):
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
        for number in range(rounds):
            for n, daemon in daemons.items():
                result.add(f"{n} worker{'s' * (n > 1)}, {label}", "jobs/s",
                           COUNT / seconds(daemon, contracts,
                                           folder / f"code{number}"))
    finally:
        for daemon in daemons.values():
            daemon.stop()
        shutil.rmtree(folder, ignore_errors=True)


def run(rounds):
    result = common.Result("generate", f"{COUNT} contracts to files")
    measure(result, "/tmp", "disk", rounds)
    result.ratio("speed-up", "2 workers, disk", "1 worker, disk",
                 at_least=1.7)
    if os.access("/dev/shm", os.W_OK):
        measure(result, "/dev/shm", "memory", 3 * rounds)
        result.ratio("speed-up, processor alone", "2 workers, memory",
                     "1 worker, memory")
    return result


if __name__ == "__main__":
    common.main(run)
