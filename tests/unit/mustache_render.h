/* SPDX-License-Identifier: Apache-2.0
 *
 * Rendering in one call, for the template engine's tests.
 */
#ifndef TIDEMILL_TESTS_UNIT_MUSTACHE_RENDER_H
#define TIDEMILL_TESTS_UNIT_MUSTACHE_RENDER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/mustache/mustache.h"

const struct node *read_json(struct arena *arena, const char *text);

/* Renders `template` with JSON data and partials (a JSON object of name:
 * text; NULL for none); the caller owns the buffer, filled in any case. */
int render(const char *template, const char *data, const char *partials,
           struct mustache_options options, struct buffer *out,
           struct error *error);

int render_as(enum mustache_syntax syntax, const char *template,
              const char *data, const char *partials,
              struct mustache_options options, struct buffer *out,
              struct error *error);

/* The output must be this; name is for messages. */
void expect(const char *name, const char *template, const char *data,
            const char *partials, struct mustache_options options,
            const char *expected);

/* A rule: what the template gives with the data.  Partials are a JSON
 * object of name: text. */
struct rule {
    const char *name;
    const char *template;
    const char *data;
    const char *expected;
    const char *partials;
};

void check_rules(const struct rule *rules, size_t count);

#define CHECK_RULES(rules)                                                     \
    check_rules(rules, sizeof(rules) / sizeof((rules)[0]))

/* The rendering must fail, with this in its message. */
void expect_error(const char *template, const char *data, const char *partials,
                  bool strict, const char *text);

#endif
