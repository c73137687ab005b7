/* SPDX-License-Identifier: Apache-2.0
 *
 * The template engine against the rules of the Mustache specification's
 * optional module of inheritance, and what we add to them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/mustache_render.h"

static void test_defaults(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"what nothing replaces", "{{$t}}Untitled{{/t}}\n", "{}", "Untitled\n",
         NULL},
        {"with a value", "{{$t}}a {{v}} z{{/t}}\n", "{\"v\":\"m\"}", "a m z\n",
         NULL},
        {"with a triple", "{{$t}}a {{{v}}} z{{/t}}\n", "{\"v\":\"<m>\"}",
         "a <m> z\n", NULL},
        {"with a section", "{{$t}}a {{#s}}{{v}}{{/s}} z{{/t}}\n",
         "{\"s\":{\"v\":\"m\"}}", "a m z\n", NULL},
        {"with an inverted section", "{{$t}}a {{^s}}{{v}}{{/s}} z{{/t}}\n",
         "{\"v\":\"3\"}", "a 3 z\n", NULL},
        {"values are no templates", "{{$t}}a {{#s}}{{v}}{{/s}} z{{/t}}\n",
         "{\"s\":{\"v\":\"{{w}}\"},\"w\":1}", "a {{w}} z\n", NULL},
        {"in a parent, which stands alone", "{{<p}}{{/p}}\n", "{}", "as it is",
         "{\"p\":\"{{$t}}as it is{{/t}}\"}"},
        {"data is no argument", "{{<p}}{{/p}}", "{\"t\":\"data\"}", "default",
         "{\"p\":\"{{$t}}default{{/t}}\"}"},
    };
    CHECK_RULES(rules);
}

static void test_arguments(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"replaces", "{{<p}}{{$t}}ours{{/t}}{{/p}}", "{}", "<ours>",
         "{\"p\":\"<{{$t}}theirs{{/t}}>\"}"},
        {"data replaces nothing", "{{<p}}{{$v}}ours{{/v}}{{/p}}",
         "{\"v\":\"data\"}", "ours", "{\"p\":\"{{$v}}theirs{{/v}}\"}"},
        {"behind text", "see {{<p}}{{$t}}ours{{/t}}{{/p}}", "{}", "see ours",
         "{\"p\":\"{{$t}}...{{/t}}\"}"},
        {"one parent twice",
         "a {{<p}}{{$t}}one{{/t}}{{/p}} {{<p}}{{$t}}two{{/t}}{{/p}}\n", "{}",
         "a [one dflt] [two dflt]\n",
         "{\"p\":\"[{{$t}}...{{/t}}{{$u}} dflt{{/u}}]\"}"},
        {"one block of two", "{{<p}}{{$u}}ours{{/u}}{{/p}}", "{}",
         "first, ours", "{\"p\":\"{{$t}}first{{/t}}, {{$u}}second{{/u}}\"}"},
        {"a parent without arguments is a partial", "{{>p}}|{{<p}}{{/p}}", "{}",
         "dflt|dflt", "{\"p\":\"{{$t}}dflt{{/t}}\"}"},
        {"text in a parent counts for nothing",
         "{{<p}} some {{$t}}ours{{/t}} more {{/p}}", "{}", "ours",
         "{\"p\":\"{{$t}}dflt{{/t}}\"}"},
        {"only text in a parent", "{{<p}} some more {{/p}}", "{}", "dflt",
         "{\"p\":\"{{$t}}dflt{{/t}}\"}"},
        {"contexts are those of the block", "{{<p}}{{$t}}a {{n}}{{/t}}{{/p}}",
         "{\"n\":\"outer\",\"s\":{\"n\":\"inner\"}}", "a inner",
         "{\"p\":\"{{#s}}{{$t}}the {{n}}{{/t}}{{/s}}\"}"},
        {"no such parent", "({{<none}}{{$t}}x{{/t}}{{/none}})", "{}", "()",
         "{}"},
        {"the data names the parent", "{{<*d}}{{$t}}ours{{/t}}{{/*d}}",
         "{\"d\":\"p\"}", "<ours>", "{\"p\":\"<{{$t}}{{/t}}>\"}"},
        {"the data names the parent, padded",
         "{{< * d }}{{$t}}ours{{/t}}{{/ * d }}", "{\"d\":\"p\"}", "<ours>",
         "{\"p\":\"<{{$t}}{{/t}}>\"}"},
        {"padding", "{{< p }}{{$ t }}ours{{/ t }}{{/ p }}", "{}", "<ours>",
         "{\"p\":\"<{{$ t }}{{/ t }}>\"}"},
        {"comments and delimiters in a parent",
         "{{<p}}{{! x }}{{=<% %>=}}<%$t%>ours<%v%><%/t%><%/p%>", "{\"v\":1}",
         "<ours1>", "{\"p\":\"<{{$t}}{{/t}}>\"}"},
        {"the last of a name", "{{<p}}{{$t}}a{{/t}}{{$t}}b{{/t}}{{/p}}", "{}",
         "b", "{\"p\":\"{{$t}}{{/t}}\"}"},
        {"in each item", "{{<p}}{{$t}}{{.}};{{/t}}{{/p}}", "{\"l\":[1,2]}",
         "1;2;", "{\"p\":\"{{#l}}{{$t}}{{/t}}{{/l}}\"}"},
        {"a parent in each item", "{{#l}}{{<p}}{{$t}}{{.}}{{/t}}{{/p}}{{/l}}",
         "{\"l\":[1,2]}", "<1><2>", "{\"p\":\"<{{$t}}{{/t}}>\"}"},
        {"partials within arguments", "{{<p}}{{$t}}{{>q}}{{/t}}{{/p}}",
         "{\"v\":1}", "<q1>", "{\"p\":\"<{{$t}}{{/t}}>\",\"q\":\"q{{v}}\"}"},
        {"an empty argument", "{{<p}}{{$t}}{{/t}}{{/p}}", "{}", "<>",
         "{\"p\":\"<{{$t}}dflt{{/t}}>\"}"},
        {"through a partial", "{{<p}}{{$t}}ours{{/t}}{{/p}}", "{}", "<ours>",
         "{\"p\":\"<{{>q}}>\",\"q\":\"{{$t}}dflt{{/t}}\"}"},
        {"within a lambda", "{{#upper}}{{<p}}{{$t}}ours{{/t}}{{/p}}{{/upper}}",
         "{}", "<OURS>", "{\"p\":\"<{{$t}}{{/t}}>\"}"},
    };
    CHECK_RULES(rules);
}

static void test_levels(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"the outermost argument wins", "{{<b}}{{$a}}1{{/a}}{{/b}}", "{}", "1",
         "{\"b\":\"{{<c}}{{$a}}2{{/a}}{{/c}}\",\"c\":\"{{<d}}{{$a}}3{{/a}}{{/"
         "d}}\",\"d\":\"{{$a}}4{{/a}}\"}"},
        {"then the next", "{{<b}}{{/b}}", "{}", "2",
         "{\"b\":\"{{<c}}{{$a}}2{{/a}}{{/c}}\",\"c\":\"{{<d}}{{$a}}3{{/a}}{{/"
         "d}}\",\"d\":\"{{$a}}4{{/a}}\"}"},
        {"recursion ends where an argument says so",
         "{{<p}}{{$a}}A{{/a}}{{/p}}", "{}", "A A A stop",
         "{\"p\":\"{{$a}}a{{/a}} {{$b}}{{<q}}{{/q}}{{/b}}\","
         "\"q\":\"{{$a}}q{{/a}} {{<p}}{{$b}}stop{{/b}}{{/p}}\"}"},
        {"a block within an argument belongs to its template",
         "{{<b}}{{$y}}Y{{/y}}{{/b}}", "{}", "<b Y>",
         "{\"b\":\"{{<c}}{{$x}}b {{$y}}y{{/y}}{{/x}}{{/c}}\","
         "\"c\":\"<{{$x}}x{{/x}}>\"}"},
        {"a block within an argument of its own name",
         "{{<p}}{{$x}}a{{$x}}b{{/x}}c{{/x}}{{/p}}", "{}", "<abc>",
         "{\"p\":\"<{{$x}}x{{/x}}>\"}"},
        {"a parent within an argument",
         "{{<p}}{{$x}}{{<q}}{{$x}}in{{/x}}{{/q}}{{/x}}{{/p}}", "{}", "<[in]>",
         "{\"p\":\"<{{$x}}{{/x}}>\",\"q\":\"[{{$x}}{{/x}}]\"}"},
        {"the same parent within its argument",
         "{{<p}}{{$x}}{{<p}}{{$x}}in{{/x}}{{/p}}{{/x}}{{/p}}", "{}", "<<in>>",
         "{\"p\":\"<{{$x}}{{/x}}>\"}"},
    };
    CHECK_RULES(rules);
}

static const struct rule lines_rules[] = {
    {"the first tag's line is gone, the others stay",
     "{{<p}}{{$t}}\none\n\n:(\n{{/t}}{{/p}}", "{}", "one\n\n:(\n",
     "{\"p\":\"{{$t}}dflt{{/t}}\"}"},
    {"the block's indentation stays", "{{<p}}{{$t}}ours{{/t}}{{/p}}", "{}",
     "a:\n  ours\n", "{\"p\":\"a:\\n  {{$t}}theirs{{/t}}\\n\"}"},
    {"a parent alone on its line", "a:\n  {{<p}}{{/p}}\n", "{}",
     "a:\n  1\n  2\n", "{\"p\":\"1\\n2\\n\"}"},
    {"a block alone on its line, in one piece",
     "{{<p}}{{$t}}\n1\n2{{/t}}\n{{/p}}\n", "{}", "a:\n  1\n  2\n",
     "{\"p\":\"a:\\n  {{$t}}{{/t}}\\n\"}"},
    {"indented anew", "{{<p}}{{$t}}\n    1\n    2\n{{/t}}{{/p}}\n", "{}",
     "a:\n  1\n  2\n", "{\"p\":\"a:\\n  {{$t}}\\n  {{/t}}\\n\"}"},
    {"indented as the default is", "{{<p}}{{$t}}\n1\n2\n{{/t}}{{/p}}\n", "{}",
     "a:\n  1\n  2\n", "{\"p\":\"a:\\n{{$t}}\\n  dflt\\n{{/t}}\\n\"}"},
    {"blocks within arguments", "{{<p}}{{$n}}\n3\n{{/n}}{{/p}}\n", "{}",
     "1\n  3\n",
     "{\"p\":\"{{<q}}{{$t}}\\n  1\\n  {{$n}}\\n    2\\n  {{/n}}\\n"
     "{{/t}}{{/q}}\\n\",\"q\":\"{{$t}}dflt{{/t}}\"}"},

    {"each tag on its own line",
     "{{<p}}\n        {{$t}}\n        1\n          2\n        {{/t}}\n"
     "{{/p}}\nz\n",
     "{}", "a\n  1\n    2\nb\nz\n",
     "{\"p\":\"a\\n  {{$t}}\\n  dflt\\n  {{/t}}\\nb\\n\"}"},
    {"a default keeps its lines", "{{<p}}\n{{/p}}\nz\n", "{}",
     "a\n    1\n  2\nb\nz\n",
     "{\"p\":\"a\\n  {{$t}}\\n    1\\n  2\\n  {{/t}}\\nb\\n\"}"},
    {"a parent that does not begin its line", "a {{<p}}\n{{/p}}\nz\n", "{}",
     "a 1\n\nz\n", "{\"p\":\"1\\n\"}"},
    {"a parent that does not end its line", "  {{<p}}\n{{/p}} z\n", "{}",
     "  1\n2 z\n", "{\"p\":\"1\\n2\"}"},
    {"the same, indented", " {{>o}}\n", "{}", "   1\n2 z\n b\n",
     "{\"o\":\"  {{<p}}{{/p}} z\\nb\\n\",\"p\":\"1\\n2\"}"},
    {"a parent at a line's begin, indented", " {{>o}}\n", "{}", " 1 z\n b\n",
     "{\"o\":\"{{<p}}{{/p}} z\\nb\\n\",\"p\":\"1\"}"},
    {"indentation adds up", " {{>o}}\n", "{}",
     " o\n   p\n     1\n       2\n   q\n z\n",
     "{\"o\":\"o\\n  {{<p}}{{$t}}\\n    1\\n      2\\n    {{/t}}"
     "{{/p}}\\nz\\n\",\"p\":\"p\\n  {{$t}}\\n  {{/t}}\\nq\\n\"}"},
    {"an argument in the middle of a line", "{{<p}}{{$t}}\n1\n2\n{{/t}}{{/p}}",
     "{}", "a 1\n2\n z\n", "{\"p\":\"a {{$t}}{{/t}} z\\n\"}"},
    {"the same, indented", "  {{<p}}{{$t}}\n1\n2\n{{/t}}{{/p}}", "{}",
     "  a 1\n  2\n z\n", "{\"p\":\"a {{$t}}{{/t}} z\\n\"}"},
    {"an argument at a line's begin, indented",
     "  {{<p}}{{$t}}\n1\n2{{/t}}{{/p}}", "{}", "  1\n  2 z\n  b",
     "{\"p\":\"{{$t}}{{/t}} z\\nb\"}"},
    {"an argument in a line that goes on", "{{<p}}{{$t}}1\n2{{/t}}{{/p}}", "{}",
     "  1\n2 z\n", "{\"p\":\"  {{$t}}{{/t}} z\\n\"}"},
    {"the last tag's blanks are not in it", "{{<p}}{{$t}}\n1\n    {{/t}}{{/p}}",
     "{}", "1\nz", "{\"p\":\"{{$t}}{{/t}}z\"}"},
    {"a lambda that makes its line shorter", "{{<w}}{{$t}}{{/t}}{{/w}}", "{}",
     "  a\n  x\n",
     "{\"w\":\"  {{>p}}\\n\",\"p\":\"{{#snake_case}}A-{{$t}}{{/t}}"
     "{{/snake_case}}\\nx\\n\"}"},
    {"a line of an argument in a block of lines", "{{<p}}{{$t}}1{{/t}}{{/p}}",
     "{}", "a\n  1b\n", "{\"p\":\"a\\n{{$t}}\\n  dflt\\n{{/t}}\\nb\\n\"}"},
    {"values in arguments", "{{<p}}{{$t}}\n{{v}}\n{{v}}\n{{/t}}{{/p}}",
     "{\"v\":7}", "a\n  7\n  7\n", "{\"p\":\"a\\n  {{$t}}\\n  {{/t}}\\n\"}"},
    {"sections in arguments",
     "{{<p}}\n  {{$t}}\n  {{#l}}\n  - {{.}}\n  {{/l}}\n  {{/t}}\n{{/p}}\n",
     "{\"l\":[1,2]}", "a\n    - 1\n    - 2\nb\n",
     "{\"p\":\"a\\n    {{$t}}\\n    {{/t}}\\nb\\n\"}"},
    {"partials in arguments",
     "{{<p}}\n    {{$t}}\n    x\n      {{>q}}\n    {{/t}}\n{{/p}}\n", "{}",
     "a\n  x\n    1\n    2\n",
     "{\"p\":\"a\\n  {{$t}}\\n  {{/t}}\\n\",\"q\":\"1\\n2\\n\"}"},
    {"empty lines of arguments stay empty",
     "{{<p}}\n{{$t}}\n\n  1\n\n  2\n{{/t}}\n{{/p}}\n", "{}",
     "a\n\n  1\n\n  2\n", "{\"p\":\"a\\n  {{$t}}\\n  {{/t}}\\n\"}"},
    {"less indented lines lose what they have",
     "{{<p}}{{$t}}\n    1\n  2\n3\n{{/t}}{{/p}}", "{}", "1\n2\n3\n",
     "{\"p\":\"{{$t}}{{/t}}\"}"},
    {"tabs", "{{<p}}{{$t}}\n\t1\n\t\t2\n\t{{/t}}{{/p}}", "{}",
     "a\n\t1\n\t\t2\n", "{\"p\":\"a\\n\\t{{$t}}\\n\\t{{/t}}\\n\"}"},
    {"CR LF", "{{<p}}\r\n  {{$t}}\r\n  1\r\n  2\r\n  {{/t}}\r\n{{/p}}\r\nz",
     "{}", "a\r\n 1\r\n 2\r\nz",
     "{\"p\":\"a\\r\\n {{$t}}\\r\\n {{/t}}\\r\\n\"}"},
    {"an argument that begins behind its tag keeps its lines",
     "{{<p}}{{$t}}1\n    2{{/t}}{{/p}}", "{}", "1\n    2",
     "{\"p\":\"{{$t}}{{/t}}\"}"},
    {"an empty default with lines", "{{<p}}{{$t}}\n1\n{{/t}}{{/p}}", "{}",
     "a\n    1\n", "{\"p\":\"a\\n    {{$t}}\\n{{/t}}\\n\"}"},
    {"an argument's argument has its own indentation",
     "{{<p}}\n    {{$t}}\n    1\n    {{<q}}\n            {{$u}}\n"
     "            2\n            {{/u}}\n    {{/q}}\n    {{/t}}\n{{/p}}\n",
     "{}", " 1\n q\n   2\n",
     "{\"p\":\" {{$t}}\\n {{/t}}\\n\",\"q\":\"q\\n  {{$u}}\\n  "
     "{{/u}}\\n\"}"},
};

static void test_lines(void **state)
{
    (void)state;
    CHECK_RULES(lines_rules);
}

static void test_bounds(void **state)
{
    (void)state;
    expect_error("{{<p}}{{/p}}", "{}", "{\"p\":\"{{<p}}{{/p}}\"}", false,
                 "a template that includes itself for ever");
    expect_error("{{<p}}{{/p}}", "{}",
                 "{\"p\":\"{{<q}}{{/q}}\","
                 "\"q\":\"{{<p}}{{/p}}\"}",
                 false, ", from main:1:1)");
    expect_error("{{<p}}{{$a}}{{<p}}{{/p}}{{/a}}{{/p}}", "{}",
                 "{\"p\":\"{{$a}}{{<p}}{{/p}}{{/a}}\"}", false,
                 "includes itself for ever");
    struct buffer blocks;
    buffer_init(&blocks, 1u << 16);
    /* Blocks within blocks, deeper than sections may be. */
    for (unsigned i = 0; i < 200; i++)
        buffer_append_text(&blocks, "{{$a}}");
    expect_error(blocks.bytes, "{}", NULL, false, "nested too deep");
    buffer_deinit(&blocks);
}

static void test_errors(void **state)
{
    (void)state;
    expect_error("a\n{{<p}}\n{{$t}}\n {{v}}{{/t}}{{/p}}", "{}",
                 "{\"p\":\"b\\n\\n  {{$t}}{{/t}}\"}", true,
                 "main:4:2: v is not defined; give it in the data, if only as "
                 "null or false (included from p:3:3, from main:2:1)");
    expect_error("{{<p}}{{/p}}", "{}", "{}", true, "there is no partial p");
    expect_error("{{<*p}}{{/*p}}", "{}", "{}", true, "p is not defined");
    expect_error("{{<p}}{{/p}}", "{}", "{\"p\":\"\\n {{$t}}{{v}}{{/t}}\"}",
                 true,
                 "p:2:8: v is not defined; give it in the data, if only "
                 "as null or false (included from main:1:1)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_levels),   cmocka_unit_test(test_lines),
        cmocka_unit_test(test_bounds),   cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
