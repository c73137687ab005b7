# SPDX-License-Identifier: Apache-2.0
"""scrape: the whole `tidemill metrics` process against cat of its bytes."""
import pathlib
import shutil
import subprocess
import tempfile
import time

import common
from harness import Daemon, SOURCE

COUNT = 100
SLOTS = 64


def seconds(*command):
    """Of one run, by a shell, which starts processes quickly."""
    loop = f'i=0; while [ $i -lt {COUNT} ]; do "$@" >/dev/null || exit 1; ' \
           "i=$((i+1)); done"
    started = time.monotonic()
    subprocess.run(["sh", "-c", loop, "sh", *command], check=True)
    return (time.monotonic() - started) / COUNT * 1000


def run(rounds):
    result = common.Result(
        "scrape", f"all metrics of {SLOTS} slots, a process each "
        f"({COUNT} a round)")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    slots = {"max_workers": SLOTS - 5}  # store, gateway, monitor, two of sync
    if "generation.min_workers" in (
            SOURCE / "common/config/options.h").read_text():
        slots["min_workers"] = SLOTS - 5
    daemon = Daemon(folder, {"generation": slots}).start()
    try:
        for n in range(20):
            daemon.run("enqueue", "t", str(n), "{}", "--priority", "urgent")
        saved = folder / "metrics"
        saved.write_text(daemon.run("metrics").stdout)
        for _ in range(rounds):
            result.add("cat of the same bytes", "ms", seconds("cat", saved))
            result.add("tidemill metrics", "ms", seconds(
                common.BUILD / "tidemill", "-c", daemon.config_path,
                "metrics"))
    finally:
        daemon.stop()
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("metrics / cat", "tidemill metrics",
                 "cat of the same bytes", at_most=5)
    return result


if __name__ == "__main__":
    common.main(run)
