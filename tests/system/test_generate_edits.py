# SPDX-License-Identifier: Apache-2.0
"""What people do to generated files, and what a later generation does."""
import json
import os
import shutil
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
            if path.is_file() and path.suffix != ".seen":  # of these inodes
                other = there / path.relative_to(out)
                assert other.read_bytes() == path.read_bytes(), path


def first_word(path, word):
    """As long as it was, and with the same mtime."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(word)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def link_away(path):
    aside = path.with_name(path.name + ".aside")
    path.rename(aside)
    path.symlink_to(aside.name)


def touch_template(templates):
    path = templates / "compute/node.py.mustache"
    path.write_text(path.read_text() + "# templates changed\n")


def add_partial(templates):
    (templates / "shared/partials").mkdir()
    (templates / "shared/partials/new.mustache").write_text("new\n")
    path = templates / "compute/node.py.mustache"
    path.write_text(path.read_text() + "{{>new}}\n")


# What is done after a generation that found nothing to do: what must come of
# the next one, of "written", "kept_files", "gone_files", and "state".
CHANGES = {
    "nothing": (lambda file, **_: None, {"written": 0}),
    "an edit": (lambda file, **_: file.write_text("# mine\n"),
                {"written": 0, "kept_files": 1}),
    "an edit that hides": (lambda file, **_: first_word(file, b"mine"),
                           {"written": 0, "kept_files": 1}),
    "a removal": (lambda file, **_: file.unlink(),
                  {"written": 0, "gone_files": 1}),
    "an emptied file": (lambda file, **_: file.write_text(""),
                        {"written": 1}),
    "a mode bit": (lambda file, **_: file.chmod(0o755), {"written": 1}),
    "a link": (lambda file, **_: link_away(file), {"state": "failed"}),
    "a linked folder": (lambda file, **_: link_away(file.parent),
                        {"state": "failed"}),
    "the contract": (lambda contract, **_: describe(contract, "Otherwise"),
                     {"more": 3}),
    "a template": (lambda templates, **_: touch_template(templates),
                   {"written": 1}),
    "a partial": (lambda templates, **_: add_partial(templates),
                  {"written": 1}),
    "no manifest": (lambda manifest, **_: manifest.unlink(), {"written": 0}),
    "a damaged manifest": (lambda manifest, **_: manifest.write_text("{"),
                           {"state": "failed"}),
}


def test_whatever_changes_after_an_unchanged_run_is_noticed(work, folder):
    daemon, contract, _, node = work
    text = contract.read_text()
    for number, (what, (change, must)) in enumerate(CHANGES.items()):
        templates, out = folder / f"t{number}", folder / f"out{number}"
        shutil.copytree(SOURCE / "conf/templates", templates)
        contract.write_text(text)
        options = ["--template-dir", templates, "--output", out, contract]
        first = daemon.json("generate", *options)
        again = daemon.json("generate", *options)
        assert first["written"] == again["unchanged"] > 10, what
        assert again["written"] == 0, what
        change(file=out / node.name / "v1_0_0/node.py", contract=contract,
               templates=templates,
               manifest=out / f".tidemill/{node.name}.json")
        done = daemon.run("--json", "generate", *options, check=False)
        report = json.loads(done.stdout)
        row = report["results"][0]
        got = {"written": report["written"], "state": row["state"],
               "more": report["written"]}
        for key in ("kept_files", "gone_files"):
            got[key] = len(json.loads(row[key] or "[]"))
        for key, value in must.items():
            assert got[key] == value or (key == "more" and
                                         got[key] >= value), (what, got)
