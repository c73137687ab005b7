# SPDX-License-Identifier: Apache-2.0
"""Pools that breathe: workers come when work waits and go when it does not."""
import os
import signal
import sys

from harness import wait_for


def pool(daemon, role):
    return next(p for p in daemon.json("status")["pools"] if p["role"] == role)


def size(daemon, role="generation"):
    return pool(daemon, role)["size"]


def metric(daemon, name, role=None):
    value = daemon.json("metrics")[f"tidemill_{name}"]
    return value if role is None else \
        next(v["value"] for v in value if v["role"] == role)


def submit(daemon, *command):
    """A command that nobody waits for; its job's number."""
    return daemon.json("run", "--detach", "--", *command)["id"]


def running(daemon):
    return [w for w in daemon.workers("generation") if w["work_id"]]


def states(daemon, *jobs):
    return [daemon.json("jobs", "show", job)["state"] for job in jobs]


def cancel(daemon, jobs):
    for job in jobs:
        daemon.run("jobs", "cancel", job)
    wait_for(lambda: not running(daemon), what="no job")


def test_grows_under_load_and_shrinks_when_idle(daemon):
    daemon.configure({"generation": {"min_workers": 1, "max_workers": 4,
                                     "idle_timeout": "300ms"},
                      "sync": {"min_workers": 1}})
    daemon.start()
    assert size(daemon) == 1 and len(daemon.workers("generation")) == 1
    jobs = [submit(daemon, "sleep", "1000") for _ in range(5)]
    wait_for(lambda: len(running(daemon)) == 4, what="four at work")
    status = daemon.run("status").stdout
    assert "generation 4 of 1 to 4" in status and "sync 1 of 1 to 2" in status
    wait_for(lambda: pool(daemon, "generation")["waiting_seconds"] > 0)
    assert metric(daemon, "pool_size", "generation") == 4
    assert metric(daemon, "pool_waiting_seconds", "generation") > 0
    assert metric(daemon, "pool_growths_total") >= 2  # 2, then 4
    cancel(daemon, jobs)
    wait_for(lambda: len(daemon.workers("generation")) == 1, what="one left")
    wait_for(lambda: states(daemon, *jobs) == ["cancelled"] * 5)
    assert metric(daemon, "pool_size", "generation") == 1
    assert metric(daemon, "pool_waiting_seconds", "generation") == 0
    assert metric(daemon, "pool_shrinks_total") >= 3
    assert '"pool shrinks"' in daemon.log_text()
    assert daemon.run("run", "--", "echo", "still here").stdout == "still here\n"


def test_what_the_one_that_leaves_has_claimed_is_done(daemon):
    """Jobs come without end while the pool shrinks: each is done once."""
    daemon.configure({"generation": {"min_workers": 4, "max_workers": 4}})
    daemon.start()
    marks = daemon.folder / "marks"
    jobs = []
    for number in range(40):
        jobs.append(submit(daemon, "sh", "-c", f"echo {number} >> {marks}"))
        if number % 10 == 5:  # its bounds pull it down, or give it room
            daemon.configure({"generation": {"min_workers": 1, "max_workers":
                                             4 if number == 15 else 1}})
            daemon.run("reload")
    wait_for(lambda: set(states(daemon, *jobs)) == {"done"}, what="all done")
    assert sorted(map(int, marks.read_text().split())) == list(range(40))
    assert size(daemon) == 1
    for job in jobs:
        assert daemon.json("jobs", "show", job)["attempt"] == 1


def test_what_a_life_before_left_is_taken_up_without_its_slot(daemon):
    """A claim of a slot that the pool does not have any more."""
    daemon.configure({"generation": {"min_workers": 3, "max_workers": 3}})
    daemon.start()
    jobs = [submit(daemon, "sleep", "1000") for _ in range(3)]
    wait_for(lambda: len(running(daemon)) == 3, what="three at work")
    daemon.process.kill()
    daemon.process.wait()
    daemon.configure({"generation": {"min_workers": 1, "max_workers": 3}})
    daemon.start()
    wait_for(lambda: sorted(w["work_id"] for w in running(daemon)) == jobs,
             what="all three at work again")
    cancel(daemon, jobs)


def test_sync_grows_for_a_backlog(daemon):
    daemon.configure({"sync": {"min_workers": 1, "max_workers": 3,
                               "idle_timeout": "300ms",
                               "batch": {"min": 5, "max": 10}}})
    daemon.start()
    assert len(daemon.workers("sync")) == 1
    daemon.run("sync", "pause")
    lines = "\n".join('{"table": "t", "record_id": "%d", "data": {}}' % i
                      for i in range(3000))
    daemon.run("enqueue", "--batch", "-", input=lines)
    daemon.run("sync", "resume")
    daemon.run("sync", "drain")
    assert daemon.pending() == 0
    assert metric(daemon, "pool_growths_total") >= 1
    with daemon.centre() as centre:
        assert centre.execute("SELECT count(*) FROM synced_records"
                              ).fetchone()[0] == 3000
    wait_for(lambda: len(daemon.workers("sync")) == 1, what="one left")
    assert daemon.json("sync", "status")["state"] == "online"


def test_a_degraded_pool_is_told_and_heals(daemon):
    daemon.configure({"supervisor": {"crash_limit": 3, "crash_window": "2s"}})
    daemon.start()
    assert metric(daemon, "role_degraded", "generation") == 0

    def crash():
        for worker in daemon.workers("generation"):
            if worker["pid"]:
                os.kill(worker["pid"], signal.SIGKILL)
        return "generation" in daemon.json("status")["degraded"]
    wait_for(crash, what="a degraded pool")
    assert "generation is degraded" in daemon.run("status").stdout
    assert pool(daemon, "generation")["degraded"]
    assert metric(daemon, "role_degraded", "generation") == 1
    assert "the generation pool is degraded" in daemon.log_text()
    wait_for(lambda: not daemon.json("status")["degraded"], what="recovery")
    assert metric(daemon, "role_degraded", "generation") == 0
    assert "the generation pool has recovered" in daemon.log_text()
    assert daemon.run("run", "--", "echo", "healed").stdout == "healed\n"


# Takes so many MB, says that it runs, and stays until it is told to go.
EATER = """
import pathlib, sys, time
size, folder, name = sys.argv[1:]
eaten = b"x" * (int(size) << 20)
running = pathlib.Path(folder, name)
running.touch()
while not pathlib.Path(folder, "go-" + name).exists():
    time.sleep(0.02)
running.unlink()
"""


class Eaters:
    def __init__(self, daemon):
        self.daemon = daemon
        self.folder = daemon.folder / "eaters"
        self.folder.mkdir()
        os.chmod(self.folder, 0o777)
        self.program = daemon.folder / "eater.py"
        self.program.write_text(EATER)
        self.jobs = {}

    def submit(self, name, megabytes=1):
        self.jobs[name] = submit(self.daemon, sys.executable, self.program,
                                 megabytes, self.folder, name)

    def running(self):
        return sorted(path.name for path in self.folder.iterdir()
                      if not path.name.startswith("go-"))

    def let_go(self, name):
        (self.folder / f"go-{name}").touch()
        wait_for(lambda: states(self.daemon, self.jobs[name]) == ["done"],
                 what=f"the end of {name}")


def held(daemon):
    return daemon.json("status")["memory"]["held_seconds"] > 0


def test_memory_holds_jobs_back_and_lets_them_go(daemon):
    daemon.configure({"generation": {
        "min_workers": 2, "max_workers": 2, "memory_limit": "350MB"}})
    daemon.start()
    eaters = Eaters(daemon)
    eaters.submit("a", 200)
    # it may take its time on a loaded machine
    wait_for(lambda: metric(daemon, "generation_command_bytes") > 200 << 20,
             what="its memory, measured")
    eaters.submit("b", 200)
    eaters.submit("c", 200)
    wait_for(lambda: held(daemon), what="jobs that wait for memory")
    memory = daemon.json("status")["memory"]
    assert memory["limit_bytes"] == 350 * 10 ** 6
    assert memory["used_bytes"] > 200 << 20
    assert "jobs have waited for it" in daemon.run("status").stdout
    assert metric(daemon, "generation_workers_held") == 1
    for name, following in zip("abc", ["b", "c", None]):
        assert eaters.running() == [name]  # never two
        eaters.let_go(name)
        if following:
            wait_for(lambda: eaters.running() == [following])
    wait_for(lambda: not held(daemon))
    assert metric(daemon, "generation_workers_held") == 0
    assert metric(daemon, "generation_holds_total") >= 1
    log = daemon.log_text()
    assert 1 <= log.count('"jobs wait for memory"') <= 3
    assert '"jobs wait for memory no more"' in log


def test_what_fits_runs_side_by_side(daemon):
    daemon.configure({"generation": {
        "min_workers": 2, "max_workers": 2, "memory_limit": "8GB"}})
    daemon.start()
    eaters = Eaters(daemon)
    eaters.submit("a")
    eaters.submit("b")  # as soon as it is known what the first one takes
    wait_for(lambda: eaters.running() == ["a", "b"])
    assert not held(daemon)
    for name in "ab":
        eaters.let_go(name)


def test_pressure_holds_jobs_back(daemon):
    pressure = daemon.folder / "pressure"
    pressure.write_text("some avg10=55.00 avg60=1.00 avg300=0.00 total=1\n")
    daemon.configure({"generation": {"min_workers": 2, "max_workers": 2,
                                     "pressure_file": str(pressure)}})
    daemon.start()
    eaters = Eaters(daemon)
    eaters.submit("a")
    wait_for(lambda: eaters.running() == ["a"])
    eaters.submit("b")
    wait_for(lambda: held(daemon))
    status = daemon.json("status")["memory"]
    assert status["pressure_percent"] == 55 and status["limit_bytes"] is None
    assert "pressure 55 %" in daemon.run("status").stdout
    assert eaters.running() == ["a"]
    pressure.write_text("some avg10=1.50 avg60=1.00 avg300=0.00 total=1\n")
    wait_for(lambda: eaters.running() == ["a", "b"])
    assert not held(daemon)
    for name in "ab":
        eaters.let_go(name)


def test_without_pressure_information(daemon):
    daemon.configure({"generation": {"pressure_file": "/nonexistent/memory"}})
    daemon.start()
    eaters = Eaters(daemon)
    eaters.submit("a")
    eaters.submit("b")
    wait_for(lambda: eaters.running() == ["a", "b"])
    assert daemon.json("status")["memory"]["pressure_percent"] is None
    assert "memory pressure cannot be told" in daemon.log_text()
    for name in "ab":
        eaters.let_go(name)
