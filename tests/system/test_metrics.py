# SPDX-License-Identifier: Apache-2.0
"""Metrics: totals that never fall, quantiles, samples that are kept."""
import threading

from harness import wait_for


def counted(metrics):
    """Everything in `metrics --json` that can only grow."""
    found = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            found[name] = value["count"]
            found[name + "_sum"] = value["sum_seconds"]
        elif name.endswith("_total"):
            found[name] = value
    return found


def test_totals_never_fall_when_workers_are_killed(daemon):
    daemon.start()
    stop = threading.Event()

    def feed():
        while not stop.is_set():
            for n in range(20):
                daemon.run("enqueue", "t", str(n), "{}", check=False)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        before = counted(daemon.json("metrics"))
        for role in ("sync", "store", "gateway", "monitor", "generation") * 2:
            daemon.kill_worker(role)
            for _ in range(5):
                now = counted(daemon.json("metrics"))
                fell = {n: (before[n], now[n]) for n in before
                        if now[n] < before[n]}
                assert not fell
                before = now
        accepted = "tidemill_outbox_accepted_total"
        wait_for(lambda: daemon.json("metrics")[accepted] > before[accepted],
                 what="the successors to go on counting")
    finally:
        stop.set()
        feeder.join()


def test_status_tells_usage_and_latency(daemon):
    daemon.start()
    daemon.run("enqueue", "t", "1", "{}")
    status = daemon.json("status")
    for process in [status, *status["workers"]]:
        assert process["rss_bytes"] > 100000
        assert process["cpu_seconds"] >= 0
    commit = status["latency"]["store_commit"]
    assert commit["count"] >= 1
    assert 0 < commit["p50_ms"] <= commit["p95_ms"] <= commit["p99_ms"]
    assert "commit" in daemon.run("status").stdout
