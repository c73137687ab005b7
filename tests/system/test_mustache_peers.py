# SPDX-License-Identifier: Apache-2.0
"""Random templates and data: our engine beside pystache and mustache.js.

Where they differ the specification decides.  Each known difference is named
here with the case that shows it, and random cases keep away from it:

- 0, "" and an empty map are falsy for both, but not for us: the specification
  has false, null and empty lists.  No such value is in the data.
- How booleans, lists and maps print the specification does not say: both are
  told to print them as we do.
- unlike_pystache and unlike_mustache_js tell the others, DIFFERENCES shows
  them.

Neither of them knows inheritance.  TIDEMILL_SEED=N repeats a run.
"""
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import time

import pytest

import harness


HERE = pathlib.Path(__file__).resolve().parent
SECONDS = 2.0
MUSTACHE_JS = pathlib.Path("/usr/share/nodejs/mustache/mustache.js")
NAMES = ("a", "b", "c", "long_name")
TEXTS = ("x", " ", "  ", "\n", "\r\n", "\t", "text", "<&>\"", "}", "{ ", "}}",
         "ä€", "\n\n", " \n")
STRINGS = ("s", "two words", "<b> & \"q\"", "line\nline", " ", "日本", "{{a}}")


class Maker:
    """Templates of a random shape; `features` says what a peer may differ
    in."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.features = set()
        self.tags = ("{{", "}}")
        self.partials = ()

    def tag(self, mark, name):
        pad = self.random.choice(("", "", "", " ", "  "))
        return f"{self.tags[0]}{mark}{pad}{name}{pad}{self.tags[1]}"

    def name(self):
        if self.random.random() < 0.15:
            self.features.add("dotted")
            return ".".join(self.random.choice(NAMES) for _ in range(2))
        if self.random.random() < 0.1:
            self.features.add("dot")
            return "."
        return self.random.choice(NAMES)

    def value(self):
        kind = self.random.randrange(4)
        name = self.name()
        if kind == 0:
            return self.tag("&", name)
        if kind == 1 and self.tags == ("{{", "}}"):
            return "{{{" + name + "}}}"
        return self.tag("", name)

    def section(self, depth):
        name = self.name()
        mark = self.random.choice("##^")
        tags = self.tags
        opening = self.tag(mark, name)
        body = self.pieces(depth + 1)
        if self.tags != tags:
            self.features.add("delimiters in a section")
        return opening + body + self.tag("/", name)

    def delimiters(self):
        old = self.tags
        self.tags = self.random.choice((("{{", "}}"), ("<%", "%>"),
                                        ("[", "]"), ("|", "|")))
        self.features.add("delimiters")
        return f"{old[0]}={self.tags[0]} {self.tags[1]}={old[1]}"

    def line(self, tag):
        """A tag that often stands alone."""
        if self.random.random() < 0.4:
            blanks = self.random.choice(("", "  ", "\t", "    "))
            end = self.random.choice(("\n", "\n", "\r\n", " \n"))
            return "\n" + blanks + tag + end
        return tag

    def piece(self, depth):
        kind = self.random.randrange(12)
        if kind < 4:
            return "".join(self.random.choice(TEXTS)
                           for _ in range(self.random.randrange(4)))
        if kind < 7:
            return self.line(self.value())
        if kind < 9 and depth < 4:
            return self.line(self.section(depth))
        if kind == 9 and self.partials:
            self.features.add("partials")
            return self.line(self.tag(">", self.random.choice(self.partials)))
        if kind == 10:
            return self.line(self.tag("!", "note"))
        if kind == 11 and self.random.random() < 0.15:
            return self.line(self.delimiters())
        return "."

    def pieces(self, depth=0):
        return "".join(self.piece(depth)
                       for _ in range(self.random.randrange(1, 6)))

    def template(self, partials):
        self.tags = ("{{", "}}")
        self.partials = partials
        return self.pieces()

    def scalar(self):
        return self.random.choice((self.random.randrange(1, 10 ** 9), True,
                                   False, None, *STRINGS))

    def data(self, depth=0):
        kind = self.random.randrange(4) if depth < 3 else 9
        if kind == 0 or depth == 0:
            keys = self.random.sample(NAMES, self.random.randrange(1, 4))
            return {key: self.data(depth + 1) for key in keys}
        if kind == 1:
            return [self.data(depth + 1)
                    for _ in range(self.random.randrange(4))]
        return self.scalar()

    def case(self):
        self.features = set()
        data = self.data()
        partials = {"p": self.template(("q",)), "q": self.template(())}
        template = self.template(("p", "q", "none"))
        return {"template": template, "data": data, "partials": partials,
                "features": sorted(self.features)}


def ours(cases, folder):
    path = folder / "cases.json"
    path.write_text(json.dumps(cases))
    program = harness.binaries() / "tests/system/render_cases"
    done = subprocess.run([program, path], capture_output=True, text=True,
                          timeout=60, check=True)
    return json.loads(done.stdout)


def text_of(value):
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def pystache_renders(cases):
    pystache = pytest.importorskip("pystache")

    class Renderer(pystache.Renderer):
        def str_coerce(self, val):
            return text_of(val)

    def escape(text):
        for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"),
                             ('"', "&quot;")):
            text = text.replace(char, entity)
        return text

    for case in cases:
        try:
            yield Renderer(partials=case["partials"], escape=escape).render(
                case["template"], case["data"])
        except Exception as error:  # its own kinds, and Python's
            yield repr(error)


def mustache_js_renders(cases, folder):
    path = folder / "cases.json"
    path.write_text(json.dumps(cases))
    done = subprocess.run(["node", HERE / "render_cases.js", path],
                          capture_output=True, text=True, timeout=60,
                          check=True)
    for result in json.loads(done.stdout):
        yield result.get("output", result.get("error"))


TAG = re.compile(r"(?:\{\{|<%|\[|\|)=.*?=(?:\}\}|%>|\]|\|)|"
                 r"\{\{\{.*?\}\}\}|\{\{.*?\}\}|<%.*?%>|\[.*?\]|\|.*?\|")


def texts(case):
    return [case["template"], *case["partials"].values()]


def only_tags(text):
    """Is there a line of several tags and nothing else?"""
    return any(len(TAG.findall(line)) > 1 and not TAG.sub("", line).strip()
               for line in text.split("\n"))


def unlike_pystache(case):
    """Why pystache may differ, and it is not right then; or None."""
    for text in texts(case):
        if re.search(r"[\]}|>][ \t]+\r?(\n|$)", text):
            return "blanks behind a tag keep it from standing alone"
        if re.search(r"(^|\n)\r\n", text) and case["partials"]:
            return "an empty line that ends with CR LF is indented"
    if any(only_tags(text) for text in case["partials"].values()):
        return "a line of an indented partial that gives nothing is indented"
    return None


def unlike_mustache_js(case):
    """Why mustache.js 3 may differ, and it is not right then; or None."""
    if "dotted" in case["features"]:
        return "a dotted name goes on searching outside of what has its head"
    for text in texts(case):
        if re.search(r"(^|\n)[ \t]+(\{\{|<%|\[|\|)>", text):
            return "partials are not indented"
        last = text.split("\n")[-1]
        if last != last.strip() and TAG.fullmatch(last.strip()):
            return "blanks beside a tag alone on the last line stay"
        if only_tags(text):
            return "tags alone on a line together count as standing alone"
    data = json.dumps(case["data"])
    if "null" in data:
        return "null as the context of a section is an exception"
    if "dot" in case["features"] and "true" in data:
        return "true is no context"
    return None


def compare(seed, count, renders, unlike, folder):
    """How many cases of the seed were the same; fails when one was not."""
    maker = Maker(seed)
    cases = [maker.case() for _ in range(count)]
    same = 0
    for case, mine, theirs in zip(cases, ours(cases, folder), renders(cases)):
        if unlike(case) is None:
            assert mine == {"output": theirs}, \
                f"seed {seed}: {json.dumps(case)}"
            same += 1
    return same


def compare_for_a_while(name, renders, unlike, folder):
    seed = int(os.environ.get("TIDEMILL_SEED", random.randrange(10 ** 9)))
    print(f"{name}: TIDEMILL_SEED={seed}")
    begin, same = time.monotonic(), 0
    while time.monotonic() - begin < SECONDS:
        same += compare(seed, 300, renders, unlike, folder)
        seed += 1
    print(f"{name}: {same} templates gave the same")
    assert same >= 20


def test_beside_pystache(tmp_path):
    compare_for_a_while("pystache", pystache_renders, unlike_pystache,
                        tmp_path)


@pytest.mark.skipif(not MUSTACHE_JS.exists() or not shutil.which("node"),
                    reason="needs node-mustache")
def test_beside_mustache_js(tmp_path):
    compare_for_a_while(
        "mustache.js", lambda cases: mustache_js_renders(cases, tmp_path),
        unlike_mustache_js, tmp_path)


# What the peers do otherwise, and what is right.
DIFFERENCES = [
    (pystache_renders, "{{! x }} \nz", {}, {}, "z"),
    (pystache_renders, "  {{>p}}", {}, {"p": "1\r\n\r\n2"},
     "  1\r\n\r\n  2"),
    (pystache_renders, "{{#a}}x{{/a}}", {"a": 0}, {}, "x"),
    (mustache_js_renders, "{{#a}}{{b.c}}{{/a}}", {"a": {"b": {}},
                                                  "b": {"c": 1}}, {}, ""),
    (mustache_js_renders, "  {{>p}}", {}, {"p": "1\n2"}, "  1\n  2"),
    (pystache_renders, "  {{>p}}", {}, {"p": "{{! x }}{{! x }}\n"}, "\n"),
    (mustache_js_renders, "{{#a}}{{.}}{{/a}}", {"a": True}, {}, "true"),
    (mustache_js_renders, "{{#a}}{{b}}{{/a}}", {"a": [None]}, {}, ""),
    (mustache_js_renders, "{{#a}} {{/a}}\n", {"a": True}, {}, " \n"),
    (mustache_js_renders, "x\n  {{! x }}", {}, {}, "x\n"),
    (mustache_js_renders, "{{#a}}x{{/a}}", {"a": ""}, {}, "x"),
]


@pytest.mark.parametrize("renders,template,data,partials,right", DIFFERENCES,
                         ids=[str(i) for i in range(len(DIFFERENCES))])
def test_known_differences(renders, template, data, partials, right,
                           tmp_path):
    """They are still there: else a rule above is too wide."""
    case = {"template": template, "data": data, "partials": partials,
            "features": []}
    assert ours([case], tmp_path) == [{"output": right}]
    if renders is pystache_renders:
        theirs, = renders([case])
    elif not MUSTACHE_JS.exists() or not shutil.which("node"):
        pytest.skip("needs node-mustache")
    else:
        theirs, = renders([case], tmp_path)
    assert theirs != right
