# SPDX-License-Identifier: Apache-2.0
"""Requirements in Markdown: a contract, and code that passes its tests."""
import pytest
from harness import SOURCE
from test_generate_mixins import unittest

CORPUS = SOURCE / "tests/fuzz/corpus/markdown"
GOOD = ["effect", "compute", "reducer", "orchestrator"]


def test_code_from_markdown(daemon, folder):
    daemon.start()
    files = [CORPUS / f"{name}.md" for name in GOOD]
    report = daemon.json("generate", "--output", folder / "out", *files)
    assert report["failed"] == 0 and report["jobs"] == 4
    read = {row["node_type"]: row for row in report["requirements"]}
    assert set(read) == {name.upper() for name in GOOD}
    effect = read["EFFECT"]
    assert effect["title"] == "Billing: Invoice mailer"
    assert not effect["node_type_given"] and effect["quality"] == 1.0
    assert effect["mixins"] == ["Metrics", "Caching", "CircuitBreaker"]
    assert effect["left_out"] == ["Retry"]
    assert read["COMPUTE"]["node_type_given"]
    assert unittest(folder / "out") > 60
    phases = daemon.json("metrics", "--report",
                         "generation_performance_metrics")
    analysed = [p for p in phases if p["phase"] == "prd_analysis"]
    assert len(analysed) == 4 and len(phases) == 4 * 6
    assert all(p["memory_usage_mb"] >= 1 and p["duration_ms"] >= 0 and
               p["cpu_percent"] > 0 for p in analysed)
    again = daemon.run("generate", "--output", folder / "out", *files)
    assert " 0 files written" in again.stdout
    assert "quality 1.00, confidence 0.80" in again.stderr
    # How long the command took for it makes no other job of it.
    keyed = [daemon.json("generate", "--key", "k", "--output", folder / "out",
                         files[0])["results"][0]["id"] for _ in range(2)]
    assert keyed[0] == keyed[1]


def test_dry_run_shows_a_contract_that_can_be_kept(daemon, folder):
    daemon.configure({})
    shown = daemon.run("generate", "--dry-run", "--output", folder / "out",
                       CORPUS / "reducer.md").stdout
    text = shown[shown.index("node_type:"):shown.index("created ")]
    assert "fold: \"sum\"" in text
    contract = folder / "kept.yaml"
    contract.write_text(text)
    dry = daemon.json("generate", "--dry-run", "--output", folder / "out",
                      contract)
    assert dry["requirements"] == [] and dry["counts"]["created"] > 15
    assert not (folder / "out").exists()


@pytest.mark.parametrize("name, lines", [
    ("errors", [1, 4, 9, 13]), ("wrong", [15])])
def test_errors_name_the_markdowns_lines(daemon, folder, name, lines):
    daemon.configure({})
    path = CORPUS / f"{name}.md"
    result = daemon.run("generate", "--dry-run", path, check=False)
    assert result.returncode == 65
    told = [line for line in result.stderr.splitlines()
            if line.startswith(f"{path}:")]
    assert sorted(int(line[len(str(path)) + 1:].split(":")[0])
                  for line in told) == lines
