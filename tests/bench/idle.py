# SPDX-License-Identifier: Apache-2.0
"""idle: the idle daemon against nginx's master and two workers: memory; and
how often each of its processes wakes up, and what that costs, watched for
TIDEMILL_IDLE_SECONDS (60) in all."""
import os
import pathlib
import shutil
import tempfile
import time

import common
from harness import Daemon
from nginx import Nginx
from readings import field, name_of

SECONDS = float(os.environ.get("TIDEMILL_IDLE_SECONDS", "60"))
SETTLED = 2  # seconds after the start: it has found that there is nothing


def pss_mb(pids):
    return sum(field(pid, "smaps_rollup", "Pss") for pid in pids) / 1024


def wakeups(pid):
    return field(pid, "status", "voluntary_ctxt_switches")


def cpu_ms(pid):
    text = pathlib.Path(f"/proc/{pid}/schedstat").read_text()
    return int(text.split()[0]) / 1e6


def watch(daemon, seconds):
    """(wake-ups/s by name, CPU ms in a minute) of all processes."""
    pids = [daemon.pid, *daemon.descendants()]
    before = [(wakeups(pid), cpu_ms(pid)) for pid in pids]
    began = time.monotonic()
    time.sleep(seconds)  # the watch itself
    took = time.monotonic() - began
    rates, cost = {}, 0
    for pid, (woken, cost_before) in zip(pids, before):
        rates[name_of(pid)] = (wakeups(pid) - woken) / took
        cost += (cpu_ms(pid) - cost_before) / took * 60
    return rates, cost


def run(rounds):
    result = common.Result("idle", "memory (PSS), wake-ups and CPU, all "
                                   "processes of an idle daemon")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    try:
        for number in range(rounds):
            with Nginx(folder, 2) as nginx:
                result.add("nginx, master and 2 workers", "MiB",
                           pss_mb(nginx.pids()))
            daemon = Daemon(folder, {"generation": {"min_workers": 2},
                                     "sync": {"min_workers": 2}},
                            name=f"i{number}").start()
            time.sleep(SETTLED)
            result.add("tidemilld, 2 + 2 workers", "MiB",
                       pss_mb([daemon.pid, *daemon.descendants()]))
            rates, cost = watch(daemon, SECONDS / rounds)
            daemon.stop()
            result.add("CPU, a minute", "ms", cost)
            result.add("wake-ups, all processes", "1/s", sum(rates.values()))
            for name, rate in rates.items():
                result.add(f"  {name}", "1/s", rate)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("PSS / nginx", "tidemilld, 2 + 2 workers", "nginx, master and 2 workers",
                 at_most=2.5)
    return result


if __name__ == "__main__":
    common.main(run)
