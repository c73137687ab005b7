# SPDX-License-Identifier: Apache-2.0
"""jobs: durable no-op jobs against Redis lists with AOF fsync always."""
import pathlib
import shutil
import subprocess
import tempfile

import common
from harness import Daemon, wait_for

COUNT = 20_000
PEER_COUNT = 5_000


def redis_jobs(folder, program):
    path = folder / "redis.sock"
    process = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", path, "--dir", folder,
         "--appendonly", "yes", "--appendfsync", "always", "--save", ""],
        stdout=subprocess.DEVNULL)
    try:
        wait_for(path.exists, 10, "redis")
        done = subprocess.run([program, path, str(PEER_COUNT)], check=True,
                              capture_output=True, text=True, timeout=120)
        return float(done.stdout)
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder / "appendonlydir", ignore_errors=True)


def our_jobs(folder, number):
    daemon = Daemon(folder, {"sync": {"enabled": False}},
                    name=f"j{number}").start()
    try:
        done = subprocess.run(
            [common.BUILD / "tests/bench/bench_jobs", daemon.config_path,
             str(COUNT)], check=True, capture_output=True, text=True,
            timeout=300)
        return float(done.stdout)
    finally:
        daemon.stop()


def run(rounds):
    result = common.Result("jobs", "no-op jobs, durable, two workers")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    program = folder / "redis_jobs"
    subprocess.run(["gcc", "-O2", "-o", program,
                    common.ROOT / "tests/bench/redis_jobs.c", "-lhiredis"],
                   check=True)
    try:
        for number in range(rounds):
            result.add("Redis lists, AOF fsync always, acknowledged",
                       "jobs/s", redis_jobs(folder, program))
            result.add("tidemill", "jobs/s", our_jobs(folder, number))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("ours / Redis", "tidemill",
                 "Redis lists, AOF fsync always, acknowledged", at_least=2)
    return result


if __name__ == "__main__":
    common.main(run)
