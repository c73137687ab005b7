# SPDX-License-Identifier: Apache-2.0
"""What the benches of the sync side carry, and how they time a drain."""
import json
import pathlib
import shutil
import time

PRIORITIES = ("low", "normal", "high", "urgent")


def records(count):
    """(record id, JSON of about 200 bytes) of as many records."""
    for n in range(count):
        yield f"r{n}", json.dumps(
            {"n": n, "title": f"operation number {n}", "state": "created",
             "path": f"/src/module{n % 97}/file{n % 1009}.c",
             "note": "x" * (n % 40 + 60)})


def operations(count, priorities=PRIORITIES):
    """Lines for `tidemill enqueue --batch`, priorities mixed."""
    for n, (record, data) in enumerate(records(count)):
        yield (f'{{"table": "bench", "record_id": "{record}", "priority": '
               f'"{priorities[n % len(priorities)]}", "data": {data}}}\n')


def fill(daemon, count, priorities=PRIORITIES):
    """An outbox of so many operations, while the daemon is down."""
    path = daemon.state.parent / f"{daemon.state.name}.ndjson"
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(operations(count, priorities))
    daemon.run("enqueue", "--batch", str(path), timeout=900)
    path.unlink()


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1]
        ticks += sum(map(int, fields.split()[11:13]))
    return ticks / 100


def sync_pids(daemon):
    """The store and the sync workers."""
    return [worker["pid"] for worker in daemon.workers()
            if worker["role"] in ("store", "sync")]


class Drain:
    """A filled outbox drained once into an empty database."""

    def __init__(self, daemon, database, count):
        self.seconds = self.cpu = 0.0
        self.daemon, self.database, self.count = daemon, database, count

    def run(self):
        daemon = self.daemon
        fill(daemon, self.count)
        daemon.run("sync", "pause")
        daemon.start()
        cpu = cpu_seconds(sync_pids(daemon))
        started = time.monotonic()  # the two commands are counted too
        daemon.run("sync", "resume")
        daemon.run("sync", "drain", timeout=900)
        self.seconds = time.monotonic() - started
        # Of a worker that the drain has started all counts.
        self.cpu = cpu_seconds(sync_pids(daemon)) - cpu
        found = self.database.query(
            "SELECT count(*) FROM tidemill.synced_records")
        assert found[0][0] == self.count, found
        assert daemon.pending() == 0
        daemon.stop()
        shutil.rmtree(daemon.state)
        self.database.drop()
        return self

    @property
    def rate(self):
        return self.count / self.seconds

    @property
    def cpu_us(self):
        return self.cpu * 1e6 / self.count
