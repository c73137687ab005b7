#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the rendering benchmark's template and data, always the same.

The shape is a code template's: 20 fields, 121 lines and 8.2 KB of output in
980 pieces (a piece is a literal or a value).

usage: render_shape.py FOLDER

FOLDER gets template.mustache, template.jinja, data.json, and pieces.json:
the pieces of the output in order, for the limit (copying them).
"""

import json
import pathlib
import re
import sys

HEAD = "class {{class_name}}:\n"

FIELD = """\
    _{{name}}: {{type}} = {{default}}  # {{column}}
    def get_{{name}}(self) -> {{type}}: return self._{{name}} or {{default}}
    def set_{{name}}(self, v: {{type}}): self._{{name}} = {{type}}(v)
    def has_{{name}}(self): return self._{{name}} not in ({{default}}, {{class_name}})
    def row_{{name}}(self): return ("{{column}}", self._{{name}}, "{{type}}")
    def sql_{{name}}(self): return "{{column}} = %({{name}})s", {"{{name}}": 0}
"""

TYPES = (("int", "0"), ("str", "None"), ("float", "0.0"), ("bool", "False"))
WORDS = ("amount", "title", "rate", "is_active", "owner_id", "comment",
         "price", "visible", "count", "label")
FIELDS = 20
TAG = re.compile(r"{{(\w+)}}")


def make_data():
    fields = []
    for i in range(FIELDS):
        kind, default = TYPES[i % len(TYPES)]
        name = f"{WORDS[i % len(WORDS)]}_{i}"
        fields.append({"name": name, "column": f"t_{name}", "type": kind,
                       "default": default})
    return {"class_name": "CustomerAccount", "fields": fields}


def cut(template, values):
    """The pieces of one rendering, empty literals left out."""
    pieces = TAG.split(template)
    pieces[1::2] = [values[name] for name in pieces[1::2]]
    return [piece for piece in pieces if piece]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    data = make_data()
    pieces = cut(HEAD, data)
    for field in data["fields"]:
        pieces += cut(FIELD, {**data, **field})
    mustache = f"{HEAD}{{{{#fields}}}}\n{FIELD}{{{{/fields}}}}\n"
    jinja = TAG.sub(lambda m: "{{ %s }}" % (
        m[1] if m[1] == "class_name" else f"field.{m[1]}"), FIELD)
    jinja = f"{HEAD}{{% for field in fields %}}{jinja}{{% endfor %}}"
    (folder / "template.mustache").write_text(mustache)
    (folder / "template.jinja").write_text(jinja)
    (folder / "data.json").write_text(json.dumps(data))
    (folder / "pieces.json").write_text(json.dumps(pieces))
    text = "".join(pieces)
    print(json.dumps({"pieces": len(pieces), "bytes": len(text),
                      "lines": text.count("\n"), "fields": FIELDS}))


if __name__ == "__main__":
    main()
