# SPDX-License-Identifier: Apache-2.0
"""drain: the outbox into PostgreSQL, four priorities mixed, committed and
settled; beside COPY of the same rows (the limit), rsyslog's ompgsql, the
best Python loop and a single-purpose loop in C (the peers).

The peers carry fewer rows where they are slow: rates are compared.

Where the processor time of an operation goes, of 1.1 to 1.2 us (perf, 300,000
operations; the loop in C takes 0.31 to 0.36):
  store, 0.4: the kernel 64 % (syncing a settlement and claim 18, reading pages
  to step through what a claim takes 18, writing 7), SQLite 28 %, ours 3 %;
  sync workers, 0.7: SQLite 34 % and reading its pages 12 %, sending 8 %, other
  system calls and page faults 13 %, ours (reading, folding, arrays, counts,
  figures) 14 %, copies and comparisons in libc 14 %, for a good part the first
  touch of rows that left the caches while their batch waited for its turn.
The loop reads into its arrays at once, and its settlement is one cursor that
is not synced: it knows no claim, no ledger, no record twice in a batch.
"""
import csv
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time

import common
import workload
from harness import Daemon, Postgres, free_port, wait_for

COUNTS = (100_000, 1_000_000)
PEER_COUNT = 50_000
CURSOR_COUNT = 300_000

COLUMNS = """(system_id text, table_name text, record_id text,
    data jsonb, updated_at timestamptz NOT NULL DEFAULT now(),
    deleted boolean NOT NULL DEFAULT false,
    PRIMARY KEY (system_id, table_name, record_id))"""


def copy_rate(database, folder, count):
    path = folder / "rows.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for record, data in workload.records(count):
            writer.writerow(["h", "bench", record, data])
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute(f"CREATE TABLE copied {COLUMNS}")
    with open(path, encoding="utf-8") as file:
        started = time.monotonic()
        cursor.copy_expert("COPY copied (system_id, table_name, record_id, "
                           "data) FROM STDIN WITH (FORMAT csv)", file, 65536)
        seconds = time.monotonic() - started
    cursor.execute("DROP TABLE copied")
    connection.close()
    path.unlink()
    return count / seconds


def fill_queue(path, count):
    """An outbox of the public form, as an application has it."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE sync_queue (id INTEGER PRIMARY KEY, "
                     "record_id TEXT, record_data TEXT)")
    with database:
        database.executemany("INSERT INTO sync_queue (record_id, record_data) "
                             "VALUES (?, ?)", workload.records(count))
    database.close()


def python_rate(database, folder):
    from psycopg2.extras import execute_values
    path = folder / "python.db"
    fill_queue(path, PEER_COUNT)
    source = sqlite3.connect(path, isolation_level=None)
    source.execute("PRAGMA synchronous = NORMAL")
    source.execute("CREATE TABLE cursor (id INTEGER)")
    source.execute("INSERT INTO cursor VALUES (0)")
    target = database.connect()
    target.autocommit = False
    cursor = target.cursor()
    cursor.execute(f"CREATE TABLE looped {COLUMNS}")
    target.commit()
    started, last = time.monotonic(), 0
    while rows := source.execute(
            "SELECT id, record_id, record_data FROM sync_queue WHERE id > ? "
            "ORDER BY id LIMIT 500", (last,)).fetchall():
        execute_values(
            cursor, "INSERT INTO looped (system_id, table_name, record_id, "
            "data) VALUES %s ON CONFLICT (system_id, table_name, record_id) "
            "DO UPDATE SET data = excluded.data, updated_at = now()",
            [("h", "bench", r, d) for _, r, d in rows], page_size=500)
        target.commit()
        last = rows[-1][0]
        source.execute("UPDATE cursor SET id = ?", (last,))
    seconds = time.monotonic() - started
    cursor.execute("DROP TABLE looped")
    target.commit()
    target.close()
    source.close()
    path.unlink()
    return PEER_COUNT / seconds


def rsyslog_rate(server, database, folder):
    """rsyslogd with a memory queue; rows come by TCP as «record|data»."""
    database.query(f"CREATE TABLE logged {COLUMNS}")
    place, port = folder / "rsyslog", free_port()
    place.mkdir()
    config = place / "rsyslog.conf"
    config.write_text(f"""
        global(workDirectory="{place}"
               parser.escapeControlCharactersOnReceive="off")
        module(load="imtcp")
        module(load="ompgsql")
        input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="rows")
        template(name="row" type="list" option.stdsql="on") {{
          constant(value="INSERT INTO logged (system_id, table_name, ")
          constant(value="record_id, data) VALUES ('h', 'bench', '")
          property(name="rawmsg" field.delimiter="124" field.number="1")
          constant(value="', '")
          property(name="rawmsg" field.delimiter="124" field.number="2")
          constant(value="')")
        }}
        ruleset(name="rows") {{
          action(type="ompgsql" server="127.0.0.1" port="{server.port}"
                 db="{database.name}" user="postgres" pass=""
                 template="row" queue.type="LinkedList"
                 queue.size="{2 * PEER_COUNT}"
                 queue.dequeueBatchSize="1024")
        }}""")
    lines = "".join(f"{r}|{d}\n" for r, d in workload.records(PEER_COUNT))
    process = subprocess.Popen(
        ["/usr/sbin/rsyslogd", "-n", "-f", config, "-i", place / "pid"],
        stdout=subprocess.DEVNULL, stderr=open(place / "log", "w"))

    def connected():
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            return None
    try:
        line = wait_for(connected, 10, "rsyslogd to listen")
        started = time.monotonic()
        line.sendall(lines.encode())
        line.close()
        wait_for(lambda: database.query("SELECT count(*) FROM logged")[0][0]
                 == PEER_COUNT, 120, "rsyslog's rows", step=0.05)
        return PEER_COUNT / (time.monotonic() - started)
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(place)
        database.query("DROP TABLE logged")


def cursor_loop(database, folder):
    """(rows/s, CPU in us a row) of the single-purpose loop."""
    import json
    path = folder / "cursor.db"
    fill_queue(path, CURSOR_COUNT)
    database.query(f"CREATE TABLE carried {COLUMNS}")
    done = subprocess.run(
        [common.BUILD / "tests/bench/bench_cursor", path, database.conninfo,
         "carried"], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["rows"] == CURSOR_COUNT
    database.query("DROP TABLE carried")
    path.unlink()
    return (found["rows"] / found["seconds"],
            found["cpu_seconds"] * 1e6 / found["rows"])


def named(what, count):
    return f"{what}, {count:,}"


OURS, COPY = "tidemill sync drain", "COPY into a table with the key"
RSYSLOG, PYTHON = "rsyslog ompgsql", "Python, execute_values 500"
CURSOR, CURSOR_CPU = "single-purpose loop in C", "its CPU"
OUR_CPU = "CPU of store and sync workers"


def one_round(result, folder, server, number):
    database = server.create_database()
    for count in COUNTS:
        result.add(named(COPY, count), "rows/s",
                   copy_rate(database, folder, count))
        daemon_database = server.create_database()
        daemon = Daemon(folder, daemon_database.config(),
                        name=f"d{number}-{count}")
        drain = workload.Drain(daemon, daemon_database, count).run()
        result.add(named(OURS, count), "rows/s", drain.rate)
        if count == max(COUNTS):
            result.add(OUR_CPU, "us/row", drain.cpu_us)
    rate, cpu_us = cursor_loop(database, folder)
    result.add(CURSOR, "rows/s", rate)
    result.add(CURSOR_CPU, "us/row", cpu_us)
    result.add(PYTHON, "rows/s", python_rate(database, folder))
    result.add(RSYSLOG, "rows/s", rsyslog_rate(server, database, folder))
    database.drop()


def run(rounds):
    result = common.Result("drain", "operations of 200 bytes, four "
                           "priorities, committed and settled")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    folder.chmod(0o755)
    server = Postgres()
    server.start()
    try:
        for number in range(rounds):
            one_round(result, folder, server, number)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
    for count in COUNTS:
        result.ratio(f"ours / COPY, {count:,}", named(OURS, count),
                     named(COPY, count), at_least=0.65)
    for peer, at_least in ((RSYSLOG, 10), (PYTHON, 4)):
        result.ratio(f"ours / {peer}", named(OURS, COUNTS[0]), peer,
                     at_least=at_least)
    result.ratio("ours / the loop in C", named(OURS, max(COUNTS)), CURSOR)
    result.ratio("CPU, ours / the loop in C", OUR_CPU, CURSOR_CPU,
                 at_most=1.8)
    return result


if __name__ == "__main__":
    common.main(run)
