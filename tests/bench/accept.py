# SPDX-License-Identifier: Apache-2.0
"""accept: 8 clients, one operation at a time, durable, against 8 processes
that insert into SQLite themselves with synchronous=FULL."""
import pathlib
import shutil
import subprocess
import tempfile

import common
from harness import Daemon

CLIENTS, SECONDS = 8, 2
PROGRAM = common.BUILD / "tests" / "bench" / "bench_accept"


def measure(mode, folder):
    line = subprocess.run(
        [PROGRAM, mode, folder, str(SECONDS), str(CLIENTS)], check=True,
        stdout=subprocess.PIPE, text=True).stdout.split()
    return dict(zip(("rate", "p50", "p99", "worst"), map(float, line)))


class Store:
    """The store's loop alone, for builds without the daemon."""

    def __init__(self, folder):
        self.runtime = folder
        self.process = subprocess.Popen(
            [PROGRAM, "serve", folder], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)
        self.process.stdout.readline()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(30)


def start(folder, number):
    """The daemon where there is one, with its pools idle."""
    if not (common.BUILD / "tidemilld").exists():
        own = folder / f"s{number}"
        own.mkdir()
        return Store(own)
    daemon = Daemon(folder, {"sync": {"enabled": False}}, name=f"a{number}")
    daemon.start()
    daemon.runtime = pathlib.Path(daemon.control_socket).parent
    return daemon


def run(rounds):
    result = common.Result(
        "accept", f"{CLIENTS} clients, one operation at a time, durable")
    for number in range(rounds):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
        try:
            peer = measure("peer", folder)
            store = start(folder, number)
            try:
                ours = measure("ours", store.runtime)
            finally:
                store.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        for name, found in (("8 SQLite writers", peer), ("tidemill", ours)):
            result.add(f"{name}", "op/s", found["rate"])
            result.add(f"{name}, p99", "us", found["p99"])
            result.add(f"{name}, worst", "us", found["worst"])
    result.ratio("ours / 8 SQLite writers", "tidemill", "8 SQLite writers",
                 at_least=3)
    return result


if __name__ == "__main__":
    common.main(run)
