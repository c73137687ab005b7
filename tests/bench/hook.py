# SPDX-License-Identifier: Apache-2.0
"""hook: the whole `tidemill hook` process against the sqlite3 shell."""
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

import common
from harness import Daemon

COUNT = 100
EVENT = json.dumps({"session_id": "s", "hook_event_name": "PostToolUse",
                    "tool_name": "Bash",
                    "tool_input": {"command": "make check"},
                    "tool_response": {"stdout": "ok" * 40}}).encode()


def seconds(command, data=b""):
    started = time.monotonic()
    for _ in range(COUNT):
        subprocess.run(command, input=data, check=True,
                       stdout=subprocess.DEVNULL)
    return (time.monotonic() - started) / COUNT * 1000


def run(rounds):
    result = common.Result(
        "hook", f"one event, durable, a process each ({COUNT} a round)")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    peer = folder / "peer.db"
    subprocess.run(["sqlite3", peer, "PRAGMA journal_mode=WAL; CREATE TABLE "
                    "e (id INTEGER PRIMARY KEY, t TEXT, data JSON)"],
                   check=True, stdout=subprocess.DEVNULL)
    insert = ["sqlite3", peer, "PRAGMA synchronous=FULL; INSERT INTO e "
              f"(t, data) VALUES ('PostToolUse', '{EVENT.decode()}')"]
    up = Daemon(folder, {"sync": {"enabled": False}}, name="up").start()
    down = Daemon(folder, name="down")
    hook = [common.BUILD / "tidemill", "-c"]
    try:
        for _ in range(rounds):
            result.add("/bin/true", "ms", seconds(["/bin/true"]))
            result.add("sqlite3 shell, one row", "ms", seconds(insert))
            result.add("tidemill hook, daemon up", "ms", seconds(
                [*hook, up.config_path, "hook"], EVENT))
            result.add("tidemill hook, daemon down", "ms", seconds(
                [*hook, down.config_path, "hook"], EVENT))
    finally:
        up.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for state in ("up", "down"):
        result.ratio(f"hook, daemon {state} / sqlite3 shell",
                     f"tidemill hook, daemon {state}",
                     "sqlite3 shell, one row", at_most=0.7)
    return result


if __name__ == "__main__":
    common.main(run)
