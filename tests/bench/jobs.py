# SPDX-License-Identifier: Apache-2.0
"""jobs: durable no-op jobs against Redis lists with AOF fsync always, and
against gearmand, which keeps its queue in memory."""
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile

import common
from harness import Daemon, free_port, wait_for

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


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def gearman_jobs(folder, program):
    port = free_port()
    process = subprocess.Popen(
        ["gearmand", "--listen", "127.0.0.1", "--port", str(port),
         "--queue-type", "builtin", "--log-file", folder / "gearmand.log",
         "--pid-file", folder / "gearmand.pid", "--user",
         pwd.getpwuid(os.getuid()).pw_name])
    try:
        wait_for(lambda: accepts(port), 10, "gearmand")
        done = subprocess.run([program, str(port), str(COUNT)], check=True,
                              capture_output=True, text=True, timeout=120)
        return float(done.stdout)
    finally:
        process.terminate()
        process.wait(10)


def build_peer(folder, name, library):
    subprocess.run(["gcc", "-O2", "-o", folder / name,
                    common.ROOT / f"tests/bench/{name}.c", library],
                   check=True)
    return folder / name


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
    try:
        redis = build_peer(folder, "redis_jobs", "-lhiredis")
        gearman = build_peer(folder, "gearman_jobs", "-lgearman")
        for number in range(rounds):
            result.add("Redis lists, AOF fsync always, acknowledged",
                       "jobs/s", redis_jobs(folder, redis))
            result.add("gearmand, in memory", "jobs/s",
                       gearman_jobs(folder, gearman))
            result.add("tidemill", "jobs/s", our_jobs(folder, number))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("ours / Redis", "tidemill",
                 "Redis lists, AOF fsync always, acknowledged", at_least=4)
    result.ratio("ours / gearmand", "tidemill", "gearmand, in memory",
                 at_least=1)
    return result


if __name__ == "__main__":
    common.main(run)
