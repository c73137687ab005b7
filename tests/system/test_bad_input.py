# SPDX-License-Identifier: Apache-2.0
"""Bad input: said in words with the remedy and the right exit code, nothing
lost, and nobody affected but who gave it."""
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import time

import pytest

from harness import (SOURCE, Daemon, alive, binaries, sanitized,
                     wait_for)

CONTRACTS = SOURCE / "tests" / "fixtures" / "contracts"


def tidemilld(*args, **kwargs):
    return subprocess.run([binaries() / "tidemilld", *map(str, args)],
                          capture_output=True, text=True, timeout=60,
                          **kwargs)


def queue(daemon):
    with contextlib.closing(daemon.store()) as db:
        return [tuple(row) for row in db.execute(
            "SELECT table_name, record_id FROM sync_queue ORDER BY id")]


def refused(daemon, *args, status=65, **kwargs):
    """What a command says that must fail so."""
    result = daemon.run(*args, check=False, **kwargs)
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture(params=["running", "down"])
def either(daemon, request):
    if request.param == "running":
        daemon.configure({"sync": {"enabled": False}})
        daemon.start()
    return daemon


@pytest.fixture
def quiet(daemon):
    """Runs; afterwards every worker is still the one it was."""
    daemon.configure({"sync": {"enabled": False}})
    daemon.start()
    before = {(w["role"], w["slot"]): w["pid"] for w in daemon.workers()}
    yield daemon
    after = {(w["role"], w["slot"]): w["pid"] for w in daemon.workers()}
    assert after == before, "a worker died of bad input"


# --- operations ---

def test_bytes_are_refused_in_words(either):
    """By the name of what is wrong, not by the number of an argument."""
    text = refused(either, "enqueue", "t", b"r\xff".decode(
        errors="surrogateescape"), "{}")
    assert "record id" in text and "UTF-8" in text
    text = refused(either, "enqueue", "t", "r", "-", input=b'{"a": "\0"}')
    assert "control character" in text and "byte 8" in text
    text = refused(either, "enqueue", "t", "r", "-", input=b'{"a": "\xe4"}')
    assert "UTF-8" in text and "byte 7" in text
    text = refused(either, "enqueue", "t", "r", "-",
                   input=b'"' + b"x" * (10 << 20) + b'"')
    assert "4194304" in text and "elsewhere" in text
    text = refused(either, "enqueue", "t", "r", "[" * 9999)
    assert "too deep" in text
    either.run("enqueue", "t", "good", "{}")
    assert queue(either) == [("t", "good")]


def test_messages_do_not_drive_the_terminal(daemon):
    text = refused(daemon, "enqueue", "t\x1b[2J\x07", "r", "{}")
    assert "\x1b" not in text and "\x07" not in text


def test_largest_record_arrives(daemon):
    daemon.start()
    data = json.dumps({"x": "y" * ((4 << 20) - 9)})
    assert len(data) == 4 << 20
    daemon.run("enqueue", "t", "large", "-", input=data)
    daemon.run("sync", "drain")
    with contextlib.closing(daemon.centre()) as db:
        assert len(db.execute("SELECT data FROM synced_records").fetchone()[
            0]) >= (4 << 20) - 1


GOOD_LINE = b'{"table": "t", "record_id": "%d", "data": {}}'

# a line and a word of what is said of it
BAD_LINES = [
    (b'{"table": "t", "record_id": "x", "data": {}', "byte 44"),
    (b'{"table": "t", "record_id": "x", "data": {"a": "\xff"}}', "UTF-8"),
    (b'{"table": "t", "record_id": "x", "data": {"a": "\0"}}', "control"),
    (b'{"table": "t", "record_id": "x\\u0000", "data": {}}', "record id"),
    (b'{"table": "t", "record_id": "x", "data": {}, "priority": "soon"}',
     "urgent, high, normal or low"),
    (b'{"table": "t", "record_id": "x", "data": {}, "operation": "upsert"}',
     "INSERT, UPDATE or DELETE"),
    (b'{"table": "", "record_id": "x", "data": {}}', "table name is empty"),
    (b'{"table": "t", "record_id": "", "data": {}}', "record id"),
    (b'{"table": "%s", "record_id": "x", "data": {}}' % (b"t" * 129), "128"),
    (b'{"table": "t", "record_id": "%s", "data": {}}' % (b"r" * 513), "512"),
    (b'{"table": "t", "record_id": 7, "data": {}}', "quotes"),
    (b'{"table": "t", "record_id": "x"}', "needs data"),
    (b'{"record_id": "x", "data": {}}', '"table" is missing'),
    (b'{"table": "t", "record": "x", "data": {}}', '"record_id"?'),
    (b'[1]', "must be an object"),
    (b'{"table": "t", "record_id": "x", "data": {}} more', "more text"),
    (b'{"table": "t", "record_id": "x", "data": "' + b"x" * (5 << 20) + b'"}',
     "4194304"),
    (b'{"table": "t", "record_id": "x", "data": "' + b"x" * (10 << 20)
     + b'"}', "6291456"),
]


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("bad,word", BAD_LINES,
                         ids=[str(i) for i in range(len(BAD_LINES))])
def test_a_broken_line_in_the_middle(either, bad, word, atomic):
    path = either.folder / "day.ndjson"
    path.write_bytes(b"\n".join([GOOD_LINE % 1, bad, GOOD_LINE % 3]) + b"\n")
    either.run("enqueue", "t", "0", "{}")
    text = refused(either, "enqueue", "--batch", path,
                   *["--atomic"] * atomic)
    line, = [x for x in text.splitlines() if f"{path}:2: " in x]
    assert word in line
    assert len(line) < 400
    if atomic:
        assert "nothing was accepted" in text
        assert queue(either) == [("t", "0")]
    else:
        assert queue(either) == [("t", "0"), ("t", "1"), ("t", "3")]


def test_batches_of_odd_files(daemon):
    good = GOOD_LINE % 1
    daemon.run("enqueue", "--batch", "-", input=b"")
    daemon.run("enqueue", "--batch", "-", input=b"\n \r\n\n")
    daemon.run("enqueue", "--batch", "-",
               input=b"\xef\xbb\xbf" + good + b"\r\n" + GOOD_LINE % 2)
    assert queue(daemon) == [("t", "1"), ("t", "2")]
    text = refused(daemon, "enqueue", "--batch", "-",
                   input=os.urandom(1) + bytes(range(256)) * 4000)
    assert "more lines were refused" in text
    assert len(text.splitlines()) < 30
    text = refused(daemon, "enqueue", "--batch", "/nonexistent/x", status=66)
    assert "/nonexistent/x" in text
    refused(daemon, "enqueue", "--batch", daemon.folder, status=66)
    text = refused(daemon, "enqueue", "--batch", "-", "--priority", "high",
                   status=64, input=b"")
    assert "from its lines" in text


def test_a_batch_line_without_end_takes_no_memory(daemon):
    """200 MB in one line, under a limit of 150 MB for the process."""
    if sanitized():
        pytest.skip("sanitizers need address space of their own")
    process = subprocess.Popen(
        ["prlimit", "--as=150000000", binaries() / "tidemill", "-c",
         daemon.config_path, "enqueue", "--batch", "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    piece = b"x" * (1 << 20)

    def feed():
        with contextlib.suppress(BrokenPipeError):
            for _ in range(200):
                process.stdin.write(piece)
            process.stdin.write(b"\n" + GOOD_LINE % 1 + b"\n")
    feed()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 65, err
    assert b"1 accepted, 1 refused" in out
    assert b"standard input:1: " in err


# --- contracts, templates, outputs ---

def contract():
    return sorted(CONTRACTS.glob("*.yaml"))[0]


def generate(daemon, *args, **kwargs):
    return daemon.run("generate", "--output", daemon.folder / "out", *args,
                      **kwargs)


def test_bad_contracts_are_all_named_and_nothing_is_generated(quiet):
    text = contract().read_text()
    bad = {
        "unknown.yaml": (text + "surprise: 1\n", "'surprise'"),
        "none.yaml": ("", "empty"),
        "yaml.yaml": ("a: [", ":2:1: "),
        "type.yaml": (text.replace("node_type: ", "node_type: X"),
                      "node_type"),
        "nul.yaml": ("a: \0\n", "NUL"),
        "alias.yaml": ("a: &a [*a]\n", "alias"),
    }
    for name, (content, _) in bad.items():
        (quiet.folder / name).write_text(content)
    result = generate(quiet, contract(),
                      *[quiet.folder / name for name in bad], check=False)
    assert result.returncode == 65
    for name, (_, word) in bad.items():
        lines = [x for x in result.stderr.splitlines()
                 if x.startswith(f"{quiet.folder / name}:")]
        assert lines and any(word in x for x in lines), (name, result.stderr)
    assert "nothing was generated" in result.stderr
    assert not (quiet.folder / "out").exists()
    assert quiet.json("jobs", "list") == []
    assert "/nonexistent.yaml" in refused(
        quiet, "generate", "/nonexistent.yaml", status=66)


def test_templates_that_are_wrong(quiet):
    folder = quiet.folder
    (folder / "values.yaml").write_text("a: 1\n")

    def render(text, *args):
        (folder / "t.mustache").write_text(text)
        (folder / "loop.mustache").write_text("{{> loop}}")
        return refused(quiet, "render", "--template", folder / "t.mustache",
                       "--data", folder / "values.yaml", "--partials",
                       folder, *args)
    at = f"{folder}/t.mustache:"
    text = render("x\n  {{#items}}\n")
    assert f"{at}2:3: " in text and "{{/items}}" in text
    assert f"{at}1:1: " in render("{{/items}}")
    assert f"{at}1:2: " in render("x{{items")
    assert f"{at}1:7: " in render("{{#a}}{{/b}}")
    text = render("{{> loop}}")
    assert "includes itself" in text and "loop.mustache:1:1" in text
    assert "leaves the folder" in render("{{> ../../etc/passwd}}")
    assert f"{at}1:1: " in render("{{b}}", "--strict")


def template_set(daemon, entry, **files):
    """A copy of the template sets, each with one entry more."""
    place = daemon.folder / "templates"
    shutil.copytree(SOURCE / "conf" / "templates", place)
    for folder in place.iterdir():
        if (folder / "set.yaml").exists():
            with open(folder / "set.yaml", "a") as file:
                file.write(f"  - {entry}\n")
            (folder / "partials").mkdir(exist_ok=True)
            (folder / "partials" / "loop.mustache").write_text("{{> loop}}")
            for name, text in files.items():
                (folder / f"{name}.mustache").write_text(text)
    return place


@pytest.mark.parametrize("text,word", [
    ("x\n{{#items}}\n", "broken.mustache:2:1: "),
    ("{{> loop}}", "includes itself"),
], ids=["unclosed", "endless"])
def test_a_broken_template_fails_its_jobs_alone(quiet, text, word):
    place = template_set(quiet, '{template: broken, output: "x.txt"}',
                         broken=text)
    out = quiet.folder / "out"
    error = refused(quiet, "generate", "--output", out, "--template-dir",
                    place, contract(), status=1)
    assert word in error and "broken.mustache:" in error
    assert quiet.json("jobs", "list")[0]["state"] == "failed"
    assert not [p for p in out.rglob("*") if p.is_file()], "whole or nothing"
    generate(quiet, contract())


@pytest.mark.parametrize("path", ["../escaped", "a/../../escaped",
                                  "/tmp/tm-escaped"])
def test_an_output_path_that_leads_out(quiet, path):
    place = template_set(quiet, f'{{template: node.py, output: "{path}"}}')
    out = quiet.folder / "out"
    error = refused(quiet, "generate", "--output", out, "--template-dir",
                    place, contract(), status=1)
    assert path in error and "output" in error
    assert not [p for p in out.rglob("*") if p.is_file()], "whole or nothing"
    assert not list(quiet.folder.rglob("escaped"))
    assert not os.path.exists("/tmp/tm-escaped")


def test_outputs_never_leave_their_folder(quiet):
    secret = quiet.folder / "secret"
    secret.mkdir()
    generate(quiet, contract())
    out = quiet.folder / "out"
    node, = [p for p in out.iterdir() if p.is_dir()
             and not p.name.startswith(".")]
    moved = quiet.folder / "moved"
    node.rename(moved)
    node.symlink_to(secret)
    text = refused(quiet, "generate", "--output", out, contract(), status=1)
    assert "symbolic link" in text and "remove it" in text
    assert list(secret.iterdir()) == []
    node.unlink()
    (quiet.folder / "file").write_text("")
    text = refused(quiet, "generate", "--output", quiet.folder / "file",
                   contract(), status=1)
    assert "Not a directory" in text
    generate(quiet, contract())


# --- stores, daemons ---

def newer(daemon):
    daemon.run("enqueue", "t", "1", "{}")
    with contextlib.closing(sqlite3.connect(daemon.store_path)) as db:
        db.execute("INSERT INTO schema_migrations (version, description, "
                   "applied_at, checksum) VALUES (999, 'future', 0, 'x')")
        db.commit()


def quickly_refused(daemon, status, *words):
    """A start that fails: in words, with its code, soon, and whole."""
    started = time.monotonic()
    result = tidemilld("-c", daemon.config_path)
    took = time.monotonic() - started
    assert result.returncode == status, result.stderr
    for word in words:
        assert word in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert took < 25, "workers waited for a store that never comes"
    assert not daemon.pidfile.exists()
    return took


def test_a_store_newer_than_the_daemon(daemon):
    newer(daemon)
    before = daemon.store_path.read_bytes()
    assert quickly_refused(daemon, 78, "999", "newer") < 4
    for command in (["migrate"], ["enqueue", "t", "2", "{}"]):
        assert "999" in refused(daemon, *command, status=78)
    result = daemon.run("doctor", check=False)
    assert result.returncode == 1
    assert "schema version 999" in result.stdout
    assert daemon.store_path.read_bytes() == before
    assert queue(daemon) == [("t", "1")]


def test_a_damaged_store(daemon):
    daemon.run("enqueue", "t", "1", "{}")
    daemon.store_path.write_bytes(b"this is no database" * 1000)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{daemon.store_path}{suffix}")
    before = daemon.store_path.read_bytes()
    assert quickly_refused(daemon, 74, "tidemill.db", "not a database",
                           "tidemill restore") < 4
    for command in (["enqueue", "t", "2", "{}"], ["sync", "status"],
                    ["migrate", "--status"], ["jobs", "list"]):
        text = refused(daemon, *command, status=74)
        assert "tidemill.db" in text
    assert "not a database" in daemon.run("doctor", check=False).stdout
    assert daemon.store_path.read_bytes() == before


def test_a_second_daemon_on_the_same_state(daemon):
    """Another runtime directory, so that only the store's lock is left."""
    daemon.configure({"sync": {"enabled": False}})
    daemon.start()
    second = Daemon(daemon.folder, {
        "system": {"id": "host-d"}, "sync": {"enabled": False},
        "paths": {"state_dir": str(daemon.state)}}, name="e")
    quickly_refused(second, 75, str(daemon.state), "in use by process")
    daemon.run("enqueue", "t", "1", "{}")
    assert all(alive(w["pid"]) and not w["restarts"]
               for w in daemon.workers())
    assert queue(daemon) == [("t", "1")]


def test_a_second_daemon_on_the_same_runtime(daemon):
    daemon.start()
    result = tidemilld("-f", "-c", daemon.config_path)
    assert result.returncode == 75
    assert f"pid {daemon.pid}" in result.stderr
    assert "paths.runtime_dir" in result.stderr
    assert daemon.json("status")["pid"] == daemon.pid


def test_a_store_socket_that_nobody_answers(daemon):
    """A dead daemon's sockets, and its lock file, are no obstacle."""
    daemon.start()
    daemon.kill()
    assert (daemon.runtime / "store.sock").exists()
    started = time.monotonic()
    daemon.run("enqueue", "t", "1", "{}")
    assert time.monotonic() - started < 20
    assert "not running" in refused(daemon, "generate", "--output",
                                    daemon.folder / "out", contract(),
                                    status=69)
    daemon.start()
    daemon.run("sync", "drain")


# --- configurations ---

BAD_CONFIGS = {
    "a word": ("hello", ":1:1: ", "map of sections"),
    "a list": ("- 1\n", ":1:1: ", "map of sections"),
    "tabs": ("\tsync: 1\n", ":1:1: ", "spaces"),
    "a cycle": ("sync: &a {x: *a}\n", ":1:14: ", "contain itself"),
    "laughs": ("\n".join(
        ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]"
           for i in range(1, 10)]), ":6:", "aliases"),
    "depth": ("{a: " * 60000, ":1:65: ", "deep"),
    "bytes": (b"\x7fELF\x02\x01\x01\0\0\0", ":1:", "text file"),
    "utf-16": ("sync: {}\n".encode("utf-16"), ":1:", "UTF-"),
    "huge": (b"sync: {}\n" + b"# x\n" * 500000, "", "smaller"),
    "twice": ("sync: {}\nsync: {}\n", ":2:1: ", "line 1"),
    "two documents": ("sync: {}\n---\nsync: {}\n", ":2:1: ", "one"),
    "unknown": ("snyc: {}\n", ":1:1: ", "sync"),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_bad_configurations(daemon, name):
    content, place, word = BAD_CONFIGS[name]
    if isinstance(content, str):
        content = content.encode()
    daemon.configure({"sync": {"enabled": False}})
    daemon.start()
    before = {w["pid"] for w in daemon.workers()}
    daemon.config_path.write_bytes(content)
    started = time.monotonic()
    result = tidemilld("-t", "-c", daemon.config_path)
    assert time.monotonic() - started < 20
    assert result.returncode == 78
    assert f"{daemon.config_path}{place}" in result.stderr
    assert word in result.stderr
    assert len(result.stderr) < 4000
    bad = daemon.config_path.rename(daemon.folder / "bad.yaml")
    daemon.configure({})
    good = daemon.config_path.read_bytes()
    # The commands find their daemon, then the file turns bad.
    daemon.config_path.write_bytes(bad.read_bytes())
    daemon.signal(1)
    wait_for(lambda: "is refused" in daemon.log_text(), 5, "the refusal")
    daemon.config_path.write_bytes(good)
    status = daemon.json("status")
    assert status["configuration"]["reload_failed"]
    assert {w["pid"] for w in status["workers"]} == before
    text = daemon.run("status").stdout
    assert word in text and "runs on" in text
    daemon.run("reload")
    assert not daemon.json("status")["configuration"]["reload_failed"]


def test_configurations_that_cannot_be_read(daemon):
    for path in (daemon.folder, "/dev/zero", daemon.folder / "none"):
        result = tidemilld("-t", "-c", path)
        assert result.returncode == 78
        assert str(path) in result.stderr


def test_a_file_that_lost_its_content(daemon):
    """An emptied file (a full disk, a broken copy) is no wish for defaults:
    it would take the host to another centre.  Comments alone are one."""
    daemon.configure({"sync": {"enabled": False}})
    daemon.start()
    good = daemon.config_path.read_bytes()
    for content in (b"", b"\n \n"):
        daemon.config_path.write_bytes(content)
        result = tidemilld("-t", "-c", daemon.config_path)
        assert result.returncode == 78
        assert "empty" in result.stderr and "#" in result.stderr
    daemon.signal(1)
    wait_for(lambda: "is refused" in daemon.log_text(), 5, "the refusal")
    daemon.config_path.write_bytes(b"# all defaults\n")
    assert tidemilld("-t", "-c", daemon.config_path).returncode == 0
    daemon.config_path.write_bytes(good)
    assert daemon.json("sync", "status")["state"] == "disabled"
