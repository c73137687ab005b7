#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Manual pages are clean, and name every command and every exit status."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(os.environ.get("TIDEMILL_SOURCE",
                                   pathlib.Path(__file__).parents[2]))
problems = []


def lint():
    if shutil.which("mandoc") is None:
        print("mandoc is not installed: pages are not checked")
        return
    for page in sorted((ROOT / "man").glob("*.[1-9]")):
        found = subprocess.run(["mandoc", "-T", "lint", page],
                               capture_output=True, text=True)
        # Which other manuals are installed says nothing of ours.
        problems.extend(line for line in found.stdout.splitlines()
                        if "referenced manual not found" not in line
                        and "mandoc.db" not in line)


def commands():
    header = (ROOT / "ctl/command.h").read_text()
    page = (ROOT / "man/tidemill.1").read_text()
    readme = (ROOT / "README.md").read_text()
    known = re.findall(r'^X\("([a-z -]+)", command_', header, re.M)
    assert len(known) > 15
    for words in known:
        if f".It Cm {words}" not in page and f".Cm {words}" not in page:
            problems.append(f"tidemill(1) does not name '{words}'")
    told = re.findall(r"^\.It Cm ([a-z -]+?)(?: (?:Ar|Op|Oo|Fl).*)?$", page,
                      re.M)
    for words in told:
        if words not in known and words not in ("INSERT",):
            problems.append(f"tidemill(1) names '{words}', which is none")
    for words in re.findall(r"^tidemill ([a-z-]+(?: [a-z-]+)?)", readme,
                            re.M):
        if not any(words == k or words.startswith(k + " ") or
                   words.split()[0] == k for k in known):
            problems.append(f"README.md names 'tidemill {words}'")


def exit_statuses():
    header = (ROOT / "common/base/error.h").read_text()
    page = (ROOT / "man/tidemill.1").read_text()
    section = page.split(".Sh EXIT STATUS")[1].split(".Sh")[0]
    told = set(re.findall(r"\b(\d+)\b", " ".join(
        re.findall(r"^\.It (.*)$", section, re.M))))
    known = set(re.findall(r"^    X\(\w+, (\d+),", header, re.M))
    if told != known:
        problems.append("exit statuses: only in tidemill(1) "
                        f"{sorted(told - known)}, only in error.h "
                        f"{sorted(known - told)}")


def references():
    """Every page that is named is there."""
    pages = {p.name for p in (ROOT / "man").glob("*.[1-9]")}
    for page in sorted(pages):
        text = (ROOT / "man" / page).read_text()
        for name, section in re.findall(r"^\.Xr (tidemill\S*) (\d)", text, re.M):
            if f"{name}.{section}" not in pages:
                problems.append(f"{page} names {name}({section}), "
                                "which is none")


lint()
references()
commands()
exit_statuses()
for problem in problems:
    print("problem: " + problem)
sys.exit(1 if problems else 0)
