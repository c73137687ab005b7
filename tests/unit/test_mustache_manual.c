/* SPDX-License-Identifier: Apache-2.0
 *
 * The examples of tidemill-templates(7) give what the page says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/mustache/lambda.h"
#include "tests/unit/mustache_render.h"

static void read_page(struct buffer *page)
{
    char line[512];
    const char *source = getenv("TIDEMILL_SOURCE");
    snprintf(line, sizeof(line), "%s/man/tidemill-templates.7",
             source == NULL ? "." : source);
    FILE *file = fopen(line, "r");
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL)
        buffer_append_text(page, line);
    fclose(file);
}

/* The literal displays of tidemill-templates(7)'s EXAMPLES, in order. */
static unsigned read_examples(struct buffer *examples, unsigned count)
{
    static const char begin[] = ".Bd -literal -offset indent\n";
    unsigned found = 0;
    struct buffer page;
    buffer_init(&page, 1u << 20);
    read_page(&page);
    const char *at = page.size == 0 ? NULL : strstr(page.bytes, ".Sh EXAMPLES");
    const char *last = at == NULL ? NULL : strstr(at + 1, "\n.Sh ");
    while (at != NULL && found < count && (at = strstr(at, begin)) != NULL &&
           at < last) {
        at += strlen(begin);
        const char *end = strstr(at, ".Ed\n");
        assert_non_null(end);
        buffer_append(&examples[found++], at, (size_t)(end - at));
        at = end;
    }
    buffer_deinit(&page);
    return found;
}

/* Says the page what is so?  A template, its data, what it gives. */
static void check_example(enum mustache_syntax syntax, const char *template,
                          const char *data, const char *partials,
                          const char *expected)
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
    struct buffer out;
    if (render_as(syntax, template, json.bytes, partials,
                  (struct mustache_options){0}, &out, &error) != 0)
        fail_msg("%s", error.text);
    assert_string_equal(out.bytes, expected);
    buffer_deinit(&out);
    buffer_deinit(&json);
    arena_deinit(&arena);
}

/* The partials {name: text} as JSON. */
static void put_partial(struct buffer *partials, const char *name,
                        const struct buffer *text)
{
    buffer_init(partials, 1u << 16);
    buffer_printf(partials, "{\"%s\":", name);
    buffer_append_json(partials, text->bytes, text->size);
    buffer_append_text(partials, "}");
}

#define EXAMPLE_COUNT 13

static void test_manual_page(void **state)
{
    (void)state;
    struct buffer examples[EXAMPLE_COUNT], partials;
    for (unsigned i = 0; i < EXAMPLE_COUNT; i++)
        buffer_init(&examples[i], 1u << 16);
    unsigned found = read_examples(examples, EXAMPLE_COUNT);
    if (found == 0)
        skip();
    assert_int_equal(found, EXAMPLE_COUNT);
    check_example(MUSTACHE_SYNTAX_MUSTACHE, examples[0].bytes,
                  examples[1].bytes, NULL, examples[2].bytes);
    put_partial(&partials, "item", &examples[3]);
    check_example(MUSTACHE_SYNTAX_MUSTACHE, "{{>item}}\n", examples[4].bytes,
                  partials.bytes, examples[5].bytes);
    buffer_deinit(&partials);
    put_partial(&partials, "module", &examples[6]);
    check_example(MUSTACHE_SYNTAX_MUSTACHE, examples[7].bytes, "list: items",
                  partials.bytes, examples[8].bytes);
    buffer_deinit(&partials);
    check_example(MUSTACHE_SYNTAX_MUSTACHE, examples[9].bytes,
                  "points: [{x: 1, y: 2, label: a}, {x: 3, y: 4, label: b}]",
                  NULL,
                  "static const struct point points[] = {\n"
                  "    {{1, 2}, \"a\"},\n    {{3, 4}, \"b\"},\n};\n");
    expect_error("\n\n\n\n\n\n{{>fields.mustache}}", "{}",
                 "{\"fields.mustache\":\"\\n    {{titel}}\"}", true,
                 "fields.mustache:2:5: titel is not defined; give it in the "
                 "data, if only as null or false (included from main:7:1)");
    check_example(MUSTACHE_SYNTAX_PLACEHOLDER, examples[10].bytes,
                  examples[11].bytes, NULL, examples[12].bytes);
    for (unsigned i = 0; i < EXAMPLE_COUNT; i++)
        buffer_deinit(&examples[i]);
}

/* The page's table names every lambda, and what it gives where it says so. */
static void test_lambdas(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *words;
    } rows[] = {
#define X(name, function, words) {#name, words},
        LAMBDA_LIST(X)
#undef X
    };
    struct buffer page;
    buffer_init(&page, 1u << 20);
    read_page(&page);
    if (page.size == 0)
        skip();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char row[128];
        bool quotes = strchr(rows[i].words, '"') != NULL ||
                      strncmp(rows[i].words, "    ", 4) == 0;
        snprintf(row, sizeof(row), ".It Cm %s Ta %s", rows[i].name,
                 quotes ? "" : rows[i].words);
        if (strstr(page.bytes, row) == NULL)
            fail_msg("not in the page: %s", row);
    }
    buffer_deinit(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manual_page),
        cmocka_unit_test(test_lambdas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
