# SPDX-License-Identifier: Apache-2.0
"""Death at every numbered point of claim, send, apply and settle.

Needs a build with --enable-crash-points (common/base/crash_point.h has the
list).  For each sink the same daemon is taken through all of its points, each
at its first and at its third time in a process; after each death all that
was accepted must be at the centre exactly once, in order for each record.
"""
import collections
import contextlib
import json
import os
import random
import re
import subprocess

import pytest

from harness import SOURCE, binaries, wait_for
from test_kill import make_centre

HEADER = SOURCE / "common" / "base" / "crash_point.h"
POINTS = re.findall(r'^X\((\w+), "([^"]*)"', HEADER.read_text(), re.M)


def has_crash_points():
    text = subprocess.run([binaries() / "tidemilld", "-V"],
                          capture_output=True, text=True, check=True).stdout
    return "crash points" in text


pytestmark = pytest.mark.skipif(
    not has_crash_points(), reason="built without --enable-crash-points")


class Model:
    """What was accepted, and what the centre must have seen of it."""

    def __init__(self, daemon, seed):
        self.daemon = daemon
        self.chance = random.Random(seed)
        self.number = 0
        self.steps = collections.defaultdict(list)

    def enqueue(self, count):
        lines = []
        for _ in range(count):
            self.number += 1
            record = f"r{self.chance.randrange(40)}"
            self.steps[record].append(self.number)
            lines.append(json.dumps({
                "operation": "UPDATE", "table": "steps", "record_id": record,
                "data": {"n": self.number, f"seen_{self.number}": 1},
                "priority": self.chance.choice(
                    ["low", "normal", "high", "urgent"])}))
        report = self.daemon.json("enqueue", "--batch", "-", "--atomic",
                                  input="\n".join(lines), timeout=30)
        assert report == {"accepted": count, "refused": 0}

    def check(self, centre):
        rows = centre.rows("steps")
        assert rows == {
            record: {"n": steps[-1], **{f"seen_{n}": 1 for n in steps}}
            for record, steps in self.steps.items()}
        last = collections.defaultdict(int)
        for record, data in centre.applications("steps"):
            assert data["n"] > last[record], f"{record} applied twice or late"
            last[record] = data["n"]


@pytest.fixture(params=["sqlite", "pgsql", "http"])
def centre(daemon, request):
    centre = make_centre(request.param, daemon, request)
    daemon.configure(centre.options())
    return centre


def drained(daemon):
    return daemon.run("sync", "drain", check=False).returncode == 0 and \
        daemon.pending() == 0


def die_at(daemon, file, model, point, count):
    """Arms the point, lets work come until somebody died there."""
    hit = file.with_name(file.name + ".hit")
    with contextlib.suppress(FileNotFoundError):
        hit.unlink()
    if point.startswith("ADOPT"):
        # A successor passes it: somebody has to die with a batch first.
        armed = file.with_name("next")
        armed.write_text(f"{point} 1\n")
        os.replace(armed, file)
        model.enqueue(30)
        daemon.kill_worker("sync", 0)
    else:
        armed = file.with_name("next")
        armed.write_text(f"{point} {count}\n")
        os.replace(armed, file)

    def died():
        if not hit.exists():
            model.enqueue(30)
        return hit.exists()
    wait_for(died, 30, f"a death at {point} ({count})")


@pytest.mark.slow
def test_death_at_every_point(daemon, centre, folder):
    seed = int(os.environ.get("TIDEMILL_SEED", random.randrange(1 << 31)))
    file = folder / "crash"
    daemon.configure({"sync": {"intervals": {"default": "100ms"},
                               "thresholds": {"max_pending_operations": 10},
                               "batch": {"min": 10, "max": 20},
                               "retry": {"base": "50ms", "max": "500ms"}},
                      "generation": {"enabled": False},
                      "supervisor": {"crash_limit": 1000}})
    daemon.start(env={"TIDEMILL_CRASH_FILE": str(file)})
    model = Model(daemon, seed)
    daemon.run("enqueue", "first", "1", "{}")
    daemon.run("sync", "now")
    centre.count_applications()
    deaths = 0
    print(f"seed {seed}")
    for point, sinks in POINTS:
        for count in (1, 3) if centre.sink in sinks.split() else ():
            die_at(daemon, file, model, point, count)
            wait_for(lambda: drained(daemon), 30, f"the drain after {point}")
            model.check(centre)
            deaths += 1
    print(f"{deaths} deaths at the points of {centre.sink}, "
          f"{model.number} operations")
    assert daemon.stop() == 0
