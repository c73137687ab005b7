/* SPDX-License-Identifier: Apache-2.0
 *
 * The template engine against each rule of the Mustache specification's
 * core modules, then what is ours: strictness, escapes, errors, bounds, and
 * programs as bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/mustache/mustache.h"
#include "common/mustache/program.h"

/* A rule: what the template gives with the data.  Partials are a JSON
 * object of name: text. */
struct rule {
    const char *name;
    const char *template;
    const char *data;
    const char *expected;
    const char *partials;
};

/* Partials compiled from a JSON object. */
struct partials {
    const struct node *texts;
    const char *names[16];
    struct mustache_program *programs[16];
    unsigned count;
};

static const struct mustache_program *resolve(void *context, const char *name,
                                              size_t size, struct error *error)
{
    struct partials *partials = context;
    error->code = ERROR_NONE;
    char text[256];
    snprintf(text, sizeof(text), "%.*s", (int)size, name);
    const struct node *found = document_get(partials->texts, text);
    if (found == NULL)
        return NULL;
    for (unsigned i = 0; i < partials->count; i++)
        if (partials->names[i] == found->key)
            return partials->programs[i];
    assert_true(partials->count < 16);
    struct mustache_program *program =
        mustache_compile(found->key, found->text, found->text_size, error);
    if (program == NULL)
        return NULL;
    partials->names[partials->count] = found->key;
    partials->programs[partials->count++] = program;
    return program;
}

static const struct node *read_json(struct arena *arena, const char *text)
{
    struct node *root;
    struct error error;
    if (document_read_json(arena, "data", text, strlen(text),
                           &document_limits_default, &root, &error) != 0)
        fail_msg("%s in %s", error.text, text);
    return root;
}

/* Renders; the caller owns the buffer.  `options` may have no resolver. */
static int render(const char *template, const char *data, const char *partials,
                  struct mustache_options options, struct buffer *out,
                  struct error *error)
{
    struct arena arena;
    arena_init(&arena, 64u << 20);
    struct partials known = {
        .texts = read_json(&arena, partials == NULL ? "{}" : partials)};
    const struct node *root = read_json(&arena, data);
    options.resolver = resolve;
    options.resolver_context = &known;
    buffer_init(out, 128u << 20);
    error_clear(error);
    int result = -1;
    struct mustache_program *program =
        mustache_compile("main", template, strlen(template), error);
    if (program != NULL) {
        assert_true(
            mustache_program_valid(program, mustache_program_size(program)));
        result = mustache_execute(program, root, &options, out, error);
    }
    mustache_program_free(&program);
    for (unsigned i = 0; i < known.count; i++)
        mustache_program_free(&known.programs[i]);
    arena_deinit(&arena);
    return result;
}

static void expect(const char *name, const char *template, const char *data,
                   const char *partials, struct mustache_options options,
                   const char *expected)
{
    struct buffer out;
    struct error error;
    if (render(template, data, partials, options, &out, &error) != 0)
        fail_msg("%s: %s", name, error.text);
    if (strcmp(out.bytes, expected) != 0)
        fail_msg("%s: <%s> where <%s> is right", name, out.bytes, expected);
    assert_int_equal(out.size, strlen(expected));
    buffer_deinit(&out);
}

static void expect_error(const char *template, const char *data,
                         const char *partials, bool strict, const char *text)
{
    struct buffer out;
    struct error error;
    if (render(template, data, partials,
               (struct mustache_options){.strict = strict}, &out, &error) == 0)
        fail_msg("no error (%s) for %s", text, template);
    if (error.code != ERROR_DATA || strstr(error.text, text) == NULL)
        fail_msg("%s\n where this is right: %s", error.text, text);
    buffer_deinit(&out);
}

static void check_rules(const struct rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect(rules[i].name, rules[i].template, rules[i].data,
               rules[i].partials,
               (struct mustache_options){.escape = MUSTACHE_ESCAPE_HTML},
               rules[i].expected);
}

#define CHECK_RULES(rules)                                                     \
    check_rules(rules, sizeof(rules) / sizeof((rules)[0]))

static void test_interpolation(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"no tag at all", "a {single} brace\n", "{}", "a {single} brace\n",
         NULL},
        {"an empty template", "", "{}", "", NULL},
        {"a name", "good {{when}}!\n", "{\"when\":\"day\"}", "good day!\n",
         NULL},
        {"not interpolated twice", "{{a}}", "{\"a\":\"{{b}}\",\"b\":1}",
         "{{b}}", NULL},
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
        {"booleans", "{{t}}{{f}}", "{\"t\":true,\"f\":false}", "truefalse",
         NULL},
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
         "{\"a\":{\"b\":{\"c\":{\"n\":\"P\"}}},\"b\":{\"c\":{\"n\":\"W\"}}}",
         "P", NULL},
        {"dotted, the nearest decides", "{{#a}}({{b.c}}){{/a}}",
         "{\"a\":{\"b\":{}},\"b\":{\"c\":\"E\"}}", "()", NULL},
        {"dotted names are no keys", "({{a.b}})", "{\"a.b\":\"c\"}", "()",
         NULL},
        {"dotted keys hide nothing", "{{a.b}}", "{\"a.b\":1,\"a\":{\"b\":2}}",
         "2", NULL},
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
        {"white space around, ampersand", "| {{&v}} |", "{\"v\":\"-\"}",
         "| - |", NULL},
        {"alone on a line", "  {{v}}\n", "{\"v\":\"-\"}", "  -\n", NULL},
        {"alone on a line, triple", "  {{{v}}}\n", "{\"v\":\"-\"}", "  -\n",
         NULL},
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
        {"a list as JSON, escaped", "{{v}}", "{\"v\":[\"a\"]}",
         "[&quot;a&quot;]", NULL},
    };
    CHECK_RULES(rules);
}

static void test_sections(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"true", "<{{#b}}in{{/b}}>", "{\"b\":true}", "<in>", NULL},
        {"false", "<{{#b}}in{{/b}}>", "{\"b\":false}", "<>", NULL},
        {"null", "<{{#b}}in{{/b}}>", "{\"b\":null}", "<>", NULL},
        {"missing", "<{{#b}}in{{/b}}>", "{}", "<>", NULL},
        {"an empty list", "<{{#b}}in{{/b}}>", "{\"b\":[]}", "<>", NULL},
        {"an empty string is there", "<{{#b}}in{{/b}}>", "{\"b\":\"\"}", "<in>",
         NULL},
        {"zero is there", "<{{#b}}in{{/b}}>", "{\"b\":0}", "<in>", NULL},
        {"an empty map is there", "<{{#b}}in{{/b}}>", "{\"b\":{}}", "<in>",
         NULL},
        {"a map is a context", "{{#m}}hi {{n}}{{/m}}", "{\"m\":{\"n\":\"J\"}}",
         "hi J", NULL},
        {"parents are seen", "{{#s}}{{a}},{{b}},{{c.d}}{{/s}}",
         "{\"a\":\"f\",\"b\":\"w\",\"s\":{\"b\":\"r\"},\"c\":{\"d\":\"z\"}}",
         "f,r,z", NULL},
        {"a scalar is the context", "{{#v}}{{.}} is {{v}}{{/v}}",
         "{\"v\":\"bar\"}", "bar is bar", NULL},
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
        {"a list", "{{#l}}{{i}}{{/l}}",
         "{\"l\":[{\"i\":1},{\"i\":2},{\"i\":3}]}", "123", NULL},
        {"items with other keys", "{{#l}}{{i}}{{o}};{{/l}}",
         "{\"o\":\"p\",\"l\":[{\"i\":1},{\"o\":2},{\"o\":4,\"i\":3}]}",
         "1p;2;34;", NULL},
        {"a string is no list", "{{#s}}x{{/s}}", "{\"s\":\"123\"}", "x", NULL},
        {"two of the same",
         "{{#b}}\n* 1\n{{/b}}\n* {{v}}\n{{#b}}\n* 3\n{{/b}}\n",
         "{\"b\":true,\"v\":\"2\"}", "* 1\n* 2\n* 3\n", NULL},
        {"nested, true", "| A {{#b}}B {{#b}}C{{/b}} D{{/b}} E |",
         "{\"b\":true}", "| A B C D E |", NULL},
        {"nested, false", "| A {{#b}}B {{#b}}C{{/b}} D{{/b}} E |",
         "{\"b\":false}", "| A  E |", NULL},
        {"items: strings", "{{#l}}({{.}}){{/l}}", "{\"l\":[\"a\",\"b\"]}",
         "(a)(b)", NULL},
        {"items: integers", "{{#l}}({{.}}){{/l}}", "{\"l\":[1,2]}", "(1)(2)",
         NULL},
        {"items: decimals", "{{#l}}({{.}}){{/l}}", "{\"l\":[1.1,2.2]}",
         "(1.1)(2.2)", NULL},
        {"items: lists", "{{#l}}({{#.}}{{.}}{{/.}}){{/l}}",
         "{\"l\":[[1,2],[\"a\"]]}", "(12)(a)", NULL},
        {"items: escaped", "{{#l}}{{.}}{{/l}}", "{\"l\":[\"&\",\"<\"]}",
         "&amp;&lt;", NULL},
        {"items: triple", "{{#l}}{{{.}}}{{/l}}", "{\"l\":[\"&\",\"<\"]}", "&<",
         NULL},
        {"items: ampersand", "{{#l}}{{&.}}{{/l}}", "{\"l\":[\"&\",\"<\"]}",
         "&<", NULL},
        {"the root is a list", "{{#.}}({{v}}){{/.}}",
         "[{\"v\":\"a\"},{\"v\":\"b\"}]", "(a)(b)", NULL},
        {"dotted, true", "{{#a.b.c}}x{{/a.b.c}}",
         "{\"a\":{\"b\":{\"c\":true}}}", "x", NULL},
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
        {"alone on the first line", "  {{#b}}\n#{{/b}}\n/", "{\"b\":true}",
         "#\n/", NULL},
        {"alone on the last line", "#{{#b}}\n/\n  {{/b}}", "{\"b\":true}",
         "#\n/\n", NULL},
        {"two tags are not alone", "{{#b}} {{/b}}\n", "{\"b\":true}", " \n",
         NULL},
        {"a lone CR is no line", "{{#b}}\rx{{/b}}", "{\"b\":true}", "\rx",
         NULL},
        {"padding", "|{{# b }}={{/ b }}|", "{\"b\":true}", "|=|", NULL},
        {"values around sections", "{{a}}{{#s}}{{a}}{{b}}{{/s}}{{b}}{{a}}",
         "{\"a\":1,\"b\":2,\"s\":[{\"a\":3},{\"b\":4}]}",
         "13214"
         "21",
         NULL},
    };
    CHECK_RULES(rules);
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

static void test_escapes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *expected;
    } rows[] = {
        {"none", "a\"b'c\\d\n\x01<&>?\?/\x7f"},
        {"html", "a&quot;b'c\\d\n\x01&lt;&amp;&gt;?\?/\x7f"},
        {"json", "a\\\"b'c\\\\d\\n\\u0001<&>?\?/\x7f"},
        {"c", "a\\\"b'c\\\\d\\n\\001<&>?\\?/\\177"},
        {"sql", "a\"b''c\\d\n\x01<&>?\?/\x7f"},
    };
    const char *data =
        "{\"v\":\"a\\\"b'c\\\\d\\n\\u0001<&>?\?/\\u007f\",\"w\":\"plain\"}";
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mustache_options options = {0};
        assert_int_equal(mustache_escape_parse(rows[i].name, &options.escape),
                         0);
        expect(rows[i].name, "{{v}}", data, NULL, options, rows[i].expected);
        expect(rows[i].name, "{{{v}}}{{w}}", data, NULL, options,
               "a\"b'c\\d\n\x01<&>?\?/\x7f"
               "plain");
    }
    enum mustache_escape escape;
    assert_int_equal(mustache_escape_parse("xml", &escape), -1);
}

static void test_long_values(void **state)
{
    (void)state;
    /* Around the widths at which copying changes. */
    for (unsigned size = 0; size < 140; size++) {
        char value[160], template[512], data[512], expected[1024];
        memset(value, 'v', size);
        value[size] = '\0';
        snprintf(template, sizeof(template), "%s{{a}}%s{{b}}{{a}}\n", value,
                 value);
        snprintf(data, sizeof(data), "{\"a\":\"%s\",\"b\":\"<\"}", value);
        snprintf(expected, sizeof(expected), "%s%s%s&lt;%s\n", value, value,
                 value, value);
        expect("long", template, data, NULL,
               (struct mustache_options){.escape = MUSTACHE_ESCAPE_HTML},
               expected);
    }
}

static void test_compile_errors(void **state)
{
    (void)state;
    static const struct {
        const char *template;
        const char *text;
    } rows[] = {
        {"a\nb {{#s}}\nc", "main:2:3: section s is never closed"},
        {"{{#a}}\n{{#b}}{{/b}}", "main:1:1: section a is never closed"},
        {"x\n{{/s}}", "main:2:1: {{/s}} closes a section that was never"},
        {"{{#a}}\n {{/b}}", "main:2:2: {{/b}} where {{/a}} is needed"},
        {"\u00e4\u00f6 {{x", "main:1:4: a tag that is never closed"},
        {"{{{x}}", "main:1:1: a tag that is never closed; end it with }}}"},
        {"{{! x", "main:1:1: a tag that is never closed"},
        {"a{{}}", "main:1:2: a tag without a name"},
        {"{{#}}{{/}}", "main:1:1: a tag without a name"},
        {"{{a b}}", "main:1:1: white space within a name"},
        {"{{a..b}}", "main:1:1: a dotted name"},
        {"{{a.}}", "main:1:1: a dotted name"},
        {"{{=x=}}", "main:1:1: delimiters that cannot be"},
        {"{{=x y z=}}", "main:1:1: delimiters that cannot be"},
        {"{{=a= b=}}", "main:1:1: delimiters that cannot be"},
        {"{{$x}}", "main:1:1: blocks and parents"},
        {"{{<x}}", "main:1:1: blocks and parents"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_error(rows[i].template, "{}", NULL, false, rows[i].text);
}

static void test_strict(void **state)
{
    (void)state;
    expect_error("a\n{{#s}}{{v}} {{missing}}{{/s}}", "{\"s\":{\"v\":1}}", NULL,
                 true, "main:2:13: missing is not defined");
    expect_error("{{a.b}}", "{\"a\":{}}", NULL, true,
                 "main:1:1: a.b is not defined");
    expect_error("{{#l}}{{/l}}", "{}", NULL, true, "l is not defined");
    expect_error("{{^l}}{{/l}}", "{}", NULL, true, "l is not defined");
    expect_error("{{>p}}", "{}", "{}", true, "there is no partial p");
    expect_error("\n {{l}}", "{\"l\":[1]}", NULL, true,
                 "main:2:2: a list where a value is needed");
    expect_error("\n{{>p}}", "{}", "{\"p\":\"x\\n {{y}}\"}", true,
                 "p:2:2: y is not defined; give it in the data, if only as "
                 "null or false (included from main:2:1)");
    expect("null is defined", "({{v}}{{#v}}x{{/v}})", "{\"v\":null}", NULL,
           (struct mustache_options){.strict = true}, "()");
}

static void test_bounds(void **state)
{
    (void)state;
    expect_error("x{{>p}}", "{}", "{\"p\":\"\\n{{>q}}\",\"q\":\"{{>p}}\"}",
                 false, "a template that includes itself for ever");
    expect_error("x{{>p}}", "{}", "{\"p\":\"\\n{{>q}}\",\"q\":\"{{>p}}\"}",
                 false, "(included from p:2:1, from q:1:1, ");
    expect_error("x{{>p}}", "{}", "{\"p\":\"\\n{{>q}}\",\"q\":\"{{>p}}\"}",
                 false, ", from main:1:2)");
    /* Doubling at each of 40 levels, without any output. */
    expect_error("{{>p}}", "{\"m\":{\"m\":{\"m\":1}}}",
                 "{\"p\":\"{{#m}}{{>p}}{{>p}}{{/m}}\"}", false,
                 "a template that includes itself for ever");
    struct buffer list;
    buffer_init(&list, 1u << 20);
    buffer_append_text(&list, "{\"l\":[0");
    for (unsigned i = 0; i < 999; i++)
        buffer_append_text(&list, ",0");
    buffer_append_text(&list, "]}");
    expect_error("{{#l}}{{#l}}{{#l}}{{/l}}{{/l}}{{/l}}", list.bytes, NULL,
                 false, "given up after");
    struct buffer out;
    struct error error;
    struct mustache_options options = {.output_max = 1500};
    assert_int_equal(
        render("{{#l}}ab{{/l}}", list.bytes, NULL, options, &out, &error), -1);
    assert_non_null(strstr(error.text, "more than 1500 bytes of output"));
    assert_true(out.size <= 1500);
    buffer_deinit(&out);
    options.output_max = 2000;
    assert_int_equal(
        render("{{#l}}ab{{/l}}", list.bytes, NULL, options, &out, &error), 0);
    assert_int_equal(out.size, 2000);
    buffer_deinit(&out);
    buffer_deinit(&list);
}

static void test_section_depth(void **state)
{
    (void)state;
    struct buffer text;
    buffer_init(&text, 1u << 20);
    for (unsigned i = 0; i < MUSTACHE_SECTION_DEPTH_MAX; i++)
        buffer_append_text(&text, "{{#a}}");
    buffer_append_text(&text, "x");
    for (unsigned i = 0; i < MUSTACHE_SECTION_DEPTH_MAX; i++)
        buffer_append_text(&text, "{{/a}}");
    expect("deep", text.bytes, "{\"a\":1}", NULL, (struct mustache_options){0},
           "x");
    buffer_reset(&text);
    for (unsigned i = 0; i <= MUSTACHE_SECTION_DEPTH_MAX; i++)
        buffer_append_text(&text, "{{#a}}");
    expect_error(text.bytes, "{}", NULL, false, "sections nested too deep");
    buffer_deinit(&text);
}

/* More names than the first scratch has room for, and partials. */
static void test_many_names(void **state)
{
    (void)state;
    struct buffer text, data, expected;
    buffer_init(&text, 1u << 20);
    buffer_init(&data, 1u << 20);
    buffer_init(&expected, 1u << 20);
    buffer_append_text(&data, "{\"l\":[{}]");
    for (unsigned i = 0; i < 3000; i++) {
        buffer_printf(&text, "{{#l}}{{n%u}},{{/l}}", i);
        buffer_printf(&data, ",\"n%u\":%u", i, i * 7);
        buffer_printf(&expected, "%u,", i * 7);
    }
    buffer_append_text(&data, "}");
    expect("many", text.bytes, data.bytes, NULL, (struct mustache_options){0},
           expected.bytes);
    buffer_deinit(&text);
    buffer_deinit(&data);
    buffer_deinit(&expected);
}

/* Appending to what is there, twice with one buffer. */
static void test_append(void **state)
{
    (void)state;
    struct arena arena;
    struct buffer out;
    struct error error;
    struct mustache_options options = {0};
    arena_init(&arena, 1u << 20);
    buffer_init(&out, 1u << 20);
    struct mustache_program *program =
        mustache_compile("t", "<{{a}}>", 7, &error);
    const struct node *data = read_json(&arena, "{\"a\":1}");
    buffer_append_text(&out, "head ");
    assert_int_equal(mustache_execute(program, data, &options, &out, &error),
                     0);
    assert_int_equal(mustache_execute(program, data, &options, &out, &error),
                     0);
    assert_string_equal(out.bytes, "head <1><1>");
    assert_int_equal(mustache_execute(program, NULL, &options, &out, &error),
                     0);
    assert_string_equal(out.bytes, "head <1><1><>");
    mustache_program_free(&program);
    buffer_deinit(&out);
    arena_deinit(&arena);
}

static const char program_template[] =
    "{{a}} long literal of more than thirty-two bytes {{{b.c}}}\n{{#l}}\n"
    "{{.}}{{^m}}x{{/m}}\n{{/l}}\n  {{>p}}\nend";

/* A program moved to another place gives the same. */
static void test_program_moves(void **state)
{
    (void)state;
    struct arena arena;
    struct buffer out;
    struct error error;
    struct mustache_options options = {0};
    arena_init(&arena, 1u << 20);
    buffer_init(&out, 1u << 20);
    struct mustache_program *program = mustache_compile(
        "t", program_template, sizeof(program_template) - 1, &error);
    size_t size = mustache_program_size(program);
    void *copy = malloc(size);
    memcpy(copy, program, size);
    mustache_program_free(&program);
    assert_true(mustache_program_valid(copy, size));
    assert_false(mustache_program_valid(copy, size - 1));
    assert_false(mustache_program_valid(copy, 8));
    assert_false(mustache_program_valid(NULL, 0));
    const struct node *data =
        read_json(&arena, "{\"a\":1,\"b\":{\"c\":2},\"l\":[3,4]}");
    assert_int_equal(mustache_execute(copy, data, &options, &out, &error), 0);
    assert_string_equal(
        out.bytes,
        "1 long literal of more than thirty-two bytes 2\n3x\n4x\nend");
    free(copy);
    buffer_deinit(&out);
    arena_deinit(&arena);
}

/* Bytes changed at random: either refused, or executed without leaving the
 * block (the sanitizers and valgrind look on). */
static void test_program_damaged(void **state)
{
    (void)state;
    struct arena arena;
    struct error error;
    struct mustache_options options = {.output_max = 1u << 16};
    arena_init(&arena, 1u << 20);
    const struct node *data =
        read_json(&arena, "{\"a\":1,\"b\":{\"c\":2},\"l\":[3,4]}");
    struct mustache_program *program = mustache_compile(
        "t", program_template, sizeof(program_template) - 1, &error);
    size_t size = mustache_program_size(program);
    uint64_t random = 42;
    unsigned passed = 0;
    for (unsigned round = 0; round < 20000; round++) {
        unsigned char *copy = malloc(size);
        memcpy(copy, program, size);
        for (unsigned change = 0; change <= round % 3; change++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            copy[(random >> 33) % size] = (unsigned char)(random >> 24);
        }
        if (mustache_program_valid(copy, size)) {
            struct buffer out;
            buffer_init(&out, 1u << 20);
            mustache_execute((const void *)copy, data, &options, &out, &error);
            buffer_deinit(&out);
            passed++;
        }
        free(copy);
    }
    assert_true(passed > 100);
    mustache_program_free(&program);
    arena_deinit(&arena);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int render_in(struct mustache_directory *directory, const char *template,
                     struct buffer *out, struct error *error)
{
    struct mustache_options options = {
        .resolver = mustache_directory_resolve,
        .resolver_context = directory,
    };
    error_clear(error);
    buffer_init(out, 1u << 20);
    struct mustache_program *program =
        mustache_compile("main", template, strlen(template), error);
    int result = mustache_execute(program, NULL, &options, out, error);
    mustache_program_free(&program);
    return result;
}

static void expect_in(struct mustache_directory *directory,
                      const char *template, int expected, const char *text)
{
    struct buffer out;
    struct error error;
    int result = render_in(directory, template, &out, &error);
    const char *got = result == 0 ? out.bytes : error.text;
    if (result != expected || strstr(got, text) == NULL)
        fail_msg("%s: %s", template, got);
    buffer_deinit(&out);
}

static void test_directory(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_mustache.XXXXXX";
    char path[512];
    struct error error;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/partials", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/partials/sub", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(folder, "secret.mustache", "secret");
    write_file(folder, "partials/a.mustache", "A{{>sub/b}}");
    write_file(folder, "partials/sub/b.mustache", "B");
    write_file(folder, "partials/bad.mustache", "\n{{#x}}");
    snprintf(path, sizeof(path), "%s/partials/link.mustache", folder);
    assert_int_equal(symlink("../secret.mustache", path), 0);
    snprintf(path, sizeof(path), "%s/partials/up", folder);
    assert_int_equal(symlink("..", path), 0);
    snprintf(path, sizeof(path), "%s/partials", folder);

    struct mustache_directory *directory = mustache_directory_new(path, &error);
    assert_non_null(directory);
    expect_in(directory, "{{>a}}{{>a}}", 0, "ABAB");
    expect_in(directory, "<{{>none}}{{>a/none}}>", 0, "<>");
    expect_in(directory, "{{>bad}}", -1,
              "/partials/bad.mustache:2:1: section x is never closed");
    expect_in(directory, "{{>../secret}}", -1, "a name that leaves");
    expect_in(directory, "{{>sub/../../secret}}", -1, "a name that leaves");
    expect_in(directory, "{{>/etc/passwd}}", -1, "a name that leaves");
    expect_in(directory, "{{>link}}", -1, "link.mustache");
    expect_in(directory, "{{>up/secret}}", -1, "up/secret.mustache");
    mustache_directory_free(&directory);
    assert_null(directory);
    snprintf(path, sizeof(path), "%s/none", folder);
    assert_null(mustache_directory_new(path, &error));
    assert_int_equal(error.code, ERROR_NO_INPUT);

    static const char *const names[] = {
        "partials/a.mustache",   "partials/sub/b.mustache",
        "partials/bad.mustache", "partials/link.mustache",
        "partials/up",           "secret.mustache",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    snprintf(path, sizeof(path), "%s/partials/sub", folder);
    rmdir(path);
    snprintf(path, sizeof(path), "%s/partials", folder);
    rmdir(path);
    assert_int_equal(rmdir(folder), 0);
}

/* The literal displays of tidemill-templates(7)'s EXAMPLES, in order. */
static unsigned read_examples(struct buffer *examples, unsigned count)
{
    char line[512];
    const char *source = getenv("TIDEMILL_SOURCE");
    snprintf(line, sizeof(line), "%s/man/tidemill-templates.7",
             source == NULL ? "." : source);
    FILE *page = fopen(line, "r");
    if (page == NULL)
        return 0;
    unsigned found = 0;
    bool wanted = false, within = false;
    while (fgets(line, sizeof(line), page) != NULL && found < count) {
        if (strncmp(line, ".Sh", 3) == 0)
            wanted = strcmp(line, ".Sh EXAMPLES\n") == 0;
        else if (wanted && strncmp(line, ".Bd -literal", 12) == 0)
            within = true;
        else if (within && strcmp(line, ".Ed\n") == 0) {
            within = false;
            found++;
        } else if (within) {
            buffer_append_text(&examples[found], line);
        }
    }
    fclose(page);
    return found;
}

/* Says the page what is so?  A template, its data, what it gives. */
static void check_example(const char *template, const char *data,
                          const char *partials, const char *expected)
{
    struct arena arena;
    struct node *root;
    struct buffer json;
    struct error error;
    arena_init(&arena, 1u << 20);
    buffer_init(&json, 1u << 20);
    if (document_read_yaml(&arena, "example", data, strlen(data),
                           &document_limits_default, &root, &error) != 0)
        fail_msg("%s", error.text);
    document_write_json(root, &json);
    expect("example", template, json.bytes, partials,
           (struct mustache_options){0}, expected);
    buffer_deinit(&json);
    arena_deinit(&arena);
}

static void test_manual_page(void **state)
{
    (void)state;
    struct buffer examples[7];
    for (unsigned i = 0; i < 7; i++)
        buffer_init(&examples[i], 1u << 16);
    unsigned found = read_examples(examples, 7);
    if (found == 0)
        skip();
    assert_int_equal(found, 7);
    check_example(examples[0].bytes, examples[1].bytes, NULL,
                  examples[2].bytes);
    struct buffer partials;
    buffer_init(&partials, 1u << 16);
    buffer_append_text(&partials, "{\"item\":");
    buffer_append_json(&partials, examples[3].bytes, examples[3].size);
    buffer_append_text(&partials, "}");
    check_example("{{>item}}\n", examples[4].bytes, partials.bytes,
                  examples[5].bytes);
    check_example(examples[6].bytes,
                  "points: [{x: 1, y: 2, label: a}, {x: 3, y: 4, label: b}]",
                  NULL,
                  "static const struct point points[] = {\n"
                  "    {{1, 2}, \"a\"},\n    {{3, 4}, \"b\"},\n};\n");
    buffer_deinit(&partials);
    for (unsigned i = 0; i < 7; i++)
        buffer_deinit(&examples[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interpolation),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_inverted),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_delimiters),
        cmocka_unit_test(test_partials),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_compile_errors),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_section_depth),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_program_moves),
        cmocka_unit_test(test_program_damaged),
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_manual_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
