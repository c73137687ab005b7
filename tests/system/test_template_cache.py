# SPDX-License-Identifier: Apache-2.0
"""The cache of compiled templates: what it holds, and what is noticed."""
import os
import shutil
import signal

import pytest

from harness import SOURCE, wait_for

TEMPLATES = len([1 for line in
                 (SOURCE / "conf/templates/effect/set.yaml").open()
                 if "template:" in line])


@pytest.fixture
def work(daemon, folder):
    """A daemon with templates of its own, and an EFFECT contract."""
    shutil.copytree(SOURCE / "conf/templates", folder / "templates")
    contract = next(path for path in
                    sorted((SOURCE / "tests/fixtures/contracts").glob("*.yaml"))
                    if "node_type: EFFECT" in path.read_text())
    daemon.configure({"sync": {"enabled": False},
                      "paths": {"template_dir": str(folder / "templates")},
                      "generation": {"max_workers": 2}})
    daemon.start()
    return daemon, contract, folder / "out"


def generate(work):
    """Generates; the text of the node's main file."""
    daemon, contract, out = work
    daemon.run("generate", "--force", "--output", out, contract)
    return next(out.glob("*/*/node.py")).read_text()


def stats(work):
    return work[0].json("cache", "stats")


def reload(work, over):
    work[0].configure(over)
    work[0].run("reload")


def edit(folder, name, text):
    path = folder / "templates" / (name + ".mustache")
    path.write_text(text)


def test_it_is_compiled_once_for_all_workers(work):
    generate(work)
    first = stats(work)
    assert first["misses"] == first["cached_templates"] == TEMPLATES
    assert first["hits"] == 0 and first["enabled"]
    assert first["total_size_bytes"] > 0 and first["max_templates"] == 100
    assert first["avg_uncached_load_ms"] > 0
    for _ in range(4):
        generate(work)
    after = stats(work)
    assert after["misses"] == TEMPLATES
    assert after["hits"] == 4 * TEMPLATES and after["hit_rate"] == 0.8
    assert after["time_saved_ms"] > 0
    names = {row["name"]: row for row in after["templates"]}
    node = names["effect/node.py"]
    assert node["type"] == "node" and node["syntax"] == "mustache"
    assert node["file_hash"].endswith("...") and len(node["file_hash"]) == 11
    wait_for(lambda: not any(row["in_use"] for row in stats(work)["templates"]))
    counts = [row["access_count"] for row in stats(work)["templates"]]
    assert counts == sorted(counts, reverse=True) and counts[0] <= 5
    text = work[0].run("cache", "stats", "--limit", "2").stdout
    assert "80.0 % hits" in text and f"{TEMPLATES} of 100" in text
    assert f"and {TEMPLATES - 2} more" in text
    metrics = work[0].run("metrics").stdout
    assert f"tidemill_template_cache_hits_total {4 * TEMPLATES}\n" in metrics
    assert f"tidemill_template_cache_templates {TEMPLATES}\n" in metrics


def test_changed_templates_are_noticed(work, folder):
    path = folder / "templates" / "effect" / "node.py.mustache"
    text = path.read_text()
    generate(work)
    edit(folder, "effect/node", "unused")
    path.write_text(text + "# one\n")
    assert generate(work).endswith("# one\n")
    old = path.stat()
    path.write_text(text + "# two\n")  # as large, and as old
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert generate(work).endswith("# two\n")
    (path.parent / "new").write_text(text + "# three\n")
    os.replace(path.parent / "new", path)
    assert generate(work).endswith("# three\n")
    os.utime(path)  # the same contents
    assert generate(work).endswith("# three\n")
    after = stats(work)
    assert after["invalidations"] == 3 and after["misses"] == TEMPLATES + 3


def test_clear_and_invalidate(work):
    daemon = work[0]
    generate(work)
    assert daemon.json("cache", "invalidate", "effect/node.py") == {
        "removed": 1}
    shared = [row for row in stats(work)["templates"]
              if row["name"].startswith("shared/")]
    done = daemon.run("cache", "invalidate", "shared/*")
    assert done.stdout == f"{len(shared)} removed\n"
    none = daemon.run("cache", "invalidate", "shared/*", check=False)
    assert none.returncode == 1 and "no template" in none.stderr
    left = TEMPLATES - 1 - len(shared)
    assert stats(work)["cached_templates"] == left
    assert daemon.json("cache", "clear") == {"removed": left}
    after = stats(work)
    assert after["cached_templates"] == 0 == after["total_size_bytes"]
    assert after["invalidations"] == TEMPLATES and not after["templates"]
    generate(work)
    assert stats(work)["misses"] == 2 * TEMPLATES
    assert daemon.run("cache", "invalidate", check=False).returncode == 64
    assert daemon.run("cache", "stats", "--limit", "x",
                      check=False).returncode == 64
    daemon.stop()
    assert daemon.run("cache", "stats", check=False).returncode == 69


def test_workers_die_and_the_others_go_on(work):
    daemon = work[0]
    generate(work)
    for slot in (0, 1, 0):
        daemon.kill_worker("generation", slot)
        generate(work)
    stopped = wait_for(lambda: [w["pid"] for w in daemon.workers("generation")
                                if w["pid"]], what="a worker")[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        assert stats(work)["cached_templates"] == TEMPLATES
        assert daemon.json("cache", "clear") == {"removed": TEMPLATES}
    finally:
        os.kill(stopped, signal.SIGCONT)
    generate(work)
    assert stats(work)["cached_templates"] == TEMPLATES


def test_a_reload_changes_the_bounds_in_place(work):
    generate(work)
    reload(work, {"template_cache": {"max_templates": 5}})
    generate(work)
    after = stats(work)
    assert after["cached_templates"] == 5 == after["max_templates"]
    assert after["evictions"] >= TEMPLATES - 5
    assert after["misses"] >= TEMPLATES  # the first ones are not forgotten
    reload(work, {"template_cache": {"max_templates": 100, "max_size": "1kB"}})
    generate(work)
    assert stats(work)["cached_templates"] <= 1
    reload(work, {"template_cache": {"enabled": False}})
    generate(work)
    after = stats(work)
    assert not after["enabled"] and after["cached_templates"] == 0
    reload(work, {"template_cache": {"enabled": True, "max_size": "50MB"}})
    generate(work)
    assert stats(work)["cached_templates"] == TEMPLATES


def counted(daemon):
    return tuple(daemon.store().execute(
        "SELECT sum(cache_hits), sum(cache_misses), sum(access_count), "
        "count(*), min(length(file_hash)) FROM template_cache_metadata"
    ).fetchone())


def test_the_store_keeps_count(work):
    daemon = work[0]
    for _ in range(3):
        generate(work)
    after = stats(work)
    daemon.stop()  # a worker that leaves tells what it knows
    told = (after["hits"], after["misses"], after["hits"] + after["misses"],
            TEMPLATES, 64)
    assert counted(daemon) == told
    daemon.start()
    kinds = {row["template_type"]: row for row in stats(work)["by_type"]}
    assert sum(k["template_count"] for k in kinds.values()) == TEMPLATES
    assert kinds["node"]["hit_rate"] == 0.667
    assert {"node", "contract", "subcontract", "test"} <= set(kinds)
    reload(work, {"template_cache": {"persistence": False}})
    generate(work)
    daemon.stop()
    assert counted(daemon) == told
