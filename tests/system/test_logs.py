# SPDX-License-Identifier: Apache-2.0
"""The log of a running daemon: rotation, logrotate, losses, levels."""
import collections
import contextlib
import gzip
import json
import os
import pathlib
import random
import signal
import subprocess

import pytest

from harness import SOURCE, DetachedDaemon, wait_for


@pytest.fixture
def detached(folder):
    daemon = DetachedDaemon(folder)
    yield daemon
    daemon.cleanup()


def files(daemon):
    """All log files, the present one last."""
    return [path for path in sorted(daemon.logs.glob("tidemill.log-*"))
            if path.suffix != ".part"] + [daemon.log]


def lines(daemon):
    """Every line of every file; each must be a whole one."""
    found = []
    for path in files(daemon):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt") as file:
            found += [json.loads(line) for line in file]
    return found


def holders(pid, path):
    """Descriptors of a process that are this path."""
    found = []
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(fd))
        except OSError:
            pass
    return [f for f in found if f == str(path)]


def busy(daemon, rounds):
    """Commands that several processes log about; how many lines of one kind
    there must be."""
    for _ in range(rounds):
        daemon.run("sync", "pause")
        daemon.run("sync", "resume")
    return 2 * rounds


def commands(daemon):
    return sum(line["message"] == "operator's command"
               for line in lines(daemon))


def test_rotation_and_compression(detached):
    detached.configure({"logging": {
        "level": "debug",
        "rotation": {"max_bytes": 3000, "backup_count": 1000}}})
    detached.start()
    # fewer than ten of one message: none is left out as a repeat
    expected = busy(detached, 4)
    wait_for(lambda: list(detached.logs.glob("*.gz")), what="compression")
    # idle processes let go of what was rotated, so all of it is compressed
    wait_for(lambda: not [f for f in files(detached)[:-1]
                          if f.suffix != ".gz"], what="all of it compressed")
    assert commands(detached) == expected
    metrics = detached.json("metrics")
    assert metrics["tidemill_log_rotations_total"] > 2
    assert metrics["tidemill_log_lines_lost_total"] == 0

    # bounds change without a restart
    detached.configure({"logging": {"rotation": {"backup_count": 2}}})
    detached.run("reload")
    wait_for(lambda: len(files(detached)) <= 3, what="the oldest to go")
    assert detached.stop() == 0


def test_what_a_killed_helper_left_is_taken_up(detached):
    old = detached.logs / "tidemill.log-20260101T000000.000Z"
    old.write_text('{"message":"old"}\n')
    part = old.with_name(old.name + ".gz.part")
    part.write_bytes(b"\x1f\x8b")
    detached.start()
    wait_for(lambda: old.with_name(old.name + ".gz").exists(),
             what="compression at the start")
    assert not part.exists() and not old.exists()
    assert lines(detached)[0]["message"] == "old"
    assert detached.stop() == 0


@pytest.mark.parametrize("how", ["create", "nocreate", "copytruncate"])
def test_logrotate(detached, how, folder):
    detached.start()
    script = "" if how == "copytruncate" else f"""
        postrotate
            kill -USR1 $(cat {detached.pidfile})
        endscript"""
    config = folder / "logrotate.conf"
    config.write_text(f"""{detached.log} {{
        rotate 30
        missingok
        notifempty
        {how}{" 0640" if how == "create" else ""}
        {script}
    }}\n""")
    os.chmod(config, 0o644)
    pids = [detached.pid, *detached.descendants()]
    for round in range(1, 4):
        detached.run("sync", "pause")
        done = subprocess.run(
            ["/usr/sbin/logrotate", "-f", "-s", folder / "state", config],
            capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        moved = detached.logs / f"tidemill.log.{round}"
        assert moved.exists()
        wait_for(detached.log.exists, what="a new log")
        wait_for(lambda: not any(
            holders(pid, detached.logs / "tidemill.log.1") for pid in pids),
            what="everybody to let go of the old log")
        detached.run("sync", "resume")
        wait_for(lambda: "sync-resume" in detached.log.read_text(),
                 what="lines in the new log")
    text = "".join(path.read_text() for path in
                   detached.logs.glob("tidemill.log*"))
    logged = [json.loads(line) for line in text.splitlines()]
    told = collections.Counter(line.get("command") for line in logged)
    assert told["sync-pause"] == told["sync-resume"] == 3
    assert not list(detached.logs.glob("*.backup"))
    assert detached.stop() == 0


def test_the_logrotate_file_that_is_shipped(detached, folder):
    """As it is, but for its places and its user."""
    detached.configure({"logging": {"level": "debug"}})
    detached.start()
    owner = detached.log.owner(), detached.log.group()
    config = folder / "logrotate.conf"
    config.write_text((SOURCE / "conf/tidemill.logrotate").read_text()
                      .replace("/var/log/tidemill", str(detached.logs))
                      .replace("/run/tidemill", str(detached.runtime))
                      .replace("su tidemill tidemill", "su %s %s" % owner))
    os.chmod(config, 0o644)
    for name in ("one", "two", "three"):
        detached.run("sync", "pause",
                     env={"TIDEMILL_CORRELATION_ID": name})
        before = detached.log.stat().st_ino
        done = subprocess.run(
            ["/usr/sbin/logrotate", "-f", "-s", folder / "state", config],
            capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr
        wait_for(lambda: detached.log.exists() and
                 detached.log.stat().st_ino != before, what="a new log")
    assert (detached.logs / "tidemill.log.1").exists()
    assert (detached.logs / "tidemill.log.2.gz").exists()
    text = "".join(
        gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz"
        else path.read_text() for path in detached.logs.glob("tidemill.log*"))
    for name in ("one", "two", "three"):
        assert [line["command"] for line in map(json.loads, text.splitlines())
                if line.get("correlation_id") == name and
                line["component"] == "gateway"] == ["sync-pause"]
    assert detached.stop() == 0


def test_reopening_is_answered(detached):
    detached.start()
    moved = detached.logs / "moved"
    detached.log.rename(moved)
    detached.run("reopen-logs")
    assert detached.log.exists()  # when it returns
    size = moved.stat().st_size
    detached.run("sync", "pause")
    assert moved.stat().st_size == size
    # no way to open it: the old one goes on
    aside = detached.logs.with_name("aside")
    detached.logs.rename(aside)
    done = detached.run("reopen-logs", check=False)
    assert done.returncode == 73 and "log file" in done.stderr
    detached.run("sync", "resume")
    assert "sync-resume" in (aside / "tidemill.log").read_text()
    aside.rename(detached.logs)
    assert detached.stop() == 0


def test_reopening_what_goes_to_standard_error(daemon):
    daemon.start()
    daemon.run("reopen-logs")


def levels(daemon):
    return {row["component"]: row["level"]
            for row in daemon.json("log-level")["components"]}


def test_levels_change_at_once_and_go_back_with_a_reload(detached):
    detached.configure({"logging": {"level": "warning",
                                    "levels": {"gateway": "notice"}}})
    detached.start()
    configured = {"master": "warning", "store": "warning",
                  "gateway": "notice", "monitor": "warning",
                  "generation": "warning", "sync": "warning"}
    assert levels(detached) == configured
    before = detached.workers()
    detached.run("log-level", "master", "debug")
    assert levels(detached) == {**configured, "master": "debug"}
    detached.run("sync", "pause")
    wait_for(lambda: [line for line in lines(detached)
                      if line["component"] == "master" and
                      line["message"] == "an operator asks"],
             what="the master to say more")
    assert "tidemilld is ready" not in detached.log.read_text()

    detached.run("log-level", "all", "error")
    assert set(levels(detached).values()) == {"error"}
    detached.run("log-level", "sync", "default")
    assert levels(detached)["sync"] == "warning"
    detached.run("log-level", "all", "info")
    detached.run("reload")
    assert levels(detached) == configured
    assert [w["pid"] for w in detached.workers()] == \
        [w["pid"] for w in before]

    for args, words in ((("nobody", "debug"), "no such component"),
                        (("all", "loud"), "no such level"),
                        (("sync",), "usage")):
        done = detached.run("log-level", *args, check=False)
        assert done.returncode == 64
        assert words in done.stderr
    assert detached.stop() == 0


@pytest.fixture
def small_disk(detached):
    """The log's directory is a file system of 64 kB."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs",
                           detached.logs], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no tmpfs: {done.stderr.strip()}")
    yield detached.logs
    detached.cleanup()
    subprocess.run(["umount", detached.logs], check=True)


def test_a_full_disk_costs_counted_lines_only(detached, small_disk):
    def lost():
        return detached.json("metrics")["tidemill_log_lines_lost_total"]

    detached.configure({"logging": {"rotation": {"max_bytes": 20000}}})
    detached.start()
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 1000)
        except OSError:
            pass
    # what a page has left is used up first
    wait_for(lambda: detached.run("sync", "pause") and
             detached.run("sync", "resume") and lost() > 0,
             what="lines to be lost")
    detached.run("enqueue", "t", "r1", '{"a": 1}')  # work goes on
    before = lost()
    assert not [w for w in detached.workers() if w["restarts"]]

    filler.unlink()

    def recovered():
        detached.run("sync", "pause")
        return "log lines were lost before" in detached.log.read_text()

    wait_for(recovered, what="the log to go on")
    assert lost() >= before
    # nothing that was written after the tear is glued to it
    torn = 0
    for line in detached.log.read_text().splitlines():
        try:
            json.loads(line)
        except ValueError:
            torn += 1
    assert torn <= len(detached.workers()) + 1
    told = [json.loads(line)["lost"]
            for line in detached.log.read_text().splitlines()
            if "log lines were lost before" in line]
    assert told and all(number > 0 for number in told)
    assert detached.stop() == 0


SECRETS = ("geheim-1234", "geheim-5678", "geheim-9012")


def test_secrets_stay_out_of_the_log(detached, folder):
    password = folder / "password"
    password.write_text(SECRETS[1] + "\n")
    os.chmod(password, 0o600)
    detached.configure({
        "logging": {"level": "debug"},
        "sync": {"sink": "pgsql"},
        "database": {
            "conninfo": f"postgresql://me:{SECRETS[0]}@127.0.0.1:1/none",
            "password_file": str(password)}})
    detached.start(env={"TIDEMILL_TEST_TOKEN": SECRETS[2]})
    # an operator's own words, with a secret in them
    detached.run("log-level", "all", f"{SECRETS[0]}", check=False)
    detached.run("enqueue", "t", SECRETS[1], "{}")
    wait_for(lambda: detached.json("sync", "status")["last_error"],
             what="a failed attempt")
    # a reload that is refused, one that changes the string
    good = detached.config_path.read_text()
    detached.config_path.write_text(good.replace(
        '"sink": "pgsql"', f'"sink": "password={SECRETS[2]}"'))
    assert detached.run("reload", check=False).returncode == 78
    detached.config_path.write_text(good)
    detached.configure({"database": {
        "conninfo": f"host=127.0.0.1 port=1 password='{SECRETS[2]}'"}})
    detached.run("reload")
    detached.run("sync", "now", check=False)
    assert detached.stop() == 0
    text = detached.log.read_text()
    for secret in SECRETS:
        assert secret not in text
    assert "refused" in text and "***" in text


def by_id(daemon, correlation):
    """(component, message) of the lines with this correlation id."""
    return {(line["component"], line["message"]) for line in lines(daemon)
            if line.get("correlation_id") == correlation}


def test_a_command_is_followed_to_the_centre(detached, folder):
    detached.configure({"logging": {"level": "debug"}})
    detached.start()
    contract = sorted((SOURCE / "tests/fixtures/contracts").glob("*.yaml"))[0]
    detached.run("generate", "--output", folder / "out", contract,
                 env={"TIDEMILL_CORRELATION_ID": "order-66"})
    wait_for(lambda: ("generation", "job done") in by_id(detached, "order-66"),
             what="the job's line")
    detached.run("sync", "now", env={"TIDEMILL_CORRELATION_ID": "carry:1"})
    wait_for(lambda: by_id(detached, "carry:1") >= {
        ("gateway", "operator's command"), ("master", "an operator asks"),
        ("sync", "batch applied")}, what="the lines of the pass")
    batches = [line for line in lines(detached)
               if line["message"] == "batch applied"]
    with detached.centre() as centre:
        ledger = {tuple(row) for row in centre.execute(
            "SELECT epoch, batch_id FROM ledger")}
        data = [json.loads(row[0]) for row in centre.execute(
            "SELECT data FROM synced_records"
            " WHERE table_name = 'generation_jobs'")]
    assert {(b["epoch"], b["batch_id"]) for b in batches} <= ledger
    assert [d["correlation_id"] for d in data] == ["order-66"]
    # one that is made up, and one that is none
    detached.run("sync", "pause", env={"TIDEMILL_CORRELATION_ID": "a b\n"})
    made = {line["correlation_id"] for line in lines(detached)
            if line.get("command") == "sync-pause"}
    assert made and all(len(m) == 16 for m in made)
    # what nobody asked for has the batch's own
    detached.run("sync", "resume")
    detached.run("enqueue", "--priority", "urgent", "t", "r", "{}")
    wait_for(lambda: [line for line in lines(detached)
                      if str(line.get("correlation_id")).startswith("batch-")],
             what="a batch by itself")
    assert detached.stop() == 0


def test_rotations_under_kills_lose_no_line(detached):
    """What a command was answered about is in the log, whoever is killed
    meanwhile: workers, and the helper that compresses."""
    chance = random.Random(11)
    detached.configure({
        "supervisor": {"crash_limit": 1000},
        "logging": {"level": "info", "rotation": {
            "max_bytes": 1500, "backup_count": 10000}}})
    detached.start()
    ways = [(c, l) for c in ("store", "monitor", "generation", "sync")
            for l in ("error", "warning", "notice", "info", "default")]
    for number in range(3 * len(ways)):
        detached.run("log-level", *ways[number % len(ways)],
                     env={"TIDEMILL_CORRELATION_ID": f"n{number}"})
        if number % 4 == 0:
            pids = detached.descendants()
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(pids), signal.SIGKILL)
    assert detached.stop() == 0
    found = collections.Counter()
    whole = []
    for path in files(detached):
        text = path.read_bytes()
        if text[:2] == b"\x1f\x8b":  # perhaps not by its name yet
            text = gzip.decompress(text)
        whole += text.decode().splitlines()
    torn = 0
    for text in whole:
        try:
            line = json.loads(text)
        except ValueError:
            torn += 1  # of one that was killed
            continue
        if line["message"] == "log level changed":
            found[line.get("correlation_id")] += 1
    lost = [n for n in range(3 * len(ways)) if not found[f"n{n}"]]
    assert not lost
    assert torn <= 3
    assert len(set(whole)) == len(whole)
    assert len(files(detached)) > 10
