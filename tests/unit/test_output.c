/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/generation/manifest.h"
#include "common/generation/output.h"
#include "common/generation/safe_path.h"
#include "tests/unit/killed_at.h"

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct fixture {
    char folder[64];
    char path[300];
    struct output output;
    struct output_file files[2];
    struct arena arena; /* for merged texts */
    struct error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    strcpy(fixture->folder, "/tmp/tidemill-output-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    arena_init(&fixture->arena, 1u << 20);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char command[100];
    snprintf(command, sizeof(command), "rm -rf %s", fixture->folder);
    assert_int_equal(system(command), 0);
    arena_deinit(&fixture->arena);
    free(fixture);
    return 0;
}

static const char *at(struct fixture *fixture, const char *name)
{
    snprintf(fixture->path, sizeof(fixture->path), "%s/%s", fixture->folder,
             name);
    return fixture->path;
}

static bool is_file(struct fixture *fixture, const char *name)
{
    return access(at(fixture, name), F_OK) == 0;
}

static void put(struct fixture *fixture, const char *name, const char *text)
{
    FILE *file = fopen(at(fixture, name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void expect(struct fixture *fixture, const char *name, const char *text)
{
    char bytes[1000] = "";
    FILE *file = fopen(at(fixture, name), "r");
    assert_non_null(file);
    bytes[fread(bytes, 1, sizeof(bytes) - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(bytes, text);
}

static struct output *make(struct fixture *fixture, const char *first,
                           const char *second)
{
    fixture->files[0] = (struct output_file){.path = "node_a/v1/one.py",
                                             .bytes = first,
                                             .size = strlen(first),
                                             .mode = 0644,
                                             .template_name = "one"};
    fixture->files[1] = (struct output_file){.path = "node_a/two.sh",
                                             .bytes = second,
                                             .size = strlen(second),
                                             .mode = 0755,
                                             .template_name = "two"};
    fixture->output = (struct output){.directory = fixture->folder,
                                      .node = "node_a",
                                      .contract = "/c/a.yaml",
                                      .contract_sha256 = SHA_A,
                                      .template_set = "effect",
                                      .template_hash = SHA_B,
                                      .arena = &fixture->arena,
                                      .files = fixture->files,
                                      .file_count = 2};
    return &fixture->output;
}

static void write_ok(struct fixture *fixture, struct output *output)
{
    if (output_write(output, &fixture->error) != 0)
        fail_msg("%s", fixture->error.text);
}

static void refused(struct fixture *fixture, struct output *output,
                    enum error_code code, const char *words)
{
    assert_int_equal(output_write(output, &fixture->error), -1);
    if (fixture->error.code != code ||
        strstr(fixture->error.text, words) == NULL)
        fail_msg("expected \"%s\": %s", words, fixture->error.text);
}

static void test_created_unchanged_changed(void **state)
{
    struct fixture *fixture = *state;
    struct stat before, after;
    struct output *output = make(fixture, "1\n", "2\n");
    assert_int_equal(output_plan(output, &fixture->error), 0);
    assert_int_equal(output->counts[OUTPUT_CREATED], 2);
    assert_int_equal(access(at(fixture, "node_a"), F_OK), -1);
    write_ok(fixture, output);
    expect(fixture, "node_a/v1/one.py", "1\n");
    assert_int_equal(stat(at(fixture, "node_a/two.sh"), &before), 0);
    assert_true((before.st_mode & 0100) != 0);
    const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, at(fixture, "node_a/two.sh"), old, 0),
                     0);
    assert_int_equal(
        utimensat(AT_FDCWD, at(fixture, ".tidemill/node_a.json"), old, 0), 0);
    output = make(fixture, "1\n", "2\n");
    write_ok(fixture, output);
    assert_int_equal(output->counts[OUTPUT_UNCHANGED], 2);
    assert_int_equal(stat(at(fixture, ".tidemill/node_a.json"), &after), 0);
    assert_int_equal(after.st_mtim.tv_sec, 1000);
    output = make(fixture, "changed\n", "2\n");
    write_ok(fixture, output);
    assert_int_equal(output->counts[OUTPUT_CHANGED], 1);
    assert_int_equal(output->counts[OUTPUT_UNCHANGED], 1);
    expect(fixture, "node_a/v1/one.py", "changed\n");
    assert_int_equal(stat(at(fixture, "node_a/two.sh"), &after), 0);
    assert_int_equal(after.st_mtim.tv_sec, 1000);
}

static void test_edits_are_kept(void **state)
{
    struct fixture *fixture = *state;
    struct buffer words;
    write_ok(fixture, make(fixture, "1\n", "2\n"));
    put(fixture, "node_a/v1/one.py", "mine\n");
    struct output *output = make(fixture, "new\n", "2\n");
    write_ok(fixture, output);
    assert_int_equal(output->counts[OUTPUT_KEPT], 1);
    expect(fixture, "node_a/v1/one.py", "mine\n");
    buffer_init(&words, 1000);
    output_summary(output, false, &words);
    assert_non_null(strstr(words.bytes, "kept       node_a/v1/one.py\n"));
    buffer_deinit(&words);
    output = make(fixture, "newer\n", "2\n");
    write_ok(fixture, output); /* still known as edited */
    assert_int_equal(output->counts[OUTPUT_KEPT], 1);
    output = make(fixture, "newer\n", "2\n");
    output->force = true;
    write_ok(fixture, output);
    expect(fixture, "node_a/v1/one.py", "newer\n");
}

static void test_what_was_removed_stays_so(void **state)
{
    struct fixture *fixture = *state;
    write_ok(fixture, make(fixture, "1\n", "2\n"));
    assert_int_equal(unlink(at(fixture, "node_a/two.sh")), 0);
    struct output *output = make(fixture, "1\n", "new\n");
    write_ok(fixture, output);
    assert_int_equal(output->counts[OUTPUT_GONE], 1);
    assert_false(is_file(fixture, "node_a/two.sh"));
    output = make(fixture, "1\n", "newer\n");
    write_ok(fixture, output); /* it is remembered */
    assert_int_equal(output->counts[OUTPUT_GONE], 1);
    output = make(fixture, "1\n", "newer\n");
    output->force = true;
    write_ok(fixture, output);
    expect(fixture, "node_a/two.sh", "newer\n");
}

#define LINES_12 "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n"

static void test_edits_are_merged(void **state)
{
    struct fixture *fixture = *state;
    write_ok(fixture, make(fixture, LINES_12, "2\n"));
    put(fixture, "node_a/v1/one.py", LINES_12 "mine\n");
    struct output *output = make(fixture, "0\n" LINES_12, "2\n");
    output->merge = true;
    write_ok(fixture, output);
    assert_int_equal(output->counts[OUTPUT_MERGED], 1);
    expect(fixture, "node_a/v1/one.py", "0\n" LINES_12 "mine\n");
    output = make(fixture, "0\n" LINES_12, "2\n");
    write_ok(fixture, output); /* it is edited still */
    assert_int_equal(output->counts[OUTPUT_KEPT], 1);
    output = make(fixture, "-1\n0\n" LINES_12, "2\n");
    output->merge = true;
    write_ok(fixture, output); /* from what was generated last */
    expect(fixture, "node_a/v1/one.py", "-1\n0\n" LINES_12 "mine\n");
    output = make(fixture, LINES_12 "theirs\n", "2\n");
    output->merge = true;
    write_ok(fixture, output);
    assert_int_equal(output->counts[OUTPUT_CONFLICT], 1);
    expect(fixture, "node_a/v1/one.py",
           LINES_12 "<<<<<<< edited by hand\nmine\n||||||| generated before\n"
                    "=======\ntheirs\n>>>>>>> generated now\n");
}

static void test_an_edit_without_its_base_is_kept(void **state)
{
    struct fixture *fixture = *state;
    write_ok(fixture, make(fixture, LINES_12, "2\n"));
    put(fixture, "node_a/v1/one.py", LINES_12 "mine\n");
    put(fixture, ".tidemill/node_a.base", "tidemill-base 1\nnonsense");
    struct output *output = make(fixture, "0\n" LINES_12, "2\n");
    output->merge = true;
    write_ok(fixture, output);
    assert_int_equal(output->counts[OUTPUT_KEPT], 1);
    expect(fixture, "node_a/v1/one.py", LINES_12 "mine\n");
}

static void test_an_empty_file_is_damage(void **state)
{
    struct fixture *fixture = *state;
    write_ok(fixture, make(fixture, "1\n", "2\n"));
    put(fixture, "node_a/v1/one.py", "");
    write_ok(fixture, make(fixture, "1\n", "2\n"));
    expect(fixture, "node_a/v1/one.py", "1\n");
}

static void test_another_contract_is_refused(void **state)
{
    struct fixture *fixture = *state;
    write_ok(fixture, make(fixture, "1\n", "2\n"));
    struct output *output = make(fixture, "x\n", "2\n");
    output->contract = "/c/other.yaml";
    output->contract_sha256 = SHA_B;
    refused(fixture, output, ERROR_NOT_ALLOWED,
            "belongs to the contract /c/a.yaml");
    expect(fixture, "node_a/v1/one.py", "1\n");
}

static void test_outside_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *path, *words;
    } rows[] = {
        {"node_a/../../etc", "has '..'"},   {"/etc/passwd", "is absolute"},
        {"node_b/x", "not below the node"}, {"node_a", "not below the node"},
        {"node_a//x", "plainly"},           {"node_a/./x", "plainly"},
        {"node_a/x\ny", "control"},         {"", "is empty"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct output *output = make(fixture, "1\n", "2\n");
        output->files[0].path = rows[i].path;
        refused(fixture, output, ERROR_NOT_ALLOWED, rows[i].words);
    }
    assert_int_equal(safe_path_check("a\0b", 3, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "NUL"));
    struct output *output = make(fixture, "1\n", "2\n");
    output->files[1].path = output->files[0].path;
    refused(fixture, output, ERROR_DATA, "two templates");
    output = make(fixture, "1\n", "2\n");
    output->directory = "relative";
    refused(fixture, output, ERROR_USAGE, "not absolute");
}

static void test_links_are_refused(void **state)
{
    struct fixture *fixture = *state;
    char outside[] = "/tmp/tidemill-outside-XXXXXX";
    assert_non_null(mkdtemp(outside));
    assert_int_equal(symlink(outside, at(fixture, "node_a")), 0);
    refused(fixture, make(fixture, "1\n", "2\n"), ERROR_NOT_ALLOWED,
            "symbolic link");
    assert_int_equal(unlink(at(fixture, "node_a")), 0);
    assert_int_equal(mkdir(at(fixture, "node_a"), 0777), 0);
    assert_int_equal(symlink(outside, at(fixture, "node_a/v1")), 0);
    refused(fixture, make(fixture, "1\n", "2\n"), ERROR_NOT_ALLOWED,
            "symbolic link");
    assert_int_equal(unlink(at(fixture, "node_a/v1")), 0);
    assert_int_equal(mkdir(at(fixture, "node_a/v1"), 0777), 0);
    assert_int_equal(symlink("/etc/hostname", at(fixture, "node_a/v1/one.py")),
                     0);
    refused(fixture, make(fixture, "1\n", "2\n"), ERROR_NOT_ALLOWED,
            "symbolic link");
    assert_int_equal(unlink(at(fixture, "node_a/v1/one.py")), 0);
    assert_int_equal(symlink(outside, at(fixture, ".tidemill")), 0);
    refused(fixture, make(fixture, "1\n", "2\n"), ERROR_NOT_ALLOWED,
            "symbolic link");
    assert_int_equal(rmdir(outside), 0); /* nothing was written there */
}

static void test_other_kinds_of_file_are_refused(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, "node_a", "a file\n");
    refused(fixture, make(fixture, "1\n", "2\n"), ERROR_NOT_ALLOWED,
            "a file stands where");
    assert_int_equal(unlink(at(fixture, "node_a")), 0);
    write_ok(fixture, make(fixture, "1\n", "2\n"));
    assert_int_equal(unlink(at(fixture, "node_a/two.sh")), 0);
    assert_int_equal(mkfifo(at(fixture, "node_a/two.sh"), 0600), 0);
    refused(fixture, make(fixture, "1\n", "2\n"), ERROR_NOT_ALLOWED,
            "no regular file");
}

static void test_what_a_dead_job_left_is_completed(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(mkdir(at(fixture, "node_a"), 0777), 0);
    put(fixture, "node_a/two.sh", "2\n");
    assert_int_equal(chmod(at(fixture, "node_a/two.sh"), 0755), 0);
    assert_int_equal(mkdir(at(fixture, "node_a/v1"), 0777), 0);
    put(fixture, "node_a/v1/.tidemill-new-one.py", "ha");
    struct output *output = make(fixture, "1\n", "2\n");
    write_ok(fixture, output);
    assert_int_equal(output->counts[OUTPUT_CREATED], 1);
    assert_int_equal(output->counts[OUTPUT_UNCHANGED], 1);
    assert_int_equal(
        access(at(fixture, "node_a/v1/.tidemill-new-one.py"), F_OK), -1);
}

static void test_the_manifest_says_it_all(void **state)
{
    struct fixture *fixture = *state;
    struct arena arena;
    struct manifest manifest;
    write_ok(fixture, make(fixture, "1\n", "2\n"));
    arena_init(&arena, 1u << 20);
    int root = safe_open_root(fixture->folder, false, &fixture->error);
    assert_true(root >= 0);
    assert_int_equal(
        manifest_read(root, "node_a", &arena, &manifest, &fixture->error), 0);
    assert_string_equal(manifest.contract, "/c/a.yaml");
    assert_int_equal(manifest.file_count, 2);
    const struct manifest_file *file =
        manifest_find(&manifest, "node_a/v1/one.py");
    assert_non_null(file);
    assert_string_equal(file->template_name, "one");
    assert_string_equal(file->sha256, "4355a46b19d348dc2f57c046f8ef63d4538ebb93"
                                      "6000f3c9ee954a27460dd865");
    put(fixture, ".tidemill/node_a.json", "{\"format\": 1");
    refused(fixture, make(fixture, "1\n", "2\n"), ERROR_DATA, "is damaged");
    close(root);
    arena_deinit(&arena);
}

static void test_an_unwritable_place_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    char long_name[300] = "node_a/v1/";
    write_ok(fixture, make(fixture, "1\n", "2\n"));
    memset(long_name + 10, 'x', 245);
    long_name[255] = '\0';
    struct output *output = make(fixture, "3\n", "4\n");
    output->files[1].path = long_name;
    refused(fixture, output, ERROR_NOT_ALLOWED, "over-long");
    expect(fixture, "node_a/v1/one.py", "1\n");
    expect(fixture, "node_a/two.sh", "2\n");
}

/* --- all or none --- */

static void expect_nothing_beside(struct fixture *fixture)
{
    char command[200];
    snprintf(command, sizeof(command),
             "! find %s -name '.tidemill-new-*' | grep .", fixture->folder);
    assert_int_equal(system(command), 0);
}

static void write_work(void *self)
{
    struct fixture *fixture = self;
    if (output_write(&fixture->output, &fixture->error) != 0)
        _exit(9);
}

static void test_a_new_node_is_whole_or_absent(void **state)
{
    struct fixture *fixture = *state;
    bool ended = false;
    unsigned nth = 0;
    for (; !ended && nth < 500; nth++) {
        char command[200];
        make(fixture, "1\n", "2\n");
        ended = killed_at(nth, write_work, fixture);
        if (is_file(fixture, "node_a")) {
            expect(fixture, "node_a/v1/one.py", "1\n");
            expect(fixture, "node_a/two.sh", "2\n");
        }
        write_ok(fixture, make(fixture, "1\n", "2\n"));
        assert_true(is_file(fixture, ".tidemill/node_a.json"));
        expect_nothing_beside(fixture);
        assert_int_equal(fixture->output.counts[OUTPUT_KEPT], 0);
        snprintf(command, sizeof(command), "rm -rf %s/node_a %s/.tidemill",
                 fixture->folder, fixture->folder);
        assert_int_equal(system(command), 0);
    }
    assert_true(ended && nth > 10);
}

/* Whatever was begun, the successor ends with files of one generation, and
 * takes none of them for somebody's edit: also when the next generation is
 * another one than that which was begun. */
static void test_a_node_that_exists_ends_in_one_generation(void **state)
{
    struct fixture *fixture = *state;
    bool ended = false;
    unsigned nth = 0;
    write_ok(fixture, make(fixture, "0\n", "0\n"));
    for (; !ended && nth < 1000; nth++) {
        char begun[32], next[32];
        snprintf(begun, sizeof(begun), "begun %u\n", nth);
        snprintf(next, sizeof(next), "next %u\n", nth);
        make(fixture, begun, begun);
        ended = killed_at(nth, write_work, fixture);
        struct output *output = nth % 2 == 0 ? make(fixture, begun, begun)
                                             : make(fixture, next, next);
        write_ok(fixture, output);
        assert_int_equal(output->counts[OUTPUT_KEPT], 0);
        expect(fixture, "node_a/v1/one.py", nth % 2 == 0 ? begun : next);
        expect(fixture, "node_a/two.sh", nth % 2 == 0 ? begun : next);
        expect_nothing_beside(fixture);
    }
    assert_true(ended && nth > 10);
}

/* Killed anywhere, the edit is in the file, once. */
static void test_a_merge_loses_no_edit(void **state)
{
    struct fixture *fixture = *state;
    bool ended = false;
    unsigned nth = 0;
    for (; !ended && nth < 1000; nth++) {
        char command[200];
        write_ok(fixture, make(fixture, LINES_12, "2\n"));
        put(fixture, "node_a/v1/one.py", LINES_12 "mine\n");
        make(fixture, "0\n" LINES_12, "3\n")->merge = true;
        ended = killed_at(nth, write_work, fixture);
        struct output *output = make(fixture, "0\n" LINES_12, "3\n");
        output->merge = true;
        write_ok(fixture, output);
        expect(fixture, "node_a/v1/one.py", "0\n" LINES_12 "mine\n");
        expect(fixture, "node_a/two.sh", "3\n");
        expect_nothing_beside(fixture);
        snprintf(command, sizeof(command), "rm -rf %s/node_a %s/.tidemill",
                 fixture->folder, fixture->folder);
        assert_int_equal(system(command), 0);
        arena_reset(&fixture->arena);
    }
    assert_true(ended && nth > 10);
}

static void test_what_cannot_be_replaced_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    char place[300];
    write_ok(fixture, make(fixture, "1\n", "2\n"));
    put(fixture, "other", "1\n");
    snprintf(place, sizeof(place), "%s", at(fixture, "node_a/v1/one.py"));
    /* A file that is a mount is there, and cannot be renamed over. */
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", "none", MS_REC | MS_PRIVATE, "") != 0 ||
        mount(at(fixture, "other"), place, "", MS_BIND, "") != 0)
        skip();
    refused(fixture, make(fixture, "3\n", "4\n"), ERROR_CANT_CREATE,
            "cannot put");
    expect(fixture, "node_a/two.sh", "2\n"); /* it came first */
    expect_nothing_beside(fixture);
    assert_int_equal(umount(place), 0);
    expect(fixture, "node_a/v1/one.py", "1\n");
    struct output *output = make(fixture, "3\n", "4\n");
    write_ok(fixture, output);
    assert_int_equal(output->counts[OUTPUT_CHANGED], 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_created_unchanged_changed),
        TEST(test_edits_are_kept),
        TEST(test_what_was_removed_stays_so),
        TEST(test_edits_are_merged),
        TEST(test_an_edit_without_its_base_is_kept),
        TEST(test_a_merge_loses_no_edit),
        TEST(test_an_empty_file_is_damage),
        TEST(test_another_contract_is_refused),
        TEST(test_outside_is_refused),
        TEST(test_links_are_refused),
        TEST(test_other_kinds_of_file_are_refused),
        TEST(test_what_a_dead_job_left_is_completed),
        TEST(test_the_manifest_says_it_all),
        TEST(test_an_unwritable_place_changes_nothing),
        TEST(test_a_new_node_is_whole_or_absent),
        TEST(test_a_node_that_exists_ends_in_one_generation),
        TEST(test_what_cannot_be_replaced_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
