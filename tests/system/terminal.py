# SPDX-License-Identifier: Apache-2.0
"""A terminal for the programs that need one: a pty, and what is on it."""
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios

from harness import PATIENCE, wait_for

SEQUENCE = re.compile(rb"\x1b\[(\??)([0-9;]*)([A-Za-z])")
TOKENS = re.compile(SEQUENCE.pattern + rb"|(\r)|(\n)|([^\x1b\r\n]+)")


class Screen:
    """What a terminal of this size shows; refuses what it does not know,
    and whatever is written beside it."""

    def __init__(self, columns, rows):
        self.modes = {b"25": True, b"7": True, b"1049": False}
        self.rest = b""
        self.resize(columns, rows)

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines = [""] * rows
        self.row = self.column = 0

    def feed(self, data):
        data = self.rest + data
        cut = data.rfind(b"\x1b")  # the last piece may be half a sequence
        if cut < 0 or SEQUENCE.match(data, cut):
            cut = len(data)
        self.rest = data[cut:]
        at = 0
        while at < cut:
            token = TOKENS.match(data, at, cut)
            assert token, f"unknown to the terminal: {data[at:at + 20]!r}"
            at = token.end()
            self.take(*token.groups())

    def take(self, private, numbers, what, back, down, text):
        if text:
            self.put(text.decode())
        elif back:
            self.column = 0
        elif down:
            self.row += 1
        elif private:
            self.modes[numbers] = what == b"h"
        elif what == b"H":
            self.row, self.column = (int(n) - 1 for n in numbers.split(b";"))
        elif what == b"K" or (what == b"J" and not numbers):
            self.clear(self.row + 1 if what == b"K" else self.rows)
        elif what == b"J":
            self.lines = [""] * self.rows
        else:
            assert what == b"m", what

    def clear(self, end):
        """From the cursor to this row."""
        if self.row < self.rows:
            self.lines[self.row] = self.lines[self.row][:self.column]
            for row in range(self.row + 1, end):
                self.lines[row] = ""

    def put(self, text):
        assert self.row < self.rows, (self.row, text)
        assert self.column + len(text) <= self.columns, (self.columns, text)
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = (line[:self.column] + text +
                                line[self.column + len(text):])
        self.column += len(text)

    @property
    def text(self):
        return "\n".join(self.lines)


def on_terminal():
    """Whoever runs the tests may ignore a hang-up, or be in the background."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A program on a pty of its own, in the foreground of its session."""

    def __init__(self, command, columns=80, rows=24, env=None):
        self.master, self.slave = pty.openpty()
        os.set_blocking(self.master, False)
        self.screen = Screen(columns, rows)
        self.raw = b""
        self.strict = True
        self.size(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        environment = {**os.environ, "TERM": "xterm", **(env or {})}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=self.slave, stdout=self.slave,
            stderr=self.slave, env=environment, start_new_session=True,
            preexec_fn=on_terminal)

    def size(self, columns, rows):
        """Changes the size; the kernel tells the program.  Frames for the
        size before may still come: what is beside the screen is forgiven
        until one is seen that fits."""
        self.read()
        self.screen.resize(columns, rows)
        self.strict = False
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        with contextlib.suppress(OSError):
            while data := os.read(self.master, 65536):
                self.raw += data
                try:
                    self.screen.feed(data)
                except AssertionError:
                    if self.strict:
                        raise
                    self.screen.resize(self.screen.columns, self.screen.rows)

    def shows(self, *words, none=()):
        """Waits until all of these, and none of those, are on the screen."""
        def look():
            self.read()
            assert self.process.poll() is None, self.raw[-2000:]
            text = self.screen.text
            return all(w in text for w in words) and \
                not any(w in text for w in none)
        try:
            wait_for(look, what=f"{words} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.screen.text}") from None
        self.strict = True
        return self.screen.text

    def type(self, keys):
        os.write(self.master, keys.encode())

    def wait(self):
        """Waits for the program's end; returns its exit code."""
        def over():
            self.read()  # it may wait for room
            return self.process.poll() is not None
        wait_for(over, what="the program to end")
        self.read()
        return self.process.returncode

    def assert_restored(self):
        assert termios.tcgetattr(self.slave) == self.before
        assert self.screen.modes == {b"25": True, b"7": True, b"1049": False}

    def hang_up(self):
        """The window is closed."""
        os.close(self.slave)
        os.close(self.master)
        self.master = self.slave = None

    def close(self):
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
        for fd in (self.master, self.slave):
            if fd is not None:
                os.close(fd)
