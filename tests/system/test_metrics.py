# SPDX-License-Identifier: Apache-2.0
"""Metrics: totals that never fall, quantiles, samples that are kept."""
import threading
import time

import pytest

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


@pytest.mark.slow
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


def test_what_is_read_from_the_boards(daemon):
    daemon.start()
    text = daemon.run("metrics").stdout.splitlines()
    assert 'tidemill_workers{role="store",state="starting"} 0' in text
    assert 'tidemill_role_degraded{role="sync"} 0' in text
    assert "tidemill_config_epoch 1" in text
    assert "tidemill_config_reload_refused 0" in text
    daemon.run("sync", "pause")
    daemon.kill_worker("monitor")
    restarts = "tidemill_worker_restarts_total"
    wait_for(lambda: daemon.json("metrics")[restarts] == 1,
             what="the monitor's successor to be counted")
    metrics = daemon.json("metrics")
    assert {"state": "paused", "value": 1} in metrics["tidemill_sync_state"]
    assert sum(row["value"] for row in metrics["tidemill_sync_state"]) == 1
    assert sum(row["value"] for row in metrics["tidemill_workers"]) == len(
        daemon.workers())
    assert time.time() - 600 < metrics["tidemill_start_time_seconds"] \
        <= time.time()


@pytest.mark.slow
def test_samples_are_kept_and_bounded(daemon):
    """Also over a restart, when the totals begin anew."""
    daemon.configure({"monitoring": {"health_check_interval": "100ms",
                                     "metric_retention_points": 5}})
    daemon.start()
    daemon.run("enqueue", "t", "1", "{}")

    def samples(*args):
        return daemon.json("metrics", "--history", *args)

    def accepted():
        return [s["metrics"]["tidemill_outbox_accepted_total"]
                for s in samples()]

    wait_for(lambda: accepted() == [1] * 5, what="five samples")
    kept = samples()
    times = [s["at"] for s in kept]
    assert times == sorted(times) and len(set(times)) == 5
    assert kept[0]["metrics"]["tidemill_store_commit_seconds"]["buckets_us"]
    wait_for(lambda: samples()[0]["at"] > times[-1], what="the next five")
    assert len(samples()) == 5
    daemon.stop()
    assert [s["at"] for s in samples("--limit", "2")] == \
        [s["at"] for s in samples()][-2:]
    daemon.start()
    wait_for(lambda: sorted(set(accepted())) == [0, 1],
             what="a sample of the next daemon")
    text = daemon.run("metrics", "--history").stdout
    assert max(map(len, text.splitlines())) <= 80
    rates = [line.split()[2] for line in text.splitlines()[1:]]
    assert all(r == "-" or float(r) >= 0 for r in rates), text
    assert daemon.run("metrics", "--limit", "2", check=False).returncode == 64
