/* SPDX-License-Identifier: Apache-2.0
 *
 * What is ours in the template engine: strictness, escapes, errors,
 * programs as bytes, directories of partials.
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

#include "common/mustache/lambda.h"
#include "common/mustache/program.h"
#include "tests/unit/mustache_render.h"

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

static void test_lambdas(void **state)
{
    (void)state;
    const struct mustache_options plain = {.strict = true};
#define X(name, function, words)                                               \
    expect(#name, "<{{#" #name "}}{{v}}{{/" #name "}}>",                       \
           "{\"v\":\"parse HTTPRequest\"}", NULL, plain, "<" words ">");
    LAMBDA_LIST(X)
#undef X
    static const struct {
        const char *text;
        const char *snake;
        const char *pascal;
    } rows[] = {
        {"fooBar", "foo_bar", "FooBar"},
        {"foo_bar", "foo_bar", "FooBar"},
        {"  foo--bar. ", "foo_bar", "FooBar"},
        {"IPv6Address", "i_pv6_address", "IPv6Address"},
        {"v1Beta2", "v1_beta2", "V1Beta2"},
        {"gr\u00f6\u00dfeMax", "gr\u00f6\u00dfe_max", "Gr\u00f6\u00dfeMax"},
        {"-", "", ""},
        {"", "", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char data[128], expected[128];
        snprintf(data, sizeof(data), "{\"v\":\"%s\"}", rows[i].text);
        snprintf(expected, sizeof(expected), "%s %s", rows[i].snake,
                 rows[i].pascal);
        expect(rows[i].text,
               "{{#snake_case}}{{v}}{{/snake_case}} "
               "{{#pascal_case}}{{v}}{{/pascal_case}}",
               data, NULL, plain, expected);
    }
    expect("nested",
           "{{#upper}}a{{#snake_case}}{{#l}}{{.}} {{/l}}{{/snake_case}}"
           "{{/upper}}{{v}}",
           "{\"l\":[\"x\",\"y\"],\"v\":1}", NULL, plain, "AX_Y1");
    expect("lines", "{{#indent}}\n{{#l}}\n{{.}}:\n\n{{/l}}\n{{/indent}}\n",
           "{\"l\":[1,2]}", NULL, plain, "    1:\n\n    2:\n\n");
    expect("the data comes first", "{{#upper}}{{.}}{{/upper}}{{upper}}",
           "{\"upper\":\"a\"}", NULL, plain, "aa");
    expect("is there", "{{^upper}}x{{/upper}}", "{}", NULL, plain, "");
    expect("no value", "({{upper}}{{#upper}}a{{/upper}}{{upper}})", "{}", NULL,
           (struct mustache_options){0}, "(A)");
    expect_error("{{#upper}}a{{/upper}}{{upper}}", "{}", NULL, true,
                 "main:1:22: upper is not defined");
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
        {"{{$x}}", "main:1:1: block x is never closed; end it with {{/x}}"},
        {"{{<x}}", "main:1:1: parent x is never closed; end it with {{/x}}"},
        {"{{<*x}}", "parent x is never closed; end it with {{/*x}}"},
        {"{{<x}}{{/y}}", "main:1:7: {{/y}} where {{/x}} is needed: the parent "
                         "opened at line 1, column 1"},
        {"{{<*x}}{{/x}}", "main:1:8: {{/x}} where {{/*x}} is needed"},
        {"{{$x}}{{#a}}{{/x}}{{/a}}", "main:1:13: {{/x}} where {{/a}}"},
        {"{{<x}}\n{{a}}{{/x}}", "main:2:1: between the tags of a parent"},
        {"{{<x}}{{#a}}{{/a}}{{/x}}", "put this tag into a block, {{$name}}, "
                                     "or behind {{/x}}"},
        {"{{<x}}{{>p}}{{/x}}", "between the tags of a parent"},
        {"{{<x}}{{<p}}{{/p}}{{/x}}", "between the tags of a parent"},
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
        mustache_compile(MUSTACHE_SYNTAX_MUSTACHE, "t", "<{{a}}>", 7, &error);
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
    "{{.}}{{^m}}x{{/m}}\n{{/l}}\n  {{>p}}\n{{<q}}{{$x}}1{{/x}}{{$y}}2{{/y}}"
    "{{/q}}{{$z}}dflt{{/z}}\nend";

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
    struct mustache_program *program =
        mustache_compile(MUSTACHE_SYNTAX_MUSTACHE, "t", program_template,
                         sizeof(program_template) - 1, &error);
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
        "1 long literal of more than thirty-two bytes 2\n3x\n4x\ndflt\nend");
    free(copy);
    buffer_deinit(&out);
    arena_deinit(&arena);
}

static const struct mustache_program *
resolve_self(void *context, const char *name, size_t size, struct error *error)
{
    (void)name;
    (void)size;
    error_clear(error);
    return context;
}

/* Executes the bytes if they are a program; is the template its own partial
 * and parent, too? */
static bool run_damaged(const void *bytes, size_t size, const struct node *data)
{
    struct buffer out;
    struct error error;
    struct mustache_options options = {
        .resolver = resolve_self,
        .resolver_context = (void *)(uintptr_t)bytes,
        .output_max = 1u << 16,
        .steps_max = 1u << 12,
    };
    if (!mustache_program_valid(bytes, size))
        return false;
    buffer_init(&out, 1u << 20);
    mustache_execute(bytes, data, &options, &out, &error);
    buffer_deinit(&out);
    return true;
}

/* Bytes changed at random: either refused, or executed without leaving the
 * block (the sanitizers and valgrind look on). */
static void damage(enum mustache_syntax syntax, const char *template)
{
    struct arena arena;
    struct error error;
    arena_init(&arena, 1u << 20);
    const struct node *data =
        read_json(&arena, "{\"a\":1,\"b\":{\"c\":2},\"l\":[3,4],"
                          "\"A\":\"{B}\",\"B\":\"{C}\",\"C\":1}");
    struct mustache_program *program =
        mustache_compile(syntax, "t", template, strlen(template), &error);
    size_t size = mustache_program_size(program);
    uint64_t random = 42;
    unsigned passed = 0;
    for (unsigned round = 0; round < 10000; round++) {
        unsigned char *copy = malloc(size);
        memcpy(copy, program, size);
        for (unsigned change = 0; change <= round % 3; change++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            copy[(random >> 33) % size] = (unsigned char)(random >> 24);
        }
        passed += run_damaged(copy, size, data) ? 1 : 0;
        free(copy);
    }
    assert_true(passed > 100);
    mustache_program_free(&program);
    arena_deinit(&arena);
}

static void test_program_damaged(void **state)
{
    (void)state;
    damage(MUSTACHE_SYNTAX_MUSTACHE, program_template);
    damage(MUSTACHE_SYNTAX_MUSTACHE,
           "{{#l}}{{<p}}{{$x}}\n 1{{$y}}2{{/y}}\n{{/x}}{{$y}}{{a}}{{/y}}{{/p}}"
           "{{$x}}\n  {{$y}}\n    {{.}}\n  {{/y}}{{/x}}{{<*b.c}}{{/*b.c}}"
           "{{/l}}");
    damage(MUSTACHE_SYNTAX_PLACEHOLDER, "text {A} {B}{UNKNOWN} { {C} end");
}

/* A parent has arguments and nothing else, and nothing else has them. */
static void test_program_arguments(void **state)
{
    (void)state;
    struct error error;
    const char *text = "{{<p}}{{$a}}x{{/a}}{{/p}}";
    struct mustache_program *program = mustache_compile(
        MUSTACHE_SYNTAX_MUSTACHE, "t", text, strlen(text), &error);
    size_t size = mustache_program_size(program);
    for (uint32_t i = 0; i < program->instruction_count; i++) {
        uint32_t *op =
            &((struct program_instruction *)(uintptr_t)program_instructions(
                  program) +
              i)
                 ->op;
        uint32_t was = *op;
        if (was != PROGRAM_PARENT && was != PROGRAM_ARGUMENT)
            continue;
        *op = PROGRAM_BLOCK;
        assert_false(mustache_program_valid(program, size));
        *op = was;
        assert_true(mustache_program_valid(program, size));
    }
    mustache_program_free(&program);
}

/* Numbers as they are in a document of YAML; what is no number, too. */
static void test_written_values(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"1.10", "1.10"},
        {"-0.0", "-0.0"},
        {"1e5", "1e5"},
        {"1E+05", "1E+05"},
        {"123456789012345678901234567890", "123456789012345678901234567890"},
        {"0.1000000000000000055511151231257827", /* no double has it */
         "0.1000000000000000055511151231257827"},
        {"0x1F", "0x1F"},
        {".5", ".5"},
        {"+1", "+1"},
        {"007", "007"},
        {"2026-11-21", "2026-11-21"},
        {"\"1.10\"", "1.10"},
        {"true", "true"},
        {"False", "false"},
        {"null", ""},
        {"~", ""},
        {"[1.10, {a: 1E+2}]", "[1.10,{\"a\":1E+2}]"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena arena;
        struct node *root;
        struct buffer out;
        struct error error;
        char data[128];
        arena_init(&arena, 1u << 20);
        buffer_init(&out, 1u << 16);
        snprintf(data, sizeof(data), "v: %s\n", rows[i][0]);
        assert_int_equal(document_read_yaml(&arena, "data", data, strlen(data),
                                            &document_limits_default, &root,
                                            &error),
                         0);
        struct mustache_program *program =
            mustache_compile(MUSTACHE_SYNTAX_MUSTACHE, "t",
                             "{{v}}|{{#v}}{{{.}}}{{/v}}", 25, &error);
        const struct mustache_options options = {0};
        assert_int_equal(
            mustache_execute(program, root, &options, &out, &error), 0);
        assert_memory_equal(out.bytes, rows[i][1], strlen(rows[i][1]));
        assert_int_equal(out.bytes[strlen(rows[i][1])], '|');
        mustache_program_free(&program);
        buffer_deinit(&out);
        arena_deinit(&arena);
    }
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
    struct mustache_program *program = mustache_compile(
        MUSTACHE_SYNTAX_MUSTACHE, "main", template, strlen(template), error);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_lambdas),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_compile_errors),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_program_moves),
        cmocka_unit_test(test_program_damaged),
        cmocka_unit_test(test_program_arguments),
        cmocka_unit_test(test_written_values),
        cmocka_unit_test(test_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
