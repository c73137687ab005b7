#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The render benchmark: our engine beside its limit and its peers.

usage: render.py [--json] [--rounds N] [--seconds S] [--build DIR]

All sides render the same shape (render_shape.py) on one core, in turn,
round after round; the medians and their ratios are printed.  --build names
the folder where tests/bench/bench_render was built (default: the current
one).  mustache.js is installed from npm into a temporary folder; without
npm or Jinja2 that side is left out, and said so.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
MUSTACHE_JS = "mustache@4.2.0"

# name, ours, over, the ratio to reach
TARGETS = (
    ("render ÷ mustache.js cached", "ours cached", "mustache.js cached", 6),
    ("render ÷ Jinja2 cached", "ours cached", "Jinja2 cached", 30),
    ("render ÷ memcpy of the pieces", "ours cached", "limit: memcpy", 0.3),
    ("render cold ÷ mustache.js cold", "ours cold", "mustache.js cold", 5),
)


def note(text):
    print(f"render: {text}", file=sys.stderr)


def install_mustache_js(folder):
    """Where mustache.js is, or None."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        note("no node or npm: mustache.js is left out")
        return None
    done = subprocess.run(
        ["npm", "install", "--no-save", "--silent", "--no-audit", "--no-fund",
         "--ignore-scripts", "--prefix", str(folder), MUSTACHE_JS],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        timeout=120, check=False)
    if done.returncode != 0:
        note(f"npm install {MUSTACHE_JS} failed, mustache.js is left out: "
             f"{done.stderr.strip()[:200]}")
        return None
    return folder


def have_jinja():
    done = subprocess.run(["/usr/bin/python3", "-c", "import jinja2"],
                          stderr=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        note("no python3-jinja2: Jinja2 is left out")
    return done.returncode == 0


def make_sides(build, shape, modules, seconds):
    """Name to (command, output file)."""
    program = str(build / "tests" / "bench" / "bench_render")
    tail = [str(shape), str(seconds)]
    sides = {
        "limit: memcpy": ([program, "limit", *tail], "limit"),
        "ours cached": ([program, "cached", *tail], "cached"),
        "ours cold": ([program, "cold", *tail], "cold"),
    }
    if modules is not None:
        script = ["node", str(HERE / "render_peer.js")]
        for mode in ("cached", "cold"):
            sides[f"mustache.js {mode}"] = (
                [*script, mode, *tail, str(modules)], f"js_{mode}")
    if have_jinja():
        script = ["/usr/bin/python3", str(HERE / "render_peer_jinja.py")]
        for mode in ("cached", "cold"):
            sides[f"Jinja2 {mode}"] = (
                [*script, mode, *tail], f"jinja_{mode}")
    return sides


def pin():
    """One core for all, the one with the highest number."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def run_rounds(sides, shape, rounds):
    rates = {name: [] for name in sides}
    expected = "".join(json.loads((shape / "pieces.json").read_text()))
    for _ in range(rounds):
        for name, (command, output) in sides.items():
            line = subprocess.run(command, check=True, text=True,
                                  capture_output=True, timeout=120,
                                  preexec_fn=pin).stdout
            rates[name].append(json.loads(line)["renders_per_second"])
            if (shape / output).read_text() != expected:
                sys.exit(f"render: the output of {name} is wrong")
    return {name: statistics.median(values) for name, values in rates.items()}


def report(medians, shape_words):
    ratios = [{"name": name, "ratio": round(medians[ours] / medians[over], 3),
               "target": target}
              for name, ours, over, target in TARGETS if over in medians]
    rows = [{"name": name, "value": value, "unit": "renders/s"}
            for name, value in medians.items()]
    return {"bench": "render", "shape": shape_words, "rows": rows,
            "ratios": ratios}


def print_report(result):
    shape = result["shape"]
    print("render: {fields} fields, {lines} lines, {bytes} bytes, "
          "{pieces} pieces".format(**shape))
    for row in result["rows"]:
        print(f"  {row['name']:<22} {row['value']:>10,.0f} {row['unit']}")
    for row in result["ratios"]:
        print(f"  {row['name']:<32} {row['ratio']:>8.2f} "
              f"(target {row['target']})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path())
    options = parser.parse_args()
    build = options.build.resolve()
    if not (build / "tests" / "bench" / "bench_render").exists():
        sys.exit(f"render: no tests/bench/bench_render in {build}; "
                 "make tests/bench/bench_render there")
    with tempfile.TemporaryDirectory(prefix="render.") as name:
        shape = pathlib.Path(name)
        words = json.loads(subprocess.run(
            [sys.executable, str(HERE / "render_shape.py"), name], check=True,
            text=True, capture_output=True).stdout)
        modules = install_mustache_js(shape)
        sides = make_sides(build, shape, modules, options.seconds)
        result = report(run_rounds(sides, shape, options.rounds), words)
    if options.json:
        print(json.dumps(result))
    else:
        print_report(result)


if __name__ == "__main__":
    main()
