# SPDX-License-Identifier: Apache-2.0
"""reload: clients of the store, one durable operation at a time, while the
configuration changes again and again and every worker is replaced, the store
among them; against the same clients in peace.  A client that fails ends the
bench."""
import pathlib
import shutil
import subprocess
import tempfile
import time

import common
from harness import Daemon

CLIENTS, RELOADS, PAUSE = 8, 50, 0.5
PROGRAM = common.BUILD / "tests" / "bench" / "bench_accept"


def start_clients(daemon):
    return subprocess.Popen(
        [PROGRAM, "ours", daemon.runtime, str(RELOADS * PAUSE), str(CLIENTS)],
        stdout=subprocess.PIPE, text=True)


def end_clients(clients):
    line, _ = clients.communicate(timeout=120)
    if clients.returncode != 0:
        raise RuntimeError("a client failed")
    return dict(zip(("rate", "p50", "p99", "worst"), map(float, line.split())))


def reload_often(daemon, clients):
    """As long as there are clients; how often."""
    count, begin = 0, time.monotonic()
    while clients.poll() is None and count < RELOADS:
        daemon.configure({"logging": {
            "format": "text" if count % 2 == 0 else "json"}})
        daemon.run("reload")
        count += 1
        time.sleep(max(0, begin + count * PAUSE - time.monotonic()))
    return count


def run(rounds):
    result = common.Result(
        "reload", f"{CLIENTS} clients of the store, {RELOADS} reloads")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    try:
        for number in range(rounds):
            daemon = Daemon(folder, {"sync": {"enabled": False}},
                            name=f"l{number}").start()
            try:
                calm = end_clients(start_clients(daemon))
                clients = start_clients(daemon)
                count = reload_often(daemon, clients)
                busy = end_clients(clients)
            finally:
                daemon.stop()
            result.add("reloads", "", count)
            for name, found in (("in peace", calm), ("with reloads", busy)):
                result.add(f"{name}", "op/s", found["rate"])
                result.add(f"{name}, p99", "us", found["p99"])
                result.add(f"{name}, worst", "us", found["worst"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("p99 with reloads / in peace", "with reloads, p99",
                 "in peace, p99", at_most=1.5)
    return result


if __name__ == "__main__":
    common.main(run)
