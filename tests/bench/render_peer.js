// SPDX-License-Identifier: Apache-2.0
//
// Renders per second of mustache.js, for the render benchmark.
//
// usage: render_peer.js cached|cold FOLDER SECONDS MODULES
//
// FOLDER is what render_shape.py wrote; MODULES holds node_modules/mustache.
// cached keeps the parsed template (mustache.js's own cache); cold clears it
// before each rendering.  The last output goes to FOLDER/js_MODE.
"use strict";

const fs = require("fs");
const path = require("path");

const [mode, folder, seconds, modules] = process.argv.slice(2);
const Mustache = require(path.resolve(modules, "node_modules", "mustache"));
const template = fs.readFileSync(path.join(folder, "template.mustache"), "utf8");
const data = JSON.parse(fs.readFileSync(path.join(folder, "data.json"), "utf8"));

// Code is not HTML: nothing is escaped, as with ours.
Mustache.escape = (value) => value;

function measure(duration) {
  const begin = process.hrtime.bigint();
  const end = begin + BigInt(Math.round(duration * 1e9));
  let count = 0;
  let now = begin;
  let text = "";
  while (now < end) {
    for (let i = 0; i < 50; i++) {
      if (mode === "cold") Mustache.clearCache();
      text = Mustache.render(template, data);
      // V8 joins strings lazily; what is written must be whole.
      Buffer.byteLength(text);
    }
    count += 50;
    now = process.hrtime.bigint();
  }
  return [(count * 1e9) / Number(now - begin), text];
}

measure(Math.min(0.3, Number(seconds))); // let the compiler warm up
const [rate, text] = measure(Number(seconds));
fs.writeFileSync(path.join(folder, `js_${mode}`), text);
console.log(JSON.stringify({
  name: `mustache.js ${mode}`,
  renders_per_second: Math.round(rate),
  bytes: Buffer.byteLength(text),
}));
