# SPDX-License-Identifier: Apache-2.0
"""Clients of all kinds around a daemon, and what must be true in the end."""
import collections
import contextlib
import threading

from harness import SOURCE, wait_for

CONTRACTS = sorted((SOURCE / "tests/fixtures/contracts").iterdir())


class Load:
    """Threads that run commands one after the other until stop().  No command
    may fail; each thing that was acknowledged is counted."""

    def __init__(self, daemon, folder):
        self.daemon = daemon
        self.folder = folder
        self.failures = []
        self.counts = collections.Counter()
        self.kinds = []
        self.stopped = threading.Event()
        self.threads = []

    def start(self, **clients):
        """enqueue=2, generate=1, status=1 and so on: threads of each kind."""
        self.kinds = list(clients)
        for kind, count in clients.items():
            for number in range(count):
                self.threads.append(threading.Thread(
                    target=self._run, args=(kind, number), daemon=True))
                self.threads[-1].start()
        return self

    def _run(self, kind, number):
        step = 0
        while not self.stopped.is_set() and not self.failures:
            try:
                getattr(self, kind)(number, step)
            except Exception as error:  # for the main thread to tell
                self.failures.append(f"{kind}: {error}")
            else:
                self.counts[kind] += 1
            step += 1

    def wait_for_each(self, more):
        """Until each kind of client has done so many things more."""
        goal = {kind: self.counts[kind] + more for kind in self.kinds}
        wait_for(lambda: self.failures or all(
            self.counts[kind] >= goal[kind] for kind in goal),
            what="every client to go on")
        self.check()

    def check(self):
        assert not self.failures, (self.failures, self.daemon.log_text()[-9000:])

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(150)
            assert not thread.is_alive()
        self.check()

    # --- the clients ---

    def enqueue(self, number, step):
        self.daemon.run("enqueue", "load", f"{number}-{step}",
                        f'{{"n": {step}}}')

    def hook(self, number, step):
        self.daemon.run("hook", input=f'{{"hook_event_name": "PostToolUse", '
                                      f'"session_id": "s{number}", '
                                      f'"tool_name": "Edit"}}')

    def generate(self, number, step):
        answer = self.daemon.json("generate", "--output",
                                  self.folder / f"code-{number}",
                                  CONTRACTS[step % len(CONTRACTS)])
        assert answer["failed"] == 0 and answer["jobs"] == 1, answer

    def status(self, number, step):
        assert self.daemon.json("status")["running"]

    def metrics(self, number, step):
        assert "tidemill_" in self.daemon.run("metrics").stdout

    def sync(self, number, step):
        self.daemon.run("sync", "now")

    # --- the end ---

    def settle(self):
        """stop(), a drain, and: nothing lost, nothing doubled."""
        self.stop()
        self.daemon.run("sync", "drain")
        with contextlib.closing(self.daemon.centre()) as centre:
            found = centre.execute(
                "SELECT count(*) FROM synced_records WHERE "
                "table_name = 'load' AND deleted = 0").fetchone()[0]
        with contextlib.closing(self.daemon.store()) as store:
            sent = store.execute(
                "SELECT count(*), count(DISTINCT record_id) FROM sync_queue "
                "WHERE table_name = 'load'").fetchone()
            jobs = dict(store.execute(
                "SELECT state, count(*) FROM generation_jobs GROUP BY state"))
            hooks = store.execute(
                "SELECT count(*) FROM hook_events").fetchone()[0]
        assert found == self.counts["enqueue"]
        assert tuple(sent) == (found, found)
        assert jobs == ({"done": self.counts["generate"]}
                        if self.counts["generate"] else {})
        assert hooks == self.counts["hook"]
