# SPDX-License-Identifier: Apache-2.0
"""backlog: what 5,000,000 pending operations change: nothing, it should be.

The first 200,000 of a drain, the peak memory of a sync worker, the start,
`sync status`, and an urgent operation, beside the same with few pending.
What pends is not urgent itself: among urgent operations the oldest goes first.
"""
import pathlib
import shutil
import tempfile
import time

import common
import workload
from harness import Daemon, Postgres, wait_for

LARGE, SMALL, LITTLE = 5_000_000, 200_000, 100_000
FIRST = 200_000


def timed_ms(call):
    started = time.monotonic()
    call()
    return (time.monotonic() - started) * 1000


def peak_mb(pids):
    peaks = []
    for pid in pids:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        peaks.append(int(text.split("VmHWM:")[1].split()[0]) / 1024)
    return max(peaks)


def arrives(daemon, database):
    """An urgent operation, from its acceptance to its commit."""
    connection = database.connect()
    cursor = connection.cursor()
    daemon.run("enqueue", "--priority", "urgent", "fresh", "one", "{}")

    def there():
        cursor.execute("SELECT 1 FROM tidemill.synced_records "
                       "WHERE table_name = 'fresh'")
        return cursor.fetchone()

    def is_made():
        cursor.execute("SELECT to_regclass('tidemill.synced_records')")
        return cursor.fetchone()[0]
    wait_for(is_made, what="the tables at the centre", step=0.0005)
    wait_for(there, what="the urgent operation", step=0.0005)
    connection.close()


def measure(result, folder, server, count, label):
    """One life with `count` pending."""
    database = server.create_database()
    daemon = Daemon(folder, database.config(), name=f"b{count}")
    if count:
        workload.fill(daemon, count, workload.PRIORITIES[:3])
    daemon.run("sync", "pause")
    result.add(f"start, {label}", "ms", timed_ms(daemon.start))
    result.add(f"sync status, {label}", "ms", timed_ms(
        lambda: daemon.run("sync", "status")))
    daemon.run("sync", "resume")
    if count:
        started = time.monotonic()
        first = min(FIRST, count)
        wait_for(lambda: daemon.pending() <= count - first,
                 what="the first of the drain", step=0.02)
        result.add(f"first {first:,}, {label}", "rows/s",
                   first / (time.monotonic() - started))
    if count in (0, LARGE):  # the drain goes on meanwhile
        result.add(f"urgent operation, {label}", "ms", timed_ms(
            lambda: arrives(daemon, database)))
    if count:
        pids = [w["pid"] for w in daemon.workers() if w["role"] == "sync"]
        if count == LARGE:
            time.sleep(5)  # memory may show its growth
        result.add(f"peak memory of a sync worker, {label}", "MiB",
                   peak_mb(pids))
    daemon.kill()
    shutil.rmtree(daemon.state)
    database.drop()


def run(rounds):
    result = common.Result("backlog", f"{LARGE:,} pending")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    folder.chmod(0o755)
    server = Postgres()
    server.start()
    try:
        for _ in range(rounds):
            for count in (0, LITTLE, SMALL, LARGE):
                measure(result, folder, server, count, f"{count:,} pending")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
    large = f"{LARGE:,} pending"
    result.ratio("first 200,000", f"first {FIRST:,}, {large}",
                 f"first {FIRST:,}, {SMALL:,} pending", at_least=0.9)
    result.ratio("memory", f"peak memory of a sync worker, {large}",
                 f"peak memory of a sync worker, {LITTLE:,} pending",
                 at_most=1.1)
    for what in ("start", "sync status", "urgent operation"):
        result.ratio(f"{what}, {large} / none", f"{what}, {large}",
                     f"{what}, 0 pending")
    return result


if __name__ == "__main__":
    common.main(run)
