/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates with {UPPER_SNAKE} placeholders: one name after the other is
 * replaced, everything else stays.
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

static void expect_replaced(const char *template, const char *data,
                            struct mustache_options options,
                            const char *expected)
{
    struct buffer out;
    struct error error;
    if (render_as(MUSTACHE_SYNTAX_PLACEHOLDER, template, data, NULL, options,
                  &out, &error) != 0)
        fail_msg("%s: %s", template, error.text);
    if (strcmp(out.bytes, expected) != 0)
        fail_msg("%s: <%s> where <%s> is right", template, out.bytes, expected);
    assert_int_equal(out.size, strlen(expected));
    buffer_deinit(&out);
}

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        const char *template;
        const char *data;
        const char *expected;
    } rows[] = {
        {"", "{}", ""},
        {"no placeholder", "{}", "no placeholder"},
        {"<{A}>", "{\"A\":\"x\"}", "<x>"},
        {"{A}{B_C}{A}\n{A}", "{\"A\":1,\"B_C\":\"y\"}", "1y1\n1"},
        /* Unknown ones and other braces stay. */
        {"{B} {} {major: 1} {a} {A1} { A} {A }", "{\"A\":1}",
         "{B} {} {major: 1} {a} {A1} { A} {A }"},
        {"{{A}} {{{A}}} ${A} {A", "{\"A\":1}", "{1} {{1}} $1 {A"},
        {"{A{A}A}", "{\"A\":1}", "{A1A}"},
        {"{{#A}}{{/A}}{{! x }}{{>A}}", "{\"A\":1}",
         "{{#A}}{{/A}}{{! x }}{{>A}}"},
        {"{_}{__A_}", "{\"_\":1,\"__A_\":2}", "12"},
        {"{\xc3\x84}{A}", "{\"A\":\"\xc3\xa4\"}", "{\xc3\x84}\xc3\xa4"},
        {"{AN_UNKNOWN_NAME_THAT_IS_LONGER_THAN_THIRTY_TWO_BYTES}|{A}",
         "{\"A\":1}",
         "{AN_UNKNOWN_NAME_THAT_IS_LONGER_THAN_THIRTY_TWO_BYTES}|1"},
        /* Kinds of values. */
        {"{A} {B} {C} {D} {E}",
         "{\"A\":true,\"B\":null,\"C\":1.10,\"D\":[1],\"E\":\"<&>\"}",
         "true  1.10 [1] <&>"},
        {"{A}", "[1]", "{A}"},
        {"{A}", "{\"a\":{\"A\":1}}", "{A}"},
        {"{A}", "{\"A\":\"\"}", ""},
        /* One name after the other. */
        {"{A}", "{\"A\":\"{B}\",\"B\":\"x\"}", "x"},
        {"{A}", "{\"B\":\"x\",\"A\":\"{B}\"}", "{B}"},
        {"{A}{B}", "{\"B\":\"x\",\"A\":\"{B}\"}", "{B}x"},
        {"{A}", "{\"A\":\"{A}\"}", "{A}"},
        {"{A}{B}", "{\"A\":\"{B}\",\"B\":\"{A}\"}", "{A}{A}"},
        {"{N_{A}}", "{\"A\":\"X\",\"N_X\":\"joined\"}", "joined"},
        {"{N_{A}}", "{\"N_X\":\"joined\",\"A\":\"X\"}", "{N_X}"},
        {"{{A}}", "{\"A\":\"B\",\"B\":2}", "2"},
        {"{A}}", "{\"A\":\"{B\",\"B\":2}", "2"},
        {"{A}{B}{C}", "{\"A\":\"{\",\"B\":\"C\",\"C\":\"}\"}", "{C}"},
        {"{A}", "{\"A\":\"{B}\",\"x\":1,\"B\":null}", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_replaced(rows[i].template, rows[i].data,
                        (struct mustache_options){0}, rows[i].expected);
}

static void test_options(void **state)
{
    (void)state;
    const struct mustache_options html = {.escape = MUSTACHE_ESCAPE_HTML};
    expect_replaced("<{A}>{B}", "{\"A\":\"<&>\"}", html, "<&lt;&amp;&gt;>{B}");
    expect_replaced("<{A}>", "{\"A\":\"<{B}>\",\"B\":\"&\"}", html,
                    "<&lt;&amp;&gt;>");
    struct buffer out;
    struct error error;
    struct mustache_options strict = {.strict = true};
    expect_replaced("{A}{b}", "{\"A\":1}", strict, "1{b}");
    assert_int_equal(render_as(MUSTACHE_SYNTAX_PLACEHOLDER,
                               "x\n\xc3\xa4 {A}\n{B}", "{\"A\":1}", NULL,
                               strict, &out, &error),
                     -1);
    assert_string_equal(error.text, "main:3:1: {B} is not defined; give it in "
                                    "the data, if only as null or false");
    buffer_deinit(&out);
}

/* Values that double what was there end at the bound of the output. */
static void test_bounds(void **state)
{
    (void)state;
    struct buffer data, out;
    struct error error;
    buffer_init(&data, 1u << 20);
    buffer_append_text(&data, "{\"A\":\"{B}{B}\"");
    for (char c = 'B'; c < 'Z'; c++)
        buffer_printf(&data, ",\"%c\":\"{%c}{%c}{%c}\"", c, c + 1, c + 1,
                      c + 1);
    buffer_append_text(&data, ",\"Z\":\"\"}");
    struct mustache_options small = {.output_max = 1u << 20};
    assert_int_equal(render_as(MUSTACHE_SYNTAX_PLACEHOLDER, "{A}", data.bytes,
                               NULL, small, &out, &error),
                     -1);
    assert_non_null(strstr(error.text, "main:1:1: more than 1048576 bytes"));
    buffer_deinit(&out);
    /* A long text, searched for one name after the other. */
    struct mustache_options options = {.steps_max = 1u << 17};
    buffer_reset(&data);
    buffer_append_text(&data, "{A}");
    for (unsigned i = 0; i < 100000; i++)
        buffer_append_char(&data, 'x');
    assert_int_equal(render_as(MUSTACHE_SYNTAX_PLACEHOLDER, data.bytes,
                               "{\"A\":\"{B}\",\"B\":1,\"C\":2}", NULL, options,
                               &out, &error),
                     -1);
    assert_non_null(strstr(error.text, "given up after 131072 steps"));
    buffer_deinit(&out);
    buffer_deinit(&data);
}

/* The definition: for each name in turn, the whole text once. */
static void replace_name(struct buffer *text, const char *name,
                         const char *value)
{
    char wanted[32];
    struct buffer made;
    buffer_init(&made, 1u << 20);
    int size = snprintf(wanted, sizeof(wanted), "{%s}", name);
    const char *at = text->bytes;
    for (const char *found; (found = strstr(at, wanted)) != NULL;
         at = found + size) {
        buffer_append(&made, at, (size_t)(found - at));
        buffer_append_text(&made, value);
    }
    buffer_append_text(&made, at);
    buffer_deinit(text);
    *text = made;
}

static uint64_t random_next(uint64_t *random, uint64_t below)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (*random >> 33) % below;
}

static void put_random(uint64_t *random, unsigned most, struct buffer *out)
{
    static const char *const pieces[] = {"{",   "}",   "A",   "B", "_",
                                         "{A}", "{B}", "{C}", "x", "{A_B}"};
    buffer_append_text(out, "");
    for (uint64_t n = random_next(random, most); n > 0; n--)
        buffer_append_text(
            out,
            pieces[random_next(random, sizeof(pieces) / sizeof(pieces[0]))]);
}

static void test_random(void **state)
{
    (void)state;
    static const char *const names[] = {"A", "B", "C", "A_B", "_"};
    uint64_t random = 7;
    for (unsigned round = 0; round < 5000; round++) {
        struct buffer text, data, values[5];
        buffer_init(&text, 1u << 20);
        buffer_init(&data, 1u << 20);
        put_random(&random, 12, &text);
        char *template = strdup(text.bytes == NULL ? "" : text.bytes);
        buffer_append_text(&text, "");
        unsigned first = (unsigned)random_next(&random, 5);
        unsigned count = (unsigned)random_next(&random, 6);
        buffer_append_text(&data, "{");
        for (unsigned i = 0; i < count; i++) {
            unsigned n = (first + i) % 5;
            buffer_init(&values[i], 1u << 20);
            put_random(&random, 4, &values[i]);
            const char *value = values[i].size == 0 ? "" : values[i].bytes;
            buffer_printf(&data, "%s\"%s\":\"%s\"", i == 0 ? "" : ",", names[n],
                          value);
            if (text.size > 0)
                replace_name(&text, names[n], value);
            buffer_deinit(&values[i]);
        }
        buffer_append_text(&data, "}");
        expect_replaced(template, data.bytes, (struct mustache_options){0},
                        text.size == 0 ? "" : text.bytes);
        free(template);
        buffer_deinit(&text);
        buffer_deinit(&data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
