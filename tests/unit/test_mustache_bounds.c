/* SPDX-License-Identifier: Apache-2.0
 *
 * No template hangs, exhausts memory or the stack: what is nested too deep,
 * repeats too much or gives too much ends in an error that says where.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/mustache_render.h"

static void test_recursion(void **state)
{
    (void)state;
    const char *partials = "{\"p\":\"\\n{{>q}}\",\"q\":\"{{>p}}\"}";
    expect_error("x{{>p}}", "{}", partials, false,
                 "a template that includes itself for ever");
    expect_error("x{{>p}}", "{}", partials, false,
                 "(included from p:2:1, from q:1:1, ");
    expect_error("x{{>p}}", "{}", partials, false, ", from main:1:2)");
    expect_error("{{>*p}}", "{\"p\":\"p\"}", "{\"p\":\"{{>*p}}\"}", false,
                 "includes itself for ever");
    expect_error("{{<p}}{{$a}}{{<p}}{{/p}}{{/a}}{{/p}}", "{}",
                 "{\"p\":\"{{$a}}{{<p}}{{/p}}{{/a}}\"}", false,
                 "includes itself for ever");
    /* Twice at each of 64 levels: the first way down ends it. */
    expect_error("{{>p}}", "{\"m\":{\"m\":{\"m\":1}}}",
                 "{\"p\":\"{{#m}}{{>p}}{{>p}}{{/m}}\"}", false,
                 "includes itself for ever");
}

/* Must be given up, at the place.  With fewer steps than usual: the tests
 * have to end, too. */
static void expect_given_up(const char *template, const char *data,
                            const char *partials, const char *place)
{
    struct buffer out;
    struct error error;
    struct mustache_options options = {.steps_max = 1u << 21};
    if (render(template, data, partials, options, &out, &error) == 0)
        fail_msg("not given up: %.100s", template);
    if (strncmp(error.text, place, strlen(place)) != 0 ||
        strstr(error.text, "given up after 2097152 steps") == NULL)
        fail_msg("%s\n where this is right: %s", error.text, place);
    buffer_deinit(&out);
}

/* {"l": [0, 0, ... count of them], more} */
static void put_list(struct buffer *data, unsigned count, const char *more)
{
    buffer_init(data, 1u << 20);
    buffer_append_text(data, "{\"l\":[0");
    for (unsigned i = 1; i < count; i++)
        buffer_append_text(data, ",0");
    buffer_printf(data, "]%s}", more);
}

static void put_times(struct buffer *text, unsigned count, const char *what)
{
    for (unsigned i = 0; i < count; i++)
        buffer_append_text(text, what);
}

/* What gives nothing, again and again. */
static void test_repetition(void **state)
{
    (void)state;
    struct buffer data, text;
    put_list(&data, 1000, ",\"t\":1,\"n\":\"none\"");
    buffer_init(&text, 4u << 20);
    expect_error("{{#l}}{{#l}}{{#l}}{{/l}}{{/l}}{{/l}}", data.bytes, NULL,
                 false, "main:1:13: given up after 134217728 steps");
    expect_given_up("{{#l}}{{#l}}{{#l}}{{>*n}}{{/l}}{{/l}}{{/l}}", data.bytes,
                    "{}", "main:1:19: ");
    expect_given_up("{{#l}}{{#l}}{{#l}}{{a.b.c}}{{/l}}{{/l}}{{/l}}", data.bytes,
                    NULL, "main:1:19: ");
    buffer_append_text(&text, "{{#l}}{{#l}}");
    put_times(&text, 20000, "{{^t}}{{/t}}");
    buffer_append_text(&text, "{{/l}}{{/l}}");
    expect_given_up(text.bytes, data.bytes, NULL, "");
    buffer_deinit(&text);
    buffer_deinit(&data);
}

/* Each of 40 levels takes the next one twice: 2^40 templates. */
static void test_doubling(void **state)
{
    (void)state;
    static const char *const levels[] = {
        "{{>p%u}}{{>p%u}}", "{{<p%u}}{{$a}}{{/a}}{{/p%u}}{{>p%u}}",
        "{{#upper}}{{>p%u}}{{/upper}}{{>p%u}}"};
    for (size_t row = 0; row < sizeof(levels) / sizeof(levels[0]); row++) {
        struct buffer partials;
        buffer_init(&partials, 1u << 16);
        buffer_append_text(&partials, "{\"p40\":\"{{$a}}{{/a}}\"");
        for (unsigned i = 0; i < 40; i++) {
            buffer_printf(&partials, ",\"p%u\":\"", i);
            for (const char *at = levels[row]; *at != '\0'; at++)
                if (at[0] == '%')
                    buffer_printf(&partials, "%u", (at++, i + 1));
                else
                    buffer_append_char(&partials, *at);
            buffer_append_text(&partials, "\"");
        }
        buffer_append_text(&partials, "}");
        expect_given_up("{{>p0}}", "{}", partials.bytes, "");
        buffer_deinit(&partials);
    }
}

/* Searches whose cost is in the template. */
static void test_many_arguments(void **state)
{
    (void)state;
    struct buffer text, partials;
    buffer_init(&text, 4u << 20);
    buffer_init(&partials, 4u << 20);
    buffer_append_text(&text, "{{<p}}");
    put_times(&text, 20000, "{{$a}}{{/a}}");
    buffer_append_text(&text, "{{/p}}");
    buffer_append_text(&partials, "{\"p\":\"");
    put_times(&partials, 20000, "{{$b}}{{/b}}");
    buffer_append_text(&partials, "\"}");
    expect_given_up(text.bytes, "{}", partials.bytes, "");
    buffer_deinit(&text);
    buffer_deinit(&partials);
}

/* A text that many lambdas take in turn. */
static void test_many_lambdas(void **state)
{
    (void)state;
    struct buffer text;
    buffer_init(&text, 1u << 20);
    put_times(&text, 100, "{{#upper}}");
    put_times(&text, 10000, "1234567890");
    put_times(&text, 100, "{{/upper}}");
    expect_given_up(text.bytes, "{}", NULL, "main:1:");
    buffer_deinit(&text);
}

static const struct mustache_program *
count_calls(void *context, const char *name, size_t size, struct error *error)
{
    (void)name;
    (void)size;
    error_clear(error);
    ++*(unsigned *)context;
    return NULL;
}

/* What a resolver does may take longer than a step. */
static void test_resolving(void **state)
{
    (void)state;
    struct arena arena;
    struct buffer out, data;
    struct error error;
    unsigned calls = 0;
    struct mustache_options options = {
        .resolver = count_calls,
        .resolver_context = &calls,
        .steps_max = 1u << 21,
    };
    put_list(&data, 1000, ",\"n\":\"none\"");
    arena_init(&arena, 16u << 20);
    buffer_init(&out, 1u << 16);
    const char *text = "{{#l}}{{#l}}{{>*n}}{{/l}}{{/l}}";
    struct mustache_program *program = mustache_compile(
        MUSTACHE_SYNTAX_MUSTACHE, "main", text, strlen(text), &error);
    assert_int_equal(mustache_execute(program, read_json(&arena, data.bytes),
                                      &options, &out, &error),
                     -1);
    assert_non_null(strstr(error.text, "given up after"));
    assert_true(calls > 0 && calls <= (1u << 21) / 200);
    mustache_program_free(&program);
    buffer_deinit(&out);
    buffer_deinit(&data);
    arena_deinit(&arena);
}

static void check_output(const char *template, const char *data,
                         const char *partials, size_t most, bool is_enough)
{
    struct buffer out;
    struct error error;
    struct mustache_options options = {.output_max = most};
    int result = render(template, data, partials, options, &out, &error);
    assert_int_equal(result, is_enough ? 0 : -1);
    assert_true(out.size <= most);
    if (!is_enough && strstr(error.text, "bytes of output") == NULL)
        fail_msg("%s", error.text);
    buffer_deinit(&out);
}

static void test_output(void **state)
{
    (void)state;
    struct buffer data;
    put_list(&data, 1000, ",\"v\":\"&&\"");
    check_output("{{#l}}ab{{/l}}", data.bytes, NULL, 1500, false);
    check_output("{{#l}}ab{{/l}}", data.bytes, NULL, 1999, false);
    check_output("{{#l}}ab{{/l}}", data.bytes, NULL, 2000, true);
    check_output("{{#l}}{{v}}{{/l}}", data.bytes, NULL, 1999, false);
    check_output("{{#l}}{{v}}{{/l}}", data.bytes, NULL, 2000, true);
    check_output("{{l}}", data.bytes, NULL, 100, false);
    check_output("  {{>p}}", data.bytes, "{\"p\":\"x{{#l}}\\na{{/l}}\"}", 4002,
                 false);
    check_output("  {{>p}}", data.bytes, "{\"p\":\"x{{#l}}\\na{{/l}}\"}", 4003,
                 true);
    /* Without a bound of the caller's: 64 MiB. */
    check_output("{{#l}}{{#l}}{{#l}}abcdefghijklmnopqrst{{/l}}{{/l}}{{/l}}",
                 data.bytes, NULL, MUSTACHE_OUTPUT_MAX, false);
    expect_error("{{#l}}{{#l}}{{#l}}abcdefghijklmnopqrst{{/l}}{{/l}}{{/l}}",
                 data.bytes, NULL, false,
                 "main:1:39: more than 67108864 bytes of output");
    buffer_deinit(&data);
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

/* Neither sections that push nothing nor partials exhaust the stack. */
static void test_call_depth(void **state)
{
    (void)state;
    struct buffer partials;
    buffer_init(&partials, 1u << 20);
    buffer_append_text(&partials, "{\"p\":\"");
    for (unsigned i = 0; i < 100; i++)
        buffer_append_text(&partials, "{{^a}}");
    buffer_append_text(&partials, "{{>p}}");
    for (unsigned i = 0; i < 100; i++)
        buffer_append_text(&partials, "{{/a}}");
    buffer_append_text(&partials, "\"}");
    expect_error("{{>p}}", "{}", partials.bytes, false,
                 "more than 1024 sections within each other");
    buffer_deinit(&partials);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recursion),
        cmocka_unit_test(test_repetition),
        cmocka_unit_test(test_doubling),
        cmocka_unit_test(test_many_arguments),
        cmocka_unit_test(test_many_lambdas),
        cmocka_unit_test(test_resolving),
        cmocka_unit_test(test_output),
        cmocka_unit_test(test_section_depth),
        cmocka_unit_test(test_call_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
