# SPDX-License-Identifier: Apache-2.0
"""metric: what counting costs, and recording a time."""
import json
import subprocess

import common

SLICES = 10  # of a million each


def run(rounds):
    result = common.Result(
        "metric", "one increment, one record, in shared memory, in turns")
    for _ in range(rounds):
        done = subprocess.run(
            [common.BUILD / "tests/bench/bench_metric", str(SLICES)],
            check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        result.add("increment of a private variable", "ns", found["plain"])
        result.add("increment of a counter", "ns", found["counter"])
        result.add("clock_gettime", "ns", found["clock"])
        result.add("record of a histogram", "ns", found["record"])
    result.ratio("counter / variable", "increment of a counter",
                 "increment of a private variable", at_most=2)
    result.ratio("record / clock_gettime", "record of a histogram",
                 "clock_gettime", at_most=1)
    return result


if __name__ == "__main__":
    common.main(run)
