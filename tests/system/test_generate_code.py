# SPDX-License-Identifier: Apache-2.0
"""Generated code compiles, passes its own tests, and stays the same."""
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from harness import SOURCE, binaries

CONTRACTS = sorted((SOURCE / "tests/fixtures/contracts").iterdir())


def render(output, *contracts, check=True, options=(), templates=None):
    result = subprocess.run(
        [binaries() / "tests/system/render_contract", *options,
         templates or SOURCE / "conf/templates", output, *contracts],
        capture_output=True, text=True)
    if check:
        assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code")
    render(folder, *CONTRACTS)
    return folder


def python_files(folder):
    return sorted(folder.rglob("*.py"))


def test_all_node_types_are_there(code):
    assert len(CONTRACTS) >= 24
    kinds = {path.name.rsplit("_", 1)[1] for path in code.glob("node_*")}
    assert kinds == {"effect", "compute", "reducer", "orchestrator"}


def test_it_compiles(code):
    subprocess.run([sys.executable, "-m", "py_compile", *python_files(code)],
                   check=True, env={**os.environ, "PYTHONWARNINGS": "error"})


def test_its_own_tests_pass(code):
    for node in sorted(code.glob("node_billing_*")):
        result = subprocess.run(
            [sys.executable, "-W", "error", "-m", "unittest", "discover",
             "-t", code, "-s", node],
            capture_output=True, text=True, cwd=code)
        assert result.returncode == 0, result.stderr
        assert int(re.search(r"Ran (\d+) tests", result.stderr)[1]) >= 15


def test_it_is_tidy(code):
    for path in [*python_files(code), *code.rglob("*.yaml")]:
        text = path.read_text()
        assert text.endswith("\n") and not text.endswith("\n\n"), path
        assert not re.search(r"[ \t]+$", text, re.M), path
        assert "\t" not in text and "\n\n\n\n" not in text, path
        assert "{{" not in text or path.suffix == ".py", path


def test_it_uses_only_the_standard_library(code):
    for path in python_files(code):
        for name in re.findall(r"^(?:from|import) ([a-z_]+)",
                               path.read_text(), re.M):
            assert name in sys.stdlib_module_names, (path, name)


def test_the_same_contracts_give_the_same_bytes(code, tmp_path):
    render(tmp_path, *CONTRACTS)
    for path in python_files(code):
        other = tmp_path / path.relative_to(code)
        assert other.read_bytes() == path.read_bytes()


def test_nothing_changed_nothing_is_touched(tmp_path):
    render(tmp_path, *CONTRACTS[:4])
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.*")}
    result = render(tmp_path, *CONTRACTS[:4])
    assert "created" not in result.stdout.replace("0 created", "")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.*")} == before


def test_plan_writes_nothing(tmp_path):
    result = render(tmp_path / "new", CONTRACTS[0], options=["--plan"])
    assert "created" in result.stdout
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text", [
    'Says "hello" and ends with a quote "',
    'Three quotes """ inside, and a backslash \\',
    "Braces {x} {{y}} and {{{z}}} and percent %s",
    "Umlauts äöü, 汉字 and \u2028 a line separator",
    "x" * 500,
])
def test_odd_descriptions_survive(tmp_path, text):
    document = json.loads(next(p for p in CONTRACTS
                               if p.suffix == ".json").read_text())
    document["description"] = text
    document["features"] = [text]
    document["operations"][0]["description"] = text
    document["models"]["input"][0]["description"] = text
    contract = tmp_path / "odd.json"
    contract.write_text(json.dumps(document))
    render(tmp_path / "out", contract)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "unittest", "discover", "-t",
         tmp_path / "out", "-s", next((tmp_path / "out").glob("node_*"))],
        capture_output=True, text=True, cwd=tmp_path / "out")
    assert result.returncode == 0, result.stderr


def test_jobs_through_the_pool(daemon, folder):
    daemon.start()
    output = folder / "out"
    report = daemon.json("generate", "--output", output, *CONTRACTS)
    assert report["failed"] == 0 and report["jobs"] == len(CONTRACTS)
    assert report["written"] == sum(
        len(json.loads(path.read_text())["files"])
        for path in (output / ".tidemill").glob("*.json"))
    again = daemon.json("generate", "--output", output, *CONTRACTS)
    assert again["written"] == 0
    assert again["unchanged"] == report["written"]
    spawns = {w["pid"] for w in daemon.workers("generation")}
    for pid in spawns:
        os.kill(pid, signal.SIGKILL)
    more = daemon.json("generate", "--output", folder / "more", *CONTRACTS)
    assert more["failed"] == 0
    assert not spawns & {w["pid"] for w in daemon.workers("generation")}


def test_two_contracts_of_one_node(daemon, folder):
    daemon.start()
    other = folder / "other.yaml"
    text = next(p for p in CONTRACTS if p.suffix == ".yaml").read_text()
    mine = folder / "mine.yaml"
    mine.write_text(text)
    other.write_text(text.replace("description: ", "author: me\ndescription: ",
                                  1))
    daemon.json("generate", "--output", folder / "out", mine)
    result = daemon.run("generate", "--output", folder / "out", other,
                        check=False)
    assert result.returncode == 1
    assert f"belongs to the contract {mine}" in result.stderr


def test_killed_workers_lose_no_job_and_do_none_twice(daemon, folder):
    # The kills often meet the same job: it must have attempts enough.
    daemon.configure({"generation": {"max_retries": 100}})
    daemon.start()
    contracts = folder / "contracts"
    subprocess.run([sys.executable, SOURCE / "tests/fixtures/make_contracts.py",
                    "--count", "400", contracts], check=True)
    command = subprocess.Popen(
        [binaries() / "tidemill", "-c", daemon.config_path, "--json",
         "generate", "--output", folder / "out", *sorted(contracts.iterdir())],
        stdout=subprocess.PIPE)
    kills = 0
    while command.poll() is None and kills < 20:
        for worker in daemon.workers("generation"):
            if worker["pid"] and worker["state"] == "busy":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker["pid"], signal.SIGKILL)
                kills += 1
                break
    report = json.loads(command.communicate(timeout=60)[0])
    print(f"{kills} workers killed, {report['seconds']} s")
    assert report["failed"] == 0
    assert {row["state"] for row in report["results"]} == {"done"}
    with contextlib.closing(daemon.store()) as db:
        twice = db.execute(
            "SELECT record_id, count(*) FROM sync_queue WHERE table_name = "
            "'generation_jobs' GROUP BY 1 HAVING count(*) <> 1").fetchall()
        recorded = db.execute(
            "SELECT count(*) FROM sync_queue WHERE table_name = "
            "'generation_jobs'").fetchone()[0]
    assert not twice and recorded == 400
    listed = set()
    for manifest in (folder / "out/.tidemill").glob("*.json"):
        for file in json.loads(manifest.read_text())["files"]:
            path = folder / "out" / file["path"]
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert digest == file["sha256"], path
            listed.add(path)
    found = {p for p in (folder / "out").rglob("*") if p.is_file()
             and ".tidemill" not in p.relative_to(folder / "out").parts}
    assert found == listed
