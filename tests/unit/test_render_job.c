/* SPDX-License-Identifier: Apache-2.0 */
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

#include "common/generation/template_cache.h"
#include "common/shm/mapping.h"
#include "workers/generation/claim_size.h"
#include "workers/generation/render_job.h"
#include "workers/generation/report.h"

#define CONTRACT CONTRACT_OF("{name: add}")
#define CONTRACT_OF(operations)                                                \
    "node_type: EFFECT\n"                                                      \
    "domain: shop\n"                                                           \
    "service: cart\n"                                                          \
    "description: Keeps what is bought\n"                                      \
    "version: {major: 1, minor: 2, patch: 3}\n"                                \
    "operations: [" operations "]\n"                                           \
    "models: {input: [{name: price, type: float}], output: []}\n"

struct fixture {
    char folder[64];
    char path[300];
    struct mapping *mapping;
    struct template_cache *cache;
    struct arena arena;
    struct buffer spec;
    struct render_job job;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    strcpy(fixture->folder, "/tmp/tidemill-render-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    fixture->mapping = mapping_new(&fixture->error);
    assert_non_null(fixture->mapping);
    const struct template_sharing sharing = {
        .region = mapping_templates(fixture->mapping), .template_dir = "/t"};
    cache_limit(sharing.region, 100, 50000000, 3600000);
    fixture->cache = template_cache_new(&sharing, &fixture->error);
    assert_non_null(fixture->cache);
    arena_init(&fixture->arena, 64u << 20);
    buffer_init(&fixture->spec, 1u << 20);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char command[100];
    snprintf(command, sizeof(command), "rm -rf %s", fixture->folder);
    assert_int_equal(system(command), 0);
    template_cache_free(&fixture->cache);
    mapping_free(&fixture->mapping);
    arena_deinit(&fixture->arena);
    buffer_deinit(&fixture->spec);
    free(fixture);
    return 0;
}

static const char *at(struct fixture *fixture, const char *name)
{
    snprintf(fixture->path, sizeof(fixture->path), "%s/%s", fixture->folder,
             name);
    return fixture->path;
}

static void put(struct fixture *fixture, const char *name, const char *text)
{
    FILE *file = fopen(at(fixture, name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* A template directory of our own, with one small template. */
static void put_templates(struct fixture *fixture, const char *output,
                          const char *text)
{
    char set[500];
    mkdir(at(fixture, "t"), 0777);
    mkdir(at(fixture, "t/effect"), 0777);
    mkdir(at(fixture, "t/effect/partials"), 0777);
    snprintf(set, sizeof(set), "files:\n  - {template: a, output: \"%s\"}\n",
             output);
    put(fixture, "t/effect/set.yaml", set);
    put(fixture, "t/effect/partials/p.mustache", "[{{service}}]\n");
    put(fixture, "t/effect/a.mustache", text);
}

static int run(struct fixture *fixture, const char *contract_text,
               const char *template_dir)
{
    struct buffer *spec = &fixture->spec;
    buffer_reset(spec);
    arena_reset(&fixture->arena);
    buffer_append_text(spec, "{\"contract\": \"/c/cart.yaml\", "
                             "\"contract_text\": ");
    buffer_append_json(spec, contract_text, strlen(contract_text));
    buffer_printf(spec, ", \"output\": \"%s/out\", \"options\": {}}",
                  fixture->folder);
    template_cache_begin(fixture->cache);
    const struct render_world world = {fixture->cache, template_dir, "this"};
    return render_job_run(&world, spec->bytes, spec->size, &fixture->arena,
                          &fixture->job, &fixture->error);
}

static int run_own(struct fixture *fixture)
{
    char templates[100];
    snprintf(templates, sizeof(templates), "%s/t", fixture->folder);
    return run(fixture, CONTRACT, templates);
}

static void refused(struct fixture *fixture, int result, enum error_code code,
                    const char *words)
{
    assert_int_equal(result, -1);
    if (fixture->error.code != code ||
        strstr(fixture->error.text, words) == NULL)
        fail_msg("expected \"%s\": %s", words, fixture->error.text);
}

static void test_the_real_templates(void **state)
{
    struct fixture *fixture = *state;
    char templates[1000];
    const char *source = getenv("TIDEMILL_SOURCE");
    snprintf(templates, sizeof(templates), "%s/conf/templates",
             source == NULL ? "." : source);
    if (run(fixture, CONTRACT, templates) != 0)
        fail_msg("%s", fixture->error.text);
    const struct output *output = &fixture->job.output;
    assert_string_equal(output->node, "node_shop_cart_effect");
    assert_int_equal(output->counts[OUTPUT_CREATED], output->file_count);
    assert_true(output->file_count >= 18);
    for (size_t i = 0; i < output->file_count; i++) {
        const char *bytes = output->files[i].bytes;
        assert_null(strstr(bytes, " \n"));
        assert_null(strstr(bytes, "{{"));
        assert_int_equal(bytes[output->files[i].size - 1], '\n');
    }
    assert_int_equal(run(fixture, CONTRACT, templates), 0);
    assert_true(fixture->job.template_hit);
    assert_int_equal(fixture->job.output.counts[OUTPUT_UNCHANGED],
                     fixture->job.output.file_count);
}

/* The display behind a line of tidemill-templates(7). */
static void read_display(const char *before, char *text, size_t room)
{
    const char *source = getenv("TIDEMILL_SOURCE");
    char path[1000], line[300];
    size_t used = 0;
    snprintf(path, sizeof(path), "%s/man/tidemill-templates.7",
             source == NULL ? "." : source);
    FILE *page = fopen(path, "r");
    assert_non_null(page);
    while (fgets(line, sizeof(line), page) != NULL && strcmp(line, before) != 0)
        continue;
    assert_non_null(fgets(line, sizeof(line), page));
    while (fgets(line, sizeof(line), page) != NULL &&
           strcmp(line, ".Ed\n") != 0 && used < room)
        used += (size_t)snprintf(text + used, room - used, "%s", line);
    fclose(page);
}

static void test_the_manuals_contract(void **state)
{
    struct fixture *fixture = *state;
    char templates[1000], text[4000] = "";
    const char *source = getenv("TIDEMILL_SOURCE");
    source = source == NULL ? "." : source;
    snprintf(templates, sizeof(templates), "%s/conf/templates", source);
    read_display("A whole contract:\n", text, sizeof(text));
    if (run(fixture, text, templates) != 0)
        fail_msg("%s", fixture->error.text);
    assert_string_equal(fixture->job.output.node, "node_billing_price_compute");
}

static void test_the_manuals_set(void **state)
{
    struct fixture *fixture = *state;
    char text[4000] = "";
    read_display("in the folder of a set lists its files:\n", text,
                 sizeof(text));
    put_templates(fixture, "x", "");
    mkdir(at(fixture, "t/shared"), 0777);
    put(fixture, "t/effect/set.yaml", text);
    put(fixture, "t/effect/node.py.mustache", "{{service}}\n");
    put(fixture, "t/shared/errors.py.mustache", "{{service}}\n");
    put(fixture, "t/effect/run.sh.mustache", "{{service}}\n");
    put(fixture, "t/effect/old.py.mustache", "{MICROSERVICE_NAME}\n");
    put(fixture, "t/effect/op.py.mustache", "{{service}}\n");
    if (run_own(fixture) != 0)
        fail_msg("%s", fixture->error.text);
    const struct output *output = &fixture->job.output;
    assert_true(output->file_count > 4); /* one for each operation */
    for (size_t i = 0; i < output->file_count; i++) {
        assert_string_equal(output->files[i].bytes, "cart\n");
        assert_int_equal(
            output->files[i].mode,
            strstr(output->files[i].path, "run.sh") == NULL ? 0644 : 0755);
    }
}

static void test_changed_templates_are_noticed(void **state)
{
    struct fixture *fixture = *state;
    put_templates(fixture, "{{domain}}.txt", "one {{service}}\n{{>p}}\n");
    assert_int_equal(run_own(fixture), 0);
    assert_string_equal(fixture->job.output.files[0].bytes,
                        "one cart\n[cart]\n");
    assert_string_equal(fixture->job.output.files[0].path,
                        "node_shop_cart_effect/shop.txt");
    put_templates(fixture, "{{domain}}.txt", "two {{service}}\n{{>p}}\n");
    assert_int_equal(run_own(fixture), 0);
    assert_false(fixture->job.template_hit);
    assert_string_equal(fixture->job.output.files[0].bytes,
                        "two cart\n[cart]\n");
    put(fixture, "t/effect/partials/p.mustache", "changed\n");
    assert_int_equal(run_own(fixture), 0);
    assert_string_equal(fixture->job.output.files[0].bytes,
                        "two cart\nchanged\n");
    assert_int_equal(run_own(fixture), 0);
    assert_true(fixture->job.template_hit);
}

static void put_loop(struct fixture *fixture, const char *each)
{
    char set[300];
    put_templates(fixture, "x", "{{name}} {{item.name}} {{service}}\n{{>p}}");
    snprintf(set, sizeof(set),
             "files: [{template: a, each: %s, output: "
             "\"{{service}}/{{name}}.sh\", executable: true}]\n",
             each);
    put(fixture, "t/effect/set.yaml", set);
}

static int run_loop(struct fixture *fixture)
{
    char templates[100];
    snprintf(templates, sizeof(templates), "%s/t", fixture->folder);
    return run(fixture, CONTRACT_OF("{name: add}, {name: drop}"), templates);
}

static void test_a_file_for_each(void **state)
{
    static const char *const names[] = {"add", "drop"};
    struct fixture *fixture = *state;
    const struct output *output = &fixture->job.output;
    put_loop(fixture, "operations");
    if (run_loop(fixture) != 0)
        fail_msg("%s", fixture->error.text);
    assert_int_equal(output->file_count, 2);
    for (size_t i = 0; i < output->file_count; i++) {
        char path[100], text[100];
        snprintf(path, sizeof(path), "node_shop_cart_effect/cart/%s.sh",
                 names[i]);
        snprintf(text, sizeof(text), "%s %s cart\n[cart]\n", names[i],
                 names[i]);
        assert_string_equal(output->files[i].path, path);
        assert_string_equal(output->files[i].bytes, text);
        assert_int_equal(output->files[i].mode, 0755);
    }
    put_loop(fixture, "domain");
    refused(fixture, run_own(fixture), ERROR_DATA, "'domain' is no list");
    put_loop(fixture, "operations.name");
    refused(fixture, run_own(fixture), ERROR_DATA, "is no list");
    put_loop(fixture, "[a]");
    refused(fixture, run_own(fixture), ERROR_DATA, "set.yaml:1:9: a file");
}

static void test_bad_templates(void **state)
{
    struct fixture *fixture = *state;
    put_templates(fixture, "../x", "text\n");
    refused(fixture, run_own(fixture), ERROR_NOT_ALLOWED, "has '..'");
    put_templates(fixture, "/etc/x", "text\n");
    refused(fixture, run_own(fixture), ERROR_NOT_ALLOWED, "is absolute");
    put_templates(fixture, "x", "line\n  {{#open}}\n");
    refused(fixture, run_own(fixture), ERROR_DATA, "effect/a.mustache:2");
    put_templates(fixture, "x", "{{no_such_name}}\n");
    refused(fixture, run_own(fixture), ERROR_DATA, "no_such_name");
    put_templates(fixture, "x", "{{>p}}\n");
    put(fixture, "t/effect/partials/p.mustache", "{{>p}}\n");
    refused(fixture, run_own(fixture), ERROR_DATA, "p");
    put(fixture, "t/effect/set.yaml", "files: [{template: a, ouput: b}]\n");
    refused(fixture, run_own(fixture), ERROR_DATA, "unknown key 'ouput'");
    put(fixture, "t/effect/set.yaml", "files: [{template: b, output: b}]\n");
    refused(fixture, run_own(fixture), ERROR_NO_INPUT, "b.mustache");
    put(fixture, "t/effect/set.yaml",
        "files: [{template: ../../b, output: b}]\n");
    refused(fixture, run_own(fixture), ERROR_NOT_ALLOWED, "..");
    assert_int_equal(access(at(fixture, "out/.tidemill"), F_OK), -1);
}

static void test_placeholders(void **state)
{
    struct fixture *fixture = *state;
    put_templates(fixture, "x", "");
    put(fixture, "t/effect/set.yaml",
        "files: [{template: a, output: \"{{service}}.txt\", "
        "syntax: placeholder}]\n");
    put(fixture, "t/effect/a.mustache",
        "{NODE_TYPE} {DOMAIN} {DOMAIN_PASCAL} {MICROSERVICE_NAME} "
        "{MICROSERVICE_NAME_PASCAL}({MIXIN_INHERITANCE})\n"
        "{BUSINESS_DESCRIPTION}\n{OPERATIONS}\n[{FEATURES}]\n"
        "    {BUSINESS_LOGIC_STUB}\n{major: 1} {} {OURS} {{service}}\n");
    assert_int_equal(run_own(fixture), 0);
    assert_string_equal(fixture->job.output.files[0].path,
                        "node_shop_cart_effect/cart.txt");
    assert_string_equal(fixture->job.output.files[0].bytes,
                        "EFFECT shop Shop cart Cart()\nKeeps what is bought\n"
                        "- add\n[]\n    raise NotImplementedError\n"
                        "{major: 1} {} {OURS} {{service}}\n");
    put(fixture, "t/effect/set.yaml",
        "files: [{template: a, output: b, syntax: jinja}]\n");
    refused(fixture, run_own(fixture), ERROR_DATA, "1:42: no such syntax");
}

static void test_an_empty_path_leaves_a_file_out(void **state)
{
    struct fixture *fixture = *state;
    put_templates(fixture, "{{#is_reducer}}x{{/is_reducer}}", "text\n");
    assert_int_equal(run_own(fixture), 0);
    assert_int_equal(fixture->job.output.file_count, 0);
}

static void test_bad_specifications(void **state)
{
    struct fixture *fixture = *state;
    static const char *const rows[] = {
        "", "[]", "{}", "{\"contract\": 1}",
        "{\"contract\": \"/a\", \"contract_text\": [], \"output\": \"/b\"}"};
    const struct render_world world = {fixture->cache, "/nowhere", ""};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int result =
            render_job_run(&world, rows[i], strlen(rows[i]), &fixture->arena,
                           &fixture->job, &fixture->error);
        refused(fixture, result, ERROR_DATA, "the job's specification");
    }
    refused(fixture, run(fixture, "node_type: X\n", "/nowhere"), ERROR_DATA,
            "/c/cart.yaml:1:12");
    refused(fixture, run(fixture, CONTRACT, "/nowhere"), ERROR_NO_INPUT,
            "/nowhere");
}

static void test_the_report(void **state)
{
    struct fixture *fixture = *state;
    char kind[] = "render";
    const char *outcome;
    struct job job = {.id = 17, .attempt = 1, .kind = kind};
    struct reporter reporter = {
        .slot = 1, .spawn = 2, .worker_count = 4, .max_retries = 1};
    put_templates(fixture, "x", "text\n");
    assert_int_equal(run_own(fixture), 0);
    struct report *report = report_new(&reporter, &job, &fixture->job, NULL,
                                       &fixture->error, 1500, &outcome);
    assert_non_null(report);
    assert_string_equal(outcome, "done");
    assert_int_equal(report->call_count, 2);
    for (size_t i = 0; i < report->call_count; i++)
        assert_int_equal(
            report->calls[i].argument_count,
            strlen(statement_arguments(report->calls[i].statement)));
    report_free(&report);
    error_set(&fixture->error, ERROR_FULL, "no space");
    report = report_new(&reporter, &job, &fixture->job, NULL, &fixture->error,
                        1, &outcome);
    assert_string_equal(outcome, "retry");
    assert_int_equal(report->call_count, 1);
    report_free(&report);
    job.attempt = 2;
    report = report_new(&reporter, &job, &fixture->job, NULL, &fixture->error,
                        1, &outcome);
    assert_string_equal(outcome, "failed");
    assert_int_equal(report->call_count, 1);
    report_free(&report);
}

static void test_claims_grow_and_shrink(void **state)
{
    (void)state;
    struct claim_size claim;
    claim_size_init(&claim);
    assert_int_equal(claim_size_wanted(&claim, 0), 1);
    for (unsigned i = 0; i < 10; i++)
        claim_size_answer(&claim, claim_size_wanted(&claim, 0),
                          claim_size_wanted(&claim, 0));
    assert_int_equal(claim_size_wanted(&claim, 0), CLAIM_MOST);
    assert_int_equal(claim_size_wanted(&claim, CLAIM_MOST), 0);
    claim_size_job(&claim, CLAIM_WORK_US / 4, 100);
    assert_int_equal(claim_size_wanted(&claim, 0), 4);
    assert_int_equal(claim_size_wanted(&claim, 3), 0);
    claim_size_answer(&claim, 4, 0);
    assert_int_equal(claim.size, CLAIM_MOST / 2);
    for (unsigned i = 0; i < 40; i++)
        claim_size_job(&claim, 1, 2u << 20);
    assert_int_equal(claim_size_wanted(&claim, 0), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_real_templates),
        TEST(test_the_manuals_contract),
        TEST(test_the_manuals_set),
        TEST(test_changed_templates_are_noticed),
        TEST(test_a_file_for_each),
        TEST(test_bad_templates),
        TEST(test_placeholders),
        TEST(test_an_empty_path_leaves_a_file_out),
        TEST(test_bad_specifications),
        TEST(test_the_report),
        cmocka_unit_test(test_claims_grow_and_shrink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
