/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/document/document.h"

typedef int reader(struct arena *, const char *, const char *, size_t,
                   const struct document_limits *, struct node **,
                   struct error *);

static struct arena arena;
static struct error error;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 256u << 20);
    error_clear(&error);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static struct node *read_all(reader *read, const char *text, size_t size)
{
    struct node *root = NULL;
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    if (read(&arena, "t", copy, size, NULL, &root, &error) != 0) {
        free(copy);
        fail_msg("%s", error.text);
    }
    free(copy);
    return root;
}

static struct node *read_yaml(const char *text)
{
    return read_all(document_read_yaml, text, strlen(text));
}

static struct node *read_json(const char *text)
{
    return read_all(document_read_json, text, strlen(text));
}

static void check_error_bytes(reader *read, const char *text, size_t size,
                              const char *want)
{
    struct node *root = NULL;
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    error_clear(&error);
    int result = read(&arena, "t", copy, size, NULL, &root, &error);
    free(copy);
    if (result == 0)
        fail_msg("taken for good: %s", text);
    assert_int_equal(error.code, ERROR_DATA);
    if (strstr(error.text, want) == NULL)
        fail_msg("\"%s\" not in \"%s\"", want, error.text);
}

static void check_yaml_error(const char *text, const char *want)
{
    check_error_bytes(document_read_yaml, text, strlen(text), want);
}

static void check_json_error(const char *text, const char *want)
{
    check_error_bytes(document_read_json, text, strlen(text), want);
}

static void check_json_form(const struct node *node, const char *want)
{
    struct buffer out;
    buffer_init(&out, 1 << 20);
    document_write_json(node, &out);
    assert_string_equal(out.bytes, want);
    buffer_deinit(&out);
}

static void yaml_values(void **state)
{
    (void)state;
    struct node *root = read_yaml("a: 1\n"
                                  "b: [x, 'y', null]\n"
                                  "c:\n  d: true\n  e: 1.10\n");
    assert_int_equal(root->kind, NODE_MAP);
    assert_int_equal(root->count, 3);
    check_json_form(root, "{\"a\":1,\"b\":[\"x\",\"y\",null],"
                          "\"c\":{\"d\":true,\"e\":1.10}}");
    const struct node *e = document_get(document_get(root, "c"), "e");
    assert_string_equal(e->text, "1.10");
    assert_int_equal(e->line, 5);
    assert_int_equal(e->column, 6);
    assert_int_equal(e->key_line, 5);
    assert_int_equal(e->key_column, 3);
    assert_null(document_get(root, "z"));
    assert_null(document_get(e, "z"));
    assert_null(document_get(NULL, "z"));
}

static void yaml_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum node_kind kind;
    } cases[] = {
        {"~", NODE_NULL},
        {"null", NODE_NULL},
        {"NULL", NODE_NULL},
        {"nULL", NODE_STRING},
        {"true", NODE_BOOL},
        {"False", NODE_BOOL},
        {"yes", NODE_STRING},
        {"no", NODE_STRING},
        {"on", NODE_STRING},
        {"off", NODE_STRING},
        {"y", NODE_STRING},
        {"0", NODE_NUMBER},
        {"-1", NODE_NUMBER},
        {"+1", NODE_NUMBER},
        {"1.", NODE_NUMBER},
        {".5", NODE_NUMBER},
        {"1e3", NODE_NUMBER},
        {"1.5E-3", NODE_NUMBER},
        {"0x1F", NODE_NUMBER},
        {"0o17", NODE_NUMBER},
        {"0x", NODE_STRING},
        {"0o8", NODE_STRING},
        {".inf", NODE_NUMBER},
        {"-.INF", NODE_NUMBER},
        {".nan", NODE_NUMBER},
        {"-.nan", NODE_STRING},
        {".", NODE_STRING},
        {"+", NODE_STRING},
        {"1e", NODE_STRING},
        {"1.2.3", NODE_STRING},
        {"1_000", NODE_STRING},
        {"12:30", NODE_STRING},
        {"1 2", NODE_STRING},
        {"e5", NODE_STRING},
        {"'1'", NODE_STRING},
        {"\"true\"", NODE_STRING},
        {"!!str 1", NODE_STRING},
        {"! 1", NODE_STRING},
        {"!!int 12", NODE_NUMBER},
        {"!!bool 'true'", NODE_BOOL},
        {"2026-01-31", NODE_STRING},
        {"123456789012345678901234567890", NODE_NUMBER},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct node *root = read_yaml(cases[i].text);
        if (root->kind != cases[i].kind)
            fail_msg("%s is a %s", cases[i].text, node_kind_name(root->kind));
    }
}

static void yaml_numbers_as_json(void **state)
{
    (void)state;
    check_json_form(read_yaml("[1, -1.50e3, .5, 0x1F, .inf, +1, 007, 1.]"),
                    "[1,-1.50e3,\".5\",\"0x1F\",\".inf\",\"+1\",\"007\","
                    "\"1.\"]");
}

static void yaml_empty(void **state)
{
    (void)state;
    assert_int_equal(read_yaml("")->kind, NODE_NULL);
    assert_int_equal(read_yaml("\xef\xbb\xbf")->kind, NODE_NULL);
    assert_int_equal(read_yaml("# nothing\n\n")->kind, NODE_NULL);
    assert_int_equal(read_yaml("---\n")->kind, NODE_NULL);
    struct node *root = read_yaml("a:\nb: ''\n");
    assert_int_equal(root->first->kind, NODE_NULL);
    assert_string_equal(root->first->text, "");
    assert_int_equal(root->first->next->kind, NODE_STRING);
    assert_int_equal(read_yaml("%YAML 1.2\n---\na: 1\n...\n")->count, 1);
}

static void yaml_strings(void **state)
{
    (void)state;
    struct node *root = read_yaml("\xef\xbb\xbf"
                                  "\xc3\xa4: \xe2\x82\xac 5\n"
                                  "b: |\n  line\n  two\n"
                                  "c: >-\n  folded\n  text\n"
                                  "d: \"\\u00e4\\n\"\n"
                                  "<<: {x: 1}\n");
    assert_string_equal(root->first->key, "\xc3\xa4");
    assert_int_equal(root->first->key_column, 1);
    assert_int_equal(root->first->column, 4);
    assert_string_equal(document_get(root, "b")->text, "line\ntwo\n");
    assert_true(document_get(root, "b")->quoted);
    assert_string_equal(document_get(root, "c")->text, "folded text");
    assert_string_equal(document_get(root, "d")->text, "\xc3\xa4\n");
    assert_int_equal(document_get(root, "<<")->kind, NODE_MAP);
}

static void yaml_aliases(void **state)
{
    (void)state;
    struct node *root = read_yaml("a: &x {k: [1, 2]}\n"
                                  "b: *x\n"
                                  "c: [*x, &s text, *s]\n"
                                  "&key d: *key\n"
                                  "*s : &x 5\n"
                                  "e: *x\n");
    check_json_form(root, "{\"a\":{\"k\":[1,2]},\"b\":{\"k\":[1,2]},"
                          "\"c\":[{\"k\":[1,2]},\"text\",\"text\"],"
                          "\"d\":\"d\",\"text\":5,\"e\":5}");
    assert_int_equal(document_get(root, "b")->line, 2);
    assert_int_equal(document_get(root, "b")->first->line, 1);
    check_yaml_error("a: *x\n", "t:1:4: alias *x has no anchor");
    check_yaml_error("a: &x\n  b: *x\n", "t:2:6: alias *x stands within its "
                                         "own anchor (line 1)");
    check_yaml_error("- &x [[*x]]\n", "contain itself");
    check_yaml_error("a: &x [1]\n*x : 2\n", "key must be plain text");
}

static void yaml_billion_laughs(void **state)
{
    (void)state;
    struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_append_text(&text, "a0: &a0 lol\n");
    for (int i = 1; i < 12; i++) {
        buffer_printf(&text, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++)
            buffer_printf(&text, "%s*a%d", j > 0 ? "," : "", i - 1);
        buffer_append_text(&text, "]\n");
    }
    check_yaml_error(text.bytes, "more than 1000000 values with all aliases");
    buffer_reset(&text);
    /* Few values, but each alias makes the next one deeper. */
    buffer_append_text(&text, "- &a0 []\n");
    for (int i = 1; i < 100; i++)
        buffer_printf(&text, "- &a%d [*a%d]\n", i, i - 1);
    check_yaml_error(text.bytes, "nested more than 64 deep");
    buffer_deinit(&text);
}

static void yaml_errors(void **state)
{
    (void)state;
    check_yaml_error("a: 1\nb: 2\na: 3\n",
                     "t:3:1: key \"a\" stands twice, first in line 1");
    check_yaml_error("a: [1, 2\nb: 3\n", "t:2:2: did not find expected ',' or "
                                         "']' while parsing a flow sequence "
                                         "that begins in line 1");
    check_yaml_error("a: \"x\n", "closing quote");
    check_yaml_error("a:\n\tb: 1\n", "tabs");
    check_yaml_error("a: b: c\n", "t:1:5: mapping values");
    check_yaml_error("a: @x\n", "quotes");
    check_yaml_error("a: 1\n---\nb: 2\n", "t:2:1: a second document");
    check_yaml_error("[a]: 1\n", "key must be plain text");
    check_yaml_error("{a: 1}: 1\n", "key must be plain text");
    check_yaml_error("a: !!python/object x\n", "t:1:4: unknown tag");
    check_yaml_error("a: !mine {}\n", "unknown tag");
    check_yaml_error("a: !!set [1]\n", "unknown tag");
    check_yaml_error("a: !!int x\n", "not what its tag says");
    check_yaml_error("a: \"x\\0y\"\n", "a NUL");
    check_yaml_error("a: 1\n \xc3\xa4 b\xff\n",
                     "t:2:5: byte 0xff is not UTF-8");
    check_yaml_error("a: \x01\n", "t:1:4: control characters");
    check_yaml_error("text\nkey: 1\n", "t:2:4");
}

static void yaml_binary(void **state)
{
    (void)state;
    check_error_bytes(document_read_yaml, "a: 1\nb\0c", 8, "t:2:2: a NUL");
    check_error_bytes(document_read_yaml,
                      "\xff\xfe"
                      "a\0",
                      4, "UTF-16");
    check_error_bytes(document_read_yaml,
                      "\x7f"
                      "ELF\x02\x01",
                      6, "no YAML");
}

static void limits_hold(void **state)
{
    (void)state;
    const struct document_limits limits = {.bytes = 50, .depth = 3, .nodes = 5};
    struct node *root;
    static const char *const good[] = {"[[[1]]]", "[1,2,3,4]", "[[[]]]"};
    static const char *const bad[] = {
        "[[[[]]]]", "[1,2,3,4,5]",
        "[                                                        ]"};
    reader *const readers[] = {document_read_json, document_read_yaml};
    for (size_t r = 0; r < 2; r++)
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(readers[r](&arena, "t", good[i], strlen(good[i]),
                                        &limits, &root, &error),
                             0);
            assert_int_equal(readers[r](&arena, "t", bad[i], strlen(bad[i]),
                                        &limits, &root, &error),
                             -1);
        }
}

static void small_arena_fails_cleanly(void **state)
{
    (void)state;
    struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_append_char(&text, '[');
    for (int i = 0; i < 5000; i++)
        buffer_printf(&text, "%s\"value %d\"", i > 0 ? "," : "", i);
    buffer_append_char(&text, ']');
    reader *const readers[] = {document_read_json, document_read_yaml};
    for (size_t limit = 1000; limit < 300000; limit += 17000)
        for (size_t r = 0; r < 2; r++) {
            struct arena small;
            struct node *root;
            arena_init(&small, limit);
            assert_int_equal(readers[r](&small, "t", text.bytes, text.size,
                                        NULL, &root, &error),
                             -1);
            assert_non_null(strstr(error.text, "bytes of memory"));
            arena_deinit(&small);
        }
    buffer_deinit(&text);
}

static void many_keys(void **state)
{
    (void)state;
    struct buffer text;
    buffer_init(&text, 16 << 20);
    buffer_append_char(&text, '{');
    for (int i = 0; i < 100000; i++)
        buffer_printf(&text, "%s\"k%d\":%d", i > 0 ? "," : "", i, i);
    buffer_append_char(&text, '}');
    struct node *root = read_json(text.bytes);
    assert_int_equal(root->count, 100000);
    assert_int_equal(document_get(root, "k99999")->line, 1);
    text.size--;
    buffer_append_text(&text, ",\n \"k777\":1}");
    check_json_error(text.bytes, "t:2:2: key \"k777\" stands twice");
    buffer_deinit(&text);
}

static void json_values(void **state)
{
    (void)state;
    struct node *root = read_json(" {\"a\": [1.10, -0, 1e999, true, null],\n"
                                  "  \"\\u00e4\\ud83d\\ude00\": \"\\\\\\/\\n\","
                                  " \"o\": {}, \"l\": [] }\n");
    check_json_form(root, "{\"a\":[1.10,-0,1e999,true,null],"
                          "\"\xc3\xa4\xf0\x9f\x98\x80\":\"\\\\/\\n\","
                          "\"o\":{},\"l\":[]}");
    const struct node *second = root->first->next;
    assert_int_equal(second->key_line, 2);
    assert_int_equal(second->key_column, 3);
    assert_int_equal(second->column, 25);
    assert_int_equal(read_json("\xef\xbb\xbf"
                               "5")
                         ->kind,
                     NODE_NUMBER);
    assert_int_equal(read_json("\"\"")->text_size, 0);
    assert_int_equal(read_json("null")->kind, NODE_NULL);
    struct node *wide = read_json("[\"\xc3\xa4\xc3\xb6\", 1]");
    assert_int_equal(wide->first->next->column, 8);
}

static void json_errors(void **state)
{
    (void)state;
    check_json_error("", "empty");
    check_json_error("  ", "empty");
    check_json_error("[1,\n 2,]", "t:2:4: expected a value");
    check_json_error("{\"a\":1,}", "t:1:8: expected a key");
    check_json_error("{\"a\" 1}", "expected ':'");
    check_json_error("{a:1}", "t:1:2: expected a key");
    check_json_error("[1", "t:1:3: the text ends within a list");
    check_json_error("[", "the text ends within a list");
    check_json_error("{", "the text ends within an object");
    check_json_error("{\"a\":1", "the text ends within an object");
    check_json_error("[1}", "expected ',' or ']'");
    check_json_error("{} x", "t:1:4: more text");
    check_json_error("\"a", "t:1:1: a string that is never closed");
    check_json_error("\"a\nb\"", "control character");
    check_json_error("\"a\\", "never closed");
    check_json_error("[\"a\\xb\"]", "t:1:4: unknown escape");
    check_json_error("\"\\u12g4\"", "four hexadecimal digits");
    check_json_error("\"\\u12\"", "four hexadecimal digits");
    check_json_error("\"\\ud800\"", "half of a surrogate pair");
    check_json_error("\"\\ud800\\u0041\"", "half of a surrogate pair");
    check_json_error("\"\\udc00\"", "half of a surrogate pair");
    check_json_error("\"\\u0000\"", "a NUL");
    check_json_error("01", "expected a value");
    check_json_error("NaN", "expected a value");
    check_json_error("{\"a\":1,\"\\u0061\":2}",
                     "t:1:8: key \"a\" stands twice");
    check_json_error("[\"\xed\xa0\x80\"]", "not UTF-8");
    check_error_bytes(document_read_json, "[1]\0", 4, "NUL");
}

static void json_deep(void **state)
{
    (void)state;
    char text[200];
    memset(text, '[', 100);
    memset(text + 100, ']', 100);
    check_error_bytes(document_read_json, text, 200,
                      "nested more than 64 deep");
    check_error_bytes(document_read_yaml, text, 200,
                      "nested more than 64 deep");
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void files(void **state)
{
    (void)state;
    char directory[] = "/tmp/test_document.XXXXXX";
    assert_non_null(mkdtemp(directory));
    char path[100];
    struct node *root;
    snprintf(path, sizeof(path), "%s/a.json", directory);
    write_file(path, "{\"a\": 1}");
    assert_int_equal(document_read_file(&arena, path, NULL, &root, &error), 0);
    write_file(path, "a: 1\n");
    assert_int_equal(document_read_file(&arena, path, NULL, &root, &error), -1);
    assert_int_equal(error.code, ERROR_DATA);
    unlink(path);
    assert_int_equal(document_read_file(&arena, path, NULL, &root, &error), -1);
    assert_int_equal(error.code, ERROR_NO_INPUT);
    snprintf(path, sizeof(path), "%s/a.yaml", directory);
    write_file(path, "a: 1\n");
    assert_int_equal(document_read_file(&arena, path, NULL, &root, &error), 0);
    const struct document_limits limits = {.bytes = 4, .depth = 3, .nodes = 5};
    assert_int_equal(document_read_file(&arena, path, &limits, &root, &error),
                     -1);
    assert_non_null(strstr(error.text, "more than the 4 bytes"));
    write_file(path, "");
    assert_int_equal(document_read_file(&arena, path, NULL, &root, &error), 0);
    assert_int_equal(root->kind, NODE_NULL);
    unlink(path);
    assert_int_equal(document_read_file(&arena, directory, NULL, &root, &error),
                     -1);
    assert_non_null(strstr(error.text, "no ordinary file"));
    assert_int_equal(
        document_read_file(&arena, "/dev/zero", NULL, &root, &error), -1);
    rmdir(directory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(yaml_values),
        TEST(yaml_kinds),
        TEST(yaml_numbers_as_json),
        TEST(yaml_empty),
        TEST(yaml_strings),
        TEST(yaml_aliases),
        TEST(yaml_billion_laughs),
        TEST(yaml_errors),
        TEST(yaml_binary),
        TEST(limits_hold),
        TEST(small_arena_fails_cleanly),
        TEST(many_keys),
        TEST(json_values),
        TEST(json_errors),
        TEST(json_deep),
        TEST(files),
    };
    return cmocka_run_group_tests_name("document", tests, NULL, NULL);
}
