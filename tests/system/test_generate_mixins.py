# SPDX-License-Identifier: Apache-2.0
"""Every mixin, on every node type that can have it, and all of them at once:
the code compiles, passes its own tests, and stays the same."""
import contextlib
import json
import re
import subprocess
import sys

import pytest
from harness import SOURCE
from test_generate_code import python_files, render

MIXINS = ["Caching", "Logging", "Metrics", "HealthCheck", "EventBus",
          "Retry", "CircuitBreaker", "Timeout", "RateLimiter",
          "Validation", "Security", "Authorization", "Audit",
          "Transaction", "Connection", "Repository"]
REFUSED = {
    "EFFECT": {"Retry"},
    "COMPUTE": {"Caching", "Retry", "Timeout", "CircuitBreaker", "Connection",
                "EventBus", "Transaction", "Repository"},
    "REDUCER": {"Caching", "Retry", "Timeout", "CircuitBreaker",
                "Connection"},
    "ORCHESTRATOR": set(),
}
ALLOWED = {kind: [name for name in MIXINS if name not in refused]
           for kind, refused in REFUSED.items()}


def contract_of(kind):
    """A contract in JSON of the fixtures, as a document."""
    for path in sorted((SOURCE / "tests/fixtures/contracts").glob("*.json")):
        document = json.loads(path.read_text())
        if document["node_type"] == kind:
            return document
    raise AssertionError(kind)


def write(folder, kind, service, mixins, **changes):
    document = {**contract_of(kind), "service": service, "mixins": mixins,
                **changes}
    path = folder / f"{service}_{kind.lower()}.json"
    path.write_text(json.dumps(document))
    return path


def write_all(folder):
    folder.mkdir()
    for kind, names in ALLOWED.items():
        for name in names:
            yield write(folder, kind, f"with_{name.lower()}", [name])
        yield write(folder, kind, "with_all", names)
        yield write(folder, kind, "with_some", names[::3])


def unittest(folder, *options):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "unittest", "discover",
         "-t", folder, "-s", folder, *options],
        capture_output=True, text=True, cwd=folder)
    assert result.returncode == 0, result.stderr
    return int(re.search(r"Ran (\d+) tests", result.stderr)[1])


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code")
    render(folder / "out", *write_all(folder / "contracts"))
    # discover looks into packages; the nodes are in a folder of their own
    return folder / "out"


def test_it_compiles(code):
    subprocess.run([sys.executable, "-W", "error", "-m", "py_compile",
                    *python_files(code)], check=True)


def test_its_own_tests_pass(code):
    ran = sum(unittest(code, "-p", pattern) for pattern in
              ("test_*_mixins.py", "test_node.py"))
    assert ran > 50 * 5


def test_it_is_tidy(code):
    for path in code.rglob("mixins/*.py"):
        text = path.read_text()
        assert text.endswith("\n") and not text.endswith("\n\n"), path
        assert not re.search(r"[ \t]+$", text, re.M), path
        assert "\n\n\n\n" not in text and "{{" not in text, path
        for name in re.findall(r"^(?:from|import) ([a-z_]+)", text, re.M):
            assert name in sys.stdlib_module_names, (path, name)


def test_only_what_was_asked_for_is_there(code):
    node = next(code.glob("*with_retry_orchestrator"))
    assert {p.name for p in node.rglob("mixins/*.py")} == {
        "__init__.py", "base.py", "retry.py"}
    assert {p.name for p in node.rglob("*_mixins.py")} == {
        "test_resilience_mixins.py"}
    config = next(node.rglob("models/config.py")).read_text()
    assert "retry_attempts" in config and "cache_entries" not in config


def test_the_order_of_the_contract_does_not_matter(tmp_path):
    names = ALLOWED["EFFECT"]
    for folder, order in (("a", names), ("b", names[::-1])):
        contract = write(tmp_path, "EFFECT", "same", order)
        render(tmp_path / folder, contract)
    files = python_files(tmp_path / "a")
    assert len(files) > 30
    for path in files:
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert other.read_bytes() == path.read_bytes(), path


def test_a_setting_of_a_mixin_is_the_contracts(tmp_path):
    document = contract_of("EFFECT")
    roles = {document["operations"][0]["name"]: ["writer"]}
    models = {**document["models"], "config": [
        {"name": "required_roles", "type": "dict", "default": roles},
        {"name": "rate_burst", "type": "int", "default": 500}]}
    render(tmp_path / "out", write(tmp_path, "EFFECT", "own",
                                   ["Authorization", "RateLimiter"],
                                   models=models))
    config = next((tmp_path / "out").rglob("models/config.py")).read_text()
    assert "'writer'" in config or '"writer"' in config
    assert "rate_burst: int = 500" in config
    unittest(tmp_path / "out")


def refused(tmp_path, *arguments, **changes):
    result = render(tmp_path / "out", write(tmp_path, *arguments, **changes),
                    check=False)
    assert result.returncode == 65
    assert not (tmp_path / "out").exists()
    return result.stderr


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused(tmp_path, kind):
    if not REFUSED[kind]:
        return
    errors = refused(tmp_path, kind, "wrong", sorted(REFUSED[kind]))
    lines = errors.splitlines()
    assert len(lines) == len(REFUSED[kind])
    for index, name in enumerate(sorted(REFUSED[kind])):
        assert f": mixins[{index}]: {name} is not for {kind} nodes: " in \
            lines[index]


def test_all_unknown_ones_are_named_at_once(tmp_path):
    errors = refused(tmp_path, "EFFECT", "wrong",
                     ["rate_limiter", "Cachin", "Logging", "Teleport"])
    path = str(tmp_path / "wrong_effect.json")
    assert re.search(rf"{path}:\d+:\d+: mixins\[0\]: 'rate_limiter' is "
                     "unknown; did you mean 'RateLimiter'", errors)
    assert "mixins[1]: 'Cachin' is unknown; did you mean 'Caching'" in errors
    assert "mixins[3]: 'Teleport' is unknown; use one of " in errors
    assert len(errors.splitlines()) == 3
    assert "twice" in refused(tmp_path, "EFFECT", "wrong",
                              ["Audit", "Audit"])


def test_an_operation_cannot_take_a_name_of_a_mixin(tmp_path):
    operations = [{"name": "health_status"}, {"name": "perform_call"}]
    errors = refused(tmp_path, "EFFECT", "wrong", ["HealthCheck"],
                     operations=operations)
    assert "the mixin HealthCheck uses the name 'health_status' itself" in errors
    assert "mixins use the name 'perform_call' itself" in errors
    render(tmp_path / "out", write(tmp_path, "EFFECT", "right", ["Audit"],
                                   operations=operations[:1]))


def test_a_poor_combination_is_told_and_learned(daemon, folder):
    daemon.start()
    contracts = [write(folder, "EFFECT", f"poor{i}", ["Caching", "Audit"])
                 for i in range(3)]
    dry = daemon.run("generate", "--dry-run", "--output", folder / "out",
                     *contracts)
    (line,) = dry.stderr.splitlines()
    assert f"warning: {contracts[0]} and 2 more: Audit and Caching go poorly" \
        in line
    assert "0.40 of 1, less than 0.60 (rules 0.40; 0 good, 0 bad so far)" \
        in line
    for count, good in ((3, 0), (1, 3)):
        report = daemon.json("generate", "--output", folder / f"out{count}",
                             *contracts[:count])
        assert report["failed"] == 0
        (warning,) = report["warnings"]
        assert warning["success_count"] == good
        assert warning["contracts"] == count
        assert warning["level"] == ("incompatible" if good == 0
                                    else "uncertain")
    # 3 of 3: 10/13 of the rules' 0.4 and 3/13 of 1
    assert abs(warning["score"] - 7 / 13) < 1e-6
    # what changes nothing teaches nothing
    daemon.json("generate", "--output", folder / "out1", contracts[0])
    with contextlib.closing(daemon.store()) as db:
        (row,) = db.execute("SELECT * FROM mixin_compatibility_matrix")
        assert (row["mixin_a"], row["mixin_b"]) == ("Audit", "Caching")
        assert (row["success_count"], row["failure_count"]) == (4, 0)
        assert row["compatibility_score"] == 1.0
        (result,) = db.execute(
            "SELECT record_data FROM sync_queue WHERE table_name = "
            "'generation_jobs' LIMIT 1").fetchone()
        assert json.loads(result)["mixins"] == ["Audit", "Caching"]
