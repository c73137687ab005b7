# SPDX-License-Identifier: Apache-2.0
"""Runs the benches, one process each (see scripts/bench)."""
import argparse
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
NAMES = ["drain", "wan", "urgent", "backlog", "accept", "source",
         "hook", "render", "generate", "jobs", "run",
         "cache", "log", "metric", "scrape", "respawn", "requeue",
         "reload", "idle"]


def main():
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=" ".join(NAMES))
    args = parser.parse_args()
    unknown = [n for n in args.names if n not in NAMES]
    if unknown:
        parser.error(f"no such bench: {unknown[0]}; there are "
                     + " ".join(NAMES))
    results, status = [], 0
    for name in args.names or NAMES:
        command = [sys.executable, HERE / f"{name}.py", "--rounds",
                   str(args.rounds)]
        command += ["--json"] if args.json else []
        command += ["--plot"] if args.plot else []
        done = subprocess.run(command, text=True, env=os.environ,
                              stdout=subprocess.PIPE if args.json else None)
        status = status or done.returncode
        if args.json and done.returncode == 0:
            results.append(json.loads(done.stdout))
    if args.json:
        print(json.dumps(results, indent=2))
    sys.exit(status)


if __name__ == "__main__":
    main()
