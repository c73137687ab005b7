# SPDX-License-Identifier: Apache-2.0
"""Patterns of contracts, what is said of them, and what follows."""
import contextlib

import pytest
from harness import SOURCE

CONTRACTS = SOURCE / "tests/fixtures/contracts"


def record(daemon, count, *options):
    for _ in range(count):
        daemon.run("feedback", "record", "--pattern", "crud", *options)


def test_patterns_of_contracts(daemon):
    daemon.configure({})
    paths = [CONTRACTS / "billing_object_store.yaml",
             SOURCE / "tests/fuzz/corpus/markdown/compute.md"]
    found = daemon.json("feedback", "match", *paths)
    assert found["threshold"] == 0.7
    rows = {row["operation"]: row["matches"] for row in found["operations"]}
    # "get", "Fetch an object": two of twelve words, the first, the name
    (crud,) = rows["get"]
    assert crud["pattern"] == "crud"
    assert abs(crud["confidence"] - (0.4 * 8 / 12 + 0.6)) < 1e-6
    # "quote", "Compute the price": not in the name, so below the threshold
    assert rows["quote"] == []


def test_what_is_said_is_weighed(daemon):
    daemon.start()
    record(daemon, 1, "--type", "incorrect", "--confidence", "0.76",
           "--actual", "aggregation", "--contract",
           CONTRACTS / "billing_object_store.yaml")
    record(daemon, 1, "--type", "correct", "--confidence", "0.9",
           "--automatic")
    with contextlib.closing(daemon.store()) as db:
        wrong, right = db.execute(
            "SELECT * FROM pattern_feedback_log ORDER BY id").fetchall()
    assert wrong["detected_confidence"] == 0.76
    assert wrong["false_positives"] == '["crud"]'
    assert wrong["false_negatives"] == '["aggregation"]'
    assert '"service":"object_store"' in wrong["contract_json"]
    assert "get" in wrong["capabilities_matched"]
    assert (wrong["user_provided"], wrong["learning_weight"]) == (1, 1.0)
    assert (right["user_provided"], right["learning_weight"]) == (0, 0.5)
    few = daemon.json("feedback", "report")["patterns"][0]
    assert few["samples"] == 2 and not few["enough"]
    assert "precision" not in few
    assert "too few" in daemon.run("feedback", "report").stdout


def test_a_report_of_enough(daemon):
    daemon.configure({})
    record(daemon, 15, "--type", "correct", "--confidence", "0.9")
    record(daemon, 5, "--type", "incorrect", "--confidence", "0.78")
    report = daemon.json("feedback", "report", "--strategy", "balanced")
    crud = report["patterns"][0]
    assert (crud["pattern"], crud["samples"]) == ("crud", 20)
    assert crud["precision"] == 0.75 and crud["advice"] == 0.85
    assert crud["suggestion"] == crud["threshold"] == 0.78
    # .6 * 20 / 100 + .4 * 5 * .08
    assert abs(crud["tuning_confidence"] - 0.28) < 1e-6
    assert not crud["apply"] and not crud["auto_apply"]
    assert report["analysis"][0] == {
        "pattern_name": "crud", "feedback_type": "correct",
        "feedback_count": 15, "avg_confidence": 0.9,
        "user_provided_count": 15, "avg_learning_weight": 1.0}
    first = daemon.json("feedback", "report", "--strategy",
                        "precision_first")["patterns"][0]
    assert first["threshold"] == 0.9


def test_what_is_said_of_mixins(daemon):
    daemon.configure({})
    for _ in range(3):
        daemon.run("feedback", "mixins", "--node-type", "EFFECT", "--bad",
                   "--reason", "they quarrel", "--resolution", "drop one",
                   "Audit", "Retry")
    (pair,) = daemon.json("feedback", "mixins")["pairs"]
    assert (pair["mixin_a"], pair["mixin_b"]) == ("Audit", "Retry")
    assert (pair["failure_count"], pair["compatibility_score"]) == (3, 0.0)
    assert abs(pair["rule_score"] - 0.9) < 1e-6
    assert abs(pair["score"] - 0.9 * 10 / 13) < 1e-6
    assert pair["conflict_reason"] == "they quarrel"
    assert "Audit" in daemon.run("feedback", "mixins").stdout


@pytest.mark.parametrize("arguments", [
    ["record"], ["record", "--pattern", "croud", "--type", "correct"],
    ["record", "--pattern", "crud", "--type", "good"],
    ["record", "--pattern", "crud", "--type", "correct", "--confidence", "2"],
    ["report", "--strategy", "best"], ["match"],
    ["match", "--threshold", "nan", "x.yaml"],
    ["mixins", "--node-type", "EFFECT", "--good", "Audit"],
    ["mixins", "--node-type", "EFFECT", "--good", "Audit", "Cachin"]])
def test_usage(daemon, arguments):
    daemon.configure({})
    assert daemon.run("feedback", *arguments, check=False).returncode == 64
