# SPDX-License-Identifier: Apache-2.0
"""Counts the results of a test run: `count.py FOLDER [FAILED_STEP...]`.

FOLDER holds automake's .trs and .log files, a folder a build, and JUnit XML
files.  A cmocka program counts its tests, any other program counts one.  A
failed step that no test accounts for counts as one failure.
"""
import pathlib
import re
import sys
import xml.etree.ElementTree

folder = pathlib.Path(sys.argv[1])
steps = sys.argv[2:]
passed = failed = skipped = 0
for trs in folder.glob("*/*.trs"):
    good = re.search(r"^:test-result: (\w+)", trs.read_text(), re.M).group(1)
    log = trs.with_suffix(".log").read_text(errors="replace")
    # cmocka: "[  PASSED  ] 12 test(s)."
    ok = sum(map(int, re.findall(r"\[  PASSED  \] (\d+) test", log)))
    bad = len(re.findall(r"^\[  FAILED  \] (?!\d+ test)", log, re.M)) // 2
    if good == "PASS":
        passed += max(ok, 1)
    elif good == "SKIP":
        skipped += 1
    else:
        passed += ok
        failed += max(bad, 1)
        print(f"failed: {trs.parent.name}/{trs.stem}")
for path in folder.glob("*.xml"):
    for suite in xml.etree.ElementTree.parse(path).iter("testsuite"):
        count = {k: int(suite.get(k, 0))
                 for k in ("tests", "failures", "errors", "skipped")}
        bad = count["failures"] + count["errors"]
        failed += bad
        skipped += count["skipped"]
        passed += count["tests"] - bad - count["skipped"]
        for case in suite.iter("testcase"):
            if case.find("failure") is not None or \
                    case.find("error") is not None:
                print(f"failed: {path.stem}: {case.get('name')}")
if steps and failed == 0:
    failed = len(steps)
for step in steps and ["failed steps: " + " ".join(steps)]:
    print(step)
tail = f", {skipped} skipped" if skipped else ""
print(f"{passed} passed, {failed} failed{tail}")
sys.exit(1 if failed else 0)
