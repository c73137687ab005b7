/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiled templates that processes share, and when they are compiled anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/generation/template_programs.h"
#include "common/shm/mapping.h"

struct fixture {
    char folder[64];
    char path[200];
    struct mapping *mapping;
    struct template_programs *one, *other; /* two processes */
    struct error error;
};

static struct template_programs *programs_of(struct fixture *f, unsigned holder)
{
    const struct template_sharing sharing = {
        .region = mapping_templates(f->mapping),
        .holder = holder,
        .template_dir = f->folder,
        .keeps_news = true,
    };
    return template_programs_new(&sharing, &f->error);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    strcpy(f->folder, "/tmp/tidemill-templates-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/a.mustache", f->folder);
    f->mapping = mapping_new(&f->error);
    assert_non_null(f->mapping);
    metrics_use(&f->mapping->metrics, 5);
    cache_limit(mapping_templates(f->mapping), 100, 50000000, 0);
    f->one = programs_of(f, 5);
    f->other = programs_of(f, 6);
    assert_true(f->one != NULL && f->other != NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    metrics_use(NULL, 0);
    template_programs_free(&f->one);
    template_programs_free(&f->other);
    mapping_free(&f->mapping);
    unlink(f->path);
    rmdir(f->folder);
    free(f);
    return 0;
}

static void write_file(struct fixture *f, const char *text)
{
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static bool get(struct fixture *f, struct template_programs *programs,
                const char *expected)
{
    bool hit;
    struct buffer out;
    struct arena arena;
    struct node data = {.kind = NODE_MAP};
    const struct mustache_options options = {.escape = MUSTACHE_ESCAPE_NONE};
    const struct template_program *got = template_programs_get(
        programs, MUSTACHE_SYNTAX_MUSTACHE, f->path, &hit, &f->error);
    assert_non_null(got);
    buffer_init(&out, 10000);
    arena_init(&arena, 10000);
    assert_int_equal(
        mustache_execute(got->program, &data, &options, &out, &f->error), 0);
    assert_string_equal(out.bytes, expected);
    assert_int_equal(strlen(got->sha256), 64);
    buffer_deinit(&out);
    arena_deinit(&arena);
    return hit;
}

/* As a worker asks that has just claimed. */
static bool get_anew(struct fixture *f, struct template_programs *programs,
                     const char *expected)
{
    template_programs_begin(programs);
    return get(f, programs, expected);
}

static int64_t counted(struct fixture *f, enum metric metric)
{
    mapping_measure(f->mapping);
    return metrics_total(&f->mapping->metrics, metric);
}

static void compiled_once_for_all(void **state)
{
    struct fixture *f = *state;
    write_file(f, "one{{x}}");
    assert_false(get(f, f->one, "one"));
    assert_true(get(f, f->one, "one"));
    assert_true(get(f, f->other, "one"));
    assert_true(get_anew(f, f->one, "one"));
    assert_int_equal(counted(f, METRIC_TEMPLATE_MISSES), 1);
    assert_int_equal(counted(f, METRIC_TEMPLATE_HITS), 3);
    assert_int_equal(counted(f, METRIC_TEMPLATE_ITEMS), 1);
    assert_int_equal(counted(f, METRIC_TEMPLATE_INVALIDATIONS), 0);
}

static void a_change_is_noticed_in_the_next_round(void **state)
{
    struct fixture *f = *state;
    write_file(f, "one");
    get(f, f->one, "one");
    get(f, f->other, "one");
    write_file(f, "two");
    assert_true(get(f, f->one, "one"));
    assert_false(get_anew(f, f->one, "two"));
    assert_true(get(f, f->other, "one")); /* its round goes on, pinned */
    assert_true(get_anew(f, f->other, "two"));
    assert_int_equal(counted(f, METRIC_TEMPLATE_INVALIDATIONS), 1);
    assert_int_equal(counted(f, METRIC_TEMPLATE_ITEMS), 1);
}

/* Written again within the same tick, to the same size, with its old times
 * put back: only the contents tell. */
static void a_change_that_does_not_show(void **state)
{
    struct fixture *f = *state;
    struct stat about;
    write_file(f, "one");
    get(f, f->one, "one");
    assert_int_equal(stat(f->path, &about), 0);
    write_file(f, "two");
    const struct timespec times[2] = {about.st_atim, about.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, f->path, times, 0), 0);
    assert_false(get_anew(f, f->one, "two"));
}

static void a_touched_file_is_the_same(void **state)
{
    struct fixture *f = *state;
    write_file(f, "one");
    get(f, f->one, "one");
    assert_int_equal(utimensat(AT_FDCWD, f->path, NULL, 0), 0);
    assert_true(get_anew(f, f->one, "one"));
    assert_int_equal(chmod(f->path, 0600), 0);
    assert_true(get_anew(f, f->other, "one"));
    assert_int_equal(counted(f, METRIC_TEMPLATE_MISSES), 1);
    assert_int_equal(counted(f, METRIC_TEMPLATE_INVALIDATIONS), 0);
}

static void what_is_old_is_compiled_anew(void **state)
{
    struct fixture *f = *state;
    write_file(f, "one");
    get(f, f->one, "one");
    cache_limit(mapping_templates(f->mapping), 100, 50000000, 1);
    const struct timespec pause = {0, 3000000};
    nanosleep(&pause, NULL);
    assert_false(get_anew(f, f->one, "one"));
    assert_int_equal(counted(f, METRIC_TEMPLATE_INVALIDATIONS), 1);
}

static void switched_off_it_goes_on(void **state)
{
    struct fixture *f = *state;
    write_file(f, "one");
    get(f, f->one, "one");
    cache_limit(mapping_templates(f->mapping), 0, 50000000, 0);
    assert_false(get_anew(f, f->one, "one"));
    assert_true(get(f, f->one, "one")); /* for this round */
    assert_false(get_anew(f, f->one, "one"));
    assert_int_equal(counted(f, METRIC_TEMPLATE_ITEMS), 0);
}

static void a_lowered_bound_is_kept(void **state)
{
    struct fixture *f = *state;
    write_file(f, "one");
    get(f, f->one, "one");
    template_programs_begin(f->one);
    cache_limit(mapping_templates(f->mapping), 100, 10, 0);
    template_programs_begin(f->other);
    assert_int_equal(counted(f, METRIC_TEMPLATE_ITEMS), 0);
    assert_int_equal(counted(f, METRIC_TEMPLATE_EVICTIONS), 1);
}

static void errors_name_the_file(void **state)
{
    struct fixture *f = *state;
    bool hit;
    write_file(f, "{{#a}}");
    assert_null(template_programs_get(f->one, MUSTACHE_SYNTAX_MUSTACHE, f->path,
                                      &hit, &f->error));
    assert_non_null(strstr(f->error.text, f->path));
    write_file(f, "one");
    assert_false(get(f, f->one, "one"));
    unlink(f->path);
    template_programs_begin(f->one);
    assert_null(template_programs_get(f->one, MUSTACHE_SYNTAX_MUSTACHE, f->path,
                                      &hit, &f->error));
    assert_int_equal(f->error.code, ERROR_NO_INPUT);
    assert_int_equal(counted(f, METRIC_TEMPLATE_ITEMS), 0);
}

static void syntaxes_are_apart(void **state)
{
    struct fixture *f = *state;
    bool hit;
    write_file(f, "{X}{{x}}");
    assert_false(get(f, f->one, "{X}"));
    assert_non_null(template_programs_get(f->one, MUSTACHE_SYNTAX_PLACEHOLDER,
                                          f->path, &hit, &f->error));
    assert_false(hit);
    assert_int_equal(counted(f, METRIC_TEMPLATE_ITEMS), 2);
}

static void news_are_told_once(void **state)
{
    struct fixture *f = *state;
    struct buffer json;
    char expected[600];
    buffer_init(&json, 10000);
    write_file(f, "one");
    assert_false(template_programs_have_news(f->one));
    get(f, f->one, "one");
    get(f, f->one, "one");
    get(f, f->one, "one");
    template_programs_begin(f->one);
    assert_true(template_programs_have_news(f->one));
    template_programs_take_news(f->one, 10, &json);
    snprintf(expected, sizeof(expected), "[[\"a\",\"node\",\"m%s\",\"%s\",\"",
             f->path, f->path);
    assert_memory_equal(json.bytes, expected, strlen(expected));
    assert_non_null(strstr(json.bytes, ",2,1]]"));
    assert_false(template_programs_have_news(f->one));
    buffer_deinit(&json);
}

static void names_and_types(void **state)
{
    static const struct {
        const char *path, *name, *type;
    } rows[] = {
        {"/t/effect/node.py.mustache", "effect/node.py", "node"},
        {"/t/effect/test_node.py.mustache", "effect/test_node.py", "test"},
        {"/t/shared/tests/init.py.mustache", "shared/tests/init.py", "test"},
        {"/t/shared/contract.yaml.mustache", "shared/contract.yaml",
         "contract"},
        {"/t/shared/models/contract.py.mustache", "shared/models/contract.py",
         "subcontract"},
        {"/t/mixins/retry.py.mustache", "mixins/retry.py", "mixin"},
        {"/other/effect/node.py.mustache", "/other/effect/node.py", "node"},
        {"/top/node.py", "/top/node.py", "node"},
    };
    char name[TEMPLATE_NAME_MAX], path[500];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(template_name("/t", rows[i].path, name),
                            rows[i].name);
        assert_string_equal(template_type(name), rows[i].type);
    }
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[499] = '\0';
    assert_int_equal(strlen(template_name("/t", path, name)),
                     TEMPLATE_NAME_MAX - 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(compiled_once_for_all),
        TEST(a_change_is_noticed_in_the_next_round),
        TEST(a_change_that_does_not_show),
        TEST(a_touched_file_is_the_same),
        TEST(what_is_old_is_compiled_anew),
        TEST(switched_off_it_goes_on),
        TEST(a_lowered_bound_is_kept),
        TEST(errors_name_the_file),
        TEST(syntaxes_are_apart),
        TEST(news_are_told_once),
        cmocka_unit_test(names_and_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
