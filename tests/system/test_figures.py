# SPDX-License-Identifier: Apache-2.0
"""Figures of events, phases, templates and mixins: what hosts record, and the
views of it at the centre and in `tidemill metrics --report`."""
import contextlib
import json
import sqlite3

import psycopg2
import pytest

from harness import SOURCE, Daemon, wait_for

CONTRACTS = sorted((SOURCE / "tests/fixtures/contracts").glob("*.yaml"))

# What tools look for, in the order of the migration, then what the guide adds.
COLUMNS = {
    "event_processing_metrics":
        "id event_type event_source processing_duration_ms "
        "queue_wait_time_ms success error_type error_message retry_count "
        "batch_size created_at events total_processing_ms total_wait_ms",
    "event_processing_health":
        "event_type event_source total_events success_count failure_count "
        "success_rate avg_duration_ms avg_wait_ms avg_retries p95_latency_ms",
    "generation_performance_metrics":
        "id session_id node_type phase duration_ms memory_usage_mb "
        "cpu_percent cache_hit parallel_execution worker_count metadata "
        "created_at",
    "performance_metrics_summary":
        "phase execution_count avg_duration_ms p95_duration_ms "
        "p99_duration_ms cache_hits parallel_executions avg_workers",
    "template_cache_metadata":
        "template_name template_type cache_key file_path file_hash "
        "size_bytes load_time_ms last_accessed_at access_count cache_hits "
        "cache_misses created_at updated_at",
    "template_cache_efficiency":
        "template_type template_count avg_cache_hits avg_cache_misses "
        "hit_rate avg_load_time_ms total_size_mb overall_hit_rate",
    "mixin_compatibility_matrix":
        "id mixin_a mixin_b node_type compatibility_score success_count "
        "failure_count last_tested_at conflict_reason resolution_pattern "
        "created_at updated_at",
    "mixin_compatibility_summary":
        "node_type total_combinations avg_compatibility total_successes "
        "total_failures success_rate compatibility_score failure_count",
    "pattern_feedback_log":
        "id session_id pattern_name detected_confidence actual_pattern "
        "feedback_type user_provided contract_json capabilities_matched "
        "false_positives false_negatives learning_weight created_at",
    "pattern_feedback_analysis":
        "pattern_name feedback_type feedback_count avg_confidence "
        "user_provided_count avg_learning_weight precision "
        "false_positive_count",
}


@pytest.fixture(scope="module")
def host(tmp_path_factory, postgres_server):
    """A daemon that has carried and generated something, and its centre."""
    postgres_server.ensure_running()
    centre = postgres_server.create_database()
    daemon = Daemon(tmp_path_factory.mktemp("figures"), centre.config(
        sync={"max_retries": 2,
              "thresholds": {"max_pending_operations": 1}},
        monitoring={"health_check_interval": "100ms",
                    "report_interval": "200ms"}))
    daemon.start()
    daemon.run("generate", "--output", str(daemon.folder / "out"),
               *map(str, CONTRACTS[:3]))
    daemon.run("feedback", "record", "--pattern", "crud", "--type", "correct",
               "--confidence", "0.9", "--contract", str(CONTRACTS[0]))
    # Who leaves tells of the templates that it used.
    daemon.configure({"generation": {"max_retries": 4}})
    daemon.run("reload")
    daemon.run("enqueue", "--batch", "-", input="\n".join(json.dumps(
        {"table": "tasks", "record_id": f"r{n}", "data": {"n": n}})
        for n in range(30)))
    daemon.run("enqueue", "tasks", "bad", '{"text": "\\u0000"}')
    daemon.run("hook", input=json.dumps(
        {"session_id": "s", "hook_event_name": "SessionEnd",
         "reason": "other"}))
    wait_for(lambda: daemon.json("sync", "status")["dead"] == 1, 20,
             "the poison to be dead")
    daemon.run("sync", "drain")
    yield daemon, centre
    daemon.cleanup()
    centre.drop()


def rows(centre, view, more=""):
    connection = centre.connect()
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM tidemill.{view} {more}")
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def report(daemon, name):
    return daemon.json("metrics", "--report", name, "--limit", "100000")


def told(host):
    """All that the host recorded has come to the centre."""
    daemon, centre = host
    events = sum(row["events"] for row in report(
        daemon, "event_processing_metrics"))
    jobs = daemon.json("metrics", "--report", "template_cache_efficiency")
    return (daemon.pending() == 0 and jobs and
            sum(row["events"] for row in rows(
                centre, "event_processing_metrics")) == events and
            rows(centre, "template_cache_metadata") and
            rows(centre, "pattern_feedback_log"))


def samples(daemon):
    with contextlib.closing(daemon.store()) as db:
        return db.execute("SELECT max(id) FROM metric_samples").fetchone()[0]


@pytest.mark.parametrize("name", COLUMNS)
def test_columns(host, name):
    daemon, centre = host
    wait_for(lambda: told(host), 20, "the figures to be at the centre")
    columns = COLUMNS[name].split()
    names = [row[0] for row in centre.query(
        "SELECT attname FROM pg_attribute WHERE attrelid = "
        f"'tidemill.{name}'::regclass AND attnum > 0 ORDER BY attnum")]
    if name == "template_cache_metadata":
        assert names[:2] == ["system_id", "id"]
        assert names[2:-1] == columns and names[-1] == "exact_load_time_ms"
    else:
        assert names == (["system_id"] if "system_id" in names else []) + \
            columns
    listed = [row["name"] for row in daemon.json("metrics", "--report", "list")]
    assert sorted(listed) == sorted(COLUMNS)
    local = report(daemon, name)
    assert not local or list(local[0]) == columns
    assert len(local) > 0 or name.startswith("mixin")
    if name.startswith("pattern"):
        assert len(rows(centre, name)) == len(local) == 1
    text = daemon.run("metrics", "--report", name).stdout
    assert columns[0] in text or "nothing recorded" in text


def test_what_was_recorded(host):
    daemon, centre = host
    wait_for(lambda: told(host), 20, "the figures to be at the centre")
    for health in (rows(centre, "event_processing_health"),
                   report(daemon, "event_processing_health")):
        tasks = [r for r in health if r["event_type"] == "tasks"]
        assert len(tasks) == 1 and tasks[0]["event_source"] == "local"
        # The poison was refused three times.
        assert tasks[0]["success_count"] == 30
        assert tasks[0]["failure_count"] == 3
        assert tasks[0]["total_events"] == 33
        assert float(tasks[0]["success_rate"]) == 0.909
        assert float(tasks[0]["avg_retries"]) == 0.1  # 0 + 1 + 2 of 33
        types = {r["event_type"] for r in health}
        assert {"tasks", "generation_jobs", "task_summaries"} <= types
        assert not any(t.startswith("tidemill_") for t in types)
    bad = rows(centre, "event_processing_metrics", "WHERE NOT success")
    assert sum(r["events"] for r in bad) == 3
    assert all(r["error_type"] and r["error_message"] for r in bad)
    phases = rows(centre, "generation_performance_metrics")
    assert len({r["session_id"] for r in phases}) == 1
    assert {r["phase"] for r in phases} == {
        "template_load", "code_gen", "validation", "persistence", "total"}
    assert len(phases) == len(report(
        daemon, "generation_performance_metrics")) == 3 * 5
    assert all(r["worker_count"] >= 1 for r in phases)
    for used in (phases, report(daemon, "generation_performance_metrics")):
        assert all(r["memory_usage_mb"] >= 1 for r in used)
        totals = [r["cpu_percent"] for r in used if r["phase"] == "total"]
        assert len(totals) == 3 and all(0 < t < 150 for t in totals)
    here = {r["template_name"]: r for r in report(
        daemon, "template_cache_metadata")}
    there = {r["template_name"]: r for r in rows(
        centre, "template_cache_metadata")}
    assert here.keys() == there.keys()
    assert all(there[n]["file_hash"] == here[n]["file_hash"] for n in here)


def test_an_idle_host_tells_nothing(host):
    daemon, centre = host
    wait_for(lambda: told(host), 20, "the figures to be at the centre")
    before = centre.query("SELECT count(*) FROM tidemill.ledger")
    last = samples(daemon)
    wait_for(lambda: samples(daemon) >= last + 6, 20,
             "the monitor to have looked again")
    assert daemon.pending() == 0
    assert centre.query("SELECT count(*) FROM tidemill.ledger") == before


# --- worked examples, at the centre and here ---

# type, source, success, SQLSTATE, words, events, us, wait ms, retries, batch
FIGURES = [
    ["e", None, 1, None, None, 10, 100000, 500, 0, 10],   # 10 ms each
    ["e", None, 1, None, None, 9, 270000, 90, 3, 12],     # 30 ms each
    ["e", None, 0, "22P05", "no", 2, 200000, 10, 4, 12],  # 100 ms each
    ["f", None, 1, None, None, 1, 400, 0, 0, 1],
]
PHASES = [{"total": n * 10, "code_gen": n, "lunch": 5} for n in range(1, 12)]
TRIED = [  # mixins, state
    (["Caching", "Retry"], "done"), (["Caching", "Retry"], "done"),
    (["Caching", "Retry"], "failed"), (["Caching", "Logging"], "failed"),
]
FEEDBACK = [  # pattern, confidence, kind, by a person
    ("crud", 0.9, "correct", 1), ("crud", 0.8, "correct", 0),
    ("crud", 0.75, "incorrect", 1), ("crud", 0.7, "partial", 0),
]
TEMPLATES = [  # name, type, bytes, load ms, hits, misses
    ("a", "node", 1048576, 2.5, 3, 1), ("b", "node", 524288, 1.5, 4, 2),
    ("c", "contract", 0, 1, 0, 1),
]


def fill_centre(centre):
    def put(table, record, data):
        centre.query("INSERT INTO tidemill.synced_records (system_id, "
                     "table_name, record_id, data) VALUES ('w', %s, %s, %s)",
                     table, record, json.dumps(data))
    centre.query("DELETE FROM tidemill.synced_records")
    put("tidemill_events", "1", {"rows": [
        [1000, f[0], "local", *f[2:]] for f in FIGURES]})
    for n, phases in enumerate(PHASES):
        put("generation_jobs", str(n), {
            "state": "done", "node_type": "EFFECT", "phases": phases,
            "cache_hit": n % 2 == 0, "workers": 1 + n % 2,
            "finished_at": "2026-01-01T00:00:00Z"})
    for n, (mixins, state) in enumerate(TRIED):
        put("generation_jobs", f"m{n}", {
            "state": state, "node_type": "EFFECT", "mixins": mixins,
            "mixins_tried": True, "error": "clash",
            "finished_at": "2026-01-01T00:00:00Z"})
    put("tidemill_feedback", "1", {"rows": [
        {"id": n, "session_id": "s", "pattern_name": name,
         "detected_confidence": confidence, "feedback_type": kind,
         "user_provided": user, "contract_json": None,
         "capabilities_matched": [],
         "false_positives": [name] if kind == "incorrect" else [],
         "false_negatives": [], "learning_weight": 1 if user else 0.5,
         "created_at": 1}
        for n, (name, confidence, kind, user) in enumerate(FEEDBACK)]})
    put("tidemill_templates", "used", {
        name: {"template_type": kind, "cache_key": "k", "file_path": "p",
               "file_hash": "00", "size_bytes": size, "load_time_ms": load,
               "last_accessed_at": 1, "access_count": hits + misses,
               "cache_hits": hits, "cache_misses": misses, "created_at": 1,
               "updated_at": 1}
        for name, kind, size, load, hits, misses in TEMPLATES})
    # What tools should not fall over.
    put("tidemill_events", "2", [1])
    put("tidemill_feedback", "2", {"rows": 1})
    put("tidemill_templates", "other", [])
    put("generation_jobs", "x", {"state": "done", "phases": "none"})


def fill_store(path):
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for table in ("sync_metrics", "generation_jobs",
                      "template_cache_metadata", "mixin_compatibility_matrix",
                      "pattern_feedback_log"):
            db.execute(f"DELETE FROM {table}")
        db.execute("INSERT INTO sync_metrics VALUES (1, 1000, 1, 1, 'request',"
                   " 1, NULL, 1, 1, 0, ?)", (json.dumps(FIGURES),))
        for n, phases in enumerate(PHASES):
            db.execute(
                "INSERT INTO generation_jobs (kind, priority, state, "
                "created_ms, finished_ms, result) VALUES "
                "('render', 2, 'done', 1, 1, ?)", (json.dumps(
                    {"node_type": "EFFECT", "phases": phases,
                     "cache_hit": n % 2 == 0, "workers": 1 + n % 2}),))
        for name, kind, size, load, hits, misses in TEMPLATES:
            db.execute(
                "INSERT INTO template_cache_metadata VALUES "
                "(?, ?, 'k', 'p', '00', ?, ?, 1, ?, ?, ?, 1, 1)",
                (name, kind, size, load, hits + misses, hits, misses))
        for name, confidence, kind, user in FEEDBACK:
            db.execute(
                "INSERT INTO pattern_feedback_log (session_id, pattern_name, "
                "detected_confidence, feedback_type, user_provided, "
                "false_positives, learning_weight, created_at) VALUES "
                "('s', ?, ?, ?, ?, ?, ?, 1)",
                (name, confidence, kind, user, json.dumps(
                    [name] if kind == "incorrect" else []),
                 1 if user else 0.5))
        for a, b, good, bad in (("Caching", "Retry", 2, 1),
                                ("Caching", "Logging", 0, 1)):
            db.execute(
                "INSERT INTO mixin_compatibility_matrix (mixin_a, mixin_b, "
                "node_type, compatibility_score, success_count, failure_count,"
                " created_at, updated_at) VALUES (?, ?, 'EFFECT', ?, ?, ?, 1,"
                " 1)", (a, b, round(good / (good + bad), 4), good, bad))


EXPECTED = {
    # 21 events: 10 of 10 ms, 9 of 30, 2 of 100; place 0.95 * 20 = 19: 100
    # (570 / 21 = 27.14; 600 / 21; 7 / 21)
    "event_processing_health": [
        ("e", "local", 21, 19, 2, 0.905, 27.14, 28.57, 0.3, 100),
        ("f", "local", 1, 1, 0, 1, 0.4, 0, 0, 0.4)],
    # 10, 20 ... 110: places 9.5 and 9.9
    "performance_metrics_summary": [
        ("code_gen", 11, 6, 10.5, 10.9, 6, 5, 1.5),
        ("total", 11, 60, 105, 109, 6, 5, 1.5)],
    "template_cache_efficiency": [
        ("contract", 1, 0, 1, 0, 1, 0, 0.636),
        ("node", 2, 3.5, 1.5, 0.7, 2, 1.5, 0.636)],
    # (0.6667 + 0) / 2; 2 of 4
    "mixin_compatibility_summary": [
        ("EFFECT", 2, 0.333, 2, 2, 0.5, 0.333, 2)],
    # 2 of 3 are correct; partial is apart
    "pattern_feedback_analysis": [
        ("crud", "correct", 2, 0.85, 1, 0.75, 0.667, 0),
        ("crud", "incorrect", 1, 0.75, 1, 1, 0.667, 1),
        ("crud", "partial", 1, 0.7, 0, 0.5, 0.667, 0)],
}


def plain(row):
    return tuple(v if isinstance(v, str) else float(v) for v in row.values())


def test_worked_examples(host):
    daemon, centre = host
    daemon.stop()
    fill_centre(centre)
    fill_store(daemon.store_path)
    for name, expected in EXPECTED.items():
        assert sorted(map(plain, rows(centre, name))) == expected, name
        assert sorted(map(plain, report(daemon, name))) == expected, name
    e = rows(centre, "event_processing_metrics",
             "WHERE event_type = 'e' ORDER BY events")
    assert [(r["processing_duration_ms"], r["queue_wait_time_ms"],
             r["success"], r["error_type"], r["retry_count"], r["batch_size"])
            for r in e] == [(100, 5, False, "22P05", 4, 12),
                            (30, 10, True, None, 3, 12),
                            (10, 50, True, None, 0, 10)]
    matrix = rows(centre, "mixin_compatibility_matrix", "ORDER BY mixin_b")
    assert [(r["mixin_a"], r["mixin_b"], float(r["compatibility_score"]),
             r["conflict_reason"]) for r in matrix] == [
        ("Caching", "Logging", 0, "clash"), ("Caching", "Retry", 0.6667,
                                             "clash")]


@pytest.mark.parametrize("sizes", [[1], [1, 1], [3, 4, 5], [20, 1], [7, 90, 3],
                                   [1000, 1]])
def test_percentile_is_that_of_all_events(host, sizes):
    """As percentile_cont of a row for each event."""
    _, centre = host
    centre.query("DELETE FROM tidemill.synced_records")
    figures = [[1, "p", "local", 1, None, None, n, n * (i * i + 1) * 1000, 0,
                0, n] for i, n in enumerate(sizes)]
    centre.query("INSERT INTO tidemill.synced_records (system_id, table_name, "
                 "record_id, data) VALUES ('w', 'tidemill_events', '1', %s)",
                 json.dumps({"rows": figures}))
    expected = centre.query(
        "SELECT round(percentile_cont(0.95) WITHIN GROUP (ORDER BY "
        "total_processing_ms / events)::numeric, 2) FROM "
        "tidemill.event_processing_metrics, generate_series(1, events)")
    assert centre.query("SELECT p95_latency_ms FROM "
                        "tidemill.event_processing_health") == expected


def test_what_tools_tell(host):
    """The functions that tools look for, beside what the hosts recorded."""
    _, centre = host
    fill_centre(centre)
    told = [("Caching", "Retry", True, None, None),
            ("Retry", "Caching", False, "both keep", "cache outside"),
            ("Caching", "Retry", True, None, None),
            ("Audit", "Retry", False, "odd", None)]
    ids = [centre.query(
        "SELECT tidemill.update_mixin_compatibility(%s, %s, 'EFFECT', %s, %s,"
        " %s)", *row)[0][0] for row in told]
    matrix = {(r["mixin_a"], r["mixin_b"]): r for r in rows(
        centre, "mixin_compatibility_matrix")}
    pair = matrix["Caching", "Retry"]  # 2 of 3 from jobs, 2 of 3 told
    assert ids[0] == ids[1] == ids[2] == pair["id"] != ids[3]
    assert (pair["success_count"], pair["failure_count"],
            float(pair["compatibility_score"]), pair["conflict_reason"],
            pair["resolution_pattern"]) == (4, 2, 0.6667, "both keep",
                                            "cache outside")
    assert matrix["Audit", "Retry"]["failure_count"] == 1
    assert matrix["Caching", "Logging"]["conflict_reason"] == "clash"
    summary, = rows(centre, "mixin_compatibility_summary")
    assert (summary["total_combinations"], summary["total_successes"],
            summary["total_failures"]) == (3, 4, 4)

    session = "00000000-0000-0000-0000-000000000001"
    ids = [centre.query(
        "SELECT tidemill.record_pattern_feedback(%s, 'crud', 0.8, NULL, "
        "'incorrect')", session)[0][0],
        centre.query(
        "SELECT tidemill.record_pattern_feedback(%s, 'etl', NULL, 'crud', "
        "'adjusted', true, '{\"a\": 1}')", session)[0][0]]
    log = {r["id"]: r for r in rows(centre, "pattern_feedback_log")}
    assert len(log) == 4 + 2
    assert [(log[i]["session_id"], float(log[i]["learning_weight"]),
             log[i]["user_provided"], log[i]["contract_json"])
            for i in ids] == [(session, 0.5, False, None),
                              (session, 1.0, True, {"a": 1})]
    analysis = {(r["pattern_name"], r["feedback_type"]): r for r in rows(
        centre, "pattern_feedback_analysis")}
    assert float(analysis["crud", "incorrect"]["precision"]) == 0.5  # 2 of 4
    assert analysis["etl", "adjusted"]["user_provided_count"] == 1
    for wrong in ("update_mixin_compatibility('a', 'a', 'EFFECT', true)",
                  "update_mixin_compatibility('a', 'b', 'NODE', true)",
                  "update_mixin_compatibility('a', 'b', 'EFFECT', NULL)",
                  f"record_pattern_feedback('{session}', 'p', 1.1, NULL, "
                  "'correct')",
                  f"record_pattern_feedback('{session}', 'p', 1, NULL, 'x')"):
        with pytest.raises(psycopg2.IntegrityError):
            centre.query(f"SELECT tidemill.{wrong}")
