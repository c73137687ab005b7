/* SPDX-License-Identifier: Apache-2.0
 *
 * The template engine against each rule of the Mustache specification's
 * core modules.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/mustache_render.h"

static const struct rule interpolation_rules[] = {
    {"no tag at all", "a {single} brace\n", "{}", "a {single} brace\n", NULL},
    {"an empty template", "", "{}", "", NULL},
    {"a name", "good {{when}}!\n", "{\"when\":\"day\"}", "good day!\n", NULL},
    {"not interpolated twice", "{{a}}", "{\"a\":\"{{b}}\",\"b\":1}", "{{b}}",
     NULL},
    {"the four characters of HTML", "{{v}}", "{\"v\":\"& \\\" < > '\"}",
     "&amp; &quot; &lt; &gt; '", NULL},
    {"triple", "{{{v}}}", "{\"v\":\"& \\\" < >\"}", "& \" < >", NULL},
    {"ampersand", "{{&v}}", "{\"v\":\"& \\\" < >\"}", "& \" < >", NULL},
    {"an integer", "<{{n}}>", "{\"n\":85}", "<85>", NULL},
    {"an integer, triple", "<{{{n}}}>", "{\"n\":85}", "<85>", NULL},
    {"an integer, ampersand", "<{{&n}}>", "{\"n\":85}", "<85>", NULL},
    {"a decimal", "<{{n}}>", "{\"n\":1.21}", "<1.21>", NULL},
    {"a decimal, triple", "<{{{n}}}>", "{\"n\":1.21}", "<1.21>", NULL},
    {"a decimal, ampersand", "<{{&n}}>", "{\"n\":1.21}", "<1.21>", NULL},
    {"numbers as written", "{{a}} {{b}} {{c}}",
     "{\"a\":1.10,\"b\":123456789012345678901234567890,\"c\":1E+5}",
     "1.10 123456789012345678901234567890 1E+5", NULL},
    {"booleans", "{{t}}{{f}}", "{\"t\":true,\"f\":false}", "truefalse", NULL},
    {"null", "({{v}})", "{\"v\":null}", "()", NULL},
    {"null, triple", "({{{v}}})", "{\"v\":null}", "()", NULL},
    {"null, ampersand", "({{&v}})", "{\"v\":null}", "()", NULL},
    {"null hides the parent's", "{{#s}}({{v}}){{/s}}",
     "{\"v\":1,\"s\":{\"v\":null}}", "()", NULL},
    {"missing", "({{v}})", "{}", "()", NULL},
    {"missing, triple", "({{{v}}})", "{}", "()", NULL},
    {"missing, ampersand", "({{&v}})", "{}", "()", NULL},
    {"dotted", "{{p.n}} {{#p}}{{n}}{{/p}}", "{\"p\":{\"n\":\"J\"}}", "J J",
     NULL},
    {"dotted, triple", "{{{p.n}}}", "{\"p\":{\"n\":\"<\"}}", "<", NULL},
    {"dotted, ampersand", "{{&p.n}}", "{\"p\":{\"n\":\"<\"}}", "<", NULL},
    {"dotted, deep", "{{a.b.c.d.e.n}}",
     "{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"n\":\"P\"}}}}}}", "P", NULL},
    {"dotted, broken", "({{a.b.c}})", "{\"a\":{}}", "()", NULL},
    {"dotted, broken through a scalar", "({{a.b}})", "{\"a\":\"x\"}", "()",
     NULL},
    {"dotted, no parent's help", "({{a.b.c.n}})",
     "{\"a\":{\"b\":{}},\"c\":{\"n\":\"J\"}}", "()", NULL},
    {"dotted, first part from the nearest", "{{#a}}{{b.c.n}}{{/a}}",
     "{\"a\":{\"b\":{\"c\":{\"n\":\"P\"}}},\"b\":{\"c\":{\"n\":\"W\"}}}", "P",
     NULL},
    {"dotted, the nearest decides", "{{#a}}({{b.c}}){{/a}}",
     "{\"a\":{\"b\":{}},\"b\":{\"c\":\"E\"}}", "()", NULL},
    {"dotted names are no keys", "({{a.b}})", "{\"a.b\":\"c\"}", "()", NULL},
    {"dotted keys hide nothing", "{{a.b}}", "{\"a.b\":1,\"a\":{\"b\":2}}", "2",
     NULL},
    {"leading dot: here only", "{{#a}}{{.n}}{{/a}}{{#b}}{{.n}}{{/b}}",
     "{\"a\":{},\"b\":{\"n\":\"N\"},\"n\":\"F\"}", "N", NULL},
    {"the whole context", "<{{.}}>", "\"x\"", "<x>", NULL},
    {"the whole context, escaped", "{{.}}", "\"<\"", "&lt;", NULL},
    {"the whole context, triple", "{{{.}}}", "\"<\"", "<", NULL},
    {"the whole context, ampersand", "{{&.}}", "\"<\"", "<", NULL},
    {"the whole context, a number", "{{.}}", "1.5", "1.5", NULL},
    {"white space around", "| {{v}} |", "{\"v\":\"-\"}", "| - |", NULL},
    {"white space around, triple", "| {{{v}}} |", "{\"v\":\"-\"}", "| - |",
     NULL},
    {"white space around, ampersand", "| {{&v}} |", "{\"v\":\"-\"}", "| - |",
     NULL},
    {"alone on a line", "  {{v}}\n", "{\"v\":\"-\"}", "  -\n", NULL},
    {"alone on a line, triple", "  {{{v}}}\n", "{\"v\":\"-\"}", "  -\n", NULL},
    {"alone on a line, ampersand", "  {{&v}}\n", "{\"v\":\"-\"}", "  -\n",
     NULL},
    {"padding", "|{{ v }}|", "{\"v\":\"-\"}", "|-|", NULL},
    {"padding, triple", "|{{{ v }}}|", "{\"v\":\"-\"}", "|-|", NULL},
    {"padding, ampersand", "|{{& v }}|", "{\"v\":\"-\"}", "|-|", NULL},
    {"padding with lines", "|{{\n v\r\n}}|", "{\"v\":\"-\"}", "|-|", NULL},
    {"Unicode", "\u00fc{{n\u00e4me}}\u20ac", "{\"n\u00e4me\":\"\u65e5\"}",
     "\u00fc\u65e5\u20ac", NULL},
    {"a brace after a triple", "{ {{{v}}} }", "{\"v\":1}", "{ 1 }", NULL},
    {"a list as JSON", "{{{v}}}", "{\"v\":[1,\"a\"]}", "[1,\"a\"]", NULL},
    {"a list as JSON, escaped", "{{v}}", "{\"v\":[\"a\"]}", "[&quot;a&quot;]",
     NULL},
};

static void test_interpolation(void **state)
{
    (void)state;
    CHECK_RULES(interpolation_rules);
}

static const struct rule sections_rules[] = {
    {"true", "<{{#b}}in{{/b}}>", "{\"b\":true}", "<in>", NULL},
    {"false", "<{{#b}}in{{/b}}>", "{\"b\":false}", "<>", NULL},
    {"null", "<{{#b}}in{{/b}}>", "{\"b\":null}", "<>", NULL},
    {"missing", "<{{#b}}in{{/b}}>", "{}", "<>", NULL},
    {"an empty list", "<{{#b}}in{{/b}}>", "{\"b\":[]}", "<>", NULL},
    {"an empty string is there", "<{{#b}}in{{/b}}>", "{\"b\":\"\"}", "<in>",
     NULL},
    {"zero is there", "<{{#b}}in{{/b}}>", "{\"b\":0}", "<in>", NULL},
    {"an empty map is there", "<{{#b}}in{{/b}}>", "{\"b\":{}}", "<in>", NULL},
    {"a map is a context", "{{#m}}hi {{n}}{{/m}}", "{\"m\":{\"n\":\"J\"}}",
     "hi J", NULL},
    {"parents are seen", "{{#s}}{{a}},{{b}},{{c.d}}{{/s}}",
     "{\"a\":\"f\",\"b\":\"w\",\"s\":{\"b\":\"r\"},\"c\":{\"d\":\"z\"}}",
     "f,r,z", NULL},
    {"a scalar is the context", "{{#v}}{{.}} is {{v}}{{/v}}", "{\"v\":\"bar\"}",
     "bar is bar", NULL},
    {"all levels of lists",
     "{{#t}}{{#m}}{{n.l}}{{k}}.{{#b}}{{n.u}}{{k}}{{x}}.{{/b}}{{/m}}{{/t}}",
     "{\"t\":[{\"n\":{\"u\":\"A\",\"l\":\"a\"},\"m\":[{\"k\":\"1\",\"b\":["
     "{\"x\":\"x\"},{\"x\":\"y\"}]}]}]}",
     "a1.A1x.A1y.", NULL},
    {"deep and back",
     "{{#a}}\n{{one}}\n{{#b}}\n{{one}}{{two}}{{one}}\n{{#c}}\n{{one}}{{two}"
     "}"
     "{{three}}\n{{#d}}\n{{three}}{{four}}\n{{#five}}\n{{four}}{{five}}{{."
     "}}6\n{{/five}}\n{{one}}{{four}}\n{{/d}}\n{{two}}{{three}}\n{{/c}}\n{{"
     "one}}{{two}}\n{{/b}}\n{{one}}\n{{/a}}\n",
     "{\"a\":{\"one\":1},\"b\":{\"two\":2},\"c\":{\"three\":3,\"d\":{"
     "\"four\":4,\"five\":5}}}",
     "1\n121\n123\n34\n4556\n14\n23\n12\n1\n", NULL},
    {"a list", "{{#l}}{{i}}{{/l}}", "{\"l\":[{\"i\":1},{\"i\":2},{\"i\":3}]}",
     "123", NULL},
    {"items with other keys", "{{#l}}{{i}}{{o}};{{/l}}",
     "{\"o\":\"p\",\"l\":[{\"i\":1},{\"o\":2},{\"o\":4,\"i\":3}]}", "1p;2;34;",
     NULL},
    {"a string is no list", "{{#s}}x{{/s}}", "{\"s\":\"123\"}", "x", NULL},
    {"two of the same", "{{#b}}\n* 1\n{{/b}}\n* {{v}}\n{{#b}}\n* 3\n{{/b}}\n",
     "{\"b\":true,\"v\":\"2\"}", "* 1\n* 2\n* 3\n", NULL},
    {"nested, true", "| A {{#b}}B {{#b}}C{{/b}} D{{/b}} E |", "{\"b\":true}",
     "| A B C D E |", NULL},
    {"nested, false", "| A {{#b}}B {{#b}}C{{/b}} D{{/b}} E |", "{\"b\":false}",
     "| A  E |", NULL},
    {"items: strings", "{{#l}}({{.}}){{/l}}", "{\"l\":[\"a\",\"b\"]}", "(a)(b)",
     NULL},
    {"items: integers", "{{#l}}({{.}}){{/l}}", "{\"l\":[1,2]}", "(1)(2)", NULL},
    {"items: decimals", "{{#l}}({{.}}){{/l}}", "{\"l\":[1.1,2.2]}",
     "(1.1)(2.2)", NULL},
    {"items: lists", "{{#l}}({{#.}}{{.}}{{/.}}){{/l}}",
     "{\"l\":[[1,2],[\"a\"]]}", "(12)(a)", NULL},
    {"items: escaped", "{{#l}}{{.}}{{/l}}", "{\"l\":[\"&\",\"<\"]}",
     "&amp;&lt;", NULL},
    {"items: triple", "{{#l}}{{{.}}}{{/l}}", "{\"l\":[\"&\",\"<\"]}", "&<",
     NULL},
    {"items: ampersand", "{{#l}}{{&.}}{{/l}}", "{\"l\":[\"&\",\"<\"]}", "&<",
     NULL},
    {"the root is a list", "{{#.}}({{v}}){{/.}}",
     "[{\"v\":\"a\"},{\"v\":\"b\"}]", "(a)(b)", NULL},
    {"dotted, true", "{{#a.b.c}}x{{/a.b.c}}", "{\"a\":{\"b\":{\"c\":true}}}",
     "x", NULL},
    {"dotted, false", "({{#a.b.c}}x{{/a.b.c}})",
     "{\"a\":{\"b\":{\"c\":false}}}", "()", NULL},
    {"dotted, broken", "({{#a.b.c}}x{{/a.b.c}})", "{\"a\":{}}", "()", NULL},
    {"white space around", " | {{#b}}\t|\t{{/b}} | \n", "{\"b\":true}",
     " | \t|\t | \n", NULL},
    {"white space within", " | {{#b}} {{! note }}\n {{/b}} | \n",
     "{\"b\":true}", " |  \n  | \n", NULL},
    {"on one line, indented", " {{#b}}Y{{/b}}\n {{#b}}G{{/b}}\n",
     "{\"b\":true}", " Y\n G\n", NULL},
    {"alone on a line", "| a\n{{#b}}\n|\n{{/b}}\n| z\n", "{\"b\":true}",
     "| a\n|\n| z\n", NULL},
    {"alone on a line, indented", "| a\n  {{#b}}\n|\n\t{{/b}}\n| z\n",
     "{\"b\":true}", "| a\n|\n| z\n", NULL},
    {"alone on a line, CR LF", "|\r\n{{#b}}\r\n{{/b}}\r\n|", "{\"b\":true}",
     "|\r\n|", NULL},
    {"alone on the first line", "  {{#b}}\n#{{/b}}\n/", "{\"b\":true}", "#\n/",
     NULL},
    {"alone on the last line", "#{{#b}}\n/\n  {{/b}}", "{\"b\":true}", "#\n/\n",
     NULL},
    {"two tags are not alone", "{{#b}} {{/b}}\n", "{\"b\":true}", " \n", NULL},
    {"a lone CR is no line", "{{#b}}\rx{{/b}}", "{\"b\":true}", "\rx", NULL},
    {"padding", "|{{# b }}={{/ b }}|", "{\"b\":true}", "|=|", NULL},
    {"values around sections", "{{a}}{{#s}}{{a}}{{b}}{{/s}}{{b}}{{a}}",
     "{\"a\":1,\"b\":2,\"s\":[{\"a\":3},{\"b\":4}]}",
     "13214"
     "21",
     NULL},
};

static void test_sections(void **state)
{
    (void)state;
    CHECK_RULES(sections_rules);
}

static void test_inverted(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"false", "<{{^b}}in{{/b}}>", "{\"b\":false}", "<in>", NULL},
        {"true", "<{{^b}}in{{/b}}>", "{\"b\":true}", "<>", NULL},
        {"null", "<{{^b}}in{{/b}}>", "{\"b\":null}", "<in>", NULL},
        {"missing", "<{{^b}}in{{/b}}>", "{}", "<in>", NULL},
        {"a map", "<{{^b}}in{{/b}}>", "{\"b\":{\"n\":1}}", "<>", NULL},
        {"a list", "<{{^b}}in{{/b}}>", "{\"b\":[{\"n\":1}]}", "<>", NULL},
        {"an empty list", "<{{^b}}in{{/b}}>", "{\"b\":[]}", "<in>", NULL},
        {"a string", "<{{^b}}in{{/b}}>", "{\"b\":\"x\"}", "<>", NULL},
        {"two of the same",
         "{{^b}}\n* 1\n{{/b}}\n* {{v}}\n{{^b}}\n* 3\n{{/b}}\n",
         "{\"b\":false,\"v\":\"2\"}", "* 1\n* 2\n* 3\n", NULL},
        {"nested, false", "| A {{^b}}B {{^b}}C{{/b}} D{{/b}} E |",
         "{\"b\":false}", "| A B C D E |", NULL},
        {"nested, true", "| A {{^b}}B {{^b}}C{{/b}} D{{/b}} E |",
         "{\"b\":true}", "| A  E |", NULL},
        {"the context stays", "{{#s}}{{^b}}{{v}}{{/b}}{{/s}}",
         "{\"s\":{\"v\":1}}", "1", NULL},
        {"dotted, true", "({{^a.b.c}}x{{/a.b.c}})",
         "{\"a\":{\"b\":{\"c\":true}}}", "()", NULL},
        {"dotted, false", "({{^a.b.c}}x{{/a.b.c}})",
         "{\"a\":{\"b\":{\"c\":false}}}", "(x)", NULL},
        {"dotted, broken", "({{^a.b.c}}x{{/a.b.c}})", "{\"a\":{}}", "(x)",
         NULL},
        {"white space around", " | {{^b}}\t|\t{{/b}} | \n", "{\"b\":false}",
         " | \t|\t | \n", NULL},
        {"white space within", " | {{^b}} {{! note }}\n {{/b}} | \n",
         "{\"b\":false}", " |  \n  | \n", NULL},
        {"on one line, indented", " {{^b}}N{{/b}}\n {{^b}}W{{/b}}\n",
         "{\"b\":false}", " N\n W\n", NULL},
        {"alone on a line", "| a\n{{^b}}\n|\n{{/b}}\n| z\n", "{\"b\":false}",
         "| a\n|\n| z\n", NULL},
        {"alone on a line, indented", "| a\n  {{^b}}\n|\n  {{/b}}\n| z\n",
         "{\"b\":false}", "| a\n|\n| z\n", NULL},
        {"alone on a line, CR LF", "|\r\n{{^b}}\r\n{{/b}}\r\n|",
         "{\"b\":false}", "|\r\n|", NULL},
        {"alone on the first line", "  {{^b}}\n^{{/b}}\n/", "{\"b\":false}",
         "^\n/", NULL},
        {"alone on the last line", "^{{^b}}\n/\n  {{/b}}", "{\"b\":false}",
         "^\n/\n", NULL},
        {"padding", "|{{^ b }}={{/ b }}|", "{\"b\":false}", "|=|", NULL},
    };
    CHECK_RULES(rules);
}

static void test_comments(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"within a line", "123{{! note }}456", "{}", "123456", NULL},
        {"over lines", "123{{!\n  a\n  b\n}}456\n", "{}", "123456\n", NULL},
        {"alone", "a\n{{! note }}\nz\n", "{}", "a\nz\n", NULL},
        {"alone, indented", "a\n  {{! note }}\nz\n", "{}", "a\nz\n", NULL},
        {"alone, CR LF", "|\r\n{{! note }}\r\n|", "{}", "|\r\n|", NULL},
        {"alone on the first line", "  {{! note }}\n!", "{}", "!", NULL},
        {"alone on the last line", "!\n  {{! note }}", "{}", "!\n", NULL},
        {"alone over lines", "a\n{{!\nnote\n}}\nz\n", "{}", "a\nz\n", NULL},
        {"alone over lines, indented", "a\n  {{!\n    note\n  }}\nz\n", "{}",
         "a\nz\n", NULL},
        {"behind text", "  12 {{! 34 }}\n", "{}", "  12 \n", NULL},
        {"white space around", "123 {{! note }} 456", "{}", "123  456", NULL},
        {"not a name", "<{{! note }}{{!note}}>",
         "{\"! note\":1,\"!note\":2,\"note\":3}", "<>", NULL},
        {"any character", "a{{!= {{# ^ > \" }}b", "{}", "ab", NULL},
        {"a line that a comment ends is not alone", "a{{!\n}} {{#b}}\n{{/b}}z",
         "{\"b\":1}", "a \nz", NULL},
    };
    CHECK_RULES(rules);
}

static void test_delimiters(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"another pair", "{{=<% %>=}}(<%v%>)", "{\"v\":\"h\"}", "(h)", NULL},
        {"special characters", "({{=[ ]=}}[v])", "{\"v\":\"h\"}", "(h)", NULL},
        {"with sections",
         "[\n{{#s}}\n  {{v}}\n  |v|\n{{/s}}\n\n{{= | | =}}\n|#s|\n  {{v}}\n  "
         "|v|\n|/s|\n]\n",
         "{\"s\":true,\"v\":\"got\"}", "[\n  got\n  |v|\n\n  {{v}}\n  got\n]\n",
         NULL},
        {"with inverted sections",
         "[\n{{^s}}\n  {{v}}\n  |v|\n{{/s}}\n\n{{= | | =}}\n|^s|\n  {{v}}\n  "
         "|v|\n|/s|\n]\n",
         "{\"s\":false,\"v\":\"got\"}",
         "[\n  got\n  |v|\n\n  {{v}}\n  got\n]\n", NULL},
        {"not for partials", "[ {{>p}} ]\n{{= | | =}}\n[ |>p| ]\n",
         "{\"v\":\"y\"}", "[ .y. ]\n[ .y. ]\n", "{\"p\":\".{{v}}.\"}"},
        {"not from partials", "[ {{>p}} ]\n[ .{{v}}.  .|v|. ]\n",
         "{\"v\":\"y\"}", "[ .y.  .y. ]\n[ .y.  .|v|. ]\n",
         "{\"p\":\".{{v}}. {{= | | =}} .|v|.\"}"},
        {"white space around", "| {{=@ @=}} |", "{}", "|  |", NULL},
        {"behind text", " | {{=@ @=}}\n", "{}", " | \n", NULL},
        {"alone", "a\n{{=@ @=}}\nz\n", "{}", "a\nz\n", NULL},
        {"alone, indented", "a\n  {{=@ @=}}\nz\n", "{}", "a\nz\n", NULL},
        {"alone, CR LF", "|\r\n{{= @ @ =}}\r\n|", "{}", "|\r\n|", NULL},
        {"alone on the first line", "  {{=@ @=}}\n=", "{}", "=", NULL},
        {"alone on the last line", "=\n  {{=@ @=}}", "{}", "=\n", NULL},
        {"padding", "|{{= @   @ =}}|", "{}", "||", NULL},
        {"triple with others", "{{=<< >>=}}<<{v}>><<&v>><<v>>", "{\"v\":\"<\"}",
         "<<&lt;", NULL},
        {"and back", "{{=@ @=}}@v@{{v}}@={{ }}=@{{v}}@v@", "{\"v\":1}",
         "1{{v}}1@v@", NULL},
        {"one character twice", "{{=| |=}}|v||v|", "{\"v\":1}", "11", NULL},
    };
    CHECK_RULES(rules);
}

static void test_partials(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"a partial", "\"{{>p}}\"", "{}", "\"from p\"", "{\"p\":\"from p\"}"},
        {"none of that name", "\"{{>p}}\"", "{}", "\"\"", "{}"},
        {"sees the context", "\"{{>p}}\"", "{\"v\":\"c\"}", "\"*c*\"",
         "{\"p\":\"*{{v}}*\"}"},
        {"recursive", "{{>n}}", "{\"c\":\"X\",\"l\":[{\"c\":\"Y\",\"l\":[]}]}",
         "X<Y<>>", "{\"n\":\"{{c}}<{{#l}}{{>n}}{{/l}}>\"}"},
        {"nested", "{{>o}}", "{\"a\":\"h\",\"b\":\"w\"}", "*h w!*",
         "{\"o\":\"*{{a}} {{>i}}*\",\"i\":\"{{b}}!\"}"},
        {"white space around", "| {{>p}} |", "{}", "| \t|\t |",
         "{\"p\":\"\\t|\\t\"}"},
        {"within a line: no indentation", "  {{v}}  {{> p}}\n", "{\"v\":\"|\"}",
         "  |  >\n>\n", "{\"p\":\">\\n>\"}"},
        {"alone, CR LF", "|\r\n{{>p}}\r\n|", "{}", "|\r\n>|", "{\"p\":\">\"}"},
        {"alone on the first line", "  {{>p}}\n>", "{}", "  >\n  >>",
         "{\"p\":\">\\n>\"}"},
        {"alone on the last line", ">\n  {{>p}}", "{}", ">\n  >\n  >",
         "{\"p\":\">\\n>\"}"},
        {"lines of values are not indented", "\\\n {{>p}}\n/\n",
         "{\"v\":\"<\\n->\"}", "\\\n |\n <\n->\n |\n/\n",
         "{\"p\":\"|\\n{{{v}}}\\n|\\n\"}"},
        {"several values on a line", " {{>p}}\n", "{\"v\":\"<\\n->\"}",
         " <\n->a b<\n->c\n |\n", "{\"p\":\"{{{v}}}a b{{{v}}}c\\n|\\n\"}"},
        {"padding", "|{{> p }}|", "{\"b\":true}", "|[]|", "{\"p\":\"[]\"}"},
        {"indentation adds up", " {{>o}}\n", "{\"v\":1}",
         " o\n   i\n   1\n z\n",
         "{\"o\":\"o\\n  {{>i}}\\nz\\n\",\"i\":\"i\\n{{v}}\\n\"}"},
        {"within a line of an indented one", "  {{>o}}\n", "{}",
         "  a x\ny b\n  c\n", "{\"o\":\"a {{>i}} b\\nc\\n\",\"i\":\"x\\ny\"}"},
        {"sections of an indented one", "  {{>p}}\n",
         "{\"l\":[{\"v\":1},{\"v\":2}]}", "  a\n  1\n  -\n  2\n  -\n  z\n",
         "{\"p\":\"a\\n{{#l}}\\n{{v}}\\n-\\n{{/l}}\\nz\\n\"}"},
        {"a section within a line of an indented one", "  {{>p}}\n",
         "{\"l\":[1,2]}", "  12\n  z\n",
         "{\"p\":\"{{#l}}{{.}}{{/l}}\\nz\\n\"}"},
        {"text behind a section", "  {{>p}}\n", "{\"l\":[1,2]}", "  1,2,x\n  z",
         "{\"p\":\"{{#l}}{{.}},{{/l}}x\\nz\"}"},
        {"empty lines stay empty", "  {{>p}}\n", "{}", "  a\n\n  b\n\r\n  c\n",
         "{\"p\":\"a\\n\\nb\\n\\r\\nc\\n\"}"},
        {"an indented comment's line is gone", "  {{>p}}\n", "{}", "  a\n  b\n",
         "{\"p\":\"a\\n {{! x }}\\nb\\n\"}"},
        {"in every item", "{{#l}}\n- {{.}}\n  {{>p}}\n{{/l}}\n",
         "{\"l\":[1,2]}", "- 1\n  (1)\n- 2\n  (2)\n", "{\"p\":\"({{.}})\\n\"}"},
        {"the same from several places", "{{>p}}{{>q}}{{>p}}", "{\"v\":1}",
         "1[1]1", "{\"p\":\"{{v}}\",\"q\":\"[{{>p}}]\"}"},
    };
    CHECK_RULES(rules);
}

/* The optional module of dynamic names. */
static void test_dynamic_names(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"the data names the partial", "\"{{>*d}}\"", "{\"d\":\"p\"}",
         "\"hello\"", "{\"p\":\"hello\"}"},
        {"found as any name", "\"{{#s}}{{>*d}}{{/s}}\"",
         "{\"d\":\"x\",\"s\":{\"d\":\"p\"}}", "\"hello\"",
         "{\"p\":\"hello\",\"x\":\"no\"}"},
        {"no such name", "\"{{>*d}}\"", "{}", "\"\"", "{\"d\":\"no\"}"},
        {"no such partial", "\"{{>*d}}\"", "{\"d\":\"p\"}", "\"\"", "{}"},
        {"sees the context", "\"{{>*d}}\"", "{\"d\":\"p\",\"v\":\"c\"}",
         "\"*c*\"", "{\"p\":\"*{{v}}*\"}"},
        {"dotted", "{{>*a.b}}", "{\"a\":{\"b\":\"p\"}}", "hello",
         "{\"p\":\"hello\"}"},
        {"dotted, broken", "({{>*a.b}})", "{\"a\":\"b\",\"b\":\"p\"}", "()",
         "{\"p\":\"hello\"}"},
        {"each item its own", "{{#l}}{{>*k}};{{/l}}",
         "{\"l\":[{\"k\":\"p\",\"v\":1},{\"k\":\"q\",\"v\":2}]}", "p1;q2;",
         "{\"p\":\"p{{v}}\",\"q\":\"q{{v}}\"}"},
        {"recursive", "{{>*t}}",
         "{\"t\":\"n\",\"c\":\"X\",\"l\":[{\"c\":\"Y\",\"l\":[]}]}", "X<Y<>>",
         "{\"n\":\"{{c}}<{{#l}}{{>*t}}{{/l}}>\"}"},
        {"alone, indented", " a\n  {{> * d }}\nz", "{\"d\":\"p\"}",
         " a\n  1\n  2\nz", "{\"p\":\"1\\n2\\n\"}"},
        {"within a line", "a {{>*d}} z", "{\"d\":\"p\"}", "a 1\n2 z",
         "{\"p\":\"1\\n2\"}"},
    };
    CHECK_RULES(rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interpolation), cmocka_unit_test(test_sections),
        cmocka_unit_test(test_inverted),      cmocka_unit_test(test_comments),
        cmocka_unit_test(test_delimiters),    cmocka_unit_test(test_partials),
        cmocka_unit_test(test_dynamic_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
