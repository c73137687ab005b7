# SPDX-License-Identifier: Apache-2.0
"""run: /bin/true as command jobs, durable and supervised, against xargs."""
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

import common
from harness import Daemon

COUNT = 2_000
SPEC = json.dumps({"argv": ["/bin/true"], "directory": "/", "environment": {},
                   "limits": {}})


def xargs():
    numbers = "\n".join(map(str, range(COUNT)))
    start = time.monotonic()
    subprocess.run(["xargs", "-n1", "-P2", "/bin/true"], input=numbers,
                   check=True, text=True)
    return COUNT / (time.monotonic() - start)


def our_jobs(folder, number):
    daemon = Daemon(folder, {"sync": {"enabled": False}},
                    name=f"c{number}").start()
    try:
        done = subprocess.run(
            [common.BUILD / "tests/bench/bench_jobs", daemon.config_path,
             str(COUNT), "command", SPEC], check=True, capture_output=True,
            text=True, timeout=300)
        return float(done.stdout)
    finally:
        daemon.stop()


def run(rounds):
    result = common.Result("run", "/bin/true as jobs, two workers")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    try:
        for number in range(rounds):
            result.add("xargs -n1 -P2 /bin/true", "runs/s", xargs())
            result.add("tidemill", "runs/s", our_jobs(folder, number))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("ours / xargs", "tidemill", "xargs -n1 -P2 /bin/true",
                 at_least=0.7)
    return result


if __name__ == "__main__":
    common.main(run)
