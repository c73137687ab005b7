/* SPDX-License-Identifier: Apache-2.0
 *
 * A job of which nothing changed does nothing, and whatever changed is
 * noticed: each row is done by jobs that remember and by jobs that do not,
 * which must come to the same.
 */
#include <fcntl.h>
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

#include "common/generation/output_seen.h"
#include "common/generation/template_cache.h"
#include "workers/generation/render_job.h"

#define CONTRACT CONTRACT_OF("Keeps what is bought", "")
#define CONTRACT_OF(words, mixins)                                             \
    "node_type: EFFECT\n"                                                      \
    "domain: shop\n"                                                           \
    "service: cart\n"                                                          \
    "description: " words "\n"                                                 \
    "version: {major: 1, minor: 2, patch: 3}\n"                                \
    "operations: [{name: add}]\n" mixins                                       \
    "models: {input: [{name: price, type: float}], output: []}\n"
#define NODE      "node_shop_cart_effect"
#define FILE_PATH "out/" NODE "/v/a.py"
#define SEEN_PATH "out/.tidemill/" NODE ".seen"
#define MANIFEST  "out/.tidemill/" NODE ".json"

/* What a job is given. */
struct given {
    const char *program, *contract, *text, *output, *templates, *options;
    const char *node; /* NULL: it is not said */
};

static const struct given usual = {"this", "/c/cart.yaml", CONTRACT, "out",
                                   "t",    "{}",           NODE};

struct fixture {
    char folder[64];
    struct template_cache *cache;
    struct arena arena;
    struct render_job job;
    struct error error;
};

/* What came of a job. */
struct outcome {
    int result;
    enum error_code code;
    size_t file_count;
    size_t counts[OUTPUT_CHANGE_COUNT];
    bool seen;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    strcpy(fixture->folder, "/tmp/tidemill-seen-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    assert_int_equal(chdir(fixture->folder), 0);
    fixture->cache = template_cache_new(NULL, &fixture->error);
    assert_non_null(fixture->cache);
    arena_init(&fixture->arena, 64u << 20);
    *state = fixture;
    return 0;
}

static void shell(const char *command)
{
    if (system(command) != 0)
        fail_msg("%s", command);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    shell("rm -rf ./* && rmdir \"$PWD\"");
    template_cache_free(&fixture->cache);
    arena_deinit(&fixture->arena);
    free(fixture);
    return 0;
}

static struct outcome run(struct fixture *fixture, const struct given *given)
{
    struct buffer spec;
    struct outcome outcome = {.result = 0};
    char templates[100];
    buffer_init(&spec, 1u << 20);
    buffer_printf(
        &spec, "{\"contract\": \"%s\", \"contract_text\": ", given->contract);
    buffer_append_json(&spec, given->text, strlen(given->text));
    if (given->node != NULL)
        buffer_printf(&spec, ", \"node\": \"%s\"", given->node);
    buffer_printf(&spec, ", \"output\": \"%s/%s\", \"options\": %s}",
                  fixture->folder, given->output, given->options);
    snprintf(templates, sizeof(templates), "%s/%s", fixture->folder,
             given->templates);
    const struct render_world world = {fixture->cache, templates,
                                       given->program};
    arena_reset(&fixture->arena);
    template_cache_begin(fixture->cache);
    outcome.result =
        render_job_run(&world, spec.bytes, spec.size, &fixture->arena,
                       &fixture->job, &fixture->error);
    buffer_deinit(&spec);
    const struct output *output = &fixture->job.output;
    outcome.code = fixture->error.code;
    if (outcome.result == 0) {
        outcome.file_count = output->file_count;
        memcpy(outcome.counts, output->counts, sizeof(outcome.counts));
        outcome.seen = output->files[0].bytes == NULL;
    }
    return outcome;
}

/* A set of two files and a partial, and the mixins' set; nothing was
 * generated. */
static void begin(void)
{
    shell("rm -rf ./* && mkdir -p t/effect/partials t/mixins t/shared/partials"
          " && printf 'files:\\n  - {template: a, output: v/a.py}\\n"
          "  - {template: b, output: v/w/b.sh, executable: true}\\n'"
          " > t/effect/set.yaml && echo '# "
          "{{#description}}{{text}}{{/description}} {{>p}}'"
          " > t/effect/a.mustache && echo b > t/effect/b.mustache"
          " && echo '[{{service}}]' > t/effect/partials/p.mustache"
          " && printf 'files:\\n  - {template: m, output: v/m.py}\\n'"
          " > t/mixins/set.yaml && echo m > t/mixins/m.mustache"
          " && cp -r t other");
}

struct row {
    const char *command; /* changes something */
    struct given given;  /* of the job then: what is NULL is as it was */
    bool still_seen;     /* nothing that matters */
};

static const struct given *changed(const struct row *row, const char *program,
                                   struct given *given)
{
    const struct given *is = &row->given;
    bool forgets = program[0] == '\0';
    *given = (struct given){
        .program = is->program != NULL && !forgets ? is->program : program,
        .contract = is->contract != NULL ? is->contract : usual.contract,
        .text = is->text != NULL ? is->text : usual.text,
        .output = is->output != NULL ? is->output : usual.output,
        .templates = is->templates != NULL ? is->templates : usual.templates,
        .options = is->options != NULL ? is->options : usual.options,
        .node = is->node == NULL      ? usual.node
                : is->node[0] == '\0' ? NULL
                                      : is->node,
    };
    return given;
}

static struct outcome run_row(struct fixture *fixture, const struct row *row,
                              const char *program)
{
    struct given given = usual;
    given.program = program;
    begin();
    struct outcome first = run(fixture, &given);
    if (first.result != 0)
        fail_msg("%s", fixture->error.text);
    assert_int_equal(first.counts[OUTPUT_CREATED], 2);
    struct outcome second = run(fixture, &given);
    assert_int_equal(second.counts[OUTPUT_UNCHANGED], 2);
    assert_int_equal(second.seen, program[0] != '\0');
    if (row->command != NULL)
        shell(row->command);
    return run(fixture, changed(row, program, &given));
}

static const struct row rows[] = {
    {.still_seen = true},
    {.given = {.node = ""}, .still_seen = true},
    {.command = "touch out out/" NODE " && ln -s /etc/passwd out/own",
     .still_seen = true},
    /* what the job is given */
    {.given = {.program = "another"}},
    {.given = {.contract = "/d/cart.yaml"}},
    {.given = {.text = CONTRACT_OF("Keeps what is sold. ", "")}},
    {.given = {.text = CONTRACT "# end\n"}},
    {.given = {.text = CONTRACT_OF("Keeps", "mixins: [Retry]\n")}},
    {.given = {.output = "out2"}},
    {.given = {.templates = "other"}},
    {.given = {.options = "{\"force\": true}"}},
    {.given = {.options = "{\"merge\": true}"}},
    {.given = {.node = "node_shop_other_effect"}},
    {.given = {.node = "../" NODE}},
    /* templates */
    {.command = "echo '# {{#description}}{{text}}{{/description}}; {{>p}}' > "
                "t/effect/a.mustache"},
    {.command = "echo '({{service}})' > t/effect/partials/p.mustache"},
    {.command = "echo > t/shared/partials/new.mustache"},
    {.command = "rm t/effect/partials/p.mustache"},
    {.command = "sed -i s/v.w/v/ t/effect/set.yaml"},
    {.command = "sed -i s/true/false/ t/effect/set.yaml"},
    /* files */
    {.command = "echo '# mine' >> " FILE_PATH},
    {.command = "printf X | dd conv=notrunc status=none of=" FILE_PATH},
    {.command = "cp -p " FILE_PATH " x && printf X | dd conv=notrunc "
                "status=none of=" FILE_PATH " && touch -r x " FILE_PATH},
    {.command = "cp -p " FILE_PATH " x && mv x " FILE_PATH},
    {.command = "rm " FILE_PATH},
    {.command = ": > " FILE_PATH},
    {.command = "chmod u+x " FILE_PATH},
    {.command = "chmod g+w " FILE_PATH},
    {.command = "touch " FILE_PATH},
    {.command = "mv " FILE_PATH " x && ln -s ../../../x " FILE_PATH},
    {.command = "rm " FILE_PATH " && mkfifo " FILE_PATH},
    {.command = "rm " FILE_PATH " && mkdir " FILE_PATH},
    {.command = "mv out/" NODE "/v x && ln -s ../../x out/" NODE "/v"},
    {.command = "mv out/" NODE "/v/w x && ln -s ../../../x out/" NODE "/v/w"},
    {.command = "mv out/" NODE " x && ln -s ../x out/" NODE},
    {.command = "rm -r out/" NODE},
    {.command = "cp -a out x && rm -r out && mv x out"},
    /* what stands beside them */
    {.command = "rm " MANIFEST},
    {.command = "sed -i s/0644/0600/ " MANIFEST},
    {.command = "echo > " MANIFEST},
    {.command = "cp -p " MANIFEST " x && mv x " MANIFEST},
    {.command = "cp " MANIFEST " out/.tidemill/.tidemill-new-" NODE ".json"},
    {.command = "mv out/.tidemill x && ln -s ../x out/.tidemill"},
    {.command = "rm " SEEN_PATH},
    {.command = ": > " SEEN_PATH},
    {.command = "cp " SEEN_PATH " x && head -c -4 x > " SEEN_PATH},
    {.command = "cp " SEEN_PATH " x && head -n -1 x > " SEEN_PATH},
    {.command = "cp " SEEN_PATH " x && head -c 100 x > " SEEN_PATH},
    {.command = "chmod g+w " SEEN_PATH},
    {.command = "mv " SEEN_PATH " x && ln -s ../../x " SEEN_PATH},
    {.command = "rm " SEEN_PATH " && mkfifo " SEEN_PATH},
    /* the clock was set; another device has its number */
    {.command = "sed -i '1s/seen 1 [0-9a-f]*/seen 1 17/' " SEEN_PATH},
    {.command = "sed -i '1s/ [0-9a-f]* \\([0-9a-f]*\\)$/ 1 \\1/' " SEEN_PATH},
};

/* Jobs that do not remember have no such file to lose. */
static bool is_about_seen(const struct row *row)
{
    return row->command != NULL && strstr(row->command, ".seen") != NULL;
}

static void test_all_changes_are_noticed(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *what = rows[i].command == NULL ? "" : rows[i].command;
        struct outcome is = run_row(fixture, &rows[i], "this");
        if (is.seen != rows[i].still_seen)
            fail_msg("row %zu: %s: seen %d", i, what, is.seen);
        if (is_about_seen(&rows[i])) {
            assert_int_equal(is.counts[OUTPUT_UNCHANGED], 2);
            continue;
        }
        struct outcome must = run_row(fixture, &rows[i], "");
        must.seen = is.seen;
        if (memcmp(&is, &must, sizeof(is)) != 0)
            fail_msg("row %zu: %s: result %d %s, %zu unchanged, not %d, %zu", i,
                     what, is.result, fixture->error.text,
                     is.counts[OUTPUT_UNCHANGED], must.result,
                     must.counts[OUTPUT_UNCHANGED]);
    }
}

/* What is written in the moment after the job is not taken for the job's. */
static void test_what_is_saved_at_once(void **state)
{
    struct fixture *fixture = *state;
    begin();
    for (int i = 0; i < 200; i++) {
        shell("rm -rf out");
        assert_int_equal(run(fixture, &usual).counts[OUTPUT_CREATED], 2);
        FILE *file = fopen(FILE_PATH, "r+");
        assert_non_null(file);
        fputc('X', file);
        fclose(file);
        assert_int_equal(run(fixture, &usual).counts[OUTPUT_KEPT], 1);
    }
}

static void take_written(struct output_seen *seen, const char *name,
                         size_t size, unsigned mode, int64_t stamp_ns)
{
    struct file_identity identity;
    file_identity_look_at(AT_FDCWD, name, &identity);
    seen_take_written(seen, &identity, size, mode, stamp_ns);
}

/* The mtime is no witness: it was not the job that gave it, or the file
 * system does not keep it; then only time tells. */
static void test_what_is_uncertain(void **state)
{
    (void)state;
    struct output_seen seen;
    struct file_identity identity;
    int64_t stamp_ns = seen_stamp_ns();
    assert_true(stamp_ns % 1000 != 0);
    shell("rm -rf ./* && printf abc > f && ln -s f l");
    take_written(&seen, "f", 3, 0644, stamp_ns);
    assert_false(seen.certain);
    const struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = stamp_ns / 1000000000, .tv_nsec = stamp_ns % 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, "f", times, 0), 0);
    take_written(&seen, "f", 3, 0644, stamp_ns);
    assert_true(seen.certain);
    take_written(&seen, "f", 4, 0644, stamp_ns);
    assert_false(seen.certain);
    take_written(&seen, "f", 3, 0755, stamp_ns);
    assert_false(seen.certain);
    take_written(&seen, "l", 3, 0644, stamp_ns);
    assert_false(seen.certain);
    file_identity_look_at(AT_FDCWD, "f", &identity);
    seen_take_read(&seen, &identity);
    assert_false(seen.certain);
    identity.looked_ns = identity.changed_ns + FILE_SETTLED_NS;
    seen_take_read(&seen, &identity);
    assert_true(seen.certain);
    identity.looked_ns--;
    seen_take_read(&seen, &identity);
    assert_false(seen.certain);
}

/* Files that nobody has touched for long are remembered by a job that found
 * them as it would write them; those kept for a person never are. */
static void test_what_was_there(void **state)
{
    struct fixture *fixture = *state;
    begin();
    assert_int_equal(run(fixture, &usual).result, 0);
    shell("rm " SEEN_PATH);
    struct outcome outcome = run(fixture, &usual);
    assert_false(outcome.seen); /* and too young, now */
    for (int i = 0; i < 1000 && !outcome.seen; i++) {
        usleep(10000);
        outcome = run(fixture, &usual);
    }
    assert_true(outcome.seen);
    assert_string_equal(fixture->job.node_type, "EFFECT");
    assert_string_equal(fixture->job.output.node, NODE);
    assert_string_equal(fixture->job.output.template_set, "effect");
    assert_string_equal(fixture->job.output.files[0].path, NODE "/v/a.py");
    shell("echo >> " FILE_PATH);
    for (int i = 0; i < 3; i++) {
        outcome = run(fixture, &usual);
        assert_false(outcome.seen);
        assert_int_equal(outcome.counts[OUTPUT_KEPT], 1);
    }
}

static void test_the_program(void **state)
{
    (void)state;
    char one[SEEN_PROGRAM_SIZE], two[SEEN_PROGRAM_SIZE];
    seen_program(one);
    seen_program(two);
    assert_string_equal(one, two);
    if (access("/proc/self/exe", F_OK) == 0)
        assert_true(strlen(one) > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_changes_are_noticed),
        cmocka_unit_test(test_what_is_saved_at_once),
        cmocka_unit_test(test_what_is_uncertain),
        cmocka_unit_test(test_what_was_there),
        cmocka_unit_test(test_the_program),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
