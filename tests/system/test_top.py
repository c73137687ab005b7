# SPDX-License-Identifier: Apache-2.0
"""tidemill top, on a terminal and off it."""
import contextlib
import os
import re
import signal

import pytest

from harness import PATIENCE, binaries, wait_for
from terminal import Terminal


@contextlib.contextmanager
def top(daemon, *args, **terminal):
    """The command on a terminal; a look every 100 ms."""
    opened = Terminal([binaries() / "tidemill", "-c", daemon.config_path,
                       "top", "--interval", "100ms", *args], **terminal)
    try:
        yield opened
    finally:
        opened.close()


def workers_shown(screen):
    """First words of the table's rows."""
    lines = screen.splitlines()
    head = next(i for i, line in enumerate(lines) if "WORKER" in line)
    return [line.split()[0] for line in lines[head + 1:]
            if line.strip() and "q leave" not in line]


def names(daemon):
    """What the table must show."""
    return ["master"] + [
        f"{w['role']}[{w['slot']}]" if w["role"] in ("generation", "sync")
        else w["role"] for w in daemon.workers()]


@pytest.mark.slow
def test_on_80_columns(daemon):
    daemon.run("sync", "pause")
    daemon.start()
    for n, priority in enumerate(("urgent", "high", "low", "low")):
        daemon.run("enqueue", "t", str(n), "{}", "--priority", priority)
    with top(daemon) as terminal:
        text = terminal.shows("sync[0]", "accepted 0")
        lines = text.splitlines()
        assert workers_shown(text) == names(daemon)
        assert "tidemilld 0.1" in lines[0] and lines[0].endswith(" UTC")
        assert "sync     paused" in text
        assert "4 pending: 1 urgent, 1 high, 0 normal, 2 low" in text
        assert re.search(r"generation \d+: .*\d idle; sync \d+: \d", text)
        assert "q leave  h help" in lines[23]
        master = next(line for line in lines
                      if line.startswith("master")).split()
        assert master[1] == str(daemon.pid) and master[-1] == "MB"
        daemon.run("enqueue", "t", "9", "{}")
        terminal.shows("5 pending", none=["commit -"])
        terminal.type("q")
        assert terminal.wait() == 0
        terminal.assert_restored()


@pytest.mark.slow
def test_keys(daemon):
    daemon.start()
    with top(daemon) as terminal:
        terminal.shows("sync[0]")
        terminal.type("/sync\r")
        text = terminal.shows("filter: sync", none=["generation[0]"])
        assert workers_shown(text) == [n for n in names(daemon)
                                       if "sync" in n]
        terminal.type("\x1b")
        terminal.shows("generation[0]", none=["filter: "])
        terminal.type("/gat")
        terminal.shows("show only: gat_", none=["master"])
        terminal.type("\x7f\x7f\x7f\x7f\x1b")
        terminal.shows("master", "by worker")
        terminal.type("r")
        text = terminal.shows("by worker, turned")
        assert workers_shown(text) == names(daemon)[::-1]
        terminal.type("m")
        text = terminal.shows("by memory", none=["turned"])
        sizes = [float(line.split()[-2]) for line in text.splitlines()
                 if line.endswith(" MB")]
        assert len(sizes) > 5 and sizes == sorted(sizes, reverse=True)
        terminal.type("+")
        terminal.shows("every 0.2 s")
        terminal.type("-")
        terminal.shows("every 0.1 s")
        terminal.type("-")
        terminal.type("h")
        terminal.shows("order by CPU", none=["master"])
        terminal.type("?")
        terminal.shows("master", "every 0.1 s", none=["order by"])
        terminal.type("q")
        assert terminal.wait() == 0


def test_small_screens_and_changes_of_size(daemon):
    """The screen of the test refuses what is written beside it."""
    daemon.start()
    with top(daemon, columns=1, rows=1) as terminal:
        terminal.shows("q")
        for columns, rows in ((10, 2), (20, 3), (30, 5), (79, 8)):
            terminal.size(columns, rows)
            terminal.shows("tidemilld", "q leave  h help"[:columns])
        count = len(names(daemon))
        terminal.size(80, 15)
        terminal.shows(f"1 to 5 of {count}", "master", none=["sync["])
        terminal.type("\x1b[B")
        terminal.shows(f"2 to 6 of {count}", "store", none=["master"])
        terminal.type("\x1b[F")
        terminal.shows(f"{count - 4} to {count} of {count}", "sync[")
        terminal.type("\x1bOA")
        terminal.shows(f"{count - 5} to {count - 1} of {count}")
        terminal.type("\x1b[1;5Q")  # a key that nobody knows
        terminal.type("\x1b[5~\x1b[5~\x1b[5~")
        terminal.shows(f"1 to 5 of {count}", "master")
        terminal.type("\x1b[6~")
        terminal.shows(f"of {count}", none=["master", " 1 to 5"])
        terminal.type("\x1b[H")
        terminal.shows(f"1 to 5 of {count}", "master")
        terminal.size(300, 100)
        terminal.shows("sync[0]", none=[f"of {count}"])
        terminal.type("q")
        assert terminal.wait() == 0
        terminal.assert_restored()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP,
                                 signal.SIGINT, signal.SIGSEGV])
def test_the_terminal_is_given_back(daemon, end):
    with top(daemon) as terminal:
        terminal.shows("is not running", "q leave")
        if end == signal.SIGINT:
            terminal.type("\x03")
        else:
            os.kill(terminal.process.pid, end)
        terminal.strict = end != signal.SIGSEGV  # a sanitizer has its words
        assert terminal.wait() != 0
        if terminal.strict:
            assert terminal.process.returncode == -end
            terminal.assert_restored()
        elif terminal.process.returncode == -end:
            terminal.assert_restored()


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def test_stopped_and_continued(daemon):
    with top(daemon) as terminal:
        terminal.shows("is not running", "q leave")
        os.kill(terminal.process.pid, signal.SIGTSTP)
        wait_for(lambda: state_of(terminal.process.pid) == "T")
        terminal.read()
        terminal.assert_restored()
        os.kill(terminal.process.pid, signal.SIGCONT)
        wait_for(lambda: terminal.read() or terminal.screen.modes[b"1049"])
        terminal.shows("is not running", "q leave")
        terminal.type("q")
        assert terminal.wait() == 0
        terminal.assert_restored()


def test_the_window_is_closed(daemon):
    with top(daemon) as terminal:
        terminal.shows("q leave")
        terminal.hang_up()
        terminal.process.wait(PATIENCE)


def test_the_daemon_goes_and_comes(daemon):
    daemon.run("enqueue", "t", "1", "{}")
    with top(daemon) as terminal:
        terminal.shows("the daemon is not running", "1 pending")
        daemon.start()
        terminal.shows("master", "sync[0]", "epoch 1",
                       none=["is not running"])
        daemon.run("reload")
        terminal.shows("epoch 2", "sync[0]")
        old = daemon.pid
        daemon.run("upgrade")
        daemon.follow()
        assert daemon.pid != old
        terminal.shows(f"{daemon.pid} serving", "epoch 1")
        daemon.kill()
        terminal.shows("the daemon is not running", none=["WORKER"])
        daemon.start()
        terminal.shows(f"{daemon.pid} serving")
        daemon.configure({"nonsense": {"x": 1}})
        daemon.run("reload", check=False)
        terminal.shows("the last reload was refused")
        terminal.type("q")
        assert terminal.wait() == 0


@pytest.mark.slow
def test_off_a_terminal(daemon):
    down = daemon.run("top", check=False)
    assert down.returncode == 69
    assert "not running" in down.stdout
    daemon.start()
    for args in (["top"], ["top", "--once", "--interval", "100ms"]):
        text = daemon.run(*args).stdout
        assert "\x1b" not in text
        assert workers_shown(text) == names(daemon)
        assert max(map(len, text.splitlines())) <= 80
        assert "accepted 0" in text
    text = daemon.run("top", "--once", "--interval", "100ms", "--filter",
                      "sync", "--sort", "cpu").stdout
    assert "sync[0]" in text and "generation[0]" not in text
    report = daemon.json("top", "--interval", "100ms")
    assert report["running"] and report["rates"]["accepted"] == 0
    assert [w["name"] for w in report["workers"]] == names(daemon)
    assert all(w["cpu_percent"] is not None and w["rss_bytes"] > 0
               for w in report["workers"])
    assert report["outbox"]["pending"] == 0
    assert report["sync"]["sink"] == "sqlite"


@pytest.mark.slow
@pytest.mark.parametrize("args", [["--interval", "1ms"], ["--sort", "size"],
                                  ["--filter", "x" * 41], ["now"]])
def test_wrong_usage(daemon, args):
    assert daemon.run("top", *args, check=False).returncode == 64


@pytest.mark.slow
def test_one_frame_on_a_terminal_too(daemon):
    daemon.start()
    with top(daemon, "--once") as terminal:
        assert terminal.wait() == 0
        assert b"\x1b" not in terminal.raw
    with top(daemon, env={"TERM": "dumb"}) as terminal:
        assert terminal.wait() == 0
        assert b"\x1b" not in terminal.raw
