# SPDX-License-Identifier: Apache-2.0
"""The master's life: start, stop, reload, signals, the death of anyone."""
import os
import pathlib
import signal
import socket
import stat
import subprocess
import time

import pytest

from harness import alive, binaries, sanitized, wait_for


def title(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().rstrip(b"\0").decode()
    except OSError:
        return ""


def workers(daemon_pid):
    """Title without its state ("sync[0]") to pid, of living workers."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = pathlib.Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        fields = text.rsplit(")", 1)[1].split()
        if int(fields[1]) == daemon_pid and fields[0] not in "ZX":
            words = title(entry).split()
            if len(words) > 2 and words[0] == "tidemilld:":
                found[words[1]] = int(entry)
    return found


ROLES = {"store", "gateway", "monitor", "generation[0]", "generation[1]",
         "sync[0]", "sync[1]"}


def tidemilld(*args, **kwargs):
    return subprocess.run([binaries() / "tidemilld", *map(str, args)],
                          capture_output=True, text=True, timeout=60,
                          **kwargs)


def wait_exit(pid, timeout=30):
    wait_for(lambda: not alive(pid), timeout, f"{pid} to leave")


@pytest.fixture
def background(daemon):
    """Starts and stops in daemon mode; gives the result and the pid."""
    pids = []

    def start(*args):
        result = tidemilld("-c", daemon.config_path, *args)
        if daemon.pidfile.exists():
            pids.append(int(daemon.pidfile.read_text()))
        return result

    yield start
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
            wait_exit(pid)


def test_processes_and_titles(daemon):
    daemon.start()
    wait_for(lambda: set(workers(daemon.pid)) == ROLES, what="all workers")
    wait_for(lambda: title(daemon.pid) == "tidemilld: master [config 1]",
             what="the title")
    assert int(daemon.pidfile.read_text()) == daemon.pid
    mode = stat.S_IMODE(daemon.control_socket.stat().st_mode)
    assert mode == 0o660
    for pid in workers(daemon.pid).values():
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status


def test_term_stops_gracefully(daemon):
    daemon.start()
    children = daemon.descendants()
    assert daemon.stop() == 0
    assert not daemon.pidfile.exists()
    assert not daemon.control_socket.exists()
    assert not (daemon.runtime / "store.sock").exists()
    assert not any(map(alive, children))


def test_second_term_is_immediate(daemon):
    daemon.start()
    daemon.signal(signal.SIGTERM)
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(5) == 0


def test_interrupt(daemon):
    daemon.start()
    daemon.signal(signal.SIGINT)
    assert daemon.process.wait(5) == 0
    assert not daemon.pidfile.exists()


def test_daemon_mode(daemon, background):
    result = background()
    assert result.returncode == 0, result.stderr
    assert result.stdout == result.stderr == ""
    pid = int(daemon.pidfile.read_text())
    assert set(workers(pid)) == ROLES  # all are there when it returns
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert (daemon.logs / "tidemill.log").exists()

    again = tidemilld("-c", daemon.config_path)
    assert again.returncode == 75
    assert f"pid {pid}" in again.stderr
    assert workers(pid)

    os.kill(pid, signal.SIGTERM)
    wait_exit(pid)
    assert not daemon.pidfile.exists()


def test_failed_start_is_told(daemon, folder):
    (folder / "file").write_text("")
    daemon.configure({"paths": {"state_dir": str(folder / "file" / "state")}})
    result = tidemilld("-c", daemon.config_path)
    assert result.returncode == 73
    assert "paths.state_dir" in result.stderr
    assert not daemon.control_socket.exists()


def test_something_in_the_way_of_a_socket(daemon):
    daemon.control_socket.write_text("precious")
    result = tidemilld("-f", "-c", daemon.config_path)
    assert result.returncode == 73
    assert "control.sock" in result.stderr
    assert daemon.control_socket.read_text() == "precious"
    assert not daemon.pidfile.exists()


def test_usage_and_configuration_codes(daemon, folder):
    assert tidemilld("-x").returncode == 64
    assert tidemilld("word").returncode == 64
    assert tidemilld("-V").stdout.startswith("tidemilld ")
    assert tidemilld("-h").returncode == 0
    assert tidemilld("-t", "-c", daemon.config_path).returncode == 0
    assert tidemilld("-t", "-c", folder / "none.yaml").returncode == 78
    dump = tidemilld("-T", "-c", daemon.config_path, "-o",
                     "sync.max_workers=3")
    assert dump.returncode == 0
    assert "max_workers: 3  # command line" in dump.stdout
    bad = folder / "bad.yaml"
    bad.write_text("sync:\n  max_worker: 3\n  max_retries: many\n")
    result = tidemilld("-t", "-c", bad)
    assert result.returncode == 78
    assert f"{bad}:2:" in result.stderr and f"{bad}:3:" in result.stderr
    assert tidemilld("-c", bad).returncode == 78


def test_relative_paths_and_missing_folders(folder):
    (folder / "c.yaml").write_text(
        f"paths: {{state_dir: {folder}/a/s, runtime_dir: {folder}/a/r, "
        f"log_dir: {folder}/a/l}}\n")
    result = tidemilld("-c", "c.yaml", "-p", "x.pid", cwd=folder)
    assert result.returncode == 0, result.stderr
    pid = int((folder / "x.pid").read_text())
    try:
        os.kill(pid, signal.SIGHUP)  # reads c.yaml again, from /
        wait_for(lambda: title(pid) == "tidemilld: master [config 2]")
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_exit(pid)
    assert not (folder / "x.pid").exists()


def test_killed_workers_have_successors(daemon):
    daemon.start()
    took = {}
    for name, old in workers(daemon.pid).items():
        start = time.monotonic()
        os.kill(old, signal.SIGKILL)
        wait_for(lambda n=name, o=old: workers(daemon.pid).get(n, o) != o,
                 what=f"a successor of {name}", step=0.0005)
        took[name] = (time.monotonic() - start) * 1000
    print({name: f"{ms:.1f} ms" for name, ms in took.items()})
    # a loaded machine, or sanitizers, may hold one of them up
    assert sorted(took.values())[len(took) // 2] < 100 * (1 + 9 * sanitized())
    assert daemon.stop() == 0


def test_no_orphans(daemon):
    daemon.start()
    children = daemon.descendants()
    assert len(children) >= len(ROLES)
    daemon.process.kill()
    daemon.process.wait(5)
    wait_for(lambda: not any(map(alive, children)), 2, "orphans to leave")
    # what the dead one left is no obstacle
    assert daemon.pidfile.exists() and daemon.control_socket.exists()
    daemon.start()
    assert int(daemon.pidfile.read_text()) == daemon.pid
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.control_socket))
    assert daemon.stop() == 0


def test_reload(daemon):
    daemon.start()
    before = workers(daemon.pid)
    daemon.configure({"sync": {"max_workers": 1, "max_retries": 9},
                      "generation": {"max_workers": 3}})
    daemon.signal(signal.SIGHUP)
    want = ROLES - {"sync[1]"} | {"generation[2]"}

    def replaced():
        now = workers(daemon.pid)
        return now if set(now) == want and \
            now["sync[0]"] != before["sync[0]"] else None
    after = wait_for(replaced, what="the new pools")
    for name in ("store", "gateway", "monitor", "generation[0]"):
        assert after[name] == before[name], f"{name} was not concerned"
    assert title(daemon.pid) == "tidemilld: master [config 2]"

    good = daemon.config_path.read_text()
    daemon.config_path.write_text("sync: {max_worker: 2}\n")
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: "max_workers" in daemon.log_text().rpartition(
        "refused")[2], what="the refusal in the log")
    assert workers(daemon.pid) == after
    assert title(daemon.pid) == "tidemilld: master [config 2]"
    daemon.config_path.write_text(good)
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: title(daemon.pid) == "tidemilld: master [config 3]")
    assert workers(daemon.pid) == after
    assert daemon.stop() == 0


def test_reload_of_everything_leaves_nothing_behind(daemon):
    daemon.start()
    wait_for(lambda: set(workers(daemon.pid)) == ROLES)
    descriptors = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    for round in range(1, 11):
        daemon.configure(
            {"logging": {"format": "text" if round % 2 else "json"}})
        before = workers(daemon.pid)
        daemon.signal(signal.SIGHUP)
        wait_for(lambda: set(workers(daemon.pid)) == ROLES and not
                 set(workers(daemon.pid).values()) & set(before.values()),
                 20, what=f"all successors of round {round}")
    wait_for(lambda: len(daemon.descendants()) == len(ROLES))
    assert len(os.listdir(f"/proc/{daemon.pid}/fd")) == descriptors
    assert daemon.stop() == 0


def test_logs_are_reopened(daemon, background):
    assert background().returncode == 0
    pid = int(daemon.pidfile.read_text())
    log = daemon.logs / "tidemill.log"
    moved = daemon.logs / "tidemill.log.1"
    log.rename(moved)
    os.kill(pid, signal.SIGUSR1)
    wait_for(log.exists)

    def holders():
        held = []
        for process in [pid, *workers(pid).values()]:
            for fd in pathlib.Path(f"/proc/{process}/fd").iterdir():
                try:
                    held.append(os.readlink(fd))
                except OSError:
                    pass
        return held

    wait_for(lambda: str(moved) not in holders(),
             what="everyone to let go of the old log")
    os.kill(pid, signal.SIGTERM)
    wait_exit(pid)


def test_service_manager_is_told(daemon, folder):
    abstract = f"\0tm-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(abstract)
        manager.settimeout(10)
        process = subprocess.Popen(
            [binaries() / "tidemilld", "-f", "-c", daemon.config_path],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=dict(os.environ, NOTIFY_SOCKET="@" + abstract[1:]))

        def until(line):
            seen = []
            while line not in seen:
                seen += manager.recv(4096).decode().splitlines()
            return seen

        try:
            assert f"MAINPID={process.pid}" in until("READY=1")
            process.send_signal(signal.SIGHUP)
            seen = until("RELOADING=1")
            usec = [line for line in seen if line.startswith("MONOTONIC_")]
            now = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
            assert 0 <= now - int(usec[0].split("=")[1]) < 10e6
            until("READY=1")
            process.terminate()
            until("STOPPING=1")
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()


def test_journal_prefix(daemon, folder):
    output = folder / "journal"
    with open(output, "wb") as file:
        status = os.fstat(file.fileno())
        process = subprocess.Popen(
            [binaries() / "tidemilld", "-f", "-c", daemon.config_path],
            stdout=file, stderr=file, env=dict(
                os.environ,
                JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}"))
    wait_for(lambda: "is ready" in output.read_text())
    process.terminate()
    assert process.wait(10) == 0
    lines = output.read_text().splitlines()
    assert all(line.startswith(("<3>{", "<4>{", "<5>{", "<6>{"))
               for line in lines)


def test_spawn_numbers_differ_between_lives(daemon):
    def spawns():
        import json
        return {json.loads(line)["spawn"]
                for line in daemon.log_text().splitlines()
                if "worker is ready" in line}

    daemon.start()
    daemon.kill()
    first = spawns()
    daemon.start()
    wait_for(lambda: len(spawns()) == len(first) + len(ROLES),
             what="spawn numbers of the second life, none of the first")
    assert daemon.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another")
def test_becomes_another_user(daemon, folder):
    import pwd
    user = pwd.getpwnam("nobody")
    for path in (daemon.state, daemon.runtime, daemon.logs):
        path.rmdir()
    daemon.configure({"system": {"user": "nobody"}})
    result = tidemilld("-c", daemon.config_path)
    assert result.returncode == 0, result.stderr
    pid = int(daemon.pidfile.read_text())
    try:
        for process in [pid, *workers(pid).values()]:
            status = pathlib.Path(f"/proc/{process}/status").read_text()
            assert f"Uid:\t{user.pw_uid}\t{user.pw_uid}\t{user.pw_uid}" \
                in status
            assert "CapEff:\t0000000000000000" in status
        assert daemon.state.stat().st_uid == user.pw_uid
        assert daemon.control_socket.stat().st_uid == user.pw_uid
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_exit(pid)
    assert not daemon.control_socket.exists()


def test_unknown_user(daemon):
    daemon.configure({"system": {"user": "nobody-of-this-name"}})
    result = tidemilld("-c", daemon.config_path)
    assert result.returncode == 78
    assert "nobody-of-this-name" in result.stderr
