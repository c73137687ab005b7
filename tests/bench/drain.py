# SPDX-License-Identifier: Apache-2.0
"""drain: the outbox into PostgreSQL, against COPY of the same rows."""
import io
import json
import pathlib
import shutil
import tempfile
import time

import common
from harness import Daemon, Postgres

COUNT = 100_000


def records():
    for n in range(COUNT):
        yield f"r{n}", json.dumps(
            {"n": n, "title": f"operation number {n}", "state": "created",
             "path": f"/src/module{n % 97}/file{n % 1009}.c",
             "note": "x" * (n % 40 + 60)})


def copy_seconds(database, number):
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute(f"""CREATE TABLE plain{number} (system_id text,
        table_name text, record_id text, data jsonb, updated_at timestamptz,
        deleted boolean, PRIMARY KEY (system_id, table_name, record_id))""")
    rows = "".join(
        "h\tbench\t{}\t{}\t2026-01-01T00:00:00Z\tf\n".format(
            r, d.replace("\\", "\\\\")) for r, d in records())
    started = time.monotonic()
    cursor.copy_expert(f"COPY plain{number} FROM STDIN", io.StringIO(rows))
    seconds = time.monotonic() - started
    cursor.execute(f"DROP TABLE plain{number}")
    connection.close()
    return seconds


def drain_seconds(folder, server, number):
    database = server.create_database()
    daemon = Daemon(folder, database.config(), name=f"d{number}")
    lines = "\n".join(json.dumps({"table": "bench", "record_id": r})[:-1]
                      + f', "data": {d}}}' for r, d in records())
    daemon.run("enqueue", "--batch", "-", input=lines)
    daemon.run("sync", "pause")
    daemon.start()
    started = time.monotonic()  # the two commands are counted too
    daemon.run("sync", "resume")
    daemon.run("sync", "drain", timeout=300)
    seconds = time.monotonic() - started
    found = database.query("SELECT count(*) FROM tidemill.synced_records")
    assert found[0][0] == COUNT, found
    assert daemon.pending() == 0
    daemon.stop()
    shutil.rmtree(daemon.state)
    database.drop()
    return seconds


def run(rounds):
    result = common.Result("drain", f"{COUNT:,} operations of 200 bytes, "
                           "committed and settled")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    folder.chmod(0o755)
    server = Postgres()
    server.start()
    try:
        database = server.create_database()
        for number in range(rounds):
            result.add("COPY into a table with the key", "rows/s",
                       COUNT / copy_seconds(database, number))
            result.add("tidemill sync drain", "rows/s",
                       COUNT / drain_seconds(folder, server, number))
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("ours / COPY", "tidemill sync drain",
                 "COPY into a table with the key", at_least=0.35)
    return result


if __name__ == "__main__":
    common.main(run)
