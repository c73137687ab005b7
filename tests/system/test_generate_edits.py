# SPDX-License-Identifier: Apache-2.0
"""What people do to generated files, and what a later generation does."""
import json
import subprocess

import pytest

from harness import SOURCE

CONTRACT = SOURCE / "tests/fixtures/contracts"


@pytest.fixture
def work(daemon, folder):
    """A contract of the person's own, generated once."""
    source = sorted(CONTRACT.glob("*calculator*.yaml"))[0]
    contract = folder / "own.yaml"
    contract.write_text(source.read_text())
    daemon.configure({"sync": {"enabled": False}})
    daemon.start()
    out = folder / "out"
    daemon.run("generate", "--output", out, contract)
    node = next(path for path in out.iterdir() if path.name[0] != ".")
    return daemon, contract, out, node


def describe(contract, words):
    """Changes the description, which stands in most files."""
    lines = contract.read_text().splitlines()
    at = next(i for i, line in enumerate(lines)
              if line.startswith("description:"))
    lines[at] = f"description: {words}"
    contract.write_text("\n".join(lines) + "\n")


def snapshot(folder):
    return {path.relative_to(folder): (path.read_bytes(),
                                       path.stat().st_mtime_ns)
            for path in folder.rglob("*") if path.is_file()}


def generate(daemon, out, contract, *options, check=True):
    return daemon.run("generate", "--output", out, *options, contract,
                      check=check)


def test_a_dry_run_and_a_diff_write_nothing(work, folder):
    daemon, contract, out, node = work
    daemon.stop()  # nor do they need the daemon
    describe(contract, "Something else")
    code = node / "v1_0_0" / "node.py"
    code.write_text(code.read_text() + "# mine\n")
    (node / "v1_0_0" / "errors.py").unlink()
    before = snapshot(folder)
    plan = daemon.json("generate", "--dry-run", "--output", out, contract)
    text = generate(daemon, out, contract, "--dry-run").stdout
    diff = generate(daemon, out, contract, "--diff").stdout
    assert snapshot(folder) == before
    changes = {row["path"]: row["change"] for row in plan["files"]}
    assert changes[f"{node.name}/v1_0_0/node.py"] == "kept"
    assert changes[f"{node.name}/v1_0_0/errors.py"] == "gone"
    changed = [path for path, change in changes.items() if change == "changed"]
    assert len(changed) == plan["counts"]["changed"] > 3
    for path in changed:
        assert f"changed    {path}\n" in text
        assert f"--- {path}\n+++ {path}\n" in diff
    assert not (folder / "elsewhere").exists()
    generate(daemon, folder / "elsewhere", contract, "--dry-run")
    assert not (folder / "elsewhere").exists()


def test_patch_makes_of_a_diff_what_generate_makes(work, folder):
    daemon, contract, out, node = work
    describe(contract, "Something else")
    diff = generate(daemon, out, contract, "--diff").stdout
    copy = folder / "copy"
    subprocess.run(["cp", "-a", out, copy], check=True)
    subprocess.run(["patch", "-s", "-p0"], input=diff, text=True, check=True,
                   cwd=copy)
    generate(daemon, out, contract)
    for path in node.rglob("*.py"):
        assert (copy / path.relative_to(out)).read_text() == path.read_text()


def test_hand_edits_are_kept_merged_or_overwritten(work):
    daemon, contract, out, node = work
    code = node / "v1_0_0" / "node.py"
    edited = code.read_text() + "\n\n# mine\n"
    code.write_text(edited)
    describe(contract, "Something else")
    result = generate(daemon, out, contract)
    assert f"kept, edited by hand: {node.name}/v1_0_0/node.py" in result.stdout
    assert "--merge" in result.stdout
    assert code.read_text() == edited
    result = generate(daemon, out, contract, "--merge")
    assert code.read_text().endswith("\n\n# mine\n")
    assert "Something else" in code.read_text()
    generate(daemon, out, contract, "--force")
    assert "# mine" not in code.read_text()
    shown = [daemon.run("jobs", "show", number).stdout for number in "1234"]
    assert ["options        " + option + "\n" in show for show, option in
            zip(shown[2:], ["merge", "force"])] == [True, True]
    assert "options" not in shown[0]
    assert daemon.run("generate", "--force", "--merge", contract,
                      check=False).returncode == 64


def test_a_conflict_is_marked_and_told(work):
    daemon, contract, out, node = work
    code = node / "v1_0_0" / "node.py"
    lines = code.read_text().splitlines(keepends=True)
    code.write_text("".join(['"""My own words.\n', *lines[1:]]))
    describe(contract, "Something else")
    plan = daemon.run("--json", "generate", "--merge", "--dry-run", "--output",
                      out, contract, check=False)
    assert plan.returncode == 1
    assert json.loads(plan.stdout)["counts"]["conflict"] == 1
    result = generate(daemon, out, contract, "--merge", check=False)
    assert result.returncode == 1
    assert f"conflicts marked in {node.name}/v1_0_0/node.py" in result.stdout
    text = code.read_text()
    assert text.startswith("<<<<<<< edited by hand\n")
    assert "My own words." in text and "Something else" in text


def test_what_was_removed_stays_removed(work):
    daemon, contract, out, node = work
    gone = node / "v1_0_0" / "errors.py"
    gone.unlink()
    describe(contract, "Something else")
    result = generate(daemon, out, contract)
    assert f"removed by hand: {node.name}/v1_0_0/errors.py" in result.stdout
    assert not gone.exists()
    generate(daemon, out, contract, "--force")
    assert gone.exists()
    subprocess.run(["rm", "-r", node], check=True)
    generate(daemon, out, contract)  # all of it: begun anew
    assert gone.exists()


def test_places_and_languages_change_no_byte(work, folder):
    daemon, contract, out, node = work
    for number, environment in enumerate((
            {"TZ": "Pacific/Auckland", "LC_ALL": "C.UTF-8"},
            {"TZ": "UTC", "LANG": "tr_TR.UTF-8", "HOME": "/"})):
        there = folder / f"there{number}"
        daemon.run("generate", "--output", there, contract, env=environment)
        for path in out.rglob("*"):
            if path.is_file():
                other = there / path.relative_to(out)
                assert other.read_bytes() == path.read_bytes(), path
