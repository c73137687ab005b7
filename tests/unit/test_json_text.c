/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/document/json_text.h"

/* In exactly as much memory as the text needs, so that a sanitizer sees a
 * read past the end. */
static bool is_valid(const char *text, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    struct error error;
    error_clear(&error);
    bool valid = json_text_valid(copy, size, &error);
    free(copy);
    assert_int_equal(error.code, valid ? ERROR_NONE : ERROR_DATA);
    return valid;
}

static void valid_texts(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "12.5e-10",
        "1E+2",
        "\"\"",
        "\"a\"",
        " \t\r\n[ ] ",
        "{}",
        "[[],{},[{}]]",
        "{\"a\":1,\"a\":2}",
        "{ \"a\" : [ 1 , 2 ] , \"b\" : null }",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\ud800\\u0000\"",
        "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
        "\"long enough for several words of eight \xc3\xa4 bytes each\"",
        "\"12345678\"",
        "\"1234567\\n12345678901234567890\"",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_true(is_valid(texts[i], strlen(texts[i])));
}

static const char *const no_json[] = {
    "",
    " ",
    "nul",
    "nulll",
    "tru e",
    "01",
    "-",
    "1.",
    ".5",
    "1e",
    "+1",
    "0x10",
    "NaN",
    "\"",
    "\"a",
    "\"\\\"",
    "\"\\x\"",
    "\"\\u12g4\"",
    "\"\\u12\"",
    "\"\\",
    "\"a\tb\"",
    "\"\x7f\xff\"",
    "\"\xc3\"",
    "\"\xed\xa0\x80\"",
    "[",
    "[1",
    "[1,",
    "[1,]",
    "[,]",
    "[1 2]",
    "]",
    "{",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "{a:1}",
    "{\"a\" 1}",
    "{1:1}",
    "[1}",
    "{\"a\":1]",
    "1 2",
    "{}{}",
    "'a'",
    "\xef\xbb\xbf{}",
    "// c\n1",
    "\"123456789\n\"",
    "\"12345678\xff 1234567\"",
};

static void invalid_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(no_json) / sizeof(no_json[0]); i++) {
        if (is_valid(no_json[i], strlen(no_json[i])))
            fail_msg("taken for valid: %s", no_json[i]);
    }
    assert_false(is_valid("1\0", 2));
    assert_false(is_valid("\"a\0b\"", 5));
    assert_false(is_valid("{\"a\0\":1}", 8));
}

static void every_cut_is_invalid(void **state)
{
    (void)state;
    static const char text[] =
        "{\"key\":[true,-1.5e3,\"\\u00e4\xc3\xa4 and more text\",{}]}";
    for (size_t size = 0; size < sizeof(text) - 1; size++)
        assert_false(is_valid(text, size));
    assert_true(is_valid(text, sizeof(text) - 1));
}

static void error_names_the_byte(void **state)
{
    (void)state;
    struct error error;
    static const char text[] = "{\"a\": [1, x]}";
    assert_false(json_text_valid(text, sizeof(text) - 1, &error));
    assert_non_null(strstr(error.text, "byte 11"));
    assert_false(json_text_valid(text, sizeof(text) - 1, NULL));
}

static void depth_is_bounded(void **state)
{
    (void)state;
    enum { SIZE = 4 * JSON_TEXT_DEPTH_MAX };
    char text[SIZE];
    memset(text, '[', JSON_TEXT_DEPTH_MAX);
    memset(text + JSON_TEXT_DEPTH_MAX, ']', JSON_TEXT_DEPTH_MAX);
    assert_true(is_valid(text, 2 * JSON_TEXT_DEPTH_MAX));
    memset(text, '[', JSON_TEXT_DEPTH_MAX + 1);
    memset(text + JSON_TEXT_DEPTH_MAX + 1, ']', JSON_TEXT_DEPTH_MAX + 1);
    assert_false(is_valid(text, 2 * JSON_TEXT_DEPTH_MAX + 2));
}

/* Every single byte, at each place of a word, is judged as its place by
 * itself says. */
static void every_byte_in_a_string(void **state)
{
    (void)state;
    for (unsigned place = 1; place <= 17; place++)
        for (unsigned byte = 0; byte < 256; byte++) {
            char text[20] = "\"aaaaaaaaaaaaaaaaa\"";
            text[place] = (char)byte;
            bool want =
                byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
            if (byte == '"' && place == 17)
                want = false; /* two quotes: text after the value */
            assert_int_equal(is_valid(text, 19), want);
        }
}

static void objects_are_told(void **state)
{
    (void)state;
    assert_true(json_text_is_object(" \n{}", 4));
    assert_false(json_text_is_object("[{}]", 4));
    assert_false(json_text_is_object("", 0));
    assert_false(json_text_is_object("  ", 2));
}

static void check_member(const char *text, const char *key, const char *want)
{
    const char *value = NULL;
    size_t size = 0;
    bool found = json_text_member(text, strlen(text), key, &value, &size);
    assert_int_equal(found, want != NULL);
    if (want == NULL)
        return;
    assert_int_equal(size, strlen(want));
    assert_memory_equal(value, want, size);
}

static void members_are_found(void **state)
{
    (void)state;
    check_member("{}", "a", NULL);
    check_member("[\"a\"]", "a", NULL);
    check_member("{\"a\":1}", "a", "1");
    check_member("{\"a\":1,\"a\":2}", "a", "2");
    check_member("{ \"x\" : {\"a\":1} , \"a\" : [1, {\"b\":\"]}\"}] }", "a",
                 "[1, {\"b\":\"]}\"}]");
    check_member("{\"x\":\"\\\"a\\\":5\",\"b\":1.50}", "b", "1.50");
    check_member("{\"\\u0061b\":true}", "ab", "true");
    check_member("{\"\\ud83d\\ude00\":1}", "\xf0\x9f\x98\x80", "1");
    check_member("{\"a\\\\b\":1}", "a\\b", "1");
    check_member("{\"a\\/b\":1}", "a/b", "1");
    check_member("{\"\":0}", "", "0");
    check_member("{\"abc\":1}", "ab", NULL);
    check_member("{\"\\u0061\":1}", "ab", NULL);
}

static void check_merge(const char *base, const char *patch, const char *want)
{
    struct buffer out;
    buffer_init(&out, 1 << 20);
    json_text_merge(base, strlen(base), patch, strlen(patch), &out);
    assert_false(out.failed);
    assert_string_equal(out.bytes, want);
    assert_true(json_text_valid(out.bytes, out.size, NULL));
    buffer_deinit(&out);
}

static void merges(void **state)
{
    (void)state;
    check_merge("{}", "{}", "{}");
    check_merge("{\"a\":1}", "{}", "{\"a\":1}");
    check_merge("{}", " { \"a\" : 1 } ", "{\"a\":1}");
    check_merge("{\"a\":1,\"b\":1.50}", "{\"a\":{\"x\": 1}}",
                "{\"a\":{\"x\": 1},\"b\":1.50}");
    check_merge("{\"a\":{\"x\":1}}", "{\"a\":{\"y\":2},\"c\":null}",
                "{\"a\":{\"y\":2},\"c\":null}");
    check_merge("{\"a\":1,\"a\":2}", "{\"b\":1,\"b\":3}", "{\"a\":2,\"b\":3}");
    check_merge("{\"\\u00e4\":1}", "{\"\xc3\xa4\":2}", "{\"\\u00e4\":2}");
    check_merge("{\"a\\nb\":1}", "{\"a\\u000Ab\":2,\"a\\nc\":3}",
                "{\"a\\nb\":2,\"a\\nc\":3}");
    check_merge("[1]", "{\"a\":1}", "{\"a\":1}");
    check_merge("{\"a\":1}", "null", "null");
}

static void append_members(struct buffer *out, int from, int to, int value)
{
    buffer_append_char(out, '{');
    for (int i = from; i < to; i++)
        buffer_printf(out, "%s\"k%d\":%d", i > from ? "," : "", i, value);
    buffer_append_char(out, '}');
}

static void large_merge(void **state)
{
    (void)state;
    struct buffer base;
    struct buffer patch;
    struct buffer out;
    buffer_init(&base, 1 << 22);
    buffer_init(&patch, 1 << 22);
    buffer_init(&out, 1 << 22);
    append_members(&base, 0, 20000, 1);
    append_members(&patch, 10000, 30000, 2);
    json_text_merge(base.bytes, base.size, patch.bytes, patch.size, &out);
    assert_true(json_text_valid(out.bytes, out.size, NULL));
    const char *value;
    size_t size;
    assert_true(json_text_member(out.bytes, out.size, "k0", &value, &size));
    assert_int_equal(*value, '1');
    assert_true(json_text_member(out.bytes, out.size, "k10000", &value, &size));
    assert_int_equal(*value, '2');
    assert_true(json_text_member(out.bytes, out.size, "k29999", &value, &size));
    size_t members = 0;
    for (size_t i = 0; i < out.size; i++)
        members += out.bytes[i] == ':';
    assert_int_equal(members, 30000);
    buffer_deinit(&base);
    buffer_deinit(&patch);
    buffer_deinit(&out);
}

static void merge_respects_the_bound(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, 4);
    json_text_merge("{\"a\":1}", 7, "{\"b\":1}", 7, &out);
    assert_true(out.failed);
    buffer_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_texts),
        cmocka_unit_test(invalid_texts),
        cmocka_unit_test(every_cut_is_invalid),
        cmocka_unit_test(error_names_the_byte),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(every_byte_in_a_string),
        cmocka_unit_test(objects_are_told),
        cmocka_unit_test(members_are_found),
        cmocka_unit_test(merges),
        cmocka_unit_test(large_merge),
        cmocka_unit_test(merge_respects_the_bound),
    };
    return cmocka_run_group_tests_name("json_text", tests, NULL, NULL);
}
