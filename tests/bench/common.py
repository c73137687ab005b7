# SPDX-License-Identifier: Apache-2.0
"""What the benches share: rounds, medians, ratios, tables, plots.

A bench is a program tests/bench/NAME.py with a function run(rounds) that
returns a Result.  Limit, peer and ours are measured in turns within one run;
only their ratios mean something, since the machine drifts.
"""
import argparse
import json
import os
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TIDEMILL_BUILD", ROOT / "build"))
sys.path.insert(0, str(ROOT / "tests" / "system"))
os.environ.setdefault("TIDEMILL_SOURCE", str(ROOT))
os.environ.setdefault("TIDEMILL_BUILD", str(BUILD))

import harness  # it stands in tests/system

harness.Daemon.fixed_pools = False  # what a user has


class Result:
    """Readings by name, and the ratios made of their medians."""

    def __init__(self, bench, what):
        self.bench, self.what = bench, what
        self.readings = {}  # name: (unit, [values])
        self.ratios = []    # (name, value, target text, met)

    def add(self, name, unit, value):
        self.readings.setdefault(name, (unit, []))[1].append(value)

    def median(self, name):
        return statistics.median(self.readings[name][1])

    def ratio(self, name, over, under, at_least=None, at_most=None):
        """The ratio of two medians; the pairs of one round first."""
        a, b = self.readings[over][1], self.readings[under][1]
        pairs = [x / y for x, y in zip(a, b)]
        value = statistics.median(pairs) if len(a) == len(b) else \
            self.median(over) / self.median(under)
        target = (f"at least {at_least}" if at_least is not None else
                  f"at most {at_most}" if at_most is not None else "reported")
        met = not ((at_least is not None and value < at_least) or
                   (at_most is not None and value > at_most))
        self.ratios.append((name, value, target, met))

    def as_json(self):
        return {"bench": self.bench, "what": self.what,
                "rows": [{"name": n, "unit": u, "value": statistics.median(v),
                          "readings": v}
                         for n, (u, v) in self.readings.items()],
                "ratios": [{"name": n, "ratio": round(v, 3), "target": t,
                            "met": m} for n, v, t, m in self.ratios]}

    def print(self, plot=False):
        print(f"\n{self.bench}: {self.what}")
        top = {}  # of each unit
        for name, (unit, _) in self.readings.items():
            top[unit] = max(top.get(unit, 0), self.median(name))
        for name, (unit, values) in self.readings.items():
            middle = statistics.median(values)
            line = f"  {name:<44} {middle:>12,.4g} {unit:<8}"
            if plot:
                line += " " + "#" * max(1, round(30 * middle / top[unit]))
            else:
                line += f" ({min(values):,.4g} to {max(values):,.4g})"
            print(line)
        for name, value, target, met in self.ratios:
            print(f"  {name:<44} {value:>12.2f} x        {target}"
                  f"{'' if met else '  NOT MET'}")


def main(run):
    """A bench as a program of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    result = run(args.rounds)
    if args.json:
        print(json.dumps(result.as_json()))
    else:
        result.print(args.plot)
