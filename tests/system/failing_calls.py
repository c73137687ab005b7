# SPDX-License-Identifier: Apache-2.0
"""The test's side of failing_calls.c: which call of which process fails."""
import errno
import mmap
import struct

from harness import binaries

# the order of CALL_LIST in failing_calls.c
CALLS = ("fork", "pipe", "socketpair", "mmap", "malloc", "open", "read",
         "write", "epoll_ctl", "epoll_wait", "send", "recv", "stat", "rename",
         "waitpid")
WORD = struct.Struct("=Q")
AFTER, TIMES, ERROR, COUNT, FAILED, FIELDS = range(6)
FOR_EVER = 1 << 62
AIM_AT_NEXT = 1  # the master that the next upgrade starts


class FailingCalls:
    """A sheet that a daemon's processes look at before each call."""

    def __init__(self, folder):
        self.path = folder / "failing-calls"
        size = WORD.size * (1 + FIELDS * len(CALLS))
        self.path.write_bytes(bytes(size))
        with open(self.path, "r+b") as file:
            self.sheet = mmap.mmap(file.fileno(), size)

    def environment(self):
        """For the daemon."""
        library = binaries() / "tests" / "system" / "failing_calls.so"
        return {"LD_PRELOAD": str(library),
                "TIDEMILL_FAILING_CALLS": str(self.path)}

    def _at(self, call, field):
        return WORD.size * (1 + FIELDS * CALLS.index(call) + field)

    def _put(self, offset, value):
        WORD.pack_into(self.sheet, offset, value)

    def _get(self, call, field):
        return WORD.unpack_from(self.sheet, self._at(call, field))[0]

    def fail(self, call, name, after=0, times=FOR_EVER):
        """From now on the calls after so many fail with errno `name`."""
        self.stop(call)
        self._put(self._at(call, COUNT), 0)
        self._put(self._at(call, FAILED), 0)
        self._put(self._at(call, AFTER), after)
        self._put(self._at(call, ERROR), getattr(errno, name))
        self._put(self._at(call, TIMES), times)

    def stop(self, call):
        self._put(self._at(call, TIMES), 0)

    def failed(self, call):
        return self._get(call, FAILED)

    def count(self, call):
        return self._get(call, COUNT)

    def aim(self, pid):
        """At this process; 0: at none; or AIM_AT_NEXT."""
        self._put(0, pid)
