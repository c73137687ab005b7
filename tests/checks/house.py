#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the floors of the house, and its measures.

daemon/ stands on workers/, which stand on common/; ctl/ stands on common/.
common/ knows no role, no role knows another, the master knows roles by one
table.  No circles among the folders of common/.
"""
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(os.environ.get("TIDEMILL_SOURCE",
                                   pathlib.Path(__file__).parents[2]))
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 80  # "look hard at one over 60"
INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
problems = []


def sources():
    for top in ("common", "workers", "daemon", "ctl"):
        yield from sorted((ROOT / top).rglob("*.[ch]"))


def allowed(includer, included):
    """May this file include that one? Paths are from the root."""
    place, target = includer.split("/"), included.split("/")
    if included == "config.h":
        return True
    if target[0] == "common":
        return True
    if place[0] == "common":
        return False
    if place[0] == "workers":
        return target[:2] == place[:2]
    if place[0] == "ctl":
        return target[0] == "ctl"
    if includer == "daemon/roles.c":
        # One table of entry points: workers/<role>/<role>.h.
        return target[0] == "daemon" or \
            included == f"workers/{target[1]}/{target[1]}.h"
    return target[0] == "daemon"


def check_includes():
    edges = collections.defaultdict(set)
    for path in sources():
        name = str(path.relative_to(ROOT))
        for included in INCLUDE.findall(path.read_text()):
            if not allowed(name, included):
                problems.append(f"{name} must not include {included}")
            if name.startswith("common/") and "/" in included:
                one, other = name.split("/")[1], included.split("/")[1]
                if one != other:
                    edges[one].add(other)
    return edges


def check_circles(edges):
    state = {}

    def visit(folder, path):
        if state.get(folder) == "done":
            return
        if folder in path:
            circle = path[path.index(folder):] + [folder]
            problems.append("a circle in common/: " + " -> ".join(circle))
            return
        for other in sorted(edges.get(folder, ())):
            visit(other, path + [folder])
        state[folder] = "done"

    for folder in sorted(edges):
        visit(folder, [])


def check_sizes():
    longest = max(((len(p.read_text().splitlines()), p) for p in sources()),
                  key=lambda pair: pair[0])
    for path in sources():
        lines = len(path.read_text().splitlines())
        if lines > FILE_LINES_MAX:
            problems.append(f"{path.relative_to(ROOT)} has {lines} lines; "
                            f"at most {FILE_LINES_MAX}: divide it")
    print(f"longest file: {longest[1].relative_to(ROOT)}, {longest[0]} lines")


def functions():
    """(lines, name, file) of every function; by their braces at column 1."""
    start = re.compile(r"^[a-z][\w \*,()\[\]]*?(\w+)\(")
    for path in sources():
        if path.suffix != ".c":
            continue
        name, opened = None, 0
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = start.match(line)
            if match:
                name = match.group(1)
            if line == "{":
                opened = number
            elif line == "}" and opened and name:
                yield number - opened + 1, name, path.relative_to(ROOT)
                opened = 0


def check_functions():
    found = sorted(functions(), key=lambda f: f[0], reverse=True)
    middle = found[len(found) // 2][0]
    print(f"{len(found)} functions, median {middle} lines; the longest:")
    for lines, name, path in found[:5]:
        print(f"  {lines:4} {name} in {path}")
        if lines > FUNCTION_LINES_MAX:
            problems.append(f"{path}: {name} has {lines} lines; "
                            f"at most {FUNCTION_LINES_MAX}")


def tracked():
    """The files that git knows; none in a released tree."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return []
    return subprocess.run([git, "-C", ROOT, "ls-files"], check=True,
                          capture_output=True, text=True).stdout.split()


def check_distributed():
    """A release must hold every file: each one's name, or that of a folder
    that it is in, stands in a fragment of the makefile."""
    names = tracked()
    fragments = "".join(
        (ROOT / n).read_text().replace("%D%", str(pathlib.PurePath(n).parent))
        for n in names if n.endswith(".am"))
    words = set(re.sub(r"#.*", "", fragments).split())
    for name in names:
        path = pathlib.PurePath(name)
        if path.suffix in (".am", ".ac") or path.name == ".gitignore":
            continue
        folders = {str(parent) for parent in path.parents}
        if path.name not in fragments and not folders & words:
            problems.append(f"{name} is in no module.am: not distributed")


def check_words():
    """Nothing is left for later."""
    names = tracked()
    left = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
    for name in names:
        path = ROOT / name
        if not path.is_file() or name.startswith("tests/fixtures/"):
            continue
        text = path.read_text(errors="replace")
        if path.suffix in (".c", ".h", ".py", ".sh") and left.search(text):
            problems.append(f"{name}: something is left for later")


edges = check_includes()
check_circles(edges)
check_sizes()
check_functions()
check_distributed()
check_words()
for problem in problems:
    print("problem: " + problem)
sys.exit(1 if problems else 0)
