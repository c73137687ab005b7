# SPDX-License-Identifier: Apache-2.0
"""reload: clients of the store, one durable operation at a time, while the
configuration changes again and again and every worker is replaced, the store
among them; against the same clients in peace.  A client that fails ends the
bench.  Both configurations are files that are made before and exchanged by
rename, and SIGHUP is the order: who starts a Python and a command beside eight
clients on two processors measures those.
Measured: p99 430 us and 422 us, ratio 1.0 (0.95 to 1.1); 31,500 op/s either
way. Only the eight operations under way when the store changes are held up,
for 8.5 ms: its last checkpoint, its end and the successor's start (5 ms, of
which SQLite reads the schema). Before, 62 ms, and a ratio of 1.36: the WAL
gave its space back and took it again, and the successor looked back for tokens
in every stripe."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import common
from harness import Daemon

CLIENTS, RELOADS, PAUSE, PEACE = 8, 50, 0.5, 8
PROGRAM = common.BUILD / "tests" / "bench" / "bench_accept"


def start_clients(daemon, seconds):
    return subprocess.Popen(
        [PROGRAM, "ours", daemon.runtime, str(seconds), str(CLIENTS)],
        stdout=subprocess.PIPE, text=True)


def end_clients(clients):
    line, _ = clients.communicate(timeout=120)
    if clients.returncode != 0:
        raise RuntimeError("a client failed")
    return dict(zip(("rate", "p50", "p99", "worst"), map(float, line.split())))


def prepare(daemon):
    """Both configurations, as files beside; the first one is in use."""
    files = []
    for form in ("text", "json"):
        daemon.configure({"logging": {"format": form}})
        files.append(daemon.config_path.with_suffix(f".{form}"))
        shutil.copy(daemon.config_path, files[-1])
    return files


def reload_often(daemon, files):
    """Every PAUSE from now on; an exchange of files and a signal, so that
    what runs beside the clients is the daemon."""
    beside = daemon.config_path.with_suffix(".beside")
    begin = time.monotonic()
    for count in range(RELOADS):
        os.link(files[count % 2], beside)
        beside.replace(daemon.config_path)
        daemon.signal(signal.SIGHUP)
        time.sleep(max(0, begin + (count + 1) * PAUSE - time.monotonic()))


def run(rounds):
    result = common.Result(
        "reload", f"{CLIENTS} clients of the store, {RELOADS} reloads")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    try:
        for number in range(rounds):
            daemon = Daemon(folder, {"sync": {"enabled": False}},
                            name=f"l{number}")
            files = prepare(daemon)
            daemon.start()
            try:
                calm = end_clients(start_clients(daemon, PEACE))
                clients = start_clients(daemon, RELOADS * PAUSE)
                reload_often(daemon, files)
                busy = end_clients(clients)
                epoch = daemon.json("status")["configuration"]["epoch"]
            finally:
                daemon.stop()
            result.add("reloads", "", epoch - 1)
            for name, found in (("in peace", calm), ("with reloads", busy)):
                result.add(f"{name}", "op/s", found["rate"])
                result.add(f"{name}, p99", "us", found["p99"])
                result.add(f"{name}, worst", "us", found["worst"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if result.median("reloads") != RELOADS:
        raise RuntimeError("a reload was refused, or two became one")
    result.ratio("p99 with reloads / in peace", "with reloads, p99",
                 "in peace, p99", at_most=1.5)
    return result


if __name__ == "__main__":
    common.main(run)
