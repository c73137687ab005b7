// SPDX-License-Identifier: Apache-2.0
// The cases of a JSON file by mustache.js, as render_cases.c does it.
"use strict";
const fs = require("fs");
const mustache = require("/usr/share/nodejs/mustache/mustache.js");

const entities = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"};
mustache.escape = (text) => String(text).replace(/[&<>"]/g, (c) => entities[c]);

// Lists and maps print as JSON.
function withText(value) {
  if (value === null || typeof value !== "object") return value;
  const json = JSON.stringify(value);
  for (const key of Object.keys(value)) value[key] = withText(value[key]);
  Object.defineProperty(value, "toString", {value: () => json});
  return value;
}

const results = JSON.parse(fs.readFileSync(process.argv[2], "utf8")).map(
  (item) => {
    try {
      return {output: mustache.render(item.template, withText(item.data),
                                      item.partials)};
    } catch (error) {
      return {error: String(error)};
    }
  });
process.stdout.write(JSON.stringify(results));
