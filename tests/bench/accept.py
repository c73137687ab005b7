# SPDX-License-Identifier: Apache-2.0
"""accept: 8 clients, one operation at a time, durable, against 8 processes
that insert into SQLite themselves with synchronous=FULL; and a file of
operations, one a line, against one such process with 500 rows a transaction
(which reads and checks no JSON).

What bounds the first: eight operations are one group, and a group takes
262 us, of which the fdatasync is 138 us (as long as the log still grows 150 to
200, where it is overwritten 85 to 115, much the same for 8 KB and for 64),
writing to the log 16 us, the eight answers 28 us; the rest is receiving,
SQLite, and the clients' own turn.  A SQLite writer alone among the eight,
while the others sleep (for 1.2 to 1.6 s at worst), needs 100 us an operation,
fdatasync included: that is 10,000 a second.  Five times as many would be a
group in 165 us, 27 of them for all but the fdatasync.  On a memory file
system both sides take 80,000 operations a second."""
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

import common
from harness import Daemon

CLIENTS, SECONDS = 8, 2
LINES = 200_000
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


def write_lines(path):
    """Rows of the size that the peers insert."""
    data = {"tool": "Bash", "command": "make check", "output": "7" * 150}
    with open(path, "w", encoding="utf-8") as file:
        for n in range(LINES):
            file.write(json.dumps({"table": "events", "record_id": f"r{n}",
                                   "data": data}) + "\n")


def carry_lines(result, daemon, folder):
    path = folder / "lines.ndjson"
    write_lines(path)
    peer = subprocess.run([PROGRAM, "rows", folder, str(LINES)], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    began = time.monotonic()
    daemon.run("enqueue", "--batch", str(path), timeout=300)
    result.add("a file of operations", "op/s",
               LINES / (time.monotonic() - began))
    result.add("1 SQLite writer, 500 a transaction", "op/s", float(peer))


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
                if isinstance(store, Daemon):
                    (folder / "lines").mkdir()
                    carry_lines(result, store, folder / "lines")
            finally:
                store.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        for name, found in (("8 SQLite writers", peer), ("tidemill", ours)):
            result.add(f"{name}", "op/s", found["rate"])
            result.add(f"{name}, p99", "us", found["p99"])
            result.add(f"{name}, worst", "us", found["worst"])
    result.ratio("ours / 8 SQLite writers", "tidemill", "8 SQLite writers",
                 at_least=5)
    if "a file of operations" in result.readings:
        result.ratio("a file / 1 SQLite writer", "a file of operations",
                     "1 SQLite writer, 500 a transaction", at_least=0.6)
    return result


if __name__ == "__main__":
    common.main(run)
