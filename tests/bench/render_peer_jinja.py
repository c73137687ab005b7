#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Renders per second of Jinja2, for the render benchmark.

usage: render_peer_jinja.py cached|cold FOLDER SECONDS

FOLDER is what render_shape.py wrote.  cached renders a compiled template;
cold compiles it each time.  The last output goes to FOLDER/jinja_MODE.
"""

import json
import pathlib
import sys
import time

import jinja2


def main():
    mode, folder, seconds = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    source = (folder / "template.jinja").read_text()
    data = json.loads((folder / "data.json").read_text())
    environment = jinja2.Environment(keep_trailing_newline=True)
    template = environment.from_string(source)
    count = 0
    begin = now = time.monotonic()
    while now < begin + float(seconds):
        if mode == "cold":
            template = environment.from_string(source)
        text = template.render(data)
        count += 1
        now = time.monotonic()
    (folder / f"jinja_{mode}").write_text(text)
    print(json.dumps({"name": f"Jinja2 {mode}",
                      "renders_per_second": round(count / (now - begin)),
                      "bytes": len(text.encode())}))


if __name__ == "__main__":
    main()
