#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The render benchmark: our engine beside its limit and its peers.

All sides render the same shape (render_shape.py) on one core, in turn,
round after round, and their outputs must be the same.  mustache.js is
installed from npm into a temporary folder; without npm or Jinja2 that side
is left out, and said so.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import common

HERE = pathlib.Path(__file__).resolve().parent
MUSTACHE_JS = "mustache@4.2.0"
SECONDS = "0.5"  # a side and round


def note(text):
    print(f"render: {text}", file=sys.stderr)


def install_mustache_js(folder):
    """Is mustache.js there now?"""
    if shutil.which("npm") is None or shutil.which("node") is None:
        note("no node or npm: mustache.js is left out")
        return False
    done = subprocess.run(
        ["npm", "install", "--no-save", "--silent", "--no-audit", "--no-fund",
         "--ignore-scripts", "--prefix", folder, MUSTACHE_JS],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        timeout=120, check=False)
    if done.returncode != 0:
        note(f"npm install {MUSTACHE_JS} failed, mustache.js is left out: "
             f"{done.stderr.strip()[:200]}")
    return done.returncode == 0


def have_jinja():
    done = subprocess.run(["/usr/bin/python3", "-c", "import jinja2"],
                          stderr=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        note("no python3-jinja2: Jinja2 is left out")
    return done.returncode == 0


def make_sides(folder):
    """Name to (command, file of its output)."""
    program = common.BUILD / "tests" / "bench" / "bench_render"
    sides = {
        "limit: memcpy of the pieces":
            ([program, "limit", folder, SECONDS], "limit"),
        "ours, cached": ([program, "cached", folder, SECONDS], "cached"),
        "ours, cold": ([program, "cold", folder, SECONDS], "cold"),
    }
    for mode in ("cached", "cold"):
        if (folder / "node_modules").exists():
            sides[f"mustache.js, {mode}"] = (
                ["node", HERE / "render_peer.js", mode, folder, SECONDS,
                 folder], f"js_{mode}")
    for mode in ("cached", "cold"):
        if have_jinja():
            sides[f"Jinja2, {mode}"] = (
                ["/usr/bin/python3", HERE / "render_peer_jinja.py", mode,
                 folder, SECONDS], f"jinja_{mode}")
    return sides


def pin():
    """One core for all sides."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def measure(command, output, expected):
    line = subprocess.run(command, check=True, text=True, capture_output=True,
                          timeout=120, preexec_fn=pin).stdout
    if output.read_text() != expected:
        sys.exit(f"render: the output of {command} is wrong")
    return json.loads(line)["renders_per_second"]


def run(rounds):
    with tempfile.TemporaryDirectory(prefix="tm-") as name:
        folder = pathlib.Path(name)
        shape = json.loads(subprocess.run(
            [sys.executable, HERE / "render_shape.py", name], check=True,
            text=True, capture_output=True).stdout)
        result = common.Result(
            "render", "{fields} fields, {lines} lines, {bytes} bytes in "
            "{pieces} pieces, one core".format(**shape))
        install_mustache_js(name)
        expected = "".join(json.loads((folder / "pieces.json").read_text()))
        sides = make_sides(folder)
        for _ in range(rounds):
            for side, (command, output) in sides.items():
                result.add(side, "/s",
                           measure(command, folder / output, expected))
    for ours, over, least in (
            ("ours, cached", "mustache.js, cached", 6),
            ("ours, cached", "Jinja2, cached", 30),
            ("ours, cached", "limit: memcpy of the pieces", 0.3),
            ("ours, cold", "mustache.js, cold", 5)):
        if over in sides:
            result.ratio(f"{ours} / {over}", ours, over, at_least=least)
    return result


if __name__ == "__main__":
    common.main(run)
