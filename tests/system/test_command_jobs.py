# SPDX-License-Identifier: Apache-2.0
"""Command jobs end whole: whatever a job does, nothing of it is left."""
import contextlib
import json
import os
import sqlite3
import pathlib
import signal
import sys
import tempfile
import uuid

import pytest
from harness import Daemon, wait_for

# Forked twice, in a session of its own, deaf to TERM, holding the pipe open.
ESCAPE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for times in range(2):
    if os.fork():
        if times:
            os._exit(0)
        break
    os.setsid()
print("up", flush=True)
time.sleep(1000)
"""

# 32 processes, all in sessions of their own, of parents that live or die.
BOMB = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for depth in range(5):
    if os.fork() == 0:
        os.setsid()
print("up", flush=True)
time.sleep(1000)
"""


@pytest.fixture(scope="module")
def daemon():
    with tempfile.TemporaryDirectory(prefix="tm-", dir="/tmp") as folder:
        daemon = Daemon(folder, {
            "supervisor": {"kill_grace": "200ms"},
            "generation": {"command": {"open_files": 99, "environment":
                                       "PATH ALLOWED"}}})
        daemon.start(env={"ALLOWED": "by configuration"})
        yield daemon
        daemon.stop()
        daemon.cleanup()


class Marked:
    """A program whose every process is known by its environment."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.mark = f"MARK_{uuid.uuid4().hex}"

    def alive(self):
        found = []
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                environ = pathlib.Path(f"/proc/{entry}/environ")
                if entry.isdigit() and self.mark.encode() in \
                        environ.read_bytes():
                    found.append(int(entry))
        return found

    def start(self, program, *options):
        answer = self.daemon.run(
            "run", "--detach", "--env", f"{self.mark}=1", *options, "--",
            sys.executable, "-S", "-c", program)
        return int(answer.stdout)

    def await_dead(self):
        wait_for(lambda: not self.alive(), what="all of the job to die")


def state(daemon, job):
    return daemon.json("jobs", "show", job)["state"]


def await_state(daemon, job, *states):
    wait_for(lambda: state(daemon, job) in states, what=f"job {job} {states}")


def test_output_and_exit_codes(daemon):
    run = daemon.run("run", "--", "sh", "-c", "echo out; echo err >&2; cat")
    assert run.stdout == "out\nerr\n"
    failed = daemon.run("run", "--", "sh", "-c", "echo no; exit 100",
                        check=False)
    assert failed.returncode == 1
    assert failed.stdout == "no\n"
    assert "exit code 100" in failed.stderr
    missing = daemon.run("run", "--", "/no/such/program", check=False)
    assert "No such file" in missing.stderr


def test_never_a_shell_and_a_clean_environment(daemon, tmp_path):
    run = daemon.run("run", "--directory", tmp_path, "--env", "GIVEN=yes",
                     "--", "env", env={"SECRET": "x", "GIVEN": "no"})
    assert "GIVEN=yes" in run.stdout
    assert "SECRET" not in run.stdout
    assert "TIDEMILL_JOB=" in run.stdout
    assert daemon.run("run", "--", "echo", "$HOME; *").stdout == "$HOME; *\n"
    assert daemon.run("run", "--directory", tmp_path, "--",
                      "pwd").stdout.strip() == str(tmp_path)
    text = tmp_path / "text"
    text.write_text("echo it ran\n")
    text.chmod(0o755)
    run = daemon.run("run", "--", text, check=False)
    assert run.returncode == 1 and "it ran" not in run.stdout


def test_jobs_wait_for_others(daemon, tmp_path):
    def run(*arguments, check=True):
        return daemon.run("run", "--detach", *arguments, check=check)
    log = tmp_path / "log"
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first = int(run("--", "sh", "-c", f"read x < {gate}; echo 1 >> {log}; "
                    "exit $x").stdout)
    second = int(run("--after", first, "--", "sh", "-c",
                     f"echo 2 >> {log}").stdout)
    assert state(daemon, second) == "waiting"
    shown = daemon.json("jobs", "show", second)
    assert [b["id"] for b in shown["before"]] == [first]
    assert f"after          {first}, " in daemon.run("jobs", "show",
                                                     second).stdout
    assert second in [j["id"] for j in daemon.json("jobs", "list", "--state",
                                                   "waiting")]
    running = wait_for(lambda: daemon.json("jobs", "show",
                                           first).get("running"))
    assert running["pid"] in [w["pid"] for w in daemon.workers("generation")]
    assert "running        for " in daemon.run("jobs", "show", first).stdout
    assert [j["running"]["slot"] for j in daemon.json("jobs", "list")
            if j["id"] == first] == [running["slot"]]
    gate.write_text("0\n")
    await_state(daemon, second, "done")
    assert log.read_text() == "1\n2\n"
    failing = int(run("--", "sh", "-c", f"read x < {gate}; exit 100").stdout)
    dependent = int(run("--after", f"{second},{failing}", "--", "true").stdout)
    gate.write_text("x\n")
    await_state(daemon, dependent, "cancelled")
    assert daemon.json("jobs", "show", dependent)["error"] == \
        f"job {failing}, which it waited for, failed"
    late = run("--after", failing, "--", "true", check=False)
    assert late.returncode == 1 and "jobs retry" in late.stderr
    assert run("--after", "99999", "--", "true", check=False).returncode == 1
    assert run("--after", "1,x", "--", "true", check=False).returncode == 64


def test_nothing_waits_behind_a_long_command(daemon, tmp_path):
    """Commands are claimed ahead while they are short; what stands behind one
    that runs for long goes to the other worker."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    workers = [w["pid"] for w in daemon.workers("generation")]
    for pid in workers:  # so that they find a queue
        os.kill(pid, signal.SIGSTOP)
    for _ in range(80):
        daemon.run("run", "--detach", "--", "true")
    long = int(daemon.run("run", "--detach", "--", "sh", "-c",
                          f"read x < {gate}").stdout)
    behind = [int(daemon.run("run", "--detach", "--", "true").stdout)
              for _ in range(20)]
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: {j["state"] for j in daemon.json(
        "jobs", "list", "--limit", 101) if j["id"] != long} == {"done"})
    assert state(daemon, long) == "claimed"
    assert daemon.json("jobs", "show", behind[-1])["attempt"] == 1
    gate.write_text("x\n")
    await_state(daemon, long, "done")


def test_a_key_runs_once(daemon, tmp_path):
    log = tmp_path / "log"
    command = ["run", "--key", f"k-{tmp_path}", "--priority", "high", "--",
               "sh", "-c", f"echo ran | tee -a {log}"]
    for _ in range(3):
        assert daemon.run(*command).stdout == "ran\n"
    assert log.read_text() == "ran\n"
    other = daemon.run(*command[:-1], "echo other", check=False)
    assert other.returncode == 65
    assert "whose specification differs" in other.stderr


def test_limits(daemon):
    show = daemon.run("run", "--limit", "open_files=17", "--limit",
                      "file_bytes=4096", "--limit", "cpu_seconds=9", "--limit",
                      "memory_bytes=1073741824", "--limit", "processes=999",
                      "--", "cat", "/proc/self/limits").stdout
    rows = {line[:25].strip(): line[26:].split()[0]
            for line in show.splitlines()[1:]}
    assert rows["Max open files"] == "17"
    assert rows["Max file size"] == "4096"
    assert rows["Max cpu time"] == "9"
    assert rows["Max address space"] == "1073741824"
    assert rows["Max processes"] == "999"


def test_defaults_of_the_configuration(daemon):
    show = daemon.run("run", "--", "sh", "-c", "ulimit -n; env").stdout
    assert show.startswith("99\n")
    assert "ALLOWED=by configuration\n" in show
    assert "HOME=" not in show


def test_commands_in_contracts(daemon, tmp_path):
    (tmp_path / "work").mkdir()
    contract = tmp_path / "build.yaml"
    contract.write_text("""kind: command
description: what a contract says of a command
argv: [sh, -c, "pwd; echo $GIVEN; ulimit -n; exit 0", 5]
directory: work
environment: {GIVEN: 7}
limits: {open_files: 33}
timeout: 90s
""")
    answer = daemon.json("generate", "--key", tmp_path, contract)
    assert answer["failed"] == 0
    shown = daemon.json("jobs", "show", answer["results"][0]["id"])
    assert shown["output"] == f"{tmp_path}/work\n7\n33\n"
    assert shown["kind"] == "command"
    assert shown["timeout_milliseconds"] == 90000
    again = daemon.json("generate", "--key", tmp_path, contract)
    assert again["results"][0]["id"] == answer["results"][0]["id"]
    assert "command" in daemon.run("generate", "--dry-run", contract).stdout
    contract.write_text("""kind: command
argv: [{a: 1}]
directroy: work
environment: {"A=B": 1, C: [1]}
limits: {cpu: 1, open_files: many}
timeout: soon
""")
    refused = daemon.run("generate", contract, check=False)
    assert refused.returncode == 65
    for error in (":2:8: argv[0]: a map where a text is needed",
                  ":3:1: the key 'directroy' is unknown; did you mean "
                  "'directory'?",
                  ":4:22: environment.A=B: is no name of a variable",
                  "environment.C: a list where a text is needed",
                  "limits.cpu: is unknown",
                  "limits.open_files: write a positive whole number",
                  ":6:10: timeout: write a duration"):
        assert error in refused.stderr
    assert refused.stderr.count("\n") == 8
    contract.write_text("kind: command\n")
    assert "'argv' is missing" in daemon.run("generate", contract,
                                             check=False).stderr


def test_output_is_bounded(daemon):
    run = daemon.run("run", "--", sys.executable, "-S", "-c",
                     "print('first'); print('x' * 1000000); print('last')")
    assert run.stdout.startswith("first\n")
    assert run.stdout.endswith("last\n")
    assert "bytes were not kept" in run.stdout
    assert len(run.stdout) < 70000


def test_temporary_failure_is_tried_again(daemon, tmp_path):
    flag = tmp_path / "flag"
    daemon.run("run", "--", "sh", "-c",
               f"test -e {flag} && exit 0; touch {flag}; exit 111")
    assert flag.exists()


@pytest.mark.parametrize("program", [ESCAPE, BOMB], ids=["escape", "bomb"])
def test_deadline(daemon, program):
    marked = Marked(daemon)
    job = marked.start(program, "--timeout", "1s")
    wait_for(marked.alive)
    await_state(daemon, job, "failed")
    assert marked.alive() == []  # the end is told when nothing is left
    shown = daemon.json("jobs", "show", job)
    assert "not done after" in shown["error"]
    assert shown["result"]["exit_code"] == 124
    assert "up" in daemon.run("jobs", "output", job).stdout


@pytest.mark.parametrize("program", [ESCAPE, BOMB], ids=["escape", "bomb"])
def test_cancel_and_retry(daemon, program):
    marked = Marked(daemon)
    job = marked.start(program)
    wait_for(marked.alive)
    daemon.run("jobs", "cancel", job)
    await_state(daemon, job, "cancelled")
    assert marked.alive() == []
    daemon.run("jobs", "retry", job)
    wait_for(marked.alive)
    daemon.run("jobs", "cancel", job)
    await_state(daemon, job, "cancelled")
    assert daemon.run("jobs", "cancel", job, check=False).returncode == 1


def test_what_a_command_leaves_behind_dies_with_it(daemon):
    marked = Marked(daemon)
    job = marked.start("import os, time\n"
                       "if os.fork() == 0:\n    os.setsid(); time.sleep(1000)\n")
    await_state(daemon, job, "done")
    assert marked.alive() == []


def test_worker_killed(daemon):
    marked = Marked(daemon)
    job = marked.start(BOMB)
    before = wait_for(marked.alive)
    busy = wait_for(lambda: [w["pid"] for w in daemon.workers("generation")
                             if w["state"] == "busy"])
    os.kill(busy[0], signal.SIGKILL)
    wait_for(lambda: not set(before) & set(marked.alive()))
    wait_for(marked.alive, what="the job to run again")
    daemon.run("jobs", "cancel", job)
    await_state(daemon, job, "cancelled")
    marked.await_dead()


# Whoever comes while the first one is there fails.  The first one stops its
# guardian, which is then slow to notice that the worker is dead.
ALONE = """
import fcntl, os, signal, sys, time
file = open(sys.argv[1], "a")
try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(3)
if os.environ["TIDEMILL_ATTEMPT"] == "1":
    os.kill(os.getppid(), signal.SIGSTOP)
    print("up", file=file, flush=True)
    time.sleep(1000)
"""


def test_never_two_of_one_job(daemon, tmp_path):
    path = tmp_path / "alone"
    job = int(daemon.run("run", "--detach", "--", sys.executable, "-S", "-c",
                         ALONE, path).stdout)
    wait_for(lambda: path.exists() and path.read_text())
    busy = [w["pid"] for w in daemon.workers("generation")
            if w["state"] == "busy"]
    os.kill(busy[0], signal.SIGKILL)
    await_state(daemon, job, "done", "failed")
    assert state(daemon, job) == "done"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_guardian_attacked(daemon, number):
    """A job of the same user may send its guardian what it likes."""
    marked = Marked(daemon)
    attack = ("time.sleep(0.1)\n"
              "try:\n"
              f"    os.kill(guardian, {int(number)})\n"
              "except ProcessLookupError:\n"
              "    pass\n"
              "time.sleep")
    program = ("import os\nguardian = os.getppid()\n" +
               ESCAPE.replace("time.sleep", attack))
    job = marked.start(program, "--timeout", "1s")
    await_state(daemon, job, "failed")
    assert marked.alive() == []


def test_specifications_of_others(folder):
    """What comes from elsewhere (the central queue takes any object) costs
    its job, never a worker."""
    daemon = Daemon(folder)
    daemon.run("migrate")
    bad = [{"argv": ["true"], "directory": "/", "environment": {"A": 5}},
           {"argv": ["true"], "directory": "/", "environment": {"A": None}},
           {"argv": ["true"], "directory": "/", "environment": ["A"]},
           {"argv": [1], "directory": "/"}, {"argv": [], "directory": "/"}]
    odd = {"argv": ["true"], "directory": "/",
           "limits": {"cpu_seconds": {"x": 1}, "open_files": None}}
    with contextlib.closing(sqlite3.connect(daemon.store_path)) as db, db:
        db.executemany(
            "INSERT INTO generation_jobs (kind, priority, created_ms, spec) "
            "VALUES ('command', 2, 1, ?)",
            [(json.dumps(spec),) for spec in (*bad, odd)])
    daemon.start()
    try:
        for number in range(1, len(bad) + 1):
            await_state(daemon, number, "failed")
            error = daemon.json("jobs", "show", number)["error"]
            assert "specification" in error
        await_state(daemon, len(bad) + 1, "done")
        assert all(w["restarts"] == 0 for w in daemon.workers())
    finally:
        daemon.stop()
        daemon.cleanup()


def test_daemon_killed(folder):
    daemon = Daemon(folder, {"supervisor": {"kill_grace": "200ms"}})
    daemon.start()
    marked = Marked(daemon)
    job = marked.start(ESCAPE)
    wait_for(marked.alive)
    daemon.kill()
    marked.await_dead()
    assert job == 1
    daemon.cleanup()
