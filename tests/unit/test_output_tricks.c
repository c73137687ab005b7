/* SPDX-License-Identifier: Apache-2.0
 *
 * Attempts to make a job write outside its output directory.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/generation/output.h"

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

#define ROUNDS_MIN  300
#define PATIENCE_MS 60000
#define NOBODY      65534

/* `out` is the output directory; `outside` has what must not change, under
 * the names that a job would use there. */
struct fixture {
    char folder[64];
    char out[80];
    char before[8000]; /* what was outside */
    struct output output;
    struct output_file files[2];
    struct arena arena;
    struct error error;
};

/* Runs a shell command within the fixture's folder. */
static int shell(const struct fixture *fixture, const char *command)
{
    char line[600];
    snprintf(line, sizeof(line), "cd %s && %s", fixture->folder, command);
    return system(line);
}

/* All that is outside: names, inodes, sizes, times, links, and bytes. */
static void look_outside(const struct fixture *fixture, char *seen, size_t room)
{
    char line[200];
    snprintf(line, sizeof(line),
             "cd %s && find outside -printf '%%p %%i %%M %%s %%T@ %%n\\n' | "
             "sort && cat $(find outside -type f)",
             fixture->folder);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    seen[fread(seen, 1, room - 1, pipe)] = '\0';
    assert_int_equal(pclose(pipe), 0);
    assert_non_null(strstr(seen, "precious"));
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    strcpy(fixture->folder, "/tmp/tidemill-tricks-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->out, sizeof(fixture->out), "%s/out", fixture->folder);
    arena_init(&fixture->arena, 1u << 20);
    assert_int_equal(shell(fixture,
                           "mkdir -p out outside/v1 && cd outside && "
                           "for f in one.py two.sh v1/one.py node_a.json "
                           "node_a.base .tidemill-new-two.sh; do "
                           "echo precious > $f; done"),
                     0);
    look_outside(fixture, fixture->before, sizeof(fixture->before));
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char now[sizeof(fixture->before)];
    char command[100];
    look_outside(fixture, now, sizeof(now));
    assert_string_equal(now, fixture->before);
    snprintf(command, sizeof(command), "rm -rf %s", fixture->folder);
    assert_int_equal(system(command), 0);
    arena_deinit(&fixture->arena);
    free(fixture);
    return 0;
}

static struct output *make(struct fixture *fixture, const char *text)
{
    static const char *const paths[] = {"node_a/v1/one.py", "node_a/two.sh"};
    for (size_t i = 0; i < 2; i++)
        fixture->files[i] = (struct output_file){.path = paths[i],
                                                 .bytes = text,
                                                 .size = strlen(text),
                                                 .mode = i == 0 ? 0644 : 0755,
                                                 .template_name = "t"};
    fixture->output = (struct output){.directory = fixture->out,
                                      .node = "node_a",
                                      .contract = "/c/a.yaml",
                                      .contract_sha256 = SHA_A,
                                      .template_set = "effect",
                                      .template_hash = SHA_B,
                                      .arena = &fixture->arena,
                                      .force = true,
                                      .files = fixture->files,
                                      .file_count = 2};
    return &fixture->output;
}

static void write_ok(struct fixture *fixture, const char *text)
{
    if (output_write(make(fixture, text), &fixture->error) != 0)
        fail_msg("%s", fixture->error.text);
}

static void refused(struct fixture *fixture, const char *words)
{
    assert_int_equal(output_write(make(fixture, "new\n"), &fixture->error), -1);
    if (strstr(fixture->error.text, words) == NULL)
        fail_msg("expected \"%s\": %s", words, fixture->error.text);
}

/* --- swapped while a job runs --- */

/* Puts a link to the outside where `place` is and takes it back, for ever:
 * a folder by exchange; a file, which a job takes away, as a new one. */
static _Noreturn void swap_for_ever(const char *out, const char *place,
                                    const char *target, bool is_folder)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(out) != 0 || (is_folder && symlink(target, "decoy") != 0))
        _exit(1);
    for (;;) {
        if (is_folder) {
            renameat2(AT_FDCWD, "decoy", AT_FDCWD, place, RENAME_EXCHANGE);
        } else if (symlink(target, "decoy") == 0) {
            rename("decoy", place);
            int fd = open("decoy", O_WRONLY | O_CREAT | O_EXCL, 0644);
            close(fd);
            rename("decoy", place);
        }
    }
}

static void stop(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Both must happen, or nothing was tried: jobs that are refused, and jobs
 * that come through. */
static void write_meanwhile(struct fixture *fixture)
{
    uint64_t give_up_ms = clock_monotonic_ms() + PATIENCE_MS;
    unsigned written = 0, not_written = 0;
    for (unsigned i = 0; i < ROUNDS_MIN || written == 0 || not_written == 0;
         i++) {
        char text[32];
        snprintf(text, sizeof(text), "round %u\n", i);
        if (output_write(make(fixture, text), &fixture->error) == 0)
            written++;
        else
            not_written++;
        arena_reset(&fixture->arena);
        if (clock_monotonic_ms() > give_up_ms)
            fail_msg("%u written, %u not: %s", written, not_written,
                     fixture->error.text);
    }
}

static void try_swapping(struct fixture *fixture, const char *place,
                         const char *target, bool is_folder)
{
    write_ok(fixture, "first\n");
    pid_t pid = fork();
    if (pid == 0)
        swap_for_ever(fixture->out, place, target, is_folder);
    assert_true(pid > 0);
    write_meanwhile(fixture);
    stop(pid);
}

static void test_a_folder_swapped_for_a_link(void **state)
{
    try_swapping(*state, "node_a/v1", "../../outside", true);
}

static void test_the_node_swapped_for_a_link(void **state)
{
    try_swapping(*state, "node_a", "../outside", true);
}

static void test_the_manifests_swapped_for_a_link(void **state)
{
    try_swapping(*state, ".tidemill", "../outside", true);
}

static void test_a_file_swapped_for_a_link(void **state)
{
    try_swapping(*state, "node_a/two.sh", "../../outside/two.sh", false);
}

/* --- between two jobs --- */

static void test_links_between_two_jobs(void **state)
{
    struct fixture *fixture = *state;
    static const char *const tricks[] = {
        "mv out/node_a/v1 v1 && ln -s ../../outside/v1 out/node_a/v1",
        "mv out/node_a n && ln -s ../outside out/node_a",
        "mv out/.tidemill m && ln -s ../outside out/.tidemill",
        "ln -sf ../../outside/two.sh out/node_a/two.sh",
        "ln -sf ../../outside/node_a.json out/.tidemill/node_a.json",
    };
    for (size_t i = 0; i < sizeof(tricks) / sizeof(tricks[0]); i++) {
        write_ok(fixture, "first\n");
        assert_int_equal(shell(fixture, tricks[i]), 0);
        refused(fixture, "symbolic link");
        assert_int_equal(shell(fixture, "rm -rf out/node_a out/.tidemill "
                                        "v1 n m"),
                         0);
    }
}

/* What stands beside, where a job writes first, is never written through. */
static void test_links_beside(void **state)
{
    struct fixture *fixture = *state;
    write_ok(fixture, "first\n");
    assert_int_equal(
        shell(fixture,
              "ln -s ../../outside/two.sh "
              "out/node_a/.tidemill-new-two.sh && ln -s "
              "../../outside/new out/.tidemill/.tidemill-new-node_a.json"),
        0);
    output_write(make(fixture, "second\n"), &fixture->error);
    write_ok(fixture, "third\n");
    assert_int_equal(shell(fixture, "grep -q third out/node_a/two.sh && "
                                    "test ! -L out/node_a/two.sh"),
                     0);
    assert_int_equal(shell(fixture, "rm -r out/node_a && ln -s ../outside "
                                    "out/.tidemill-new-node_a"),
                     0);
    assert_int_equal(output_write(make(fixture, "x\n"), &fixture->error), -1);
}

/* The name outside keeps its bytes and its mode. */
static void test_hard_links(void **state)
{
    struct fixture *fixture = *state;
    write_ok(fixture, "first\n");
    assert_int_equal(shell(fixture, "rm out/node_a/two.sh && "
                                    "ln outside/two.sh out/node_a/two.sh && "
                                    "ln outside/node_a.base out/node_a/v1/x"),
                     0);
    write_ok(fixture, "precious\n"); /* its bytes, another mode */
    assert_int_equal(shell(fixture, "test -x out/node_a/two.sh && "
                                    "ln -f outside/two.sh out/node_a/two.sh"),
                     0);
    write_ok(fixture, "other\n");
    assert_int_equal(shell(fixture, "grep -q other out/node_a/two.sh && "
                                    "rm out/node_a/v1/x"),
                     0);
}

/* Nothing waits for a writer that never comes. */
static void test_pipes(void **state)
{
    struct fixture *fixture = *state;
    alarm(PATIENCE_MS / 1000);
    write_ok(fixture, "first\n");
    assert_int_equal(shell(fixture, "mkfifo out/node_a/.tidemill-new-two.sh "
                                    "out/.tidemill/.tidemill-new-node_a.json "
                                    "&& rm out/.tidemill/node_a.base && "
                                    "mkfifo out/.tidemill/node_a.base"),
                     0);
    write_ok(fixture, "second\n");
    assert_int_equal(shell(fixture, "rm out/.tidemill/node_a.json && "
                                    "mkfifo out/.tidemill/node_a.json"),
                     0);
    refused(fixture, "no regular file");
    alarm(0);
}

/* Names in a manifest are not believed: a job that died would be finished
 * by them. */
static void test_a_forged_manifest(void **state)
{
    struct fixture *fixture = *state;
    static const char *const paths[] = {"../outside/one.py", "/etc/hostname",
                                        "node_a/../../outside/one.py", "plain",
                                        "other/one.py"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char command[500];
        write_ok(fixture, "first\n");
        snprintf(command, sizeof(command),
                 "mkdir -p out/other && echo mine > out/other/one.py && "
                 "echo theirs > out/other/.tidemill-new-one.py && "
                 "echo '{\"format\": 1, \"contract\": \"/c/a.yaml\", "
                 "\"files\": [{\"path\": \"%s\", "
                 "\"sha256\": \"" SHA_A "\"}]}' "
                 "> out/.tidemill/.tidemill-new-node_a.json",
                 paths[i]);
        assert_int_equal(shell(fixture, command), 0);
        write_ok(fixture, "second\n");
        assert_int_equal(shell(fixture,
                               "grep -q mine out/other/one.py && "
                               "grep -q theirs out/other/.tidemill-new-one.py"),
                         0);
    }
}

/* As a user whom modes concern: refused as a whole, with nothing left. */
static void test_a_folder_that_may_not_be_written(void **state)
{
    struct fixture *fixture = *state;
    int status;
    write_ok(fixture, "first\n");
    assert_int_equal(shell(fixture, "chmod 755 . && chmod 555 out/node_a/v1"),
                     0);
    if (geteuid() == 0)
        assert_int_equal(shell(fixture, "chown -R 65534:65534 out"), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
            _exit(1);
        _exit(output_write(make(fixture, "second\n"), &fixture->error) == -1 &&
                      strstr(fixture->error.text, "nothing was changed") != NULL
                  ? 0
                  : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(shell(fixture, "chmod 755 out/node_a/v1 && "
                                    "grep -q first out/node_a/two.sh && "
                                    "grep -q first out/node_a/v1/one.py && "
                                    "! find out -name '.tidemill-new-*' | "
                                    "grep ."),
                     0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_folder_swapped_for_a_link),
        TEST(test_the_node_swapped_for_a_link),
        TEST(test_the_manifests_swapped_for_a_link),
        TEST(test_a_file_swapped_for_a_link),
        TEST(test_links_between_two_jobs),
        TEST(test_links_beside),
        TEST(test_hard_links),
        TEST(test_pipes),
        TEST(test_a_forged_manifest),
        TEST(test_a_folder_that_may_not_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
