# SPDX-License-Identifier: Apache-2.0
"""log: lines of one worker to a file that rotates, against write() of them."""
import json
import pathlib
import shutil
import subprocess
import tempfile

import common

LINES = 300000


def run(rounds):
    result = common.Result(
        "log", "lines of JSON to a file rotated every 10 MB, in turns")
    for _ in range(rounds):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
        try:
            done = subprocess.run(
                [common.BUILD / "tests/bench/bench_log", folder, str(LINES)],
                check=True, capture_output=True, text=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        found = json.loads(done.stdout)
        assert found["lost"] == 0 and found["rotations"] >= 4, found
        result.add("write() of the same lines", "lines/s",
                   found["lines"] / found["write_seconds"])
        result.add("the log", "lines/s",
                   found["lines"] / found["log_seconds"])
    result.ratio("ours / write()", "the log", "write() of the same lines",
                 at_least=0.6)
    return result


if __name__ == "__main__":
    common.main(run)
