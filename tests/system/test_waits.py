# SPDX-License-Identifier: Apache-2.0
"""What the master waits for: only for events.  The calls that it makes while
everything happens to it are those of a list: none of them waits for a disk (but
its log and its configuration), a name server or a database."""
import collections
import re
import subprocess

import pytest

from harness import DetachedDaemon, wait_for
from load import Load
from readings import field

pytestmark = pytest.mark.slow  # strace and sanitizers do not go together

# Nothing here waits but epoll_wait: pipes and sockets are non-blocking, and
# which files are opened is looked at below.
ALLOWED = set("""
epoll_wait epoll_ctl read write sendto recvfrom ioctl close pipe2 fcntl
openat newfstatat access getdents64 lseek pread64 renameat2 fchmod
clone clone3 wait4 kill
mmap munmap mprotect brk mremap madvise
getpid uname getrandom clock_gettime rt_sigprocmask restart_syscall
""".split())
CALL = re.compile(r"^(?:\[pid +\d+\] )?(\w+)\((.*)")


def calls_of(pid, do, path):
    """The system calls (name, rest of the line) of a process meanwhile."""
    tracer = subprocess.Popen(
        ["strace", "-qq", "-s", "200", "-o", path, "-p", str(pid)],
        stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: tracer.poll() is not None or
                 field(pid, "status", "TracerPid"), what="strace")
        if tracer.poll() is not None:
            pytest.skip(f"may not trace here: {tracer.stderr.read()}")
        do()
    finally:
        tracer.terminate()
        tracer.wait(30)
        tracer.stderr.close()
    return [match.groups() for match in
            map(CALL.match, path.read_text(errors="replace").splitlines())
            if match]


def opened(daemon, calls):
    """Files of the calls, without those that the daemon may open."""
    own = (str(daemon.logs), str(daemon.config_path), "/proc/",
           "/sys/fs/cgroup")
    paths = {rest.split('"')[1] for name, rest in calls
             if name == "openat" and rest.startswith("AT_FDCWD")}
    return {path for path in paths if not path.startswith(own)}


def test_the_master_waits_for_events_only(folder):
    daemon = DetachedDaemon(folder, {
        "supervisor": {"crash_limit": 1000},
        "logging": {"rotation": {"max_bytes": 10000}}})
    daemon.start()

    def work():
        load = Load(daemon, folder).start(enqueue=1, generate=1, sync=1)
        for number in range(4):
            daemon.configure({"logging": {
                "format": "text" if number % 2 else "json"}})
            daemon.run("reload")
            daemon.kill_worker("generation")
            daemon.run("reopen-logs")
            load.wait_for_each(2)
        load.settle()

    try:
        calls = calls_of(daemon.pid, work, folder / "calls")
        names = collections.Counter(name for name, _ in calls)
        print("\n", dict(names.most_common()))
        assert names["epoll_wait"] and names["clone"] + names["clone3"]
        assert set(names) <= ALLOWED, set(names) - ALLOWED
        assert all("WNOHANG" in rest for name, rest in calls
                   if name == "wait4")
        assert opened(daemon, calls) == set()
        assert daemon.stop() == 0
    finally:
        daemon.cleanup()
