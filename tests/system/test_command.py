# SPDX-License-Identifier: Apache-2.0
"""The tidemill command: what it takes, what it refuses, and in which words."""
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading

import pytest

from harness import SOURCE, binaries, wait_for


def rows(daemon, sql="SELECT * FROM sync_queue ORDER BY id"):
    with contextlib.closing(daemon.store()) as db:
        return [dict(r) for r in db.execute(sql)]


@pytest.fixture(params=["running", "down"])
def either(daemon, request):
    """A daemon that runs, and one that does not: the same must work."""
    if request.param == "running":
        daemon.configure({"sync": {"enabled": False}})
        daemon.start()
    return daemon


def test_enqueue_one(either):
    first = either.run("enqueue", "tasks", "t1", '{"a": 1.10}').stdout
    assert either.json("enqueue", "tasks", "t1", "--operation", "UPDATE",
                       "--priority", "urgent", '{"b": 2}')["id"] > int(first)
    either.run("enqueue", "tasks", "t1", "-", input='{"ü": "\\u00e4"}')
    either.run("enqueue", "tasks", "t1", "--operation", "DELETE")
    found = rows(either)
    assert [r["operation"] for r in found] == ["INSERT", "UPDATE", "INSERT",
                                               "DELETE"]
    assert found[0]["record_data"] == '{"a": 1.10}', "kept as it was written"
    assert [r["priority"] for r in found] == ["normal", "urgent", "normal",
                                              "normal"]
    assert {r["status"] for r in found} == {"pending"}


def test_enqueue_batch(either):
    lines = [json.dumps({"table": "t", "record_id": f"r{n}",
                         "data": {"n": n}}) for n in range(2500)]
    report = either.json("enqueue", "--batch", "-", input="\n".join(lines))
    assert report == {"accepted": 2500, "refused": 0}
    assert len(rows(either)) == 2500


BROKEN = ('{"table": "t", "record_id": "1", "data": {}}\n'
          '{"table": "t", "record_id": "2", "data": {}\n'
          '\n'
          '{"table": "t", "record_id": "3", "data": {}}\n'
          '{"table": "t", "record": "4", "data": {}}\n'
          '{"table": "bad name!", "record_id": "5", "data": {}}\n')


def test_broken_lines_are_named_and_the_rest_accepted(either):
    path = either.folder / "day.ndjson"
    path.write_text(BROKEN)
    result = either.run("enqueue", "--batch", path, check=False)
    assert result.returncode == 65
    assert f"{path}:2: " in result.stderr
    assert f'{path}:5: unknown member "record"; did you mean "record_id"?' \
        in result.stderr
    assert f"{path}:6: " in result.stderr
    assert "2 accepted, 3 refused" in result.stdout
    assert sorted(r["record_id"] for r in rows(either)) == ["1", "3"]


def test_broken_atomic_batch_accepts_nothing(either):
    either.run("enqueue", "t", "0", "{}")
    result = either.run("enqueue", "--batch", "-", "--atomic", input=BROKEN,
                        check=False)
    assert result.returncode == 65
    assert "nothing was accepted" in result.stderr
    assert len(rows(either)) == 1


BAD = [
    (["t", "r", "{not json"], 65, "JSON"),
    (["t", "r", '{"a": 1}', "--operation", "UPSERT"], 65, "UPSERT"),
    (["t", "r", "{}", "--priority", "now"], 65, "urgent, high, normal"),
    (["", "r", "{}"], 65, "table"),
    (["t", "", "{}"], 65, "record"),
    (["t" * 200, "r", "{}"], 65, "128"),
    (["t", "r" * 600, "{}"], 65, "512"),
    (["t; DROP TABLE x", "r", "{}"], 65, "table"),
    (["t", "r"], 65, "data"),
    (["t"], 64, "usage"),
    (["t", "r", "{}", "--nonsense"], 64, "usage"),
]


@pytest.mark.parametrize("args,status,word", BAD)
def test_bad_operations_are_refused_in_words(daemon, args, status, word):
    result = daemon.run("enqueue", *args, check=False)
    assert result.returncode == status, result.stderr
    assert word in result.stderr
    assert not daemon.store_path.exists() or not rows(daemon)


def test_bytes_that_no_record_may_have(daemon):
    nul = daemon.run("enqueue", "t", "r", "-", input=b'{"a": "\0"}',
                     check=False)
    latin = daemon.run("enqueue", "t", "r", "-", input=b'{"a": "\xe4"}',
                       check=False)
    huge = daemon.run("enqueue", "t", "r", "-", check=False,
                      input=b'"' + b"x" * (10 << 20) + b'"')
    assert [nul.returncode, latin.returncode, huge.returncode] == [65] * 3
    assert "bytes" in huge.stderr


def test_hook_takes_any_event(either):
    events = [
        {"session_id": "s1", "hook_event_name": "PreToolUse",
         "tool_name": "Edit", "tool_input": {"file_path": "/src/a.c"}},
        {"session_id": "s1", "hook_event_name": "SomethingNew", "x": [1.0]},
        {"hook_event_type": "Stop"},
    ]
    for event in events:
        either.run("hook", input=json.dumps(event))
    either.json("sync", "status")  # has a spool taken over
    detail = rows(either, "SELECT * FROM hook_events ORDER BY id")
    assert [d["hook_type"] for d in detail] == ["PreToolUse", "SomethingNew",
                                                "Stop"]
    assert detail[0]["file_path"] == "/src/a.c"
    assert json.loads(detail[1]["event_data"]) == events[1]
    for bad in ("", "[]", "{}", '{"hook_event_name": 3}', "x"):
        assert either.run("hook", input=bad,
                          check=False).returncode == 65, bad


def test_hook_events_as_they_are(daemon):
    events = [{"session_id": "s1", "hook_event_name": "PostToolUse",
               "tool_name": "Edit", "task_id": "t"},
              {"hook_event_type": "Stop"}]
    daemon.configure({"sync": {"enabled": False, "tables": {
        "hook_events": {"aggregate": "none"}}}})
    daemon.start()
    daemon.run("hook", input=json.dumps(events[0]))
    daemon.stop()
    daemon.run("hook", "--priority", "high", input=json.dumps(events[1]))
    assert daemon.json("sync", "status")["pending"] == 2
    sent = rows(daemon)
    assert [r["table_name"] for r in sent] == ["hook_events"] * 2
    assert [r["priority"] for r in sent] == ["normal", "high"]
    data = [json.loads(r["record_data"]) for r in sent]
    assert [d["event_data"] for d in data] == events
    assert data[0]["tool_name"] == "Edit" and data[0]["task_id"] == "t"


def test_hooks_without_a_daemon_are_spooled_and_taken_over(daemon):
    event = json.dumps({"hook_event_name": "Stop", "session_id": "s"})
    spool = daemon.state / "tidemill.spool"
    daemon.run("migrate")
    for _ in range(5):
        daemon.run("hook", input=event)
    assert spool.stat().st_size > 0
    doctor = daemon.run("doctor", check=False).stdout
    assert "tidemill.spool" not in doctor, "a report has it taken over"
    assert spool.stat().st_size == 0
    daemon.run("hook", input=event)
    daemon.configure({"sync": {"enabled": False}})
    daemon.start()
    events = "SELECT DISTINCT event_id FROM hook_events"
    assert len(rows(daemon, events)) == 6
    daemon.run("hook", input=event)
    assert spool.stat().st_size == 0
    assert len(rows(daemon, events)) == 7
    daemon.stop()
    daemon.run("hook", input=event)
    spool.write_bytes(spool.read_bytes()[:-20])
    daemon.run("hook", input=event)
    daemon.json("sync", "status")
    assert len(rows(daemon, events)) == 8
    assert "tidemill.spool.refused" in daemon.run("doctor",
                                                  check=False).stdout


def test_a_backup_has_what_was_spooled(daemon, folder):
    event = json.dumps({"hook_event_name": "Stop", "session_id": "s"})
    daemon.run("migrate")
    daemon.run("hook", input=event)
    daemon.run("backup", folder / "copy.db")
    with contextlib.closing(sqlite3.connect(folder / "copy.db")) as db:
        assert db.execute("SELECT count(*) FROM hook_events").fetchone()[0] \
            == 1


def test_without_a_daemon(daemon):
    for args in (["status"], ["reload"], ["metrics"], ["sync", "now"]):
        result = daemon.run(*args, check=False)
        assert result.returncode == 69, args
        assert "not running" in result.stderr
    assert daemon.run("status", "--json", check=False).stdout.strip() == \
        '{\n  "running": false\n}'


def test_the_socket_of_a_dead_daemon(daemon):
    daemon.start()
    daemon.kill()
    assert daemon.control_socket.exists()
    assert daemon.run("status", check=False).returncode == 69
    daemon.run("enqueue", "t", "1", "{}")
    daemon.start()
    assert len(rows(daemon)) == 1
    assert daemon.stop() == 0


def test_unknown_commands_and_options(daemon):
    result = daemon.run("stauts", check=False)
    assert result.returncode == 64
    assert "did you mean 'tidemill status'" in result.stderr
    assert daemon.run("sync", "noww", check=False).returncode == 64
    assert daemon.run("status", "now", check=False).returncode == 64
    assert "Usage" in daemon.run("--help").stdout
    assert "Usage: tidemill sync drain" in daemon.run("sync", "drain",
                                                     "--help").stdout


def test_status_shows_every_worker(daemon):
    daemon.start()
    status = daemon.json("status")
    roles = sorted(w["role"] for w in status["workers"])
    assert roles == ["gateway", "generation", "generation", "monitor",
                     "store", "sync", "sync"]
    assert all(w["pid"] > 0 for w in status["workers"])
    text = daemon.run("status").stdout
    assert "generation[1]" in text
    assert max(map(len, text.splitlines())) <= 100


def test_sync_status_fields(daemon):
    daemon.start()
    daemon.run("enqueue", "t", "1", "{}", "--priority", "urgent")
    wait_for(lambda: daemon.pending() == 0, 10, "the urgent one to go")
    daemon.configure({"sync": {"enabled": False}})
    daemon.run("reload")
    daemon.run("enqueue", "t", "2", "{}", "--priority", "low")
    report = daemon.json("sync", "status")
    assert report["pending"] == 1
    assert report["by_priority"]["low"] == 1
    assert report["by_table"] == {"t": 1}
    assert {"state", "pending", "in_flight", "dead", "conflicts",
            "by_priority", "by_table", "last_sync", "next_sync",
            "next_trigger", "last_error"} <= report.keys()


def test_two_writers_at_once_without_a_daemon(daemon):
    """Commands take turns at the store's lock; none is refused."""
    def work(n):
        for i in range(10):
            daemon.run("enqueue", "t", f"{n}-{i}", "{}")
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(rows(daemon)) == 40


def test_a_store_newer_than_the_binary(daemon):
    daemon.run("migrate")
    with contextlib.closing(sqlite3.connect(daemon.store_path)) as db:
        db.execute("INSERT INTO schema_migrations (version, description, "
                   "applied_at, checksum) VALUES (999, 'future', 0, 'x')")
        db.commit()
    result = daemon.run("enqueue", "t", "1", "{}", check=False)
    assert result.returncode == 78
    assert "999" in result.stderr
    assert "newer" in result.stderr


def test_an_applied_migration_that_changed(daemon):
    daemon.run("migrate")
    with contextlib.closing(sqlite3.connect(daemon.store_path)) as db:
        db.execute("UPDATE schema_migrations SET checksum = 'x' "
                   "WHERE version = 1")
        db.commit()
    result = daemon.run("migrate", check=False)
    assert result.returncode == 78
    assert "migration 1 (outbox)" in result.stderr


def test_migrate_twice_and_its_status(daemon):
    pending = daemon.json("migrate", "--status")
    assert all(m["applied_at"] is None for m in pending)
    daemon.run("migrate")
    daemon.run("migrate")
    assert all(m["applied_at"] for m in daemon.json("migrate", "--status"))


def test_doctor_names_sqlite_and_the_protection(daemon):
    daemon.start()
    findings = daemon.json("doctor")
    text = next(f["text"] for f in findings if f["subject"] == "sqlite")
    assert sqlite3.sqlite_version in text
    assert "WAL-reset fix" in text
    assert "only process that writes" in text


def test_render(daemon):
    (daemon.folder / "t.mustache").write_text(
        "{{#items}}\n{{> line}}\n{{/items}}\n")
    (daemon.folder / "line.mustache").write_text("- {{name}} {{price}}\n")
    (daemon.folder / "items.yaml").write_text(
        "items:\n  - {name: a<b, price: 1.10}\n  - {name: c, price: 2}\n")
    args = ["render", "--template", daemon.folder / "t.mustache", "--data",
            daemon.folder / "items.yaml", "--partials", daemon.folder]
    assert daemon.run(*args).stdout == "- a&lt;b 1.10\n- c 2\n"
    assert daemon.run(*args, "--escape", "none").stdout == \
        "- a<b 1.10\n- c 2\n"
    report = daemon.run("--json", *args)
    assert json.loads(report.stdout) == {"output": "- a&lt;b 1.10\n- c 2\n"}
    (daemon.folder / "t.mustache").write_text("[{PRICE}] [{items}] {A_B}")
    (daemon.folder / "price.yaml").write_text("PRICE: <1.10>\n")
    args[4] = daemon.folder / "price.yaml"
    assert daemon.run(*args, "--syntax", "placeholder").stdout == \
        "[<1.10>] [{items}] {A_B}"
    assert daemon.run(*args, "--syntax", "placeholder", "--escape",
                      "html").stdout == "[&lt;1.10&gt;] [{items}] {A_B}"
    result = daemon.run(*args, "--syntax", "placeholder", "--strict",
                        check=False)
    assert result.returncode == 65
    assert "t.mustache:1:21: {A_B} is not defined" in result.stderr
    (daemon.folder / "t.mustache").write_bytes(b"\xff")
    result = daemon.run("--json", *args, check=False)
    assert result.returncode == 65 and "UTF-8" in result.stderr
    (daemon.folder / "t.mustache").write_text("x\n {{#items}}\n")
    result = daemon.run(*args, check=False)
    assert result.returncode == 65
    assert "t.mustache:2:2: " in result.stderr
    (daemon.folder / "line.mustache").write_text("{{> line}}")
    (daemon.folder / "t.mustache").write_text("{{> line}}")
    result = daemon.run(*args, check=False)
    assert result.returncode == 65
    assert "line" in result.stderr


def test_metrics_are_clean(daemon):
    daemon.start()
    daemon.run("enqueue", "t", "1", "{}")
    text = daemon.run("metrics").stdout
    check = subprocess.run(["promtool", "check", "metrics"],
                           input=text.encode(), capture_output=True)
    assert check.returncode == 0, check.stderr
    assert "tidemill_outbox_accepted_total 1" in text
    assert daemon.json("metrics")["tidemill_outbox_accepted_total"] == 1


def test_control_socket_survives_garbage(daemon):
    daemon.start()
    for garbage in (b"\n", b"{}\n", b"[1]\n", b'{"command": 3}\n',
                    b'{"command": "nope"}\n', b"\xff\xfe\n",
                    b"x" * 200000 + b"\n", b'{"command": "status"}'):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(daemon.control_socket))
            with contextlib.suppress(OSError):
                s.sendall(garbage)
                s.shutdown(socket.SHUT_WR)
                s.settimeout(5)
                s.recv(65536)
    assert daemon.json("status")["running"]


def test_changing_commands_are_for_root_and_the_service_user(daemon):
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    daemon.start()
    os.chmod(daemon.runtime, 0o755)
    os.chmod(daemon.control_socket, 0o666)
    os.chmod(daemon.config_path, 0o644)
    result = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
         binaries() / "tidemill", "-c", daemon.config_path, "reload"],
        capture_output=True, text=True)
    if "Permission denied" in result.stderr and "config" in result.stderr:
        pytest.skip("the build folder is not readable for others")
    assert result.returncode == 77, result.stderr
    assert "root" in result.stderr


def test_a_reload_counts_at_once(daemon):
    """The gateway stays, and must not answer of the time before."""
    daemon.start()
    gateway = daemon.workers("gateway")[0]["pid"]
    daemon.configure({"sync": {"enabled": False}})
    daemon.run("reload")
    assert daemon.json("sync", "status")["state"] == "disabled"
    refused = daemon.run("sync", "now", check=False)
    assert refused.returncode == 78
    assert "sync.enabled" in refused.stderr
    daemon.configure({"sync": {"enabled": True, "sink": "pgsql"},
                      "database": {"conninfo": "host=127.0.0.1 port=1"}})
    daemon.run("reload")
    assert daemon.json("sync", "status")["sink"] == "pgsql"
    assert daemon.run("sync", "now", check=False).returncode == 75
    assert daemon.workers("gateway")[0]["pid"] == gateway


def test_asking_the_daemon_while_the_file_is_broken(daemon):
    """A mistake in the file must not hide the daemon from its operator."""
    daemon.start()
    good = daemon.config_path.read_text()
    daemon.config_path.write_text(good.rstrip().rstrip("}")
                                  + ', "bogus": {"x": 1}}')
    result = daemon.run("reload", check=False)
    assert result.returncode == 78
    assert 'unknown option "bogus"' in result.stderr
    status = daemon.json("status")
    assert status["configuration"]["reload_failed"]
    assert 'unknown option "bogus"' in status["configuration"]["errors"][0]
    assert 'unknown option "bogus"' in daemon.run("status").stdout
    assert daemon.run("enqueue", "t", "1", "{}",
                      check=False).returncode == 78
    daemon.config_path.write_text(good)
    daemon.run("reload")
    assert not daemon.json("status")["configuration"]["reload_failed"]


def test_a_group_names_its_commands(daemon):
    for group, words in (("sync", ("now", "drain", "retry")),
                         ("jobs", ("list", "show"))):
        result = daemon.run(group, check=False)
        assert result.returncode == 64
        assert all(word in result.stderr for word in words)


def on_terminal(daemon, *args):
    """What a command prints on a terminal of 80 columns, without colours."""
    import fcntl
    import pty
    import re
    import struct
    import termios
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [binaries() / "tidemill", "-c", daemon.config_path, *args],
        stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    text = b""
    with contextlib.suppress(OSError):
        while piece := os.read(master, 65536):
            text += piece
    os.close(master)
    process.wait(30)
    return re.sub(r"\x1b\[[0-9;]*[mK]", "", text.decode()).splitlines()


def test_reports_fit_a_terminal(daemon):
    """With everything wrong that makes lines long."""
    daemon.configure({
        "sync": {"sink": "pgsql"},
        "database": {"conninfo": "host=127.0.0.1 port=1 dbname=x"},
        "sources": [{"name": "app", "path": str(daemon.folder / "app.db")}]})
    (daemon.folder / "app.db").write_text("no database")
    daemon.start()
    contract = sorted((SOURCE / "tests/fixtures/contracts").glob("*.yaml"))[0]
    daemon.run("generate", "--output", "/proc/nowhere", contract, check=False)
    daemon.kill_worker("sync", 1)
    daemon.run("sync", "now", check=False)
    for args in (["status"], ["sync", "status"], ["sync", "dead"],
                 ["jobs", "list"], ["doctor"], ["migrate", "--status"],
                 ["jobs", "show", "1"], ["--help"], ["enqueue", "--help"],
                 ["sync", "drain", "--help"]):
        lines = on_terminal(daemon, *args)
        assert lines, args
        # A path or a name in one piece may stand out; text may not.
        wide = [x for x in lines if len(x) > 80 and " " in x[16:].strip()]
        assert not wide, (args, wide)
    assert "cannot make the output directory" in " ".join(
        on_terminal(daemon, "jobs", "list"))


def test_jobs_tell_how_long_they_took(daemon):
    """A duration is a number, no time of 1970."""
    daemon.start()
    contract = sorted((SOURCE / "tests/fixtures/contracts").glob("*.yaml"))[0]
    report = daemon.json("generate", "--output", daemon.folder / "out",
                         contract)
    job, = daemon.json("jobs", "list")
    for row in (job, report["results"][0], daemon.json("jobs", "show", "1")):
        assert isinstance(row["duration_ms"], int)
    assert job["created"].endswith("Z")
    assert job["contract"] == str(contract)
