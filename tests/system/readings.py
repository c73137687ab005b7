# SPDX-License-Identifier: Apache-2.0
"""What a daemon's processes hold: readings to be compared."""
import os
import pathlib


def name_of(pid):
    """"sync[0]" of "tidemilld: sync[0] idle"; "" when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
    words = text.split("\0")[0].split()
    return words[1] if len(words) > 1 and words[0] == "tidemilld:" else ""


def field(pid, file, name):
    text = pathlib.Path(f"/proc/{pid}/{file}").read_text()
    return int(text.split(f"\n{name}:")[1].split()[0])


def reading(daemon):
    """{name: (descriptors, mappings, private KiB)} of the master and its
    workers."""
    found = {}
    for pid in [daemon.pid, *daemon.descendants()]:
        try:
            found[name_of(pid)] = (
                len(os.listdir(f"/proc/{pid}/fd")),
                len(pathlib.Path(f"/proc/{pid}/maps").read_text()
                    .splitlines()),
                field(pid, "smaps_rollup", "Private_Dirty"))
        except (OSError, IndexError):
            continue  # it ended while we looked
    return found


def show(first, last):
    print(f"\n{'process':<15} {'descriptors':>14} {'mappings':>14} "
          f"{'private KiB':>18}")
    for name in sorted(first.keys() | last.keys()):
        columns = zip(first.get(name, ("-",) * 3), last.get(name, ("-",) * 3))
        cells = [f"{a} -> {b}" for a, b in columns]
        print(f"{name:<15} {cells[0]:>14} {cells[1]:>14} {cells[2]:>18}")
