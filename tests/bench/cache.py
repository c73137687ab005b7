# SPDX-License-Identifier: Apache-2.0
"""cache: gets of 200 bytes by two processes, ours against an in-process hash
and memcached over a Unix socket; and pins against copies of long values."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

import common
from harness import wait_for

PROGRAM = common.BUILD / "tests/bench/bench_cache"


def read(*args):
    done = subprocess.run([PROGRAM, *map(str, args)], check=True,
                          capture_output=True, text=True, timeout=120)
    return float(done.stdout)


def start_memcached(folder):
    if shutil.which("memcached") is None:
        print("cache: no memcached: that side is left out", file=sys.stderr)
        return None, None
    path = folder / "memcached.sock"
    process = subprocess.Popen(["memcached", "-u", "root", "-s", path, "-m",
                                "64", "-t", "1"], stderr=subprocess.DEVNULL)
    wait_for(path.exists, 10, "memcached")
    return process, path


def run(rounds):
    result = common.Result("cache", "gets by two processes at once")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    process, path = start_memcached(folder)
    try:
        for _ in range(rounds):
            result.add("in-process hash, copied, 200 bytes", "ns", read("hash"))
            result.add("ours, copied, 200 bytes", "ns", read("copy"))
            result.add("ours, pinned", "ns", read("pin"))
            result.add("ours, copied, 12 kB", "ns", read("copy-long"))
            result.add("ours, pinned, 12 kB", "ns", read("pin-long"))
            if process is not None:
                result.add("memcached, Unix socket, 200 bytes", "ns",
                           read("memcached", path))
    finally:
        if process is not None:
            process.terminate()
            process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("ours / in-process hash", "ours, copied, 200 bytes",
                 "in-process hash, copied, 200 bytes", at_most=3)
    if process is not None:
        result.ratio("ours / memcached", "ours, copied, 200 bytes",
                     "memcached, Unix socket, 200 bytes", at_most=1 / 200)
    result.ratio("pin / copy of 12 kB", "ours, pinned, 12 kB",
                 "ours, copied, 12 kB")
    return result


if __name__ == "__main__":
    common.main(run)
