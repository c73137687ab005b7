/* SPDX-License-Identifier: Apache-2.0
 *
 * A person saves a file while a job is writing it: at every system call of
 * the job, in the ways in which editors save, and with the job killed soon
 * after.  The text is never lost.
 */
#include "tests/unit/killed_at.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/generation/output.h"

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define MINE  "what the person wrote\n"

static char folder[64];
static char edited[200];
static bool renames; /* how the person saves */
static struct arena arena;
static struct output_file files[3];

static void save(void)
{
    char beside[210];
    snprintf(beside, sizeof(beside), "%s~", edited);
    FILE *file = fopen(renames ? beside : edited, "w");
    if (file == NULL)
        return; /* its folder is not there yet */
    fputs(MINE, file);
    fclose(file);
    if (renames)
        assert_int_equal(rename(beside, edited), 0);
}

static int write_files(const char *text)
{
    static const char *const paths[] = {"node_a/a.py", "node_a/b.py",
                                        "node_a/c.py"};
    struct error error;
    size_t count = text[0] == '1' ? 2 : 3; /* then there is a new one */
    for (size_t i = 0; i < count; i++)
        files[i] = (struct output_file){.path = paths[i],
                                        .bytes = text,
                                        .size = strlen(text),
                                        .mode = 0644,
                                        .template_name = "t"};
    struct output output = {.directory = folder,
                            .node = "node_a",
                            .contract = "/c/a.yaml",
                            .contract_sha256 = SHA_A,
                            .template_set = "effect",
                            .template_hash = SHA_A,
                            .arena = &arena,
                            .files = files,
                            .file_count = count};
    return output_write(&output, &error);
}

static void second(void *self)
{
    (void)self;
    if (write_files("2\n") != 0)
        _exit(1);
}

struct moment {
    unsigned save_at;    /* this stop */
    unsigned kill_after; /* so many stops later; 0: never */
    bool saved;
};

static enum at_stop save_now(void *watcher, pid_t pid, unsigned stop)
{
    struct moment *moment = watcher;
    (void)pid;
    if (stop == moment->save_at) {
        save();
        moment->saved = true;
    }
    return moment->kill_after > 0 &&
                   stop == moment->save_at + moment->kill_after
               ? STOP_KILL
               : STOP_GO_ON;
}

/* False when it ended before. */
static bool saved_at(unsigned nth, unsigned kill_after)
{
    struct moment moment = {.save_at = nth, .kill_after = kill_after};
    run_stopping(second, NULL, save_now, &moment);
    return moment.saved;
}

static void expect_text(const char *name, const char *text)
{
    char path[200];
    char bytes[200] = "";
    snprintf(path, sizeof(path), "%s/node_a/%s", folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    bytes[fread(bytes, 1, sizeof(bytes) - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(bytes, text);
}

static void clear(void)
{
    char command[200];
    snprintf(command, sizeof(command), "rm -rf %s/node_a %s/.tidemill", folder,
             folder);
    assert_int_equal(system(command), 0);
}

static void try_all(const char *name, unsigned kill_after)
{
    unsigned nth = 0;
    bool saved = true;
    snprintf(edited, sizeof(edited), "%s/node_a/%s", folder, name);
    for (; saved; nth++) {
        clear();
        assert_int_equal(write_files("1\n"), 0);
        saved = saved_at(nth, kill_after);
        if (!saved)
            break;
        assert_int_equal(write_files("2\n"), 0);
        expect_text(name, MINE);
        if (strcmp(name, "b.py") != 0)
            expect_text("b.py", "2\n");
    }
    assert_true(nth > 20);
}

static void test_saved_meanwhile(void **state)
{
    (void)state;
    if (RUNNING_ON_VALGRIND)
        skip();
    for (int way = 0; way < 2; way++) {
        renames = way == 1;
        try_all("a.py", 0);
        try_all("b.py", 0);
        try_all("c.py", 0);
    }
}

static void test_saved_and_killed(void **state)
{
    (void)state;
    if (RUNNING_ON_VALGRIND)
        skip();
    renames = true;
    for (unsigned after = 1; after <= 3; after += 2)
        try_all("a.py", after);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/tidemill-saved-XXXXXX");
    arena_init(&arena, 1u << 20);
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    clear();
    arena_deinit(&arena);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saved_meanwhile),
        cmocka_unit_test(test_saved_and_killed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
